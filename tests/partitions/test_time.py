"""Weeks, pieces of so many minutes, and longer pieces of time as shorthands."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Cron, Daily, Every, Hourly, Monthly, Weekly
from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.partitions import WEEKDAYS, TimePartitions
from tests.partitions.strategies import ZONES

DAYS = Daily("2013-01-15")
MINUTES = Every("2013-01-01T00:00", minutes=5)


# ── weeks ─────────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from(WEEKDAYS), st.dates(date(1, 1, 8), date(9000, 1, 1)))
@settings(max_examples=100)
def test_a_week_is_seven_days_from_its_day_on(day: str, some: date) -> None:
    first = next(d for d in (date(2013, 1, 1) + timedelta(n) for n in range(7)) if WEEKDAYS[d.weekday()] == day)
    weekly = Weekly(first, day=day)
    week = weekly.ordinal_at(datetime(some.year, some.month, some.day, 12, tzinfo=UTC))
    begins = date.fromisoformat(weekly.key(week))
    assert begins.weekday() == WEEKDAYS.index(day)
    assert begins <= some < begins + timedelta(days=7)
    assert weekly.key(week + 1) == (begins + timedelta(days=7)).isoformat()


def test_a_day_within_a_week_is_told_the_week() -> None:
    with pytest.raises(PartitionError) as caught:
        Weekly("2013-01-07").select("2013-01-10")
    assert "'2013-01-10' is a Thursday; weeks of weekly 2013-01-07... begin on a Monday" in str(caught.value)
    assert caught.value.hint == "the partition that holds it is 2013-01-07"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Weekly("2013-01-01"), "is a Tuesday"),
        (lambda: Weekly("2013-01-07", day="sunday"), "is a Monday"),
        (lambda: Weekly("2013-01-07", day="Mon"), "'Mon' is no day of the week"),
        (lambda: Weekly("2013-01"), "looks like 2013-01-07, a Monday"),
    ],
)
def test_weeks_that_can_not_be(make: object, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        make()  # type: ignore[operator]


def test_weeks_of_another_day_are_others() -> None:
    assert Weekly("2013-01-07").domain != Weekly("2013-01-06", day="sunday").domain
    assert Weekly("2013-01-07") != Weekly("2013-01-07", timezone="Asia/Tokyo")


# ── so many minutes ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("minutes", [0, -5, 7, 1440, 2880, 1.5, True, "5", None])
def test_a_day_is_a_multiple_of_the_minutes(minutes: object) -> None:
    with pytest.raises(DefinitionError, match="a day has to be a multiple"):
        Every("2013-01-01T00:00", minutes=minutes)  # type: ignore[arg-type]


def test_a_time_within_a_piece_is_told_the_piece() -> None:
    with pytest.raises(PartitionError) as caught:
        MINUTES.select("2013-01-01T00:07")
    assert "'2013-01-01T00:07' is not on a multiple of 5 minutes of every 5 minutes" in str(caught.value)
    assert caught.value.hint == "the partition that holds it is 2013-01-01T00:05"


def test_pieces_of_real_time_are_all_there_where_clocks_change() -> None:
    quarters = Every("2013-01-01T00:00-05:00", minutes=15, timezone="America/New_York")
    assert len(quarters.select("2013-03-10")) == 23 * 4
    assert len(quarters.select("2013-11-03")) == 25 * 4
    assert quarters.select("2013-11-03T01").keys() == [
        f"2013-11-03T01:{m:02d}-0{h}:00" for h in (4, 5) for m in (0, 15, 30, 45)
    ]
    assert not quarters.select("2013-03-10T03") - quarters.select("2013-03-10")


# ── shorthands ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("partitions", "given_", "chosen"),
    [
        (DAYS, "2013-02", "2013-02-01...2013-02-28"),
        (DAYS, "2013-01", "2013-01-15...2013-01-31"),
        (DAYS, "2013", "2013-01-15...2013-12-31"),
        (DAYS, "2013-02...2013-03", "2013-02-01...2013-03-31"),
        (DAYS, "2013-02-27...2013-03", "2013-02-27...2013-03-31"),
        (DAYS, "2013-02...2013-03-02", "2013-02-01...2013-03-02"),
        (DAYS, "2013-02, 2013-04", "2013-02-01...2013-02-28, 2013-04-01...2013-04-30"),
        (DAYS, ["2013-02", "2013-03-01"], "2013-02-01...2013-03-01"),
        (Weekly("2013-01-07"), "2013-04", "2013-04-01...2013-04-29"),
        (Weekly("2013-01-07"), "2013-05", "2013-05-06...2013-05-27"),
        (Monthly("2013-01"), "2013", "2013-01...2013-12"),
        (Monthly("2013-01"), "2013-02", "2013-02"),
        (Hourly("2013-01-01T00:00"), "2013-02-01", "2013-02-01T00:00...2013-02-01T23:00"),
        (Hourly("2013-01-01T00:00"), "2013-02", "2013-02-01T00:00...2013-02-28T23:00"),
        (Hourly("2013-01-01T00:00"), "2013-02-01T05", "2013-02-01T05:00"),
        (MINUTES, "2013-02-01T05", "2013-02-01T05:00...2013-02-01T05:55"),
        (MINUTES, "2013-02-01", "2013-02-01T00:00...2013-02-01T23:55"),
        (Cron("0 6 * * mon", start="2013-01-07T06:00"), "2013-02", "2013-02-04T06:00...2013-02-25T06:00"),
        (Daily("2013-01-01", end="2013-03-01"), "*", "2013-01-01...2013-02-28"),
    ],
)
def test_a_longer_piece_of_time_stands_for_what_begins_in_it(
    partitions: TimePartitions, given_: object, chosen: str
) -> None:
    assert str(partitions.select(given_)) == chosen


def test_of_a_month_that_is_not_over_what_is_there_is_meant() -> None:
    now = datetime(2013, 2, 5, 12, tzinfo=UTC)
    assert str(DAYS.select("2013-02", now=now)) == "2013-02-01...2013-02-04"
    assert str(DAYS.select("2013", now=now)) == str(DAYS.select("*", now=now)) == "2013-01-15...2013-02-04"
    with pytest.raises(PartitionError, match=r"2013-03-01\.\.\.2013-03-31 is outside"):
        DAYS.select("2013-03", now=now)
    with pytest.raises(PartitionError, match="is outside"):
        DAYS.select("2012", now=now)


@pytest.mark.parametrize(
    ("partitions", "given_"),
    [
        (Monthly("2013-01"), "2013-01-01"),
        (DAYS, "2013-02-01T05"),
        (DAYS, "2013-13"),
        (DAYS, "0000"),
        (DAYS, "9999"),
        (DAYS, "201"),
        (Weekly("2013-01-07"), "2013-01-08"),
        (Hourly("2013-01-01T00:00"), "2013-02-30"),
    ],
)
def test_what_is_no_longer_piece_is_no_key(partitions: TimePartitions, given_: str) -> None:
    with pytest.raises(PartitionError, match=given_):
        partitions.select(given_)


def test_all_of_what_goes_on_takes_a_present() -> None:
    with pytest.raises(PartitionError, match="depends on the present"):
        DAYS.select("*")


@given(st.sampled_from(ZONES), st.integers(2011, 2024), st.integers(1, 12))
@settings(max_examples=60)
def test_months_of_pieces_follow_each_other(zone: str, year: int, month: int) -> None:
    after = f"{year + month // 12:04d}-{month % 12 + 1:02d}"
    for partitions in (
        Daily("2010-01-01", timezone=zone),
        Hourly("2010-01-01T00:00Z", timezone=zone),
        Cron("*/30 * * * *", start="2010-01-01T00:00", timezone=zone),
    ):
        one, two = partitions.select(f"{year:04d}-{month:02d}"), partitions.select(after)
        assert one.hull.high == two.hull.low
        assert one.keys()[0].startswith(f"{year:04d}-{month:02d}-01")
