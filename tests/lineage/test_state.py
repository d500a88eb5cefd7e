from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.lineage.state import history, new_keys, old_keys, superseded
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
    there = partitions.all(sample_fact().started + timedelta(days=3650)).hull
    return range(there.low, min(there.high, there.low + 20))


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
        began = draw(st.none() | st.integers(-1, 6)) if version is None else None
        sequence = draw(st.integers(0, 3))
        values = {"status": status, "version": version, "after": began, "sequence": sequence}
        facts.append(sample_fact(number, partitions=covered.to_pairs(), **values))
    return partitions, facts


def _as_dict(pieces: tuple[tuple[PartitionSet, Fact], ...]) -> dict[int, Fact]:
    """Each partition's fact; fails where two pieces share a partition."""
    found: dict[int, Fact] = {}
    for part, fact in pieces:
        for ordinal in part.ordinals():
            assert ordinal not in found
            found[ordinal] = fact
    return found


def _place(fact: Fact, facts: list[Fact]) -> tuple[int, bool, int, str]:
    """Where a fact belongs: at its version, or after the one that it began with; of what doesn't say, by its time."""
    earlier = [f.version for f in facts if f.version is not None and f.id < fact.id]
    began = max(earlier, default=-1) if fact.after is None else fact.after
    return began if fact.version is None else fact.version, fact.version is None, fact.sequence, fact.id


def _naive(partitions: Partitions, facts: list[Fact]) -> tuple[dict[int, Fact], dict[int, Fact]]:
    """The same fold, one partition at a time."""
    current: dict[int, Fact] = {}
    attempts: dict[int, Fact] = {}
    for fact in sorted(facts, key=lambda fact: _place(fact, facts)):
        for ordinal in partitions.from_pairs(fact.partitions).ordinals():
            attempts[ordinal] = fact
    for fact in sorted(facts, key=lambda fact: (-1 if fact.version is None else fact.version, fact.id)):
        for ordinal in partitions.from_pairs(fact.partitions).ordinals():
            if fact.status in (Status.PUBLISHED, Status.OBSERVED):
                current[ordinal] = fact
            elif fact.status in (Status.FORGOTTEN, Status.WIPED):
                current.pop(ordinal, None)
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
    published = sorted(_naive(partitions, facts)[0])
    assert sorted(o for part, _ in state.current for o in part.ordinals()) == published
    assert sorted(state.present.ordinals()) == published
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


# ── forgotten, wiped, renamed, and what nobody needs any more ─────────────────────────────


def _universe_set(partitions: Partitions, data: st.DataObject) -> PartitionSet:
    """Some of the partitions that facts are about."""
    universe = _universe(partitions)
    chosen = data.draw(st.sets(st.sampled_from(universe), min_size=1))
    return PartitionSet(partitions, tuple((o, o + 1) for o in chosen))


@given(_logs(), st.sampled_from([Status.FORGOTTEN, Status.WIPED]), st.data())
def test_what_is_forgotten_or_wiped_is_not_there_until_it_is_published_again(
    log: tuple[Partitions, list[Fact]], status: Status, data: st.DataObject
) -> None:
    partitions, facts = log
    gone, again = _universe_set(partitions, data), _universe_set(partitions, data)
    before = AssetState.fold(partitions, facts)
    facts = [*facts, sample_fact(200, partitions=gone.to_pairs(), status=status, version=7)]
    state = AssetState.fold(partitions, facts)
    assert state.present == before.present - gone
    assert set(_as_dict(state.gone)) >= set(gone.ordinals())
    assert not state.last(Status.REJECTED) & gone
    assert state.version == 7
    changed = {Status.WIPED: gone, Status.FORGOTTEN: partitions.empty()}[status]
    assert state.changed_since(6) == changed
    assert before.changes == state.changes or status is Status.WIPED, "forgotten rows are what they were"
    facts = [*facts, sample_fact(201, partitions=again.to_pairs(), version=8)]
    state = AssetState.fold(partitions, facts)
    assert state.present == (before.present - gone) | again
    assert state.changed_since(7) == again


@given(_logs(), st.data())
def test_facts_that_are_superseded_can_be_done_without(log: tuple[Partitions, list[Fact]], data: st.DataObject) -> None:
    partitions, facts = log
    read = data.draw(st.sets(st.integers(0, 6)))
    spare = superseded(partitions, facts, read)
    rest = [fact for fact in facts if fact not in spare]
    assert AssetState.fold(partitions, rest) == AssetState.fold(partitions, facts)
    versions = [fact.version for fact in facts if fact.version is not None]
    if versions:
        assert max(versions) in [fact.version for fact in rest]
    for version in read:
        then = [[f for f in some if f.version is not None and f.version <= version] for some in (facts, rest)]
        assert AssetState.fold(partitions, then[0]).current == AssetState.fold(partitions, then[1]).current
    assert superseded(partitions, rest, read) == []


