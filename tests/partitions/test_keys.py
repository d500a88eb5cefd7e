import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings

from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.partitions import Daily, Hourly, Monthly, Partitions, PartitionSet, Static, TimePartitions, Unpartitioned
from tests.partitions.strategies import DEFINITIONS, KEYS, NOW, PRESENT, TIMES, one_partition, set_of, some

DAILY = Daily("2013-01-01", end="2014-01-01", column="date")
HOURLY = Hourly("2013-01-01T00:00", column="at")
MONTHLY = Monthly("2013-01", column="month")
ORIGINS = Static(["EWR", "JFK", "LGA"], column="origin")
NEW_YORK = Hourly("2013-01-01T00:00", timezone="America/New_York", column="at")


# ── keys and tokens ───────────────────────────────────────────────────────────────────────


@given(one_partition())
@settings(max_examples=200)
def test_a_key_names_the_partition_it_comes_from(one: tuple[Partitions, int]) -> None:
    partitions, ordinal = one
    key = partitions.key(ordinal)
    assert partitions.parse(key) == ordinal
    assert partitions.from_token(partitions.token(ordinal)) == ordinal
    assert (
        partitions.select(key, now=PRESENT)
        == partitions.select([key], now=PRESENT)
        == PartitionSet(partitions, ((ordinal, ordinal + 1),))
    )


@given(one_partition())
@settings(max_examples=100)
def test_an_instant_names_the_partition_that_begins_then(one: tuple[Partitions, int]) -> None:
    partitions, ordinal = one
    if isinstance(partitions, TimePartitions) and partitions.instant(ordinal) < partitions.instant(ordinal + 1):
        begins = partitions.instant(ordinal)
        assert partitions.parse(begins) == ordinal
        assert partitions.parse(begins.astimezone(timezone(timedelta(hours=5, minutes=45)))) == ordinal
        with pytest.raises(PartitionError):
            partitions.parse(begins + timedelta(seconds=30))


@given(one_partition())
@settings(max_examples=200)
def test_tokens_are_safe_in_a_path(one: tuple[Partitions, int]) -> None:
    partitions, ordinal = one
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", partitions.token(ordinal))
    assert "%" not in partitions.token(ordinal)
    assert not partitions.token(ordinal).startswith(".")


@pytest.mark.parametrize("partitions", DEFINITIONS, ids=str)
def test_tokens_are_all_different_and_sort_as_time_does(partitions: Partitions) -> None:
    chosen = some(partitions, 1500)
    tokens = [partitions.token(o) for o in chosen]
    assert len(set(tokens)) == len(tokens)
    if partitions.ordered:
        for low, high in set_of(partitions, set(chosen)).spans:
            assert sorted(tokens, key=lambda t: (t < partitions.token(low), t))[: high - low] == [
                partitions.token(o) for o in range(low, high)
            ]


def test_tokens_of_the_two_hours_that_clocks_show_alike_differ() -> None:
    twice = NEW_YORK.select(["2013-11-03T01:00-04:00", "2013-11-03T01:00-05:00"])
    assert [NEW_YORK.token(o) for o in twice.ordinals()] == ["2013-11-03T05", "2013-11-03T06"]


def test_tokens_tell_static_keys_apart_that_escape_each_other() -> None:
    partitions = Static(["a~20b", "a b", "a/b", "a.b", "~", "~7e", "%7e"])
    assert len({partitions.token(i) for i in range(7)}) == 7


@pytest.mark.parametrize("start", ["0999-01-01T00:00", "0001-01-01T00:00", "9998-12-31T23:00"])
def test_hours_of_any_year_have_keys_that_can_be_read(start: str) -> None:
    hourly = Hourly(start)
    assert hourly.start == start
    assert hourly.key(hourly.parse(start)) == start


