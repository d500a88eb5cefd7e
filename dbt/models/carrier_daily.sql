with days as (
    select
        carrier,
        {{ outcomes() }},
        date
    from {{ source('silver', 'flights') }}
    where {{ built('date') }}
    group by date, carrier
)

select
    days.carrier,
    {{ outcome_names('days') }},
    airlines.name as carrier_name,
    cast(days.arrived - days.late_arrivals as double) / days.flights as on_time_share,
    cast(days.dep_delay_minutes as double) / nullif(days.departed, 0) as mean_dep_delay,
    cast(days.arr_delay_minutes as double) / nullif(days.arrived, 0) as mean_arr_delay,
    days.date
from days
left join {{ source('silver', 'airlines') }} as airlines on airlines.carrier = days.carrier
order by days.date, days.carrier
