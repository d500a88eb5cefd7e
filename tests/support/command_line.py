"""The command line over a small project in a folder of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from lakehouse.cli import main

TOYS = '''
import json
import os
from pathlib import Path

import polars as pl

from lakehouse import Daily, PartitionRange, Static, bronze, gold, silver
from lakehouse.checks import expression

daily = Daily("2013-01-01", end="2013-02-01", column="date")


def world():
    file = Path("world.json")
    return json.loads(file.read_text()) if file.exists() else {}


@bronze(partitions=daily, tags=["daily"])
def events(partitions: PartitionRange) -> pl.LazyFrame:
    """Two events a day.

    And a second paragraph."""
    now = world()
    keys = partitions.keys()
    if set(keys) & set(now.get("raises", [])):
        raise ValueError("the source is down")
    if set(keys) & set(now.get("blocks", [])):
        Path("begun").open("w").close()  # somebody reads it by then
        Path("never").open().read()  # nobody ever writes to it
    frame = pl.LazyFrame({"date": sorted(keys * 2)}).with_columns(value=pl.int_range(pl.len()).over("date"))
    bad = pl.col("date").is_in(now.get("negative", [])) & (pl.col("value") == 1)
    dateless = pl.col("date").is_in(now.get("dateless", [])) & (pl.col("value") == 1)
    return frame.with_columns(
        date=pl.when(~dateless).then(pl.col("date")), value=pl.when(bad).then(-1).otherwise(pl.col("value"))
    )


@silver(partitions=daily, checks=[expression("positive", pl.col("value") >= 0)])
def clean(events: pl.LazyFrame) -> pl.LazyFrame:
    """The events that make sense."""
    return events.with_columns(tags=pl.concat_list(pl.lit("a"), pl.lit("b")))


@gold(partitions=daily, checks=[expression("small", pl.col("total") < 0, blocking=False)])
def totals(clean: pl.LazyFrame) -> pl.LazyFrame:
    """What a day comes to."""
    return clean.group_by("date").agg(total=pl.col("value").sum())


@gold
def grand_total(totals: pl.LazyFrame) -> pl.LazyFrame:
    """What all days come to."""
    return totals.select(pl.col("total").sum())


@bronze(partitions=Static(["EWR", "JFK", "LGA"], column="origin"))
def airports(partitions: PartitionRange) -> pl.LazyFrame:
    """Keys that are no pieces of time."""
    return pl.LazyFrame({"origin": partitions.keys()})
'''
_numbers = count()


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Toys:
    """A lakehouse of toys in a folder of its own, which is the current one."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def __call__(self, *words: str) -> Said:
        self.capsys.readouterr()
        code = main(words)
        out, err = self.capsys.readouterr()
        return Said(code, out, err)

    def world(self, **faults: object) -> None:
        """Set what is wrong with the source from now on."""
        (self.folder / "world.json").write_text(json.dumps(faults))

    @property
    def written(self) -> list[str]:
        """What lies in the lakehouse's home."""
        return sorted(p.name for p in self.folder.iterdir() if p.name in ("data", "lineage.db"))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing about how to write, or where."""
    import os

    for name in list(os.environ):
        if name.startswith("LAKEHOUSE_") or name in ("NO_COLOR", "CI", "FORCE_COLOR", "COLUMNS", "LINES", "TERM"):
            monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None) -> Path:
    """An empty folder to work in, with storage and lineage below it, and no orchestrator."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_STORAGE", "data")
    monkeypatch.setenv("LAKEHOUSE_LINEAGE", "sqlite:///lineage.db")
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "inline")
    return tmp_path


@pytest.fixture
def toys(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Toys]:
    name = f"toys_of_the_command_line_{next(_numbers)}"
    (home / f"{name}.py").write_text(TOYS)
    monkeypatch.setenv("LAKEHOUSE_MODULE", name)
    before = list(sys.path)
    yield Toys(home, capsys)
    sys.path[:] = before
    sys.modules.pop(name, None)


@pytest.fixture
def says(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Call the command line over the module that the environment names."""
    return Toys(home, capsys)
