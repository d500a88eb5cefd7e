"""What a look at history costs: three assets after 30, 1,000, 5,000 and 10,000 single-day runs, kept in SQLite.

    python benchmarks/history.py

Each run has published one day of each asset. `all facts` is the first look, before anything is kept; `kept` is each
later one: a snapshot and a plan that finds nothing to do. Tables are left out: what they cost is other subjects'.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from harness import Subject, Watch
from recorded import Recorded

from lakehouse import AssetGraph, Daily, bronze, gold, silver
from lakehouse.lineage import Fact, InputPin, Status
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.planning.plan import make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Snapshot, keep, take_snapshot

START, NOW = date(1990, 1, 1), datetime(2100, 1, 1, tzinfo=UTC)
DAYS = Daily("1990-01-01", end="2030-01-01", column="d")


@bronze(partitions=DAYS)
def raw() -> pl.LazyFrame: ...


@silver(partitions=DAYS)
def clean(raw: pl.LazyFrame) -> pl.LazyFrame: ...


@gold(partitions=DAYS)
def top(clean: pl.LazyFrame) -> pl.LazyFrame: ...


GRAPH = AssetGraph([raw, clean, top])

subject = Subject(sizes=(30, 1_000, 5_000, 10_000), smoke=(3,))


def facts(number: int) -> list[Fact]:
    """What one run has recorded."""
    day = str(START + timedelta(days=number))
    return [
        Fact(
            id=f"{number:032x}",
            asset=asset.key,
            status=Status.PUBLISHED,
            partitions=((day, day),),
            run=f"{number:032x}",
            started=NOW,
            finished=NOW,
            version=number,
            after=number - 1,
            sequence=number,
            spec=DAYS.spec,
            code_version=asset.code_version,
            schema_version=asset.schema_version,
            checks_version=asset.checks_version,
            digests="0" * 16,
            inputs=tuple(
                InputPin(asset=edge.asset.key, version=number, partitions=((day, day),)) for edge in GRAPH.inputs(asset)
            ),
        )
        for asset in GRAPH
    ]


@subject.case("single-day runs")
def runs(folder: Path, size: int, watch: Watch) -> None:
    store = SqliteLineage(folder / "lineage.db")
    store.append([fact for number in range(size) for fact in facts(number)])
    last = str(START + timedelta(days=size - 1))

    def look() -> Snapshot:
        snapshot = take_snapshot(GRAPH, GRAPH, store, lambda asset: Recorded(store.newest(asset.key)), NOW)  # type: ignore[arg-type, return-value]
        assert not make_plan(GRAPH, Request("refresh", "*", f"{START}...{last}"), snapshot)
        return snapshot

    with watch("all facts"):
        snapshot = look()
    with watch("keep"):
        keep(GRAPH, snapshot, store)
    for _ in range(5):
        with watch("kept"):
            look()


if __name__ == "__main__":
    subject.main(__doc__)
