with days as (
    select
        origin,
        dest,
        {{ outcomes() }},
        -- The source measures two routes to EGE anew in March: a route has one distance a day, not a year.
        max(distance) as distance,
        count(*) filter (where arr_delay >= 60) as late_by_hours,
        cast(coalesce(sum(dep_delay - arr_delay), 0) as bigint) as made_up_minutes,
        cast(coalesce(sum(air_time), 0) as bigint) as air_minutes,
        count(air_time) as air_timed,
        date
    from {{ source('silver', 'flights') }}
    where {{ built('date') }}
    group by date, origin, dest
)

select
    days.origin,
    days.dest,
    {{ outcome_names('days') }},
    days.distance,
    days.late_by_hours,
    days.made_up_minutes,
    days.air_minutes,
    days.air_timed,
    airports.name as dest_name,
    days.date
from days
left join {{ source('silver', 'airports') }} as airports on airports.airport = days.dest
order by days.date, days.origin, days.dest
