"""Plans from what is kept folded, with what is alike merged, are the plans from all facts."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import (
    Asset,
    AssetGraph,
    Daily,
    Freshness,
    From,
    Hourly,
    Lakehouse,
    PartitionRange,
    Static,
    bronze,
    gold,
    silver,
    source,
)
from lakehouse.lineage import AssetState, Fact, InputPin, Status, merging
from lakehouse.lineage.kept import Kept, Late
from lakehouse.lineage.merging import merged
from lakehouse.lineage.reads import Reads
from lakehouse.lineage.state import made_at, versions_of
from lakehouse.lineage.unchanged import Asked, unchanged
from lakehouse.partitions import Last, PartitionSet, Present, Window
from lakehouse.planning.plan import Plan, make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Known, Snapshot
from lakehouse.testing.lineage import MemoryLineage, sample_fact

BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
DAYS = Daily("2013-01-01", end="2013-01-21", column="d")
KEYS = Static([f"k{n}" for n in range(6)], column="k")


@source(partitions=Daily("2013-01-01", end="2013-01-21"))
def landing() -> dict[str, str]: ...


@bronze(partitions=DAYS)
def raw(landing: pl.LazyFrame) -> pl.LazyFrame: ...


@bronze(partitions=Hourly("2013-01-01T00:00", end="2013-01-21T00:00", column="h"))
def hours() -> pl.LazyFrame: ...


@bronze
def names() -> pl.LazyFrame: ...


@bronze(partitions=KEYS)
def keyed() -> pl.LazyFrame: ...


@silver(partitions=DAYS)
def clean(raw: pl.LazyFrame, names: pl.LazyFrame) -> pl.LazyFrame: ...


@silver(partitions=DAYS)
def window(clean: Annotated[pl.LazyFrame, From("silver.clean", Window(before=2))]) -> pl.LazyFrame: ...


@silver(partitions=DAYS, freshness=Freshness(max_age="30d"))
def both(
    raw: pl.LazyFrame, before: Annotated[pl.LazyFrame, From("bronze.raw", Window(before=1))], hours: pl.LazyFrame
) -> pl.LazyFrame: ...


@silver(partitions=KEYS)
def latest(keyed: pl.LazyFrame, clean: Annotated[pl.LazyFrame, From("silver.clean", Last())]) -> pl.LazyFrame: ...


@gold
def top(window: pl.LazyFrame, latest: pl.LazyFrame) -> pl.LazyFrame: ...


GRAPH = AssetGraph([top, both])
NOW = Present.of(BEGIN + timedelta(days=40))
States = Mapping[str, AssetState]


class History:
    """What random runs write down, each made from what there is of its inputs just then."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.facts: dict[str, list[Fact]] = {asset.key: [] for asset in GRAPH}
        self.number = 0
        # Some have all been built in one go before single partitions are.
        for asset in GRAPH:
            if self.chance.random() < 0.5:
                self.write(asset, asset.partitions.all(NOW))

    def state(self, asset: Asset) -> AssetState:
        return AssetState.fold(asset.partitions, self.facts[asset.key])

    def some(self, asset: Asset) -> PartitionSet:
        whole = asset.partitions.all(NOW)
        low, high = whole.spans[0]
        at = self.chance.randrange(low, high)
        return PartitionSet(asset.partitions, ((at, at + self.chance.choice([1, 1, 1, 4])),)) & whole

    def run(self) -> None:
        asset = self.chance.choice(tuple(GRAPH))
        kind = self.chance.random()
        if kind < 0.85:
            self.write(asset, self.some(asset), old=self.chance.random() < 0.03)
        else:
            self.write(
                asset,
                self.some(asset),
                self.chance.choice([Status.WIPED, Status.FORGOTTEN, Status.FAILED, Status.REJECTED]),
            )

    def write(self, asset: Asset, part: PartitionSet, status: Status | None = None, *, old: bool = False) -> None:
        state = self.state(asset)
        version = -1 if state.version is None else state.version
        self.number += 1
        at = BEGIN + timedelta(days=self.number / 10)
        values: dict[str, Any] = {"status": status or (Status.OBSERVED if asset.external else Status.PUBLISHED)}
        if values["status"].committed:
            values["version"] = version + 1
        else:
            values |= {"version": None, "after": version}
        if values["status"] in (Status.PUBLISHED, Status.OBSERVED):
            pins = []
            for edge in GRAPH.inputs(asset):
                there = self.state(edge.asset)
                needed = GRAPH.mapping(asset, edge, NOW, there.present).upstream(part) & there.present
                pins.append(InputPin(asset=edge.asset.key, version=there.version, partitions=needed.to_pairs()))
            same = self.some(asset) & part & state.present if self.chance.random() < 0.3 else part & part - part
            values |= {
                "inputs": tuple(pins),
                "code_version": "old" if old else asset.code_version,
                "schema_version": asset.schema_version,
                "checks_version": asset.checks_version,
                "unchanged": same.to_pairs(),
                "compared": version if same else None,
                "rows": 10 * len(part),
                "digests": "".join(f"{self.chance.randrange(10**9):016}" for _ in part),
            }
        # Clocks say nothing.
        id = f"{self.chance.randrange(10**6):012x}{self.number:020x}"
        self.facts[asset.key].append(
            sample_fact(
                id=id, asset=asset.key, partitions=part.to_pairs(), started=at, finished=at, **{"inputs": (), **values}
            )
        )


