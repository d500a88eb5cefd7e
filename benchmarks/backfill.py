"""A backfill of a year of days through three layers, in chunks of 30 days and in one, beside a bare script.

    python benchmarks/backfill.py [--smoke] [--inline]

The bare script does the same work chunk by chunk and layer by layer with polars, pandera and deltalake alone: it reads
the days of its input, computes, holds the rows against the schema, looks for repeated ids, and replaces these days in
one commit. It keeps no records and pins no versions, and what it has checked it doesn't stage. Everything is measured
side by side in one run, the cases taking turns; the ratios of the medians are what to quote. Prefect is the one that is
configured (PREFECT_API_URL), or a temporary server with its SQLite database, which is warm before anything is measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

import pandera.polars as pa
import polars as pl
from deltalake import DeltaTable, write_deltalake

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, gold, silver
from lakehouse.checks import unique
from lakehouse.integrations.prefect.engine import PrefectEngine

ROWS = 1_000  # a day
daily = Daily("2013-01-01", end="2014-01-01", column="date")

YEAR = "2013-01-01...2013-12-31"
MONTH = "2013-01-01...2013-01-31"


class Event(pa.DataFrameModel):
    """What the source promises."""

    date: date
    id: int = pa.Field(ge=0)
    value: int = pa.Field(ge=0, lt=1000)


class Kept(Event):
    """What makes sense of it."""

    value: int = pa.Field(gt=10, lt=1000)


class Scored(Kept):
    """What is made of it."""

    score: float = pa.Field(ge=0)


def extract(days: list[date]) -> pl.LazyFrame:
    """What the source answers."""
    frame = pl.select(date=pl.Series(days).repeat_by(ROWS).explode()).lazy()
    number = pl.int_range(pl.len())
    return frame.with_columns(id=number, value=(number * 7919) % 1000)


def cleanse(frame: pl.LazyFrame) -> pl.LazyFrame:
    """What makes sense of it."""
    return frame.filter(pl.col("value") > 10)


def score(frame: pl.LazyFrame) -> pl.LazyFrame:
    """What is made of it."""
    return frame.with_columns(score=pl.col("value").sqrt())


def dates(keys: list[str]) -> list[date]:
    """Days by their keys."""
    return [date.fromisoformat(key) for key in keys]


@bronze(partitions=daily, checks=[unique("id")])
def events(partitions: PartitionRange) -> Annotated[pl.LazyFrame, Event]:
    return extract(dates(partitions.keys()))


@silver(partitions=daily, checks=[unique("id")])
def clean(events: Annotated[pl.LazyFrame, Event]) -> Annotated[pl.LazyFrame, Kept]:
    return cleanse(events)


@gold(partitions=daily, checks=[unique("id")])
def scored(clean: Annotated[pl.LazyFrame, Kept]) -> Annotated[pl.LazyFrame, Scored]:
    return score(clean)


def bare(folder: Path, partitions: str, chunk: int) -> None:
    """The same work without the library."""
    days = dates(daily.select(partitions).keys())
    for some in (days[at : at + chunk] for at in range(0, len(days), chunk)):
        publish(folder / "events", extract(some), Event, some)
        publish(folder / "clean", cleanse(read(folder / "events", some)), Kept, some)
        publish(folder / "scored", score(read(folder / "clean", some)), Scored, some)


def read(table: Path, days: list[date]) -> pl.LazyFrame:
    """Some days of a table."""
    return pl.scan_delta(str(table)).filter(pl.col("date").is_between(days[0], days[-1]))


def publish(table: Path, frame: pl.LazyFrame, model: type[pa.DataFrameModel], days: list[date]) -> None:
    """Check rows, and put them in the place of what there is of these days."""
    rows = model.validate(frame.collect(), lazy=True)
    repeated = rows.group_by("date").agg((pl.len() - pl.col("id").n_unique()).alias("repeated"))
    assert repeated["repeated"].sum() == 0
    there = DeltaTable.is_deltatable(str(table))
    write_deltalake(
        str(table),
        rows,
        partition_by=["date"],
        mode="overwrite" if there else "error",
        predicate=f"date >= '{days[0]}' AND date <= '{days[-1]}'" if there else None,
    )


def inline(folder: Path, partitions: str, chunk: int) -> None:
    """The same work, step by step in this process."""
    lake_in(folder).backfill("+gold.scored", partitions, chunk=chunk, engine="inline")


def prefect(parallel: int) -> Callable[[Path, str, int], None]:
    """The same work as a flow run."""

    def run(folder: Path, partitions: str, chunk: int) -> None:
        lake_in(folder).backfill("+gold.scored", partitions, chunk=chunk, engine=PrefectEngine(parallel))

    return run


def lake_in(folder: Path) -> Lakehouse:
    """A lakehouse with nothing in it."""
    return Lakehouse([scored], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")


def seconds(work: Callable[[Path, str, int], None], partitions: str, chunk: int) -> float:
    """How long it takes."""
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        began = time.perf_counter()
        work(Path(folder), partitions, chunk)
        return time.perf_counter() - began


def main() -> None:
    """Print a table, and the same as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="a month instead of a year, and once")
    parser.add_argument("--inline", action="store_true", help="without Prefect")
    given = parser.parse_args()
    cases: dict[str, Callable[[Path, str, int], None]] = {"bare script": bare, "inline": inline}
    if not given.inline:
        cases |= {"prefect, 1 at a time": prefect(1), "prefect, 4 at a time": prefect(4)}
    partitions, times, chunks = (MONTH, 1, (10, 31)) if given.smoke else (YEAR, 5, (30, 365))
    for work in cases.values():
        seconds(work, "2013-01-01...2013-01-02", 1)  # what is loaded and started once
    found = []
    print(f"{'chunk':>6} {'steps':>6} {'':<22} {'seconds':>8} {'ms/step':>8} {'ratio':>6}")
    for chunk in chunks:
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(times):
            for name, work in cases.items():
                taken[name].append(seconds(work, partitions, chunk))
        steps = 3 * -(-len(daily.select(partitions)) // chunk)
        base = statistics.median(taken["bare script"])
        for name, listed in taken.items():
            median = statistics.median(listed)
            ratio = median / base
            print(f"{chunk:>6} {steps:>6} {name:<22} {median:>8.2f} {median * 1000 / steps:>8.1f} {ratio:>6.2f}")
            found.append({"chunk": chunk, "case": name, "seconds": round(median, 3), "ratio": round(ratio, 2)})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
