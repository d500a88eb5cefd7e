"""Partitions of several dimensions."""

import itertools
import pickle
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Daily, Dynamic, Hourly, Monthly, Multi, PartitionRange, Static, Unpartitioned
from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.partitions import PartitionSet, Present
from tests.partitions.strategies import MULTIS, PRESENT

NOW = datetime(2013, 3, 1, tzinfo=UTC)
DAYS = Daily("2013-01-01", column="date")
SALES = Multi({"region": Static(["us", "eu", "New York, NY"], column="region"), "date": DAYS})
VISITS = Multi({"hour": Hourly("2013-01-01T00:00"), "customer": Dynamic("customers"), "site": Static([1, 2])})


@pytest.mark.parametrize("partitions", MULTIS, ids=str)
def test_all_are_the_combinations_of_all_of_each(partitions: Multi) -> None:
    there = partitions.all(PRESENT)
    count = 1
    for one in partitions.dimensions.values():
        count *= len(one.all(PRESENT))
    assert len(there) == count
    first = list(itertools.islice(there.ordinals(), 2000))
    assert len({partitions.key(o) for o in first}) == len(first)
    for name, one in partitions.dimensions.items():
        assert partitions.project(there, name) == one.all(PRESENT)


@pytest.mark.parametrize("partitions", MULTIS, ids=str)
def test_no_interval_spans_two_combinations(partitions: Multi) -> None:
    for part in partitions.all(PRESENT).ranges[:50]:
        sides = [part.dimension(name) for name in partitions.dimensions]
        assert len(part) == max(map(len, sides))
        assert sorted(map(len, sides))[:-1] == [1] * (len(sides) - 1)
        assert part.keys() == ["|".join(words) for words in itertools.product(*(s.keys() for s in sides))]


@pytest.mark.parametrize(
    ("partitions", "given_", "chosen"),
    [
        (SALES, "us|2013-01-05", "us|2013-01-05"),
        (SALES, "us | 2013-01-05...2013-01-07", "us|2013-01-05...2013-01-07"),
        (SALES, "us,eu|2013-01-05", "us|2013-01-05, eu|2013-01-05"),
        (SALES, "us|2013-01-05,eu|2013-01-07", "us|2013-01-05, eu|2013-01-07"),
        (SALES, "us|2013-01-05...2013-01-06, eu|2013-02", "us|2013-01-05...2013-01-06, eu|2013-02-01...2013-02-28"),
        (SALES, "us|2013-01-05,2013-01-07", "us|2013-01-05, us|2013-01-07"),
        (SALES, "us...eu|2013-01-05", "us|2013-01-05, eu|2013-01-05"),
        (SALES, "New York, NY|2013-01-05", "New York, NY|2013-01-05"),
        (SALES, "New York, NY|*", "New York, NY|2013-01-01...2013-02-28"),
        (SALES, ["us|2013-01-05", "eu|2013-01-05"], "us|2013-01-05, eu|2013-01-05"),
        (SALES, {"region": "us", "date": "2013-01-05...2013-01-07"}, "us|2013-01-05...2013-01-07"),
        (SALES, {"region": ["us", "eu"], "date": date(2013, 1, 5)}, "us|2013-01-05, eu|2013-01-05"),
        (SALES, {"region": "us"}, "us|2013-01-01...2013-02-28"),
        (SALES, {"date": DAYS.range("2013-01-05", "2013-01-06"), "region": "eu"}, "eu|2013-01-05...2013-01-06"),
        (SALES, [{"region": "us", "date": "2013-01"}, "eu|2013-01-01"], "us|2013-01-01...2013-01-31, eu|2013-01-01"),
        (VISITS, "2013-01-05|acme|1", "2013-01-05T00:00...2013-01-05T23:00|acme|1"),
        (VISITS, {"customer": "acme", "hour": "2013-01-05", "site": 2}, "2013-01-05T00:00...2013-01-05T23:00|acme|2"),
    ],
)
def test_partitions_can_be_asked_for_in_many_forms(partitions: Multi, given_: object, chosen: str) -> None:
    present = Present(NOW, {"customers": ["acme"]})
    found = partitions.select(given_, now=present)
    assert str(found) == chosen
    assert partitions.select([str(part) for part in found.ranges], now=present) == found


def test_a_star_is_all() -> None:
    assert SALES.select("*", now=NOW) == SALES.select("*|*", now=NOW) == SALES.select({}, now=NOW) == SALES.all(NOW)
    assert len(SALES.select("*|2013-01", now=NOW)) == 3 * 31


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("2013-01-05", "'2013-01-05' is no partition key of region"),
        ("us|2013-01-05|x", "a key looks like region|date"),
        ("us|2013-01-05, eu", "'eu' is no partition key"),
        ("uk|2013-01-05", "'uk' is no partition key of static"),
        ("us|January", "'January' is no partition key of daily"),
        ("us|2012-01-05", "partition 2012-01-05 is outside the range of daily"),
        ("us|2013-03-01", "partition 2013-03-01 is outside the range of daily"),
        ("us|2013-01-05...eu|2013-01-05", "is no partition key"),
        ({"regio": "us"}, "'regio' is no dimension of region"),
        ({"region": "us", "date": "2013-02-02...2013-02-01"}, "reversed"),
        (5, "5 is no partition key"),
        (DAYS.select("2013-01-05"), "are daily 2013-01-01..., not region"),
    ],
)
def test_what_can_not_be_asked_for_is_told(given_: object, says: str) -> None:
    with pytest.raises(PartitionError) as caught:
        SALES.select(given_, now=NOW)
    assert says in str(caught.value)