# ── forms ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("partitions", "given_", "keys"),
    [
        (DAILY, "2013-01-30...2013-02-01", ["2013-01-30", "2013-01-31", "2013-02-01"]),
        (DAILY, " 2013-01-30 ... 2013-01-31 ", ["2013-01-30", "2013-01-31"]),
        (DAILY, "2013-01-03,2013-01-01", ["2013-01-01", "2013-01-03"]),
        (DAILY, "2013-01-01...2013-01-02, 2013-01-02...2013-01-03", ["2013-01-01", "2013-01-02", "2013-01-03"]),
        (DAILY, ["2013-01-01", "2013-01-03...2013-01-04"], ["2013-01-01", "2013-01-03", "2013-01-04"]),
        (DAILY, date(2013, 1, 5), ["2013-01-05"]),
        (DAILY, datetime(2013, 1, 5), ["2013-01-05"]),
        (DAILY, [date(2013, 1, 5), "2013-01-07"], ["2013-01-05", "2013-01-07"]),
        (DAILY, (d for d in ["2013-01-05"]), ["2013-01-05"]),
        (DAILY, [], []),
        (DAILY, DAILY.range("2013-01-05", "2013-01-06"), ["2013-01-05", "2013-01-06"]),
        (DAILY, DAILY.select("2013-01-05"), ["2013-01-05"]),
        (DAILY, Daily("2010-01-01").select("2013-01-05"), ["2013-01-05"]),
        (MONTHLY, "2013-11...2014-01", ["2013-11", "2013-12", "2014-01"]),
        (MONTHLY, date(2013, 2, 1), ["2013-02"]),
        (HOURLY, "2013-01-01T05:00", ["2013-01-01T05:00"]),
        (HOURLY, "2013-01-01T05", ["2013-01-01T05:00"]),
        (HOURLY, "2013-01-01 05:00", ["2013-01-01T05:00"]),
        (HOURLY, "2013-01-01T05:00:00", ["2013-01-01T05:00"]),
        (HOURLY, "2013-01-01T05:00Z", ["2013-01-01T05:00"]),
        (HOURLY, "2013-01-01T05Z", ["2013-01-01T05:00"]),
        (HOURLY, "2013-01-01T05:00+05:00", ["2013-01-01T00:00"]),
        (HOURLY, datetime(2013, 1, 1, 5), ["2013-01-01T05:00"]),
        (HOURLY, datetime(2013, 1, 1, 5, tzinfo=UTC), ["2013-01-01T05:00"]),
        (NEW_YORK, "2013-07-01T05:00", ["2013-07-01T05:00-04:00"]),
        (ORIGINS, "JFK", ["JFK"]),
        (ORIGINS, "LGA,EWR", ["EWR", "LGA"]),
        (ORIGINS, "EWR...LGA", ["EWR", "JFK", "LGA"]),
        (Static([2021, 2022, 2023]), 2022, ["2022"]),
        (Static([2021, 2022, 2023]), [2021, "2023"], ["2021", "2023"]),
        (Unpartitioned(), "", [""]),
        (Unpartitioned(), Unpartitioned().all(NOW), [""]),
    ],
)
def test_partitions_can_be_asked_for_in_many_forms(partitions: Partitions, given_: Any, keys: list[str]) -> None:
    assert partitions.select(given_).keys() == keys


@pytest.mark.parametrize("key", KEYS)
def test_static_keys_may_hold_commas_and_dots_of_their_own(key: str) -> None:
    partitions = Static(KEYS)
    assert partitions.select(key).keys() == [key]
    assert partitions.select([key]).keys() == [key]


