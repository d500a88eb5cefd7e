"""Cron partitions: arithmetic against a walk from minute to minute."""

import calendar
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Cron
from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.partitions.cron import _read
from tests.partitions.strategies import ZONES

EXPRESSIONS: dict[str, Callable[[datetime], bool]] = {
    "*/5 * * * *": lambda t: t.minute % 5 == 0,
    "7-59/10 */3 * * *": lambda t: t.minute % 10 == 7 and t.hour % 3 == 0,
    "0 6 * * mon-fri": lambda t: (t.minute, t.hour) == (0, 6) and t.weekday() < 5,
    "30 2,14 * * sat-sun": lambda t: t.minute == 30 and t.hour in (2, 14) and t.weekday() > 4,
    "0 0 * * 7": lambda t: (t.minute, t.hour, t.weekday()) == (0, 0, 6),
    "0 0 * * 0,3": lambda t: (t.minute, t.hour) == (0, 0) and t.weekday() in (2, 6),
    "15 1 1,15 * *": lambda t: (t.minute, t.hour) == (15, 1) and t.day in (1, 15),
    "0 12 31 */2 *": lambda t: (t.minute, t.hour, t.day) == (0, 12, 31) and t.month % 2 == 1,
    "0 0 * feb *": lambda t: (t.minute, t.hour, t.month) == (0, 0, 2),
    "0 0 13 * fri": lambda t: (t.minute, t.hour) == (0, 0) and (t.day == 13 or t.weekday() == 4),
    "59 23 29 2 *": lambda t: (t.minute, t.hour, t.day, t.month) == (59, 23, 29, 2),
}


def cron(expression: str, timezone: str = "UTC") -> Cron:
    """From the first tick of 1999 or later."""
    found = Cron.__new__(Cron)
    object.__setattr__(found, "expression", expression)
    tick = found._wall(found._tick(datetime(1999, 1, 1)) + 1)
    return Cron(expression, start=tick, timezone=timezone)


@given(
    st.sampled_from(list(EXPRESSIONS)),
    st.datetimes(datetime(1999, 1, 1), datetime(2098, 1, 1))
    | st.datetimes(datetime(2012, 2, 27), datetime(2012, 3, 3)),
)
@settings(max_examples=150)
def test_ticks_are_those_that_the_expression_names(expression: str, moment: datetime) -> None:
    partitions, ticks = cron(expression), EXPRESSIONS[expression]
    moment = moment.replace(second=0, microsecond=0, tzinfo=UTC)
    found = partitions.ordinal_at(moment)
    begins, ends = partitions.instant(found), partitions.instant(found + 1)
    assert begins <= moment < ends
    assert ticks(begins)
    assert ticks(ends)
    # Nothing ticks in between, as far as one can walk there.
    walk = min((ends - begins) // timedelta(minutes=1), 3000)
    assert not any(ticks(begins + timedelta(minutes=m)) for m in range(1, walk))
    assert partitions.parse(partitions.key(found)) == found


@given(
    st.sampled_from(list(EXPRESSIONS)[:5]),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2005, 1, 1), datetime(2025, 1, 1)),
)
@settings(max_examples=200)
def test_every_instant_is_in_one_partition_whatever_clocks_do(expression: str, zone: str, moment: datetime) -> None:
    partitions, instant = cron(expression, zone), moment.replace(tzinfo=UTC)
    found = partitions.ordinal_at(instant)
    assert partitions.instant(found) <= instant < partitions.instant(found + 1)
    around = [partitions.instant(o) for o in range(found - 30, found + 30)]
    assert around == sorted(around)
    local = partitions.instant(found).astimezone(ZoneInfo(zone))
    if local.replace(tzinfo=None).isoformat(timespec="minutes") == partitions.key(found):
        assert local.fold == 0
        assert EXPRESSIONS[expression](local)


def ticks(partitions: Cron, first: str, last: str) -> list[tuple[str, str]]:
    found = partitions.range(first, last)
    return [(partitions.key(o), f"{partitions.instant(o):%H:%M}") for o in range(found.low, found.high)]


def test_times_that_clocks_skip_tick_when_they_are_skipped() -> None:
    half_hours = Cron("*/30 * * * *", start="2013-01-01T00:00", timezone="America/New_York")
    assert ticks(half_hours, "2013-03-10T01:30", "2013-03-10T03:30") == [
        ("2013-03-10T01:30", "06:30"),
        ("2013-03-10T02:00", "07:00"),
        ("2013-03-10T02:30", "07:00"),
        ("2013-03-10T03:00", "07:00"),
        ("2013-03-10T03:30", "07:30"),
    ]
    daily = Cron("30 2 * * *", start="2013-01-01T02:30", timezone="America/New_York")
    day = daily.range("2013-03-10T02:30", "2013-03-10T02:30")
    assert (day.start, day.end) == (datetime(2013, 3, 10, 7, tzinfo=UTC), datetime(2013, 3, 11, 6, 30, tzinfo=UTC))


