"""Tables in memory, opened by the same function and built by the same verbs as all others."""

import gc

import polars as pl
import pytest

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, silver
from lakehouse.errors import StorageError
from lakehouse.io.memory import MemoryTable
from lakehouse.io.open import open_table
from lakehouse.maintenance import Maintenance
from lakehouse.settings import load_settings
from lakehouse.testing import MemoryLakehouse, MemoryLineage

daily = Daily("2013-01-01", end="2013-02-01", column="date")


@bronze(partitions=daily)
def raw(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"date": partitions.keys()}).with_columns(pl.col("date").str.to_date())


@silver(partitions=daily)
def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw


def test_every_verb_works_in_memory() -> None:
    lake = MemoryLakehouse([clean])
    assert lake.backfill("+silver.clean", "2013-01-01...2013-01-10", chunk=3).ok
    assert not lake.refresh("+silver.clean", "2013-01-01...2013-01-10").plan
    assert lake.load(clean, "2013-01-05").collect().height == 1
    assert [one.rows for one in lake.status()] == [10, 10]
    assert lake.lineage(clean, "2013-01-05").sources[0].links[0].asset == "bronze.raw"


def test_two_lakehouses_in_memory_know_nothing_of_each_other() -> None:
    first, second = MemoryLakehouse([raw]), MemoryLakehouse([raw])
    first.materialize(raw, "2013-01-01")
    assert second.table(raw).version() is None


def test_a_named_root_is_shared() -> None:
    def lake() -> Lakehouse:
        settings = load_settings(engine="inline")
        return Lakehouse([raw], storage="memory://shared", lineage=MemoryLineage(), settings=settings)

    lake().materialize(raw, "2013-01-01")
    assert lake().table(raw).version() == 0
    MemoryTable.forget("memory://shared")
    assert lake().table(raw).version() is None


def test_tables_end_with_their_lakehouse() -> None:
    lake = MemoryLakehouse([raw])
    lake.materialize(raw, "2013-01-01")
    uri = lake.table(raw).uri
    del lake
    gc.collect()
    assert open_table(uri, partitioned=True).version() is None


def test_what_is_in_memory_is_not_looked_after() -> None:
    with pytest.raises(StorageError, match="is no Delta table"):
        Maintenance(MemoryLakehouse([raw])).retain(versions=1)
