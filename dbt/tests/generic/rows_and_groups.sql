{#- Failures keep the whole row, or at least its day: see whole_rows.sql. -#}

{#- No two rows have the same values in all of the columns. -#}
{% test unique_together(model, columns) %}
select *
from (
    select *, count(*) over (partition by {{ columns | join(', ') }}) as copies
    from {{ model }}
) as counted
where copies > 1
{% endtest %}

{#- The expression is true of every row; a row of which it can't be told passes. -#}
{% test holds(model, expression) %}
select * from {{ model }} where not ({{ expression }})
{% endtest %}

{#- The column lies between the two, both included; a missing value passes. -#}
{% test between(model, column_name, min, max) %}
select * from {{ model }} where {{ column_name }} not between {{ min }} and {{ max }}
{% endtest %}

{#- Every value of the column has so many rows. -#}
{% test rows_between(model, column_name, min, max) %}
select {{ column_name }}, count(*) as n_rows
from {{ model }}
group by {{ column_name }}
having count(*) not between {{ min }} and {{ max }}
{% endtest %}

{#- Day by day (`by`) of those to build, the column adds up to the rows of another relation. -#}
{% test adds_up(model, column_name, by, to) %}
with ours as (
    select {{ by }}, sum({{ column_name }}) as total from {{ model }} where {{ built(by) }} group by {{ by }}
),

theirs as (
    select {{ by }}, count(*) as total from {{ to }} where {{ built(by) }} group by {{ by }}
)

select
    coalesce(ours.{{ by }}, theirs.{{ by }}) as {{ by }},
    coalesce(ours.total, 0) as ours,
    coalesce(theirs.total, 0) as theirs
from ours
full outer join theirs on theirs.{{ by }} = ours.{{ by }}
where coalesce(ours.total, 0) <> coalesce(theirs.total, 0)
{% endtest %}