def test_times_that_come_twice_tick_the_first_time() -> None:
    hourly = Cron("0 * * * *", start="2013-01-01T00:00", timezone="America/New_York")
    assert ticks(hourly, "2013-11-03T00:00", "2013-11-03T02:00") == [
        ("2013-11-03T00:00", "04:00"),
        ("2013-11-03T01:00", "05:00"),
        ("2013-11-03T02:00", "07:00"),
    ]
    assert hourly.key(hourly.ordinal_at(datetime(2013, 11, 3, 6, 30, tzinfo=UTC))) == "2013-11-03T01:00"
    half_hours = Cron("*/30 * * * *", start="2013-01-01T00:00", timezone="America/New_York")
    assert half_hours.key(half_hours.ordinal_at(datetime(2013, 11, 3, 6, 10, tzinfo=UTC))) == "2013-11-03T01:30"


@pytest.mark.parametrize(
    ("given_", "key"),
    [
        ("2013-01-04T06:00", "2013-01-04T06:00"),
        ("2013-01-04 06:00:00", "2013-01-04T06:00"),
        ("2013-01-04T11:00Z", "2013-01-04T06:00"),
        (datetime(2013, 1, 4, 6), "2013-01-04T06:00"),
        (datetime(2013, 1, 4, 11, tzinfo=UTC), "2013-01-04T06:00"),
        ("2013-01-04", "2013-01-04T06:00"),
        ("2013-01-04T06", "2013-01-04T06:00"),
    ],
)
def test_a_tick_can_be_named_in_many_forms(given_: object, key: str) -> None:
    weekdays = Cron("0 6 * * 1-5", start="2013-01-01T06:00", timezone="America/New_York")
    assert weekdays.select(given_).keys() == [key]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("2013-01-04T07:00", ["is no tick of cron 0 6 * * 1-5", "the partition that holds it is 2013-01-04T06:00"]),
        ("2013-01-05T06:00", ["is no tick", "2013-01-04T06:00"]),
        (datetime(2013, 1, 4, 6, tzinfo=UTC), ["is no tick", "2013-01-03T06:00"]),
        ("2013-01-05", ["'2013-01-05' is no partition key", "if '0 6 * * 1-5' ticks then"]),
        ("soon", ["'soon' is no partition key"]),
        ("9999-12-31T23:00-09:00", ["is no partition key"]),
    ],
)
def test_what_is_no_tick_is_told(given_: object, says: list[str]) -> None:
    weekdays = Cron("0 6 * * 1-5", start="2013-01-01T06:00", timezone="America/New_York")
    with pytest.raises(PartitionError) as caught:
        weekdays.select(given_)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("* * * *", "has 4 fields; it takes 5: minute, hour, day of the month, month, day of the week"),
        ("0 0 * * * *", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("", "has 0 fields"),
        ("60 * * * *", "'60' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of the month"),
        ("* * L * *", "'l' is no day of the month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * foo *", "'foo' is no month"),
        ("* * * * 8", "'8' is no day of the week"),
        ("* * * * mon#2", "'mon#2' is no day of the week"),
        ("* * * * fri-mon", "'fri-mon' is no day of the week"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("0 0 30 2 *", "never ticks"),
    ],
)
def test_an_expression_that_can_not_be_read_is_told_with_what_can(expression: str, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Cron(expression, start="2013-01-01T00:00")
    assert says in str(caught.value)
    assert caught.value.hint


def test_a_start_that_is_no_tick_is_told() -> None:
    with pytest.raises(DefinitionError, match="is no tick"):
        Cron("0 6 * * *", start="2013-01-01T00:00")


@pytest.mark.parametrize("name", ["month", "day"])
def test_names_stand_for_numbers(name: str) -> None:
    if name == "month":
        named = ["* * * " + month.upper() + " *" for month in calendar.month_abbr[1:]]
        assert [_read(e.lower())[3] for e in named] == [(n,) for n in range(1, 13)]
    else:
        assert [_read(f"* * * * {d}")[4] for d in ("sun", "mon", "sat", "7", "5-7", "sat-sun")] == [
            (0,), (1,), (6,), (0,), (0, 5, 6), (0, 6)
        ]  # fmt: skip


def test_five_years_of_five_minutes_are_one_interval() -> None:
    partitions = Cron("*/5 * * * *", start="2008-01-01T00:00", end="2013-01-01T00:00", timezone="Europe/Berlin")
    whole = partitions.all(datetime(2026, 1, 1, tzinfo=UTC))
    assert len(whole.spans) == 1
    assert len(whole) == (5 * 365 + 2) * 288
    assert partitions.from_pairs(whole.to_pairs()) == whole
