from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.lineage.state import history
from lakehouse.partitions import Daily, Hourly, Monthly, Partitions, PartitionSet, Static, Unpartitioned
from lakehouse.testing.lineage import sample_fact

_DEFINITIONS: list[Partitions] = [
    Daily("2013-01-01", column="date"),
    Hourly("2013-11-01T00:00-04:00", timezone="America/New_York"),
    Monthly("2013-01"),
    Static([f"key {n}" for n in range(20)]),
    Unpartitioned(),
]


def _universe(partitions: Partitions) -> range:
    """The ordinals that facts are about: 20 of them, where there are so many."""
    low, high = partitions.bounds(sample_fact().started + timedelta(days=3650))
    return range(low, min(high, low + 20))


@st.composite
def _logs(draw: st.DrawFn) -> tuple[Partitions, list[Fact]]:
    partitions = draw(st.sampled_from(_DEFINITIONS))
    universe = _universe(partitions)
    ordinals = st.integers(universe.start, universe.stop - 1)
    spans = st.tuples(ordinals, ordinals).map(lambda ends: (min(ends), max(ends) + 1))
    facts = []
    for number in draw(st.lists(st.integers(0, 99), unique=True, max_size=12)):
        covered = PartitionSet(partitions, tuple(draw(st.lists(spans, max_size=3))))
        status = draw(st.sampled_from(Status))
        version = draw(st.none() | st.integers(0, 6))
        facts.append(sample_fact(number, partitions=covered.to_pairs(), status=status, version=version))
    return partitions, facts


def _as_dict(pieces: tuple[tuple[PartitionSet, Fact], ...]) -> dict[int, Fact]:
    """Each partition's fact; fails where two pieces share a partition."""
    found: dict[int, Fact] = {}
    for part, fact in pieces:
        for ordinal in part.ordinals():
            assert ordinal not in found
            found[ordinal] = fact
    return found


def _naive(partitions: Partitions, facts: list[Fact]) -> tuple[dict[int, Fact], dict[int, Fact]]:
    """The same fold, one partition at a time."""
    current: dict[int, Fact] = {}
    attempts: dict[int, Fact] = {}
    for fact in sorted(facts, key=lambda fact: fact.id):
        for ordinal in partitions.from_pairs(fact.partitions).ordinals():
            attempts[ordinal] = fact
    for fact in sorted(facts, key=lambda fact: (-1 if fact.version is None else fact.version, fact.id)):
        if fact.status is Status.PUBLISHED:
            for ordinal in partitions.from_pairs(fact.partitions).ordinals():
                current[ordinal] = fact
    return current, attempts


@given(_logs())
def test_it_is_what_a_fold_of_single_partitions_gives(log: tuple[Partitions, list[Fact]]) -> None:
    partitions, facts = log
    state = AssetState.fold(partitions, facts)
    current, attempts = _naive(partitions, facts)
    assert _as_dict(state.current) == current
    assert _as_dict(state.attempts) == attempts


@given(_logs(), st.randoms(use_true_random=False))
def test_the_order_of_facts_does_not_matter(log: tuple[Partitions, list[Fact]], chance: random.Random) -> None:
    partitions, facts = log
    state = AssetState.fold(partitions, facts)
    shuffled = list(facts)
    chance.shuffle(shuffled)
    assert AssetState.fold(partitions, shuffled) == state
    assert AssetState.fold(partitions, iter(facts + facts[:3])) == state


@given(_logs())
def test_every_published_partition_is_in_exactly_one_piece(log: tuple[Partitions, list[Fact]]) -> None:
    partitions, facts = log
    state = AssetState.fold(partitions, facts)
    published = {
        ordinal
        for fact in facts
        if fact.status is Status.PUBLISHED
        for ordinal in partitions.from_pairs(fact.partitions).ordinals()
    }
    assert sorted(o for part, _ in state.current for o in part.ordinals()) == sorted(published)
    assert set(state.present.ordinals()) == published
    assert all(part for part, _ in state.current + state.attempts)


@given(_logs(), st.data())
def test_what_is_asked_of_it(log: tuple[Partitions, list[Fact]], data: st.DataObject) -> None:
    partitions, facts = log
    universe = _universe(partitions)
    low = data.draw(st.sampled_from(universe))
    wanted = PartitionSet(partitions, ((low, low + data.draw(st.integers(0, 8))),))
    state = AssetState.fold(partitions, facts)
    current, attempts = _naive(partitions, facts)

    within = state.within(wanted)
    assert _as_dict(tuple(within)) == {o: fact for o, fact in current.items() if o in set(wanted.ordinals())}
    for status in Status:
        last = {o for o, fact in attempts.items() if fact.status is status}
        assert set(state.last(status).ordinals()) == last
    assert history(partitions, facts, wanted) == [
        fact for fact in facts if set(partitions.from_pairs(fact.partitions).ordinals()) & set(wanted.ordinals())
    ]


def test_a_commit_orders_publications_where_clocks_differ() -> None:
    daily = Daily("2013-01-01")
    late_clock = sample_fact(9, version=4)
    early_clock = sample_fact(1, version=5)
    state = AssetState.fold(daily, [late_clock, early_clock])
    assert [fact for _, fact in state.current] == [early_clock]
    assert state.version == 5


@pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED, Status.SKIPPED])
def test_what_failed_later_does_not_unpublish(status: Status) -> None:
    daily = Daily("2013-01-01")
    state = AssetState.fold(daily, [sample_fact(1), sample_fact(2, status=status, version=None)])
    assert state.present.keys() == ["2013-01-01"]
    assert state.last(status).keys() == ["2013-01-01"]
    assert not state.last(Status.PUBLISHED)


def test_facts_of_keys_that_the_definition_no_longer_has_are_passed_over() -> None:
    before = sample_fact(1, partitions=(("EWR", "EWR"), ("JFK", "JFK")))
    state = AssetState.fold(Static(["JFK", "LGA"]), [before])
    assert state.present.keys() == ["JFK"]
