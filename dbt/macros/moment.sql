{#- A moment in UTC. Athena's Parquet tables hold no time zone: there it is the UTC clock. -#}
{%- macro moment(column) -%} {{ adapter.dispatch('moment', 'flights')(column) }} {%- endmacro -%}

{%- macro default__moment(column) -%} {{ column }} {%- endmacro -%}

{%- macro athena__moment(column) -%} cast({{ column }} as timestamp(3)) {%- endmacro -%}
