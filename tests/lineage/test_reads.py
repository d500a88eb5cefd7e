"""What publications read of their inputs, over random histories in which keys are renamed, reused and wiped.

The oracle follows single partitions: each is a thing of its own, whatever key it has at the moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Asset, AssetGraph, Dynamic
from lakehouse.lineage import AssetState, Fact, InputPin, Status
from lakehouse.lineage.provenance import asset_lineage
from lakehouse.lineage.reads import Reads
from lakehouse.lineage.state import superseded
from lakehouse.partitions import Pairs, Present
from lakehouse.planning.staleness import Cause, stale
from lakehouse.testing.lineage import MemoryLineage
from tests.support.worlds import asset, published

KEYS = "abcd"
DYNAMIC = Dynamic("keys", column="key")
NOW = Present(datetime(2013, 3, 1, 12, tzinfo=UTC), {"keys": list(KEYS)})


@dataclass(eq=False)
class Thing:
    """A partition, whatever it is called: what was published of it, and when its rows changed."""

    facts: dict[int, str] = field(default_factory=dict)
    changed: int = 0
    there: bool = True


@dataclass
class Made:
    """What a partition of the consumer was made from."""

    key: str
    version: int
    thing: Thing


RAW = asset("bronze.raw", partitions=DYNAMIC)
CLEAN = asset("silver.clean", "raw", partitions=DYNAMIC)
TOTAL = asset("silver.total", "raw")


class History:
    """A producer, a consumer with the same keys and one without partitions, and what became of them."""

    def __init__(self) -> None:
        self.raw, self.clean, self.total = RAW, CLEAN, TOTAL
        self.graph = AssetGraph([RAW, CLEAN, TOTAL])
        self.facts: dict[str, list[Fact]] = {one.key: [] for one in self.graph}
        self.things: dict[str, Thing] = {}
        self.made: dict[str, Made] = {}
        self.totalled: list[Made] = []
        self.number = 0

    def version(self, one: Asset) -> int:
        return len([f for f in self.facts[one.key] if f.version is not None]) - 1

    def state(self, one: Asset) -> AssetState:
        return AssetState.fold(one.partitions, self.facts[one.key])

    @property
    def reads(self) -> Reads:
        return Reads(self.graph, self.state, NOW)

    def add(self, one: Asset, keys: Iterable[str], **values: Any) -> Fact:
        self.number += 1
        mine: dict[str, Any] = {"version": self.version(one) + 1, "inputs": ()} | values
        pairs = tuple((key, key) for key in sorted(keys))
        fact = published(one, DYNAMIC.empty(), self.number, **mine).model_copy(update={"partitions": pairs})
        self.facts[one.key].append(fact)
        return fact

    # ── what may happen ───────────────────────────────────────────────────────────────────

    def publish(self, keys: frozenset[str], other_rows: bool) -> None:
        before = self.version(self.raw)
        same = {k for k in keys if k in self.things and self.things[k].there and not other_rows}
        unchanged = tuple((key, key) for key in sorted(same))
        fact = self.add(self.raw, keys, unchanged=unchanged, compared=before if before >= 0 else None)
        for key in keys:
            thing = self.things.setdefault(key, Thing())
            thing.there = True
            thing.facts[before + 1] = fact.id
            thing.changed = thing.changed if key in same else before + 1

    def wipe(self, key: str) -> None:
        if key in self.things and self.things[key].there:
            self.things[key].changed = self.version(self.raw) + 1
            self.things[key].there = False
            self.add(self.raw, key, status=Status.WIPED)

    def rename(self, old: str, new: str) -> None:
        there = {key for key, thing in self.things.items() if thing.there}
        if old in there and new not in there:
            thing = self.things[new] = self.things.pop(old)
            fact = self.add(self.raw, new, renamed=((old, new),), unchanged=((new, new),))
            thing.facts[self.version(self.raw)] = fact.id

    def build(self, keys: frozenset[str]) -> None:
        keys = frozenset(key for key in keys if key in self.things and self.things[key].there)
        if keys:
            pairs = tuple((key, key) for key in sorted(keys))
            version = self.version(self.raw)
            self.add(self.clean, keys, inputs=(InputPin(asset="bronze.raw", version=version, partitions=pairs),))
            self.made |= {key: Made(key, version, self.things[key]) for key in keys}

    def build_total(self) -> None:
        there = sorted(key for key, thing in self.things.items() if thing.there)
        if there:
            version = self.version(self.raw)
            pin = InputPin(asset="bronze.raw", version=version, partitions=_pairs(*there))
            self.add(self.total, [""], inputs=(pin,))
            self.totalled = [Made(key, version, self.things[key]) for key in there]

    def rename_consumer(self, old: str, new: str) -> None:
        if old in self.made and new not in self.made:
            ((part, fact),) = self.state(self.clean).within(DYNAMIC.select(old))
            pins = tuple(read.pin for _, read in self.reads.all_needed(self.clean, part, fact) if read)
            self.add(self.clean, new, inputs=pins, renamed=((old, new),), unchanged=((new, new),))
            self.made[new] = self.made.pop(old)

    # ── what is true of it ────────────────────────────────────────────────────────────────

    def now(self, thing: Thing) -> str:
        """The key that it has now; an empty one: another has it."""
        return next((key for key, one in self.things.items() if one is thing), "")

    def check(self) -> None:
        state, raw = self.state(self.clean), self.state(self.raw)
        assert set(state.present) == set(self.made)
        assert set(raw.present) == {key for key, thing in self.things.items() if thing.there}
        for key, made in self.made.items():
            ((part, fact),) = state.within(DYNAMIC.select(key))
            (read,) = self.reads.needed(self.clean, part, fact, self.raw)
            now = self.now(made.thing)
            assert (read.version, read.then, read.now) == (made.version, _pairs(made.key), _pairs(now))
            assert bool(raw.changed_since(made.version) & read.partitions) == bool(
                now and made.thing.changed > made.version
            )
            self.check_trace(key, made, now)
        self.check_stale()
        self.check_total()

    def check_total(self) -> None:
        if not self.totalled:
            return
        ((part, fact),) = self.state(self.total).current
        (read,) = self.reads.needed(self.total, part, fact, self.raw)
        assert read.then == _pairs(*(made.key for made in self.totalled))
        assert read.now == _pairs(*(self.now(made.thing) for made in self.totalled))
        assert read.lost.then == _pairs(*(made.key for made in self.totalled if not self.now(made.thing)))
        known = [made.thing for made in self.totalled]
        expected = (
            bool(read.lost.then)
            or any(made.thing.changed > made.version for made in self.totalled)
            or any(thing.there and thing not in known for thing in self.things.values())
        )
        ready = {"bronze.raw": DYNAMIC.all(NOW)}
        found = stale(self.graph, self.total, self.total.partitions.all(NOW), self.state, ready, NOW)
        assert [reason.cause for reason in found] == [Cause.INPUT] * expected

    def check_trace(self, key: str, made: Made, now: str) -> None:
        lineage = MemoryLineage()
        for facts in self.facts.values():
            lineage.append(facts)
        told = asset_lineage(self.graph, lineage, self.clean, DYNAMIC.select(key), NOW)
        (source,) = told.sources[0].links
        made_by = made.thing.facts[max(v for v in made.thing.facts if v <= made.version)]
        expected = (now, made_by) if now else (made.key, None)
        assert (source.partitions, source.fact.id if source.fact else None) == expected
        if now and made.thing.there:
            uses = asset_lineage(self.graph, lineage, self.raw, DYNAMIC.select(now), NOW).uses
            fresh = {k for k, m in self.made.items() if m.thing is made.thing and made.thing.changed <= m.version}
            shown = {key for link in uses if link.asset == "silver.clean" for key in link.partitions.split(", ")}
            assert shown == fresh

    def check_stale(self) -> None:
        found = stale(self.graph, self.clean, DYNAMIC.all(NOW), self.state, {"bronze.raw": DYNAMIC.all(NOW)}, NOW)
        expected = {}
        for key in KEYS:
            thing, made = self.things.get(key), self.made.get(key)
            if made is None:
                expected[key] = Cause.MISSING
            elif (
                (thing is not None and thing.there and thing is not made.thing)
                or (thing is made.thing and made.thing.changed > made.version)
                or not self.now(made.thing)
            ):
                expected[key] = Cause.INPUT
        assert {key: reason.cause for reason in found for key in reason.partitions} == expected


def _pairs(*keys: str) -> Pairs:
    return tuple((key, key) for key in keys)


_some = st.frozensets(st.sampled_from(KEYS), min_size=1)
_one = st.sampled_from(KEYS)
_events = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), _some, st.booleans()),
        st.tuples(st.just("wipe"), _one),
        st.tuples(st.just("rename"), _one, _one),
        st.tuples(st.just("build"), _some),
        st.tuples(st.just("build_total")),
        st.tuples(st.just("rename_consumer"), _one, _one),
    ),
    min_size=3,
    max_size=14,
)


@given(_events)
def test_over_any_history_it_is_what_following_single_partitions_says(events: list[tuple[Any, ...]]) -> None:
    history = History()
    for name, *given_ in events:
        getattr(history, name)(*given_)
    history.check()


@given(_events)
def test_a_retention_of_facts_changes_nothing_of_it(events: list[tuple[Any, ...]]) -> None:
    history = History()
    for name, *given_ in events:
        getattr(history, name)(*given_)
        versions = [pin.version for _, fact in history.state(history.clean).current for pin in fact.inputs]
        for one, read in ((history.raw, versions), (history.clean, [])):
            spare = superseded(DYNAMIC, history.facts[one.key], [v for v in read if v is not None])
            kept = history.facts[one.key]
            # Facts stand for versions here, so that what is removed leaves a gap and not another number.
            history.facts[one.key] = [f if f not in spare else f.model_copy(update=_NOTHING) for f in kept]
    history.check()


_NOTHING = {"partitions": (), "inputs": (), "status": Status.REGISTERED}
