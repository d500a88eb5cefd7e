"""Gold: answers. How punctual is an airline, how bad is a route, and what does the weather do to either?

dbt makes most of it, from the models in `dbt/`: `departures` (each flight with the weather in which it was to
leave), `carrier_daily` and `route_delays`. `weather_delays` is written in polars and reads one of them: to the
engine both are assets.

Every table is made a day at a time and holds counts and sums (`OUTCOMES`), so that days, airlines and routes
add up to months and totals: a mean is a sum of minutes over the flights that have them, never a mean of
means. The shares and means in a row are of that row, for reading.

Late is 15 minutes or more, as the Department of Transportation counts; of the scheduled flights, the
cancelled and the diverted are not on time either.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import pandera.polars as pa
import polars as pl
from pandera.api.polars.model_config import BaseConfig

from lakehouse import gold
from lakehouse.assets.bronze import OWNERS, Moment, daily
from lakehouse.assets.silver import ORIGINS, airlines, airports, flights, weather
from lakehouse.checks import accepted_values, expression, reconcile, unique
from lakehouse.integrations.dbt import DbtProject

_HERE: Final = Path(__file__).resolve().parent

models: Final = DbtProject(
    # Beside this folder in the repository, in it where it is installed.
    _HERE / "dbt" if (_HERE / "dbt").is_dir() else _HERE.parent / "dbt",
    sources=[airlines, airports, flights, weather],
)
"""The models that dbt makes."""

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


class WeatherDelays(Outcomes):
    """The flights of an airport's day that were to leave in one kind of weather."""

    origin: str = pa.Field(isin=ORIGINS)
    precipitation: str = pa.Field(isin=["none", "light", "heavy", "unknown"], description="heavy: 0.1 inches an hour")
    wind: str = pa.Field(isin=["calm", "fresh", "strong", "unknown"], description="fresh: 15 mph, strong: 30, or gusts")
    visibility: str = pa.Field(
        isin=["good", "reduced", "poor", "unknown"], description="poor: below 3 miles, reduced: up to 5"
    )
    hours: int = pa.Field(ge=1, description="hours of the day that had flights to leave in it")

    class Config(BaseConfig):
        strict = True


class Departures(pa.DataFrameModel):
    """What this asks of dbt's `departures`: how a flight fared, and the weather in which it was to leave."""

    date: pl.Date
    origin: str
    time_hour: Moment
    dep_delay: int = pa.Field(nullable=True)
    arr_delay: int = pa.Field(nullable=True)
    cancelled: bool
    diverted: bool
    wind_mph: float = pa.Field(nullable=True)
    gust_mph: float = pa.Field(nullable=True)
    precip_in: float = pa.Field(nullable=True)
    visibility_mi: float = pa.Field(nullable=True)


_ACCOUNTED_FOR = expression(
    "every_flight_is_accounted_for",
    pl.col("flights") == pl.col("cancelled") + pl.col("diverted") + pl.col("arrived"),
    wants="flights that were cancelled, were diverted or arrived",
)
_ADDS_UP = reconcile("departures", ours=pl.col("flights").sum(), theirs=pl.len(), name="adds_up_to_departures")


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
def weather_delays(departures: Annotated[pl.LazyFrame, Departures]) -> Annotated[pl.LazyFrame, WeatherDelays]:
    """What weather does to flights: their outcomes by the weather in which they were to leave.

    That is the weather at the origin in the hour of the scheduled departure. Each flight is in exactly one
    row of its day, so any of the three kinds of weather can be summed over. 1,556 flights were to leave in
    hours that nobody observed, 776 of them on December 31: their weather is `unknown`, a warning and not an
    error.
    """
    precip, miles = pl.col("precip_in"), pl.col("visibility_mi")
    strongest = pl.max_horizontal("wind_mph", "gust_mph")
    by = ["precipitation", "wind", "visibility"]
    days = (
        departures.with_columns(
            precipitation=_kind(none=precip.eq(0), light=precip.lt(0.1), heavy=precip.ge(0.1)),
            wind=_kind(calm=strongest.lt(15), fresh=strongest.lt(30), strong=strongest.ge(30)),
            visibility=_kind(poor=miles.lt(3), reduced=miles.le(5), good=miles.gt(5)),
        )
        .with_columns(pl.col(by).fill_null("unknown"))
        .group_by("date", "origin", *by)
        .agg(**_counted(OUTCOMES), **_counted({"hours": pl.col("time_hour").n_unique()}))
    )
    return days.sort("date", "origin", *by)


def _counted(expressions: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    """Signed, because Delta has no unsigned integers."""
    return {name: expression.cast(pl.Int64) for name, expression in expressions.items()}


def _kind(**kinds: pl.Expr) -> pl.Expr:
    """The name of the first kind that applies; missing if none does, as when nothing was measured."""
    return pl.coalesce(pl.when(applies).then(pl.lit(kind)) for kind, applies in kinds.items())