# ── what can't be ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("partitions", "given_", "says"),
    [
        # the wrong form: what was given, and the form of a key
        (DAILY, "January", ["'January'", "daily 2013-01-01...", "looks like 2013-01-31"]),
        (DAILY, "", ["''", "2013-01-31"]),
        (DAILY, "2013-1-5", ["'2013-1-5'", "2013-01-31"]),
        (DAILY, "20130105", ["'20130105'"]),
        (DAILY, "2013-02-30", ["'2013-02-30'"]),
        (DAILY, "2013-01-05T00:00", ["'2013-01-05T00:00'"]),
        (DAILY, "2013-01-05...", ["''"]),
        (DAILY, "...2013-01-05", ["''"]),
        (DAILY, "2013-01-05..2013-01-06", ["'2013-01-05..2013-01-06'"]),
        (DAILY, "2013-01-05,,2013-01-06", ["''"]),
        (DAILY, 20130105, ["20130105"]),
        (DAILY, 1.5, ["1.5"]),
        (DAILY, None, ["None"]),
        (DAILY, [None], ["None"]),
        (DAILY, b"2013-01-05", ["50"]),
        (DAILY, datetime(2013, 1, 5, 7), ["datetime.datetime(2013, 1, 5, 7, 0)"]),
        (DAILY, datetime(2013, 1, 5, 0, 0, 1), ["datetime.datetime(2013, 1, 5, 0, 0, 1)"]),
        (MONTHLY, "2013-13", ["'2013-13'", "monthly", "2013-01"]),
        (MONTHLY, "2013-00", ["'2013-00'"]),
        (MONTHLY, "0000-01", ["'0000-01'"]),
        (MONTHLY, "2013-01-01", ["'2013-01-01'"]),
        (MONTHLY, date(2013, 1, 2), ["datetime.date(2013, 1, 2)"]),
        (MONTHLY, datetime(2013, 1, 1, 5), ["datetime.datetime(2013, 1, 1, 5, 0)"]),
        (HOURLY, "January", ["'January'", "2013-01-31T05:00"]),
        (HOURLY, "2013-01-01T25:00", ["'2013-01-01T25:00'"]),
        (HOURLY, "2013-01-01T05:00+99:00", ["'2013-01-01T05:00+99:00'"]),
        (HOURLY, "0001-01-01T00:00+09:00", ["'0001-01-01T00:00+09:00'"]),
        (HOURLY, "9999-12-31T23:00-09:00", ["'9999-12-31T23:00-09:00'"]),
        (HOURLY, date(2013, 1, 1), ["datetime.date(2013, 1, 1)"]),
        (HOURLY, "2013-01-01T05:30", ["'2013-01-01T05:30' is not on an hour", "2013-01-01T05:00"]),
        (HOURLY, datetime(2013, 1, 1, 5, 0, 0, 1), ["is not on an hour", "2013-01-01T05:00"]),
        (NEW_YORK, "2013-03-10T02:00", ["doesn't exist in America/New_York", "2013-03-10T03:00-04:00"]),
        (NEW_YORK, "2013-11-03T01:00", ["comes twice", "2013-11-03T01:00-04:00 or 2013-11-03T01:00-05:00"]),
        # out of range: what there is
        (DAILY, "2014-01-01", ["2014-01-01 is outside", "there are 2013-01-01...2013-12-31"]),
        (DAILY, "2012-12-31...2013-01-05", ["2012-12-31 is outside"]),
        (DAILY, DAILY.range("2013-12-31", "2014-01-02"), ["2014-01-01...2014-01-02 is outside"]),
        (Daily("2013-01-01"), "2012-12-31", ["there are all from 2013-01-01 on"]),
        # reversed: the right way round
        (DAILY, "2013-02-01...2013-01-01", ["reversed", "2013-01-01...2013-02-01"]),
        (MONTHLY, "2013-02...2013-01", ["reversed", "2013-01...2013-02"]),
        (ORIGINS, "LGA...EWR", ["reversed", "EWR...LGA"]),
        # not partitioned
        (Unpartitioned(), "2013-01-01", ["'2013-01-01'", "not partitioned", "leave partitions out"]),
        (Unpartitioned(), 5, ["not partitioned"]),
        # unknown static keys: the nearest
        (ORIGINS, "JFX", ["'JFX'", "EWR, JFK, LGA", "did you mean JFK?"]),
        (ORIGINS, "ewr", ["'ewr'", "EWR, JFK, LGA"]),
        (ORIGINS, "EWR,JFX", ["'JFX'"]),
        (ORIGINS, None, ["None"]),
        # other definitions' partitions
        (DAILY, MONTHLY.select("2013-01"), ["monthly 2013-01...", "not daily 2013-01-01..."]),
        (DAILY, Daily("2013-01-01", timezone="Asia/Tokyo").range("2013-01-01", "2013-01-02"), ["Asia/Tokyo"]),
        (DAILY, ORIGINS.select("EWR"), ["static EWR, JFK, LGA"]),
    ],
)
def test_what_can_not_be_asked_for_is_told_with_what_can(partitions: Partitions, given_: Any, says: list[str]) -> None:
    with pytest.raises(PartitionError) as caught:
        partitions.select(given_)
    for words in says:
        assert words in str(caught.value)


def test_partitions_that_are_not_over_yet_are_not_there() -> None:
    with pytest.raises(PartitionError, match=r"2013-02-05 is outside") as caught:
        Daily("2013-01-01").select("2013-02-05", now=datetime(2013, 2, 5, 23, tzinfo=UTC))
    assert "there are 2013-01-01...2013-02-04" in str(caught.value)
    assert "once its time is over" in str(caught.value)
    with pytest.raises(PartitionError, match="there are none yet"):
        Daily("2013-01-01").select("2013-01-01", now=datetime(2012, 1, 1, tzinfo=UTC))


