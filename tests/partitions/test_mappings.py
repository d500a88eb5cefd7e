from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import PartitionError
from lakehouse.partitions import (
    Cron,
    Daily,
    Every,
    Hourly,
    Monthly,
    PartitionMapping,
    Partitions,
    PartitionSet,
    Static,
    TimePartitions,
    Unpartitioned,
    Weekly,
    carry,
    misfit,
)
from tests.partitions.strategies import DEFINITIONS, KEYS, NOW, PRESENT, TIMES, ordinals, set_of

EARLY = datetime(2003, 1, 1, tzinfo=UTC)  # before two days that come every fourth year


def early(partitions: TimePartitions) -> TimePartitions:
    """The same cut, from before any downstream partition on."""
    start, zone = partitions.key(partitions.ordinal_at(EARLY)), partitions.timezone
    match partitions:
        case Cron():
            return Cron(partitions.expression, start=start, timezone=zone)
        case Every():
            return Every(start, minutes=partitions.minutes, timezone=zone)
        case Weekly():
            return Weekly(start, day=partitions.day, timezone=zone)
        case _:
            return type(partitions)(start, timezone=zone)


@st.composite
def mapped(draw: st.DrawFn) -> tuple[PartitionSet, TimePartitions]:
    down = draw(st.sampled_from(TIMES))
    up = early(draw(st.sampled_from(TIMES)))
    # Wherever the year may be, not only near the beginning, where no clock changes.
    shift = draw(st.integers(0, max(0, len(down.all(NOW)) // 2)))
    chosen = {o + shift for o in draw(ordinals(down))}
    return set_of(down, chosen), up


@given(mapped())
@settings(max_examples=250)
def test_upstream_partitions_cover_the_time_and_each_shares_some_of_it(
    example: tuple[PartitionSet, TimePartitions],
) -> None:
    wanted, up = example
    down = wanted.partitions
    assert isinstance(down, TimePartitions)
    needed = PartitionMapping(down, up, NOW).upstream(wanted)
    theirs = [(up.instant(low), up.instant(high)) for low, high in needed.spans]

    for low, high in wanted.spans:
        begins, ends = down.instant(low), down.instant(high)
        if begins < ends:
            assert any(b <= begins and ends <= e for b, e in theirs)
    ours = [(down.instant(low), down.instant(high)) for low, high in wanted.spans]
    for low, high in needed.spans:
        for o in {low, low + 1, high - 2, high - 1} & set(range(low, high)):
            b, e = up.instant(o), up.instant(o + 1)
            assert any(b < ends and begins < e for begins, ends in ours) or b == e


@given(mapped())
@settings(max_examples=150)
def test_what_feeds_a_partition_feeds_it_back(example: tuple[PartitionSet, TimePartitions]) -> None:
    wanted, up = example
    mapping = PartitionMapping(wanted.partitions, up, NOW)
    assert isinstance(wanted.partitions, TimePartitions)
    real = [o for o in wanted.ordinals() if wanted.partitions.instant(o) < wanted.partitions.instant(o + 1)]
    assert set_of(wanted.partitions, set(real)) <= mapping.downstream(mapping.upstream(wanted))


@given(mapped())
@settings(max_examples=100)
def test_mapping_a_union_is_the_union_of_the_mapped(example: tuple[PartitionSet, TimePartitions]) -> None:
    wanted, up = example
    whole = carry(wanted, up, NOW)
    parts = up.empty()
    for chunk in wanted.chunks(3):
        parts = parts | carry(chunk, up, NOW)
    assert parts == whole
    assert len(whole.spans) <= len(wanted.spans)


@pytest.mark.parametrize(
    ("down", "up", "wanted", "needed"),
    [
        (Daily("2013-01-01"), Hourly("2013-01-01T00:00"), "2013-01-02", "2013-01-02T00:00...2013-01-02T23:00"),
        (
            Hourly("2013-01-01T00:00"),
            Daily("2013-01-01"),
            "2013-01-01T22:00...2013-01-02T00:00",
            "2013-01-01...2013-01-02",
        ),
        (Monthly("2013-01"), Daily("2013-01-01"), "2013-02", "2013-02-01...2013-02-28"),
        (Daily("2013-01-01"), Monthly("2013-01"), "2013-01-31...2013-02-01", "2013-01...2013-02"),
        (Daily("2013-01-01"), Daily("2012-06-01"), "2013-01-05", "2013-01-05"),
        (
            Daily("2013-01-02", timezone="America/New_York"),
            Daily("2013-01-01"),
            "2013-01-05",
            "2013-01-05...2013-01-06",
        ),
        (
            Daily("2013-01-02", timezone="America/New_York"),
            Hourly("2013-01-01T00:00"),
            "2013-03-10",
            "2013-03-10T05:00...2013-03-11T03:00",
        ),
        (Static(["b"]), Static(["a", "b", "c"]), "b", "b"),
        (Static(["c", "a"]), Static(["a", "b", "c"]), "c,a", "a, c"),
    ],
)
def test_what_is_needed_of_an_input(down: Partitions, up: Partitions, wanted: str, needed: str) -> None:
    assert str(PartitionMapping(down, up, NOW).upstream(down.select(wanted))) == needed


@pytest.mark.parametrize("partitions", [d for d in DEFINITIONS if d.kind != "hourly"], ids=str)
def test_what_is_not_partitioned_needs_all_and_feeds_all(partitions: Partitions) -> None:
    one = Unpartitioned().all(PRESENT)
    assert carry(one, partitions, PRESENT) == partitions.all(PRESENT)
    assert carry(partitions.all(PRESENT), Unpartitioned(), PRESENT) == one
    assert not carry(partitions.empty(), Unpartitioned(), PRESENT)
    assert not carry(Unpartitioned().empty(), partitions, PRESENT)


def test_nothing_needs_nothing() -> None:
    for down, up in product(TIMES[:3], TIMES[-3:]):
        assert not carry(down.empty(), up, NOW)


@pytest.mark.parametrize(
    ("down", "up", "says"),
    [
        (Daily("2013-01-01"), Daily("2013-01-01"), None),
        (Daily("2013-01-01"), Daily("2014-01-01"), "it begins at 2013-01-01, its input only at 2014-01-01"),
        (Daily("2013-01-01"), Daily("2013-01-01", end="2014-01-01"), "its input already at 2014-01-01"),
        (Daily("2013-01-01", end="2014-06-01"), Daily("2013-01-01", end="2014-01-01"), "it ends at 2014-06-01"),
        (Daily("2013-01-01", end="2014-01-01"), Daily("2013-01-01", end="2014-06-01"), None),
        (Monthly("2013-01"), Daily("2013-01-02"), "it begins at 2013-01"),
        (Daily("2013-01-02"), Monthly("2013-01"), None),
        (Daily("2013-01-01"), Daily("2013-01-01", timezone="America/New_York"), "its input only at"),
        (Daily("2013-01-01", timezone="America/New_York"), Daily("2013-01-01"), None),
        (Daily("2013-01-01"), Static(["a"]), "daily partitions can't be made from static ones"),
        (Static(["a"]), Monthly("2013-01"), "static partitions can't be made from monthly ones"),
        (Static(["a", "x"]), Static(["a", "b"]), "its input has no partitions x"),
        (Static(["a"]), Static(["b", "a"]), None),
        (Unpartitioned(), Daily("2013-01-01"), None),
        (Daily("2013-01-01"), Unpartitioned(), None),
        (Unpartitioned(), Static(["a"]), None),
    ],
)
def test_partitions_that_do_not_fit_say_why(down: Partitions, up: Partitions, says: str | None) -> None:
    found = misfit(down, up)
    if says is None:
        assert found is None
        PartitionMapping(down, up, NOW)
    else:
        assert found is not None
        assert says in found
        with pytest.raises(PartitionError):
            PartitionMapping(down, up, NOW)


def test_mapping_long_ranges_keeps_them_ranges() -> None:
    days, hours = Daily("1900-01-01"), Hourly("1900-01-01T00:00")
    needed = PartitionMapping(days, hours, NOW).upstream(days.select("1900-01-01...2020-12-31"))
    assert len(needed.spans) == 1
    assert len(needed) > 1_000_000
    assert len(PartitionMapping(days, hours, NOW).downstream(needed).spans) == 1


def test_static_keys_are_mapped_by_name() -> None:
    ours, theirs = Static(KEYS[::-1]), Static(KEYS)
    wanted = ours.select(["EWR", "a...b"])
    assert carry(wanted, theirs, NOW).keys() == ["EWR", "a...b"]
    assert carry(wanted, theirs, NOW + timedelta(days=1)) == theirs.select(["EWR", "a...b"])