def _renaming(number: int, version: int, old: str, new: str, **more: Any) -> Fact:
    part = ((new, new),)
    return sample_fact(number, version=version, partitions=part, unchanged=part, renamed=((old, new),), **more)


def test_a_renamed_partition_keeps_its_history() -> None:
    before = sample_fact(1, version=0, partitions=(("US", "US"), ("EU", "EU")), digests="u" * 16 + "e" * 16)
    failed = sample_fact(2, version=None, partitions=(("US", "US"),), status=Status.FAILED)
    rename = _renaming(3, 1, "US", "us", digests="n" * 16)
    facts = [before, failed, rename]
    static = Static(["us", "EU"])
    state = AssetState.fold(static, facts)
    assert state.present.keys() == ["us", "EU"]
    assert state.digests(state.present) == {"us": "n" * 16, "EU": "e" * 16}
    assert not state.changed_since(0), "its rows are the same data"
    assert state.last(Status.FAILED).keys() == ["us"]
    assert [f.id for f in history(static, facts, static.select("us"))] == [f.id for f in facts]
    assert AssetState.fold(static, facts, version=0).present.keys() == ["us", "EU"], "as of then, by its new key"
    assert AssetState.fold(static, facts, version=1) == AssetState.fold(static, [before, rename])
    assert new_keys((("US", "US"), ("EU", "EU")), facts, 0) == (("us", "us"), ("EU", "EU"))
    assert new_keys((("US", "US"),), facts, 1) == (("US", "US"),)


def test_renamed_twice_and_the_old_key_used_again() -> None:
    facts = [
        sample_fact(1, version=0, partitions=(("a", "a"),)),
        _renaming(2, 1, "a", "b"),
        sample_fact(3, version=2, partitions=(("a", "a"),)),
        _renaming(4, 3, "b", "c"),
    ]
    state = AssetState.fold(Static(["a", "b", "c"]), facts)
    assert {key: fact.id for part, fact in state.current for key in part} == {"c": facts[3].id, "a": facts[2].id}
    assert {key: fact.id for part, fact in state.changes for key in part} == {"c": facts[0].id, "a": facts[2].id}


def test_what_a_key_stood_for_before_another_partition_took_it_is_not_that_one() -> None:
    """b was built, held back and wiped; then a was renamed to b."""
    facts = [
        sample_fact(1, version=0, partitions=(("a", "a"), ("b", "b")), digests="a" * 16 + "b" * 16),
        sample_fact(2, version=None, partitions=(("b", "b"),), status=Status.REJECTED),
        sample_fact(3, version=1, partitions=(("b", "b"),), status=Status.WIPED),
        sample_fact(4, version=None, partitions=(("b", "b"),), status=Status.REJECTED),
        sample_fact(5, version=None, partitions=(("b", "b"),), status=Status.FAILED),
        _renaming(6, 2, "a", "b", digests="a" * 16),
    ]
    static = Static(["b", "c"])
    state = AssetState.fold(static, facts)
    assert {key: fact.id for part, fact in state.changes for key in part} == {"b": facts[0].id}
    assert state.digests(state.present) == {"b": "a" * 16}
    assert not state.held
    assert not state.last(Status.FAILED)
    assert not state.changed_since(0)
    assert new_keys((("a", "a"), ("b", "b")), facts, 0) == (("b", "b"), ("", ""))
    assert new_keys((("a", "a"), ("b", "b")), facts, None) == (("b", "b"), ("", ""))
    assert old_keys((("b", "b"), ("c", "c")), facts, 0) == (("a", "a"), ("c", "c"))
    assert [fact.id for fact in history(static, facts, static.select("b"))] == [facts[0].id, facts[5].id]


def test_a_rename_of_what_had_been_published_again_changes_no_rows() -> None:
    facts = [
        sample_fact(1, version=0, partitions=(("a", "a"),)),
        sample_fact(2, version=1, partitions=(("a", "a"),), compared=0),
        _renaming(3, 2, "a", "b", compared=0),
    ]
    state = AssetState.fold(Static(["b"]), facts)
    assert [fact.id for _, fact in state.changes] == [facts[1].id]
    assert not state.changed_since(1)
    assert state.changed_since(0).keys() == ["b"]


def test_the_names_that_an_asset_had_are_known() -> None:
    renamed = sample_fact(2, status=Status.RENAMED, partitions=(), formerly="silver.trips", version=3)
    state = AssetState.fold(Daily("2013-01-01"), [sample_fact(1, version=2), renamed])
    assert state.formerly == {"silver.trips"}
    assert state.present.keys() == ["2013-01-01"]
    assert superseded(Daily("2013-01-01"), [sample_fact(1, version=2), renamed]) == []
