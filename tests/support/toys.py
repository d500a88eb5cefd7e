"""A small lakehouse whose source can be spoiled: Bronze, Silver, Gold, by day and as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pandera.polars as pa
import polars as pl
from pandera.typing.polars import LazyFrame

from lakehouse import Daily, Lakehouse, PartitionRange, Retry, bronze, gold, silver
from lakehouse.checks import expression, row_count

ROWS = 10
daily = Daily("2013-01-01", end="2014-01-01", column="date")


class Events(pa.DataFrameModel):
    """What the source has."""

    date: pl.Date
    number: pl.Int64
    value: pl.Int64


class Clean(Events):
    """No negative values."""

    value: pl.Int64 = pa.Field(ge=0)


class Totals(pa.DataFrameModel):
    """A sum for each day."""

    date: pl.Date
    total: pl.Int64


def world() -> dict[str, Any]:
    """What is wrong with the source just now: days by fault, in a file, so that other processes see it too."""
    file = os.environ.get("TOY_WORLD")
    return cast(dict[str, Any], json.loads(Path(file).read_text())) if file and Path(file).exists() else {}


@bronze(partitions=daily, checks=[row_count(min=1)])
def events(partitions: PartitionRange) -> LazyFrame[Events]:
    """Ten events a day."""
    now = world()
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True).alias("date")
    frame = days.to_frame().lazy().with_columns(number=pl.int_ranges(0, ROWS)).explode("number")
    if set(now.get("raises", [])) & set(partitions.keys()):
        raise ValueError("the source is down")
    day = pl.col("date").cast(pl.String)
    frame = frame.filter(~day.is_in(now.get("empty", [])))
    spoiled = day.is_in(now.get("negative", [])) & (pl.col("number") == 3)
    return cast(
        LazyFrame[Events],
        frame.with_columns(value=pl.when(spoiled).then(-1).otherwise(pl.col("number") + now.get("add", 0))),
    )


@silver(partitions=daily, checks=[expression("small", pl.col("value") < 1000, blocking=False)])
def clean(events: LazyFrame[Events]) -> LazyFrame[Clean]:
    """The events that make sense."""
    return cast(LazyFrame[Clean], events)


@gold(partitions=daily)
def totals(clean: LazyFrame[Clean]) -> LazyFrame[Totals]:
    """What a day comes to."""
    return cast(LazyFrame[Totals], clean.group_by("date").agg(total=pl.col("value").sum()))


@gold(retry=Retry(times=1))
def grand_total(totals: LazyFrame[Totals]) -> pl.LazyFrame:
    """What all days come to."""
    return totals.select(pl.col("total").sum(), days=pl.len())


@silver
def calendar(events: pl.DataFrame) -> pl.DataFrame:
    """A branch of its own: the days that there are."""
    return events.select(pl.col("date").unique())


def lakehouse_in(folder: Path | str) -> Lakehouse:
    """The toys on local disk with SQLite."""
    return Lakehouse(
        [totals, grand_total, calendar], storage=f"{folder}/data", lineage=f"sqlite:///{folder}/lineage.db"
    )
