"""Assets as a module declares them, with annotations that are text until they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pandera.polars as pa
import polars as pl
from pandera.typing.polars import DataFrame, LazyFrame

from lakehouse import Context, Daily, From, PartitionRange, bronze, gold, silver
from lakehouse.checks import row_count

if TYPE_CHECKING:
    from pandera.typing.polars import Series

daily = Daily("2013-01-01", column="date")


@silver(partitions=daily, checks=[row_count()], tags=["core"])
def trips(tours: LazyFrame[Tour], context: Context) -> LazyFrame[Trip]:
    """What was driven.

    Without the tours that were called off.
    """
    return tours.select("date", "km")  # type: ignore[return-value]


@bronze(partitions=daily)
def tours(partitions: PartitionRange) -> DataFrame[Tour]:
    return pl.DataFrame({"date": partitions.keys()})  # type: ignore[return-value]


@gold
def totals(given: Annotated[pl.DataFrame, From("silver.trips")]) -> pl.DataFrame:
    return given.sum()


class Tour(pa.DataFrameModel):
    date: str
    km: float = pa.Field(nullable=True)


class Trip(pa.DataFrameModel):
    date: str
    km: float


@bronze
def unknown() -> LazyFrame[Nowhere]:  # type: ignore[name-defined]  # noqa: F821
    raise NotImplementedError


@bronze
def for_type_checkers() -> Series[int]:
    raise NotImplementedError
