"""Bronze: what the source has, every row and every value of it, with where and when it was read."""

from typing import Annotated, Any

import pandera.polars as pa
import polars as pl

from lakehouse import Context, Daily, PartitionRange, bronze
from lakehouse.assets import source
from lakehouse.checks import not_null, row_count, unique

daily = Daily("2013-01-01", end="2014-01-01", column="date")
"""One partition a day of 2013: the local day in New York."""

Moment = Annotated[pl.Datetime, "us", "UTC"]
"""A moment in UTC."""

OWNERS = ["data-platform"]


class Extracted(pa.DataFrameModel):
    """Where a row of Bronze came from."""

    source_file: str = pa.Field(alias="_source", description="file that the row was read from")
    extracted_at: Moment = pa.Field(alias="_extracted_at", description="start of the run that read it")
    run_id: str = pa.Field(alias="_run_id", description="the run that read it")


class RawFlights(Extracted):
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


class RawWeather(Extracted):
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


class RawPlanes(Extracted):
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


class RawAirports(Extracted):
    """A line of airports.csv."""

    faa: str = pa.Field(nullable=True)
    name: str = pa.Field(nullable=True)
    lat: float = pa.Field(nullable=True)
    lon: float = pa.Field(nullable=True)
    alt: int = pa.Field(nullable=True)
    tz: int = pa.Field(nullable=True)
    dst: str = pa.Field(nullable=True)
    tzone: str = pa.Field(nullable=True)


class RawAirlines(Extracted):
    """A line of airlines.csv."""

    carrier: str = pa.Field(nullable=True)
    name: str = pa.Field(nullable=True)


@bronze(
    partitions=daily,
    tags=["daily"],
    owners=OWNERS,
    group="flights",
    checks=[row_count(min=1), row_count(min=600, blocking=False, name="busy_day")],
)
def raw_flights(partitions: PartitionRange, context: Context) -> Annotated[pl.LazyFrame, RawFlights]:
    """Every flight that was scheduled to leave New York (336,776 in 2013).

    A day has 634 to 1,014 of them; fewer than 600 is worth a warning, none at all is a failed extraction.
    """
    rows = source.flights(partitions.start.date(), partitions.end.date())
    return _extracted(_dated(rows), "flights.csv", context)


@bronze(
    partitions=daily,
    tags=["daily", "hourly-source"],
    owners=OWNERS,
    group="weather",
    checks=[row_count(min=66, blocking=False)],
)
def raw_weather(partitions: PartitionRange, context: Context) -> Annotated[pl.LazyFrame, RawWeather]:
    """The weather at New York's three airports, hour by hour (26,115 rows; 72 on a full day).

    The source ends on December 30 at 18:00, so December 31 has no row, which is why the row count only warns
    (it does on 5 days).
    """
    rows = source.weather(partitions.start.date(), partitions.end.date())
    return _extracted(_dated(rows), "weather.csv", context)


@bronze(tags=["register"], owners=OWNERS, group="registers", checks=[not_null("tailnum")])
def raw_planes(context: Context) -> Annotated[pl.LazyFrame, RawPlanes]:
    """The register of planes (3,322), as the FAA had it some time after 2013."""
    return _extracted(source.table("planes"), "planes.csv", context)


@bronze(tags=["register"], owners=OWNERS, group="registers", checks=[unique("faa")])
def raw_airports(context: Context) -> Annotated[pl.LazyFrame, RawAirports]:
    """The register of airports in the United States (1,458), railway stations among them."""
    return _extracted(source.table("airports"), "airports.csv", context)


@bronze(tags=["register"], owners=OWNERS, group="registers", checks=[unique("carrier")])
def raw_airlines(context: Context) -> Annotated[pl.LazyFrame, RawAirlines]:
    """The register of airlines: 16 carrier codes and their names."""
    return _extracted(source.table("airlines"), "airlines.csv", context)


def _dated(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(date=pl.date("year", "month", "day"))


def _extracted(rows: pl.LazyFrame, file: str, context: Context) -> pl.LazyFrame:
    marks: dict[str, Any] = {
        "_source": pl.lit(file),
        "_extracted_at": pl.lit(context.started_at).cast(pl.Datetime("us", "UTC")),
        "_run_id": pl.lit(context.run_id),
    }
    return rows.with_columns(**marks)
