{#-
    dbt's own four tests, with whole rows as failures instead of bare values: a row knows its day, so that one bad day
    doesn't hold back the others.
-#}

{% test not_null(model, column_name) %}
select * from {{ model }} where {{ column_name }} is null
{% endtest %}

{% test unique(model, column_name) %}
select *
from {{ model }}
where {{ column_name }} in (
    select {{ column_name }} from {{ model }} group by {{ column_name }} having count(*) > 1
)
{% endtest %}

{% test accepted_values(model, column_name, values, quote=true) %}
select *
from {{ model }}
where {{ column_name }} not in (
    {%- for value in values -%}
        {{ dbt.string_literal(value) if quote else value }}{{ ", " if not loop.last }}
    {%- endfor -%}
)
{% endtest %}

{% test relationships(model, column_name, to, field) %}
select *
from {{ model }}
where {{ column_name }} is not null
    and {{ column_name }} not in (select {{ field }} from {{ to }} where {{ field }} is not null)
{% endtest %}
