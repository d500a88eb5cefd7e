import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import PartitionError
from lakehouse.partitions import Daily, Hourly, Monthly, PartitionRange, Partitions, PartitionSet, Static, Unpartitioned
from tests.partitions.strategies import NOW, definitions, ordinals, set_of, sets, some

Pair = tuple[Partitions, set[int], set[int]]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    partitions = draw(definitions)
    return partitions, draw(ordinals(partitions)), draw(ordinals(partitions))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every ordinal whose key is asked for."""
    ordinals: list[int] = []

    def watch(kind: type[Daily] | type[Hourly]) -> None:
        plain = kind.key

        def key(self: Any, ordinal: int) -> str:
            ordinals.append(ordinal)
            return plain(self, ordinal)

        monkeypatch.setattr(kind, "key", key)

    watch(Daily)
    watch(Hourly)
    return ordinals


# ── algebra ───────────────────────────────────────────────────────────────────────────────


@given(pairs())
@settings(max_examples=150)
def test_sets_of_partitions_behave_as_sets_of_ordinals(pair: Pair) -> None:
    partitions, one, other = pair
    left, right = set_of(partitions, one), set_of(partitions, other)

    assert set((left | right).ordinals()) == one | other
    assert set((left & right).ordinals()) == one & other
    assert set((left - right).ordinals()) == one - other
    assert (left <= right) == (one <= other)
    assert (left == right) == (one == other)
    assert len(left) == len(one)
    assert bool(left) == bool(one)
    assert list(left.ordinals()) == sorted(one)
    assert list(left) == left.keys() == [partitions.key(o) for o in sorted(one)]
    assert all((partitions.key(o) in left) == (o in one) for o in one | other)


@given(sets())
@settings(max_examples=60)
def test_spans_are_sorted_disjoint_and_as_few_as_can_be(these: PartitionSet) -> None:
    for low, high in these.spans:
        assert low < high
    for (_, high), (low, _) in zip(these.spans, these.spans[1:], strict=False):
        assert high < low
    assert PartitionSet(these.partitions, these.spans[::-1] + these.spans) == these
    assert hash(PartitionSet(these.partitions, these.spans)) == hash(these)


@given(sets())
@settings(max_examples=60)
def test_ranges_and_hull_hold_the_set(these: PartitionSet) -> None:
    assert [key for part in these.ranges for key in part] == these.keys()
    assert sum(map(len, these.ranges)) == len(these)
    if these:
        if these.partitions.contiguous(these.hull.low, these.hull.high):
            assert set(these.keys()) <= set(these.hull.keys())
            assert len(these.hull) >= len(these)
        else:
            for ask in (these.hull.keys, these.hull.__len__):
                with pytest.raises(PartitionError, match="the first to the last of scattered partitions"):
                    ask()
        assert (these.hull.first, these.hull.last) == (these.keys()[0], these.keys()[-1])
    else:
        with pytest.raises(PartitionError, match="empty set"):
            _ = these.hull


@given(sets())
@settings(max_examples=30)
def test_sets_survive_pickling(these: PartitionSet) -> None:
    back = pickle.loads(pickle.dumps(these))
    assert back == these
    assert back.keys() == these.keys()
    assert hash(back) == hash(these)


def test_what_is_no_key_is_in_no_set() -> None:
    january = Daily("2013-01-01").select("2013-01-01...2013-01-31")
    assert "2013-01-31" in january
    assert "2013-02-01" not in january
    assert "January" not in january
    assert None not in january
    assert "2012-01-01" not in january


def test_sets_of_different_definitions_do_not_mix() -> None:
    daily = Daily("2013-01-01").select("2013-01-01")
    others = [
        Daily("2013-01-01", timezone="Europe/Berlin").select("2013-01-01"),
        Monthly("2013-01").select("2013-01"),
        Static(["2013-01-01"]).select("2013-01-01"),
        Unpartitioned().select(""),
    ]
    for other in others:
        with pytest.raises(PartitionError, match=r"daily 2013-01-01\.\.\. and .* can't be combined"):
            daily | other
        with pytest.raises(PartitionError, match="can't be combined"):
            daily & other
        with pytest.raises(PartitionError, match="can't be combined"):
            daily - other


def test_definitions_that_begin_elsewhere_share_their_ordinals() -> None:
    early, late = Daily("2013-01-01"), Daily("2013-06-01", end="2014-01-01", column="d")
    both = early.select("2013-06-01...2013-06-10") & late.select("2013-06-05...2013-07-01")
    assert both.keys()[0] == "2013-06-05"
    assert len(both) == 6


def test_a_set_says_what_it_holds_in_a_line() -> None:
    daily = Daily("2013-01-01")
    assert str(daily.empty()) == "none"
    assert str(daily.select("2013-01-05")) == "2013-01-05"
    assert str(daily.select("2013-01-01...2013-01-03, 2013-01-05")) == "2013-01-01...2013-01-03, 2013-01-05"
    odd = daily.select([f"2013-01-{day:02d}" for day in range(1, 31, 2)])
    assert str(odd).endswith(", and 10 more")


# ── chunks ────────────────────────────────────────────────────────────────────────────────


@given(sets(), st.integers(1, 12), st.none() | st.integers(-20, 20))
@settings(max_examples=150)
def test_chunks_are_the_set_in_order_and_none_is_too_big(these: PartitionSet, size: int, shift: int | None) -> None:
    anchor = None if shift is None else some(these.partitions)[0] + shift
    chunks = list(these.chunks(size, anchor=anchor))

    assert [o for chunk in chunks for o in chunk.ordinals()] == list(these.ordinals())
    assert all(0 < len(chunk) <= size for chunk in chunks)
    if not these.partitions.scattered:
        assert all(chunk.hull.high - chunk.hull.low <= size for chunk in chunks)
    if anchor is None and these:
        assert chunks[0].spans[0][0] == these.spans[0][0]


@given(pairs(), st.integers(1, 12))
@settings(max_examples=100)
def test_sets_with_one_anchor_are_cut_at_the_same_places(pair: Pair, size: int) -> None:
    partitions, one, other = pair
    anchor = set_of(partitions, one | other)
    cells: list[dict[int, int]] = []
    for chosen in (one, other):
        chunks = set_of(partitions, chosen).chunks(size, anchor=anchor)
        cells.append({o: number for number, chunk in enumerate(chunks) for o in chunk.ordinals()})
    for a in one & other:
        for b in one & other:
            assert (cells[0][a] == cells[0][b]) == (cells[1][a] == cells[1][b])


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_holds_something(size: int) -> None:
    with pytest.raises(PartitionError, match="1 is the least"):
        list(Daily("2013-01-01").select("2013-01-01").chunks(size))


def test_no_partitions_are_no_chunks() -> None:
    assert list(Daily("2013-01-01").empty().chunks(30)) == []


# ── storage ───────────────────────────────────────────────────────────────────────────────


@given(sets())
@settings(max_examples=150)
def test_pairs_are_read_back_as_they_were(these: PartitionSet) -> None:
    written = these.to_pairs()
    assert these.partitions.from_pairs(written) == these
    assert these.partitions.from_pairs([list(pair) for pair in written]) == these
    if these.partitions.ordered:
        assert len(written) == len(these.spans)


def test_the_one_partition_of_what_is_not_partitioned_is_read_back() -> None:
    whole = Unpartitioned().all(NOW)
    assert whole.to_pairs() == (("", ""),)
    assert Unpartitioned().from_pairs(whole.to_pairs()) == whole


def test_pairs_of_static_partitions_outlive_another_order_and_lost_keys() -> None:
    written = Static(["a", "b", "c", "d"]).select(["a", "b", "d"]).to_pairs()
    assert Static(["d", "c", "b", "a"]).from_pairs(written).keys() == ["d", "b", "a"]
    assert Static(["c", "d"]).from_pairs(written).keys() == ["d"]


def test_pairs_in_a_form_that_the_definition_no_longer_has_are_left_out() -> None:
    written = Daily("2013-01-01").select("2013-01-01...2013-01-05").to_pairs()
    assert Monthly("2013-01").from_pairs(written) == Monthly("2013-01").empty()
    assert Static(["a"]).from_pairs(written) == Static(["a"]).empty()


# ── size ──────────────────────────────────────────────────────────────────────────────────


def test_a_hundred_thousand_hours_are_one_span_and_few_keys(asked: list[int]) -> None:
    hourly = Hourly("2000-01-01T00:00", end="2012-01-01T00:00")
    whole = hourly.all(NOW)
    assert len(whole) == 105_192
    march = hourly.select("2005-03-01T00:00...2005-03-31T23:00")
    left = whole - march
    asked.clear()

    assert len(left.spans) == 2
    assert len(left) == 105_192 - 744
    assert left | march == whole
    assert march <= whole
    assert not left & march
    assert "2005-03-05T07:00" not in left
    assert [len(chunk.spans) for chunk in list(whole.chunks(24 * 365))] == [1] * 13
    assert asked == []

    assert hourly.from_pairs(left.to_pairs()) == left
    assert str(left)
    assert len(asked) < 20


def test_a_range_is_two_keys_however_long_it_is(asked: list[int]) -> None:
    daily = Daily("1700-01-01", end="2100-01-01")
    asked.clear()
    chosen = daily.select("1700-01-01...2099-12-31")
    assert len(chosen) > 140_000
    assert len(chosen.spans) == 1
    assert len(asked) == 0


# ── ranges ────────────────────────────────────────────────────────────────────────────────


def test_a_range_has_both_its_ends() -> None:
    days = Daily("2013-01-01").range("2013-01-30", "2013-02-01")
    assert days.keys() == list(days) == ["2013-01-30", "2013-01-31", "2013-02-01"]
    assert (days.first, days.last, len(days)) == ("2013-01-30", "2013-02-01", 3)
    assert str(days) == "2013-01-30...2013-02-01"
    assert str(Daily("2013-01-01").range("2013-01-30", "2013-01-30")) == "2013-01-30"
    assert pickle.loads(pickle.dumps(days)) == days


def test_a_range_of_what_is_no_time_has_no_start() -> None:
    origins = PartitionRange(Static(["a", "b"], column="k"), 0, 2)
    assert origins.keys() == ["a", "b"]
    for end in ("start", "end"):
        with pytest.raises(PartitionError, match="have no start and no end in time") as caught:
            getattr(origins, end)
        assert "use .first, .last" in str(caught.value)