def kept_states(history: History, before: History | None, known: dict[str, Kept]) -> dict[str, Kept]:
    """What is kept of a history, gone on with from what was kept of its beginning: as a store is read and renewed."""
    found: dict[str, Kept] = {}
    for asset in GRAPH:
        facts = history.facts[asset.key]
        done = len(before.facts[asset.key]) if before is not None else 0
        kept = Kept.of(asset.partitions, facts)
        if asset.key in known:
            back = Kept.from_json(known[asset.key].to_json(asset, GRAPH), asset, GRAPH)
            assert back is not None
            if all(found[key].epoch == epoch for key, epoch in back.sources.items()):
                try:
                    kept = back.plus(facts[done:])
                except Late:
                    kept = Kept.of(asset.partitions, facts)
        found[asset.key] = kept
    return found


def with_whole(kept: Mapping[str, Kept], history: History) -> dict[str, Kept]:
    """The same, able to fold all facts: what a snapshot gives them."""

    def folds(key: str) -> Callable[[], AssetState]:
        return lambda: history.state(GRAPH[key])

    def reads(key: str) -> Callable[[Collection[int]], list[Fact]]:
        return lambda versions: [fact for fact in history.facts[key] if fact.version in set(versions)]

    return {key: replace(one, state=replace(one.state, whole=folds(key), at=reads(key))) for key, one in kept.items()}


def states_of(kept: Mapping[str, Kept]) -> dict[str, AssetState]:
    return {key: one.state for key, one in kept.items()}


def plans(states: States, now: Present = NOW) -> list[Any]:
    snapshot = Snapshot({key: Known(state) for key, state in states.items()}, now)
    made = [
        make_plan(GRAPH, Request("refresh", targets, upstream=upstream, chunk=3), snapshot)  # type: ignore[arg-type]
        for targets, upstream in ((["gold.top", "silver.both"], "missing"), ("+gold.top", "missing"), ("*", "stale"))
    ]
    return [[told(plan), plan.current] for plan in made]


def told(plan: Plan) -> list[Any]:
    """All that a plan says, but for how many rows to expect: those are shared out."""
    return [
        (step.id, step.partitions, step.reasons, step.inputs, step.since, step.sequence, step.digests, step.rest)
        for step in plan.steps
    ]


def told_of_reads(states: States, history: History) -> dict[tuple[str, str], dict[int, PartitionSet]]:
    """Of what current publications were made from, what is another thing by now, by the newest version that has it:
    what a retention keeps for them.
    """
    reads = Reads(GRAPH, lambda asset: states[asset.key], NOW)
    found = {}
    for consumer in GRAPH:
        for producer in {edge.asset.key: edge.asset for edge in GRAPH.inputs(consumer)}.values():
            asked = [
                Asked(read.version, read.partitions)
                for part, fact in states[consumer.key].current
                for read in reads.needed(consumer, part, fact, producer)
                if read.version is not None
            ]
            kept: dict[int, list[PartitionSet]] = {}
            for answers in unchanged(producer.partitions, history.facts[producer.key], asked):
                for part, until in answers:
                    if until is not None:
                        kept.setdefault(until, []).append(part)
            found[consumer.key, producer.key] = {v: producer.partitions.union(parts) for v, parts in kept.items()}
    return found


@pytest.mark.parametrize("seed", range(8))
def test_plans_are_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "RECENT", seed % 4 or 1)
    monkeypatch.setattr(merging, "_UNSEEN", 2)
    history, before = History(seed), None
    known: dict[str, Kept] = {}
    for _ in range(3):
        for _ in range(history.chance.choice([3, 20, 60])):
            history.run()
        kept = with_whole(kept_states(history, before, known), history)
        whole = {asset.key: history.state(asset) for asset in GRAPH}
        assert plans(states_of(kept)) == plans(whole)
        known = merged(GRAPH, kept, NOW)
        states = states_of(known)
        assert plans(states) == plans(whole)
        # An earlier present: then others are the newest.
        early = Present.of(BEGIN + timedelta(days=10))
        assert plans(states, early) == plans(whole, early)
        assert told_of_reads(states, history) == told_of_reads(whole, history)
        for asset in GRAPH:
            mine, theirs = states[asset.key], whole[asset.key]
            assert (mine.version, mine.sequence, mine.held) == (theirs.version, theirs.sequence, theirs.held)
            assert [mine.last(status) for status in Status] == [theirs.last(status) for status in Status]
            assert mine.digests(mine.present) == theirs.digests(theirs.present)
            versions = range(-1, len(history.facts[asset.key]))
            assert [mine.changed_since(v) for v in versions] == [theirs.changed_since(v) for v in versions]
        before = History.__new__(History)
        before.facts = {key: list(facts) for key, facts in history.facts.items()}


