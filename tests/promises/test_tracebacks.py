"""A person's own code keeps its traceback: what a failed run raises is chained to what their function raised."""

from __future__ import annotations

import traceback
from pathlib import Path

import polars as pl
import pytest

from lakehouse import Lakehouse, MaterializationFailed, bronze
from lakehouse.errors import StepError


@bronze
def adds() -> pl.LazyFrame:
    raise ArithmeticError("does not add up")


@bronze
def misses() -> pl.LazyFrame:
    raise KeyError("nobody home")


@bronze
def computes() -> pl.LazyFrame:
    def fall(value: int) -> int:
        raise LookupError("fell down while it was computed")

    return pl.LazyFrame({"n": [1]}).with_columns(pl.col("n").map_elements(fall, return_dtype=pl.Int64))


def _lake(folder: Path) -> Lakehouse:
    return Lakehouse([adds, misses, computes], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")


def test_a_failed_run_is_chained_to_what_the_function_raised(tmp_path: Path) -> None:
    with pytest.raises(MaterializationFailed) as caught:
        _lake(tmp_path).materialize(adds, engine="inline")
    step_error = caught.value.__cause__
    assert isinstance(step_error, StepError)
    assert isinstance(step_error.__cause__, ArithmeticError)
    frames = traceback.extract_tb(step_error.__cause__.__traceback__)
    assert (frames[-1].filename, frames[-1].name) == (__file__, "adds")


def test_several_errors_are_chained_as_a_group(tmp_path: Path) -> None:
    with pytest.raises(MaterializationFailed) as caught:
        _lake(tmp_path).materialize([adds, misses], engine="inline")
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert {type(one.__cause__) for one in group.exceptions} == {ArithmeticError, KeyError}
    shown = "".join(traceback.format_exception(caught.value))
    assert "nobody home" in shown
    assert "does not add up" in shown


def test_what_fails_while_polars_computes_keeps_its_place(tmp_path: Path) -> None:
    with pytest.raises(MaterializationFailed) as caught:
        _lake(tmp_path).materialize(computes, engine="inline")
    shown = "".join(traceback.format_exception(caught.value))
    assert 'raise LookupError("fell down while it was computed")' in shown


def test_a_run_that_is_not_to_raise_has_the_cause(tmp_path: Path) -> None:
    run = _lake(tmp_path).materialize(misses, engine="inline", raise_on_failure=False)
    assert isinstance(run.cause, StepError)
    assert isinstance(run.cause.__cause__, KeyError)