# ── definitions ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Daily("January"), "'January' is no partition key"),
        (lambda: Daily(datetime(2013, 1, 1, 3)), "is no partition key"),
        (lambda: Daily("2013-01-01", end="soon"), "'soon' is no partition key"),
        (lambda: Daily("2013-01-02", end="2013-01-01"), "hold nothing"),
        (lambda: Daily("2013-01-01", end="2013-01-01"), "hold nothing"),
        (lambda: Daily("2013-01-01", timezone="Mars/Olympus"), "'Mars/Olympus' is no time zone"),
        (lambda: Daily("2013-01-01", timezone=""), "'' is no time zone"),
        (lambda: Daily("2013-01-01", timezone="America"), "'America' is no time zone"),
        (lambda: Daily("2013-01-01", timezone=None), "None is no time zone"),  # type: ignore[arg-type]
        (lambda: Hourly("2013-01-01"), "'2013-01-01' is no partition key"),
        (lambda: Hourly("2013-01-01T00:15", timezone="Asia/Kolkata"), r"not on an hour"),
        (lambda: Hourly("2013-03-10T02:00", timezone="America/New_York"), "doesn't exist"),
        (lambda: Monthly("2013-01-01"), "'2013-01-01' is no partition key"),
        (lambda: Static([]), "different, non-empty keys"),
        (lambda: Static(["a", "a"]), "different, non-empty keys"),
        (lambda: Static([1, "1"]), "different, non-empty keys"),
        (lambda: Static(["a", ""]), "different, non-empty keys"),
        (lambda: Static("EWR"), "different, non-empty keys"),
        (lambda: Static(None), "different, non-empty keys; given None"),  # type: ignore[arg-type]
        (lambda: Static(5), "different, non-empty keys; given 5"),  # type: ignore[arg-type]
    ],
)
def test_partitions_that_can_not_be_are_definition_errors(make: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(says)):
        make()


def test_an_hour_that_is_none_in_its_zone_is_told_the_next_one() -> None:
    with pytest.raises(DefinitionError) as caught:
        Hourly("2013-01-01T00:15", timezone="Asia/Kolkata")
    assert caught.value.hint == "the partition that holds it is 2013-01-01T00:00+05:30"


def test_definitions_are_values() -> None:
    assert Daily("2013-01-01", column="d") == Daily(date(2013, 1, 1), column="d")
    assert len({Daily("2013-01-01"), Daily("2013-01-01"), Daily("2013-01-02")}) == 2
    assert Static(["a", "b"]) == Static(["a", "b"])
    assert hash(Static(["a", "b"])) == hash(Static(["a", "b"]))
    assert Static(["a", "b"]) != Static(["b", "a"])
    assert Unpartitioned() == Unpartitioned()


@pytest.mark.parametrize("partitions", TIMES, ids=str)
def test_without_an_end_only_complete_partitions_are_there(partitions: TimePartitions) -> None:
    for now in (NOW, datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC)):
        low, high = partitions.bounds(now)
        assert partitions.instant(high) <= now < partitions.instant(high + 1)
        assert partitions.all(now) == PartitionSet(partitions, ((low, high),))


def test_a_partition_is_complete_the_moment_it_ends() -> None:
    daily = Daily("2013-01-01", timezone="America/New_York")
    midnight = datetime(2013, 1, 3, 5, tzinfo=UTC)
    assert daily.all(midnight).keys() == ["2013-01-01", "2013-01-02"]
    assert daily.all(midnight - timedelta(microseconds=1)).keys() == ["2013-01-01"]


def test_before_they_begin_there_are_none() -> None:
    assert not Daily("2013-01-01").all(datetime(2000, 1, 1, tzinfo=UTC))
    assert not Hourly("2013-01-01T00:00").all(datetime(2000, 1, 1, tzinfo=UTC))


def test_with_an_end_all_are_there_whatever_the_time() -> None:
    for now in (datetime(2000, 1, 1, tzinfo=UTC), NOW):
        assert len(DAILY.all(now)) == 365
    assert ORIGINS.all(NOW).keys() == ["EWR", "JFK", "LGA"]
    assert Unpartitioned().all(NOW).keys() == [""]


@pytest.mark.parametrize("text", ["2013-01-01..2013-01-05", "2013-01-01....2013-01-05", "2013-01-01…2013-01-05"])
def test_a_range_with_other_dots_is_told_of_the_three(text: str) -> None:
    with pytest.raises(PartitionError, match=r"hint: a range has three dots: .*\.\.\.2013-01-05"):
        Daily("2013-01-01").select(text)


def test_a_key_with_two_dots_is_a_key() -> None:
    names = Static(["a..b", "a", "b"], column="name")
    assert names.select("a..b").keys() == ["a..b"]
    with pytest.raises(PartitionError, match=r"three dots: b\.\.\.a"):
        names.select("b..a")