def test_versions_at_which_partitions_were_made_are_few_spans() -> None:
    def state(*made: tuple[int, int, int]) -> AssetState:
        pieces = [(PartitionSet(DAYS, ((low, high),)), sample_fact(version=version)) for low, high, version in made]
        return AssetState(DAYS, tuple(pieces), ())

    # A day at a time, forwards and backwards; a chunk; scattered ones.
    assert made_at(state(*((day, day + 1, 7 + day) for day in range(50)))) == ((0, 50, 7, 1),)
    assert made_at(state(*((day, day + 1, 99 - 2 * day) for day in range(50)))) == ((0, 50, 99, -2),)
    assert made_at(state((0, 30, 4), (30, 31, 4), (31, 40, 9))) == ((0, 31, 4, 0), (31, 40, 9, 0))
    assert made_at(state((0, 1, 4), (1, 2, 9), (2, 3, 14), (5, 6, 1))) == ((0, 3, 4, 5), (5, 6, 1, 0))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4), st.integers(0, 9)), max_size=12), st.data())
def test_versions_are_found_again(given: list[tuple[int, int, int]], data: st.DataObject) -> None:
    versions: dict[int, int] = {}
    for low, many, version in given:
        versions |= dict.fromkeys(range(low, low + many), version)
    sets = {v: PartitionSet(DAYS, tuple((o, o + 1) for o, w in versions.items() if w == v)) for v in versions.values()}
    state = AssetState(DAYS, tuple((part, sample_fact(version=version)) for version, part in sets.items()), ())
    lean = replace(state, lean=state.present, made=made_at(state))
    assert made_at(lean) == lean.made
    wanted = data.draw(st.sets(st.integers(0, 36)))
    part = PartitionSet(DAYS, tuple((ordinal, ordinal + 1) for ordinal in wanted))
    expected = {versions[ordinal] for ordinal in wanted} if wanted <= versions.keys() else None
    assert versions_of(lean.made, part) == expected


LATE = {"2013-01-03": 0}
"""What the source says of a day, by now."""


@bronze(partitions=DAYS)
def told_days(partitions: PartitionRange) -> pl.LazyFrame:
    keys = partitions.keys()
    return pl.LazyFrame({"d": keys, "n": [LATE.get(key, 1) for key in keys]})


@silver(partitions=DAYS)
def copied(told_days: pl.LazyFrame) -> pl.LazyFrame:
    return told_days


def test_runs_keep_what_they_fold_and_go_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "RECENT", 1)
    monkeypatch.setattr("lakehouse.planning.snapshot.ENOUGH", 3)
    store = MemoryLineage()
    lake = Lakehouse([copied], storage="memory://", lineage=store)
    days = DAYS.select("2013-01-01...2013-01-12").keys()
    for day in days:
        lake.refresh(copied, day, upstream="stale", engine="inline")

    def read() -> dict[str, int]:
        return {asset.key: len(store.since(asset.key).facts) for asset in lake.graph}

    assert max(read().values()) <= 4 < len(store.facts("silver.copied")) == 12
    assert all(store.since(asset.key).checkpoint for asset in lake.graph)
    known = lake.snapshot(copied).known
    assert [len(one.state.current) <= 7 for one in known.values()] == [True, True]
    everything = "2013-01-01...2013-01-12"
    assert not lake.plan(copied, everything, refresh=True, upstream="stale")

    # One day is restated: that day follows, and what comes out as it was is seen by digests that all facts tell.
    monkeypatch.setitem(LATE, "2013-01-03", 7)
    with monkeypatch.context() as patch:
        patch.setattr(store, "facts", lambda asset: pytest.fail(f"all facts of {asset} are read"))
        lake.materialize(told_days, ["2013-01-03", "2013-01-04"], engine="inline")
    plan = lake.plan(copied, everything, refresh=True)
    assert plan.partitions(copied).keys() == ["2013-01-03"]
    lake.refresh(copied, everything, engine="inline")
    assert not lake.plan(copied, everything, refresh=True, upstream="stale")

    # A checkpoint that can't be read is done without, and so is one whose facts were taken away.
    since = store.since("bronze.told_days")
    assert store.keep("bronze.told_days", "damaged", since)
    assert not lake.plan(copied, everything, refresh=True, upstream="stale")
    store.remove("silver.copied", [store.facts("silver.copied")[5].id])
    assert store.since("silver.copied").checkpoint == ""
    assert lake.plan(copied, everything, refresh=True).partitions(copied).keys() == [days[5]]
