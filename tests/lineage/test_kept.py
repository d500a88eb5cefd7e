"""History that is kept folded comes out as if all facts had been folded at once, in whatever order they arrive."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.definitions.graph import AssetGraph
from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.lineage.kept import Kept, Late
from lakehouse.lineage.state import Pieces
from lakehouse.partitions import Daily, Partitions, PartitionSet, Static
from lakehouse.testing.lineage import sample_fact
from tests.support.worlds import asset

DAYS = Daily("2013-01-01", column="date")
KEYS = Static([f"key {n}" for n in range(12)], column="key")
BEGIN = {DAYS: DAYS.parse("2013-01-01"), KEYS: 0}
COMMITTED = [Status.PUBLISHED] * 5 + [Status.FORGOTTEN, Status.WIPED, Status.OBSERVED]
TRIED = [Status.FAILED, Status.REJECTED, Status.SKIPPED]


def some(draw: st.DrawFn, partitions: Partitions, least: int = 0) -> PartitionSet:
    spans = draw(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 4)), min_size=least, max_size=2))
    begin = BEGIN[partitions]
    return PartitionSet(partitions, tuple((begin + low, begin + min(12, low + n)) for low, n in spans))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Partitions, list[Fact]]:
    """Facts in the order of their arrival; ids, which are by clocks, say nothing of it."""
    partitions = draw(st.sampled_from([DAYS, DAYS, KEYS]))
    size = draw(st.integers(1, 14))
    ids = draw(st.permutations(range(size))) if draw(st.booleans()) else range(size)
    versions, facts = iter(range(size)), []
    version = -1
    for number in ids:
        values: dict[str, Any] = {"partitions": some(draw, partitions).to_pairs(), "sequence": draw(st.integers(0, 3))}
        if draw(st.integers(0, 2)):
            version = next(versions)
            values |= {"status": draw(st.sampled_from(COMMITTED)), "version": version}
            if draw(st.booleans()):
                values["unchanged"] = some(draw, partitions).to_pairs()
                values["compared"] = draw(st.none() | st.integers(-1, max(version - 1, -1)))
        else:
            began = draw(st.none() | st.integers(-1, version)) if draw(st.booleans()) else version
            values |= {"status": draw(st.sampled_from(TRIED)), "version": None, "after": began}
        if partitions is KEYS and not draw(st.integers(0, 9)) and values["version"] is not None:
            old, new = draw(st.permutations(KEYS.keys))[:2]
            part = ((new, new),)
            values |= {"status": Status.PUBLISHED, "partitions": part, "unchanged": part, "renamed": ((old, new),)}
        facts.append(sample_fact(number, run=str(number), **values))
    # Now and then one arrives late: after others that came about after it.
    if draw(st.booleans()):
        place = draw(st.integers(0, size - 1))
        facts.insert(draw(st.integers(0, size - 1)), facts.pop(place))
    return partitions, facts


def said(state: AssetState) -> dict[str, Any]:
    def by_partition(pieces: Pieces) -> dict[int, str]:
        return {o: fact.id for part, fact in pieces for o in part.ordinals()}

    return {
        "current": by_partition(state.current),
        "gone": by_partition(state.gone),
        "attempts": by_partition(state.attempts),
        "rejected": by_partition(state.rejected),
        "changes": [state.changed_since(version) for version in (None, *range(-1, 16))],
        "renames": state.renames,
        "sequence": state.sequence,
        "version": state.version,
    }


def kept_on(partitions: Partitions, facts: list[Fact], places: set[int]) -> Kept:
    """Folded piece by piece; what comes late makes it fold all anew, as whoever reads lineage does."""
    kept = Kept.of(partitions, [])
    began = 0
    for place in [*sorted(p for p in places if p < len(facts)), len(facts)]:
        try:
            kept = kept.plus(facts[began:place])
        except Late:
            kept = Kept.of(partitions, facts[:place])
        began = place
    return kept


@given(histories(), st.sets(st.integers(1, 12), max_size=4))
@settings(max_examples=400)
def test_what_is_kept_and_gone_on_with_is_what_all_facts_come_to(
    history: tuple[Partitions, list[Fact]], places: set[int]
) -> None:
    partitions, facts = history
    kept, whole = kept_on(partitions, facts, places), Kept.of(partitions, facts)
    assert said(kept.state) == said(whole.state) == said(AssetState.fold(partitions, facts))
    assert sorted(f.id for f in kept.newest) == sorted(f.id for f in whole.newest)
    assert (kept.last, kept.unplaced) == (whole.last, whole.unplaced)


@given(histories(), st.data())
@settings(max_examples=200)
def test_as_text_and_back_it_is_gone_on_with_alike(history: tuple[Partitions, list[Fact]], data: st.DataObject) -> None:
    partitions, facts = history
    one = asset("bronze.raw", partitions=partitions)
    graph = AssetGraph([one])
    place = data.draw(st.integers(0, len(facts)))
    kept = Kept.of(partitions, facts[:place])
    text = kept.to_json(one, graph)
    back = Kept.from_json(text, one, graph)
    assert back is not None
    assert said(back.state) == said(kept.state)
    assert back.epoch == kept.epoch
    with contextlib.suppress(Late):
        assert said(back.plus(facts[place:]).state) == said(AssetState.fold(partitions, facts))


def test_a_fact_that_comes_twice_does_no_harm() -> None:
    facts = [sample_fact(n, version=n) for n in range(4)]
    kept = Kept.of(DAYS, facts[:2])
    assert said(kept.plus([*facts[2:], *facts[2:]]).state) == said(AssetState.fold(DAYS, facts))
    with pytest.raises(Late):
        kept.plus(facts[1:])


def test_a_text_that_is_damaged_or_of_another_definition_is_not_read() -> None:
    one = asset("bronze.raw", partitions=DAYS)
    graph = AssetGraph([one])
    text = Kept.of(DAYS, [sample_fact(n, version=n) for n in range(4)]).to_json(one, graph)
    assert Kept.from_json(text, one, graph)
    chance = random.Random(1)
    for _ in range(50):
        place = chance.randrange(len(text))
        assert Kept.from_json(text[:place] + "~" + text[place + 1 :], one, graph) is None
        assert Kept.from_json(text[:place], one, graph) is None
    other = asset("bronze.raw", partitions=Daily("2013-01-01", timezone="Europe/Berlin", column="date"))
    assert Kept.from_json(text, other, AssetGraph([other])) is None
