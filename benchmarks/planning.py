"""What a plan costs: five-minute partitions over up to five years, in scattered states; and a thousand assets.

    python benchmarks/planning.py

*Scattered*: two assets that were built hour by hour, each hour by a run of its own; one in fifty then failed, was held
back, was taken away, or was built anew without what is made from it. Their history is kept in SQLite and folded, as
after a run: `look` reads it, `plan` finds what is to do. Of the *thousand assets* each was built in one go; then there
is nothing to do, one partition of one root was built anew, the code of one in the middle has changed, or all is
missing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from harness import Subject, Watch
from recorded import Recorded

from lakehouse import Asset, AssetGraph, Every, From, bronze, silver
from lakehouse.lineage import AssetState, Fact, InputPin, Status
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.partitions import PartitionSet, Present
from lakehouse.planning.plan import make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Known, Snapshot, keep, take_snapshot

START = datetime(2013, 1, 1, tzinfo=UTC)
NOW = datetime(2100, 1, 1, tzinfo=UTC)
HOUR = 12
CHUNK = 3_000

subject = Subject(sizes=(10_000, 100_000, 526_000), smoke=(240,))


def every(number: int) -> Every:
    """So many pieces of five minutes."""
    return Every(minutes=5, start=START, end=START + timedelta(minutes=5 * number), column="at")


def fact(number: int, asset: Asset, part: PartitionSet, status: Status = Status.PUBLISHED, **values: Any) -> Fact:
    """What is recorded of a step, in the order of their numbers."""
    return Fact(
        id=f"{number:016x}{asset.name:>16}"[:32],
        asset=asset.key,
        status=status,
        partitions=part.to_pairs(),
        run=f"{number:032x}",
        started=START,
        finished=START,
        after=number - 1,
        sequence=number,
        spec=asset.partitions.spec,
        code_version=asset.code_version,
        schema_version=asset.schema_version,
        checks_version=asset.checks_version,
        **({"version": number} if status.committed else {}),
        **values,
    )


# ── scattered states ──────────────────────────────────────────────────────────────────────


def two(number: int) -> AssetGraph:
    cut = every(number)

    @bronze(partitions=cut)
    def raw() -> pl.LazyFrame: ...

    @silver(partitions=cut)
    def clean(raw: pl.LazyFrame) -> pl.LazyFrame: ...

    return AssetGraph([raw, clean])


def scattered(graph: AssetGraph) -> Iterator[Fact]:
    """An hour a run; and what went another way, of one hour in fifty."""
    chance = random.Random(1)
    raw, clean = graph["bronze.raw"], graph["silver.clean"]
    ((low, high),) = raw.partitions.all(NOW).spans
    hours = [PartitionSet(raw.partitions, ((at, min(high, at + HOUR)),)) for at in range(low, high, HOUR)]

    def built(number: int, part: PartitionSet) -> Fact:
        read = InputPin(asset=raw.key, version=number, partitions=part.to_pairs())
        return fact(number, clean, part, inputs=(read,))

    for number, part in enumerate(hours, start=1):
        yield fact(number, raw, part)
        yield built(number, part)
    ways = (Status.FAILED, Status.REJECTED, Status.WIPED, Status.PUBLISHED)
    for number, part in enumerate(chance.sample(hours, len(hours) // 50), start=len(hours) + 1):
        way = chance.choice(ways)
        asset = raw if way is Status.PUBLISHED else clean
        yield fact(number, asset, part, way, **({"reason": "by chance"} if way is not Status.PUBLISHED else {}))


def look(graph: AssetGraph, store: SqliteLineage) -> Snapshot:
    return take_snapshot(graph, graph, store, lambda asset: Recorded(store.newest(asset.key)), NOW)  # type: ignore[arg-type, return-value]


def prepare(shared: Path, size: int) -> None:
    """Keep a history, folded."""
    graph, store = two(size), SqliteLineage(shared / "lineage.db")
    store.append(list(scattered(graph)))
    keep(graph, look(graph, store), store)


subject.prepare = prepare


@subject.case("two assets, scattered")
def refresh(folder: Path, size: int, watch: Watch) -> None:
    graph, store = two(size), SqliteLineage(watch.shared / "lineage.db")
    for _ in range(2):
        with watch("look"):
            snapshot = look(graph, store)
        with watch("plan"):
            plan = make_plan(graph, Request("refresh", "*", chunk=CHUNK), snapshot)
    watch.note("sets of partitions", sum(len(known.state.current) for known in snapshot.known.values()))
    watch.note("to do", sum(len(plan.partitions(asset)) for asset in plan.assets))


# ── a thousand assets ─────────────────────────────────────────────────────────────────────


def thousand(number: int) -> AssetGraph:
    """Ten layers of a hundred assets; each of a higher one is made from two of the one below."""
    cut = every(number)
    made: list[list[Asset]] = [[]]
    for n in range(100):

        def root() -> None: ...

        root.__name__ = f"root_{n}"
        made[0].append(bronze(partitions=cut)(root))
    for level in range(1, 10):
        made.append([])
        for n in range(100):

            def one(left: object, right: object) -> None: ...

            one.__name__ = f"made_{level}_{n}"
            left, right = made[-2][n], made[-2][(n + 1) % 100]
            frame = pl.LazyFrame
            one.__annotations__ = {"left": Annotated[frame, From(left)], "right": Annotated[frame, From(right)]}
            made[-1].append(silver(partitions=cut)(one))
    return AssetGraph([asset for level in made for asset in level])


def planned(graph: AssetGraph, states: dict[str, AssetState], watch: Watch, name: str) -> None:
    snapshot = Snapshot({key: Known(state) for key, state in states.items()}, Present.of(NOW))
    with watch(name):
        plan = make_plan(graph, Request("refresh", "*", chunk=CHUNK), snapshot)
    watch.note(f"{name}: steps", len(plan))


@subject.case("a thousand assets")
def large(folder: Path, size: int, watch: Watch) -> None:
    graph = thousand(size)
    root, middle = graph["bronze.root_7"], graph["silver.made_5_7"]
    whole = root.partitions.all(NOW)
    first = PartitionSet(root.partitions, ((whole.spans[0][0], whole.spans[0][0] + 1),))

    def built(asset: Asset, **values: Any) -> Fact:
        pins = (InputPin(asset=edge.asset.key, version=1, partitions=whole.to_pairs()) for edge in graph.inputs(asset))
        return fact(1, asset, whole, inputs=tuple(pins), **values)

    facts = {asset.key: [built(asset)] for asset in graph}
    states = {asset.key: AssetState.fold(asset.partitions, facts[asset.key]) for asset in graph}
    planned(graph, states, watch, "nothing to do")
    anew = AssetState.fold(root.partitions, [*facts[root.key], fact(2, root, first)])
    planned(graph, {**states, root.key: anew}, watch, "one partition anew")
    former = [one.model_copy(update={"code_version": "another"}) for one in facts[middle.key]]
    planned(graph, {**states, middle.key: AssetState.fold(middle.partitions, former)}, watch, "code changed")
    none = {asset.key: AssetState.fold(asset.partitions, ()) for asset in graph}
    planned(graph, none, watch, "all missing")


if __name__ == "__main__":
    subject.main(__doc__)
