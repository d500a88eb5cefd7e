"""What a plan costs by the number of partitions: 100, 10,000, 100,000 and 526,000 (five minutes over five years).

    python benchmarks/planning.py

The same two assets each time; what is there was published in steps of 30 partitions, of 3,000 in the last line. The
ratios to the first line are what to quote.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl

from lakehouse import Asset, AssetGraph, Every, bronze, silver
from lakehouse.lineage import AssetState, Fact, InputPin, Status
from lakehouse.partitions import PartitionSet, Present
from lakehouse.planning.plan import make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Known, Snapshot

START = datetime(2013, 1, 1, tzinfo=UTC)
NOW = datetime(2100, 1, 1, tzinfo=UTC)


def graph(number: int) -> AssetGraph:
    """Two assets, cut alike into pieces of five minutes."""
    cut = Every(minutes=5, start=START, end=START + timedelta(minutes=5 * number), column="at")

    @bronze(partitions=cut)
    def raw() -> pl.LazyFrame: ...

    @silver(partitions=cut)
    def clean(raw: pl.LazyFrame) -> pl.LazyFrame: ...

    return AssetGraph([raw, clean])


def history(asset: Asset, step: int) -> list[Fact]:
    """All of an asset as published, a step at a time."""
    low, high = asset.partitions.all(NOW).spans[0]
    found = []
    for number, at in enumerate(range(low, high, step)):
        part = PartitionSet(asset.partitions, ((at, min(high, at + step)),))
        read = InputPin(asset="bronze.raw", version=number, partitions=part.to_pairs())
        found.append(
            Fact(
                id=f"{number:032x}",
                asset=asset.key,
                status=Status.PUBLISHED,
                partitions=part.to_pairs(),
                run="run",
                started=START,
                finished=START,
                version=number,
                code_version=asset.code_version,
                inputs=(read,) if asset.inputs else (),
            )
        )
    return found


def milliseconds(work: Callable[[], object]) -> float:
    """The least of three times."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return min(times)


def main() -> None:
    """Print a table."""
    base: list[float] = []
    print(f"{'partitions':>10} {'facts':>6} {'list':>8} {'fold':>8} {'nothing to do':>14} {'all to do':>10}  ratios")
    for number, step in ((100, 30), (10_000, 30), (100_000, 30), (526_000, 3000)):
        assets = graph(number)
        facts = {asset.key: history(asset, step) for asset in assets}
        states = {a.key: AssetState.fold(a.partitions, facts[a.key]) for a in assets}
        none = {a.key: AssetState.fold(a.partitions, []) for a in assets}
        (raw, clean) = assets

        def plan(known: dict[str, AssetState], targets: tuple[Asset, ...] = (raw, clean)) -> None:
            snapshot = Snapshot({key: Known(state) for key, state in known.items()}, Present.of(NOW))
            make_plan(assets, Request("refresh", targets, chunk=3000), snapshot)  # noqa: B023

        cost = [
            milliseconds(lambda: raw.partitions.all(NOW)),  # noqa: B023
            milliseconds(lambda: AssetState.fold(raw.partitions, facts[raw.key])),  # noqa: B023
            milliseconds(lambda: plan(states)),  # noqa: B023
            milliseconds(lambda: plan(none)),  # noqa: B023
        ]
        base = base or cost
        ratios = " ".join(f"{one / first:.1f}" for one, first in zip(cost, base, strict=True))
        shown = f"{cost[0]:>8.3f} {cost[1]:>8.1f} {cost[2]:>14.1f} {cost[3]:>10.1f}"
        print(f"{number:>10,} {2 * len(facts[raw.key]):>6,} {shown}  {ratios}")
    print("milliseconds")


if __name__ == "__main__":
    main()
