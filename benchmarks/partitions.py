"""Many small partitions in one table: five-minute partitions of five rows, sharing files or with files of their own.

    python benchmarks/partitions.py
    python benchmarks/partitions.py --sizes 2000,105000 --only shared

What matters is the last column: what a partition costs in a large table, beside what it costs in a small one. Building,
counting and planning may take as many times longer as there are more partitions; one more and one replaced may not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from harness import Subject, Watch

from lakehouse import Every, Lakehouse, PartitionRange, bronze
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.storage import Location
from lakehouse.io.tokens import token
from lakehouse.partitions import PartitionSet
from lakehouse.testing.lineage import MemoryLineage

subject = Subject(sizes=(2_000, 20_000), smoke=(20,), repeats=3)

START = datetime(2020, 1, 1, tzinfo=UTC)
MINUTES, ROWS = 5, 5
EVERY = Every("2020-01-01T00:00", minutes=MINUTES, column="at")


def rows(first: int, count: int, value: float = 1.0) -> pl.LazyFrame:
    """Five rows of each partition."""
    at = pl.lit(START) + pl.duration(minutes=MINUTES * pl.col("i").floordiv(ROWS))
    numbers = pl.LazyFrame().select(i=pl.int_range(first * ROWS, (first + count) * ROWS, dtype=pl.Int64))
    return numbers.with_columns(at=at.dt.cast_time_unit("us"), value=pl.lit(value))


def partitions(first: int, count: int) -> PartitionSet:
    low = START + timedelta(minutes=MINUTES * first)
    return EVERY.select(EVERY.range(low, low + timedelta(minutes=MINUTES * (count - 1))))


def measured(table: DeltaLakeTable, size: int, watch: Watch) -> None:
    key = token(EVERY, rows(0, 1).collect_schema(), where="benchmark").alias("_partition")

    def publish(first: int, count: int, value: float, attempt: str) -> None:
        chosen = partitions(first, count)
        since = table.newest()
        staged = table.stage(rows(first, count, value).with_columns(key), attempt)
        table.publish(staged, chosen, payload="[]", since=since)
        table.discard(staged, published=chosen)

    with watch("build"):
        publish(0, size, 1.0, "build")
    with watch("count"):
        assert len(table.rows()) == size
    for turn in range(3):
        with watch("replace one"):
            publish((turn + 1) * size // 4, 1, 2.0, f"replaced-{turn}")
        with watch("one more"):
            publish(size + turn, 1, 1.0, f"more-{turn}")
    with watch("read one"):
        assert table.scan(partitions(0, 1)).collect().height == ROWS
    with watch("read all"):
        assert table.scan().select(pl.col("value").sum()).collect().item() == (size + 3) * ROWS + 3 * ROWS
    there = [path for path in Path(table.location.target).rglob("*") if path.is_file()]
    watch.note("files", len(there))
    watch.note("kB", sum(path.stat().st_size for path in there) // 1000)


@subject.case("files of their own")
def apart(folder: Path, size: int, watch: Watch) -> None:
    measured(DeltaLakeTable(Location.of(folder / "table"), partitioned=True, clustered=False), size, watch)


@subject.case("shared files")
def shared(folder: Path, size: int, watch: Watch) -> None:
    measured(DeltaLakeTable(Location.of(folder / "table"), partitioned=True, clustered=True), size, watch)


@subject.case("lakehouse")
def lakehouse(folder: Path, size: int, watch: Watch) -> None:
    @bronze(partitions=EVERY)
    def readings(partitions: PartitionRange) -> pl.LazyFrame:
        first = (partitions.start - START) // timedelta(minutes=MINUTES)
        return rows(first, (partitions.end - partitions.start) // timedelta(minutes=MINUTES))

    lake = Lakehouse([readings], storage=folder / "data", lineage=MemoryLineage())
    with watch("materialize all"):
        lake.materialize(readings, partitions(0, size), engine="inline")
    with watch("plan all again"):
        assert lake.plan(readings, partitions(0, size))
    for turn in range(3):
        with watch("materialize one more"):
            lake.materialize(readings, partitions(size + turn, 1), engine="inline")


if __name__ == "__main__":
    subject.main(__doc__)
