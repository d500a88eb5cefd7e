"""A small lakehouse that writes down each call of its functions, for tests with several processes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lakehouse import Daily, Lakehouse
from lakehouse.lineage import Status

NAME = "toys_of_backfills"

SOURCE = '''
import os
import signal
from pathlib import Path

import polars as pl

from lakehouse import Daily, PartitionRange, bronze, gold, silver

HERE = Path(__file__).parent
daily = Daily("2013-01-01", end="2014-01-01", column="date")


def note(what, days):
    """One write to the end of the file: whole, whoever else is writing."""
    file = os.open(HERE / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, f"{os.getpid()} {what} {days[0]} {days[-1]}\\n".encode())
    finally:
        os.close(file)


@bronze(partitions=daily)
def events(partitions: PartitionRange) -> pl.LazyFrame:
    """Three events a day."""
    days = partitions.keys()
    note("bronze.events", days)
    bad = HERE / "bad"
    for day in bad.read_text().split() if bad.exists() else ():
        if day in days:
            raise ValueError("the source is down")
    return pl.LazyFrame({"date": sorted(days * 3)}).with_columns(value=pl.int_range(pl.len()).over("date"))


@silver(partitions=daily)
def clean(events: pl.LazyFrame, partitions: PartitionRange) -> pl.LazyFrame:
    """Those that count."""
    note("silver.clean", partitions.keys())
    if (HERE / "die").exists():
        (HERE / "die").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return events.filter(pl.col("value") > 0)


@gold(partitions=daily)
def totals(clean: pl.LazyFrame, partitions: PartitionRange) -> pl.LazyFrame:
    """What a day comes to."""
    note("gold.totals", partitions.keys())
    return clean.group_by("date").agg(total=pl.col("value").sum())
'''

daily = Daily("2013-01-01", end="2014-01-01", column="date")
ASSETS = ("bronze.events", "silver.clean", "gold.totals")

Day = tuple[str, str]
"""An asset's key, and a day of it."""


class Call(NamedTuple):
    """A call of an asset's function."""

    process: int
    asset: str
    days: tuple[str, ...]


class Toys:
    """The toys in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / f"{NAME}.py").write_text(SOURCE)

    @property
    def environment(self) -> dict[str, str]:
        """What a process is told so that it works on them."""
        return {
            "PYTHONPATH": str(self.folder),
            "LAKEHOUSE_MODULE": NAME,
            "LAKEHOUSE_STORAGE": str(self.folder / "data"),
            "LAKEHOUSE_LINEAGE": f"sqlite:///{self.folder / 'lineage.db'}",
            "LAKEHOUSE_ENGINE": "inline",
        }

    @property
    def lake(self) -> Lakehouse:
        import importlib

        sys.modules.pop(NAME, None)
        sys.path.insert(0, str(self.folder))
        try:
            module = importlib.import_module(NAME)
        finally:
            sys.path.remove(str(self.folder))
        return Lakehouse(module, storage=self.folder / "data", lineage=f"sqlite:///{self.folder / 'lineage.db'}")

    def fail(self, *days: str) -> None:
        """Have the source fail for these days from now on, and for no others."""
        (self.folder / "bad").write_text(" ".join(days))

    def die(self) -> None:
        """Have the next process that makes Silver be lost while it does."""
        (self.folder / "die").touch()

    @property
    def calls(self) -> list[Call]:
        """Every call of a function so far, in their order."""
        file = self.folder / "calls"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [
            Call(int(process), asset, tuple(daily.select(f"{first}...{last}").keys()))
            for process, asset, first, last in lines
        ]

    def recorded(self) -> set[Day]:
        """What is recorded as published, or will be by the next run."""
        return {(one.asset.key, day) for one in self.lake.status() for day in one.present}


def computed(calls: Sequence[Call]) -> Counter[Day]:
    """How often each day of an asset was computed."""
    return Counter((call.asset, day) for call in calls for day in call.days)


def see_one_record_for_each(lake: Lakehouse, days: str) -> None:
    """Each partition has one fact that stands for it, and no two of them tell of the same version."""
    for key in ASSETS:
        told: Counter[str] = Counter()
        for fact in lake.lineage_store.facts(key):
            if fact.status is Status.PUBLISHED:
                told.update(lake.graph[key].partitions.from_pairs(fact.partitions))
        assert told == Counter(daily.select(days).keys()), key


def see_the_same(one: Lakehouse, other: Lakehouse) -> None:
    """Row by row."""
    for key in ASSETS:
        left, right = (lake.load(key).collect() for lake in (one, other))
        columns = sorted(left.columns)
        assert left.select(columns).sort(columns).equals(right.select(columns).sort(columns)), key
