"""A column of a person's may have whatever name: the library's own never meet it."""

from pathlib import Path
from typing import Annotated

import polars as pl
import pytest

from lakehouse import From, Lakehouse, PartitionRange, Static, bronze, silver
from lakehouse.checks import (
    Check,
    FrameCheck,
    accepted_values,
    custom,
    expression,
    not_null,
    reconcile,
    row_count,
    unique,
)
from lakehouse.checks.gate import reasons_in
from lakehouse.io.columns import column
from lakehouse.testing.lineage import MemoryLineage

regions = Static(["a", "b"], column="region")
NAMES = [
    *("_row", "_file", "__file", "_reasons", "rows", "rows there", "flag 0", "bad", "fails", "theirs", "ours", "count"),
    *("repeated", "0.failing", "hash 1", "index", "check_output", "literal", "len", "path", "token", "A b/c%=", "a.b"),
    *("*", "^n$", "^.*$", "^region|n$"),
]


@custom
def negative(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.filter(pl.col("n") < 0)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_checked_held_back_and_published_like_any_other(name: str, tmp_path: Path) -> None:
    @bronze(partitions=regions)
    def loaded(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"region": partitions.keys()}).with_columns(pl.lit(7).alias(name), n=pl.lit(1))

    checks: list[Check | FrameCheck] = [
        expression("positive", pl.col("n") >= 0),
        row_count(),
        unique(name, "n"),
        not_null(name),
        accepted_values(name, [7, 8]),
        reconcile("loaded"),
        negative,
    ]

    @silver(partitions=regions, checks=checks)
    def checked(loaded: Annotated[pl.LazyFrame, From(loaded)]) -> pl.LazyFrame:
        return loaded.with_columns(n=pl.when(pl.col("region") == "a").then(-1).otherwise("n"))

    lake = Lakehouse([checked], storage=tmp_path, lineage=MemoryLineage())
    lake.materialize("*", engine="inline", raise_on_failure=False)
    assert lake.load(checked).collect().select("region", column(name)).rows() == [("b", 7)]
    (status,) = lake.status("silver.checked")
    (uri,) = status.quarantine
    held = lake.table(checked).quarantined(uri).collect()
    reasons = reasons_in(held.columns)
    assert reasons is not None
    assert held.select("region", column(name), reasons).rows() == [("a", 7, ["positive", "negative"])]


@pytest.mark.parametrize("name", ["*", "^n$", "^.*$", "a b"])
def test_it_may_be_the_partition_column(name: str, tmp_path: Path) -> None:
    partitions = Static(["a", "b"], column=name)

    @bronze(partitions=partitions, checks=[not_null(name)])
    def loaded(partitions: PartitionRange) -> pl.LazyFrame:
        keys = [*partitions.keys(), None]
        return pl.LazyFrame({name: keys, "n": [1] * len(keys), "d": pl.Series([[{"x": 1}]] * len(keys))})

    lake = Lakehouse([loaded], storage=tmp_path, lineage=MemoryLineage())
    run = lake.materialize(loaded, engine="inline", raise_on_failure=False)
    assert sorted(lake.load(loaded).collect()[name]) == ["a", "b"]
    assert sorted(lake.load(loaded, "b").collect()[name]) == ["b"]
    assert "1 row in no partition" in str(run.results[0].error)


def test_one_of_a_table_that_has_no_partitions(tmp_path: Path) -> None:
    @bronze(checks=[expression("positive", pl.col("n") >= 0)])
    def loaded() -> pl.LazyFrame:
        return pl.LazyFrame({"_file": ["a.csv"], "_row": [1], "_reasons": ["new"], "n": [1]})

    lake = Lakehouse([loaded], storage=tmp_path, lineage=MemoryLineage())
    lake.materialize(loaded, engine="inline")
    assert lake.load(loaded).collect().rows() == [("a.csv", 1, "new", 1)]


def test_the_one_name_that_the_tables_need_is_refused(tmp_path: Path) -> None:
    @bronze
    def loaded() -> pl.LazyFrame:
        return pl.LazyFrame({"_partition": [1]})

    lake = Lakehouse([loaded], storage=tmp_path, lineage=MemoryLineage())
    run = lake.materialize(loaded, engine="inline", raise_on_failure=False)
    assert "a column '_partition', which is the library's own" in str(run.results[0].error)