def test_without_a_present_what_goes_on_has_to_be_said() -> None:
    with pytest.raises(PartitionError, match="depends on the present"):
        SALES.select({"region": "us"})
    assert len(SALES.select("*|2030-01")) == 3 * 31


def test_a_key_says_something_of_each_dimension() -> None:
    assert SALES.parse({"date": date(2013, 1, 5), "region": "us"}) == SALES.parse("us|2013-01-05")
    assert "us|2013-01-05" in SALES.all(NOW)
    assert "us|2014-01-05" not in SALES.all(NOW)
    with pytest.raises(PartitionError, match="says nothing of date"):
        SALES.parse({"region": "us"})


# ── ranges ────────────────────────────────────────────────────────────────────────────────


def test_a_range_has_a_range_of_each_dimension() -> None:
    part = SALES.range("us|2013-01-05", "us|2013-01-07")
    assert part.dimension("date") == PartitionRange(DAYS, *DAYS.select("2013-01-05...2013-01-07").spans[0])
    assert part.dimension("region").keys() == ["us"]
    assert (part.start, part.end) == (datetime(2013, 1, 5, tzinfo=UTC), datetime(2013, 1, 8, tzinfo=UTC))
    assert (part.first, part.last, len(part)) == ("us|2013-01-05", "us|2013-01-07", 3)
    with pytest.raises(PartitionError, match="'dat' is no dimension") as caught:
        part.dimension("dat")
    assert caught.value.hint == "did you mean date?"
    with pytest.raises(PartitionError, match="have no dimensions"):
        DAYS.range("2013-01-05", "2013-01-05").dimension("date")


def test_a_range_across_combinations_is_none() -> None:
    with pytest.raises(PartitionError, match="spans more than one combination"):
        SALES.range("us|2013-01-05", "eu|2013-01-05")
    around = SALES.all(NOW).hull
    for ask in (lambda: around.start, lambda: around.dimension("date"), lambda: SALES.select(around)):
        with pytest.raises(PartitionError, match="more than one combination"):
            ask()
    assert (around.first, around.last) == ("us|2013-01-01", "New York, NY|2013-02-28")


def test_a_range_has_a_start_if_it_is_clear_which() -> None:
    for partitions in (Multi({"a": Static([1])}), Multi({"a": Monthly("2013-01"), "b": DAYS})):
        part = partitions.all(NOW).ranges[0]
        with pytest.raises(PartitionError, match="isn't clear which start and end") as caught:
            _ = part.start
        assert caught.value.hint == "use .dimension(name)"


# ── definitions ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dimensions", "says"),
    [
        ({}, "need a name for each"),
        ([DAYS], "need a name for each"),
        ({"a b": DAYS}, "'a b' is no name for a dimension"),
        ({"a|b": DAYS}, "is no name for a dimension"),
        ({"a": Unpartitioned()}, "can't be the dimension 'a'"),
        ({"a": SALES}, "can't be the dimension 'a'"),
        ({"a": "2013"}, "can't be the dimension 'a'"),
        ({"a": Static(["x|y"])}, "which stands between dimensions"),
    ],
)
def test_dimensions_that_can_not_be(dimensions: object, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Multi(dimensions)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_columns_are_those_of_the_dimensions() -> None:
    assert SALES.columns == ("region", "date")
    assert SALES.column is None
    assert VISITS.columns == ()
    assert DAYS.columns == ("date",)
    assert Daily("2013-01-01").columns == Unpartitioned().columns == ()


def test_definitions_are_values() -> None:
    again = pickle.loads(pickle.dumps(SALES))
    assert again == SALES
    assert hash(again) == hash(SALES)
    assert Multi(dict(reversed(SALES.parts))) != SALES
    assert SALES.domain != Multi(dict(reversed(SALES.parts))).domain


# ── chunks and storage ────────────────────────────────────────────────────────────────────


def test_a_chunk_takes_partitions_of_more_than_one_combination() -> None:
    assert [len(chunk) for chunk in SALES.all(NOW).chunks(30)] == [30] * 5 + [27]
    assert [str(chunk) for chunk in SALES.select("*|2013-01-05", now=NOW).chunks(2)] == [
        "us|2013-01-05, eu|2013-01-05",
        "New York, NY|2013-01-05",
    ]


def test_an_interval_is_one_pair() -> None:
    there = SALES.all(NOW)
    assert len(there.to_pairs()) == 3
    assert SALES.from_pairs(there.to_pairs()) == there
    fewer = Multi({"region": Static(["eu", "us"]), "date": DAYS})
    assert fewer.from_pairs(there.to_pairs()) == fewer.select("*|2013-01...2013-02")


@given(st.sets(st.tuples(st.integers(1, 5), st.integers(1, 14)), max_size=30))
def test_those_that_can_be_are_those_whose_sides_can_be(chosen: set[tuple[int, int]]) -> None:
    narrow = Multi({"month": Monthly("2013-02", end="2013-05"), "day": Daily("2013-01-03", end="2013-01-09")})
    wide = Multi({"month": Monthly("2013-01"), "day": Daily("2013-01-01")})
    these = wide.select([f"2013-{month:02d}|2013-01-{day:02d}" for month, day in chosen])
    allowed = {f"2013-{month:02d}|2013-01-{day:02d}" for month, day in chosen if 2 <= month <= 4 and 3 <= day <= 8}
    assert set(narrow.possible(PartitionSet(narrow, these.spans))) == allowed
