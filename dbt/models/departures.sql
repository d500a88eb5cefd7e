{#- Weather is joined by its day as well, which the hour implies, so that no other day of it is read. -#}

with flights as (
    select * from {{ source('silver', 'flights') }} where {{ built('date') }}
),

weather as (
    select * from {{ source('silver', 'weather') }} where {{ built('date') }}
)

select
    flights.flight_id,
    flights.carrier,
    flights.flight,
    flights.origin,
    flights.dest,
    {{ moment('flights.time_hour') }} as time_hour,
    flights.dep_delay,
    flights.arr_delay,
    flights.cancelled,
    flights.diverted,
    weather.origin is not null as observed,
    weather.temp_f,
    weather.wind_mph,
    weather.gust_mph,
    weather.precip_in,
    weather.visibility_mi,
    flights.date
from flights
left join weather
    on weather.date = flights.date
    and weather.origin = flights.origin
    and weather.observed_at = flights.time_hour
