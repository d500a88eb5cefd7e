"""A backfill of a year of days through three layers: in chunks of 30 days and of 1, with 1 and 4 of them side by side.

    python benchmarks/backfill.py

The reference does the same work on the same rows, chunk by chunk and layer by layer, with polars and Parquet files
alone: no versions, checks, records or orchestrator. Everything is measured side by side in one run; the ratios are what
to quote. Prefect is the one that is configured (PREFECT_API_URL), or a temporary server with its SQLite database.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, gold, silver

ROWS = 20_000  # a day
PAUSE = 0.2  # seconds that a source takes to answer, whatever it is asked for
daily = Daily("2013-01-01", end="2014-01-01", column="date")

YEAR = "2013-01-01...2013-12-31"
TWO_MONTHS = "2013-01-01...2013-03-01"


def extract(days: list[str]) -> pl.LazyFrame:
    """What the source answers."""
    time.sleep(PAUSE)
    number = pl.int_range(pl.len()) % ROWS
    frame = pl.select(date=pl.Series(days).repeat_by(ROWS).explode()).lazy()
    return frame.with_columns(number=number, value=(number * 7919) % 1000)


def cleanse(frame: pl.LazyFrame) -> pl.LazyFrame:
    """What makes sense of it."""
    return frame.filter(pl.col("value") > 10)


def sum_up(frame: pl.LazyFrame) -> pl.LazyFrame:
    """What a day comes to."""
    return frame.group_by("date").agg(total=pl.col("value").sum(), most=pl.col("value").max())


@bronze(partitions=daily)
def events(partitions: PartitionRange) -> pl.LazyFrame:
    return extract(partitions.keys())


@silver(partitions=daily)
def clean(events: pl.LazyFrame) -> pl.LazyFrame:
    return cleanse(events)


@gold(partitions=daily)
def totals(clean: pl.LazyFrame) -> pl.LazyFrame:
    return sum_up(clean)


def reference(folder: Path, partitions: str, chunk: int) -> None:
    """The same work without the engine."""
    days = daily.select(partitions).keys()
    for number, some in enumerate(days[at : at + chunk] for at in range(0, len(days), chunk)):
        files = [folder / f"{layer}-{number}.parquet" for layer in ("bronze", "silver", "gold")]
        extract(some).sink_parquet(files[0])
        cleanse(pl.scan_parquet(files[0])).sink_parquet(files[1])
        sum_up(pl.scan_parquet(files[1])).sink_parquet(files[2])


def backfill(engine: str, parallel: int) -> Callable[[Path, str, int], None]:
    """The same through a lakehouse."""

    def run(folder: Path, partitions: str, chunk: int) -> None:
        lake = Lakehouse([totals], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")
        lake.backfill("+gold.totals", partitions, chunk=chunk, parallel=parallel, engine=engine)  # type: ignore[arg-type]

    return run


def seconds(work: Callable[[Path, str, int], None], partitions: str, chunk: int) -> float:
    """How long it takes."""
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        began = time.perf_counter()
        work(Path(folder), partitions, chunk)
        return time.perf_counter() - began


def cases() -> Iterator[tuple[str, Callable[[Path, str, int], None]]]:
    yield "polars alone", reference
    yield "inline", backfill("inline", 1)
    yield "prefect, 1 at a time", backfill("prefect", 1)
    yield "prefect, 4 at a time", backfill("prefect", 4)


def main() -> None:
    """Print a table."""
    seconds(backfill("prefect", 1), "2013-01-01", 1)  # what is loaded and started once
    print(f"{'chunk':>6} {'days':>5} {'':<22} {'seconds':>8} {'ms a day':>9} {'ratio':>6}")
    for chunk, partitions in ((30, YEAR), (1, TWO_MONTHS)):
        base = None
        days = len(daily.select(partitions))
        for name, work in cases():
            taken = seconds(work, partitions, chunk)
            base = base or taken
            print(f"{chunk:>6} {days:>5} {name:<22} {taken:>8.1f} {taken * 1000 / days:>9.1f} {taken / base:>6.2f}")


if __name__ == "__main__":
    main()
