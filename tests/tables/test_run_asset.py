"""Assets in memory: as a step makes them, and nothing published."""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb
import pandera.polars as pa
import polars as pl
import pyarrow
import pytest
from pandera.typing.polars import LazyFrame

from lakehouse import Daily, Lakehouse, MaterializationFailed, Monthly, PartitionRange, bronze, gold, silver
from lakehouse.checks import expression, reconcile, row_count
from lakehouse.errors import (
    PartitionError,
    RowsOutsidePartitions,
    SchemaViolation,
    StepError,
    UnknownInput,
    WrongFrame,
)
from lakehouse.lineage import Status
from lakehouse.testing import MemoryLakehouse, run_asset

daily = Daily("2013-01-01", end="2013-03-01", column="date")


class Clean(pa.DataFrameModel):
    date: pl.Date
    n: pl.UInt32 = pa.Field(ge=0)


@bronze(partitions=daily)
def raw(partitions: PartitionRange) -> pl.DataFrame:
    return pl.DataFrame({"date": [date.fromisoformat(key) for key in partitions], "n": range(len(partitions))})


@silver(partitions=daily, checks=[row_count(min=1), reconcile("raw")])
def clean(raw: pl.DataFrame, partitions: PartitionRange) -> LazyFrame[Clean]:
    return raw.lazy().with_columns(pl.col("n").cast(pl.UInt32))  # type: ignore[return-value]


@gold(partitions=Monthly("2013-01", end="2013-03", column="month"), checks=[expression("many", pl.col("n") > 5)])
def monthly(clean: pyarrow.Table) -> duckdb.DuckDBPyRelation:
    return duckdb.connect().from_arrow(clean).aggregate("strftime(date, '%Y-%m') as month, sum(n) as n", "month")


@gold
def total(clean: pl.LazyFrame) -> pl.LazyFrame:
    return clean.select(pl.col("n").sum())


@gold(checks=[expression("never", pl.lit(False))])
def spoiled() -> pl.DataFrame:
    return pl.DataFrame({"n": [1]})


@gold
def mistyped() -> LazyFrame[Clean]:
    return pl.LazyFrame({"date": [date(2013, 1, 1)], "n": ["x"]})  # type: ignore[return-value]


def _days(*days: int, n: int = 7) -> pl.DataFrame:
    return pl.DataFrame({"date": [date(2013, 1, day) for day in days], "n": [n] * len(days)})


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.DataFrame.lazy, pl.DataFrame.to_arrow])
def test_inputs_may_be_any_kind_of_frame_and_types_are_the_schemas(kind: Any) -> None:
    found = run_asset(clean, {"raw": kind(_days(1, 2))}, "2013-01-01...2013-01-02")
    assert found.schema == {"date": pl.Date, "n": pl.UInt32}
    assert found["n"].to_list() == [7, 7]


def test_a_function_is_given_what_it_asks_for() -> None:
    assert run_asset(monthly, {"clean": _days(1, 2)}, "2013-01").rows() == [("2013-01", 14)]
    assert run_asset(total, {"clean": _days(1, 2)}).item() == 14
    assert run_asset(raw, partitions=["2013-01-03", "2013-01-05"])["date"].dt.day().to_list() == [3, 5]


def test_what_a_step_refuses_is_refused() -> None:
    with pytest.raises(RowsOutsidePartitions, match="2013-01-02"):
        run_asset(clean, {"raw": _days(1, 2)}, "2013-01-01")
    with pytest.raises(SchemaViolation, match="has type String"):
        run_asset(mistyped)
    with pytest.raises(StepError, match=r"silver\.clean 2013-01-01.*ColumnNotFoundError"):
        run_asset(clean, {"raw": _days(1).drop("n")}, "2013-01-01")
    with pytest.raises(WrongFrame, match="no frame"):
        run_asset(total, {"clean": "text"})


def test_what_checks_hold_back_is_told() -> None:
    with pytest.raises(StepError, match=r"(?s)gold\.monthly 2013-01 would be held back: many wants .*found"):
        run_asset(monthly, {"clean": _days(1, n=1)}, "2013-01")
    with pytest.raises(StepError, match=r"2013-01-02 would be held back: row_count"):
        run_asset(clean, {"raw": _days(1)}, "2013-01-01...2013-01-02")


def test_frames_must_fit_the_inputs() -> None:
    with pytest.raises(UnknownInput, match=r"lacks a frame for its input 'clean'"):
        run_asset(total)
    with pytest.raises(UnknownInput, match=r"has no input 'claen'.*\n.*did you mean clean"):
        run_asset(total, {"claen": _days(1)})


def test_partitions_must_fit_the_asset() -> None:
    with pytest.raises(PartitionError, match="say which"):
        run_asset(raw)
    with pytest.raises(PartitionError, match="not partitioned"):
        run_asset(total, {"clean": _days(1)}, "2013-01-01")
    with pytest.raises(PartitionError, match="outside the range"):
        run_asset(raw, partitions="2014-01-01")


def test_a_lakehouse_in_memory_does_what_one_on_disk_does(tmp_path: Any) -> None:
    memory = MemoryLakehouse([monthly, total])
    disk = Lakehouse([monthly, total], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    run = memory.materialize([monthly, total], "2013-01")
    disk.materialize([monthly, total], "2013-01", engine="inline")
    for asset in (raw, clean, monthly, total):
        order = memory.load(asset).collect_schema().names()
        assert memory.load(asset).sort(order).collect().equals(disk.load(asset).sort(order).collect())
    assert memory.load(raw, "2013-01-05").collect().height == 1
    assert run.frame(monthly).collect().height == 1
    assert {fact.status for fact in memory.lineage_store.run(run.id)} == {Status.PUBLISHED}
    with pytest.raises(MaterializationFailed, match="never"):
        MemoryLakehouse([spoiled]).materialize(spoiled)
