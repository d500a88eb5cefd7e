"""Gold: answers. How punctual is an airline, how bad is a route, and what does the weather do to either?

Every table is made a day at a time and holds counts and sums (`OUTCOMES`), so that days, airlines and routes
add up to months and totals: a mean is a sum of minutes over the flights that have them, never a mean of
means. The shares and means in a row are of that row, for reading.

Late is 15 minutes or more, as the Department of Transportation counts; of the scheduled flights, the
cancelled and the diverted are not on time either.
"""

from collections.abc import Mapping
from typing import Final, cast

import pandera.polars as pa
import polars as pl
from pandera.typing.polars import LazyFrame

from lakehouse import gold
from lakehouse.assets.bronze import OWNERS, Moment, daily
from lakehouse.assets.silver import ORIGINS

# A parameter is the asset of its name in this module. `x as x` says that the import is meant.
from lakehouse.assets.silver import airlines as airlines
from lakehouse.assets.silver import airports as airports
from lakehouse.assets.silver import flights as flights
from lakehouse.assets.silver import weather as weather
from lakehouse.checks import accepted_values, expression, not_null, reconcile, row_count, unique

LATE: Final = 15
"""Minutes from which on a flight is late."""

OUTCOMES: Final = {
    "flights": pl.len(),
    "cancelled": pl.col("cancelled").sum(),
    "diverted": pl.col("diverted").sum(),
    "departed": pl.col("dep_delay").count(),
    "arrived": pl.col("arr_delay").count(),
    "late_departures": pl.col("dep_delay").ge(LATE).sum(),
    "late_arrivals": pl.col("arr_delay").ge(LATE).sum(),
    "dep_delay_minutes": pl.col("dep_delay").sum(),
    "arr_delay_minutes": pl.col("arr_delay").sum(),
}
"""What is counted of any group of flights; all of it adds up."""


class Outcomes(pa.DataFrameModel):
    """Counts and sums of a group of flights that left New York on one day."""

    date: pl.Date = pa.Field(description="local day of the scheduled departure: the partition")
    flights: int = pa.Field(ge=1, description="scheduled")
    cancelled: int = pa.Field(ge=0)
    diverted: int = pa.Field(ge=0)
    departed: int = pa.Field(ge=0, description="flights with a departure delay")
    arrived: int = pa.Field(ge=0, description="flights with an arrival delay")
    late_departures: int = pa.Field(ge=0, description="15 minutes or more")
    late_arrivals: int = pa.Field(ge=0, description="15 minutes or more")
    dep_delay_minutes: int = pa.Field(description="sum; early departures count as negative")
    arr_delay_minutes: int = pa.Field(description="sum; early arrivals count as negative")


class CarrierDaily(Outcomes):
    """An airline's day."""

    carrier: str
    carrier_name: str = pa.Field(nullable=True)
    on_time_share: float = pa.Field(ge=0, le=1, description="of the scheduled flights")
    mean_dep_delay: float = pa.Field(nullable=True, description="minutes")
    mean_arr_delay: float = pa.Field(nullable=True, description="minutes")

    class Config:
        strict = True


class RouteDelays(Outcomes):
    """A route's day."""

    origin: str = pa.Field(isin=ORIGINS)
    dest: str
    dest_name: str = pa.Field(nullable=True)
    distance: int = pa.Field(gt=0, description="miles")
    late_by_hours: int = pa.Field(ge=0, description="arrivals an hour or more late")
    made_up_minutes: int = pa.Field(description="sum of departure delay less arrival delay, of arrived flights")
    air_minutes: int = pa.Field(ge=0, description="sum of the air times")
    air_timed: int = pa.Field(ge=0, description="flights with an air time")

    class Config:
        strict = True


class WeatherDelays(Outcomes):
    """The flights of an airport's day that were to leave in one kind of weather."""

    origin: str = pa.Field(isin=ORIGINS)
    precipitation: str = pa.Field(isin=["none", "light", "heavy", "unknown"], description="heavy: 0.1 inches an hour")
    wind: str = pa.Field(isin=["calm", "fresh", "strong", "unknown"], description="fresh: 15 mph, strong: 30, or gusts")
    visibility: str = pa.Field(
        isin=["good", "reduced", "poor", "unknown"], description="poor: below 3 miles, reduced: up to 5"
    )
    hours: int = pa.Field(ge=1, description="hours of the day that had flights to leave in it")

    class Config:
        strict = True


# ── what Gold asks of Silver ──────────────────────────────────────────────────────────────


class FlightOutcomes(pa.DataFrameModel):
    """What every answer needs to know of a flight."""

    date: pl.Date
    carrier: str
    origin: str
    dest: str
    time_hour: Moment
    distance: int
    dep_delay: int = pa.Field(nullable=True)
    arr_delay: int = pa.Field(nullable=True)
    air_time: int = pa.Field(nullable=True)
    cancelled: bool
    diverted: bool


class HourlyWeather(pa.DataFrameModel):
    """What may delay a flight in an hour's weather."""

    origin: str
    observed_at: Moment
    wind_mph: float = pa.Field(nullable=True)
    gust_mph: float = pa.Field(nullable=True)
    precip_in: float
    visibility_mi: float


class AirlineNames(pa.DataFrameModel):
    """An airline's name."""

    carrier: str
    name: str


class AirportNames(pa.DataFrameModel):
    """An airport's name."""

    airport: str
    name: str


