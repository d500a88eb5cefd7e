"""Many chunks into one table at once, by 1, 2, 4 and 8 workers: threads of one process, or processes.

    python benchmarks/concurrency.py
    LAKEHOUSE_BENCH_ROOT=s3://bucket/prefix python benchmarks/concurrency.py

A publication that others were ahead of is tried again on top of theirs. What matters is how often that was (`again`):
it should not grow with the workers. Chunks are tiny, so that workers do nothing but publish: as bad as it can get.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
from harness import Subject, Watch

from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.storage import Location
from lakehouse.partitions import Daily

subject = Subject(sizes=(1, 2, 4, 8), smoke=(2,), repeats=1)

CHUNKS = 6 if "--smoke" in sys.argv else int(os.environ.get("LAKEHOUSE_BENCH_CHUNKS", "1000"))
DAYS = Daily("2000-01-01", column="day")


TRIED: list[None] = []
"""One for each commit that this process has tried."""


def _counting(commit: Callable[..., int]) -> Callable[..., int]:
    def tried(*args: Any) -> int:
        TRIED.append(None)
        return commit(*args)

    return tried


DeltaLakeTable._commit = _counting(DeltaLakeTable._commit)  # type: ignore[method-assign]


def publish(root: str, numbers: range) -> int:
    """Publish chunks of one day each; returns how many commits this process has tried meanwhile."""
    table, before = DeltaLakeTable(Location.of(root), partitioned=True, clustered=True), len(TRIED)
    for number in numbers:
        day = date(2000, 1, 1) + timedelta(days=number)
        frame = pl.LazyFrame({"day": [day] * 5, "n": range(5)}).with_columns(_partition=pl.lit(str(day)))
        chosen, since = DAYS.select(str(day)), table.newest()
        staged = table.stage(frame, uuid4().hex)
        table.publish(staged, chosen, payload="[]", since=since)
        table.discard(staged, published=chosen)
    return len(TRIED) - before


def measured(folder: Path, workers: int, watch: Watch, pool: Executor, *, together: bool) -> None:
    root = os.environ.get("LAKEHOUSE_BENCH_ROOT", str(folder))
    root = f"{root}/{uuid4().hex}"
    before = len(TRIED)
    publish(root, range(1))
    with pool, watch("publish"):
        each = [pool.submit(publish, root, range(1 + worker, 1 + CHUNKS, workers)) for worker in range(workers)]
        tried = sum(one.result() for one in each)
    if together:
        tried = len(TRIED) - before - 1
    watch.note("again", tried - CHUNKS)
    table = DeltaLakeTable(Location.of(root), partitioned=True)
    assert table.scan().collect().height == 5 * (CHUNKS + 1)
    watch.note("files", len(table.files()))


@subject.case("threads")
def threads(folder: Path, size: int, watch: Watch) -> None:
    measured(folder, size, watch, ThreadPoolExecutor(size), together=True)


@subject.case("processes")
def processes(folder: Path, size: int, watch: Watch) -> None:
    pool = ProcessPoolExecutor(size, mp_context=multiprocessing.get_context("spawn"))
    measured(folder, size, watch, pool, together=False)


if __name__ == "__main__":
    subject.main(__doc__)
