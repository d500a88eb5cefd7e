"""Many chunks into one table at once, by 1, 2, 4 and 8 workers: threads of one process, or processes; on disk and S3.

    python benchmarks/concurrency.py
    LAKEHOUSE_BENCH_CHUNKS=1000 python benchmarks/concurrency.py --only S3

A publication that others were ahead of is tried again on top of theirs. What matters is how often that was (`again`):
it should not grow with the workers. Chunks are tiny, so that workers do nothing but publish: as bad as it can get.
There are 1,000 on disk, and 100 on S3, unless it is said otherwise; S3 is a server of moto on this machine: how long it
takes there tells little.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
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


def chunks(usually: int) -> int:
    """How many chunks are published."""
    return 6 if "--smoke" in sys.argv else int(os.environ.get("LAKEHOUSE_BENCH_CHUNKS", usually))


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


def measured(root: str, workers: int, watch: Watch, pool: Executor, number: int) -> None:
    root, before = f"{root}/{uuid4().hex}", len(TRIED)
    publish(root, range(1))
    with watch("publish"), pool:
        each = [pool.submit(publish, root, range(1 + worker, 1 + number, workers)) for worker in range(workers)]
        tried = sum(one.result() for one in each)
    if isinstance(pool, ThreadPoolExecutor):
        tried = len(TRIED) - before - 1
    watch.note("chunks", number)
    watch.note("again", tried - number)
    table = DeltaLakeTable(Location.of(root), partitioned=True)
    assert table.scan().collect().height == 5 * (number + 1)
    watch.note("files", len(table.files()))


def spawned(workers: int) -> Executor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


@contextmanager
def bucket() -> Iterator[str]:
    """A bucket of a server that lives as long."""
    script = Path(__file__).parents[1] / "tests/support/moto_server.py"
    command = [sys.executable, "-P", script]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        os.environ |= {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
        }
        urllib.request.urlopen(urllib.request.Request(f"{url}/bench", method="PUT")).close()
        yield "s3://bench"
        server.stdin.close()


@subject.case("threads, disk")
def threads(folder: Path, size: int, watch: Watch) -> None:
    measured(str(folder), size, watch, ThreadPoolExecutor(size), chunks(1000))


@subject.case("processes, disk", against="threads, disk")
def processes(folder: Path, size: int, watch: Watch) -> None:
    measured(str(folder), size, watch, spawned(size), chunks(1000))


@subject.case("threads, S3", against="threads, S3", smoke=False)
def threads_at_bucket(folder: Path, size: int, watch: Watch) -> None:
    with bucket() as root:
        measured(root, size, watch, ThreadPoolExecutor(size), chunks(100))


@subject.case("processes, S3", against="threads, S3", smoke=False)
def processes_at_bucket(folder: Path, size: int, watch: Watch) -> None:
    with bucket() as root:
        measured(root, size, watch, spawned(size), chunks(100))


if __name__ == "__main__":
    subject.main(__doc__)
