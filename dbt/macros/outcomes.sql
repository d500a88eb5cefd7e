{#- What is counted of any group of flights; all of it adds up. Late is 15 minutes or more. -#}
{%- macro outcomes() -%}
        count(*) as flights,
        count(*) filter (where cancelled) as cancelled,
        count(*) filter (where diverted) as diverted,
        count(dep_delay) as departed,
        count(arr_delay) as arrived,
        count(*) filter (where dep_delay >= 15) as late_departures,
        count(*) filter (where arr_delay >= 15) as late_arrivals,
        cast(coalesce(sum(dep_delay), 0) as bigint) as dep_delay_minutes,
        cast(coalesce(sum(arr_delay), 0) as bigint) as arr_delay_minutes
{%- endmacro -%}

{#- Their names, of a relation. -#}
{%- macro outcome_names(relation) -%}
    {%- set names = [
        'flights', 'cancelled', 'diverted', 'departed', 'arrived', 'late_departures', 'late_arrivals',
        'dep_delay_minutes', 'arr_delay_minutes',
    ] -%}
    {%- for name in names -%}
        {{ relation }}.{{ name }}{{ ",\n    " if not loop.last }}
    {%- endfor -%}
{%- endmacro -%}