# ── answers ───────────────────────────────────────────────────────────────────────────────

_ACCOUNTED_FOR = expression(
    "every_flight_is_accounted_for",
    pl.col("flights") == pl.col("cancelled") + pl.col("diverted") + pl.col("arrived"),
    wants="flights that were cancelled, were diverted or arrived",
)
_ADDS_UP = reconcile("flights", ours=pl.col("flights").sum(), theirs=pl.len(), name="adds_up_to_flights")


@gold(
    partitions=daily,
    tags=["daily", "punctuality"],
    owners=OWNERS,
    group="punctuality",
    checks=[
        unique("date", "carrier"),
        row_count(min=10, max=20, blocking=False),
        not_null("carrier_name", blocking=False),
        _ACCOUNTED_FOR,
        _ADDS_UP,
    ],
)
def carrier_daily(flights: LazyFrame[FlightOutcomes], airlines: LazyFrame[AirlineNames]) -> LazyFrame[CarrierDaily]:
    """How punctual each airline was, by day (5,432 rows; 13 to 16 airlines fly on a day)."""
    days = flights.group_by("date", "carrier").agg(**_counted(OUTCOMES))
    named = days.join(airlines.select("carrier", carrier_name="name"), on="carrier", how="left")
    return cast(
        LazyFrame[CarrierDaily],
        named.with_columns(
            on_time_share=(pl.col("arrived") - pl.col("late_arrivals")) / pl.col("flights"),
            mean_dep_delay=_mean("dep_delay_minutes", "departed"),
            mean_arr_delay=_mean("arr_delay_minutes", "arrived"),
        ).sort("date", "carrier"),
    )


@gold(
    partitions=daily,
    tags=["daily", "punctuality"],
    owners=OWNERS,
    group="punctuality",
    checks=[
        unique("date", "origin", "dest"),
        not_null("dest_name", blocking=False),
        _ACCOUNTED_FOR,
        _ADDS_UP,
    ],
)
def route_delays(flights: LazyFrame[FlightOutcomes], airports: LazyFrame[AirportNames]) -> LazyFrame[RouteDelays]:
    """How late each route ran, by day, and what it made up in the air (224 routes in the year)."""
    arrived = pl.col("arr_delay").is_not_null()
    days = flights.group_by("date", "origin", "dest").agg(
        **_counted(OUTCOMES),
        # The source measures two routes to EGE anew in March: a route has one distance a day, not a year.
        distance=pl.col("distance").max(),
        **_counted(
            {
                "late_by_hours": pl.col("arr_delay").ge(60).sum(),
                "made_up_minutes": (pl.col("dep_delay") - pl.col("arr_delay")).filter(arrived).sum(),
                "air_minutes": pl.col("air_time").sum(),
                "air_timed": pl.col("air_time").count(),
            }
        ),
    )
    named = days.join(airports.select(dest="airport", dest_name="name"), on="dest", how="left")
    return cast(LazyFrame[RouteDelays], named.sort("date", "origin", "dest"))


@gold(
    partitions=daily,
    tags=["daily", "weather"],
    owners=OWNERS,
    group="weather",
    checks=[
        unique("date", "origin", "precipitation", "wind", "visibility"),
        accepted_values("visibility", ["good", "reduced", "poor"], blocking=False),
        _ACCOUNTED_FOR,
        _ADDS_UP,
    ],
)
def weather_delays(flights: LazyFrame[FlightOutcomes], weather: LazyFrame[HourlyWeather]) -> LazyFrame[WeatherDelays]:
    """What weather does to flights: their outcomes by the weather in which they were to leave.

    That is the weather at the origin in the hour of the scheduled departure. Each flight is in exactly one
    row of its day, so any of the three kinds of weather can be summed over. 1,556 flights were to leave in
    hours that nobody observed, 776 of them on December 31: their weather is `unknown`, a warning and not an
    error.
    """
    precip, miles = pl.col("precip_in"), pl.col("visibility_mi")
    strongest = pl.max_horizontal("wind_mph", "gust_mph")
    kinds = weather.select(
        "origin",
        time_hour="observed_at",
        precipitation=_kind(none=precip.eq(0), light=precip.lt(0.1), heavy=precip.ge(0.1)),
        wind=_kind(calm=strongest.lt(15), fresh=strongest.lt(30), strong=strongest.ge(30)),
        visibility=_kind(poor=miles.lt(3), reduced=miles.le(5), good=miles.gt(5)),
    )
    by = ["precipitation", "wind", "visibility"]
    days = (
        flights.join(kinds, on=["origin", "time_hour"], how="left")
        .with_columns(pl.col(by).fill_null("unknown"))
        .group_by("date", "origin", *by)
        .agg(**_counted(OUTCOMES), **_counted({"hours": pl.col("time_hour").n_unique()}))
    )
    return cast(LazyFrame[WeatherDelays], days.sort("date", "origin", *by))


def _counted(expressions: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    """Signed, because Delta has no unsigned integers."""
    return {name: expression.cast(pl.Int64) for name, expression in expressions.items()}


def _mean(minutes: str, count: str) -> pl.Expr:
    return pl.when(pl.col(count) > 0).then(pl.col(minutes) / pl.col(count))


def _kind(**kinds: pl.Expr) -> pl.Expr:
    """The name of the first kind that applies; missing if none does, as when nothing was measured."""
    return pl.coalesce(pl.when(applies).then(pl.lit(kind)) for kind, applies in kinds.items())
