"""A library in Rust that panics raises what is no ``Exception``: a step fails by it, and no more than that."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lakehouse import Lakehouse, MaterializationFailed, bronze
from lakehouse.checks import custom
from lakehouse.errors import Panic
from lakehouse.io.frames import batches
from lakehouse.lineage import Status
from lakehouse.testing.lineage import MemoryLineage


def panic(frame: pl.DataFrame) -> pl.DataFrame:
    raise pl.exceptions.PanicException("index out of bounds")


@bronze
def at_once() -> pl.DataFrame:
    return panic(pl.DataFrame())


@bronze
def while_computed() -> pl.LazyFrame:
    return pl.LazyFrame({"a": [1]}).map_batches(panic)


@custom
def panics(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.map_batches(panic)


@bronze(checks=[panics])
def while_checked() -> pl.LazyFrame:
    return pl.LazyFrame({"a": [1]})


@bronze
def well() -> pl.LazyFrame:
    return pl.LazyFrame({"a": [1]})


def test_a_panic_fails_the_step_alone(tmp_path: Path) -> None:
    assets = [at_once, while_computed, while_checked, well]
    lake = Lakehouse(assets, storage=tmp_path, lineage=MemoryLineage())
    with pytest.raises(MaterializationFailed) as caught:
        lake.materialize("*", engine="inline")
    assert {key: fact.status for key in [a.key for a in lake.graph] for fact in lake.lineage_store.facts(key)} == {
        "bronze.at_once": Status.FAILED,
        "bronze.while_computed": Status.FAILED,
        "bronze.while_checked": Status.FAILED,
        "bronze.well": Status.PUBLISHED,
    }
    assert str(caught.value).count("index out of bounds") == 3
    assert "stack backtrace" not in str(caught.value)


def test_rows_that_a_panic_cut_short_are_an_error_not_all_there_are() -> None:
    frame = pl.LazyFrame({"a": [1] * 10 + [9] * 10}).map_batches(
        lambda part: panic(part) if part["a"].max() == 9 else part, streamable=True
    )
    with pytest.raises(Panic, match="index out of bounds"):
        list(batches(frame))
