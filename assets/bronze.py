"""Bronze: what the source sent, byte for byte, with where it came from and when.

The files are kept, and Silver parses them: a parser that was wrong is corrected without asking the source again. What
a file's lines hold is said here, and a file that can't be read so is held back.
"""

from typing import Annotated, Final

import pandera.polars as pa
import polars as pl

from lakehouse import Daily, PartitionRange, bronze
from lakehouse.assets import source
from lakehouse.checks import expression, parses
from lakehouse.io import Csv, RawFiles

daily = Daily("2013-01-01", end="2014-01-01", column="date")
"""One partition a day of 2013: the local day in New York."""

Moment = Annotated[pl.Datetime, "us", "UTC"]
"""A moment in UTC."""

OWNERS = ["data-platform"]


class RawFlights(pa.DataFrameModel):
    """A line of flights.csv. Times of day are hhmm as printed, on the airport's own clock."""

    date: pl.Date = pa.Field(description="local day of the scheduled departure: the partition")
    year: int
    month: int
    day: int
    dep_time: int = pa.Field(nullable=True)
    sched_dep_time: int = pa.Field(nullable=True)
    dep_delay: int = pa.Field(nullable=True)
    arr_time: int = pa.Field(nullable=True)
    sched_arr_time: int = pa.Field(nullable=True)
    arr_delay: int = pa.Field(nullable=True)
    carrier: str = pa.Field(nullable=True)
    flight: int = pa.Field(nullable=True)
    tailnum: str = pa.Field(nullable=True)
    origin: str = pa.Field(nullable=True)
    dest: str = pa.Field(nullable=True)
    air_time: int = pa.Field(nullable=True)
    distance: int = pa.Field(nullable=True)
    hour: int = pa.Field(nullable=True)
    minute: int = pa.Field(nullable=True)
    time_hour: str = pa.Field(nullable=True)


class RawWeather(pa.DataFrameModel):
    """A line of weather.csv."""

    date: pl.Date = pa.Field(description="local day of the observation: the partition")
    origin: str = pa.Field(nullable=True)
    year: int
    month: int
    day: int
    hour: int = pa.Field(nullable=True)
    temp: float = pa.Field(nullable=True)
    dewp: float = pa.Field(nullable=True)
    humid: float = pa.Field(nullable=True)
    wind_dir: int = pa.Field(nullable=True)
    wind_speed: float = pa.Field(nullable=True)
    wind_gust: float = pa.Field(nullable=True)
    precip: float = pa.Field(nullable=True)
    pressure: float = pa.Field(nullable=True)
    visib: float = pa.Field(nullable=True)
    time_hour: str = pa.Field(nullable=True)


class RawPlanes(pa.DataFrameModel):
    """A line of planes.csv."""

    tailnum: str = pa.Field(nullable=True)
    year: int = pa.Field(nullable=True)
    type: str = pa.Field(nullable=True)
    manufacturer: str = pa.Field(nullable=True)
    model: str = pa.Field(nullable=True)
    engines: int = pa.Field(nullable=True)
    seats: int = pa.Field(nullable=True)
    speed: int = pa.Field(nullable=True)
    engine: str = pa.Field(nullable=True)


class RawAirports(pa.DataFrameModel):
    """A line of airports.csv."""

    faa: str = pa.Field(nullable=True)
    name: str = pa.Field(nullable=True)
    lat: float = pa.Field(nullable=True)
    lon: float = pa.Field(nullable=True)
    alt: int = pa.Field(nullable=True)
    tz: int = pa.Field(nullable=True)
    dst: str = pa.Field(nullable=True)
    tzone: str = pa.Field(nullable=True)


class RawAirlines(pa.DataFrameModel):
    """A line of airlines.csv."""

    carrier: str = pa.Field(nullable=True)
    name: str = pa.Field(nullable=True)


LINES: Final = Csv(null_values=(source.MISSING,))
"""How the source's files are read."""


@bronze(
    partitions=daily,
    tags=["daily"],
    owners=OWNERS,
    group="flights",
    checks=[
        parses(LINES, RawFlights),
        expression("has_flights", pl.col("_rows") > 0, wants="at least one flight"),
        expression("busy_day", pl.col("_rows") >= 600, wants="600 flights or more", blocking=False),
    ],
)
def raw_flights(partitions: PartitionRange) -> RawFiles:
    """Every flight that was scheduled to leave New York (336,776 in 2013): a file of lines for each day.

    A day has 634 to 1,014 of them; fewer than 600 is worth a warning, none at all is a failed extraction.
    """
    return source.days("flights", partitions.start.date(), partitions.end.date())


@bronze(
    partitions=daily,
    tags=["daily", "hourly-source"],
    owners=OWNERS,
    group="weather",
    checks=[
        parses(LINES, RawWeather),
        expression("full_day", pl.col("_rows") >= 66, wants="66 hours or more", blocking=False),
    ],
)
def raw_weather(partitions: PartitionRange) -> RawFiles:
    """The weather at New York's three airports, hour by hour (26,115 lines; 72 on a full day).

    The source ends on December 30 at 18:00, so the file of December 31 has no line, which is why their number
    only warns (it does on 5 days).
    """
    return source.days("weather", partitions.start.date(), partitions.end.date())


@bronze(tags=["register"], owners=OWNERS, group="registers", checks=[parses(LINES, RawPlanes)])
def raw_planes() -> RawFiles:
    """The register of planes (3,322), as the FAA had it some time after 2013."""
    yield source.register("planes")


@bronze(tags=["register"], owners=OWNERS, group="registers", checks=[parses(LINES, RawAirports)])
def raw_airports() -> RawFiles:
    """The register of airports in the United States (1,458), railway stations among them."""
    yield source.register("airports")


@bronze(tags=["register"], owners=OWNERS, group="registers", checks=[parses(LINES, RawAirlines)])
def raw_airlines() -> RawFiles:
    """The register of airlines: 16 carrier codes and their names."""
    yield source.register("airlines")
