{#- Whether the row's day is one of those to build. -#}
{%- macro built(column) -%}
    {%- set start, end = var('lakehouse_start'), var('lakehouse_end') -%}
    {%- if start -%} {{ column }} >= date '{{ (start | string)[:10] }}' {%- endif -%}
    {%- if start and end %} and {% endif -%}
    {%- if end -%} {{ column }} < date '{{ (end | string)[:10] }}' {%- endif -%}
    {%- if not start and not end -%} true {%- endif -%}
{%- endmacro -%}
