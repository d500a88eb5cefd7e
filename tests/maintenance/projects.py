"""Small projects that are edited and started anew, and what lies in their folders."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.lineage import AssetState

DAYS = "2013-01-01...2013-01-05"

DAILY = """
import polars as pl
from lakehouse import Daily, PartitionRange, bronze, gold, silver
from lakehouse.checks import expression

daily = Daily("2013-01-01", end="2013-01-06", column="date")
VALUE = 1
BAD = ""


@bronze(partitions=daily)
def readings(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"date": partitions.keys()}).with_columns(value=pl.lit(VALUE))


@silver(partitions=daily, checks=[expression("good", pl.col("date") != BAD)])
def clean(readings: pl.LazyFrame) -> pl.LazyFrame:
    return readings.with_columns(double=pl.col("value") * 2)


@gold
def total(clean: pl.LazyFrame) -> pl.LazyFrame:
    return clean.select(pl.col("double").sum())
"""

REGIONS = """
import polars as pl
from lakehouse import PartitionRange, Static, bronze, gold, silver

regions = Static(["US", "EU"], column="region")


@bronze(partitions=regions)
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"region": partitions.keys()}).with_columns(amount=pl.lit(5))


@silver(partitions=regions)
def checked(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.with_columns(twice=pl.col("amount") * 2)


@gold
def by_region(checked: pl.LazyFrame) -> pl.LazyFrame:
    return checked.group_by("region").agg(pl.col("twice").sum())
"""


def open_project(folder: Path, source: str, **options: Any) -> Lakehouse:
    """A lakehouse whose assets are read from source, as if it had been edited and started anew."""
    file = folder / "project_of_upkeep.py"
    file.write_text(source)
    linecache.checkcache(str(file))
    spec = importlib.util.spec_from_file_location("project_of_upkeep", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["project_of_upkeep"] = module
    spec.loader.exec_module(module)
    given: dict[str, Any] = {"storage": folder / "data", "lineage": f"sqlite:///{folder}/lineage.db"} | options
    return Lakehouse(module, **given)


def refresh(lake: Lakehouse, partitions: str | None = DAYS, targets: str = "*") -> None:
    """Bring it up to date, in this process."""
    lake.refresh(targets, partitions, engine="inline")


def outdated(lake: Lakehouse) -> dict[str, list[str]]:
    """Why what is there is out of date, by asset; empty: nothing is."""
    return {one.asset.key: [str(reason) for reason in one.stale] for one in lake.status() if one.stale}


def present(lake: Lakehouse, asset: str) -> str:
    """The partitions that count as published."""
    (one,) = lake.status(asset)
    return str(one.present)


def state(lake: Lakehouse, asset: str) -> AssetState:
    """What lineage alone comes to."""
    return AssetState.fold(lake.graph[asset].partitions, lake.lineage_store.facts(asset))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and what is in it."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix not in (".py", ".pyc")
    }


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def kill(patch: pytest.MonkeyPatch, owner: Any, name: str, when: str) -> None:
    """From now on a call ends the process, before or after it has done its work."""
    real: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **options: Any) -> Any:
        if when == "after":
            real(*args, **options)
        raise Killed

    patch.setattr(owner, name, dying)
