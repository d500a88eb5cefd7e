{#- Airlines and routes are two views of the same flights: their days have the same totals. -#}
with carriers as (
    select date, sum(flights) as flights, sum(arr_delay_minutes) as minutes
    from {{ ref('carrier_daily') }}
    group by date
),

routes as (
    select date, sum(flights) as flights, sum(arr_delay_minutes) as minutes
    from {{ ref('route_delays') }}
    group by date
)

select
    coalesce(carriers.date, routes.date) as date,
    carriers.flights as carriers_flights,
    routes.flights as routes_flights,
    carriers.minutes as carriers_minutes,
    routes.minutes as routes_minutes
from carriers
full outer join routes on routes.date = carriers.date
where carriers.flights is distinct from routes.flights
    or carriers.minutes is distinct from routes.minutes
