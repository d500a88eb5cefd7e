"""What the engine itself costs: a no-op asset over 5,000 days, in one step, in steps of 30 days, and of one.

    python benchmarks/bookkeeping.py

Everything is measured side by side in one run; the ratios are what to quote.
"""

from __future__ import annotations

import tempfile
import time

import polars as pl

from lakehouse import Daily, Lakehouse, PartitionRange, bronze

DAYS = "2000-01-01...2013-09-08"
daily = Daily("2000-01-01", end="2013-09-09", column="date")


@bronze(partitions=daily)
def nothing(partitions: PartitionRange) -> pl.LazyFrame:
    """No rows, so that all time is bookkeeping."""
    return pl.LazyFrame(schema={"date": pl.Date})


def measure(partitions: str, chunk: int) -> tuple[float, float, int]:
    """Milliseconds a partition to build, milliseconds in all to find that nothing is to do, and partitions."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lakehouse([nothing], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")
        began = time.perf_counter()
        run = lake.materialize(nothing, partitions, engine="inline", chunk=chunk)
        built = time.perf_counter() - began
        began = time.perf_counter()
        lake.refresh(nothing, partitions, engine="inline")
        return (
            built * 1000 / len(run.published(nothing)),
            (time.perf_counter() - began) * 1000,
            len(run.published(nothing)),
        )


def main() -> None:
    """Print a table."""
    base = None
    print(f"{'chunk':>6} {'partitions':>11} {'ms/partition':>13} {'ratio':>7} {'no-op refresh ms':>17}")
    for chunk, partitions in ((5000, DAYS), (30, DAYS), (1, "2000-01-01...2000-10-26")):
        cost, idle, count = measure(partitions, chunk)
        base = base or cost
        print(f"{chunk:>6} {count:>11,} {cost:>13.3f} {cost / base:>7.1f} {idle:>17.1f}")


if __name__ == "__main__":
    main()
