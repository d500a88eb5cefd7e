"""Where functions are called may be set for selections, which outweighs what assets declare."""

from __future__ import annotations

import os
from typing import Any

import polars as pl
import pytest

from lakehouse import Lakehouse, WorkPool, bronze, silver
from lakehouse.definitions.compute import Process
from lakehouse.settings import load_settings

POOL = WorkPool("ecs-extract", cpu=1024)


@bronze(compute=POOL, tags=["large"])
def sent() -> pl.LazyFrame:
    return pl.LazyFrame({"pid": [os.getpid()]})


@bronze
def small() -> pl.LazyFrame:
    return pl.LazyFrame({"pid": [os.getpid()]})


@silver(compute=WorkPool("elsewhere"))
def clean(sent: pl.LazyFrame) -> pl.LazyFrame:
    return sent.with_columns(own=pl.lit(os.getpid()))


def lake(**compute: Any) -> Lakehouse:
    return Lakehouse([sent, small, clean], storage="memory://", settings=load_settings(compute=compute))


@pytest.fixture(autouse=True)
def _apart(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("compute", "called"),
    [
        ({}, {"bronze.sent": POOL, "silver.clean": WorkPool("elsewhere")}),
        ({"*": "here"}, {}),
        ({"bronze": "here"}, {"silver.clean": WorkPool("elsewhere")}),
        ({"tag:large": "process"}, {"bronze.sent": Process(), "silver.clean": WorkPool("elsewhere")}),
        (
            {"*": "here", "bronze": {"work_pool": "b"}, "bronze.small": "here"},
            {"bronze.sent": WorkPool("b")},
        ),
    ],
)
def test_what_is_set_outweighs_what_is_declared_and_the_last_counts(
    compute: dict[str, Any], called: dict[str, Any]
) -> None:
    assert lake(**compute).computes == called


def test_on_a_laptop_all_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_COMPUTE", '{"*": "here"}')
    found = Lakehouse([sent, clean], storage="memory://", lineage="sqlite:///facts.db")
    found.materialize("*", engine="inline")
    assert found.load(clean).collect().row(0) == (os.getpid(), os.getpid())


def test_a_selection_that_names_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert len(lake(**{"slver.*": "here"}).computes) == 2
    assert "the setting compute names 'slver.*', which is none of the assets here" in caplog.text
