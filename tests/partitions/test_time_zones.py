from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.io.tokens import token
from lakehouse.partitions import Cron, Daily, Every, Hourly, Monthly, TimePartitions, Weekly, carry
from lakehouse.partitions.clocks import days_begun_twice, offsets, utc
from tests.partitions.strategies import TIMES, ZONES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
moments = st.datetimes(datetime(2010, 2, 1), datetime(2025, 12, 1), timezones=st.just(UTC))


@given(st.sampled_from(TIMES), moments)
@settings(max_examples=200)
def test_an_instant_lies_between_the_beginnings_of_its_partition_and_the_next(
    partitions: TimePartitions, moment: datetime
) -> None:
    ordinal = partitions.ordinal_at(moment)
    assert partitions.instant(ordinal) <= moment < partitions.instant(ordinal + 1)


@given(st.sampled_from(TIMES), moments)
@settings(max_examples=200)
def test_partitions_follow_each_other_without_gap_or_overlap(partitions: TimePartitions, moment: datetime) -> None:
    ordinal = partitions.ordinal_at(moment)
    begins, ends = partitions.instant(ordinal), partitions.instant(ordinal + 1)
    assert partitions.ordinal_at(begins) == ordinal
    assert partitions.ordinal_at(ends - timedelta(microseconds=1)) == ordinal
    assert partitions.ordinal_at(begins - timedelta(microseconds=1)) < ordinal


@given(st.sampled_from(ZONES), moments)
@settings(max_examples=100)
def test_a_row_is_in_the_day_that_its_clock_shows(zone: str, moment: datetime) -> None:
    daily, monthly = Daily("2010-01-01", timezone=zone), Monthly("2010-01", timezone=zone)
    local = moment.astimezone(ZoneInfo(zone))
    assert daily.key(daily.ordinal_at(moment)) == local.date().isoformat()
    assert monthly.key(monthly.ordinal_at(moment)) == local.strftime("%Y-%m")


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", "2013-03-10", 23),
        ("America/New_York", "2013-11-03", 25),
        ("America/New_York", "2013-07-01", 24),
        ("Europe/Berlin", "2013-03-31", 23),
        ("Europe/Berlin", "2013-10-27", 25),
        ("Asia/Kolkata", "2013-03-10", 25),  # said in hours of UTC, which its day begins and ends at half past
        ("Australia/Lord_Howe", "2013-07-01", 24),
        ("Australia/Lord_Howe", "2013-01-15", 24),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("America/Sao_Paulo", "2018-02-17", 25),
        ("UTC", "2013-03-10", 24),
    ],
)
def test_days_have_as_many_hours_as_clocks_make_them(zone: str, day: str, hours: int) -> None:
    daily = Daily("2013-01-01", timezone=zone)
    hourly = Hourly("2012-12-01T00:00Z", timezone=zone)
    these = carry(daily.select(day), hourly, NOW)
    assert len(these) == hours
    assert len(set(these.keys())) == hours
    assert hourly.select(these.keys()) == these
    if these.hull.start == daily.select(day).hull.start:
        assert [key[:10] for key in these] == [day] * hours


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Asia/Kolkata", "2013-03-10", 24),
        ("Asia/Kathmandu", "2013-03-10", 24),
        ("America/St_Johns", "2013-03-10", 23),
        ("Australia/Adelaide", "2013-04-07", 25),
        ("Australia/Lord_Howe", "2013-04-07", 24),  # the clock shows 01:30 to 02:00 twice, within an hour
        ("Australia/Lord_Howe", "2013-10-06", 23),  # and doesn't show 02:00 to 02:30
    ],
)
def test_days_of_half_hour_zones_are_made_of_whole_hours(zone: str, day: str, hours: int) -> None:
    daily = Daily("2013-01-01", timezone=zone).select(day)
    these = carry(daily, Hourly("2012-12-01T00:00", timezone=zone), NOW)
    assert [key[:10] for key in these] == [day] * hours
    assert (these.hull.start, these.hull.end) == (daily.hull.start, daily.hull.end)
    assert {key[13:16] for key in these} == {":00"}


@pytest.mark.parametrize(
    ("zone", "changes", "length"),
    [
        ("Australia/Lord_Howe", "2013-10-06", timedelta(hours=23, minutes=30)),
        ("Australia/Lord_Howe", "2013-04-07", timedelta(hours=24, minutes=30)),
        ("America/Sao_Paulo", "2018-11-04", timedelta(hours=23)),
        ("America/Havana", "2013-03-10", timedelta(hours=23)),
        ("America/Havana", "2013-11-03", timedelta(hours=25)),
        ("Pacific/Apia", "2011-12-30", timedelta(0)),
        ("Asia/Kolkata", "2013-10-06", timedelta(hours=24)),
    ],
)
def test_days_are_as_long_as_clocks_make_them(zone: str, changes: str, length: timedelta) -> None:
    day = Daily("2010-01-01", timezone=zone).range(changes, changes)
    assert day.end - day.start == length


def test_a_day_whose_midnight_is_skipped_begins_when_clocks_skip_it() -> None:
    daily = Daily("2018-11-01", timezone="America/Sao_Paulo")
    day = daily.range("2018-11-04", "2018-11-04")
    assert day.start == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert day.start.astimezone(daily.zone).hour == 1
    assert daily.range("2018-11-03", "2018-11-03").end == day.start
    assert daily.parse(day.start) == daily.parse("2018-11-04") == daily.parse(date(2018, 11, 4))


def test_a_day_whose_midnight_comes_twice_begins_with_the_first() -> None:
    daily = Daily("2013-01-01", timezone="America/Havana")
    assert daily.range("2013-11-03", "2013-11-03").start == datetime(2013, 11, 3, 4, tzinfo=UTC)


def test_a_day_that_was_skipped_needs_no_hours() -> None:
    daily = Daily("2011-12-01", timezone="Pacific/Apia")
    hours = Hourly("2011-12-01T00:00Z", timezone="Pacific/Apia")
    assert not carry(daily.select("2011-12-30"), hours, NOW)
    assert len(carry(daily.select("2011-12-29...2011-12-31"), hours, NOW)) == 48


def test_hours_that_clocks_show_twice_have_two_keys() -> None:
    hourly = Hourly("2013-11-03T00:00", timezone="America/New_York")
    assert hourly.range("2013-11-03T00:00", "2013-11-03T02:00").keys() == [
        "2013-11-03T00:00-04:00",
        "2013-11-03T01:00-04:00",
        "2013-11-03T01:00-05:00",
        "2013-11-03T02:00-05:00",
    ]


@pytest.mark.parametrize(
    ("zone", "wall", "says"),
    [
        ("Europe/Berlin", "2013-10-27T02:00", "say 2013-10-27T02:00+02:00 or 2013-10-27T02:00+01:00"),
        ("Europe/Berlin", "2013-03-31T02:00", "the time there is 2013-03-31T03:00+02:00"),
        ("Australia/Lord_Howe", "2013-04-07T01:45", "say 2013-04-07T01:45+11:00 or 2013-04-07T01:45+10:30"),
        ("Australia/Lord_Howe", "2013-10-06T02:15", "the time there is 2013-10-06T02:45+11:00"),
    ],
)
def test_a_wall_time_that_is_not_clear_is_told_how_to_say_it(zone: str, wall: str, says: str) -> None:
    with pytest.raises(PartitionError) as caught:
        Hourly("2013-01-01T00:00Z", timezone=zone).parse(wall)
    assert says in str(caught.value)


def test_hours_of_a_zone_with_half_hours_begin_when_its_clock_shows_full_hours() -> None:
    hourly = Hourly("2013-01-01T00:00", timezone="Asia/Kolkata")
    assert hourly.range("2013-01-01T00:00", "2013-01-01T02:00").keys() == [
        "2013-01-01T00:00+05:30",
        "2013-01-01T01:00+05:30",
        "2013-01-01T02:00+05:30",
    ]
    assert hourly.range("2013-01-01T00:00", "2013-01-01T00:00").start == datetime(2012, 12, 31, 18, 30, tzinfo=UTC)
    with pytest.raises(DefinitionError, match="is not on an hour") as caught:
        Hourly("2013-01-01T00:15", timezone="Asia/Kolkata")
    assert caught.value.hint == "the partition that holds it is 2013-01-01T00:00+05:30"


def test_hours_of_a_zone_with_half_hours_are_shown_at_half_past() -> None:
    # Where the first is said to begin at a full hour of UTC: tables of before that know these only.
    hourly = Hourly("2013-01-01T00:30", timezone="Asia/Kolkata")
    assert hourly.range("2013-01-01T00:30", "2013-01-01T02:30").keys() == [
        "2013-01-01T00:30+05:30",
        "2013-01-01T01:30+05:30",
        "2013-01-01T02:30+05:30",
    ]
    assert hourly.range("2013-01-01T00:30", "2013-01-01T00:30").start == datetime(2012, 12, 31, 19, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "around", "pieces"),
    [
        (
            "Australia/Lord_Howe",
            ("2013-04-07T00:00+11:00", "2013-04-07T02:00+10:30"),
            [("00:00+11:00", 60), ("01:00+11:00", 90), ("02:00+10:30", 60)],
        ),
        (
            "Australia/Lord_Howe",
            ("2013-10-06T00:00+10:30", "2013-10-06T03:00+11:00"),
            [("00:00+10:30", 60), ("01:00+10:30", 90), ("03:00+11:00", 60)],
        ),
        (
            "America/Caracas",
            ("2016-05-01T01:00-04:30", "2016-05-01T03:00-04:00"),
            [("01:00-04:30", 60), ("02:00-04:30", 30), ("03:00-04:00", 60)],
        ),
        (
            "Asia/Kathmandu",
            ("1985-12-31T22:00+05:30", "1986-01-01T01:00+05:45"),
            [("22:00+05:30", 60), ("23:00+05:30", 105), ("01:00+05:45", 60)],
        ),
    ],
)
def test_where_clocks_change_by_less_than_an_hour_one_takes_until_they_show_a_full_hour(
    zone: str, around: tuple[str, str], pieces: list[tuple[str, int]]
) -> None:
    hours = Hourly("1980-01-01T00:00", timezone=zone).range(*around)
    begins = [hours.partitions.moments(o, o + 1) for o in range(hours.low, hours.high)]
    assert [(k[11:], (e - b) // timedelta(minutes=1)) for k, (b, e) in zip(hours, begins, strict=True)] == pieces


# ── every zone there is ───────────────────────────────────────────────────────────────────

every_zone = st.sampled_from(sorted(available_timezones() - {"Factory", "localtime"}))  # names of no place


@st.composite
def cut_anywhere(draw: st.DrawFn) -> tuple[TimePartitions, datetime]:
    """Partitions of any zone, and a moment: often one at which its clocks change."""
    zone = draw(every_zone)
    # Before 1970 databases of zones disagree with each other: what a zone was then is often not known.
    year = draw(st.sampled_from([1971, 1999, 2012]))
    monday = next(day for day in range(1, 8) if date(year, 1, day).weekday() == 0)
    partitions: TimePartitions
    match draw(st.sampled_from(["hourly", "1", "5", "30", "daily", "weekly", "monthly", "cron"])):
        case "hourly":
            partitions = Hourly(f"{year}-01-01T00:00", timezone=zone)
        case "daily":
            partitions = Daily(f"{year}-01-01", timezone=zone)
        case "weekly":
            partitions = Weekly(f"{year}-01-0{monday}", timezone=zone)
        case "monthly":
            partitions = Monthly(f"{year}-01", timezone=zone)
        case "cron":
            partitions = Cron("*/30 * * * *", start=f"{year}-01-01T00:00", timezone=zone)
        case minutes:
            partitions = Every(f"{year}-01-01T00:00", minutes=int(minutes), timezone=zone)
    moments = st.datetimes(datetime(year, 2, 1), datetime(2080, 1, 1), timezones=st.just(UTC))
    changes = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=since) for since, _ in offsets(zone)[1:]]
    changes = [change for change in changes if change.year > year]
    if changes:
        near = st.timedeltas(-timedelta(hours=3), timedelta(hours=3))
        moments |= st.builds(lambda change, by: change + by, st.sampled_from(changes), near)
    return partitions, draw(moments)


@given(cut_anywhere())
@settings(max_examples=300, deadline=None)
def test_in_any_zone_partitions_tile_time_and_go_by_its_clock(cut: tuple[TimePartitions, datetime]) -> None:
    partitions, moment = cut
    ordinal = partitions.ordinal_at(moment)
    begins, ends = partitions.instant(ordinal), partitions.instant(ordinal + 1)
    assert begins <= moment < ends
    assert partitions.ordinal_at(begins) == partitions.ordinal_at(ends - timedelta(microseconds=1)) == ordinal
    assert partitions.ordinal_at(ends) > ordinal
    assert partitions.parse(partitions.key(ordinal)) == partitions.from_token(partitions.token(ordinal)) == ordinal
    assert partitions.token(ordinal) < partitions.token(ordinal + 1)
    assert partitions.key(ordinal) != partitions.key(ordinal + 1)
    shown = begins.astimezone(partitions.zone)
    match partitions:
        case Hourly() | Every():
            minutes = partitions.length // timedelta(minutes=1)
            assert (shown.minute % minutes, shown.second) == (0, 0)
            assert ends - begins < 2 * partitions.length
        case Daily() | Weekly() | Monthly():
            assert shown.isoformat().startswith(partitions.key(ordinal))
            assert utc(shown.replace(hour=0, minute=0, second=0, tzinfo=None), partitions.zone) == begins


@given(cut_anywhere())
@settings(max_examples=100, deadline=None)
def test_in_any_zone_a_row_lies_in_the_partition_of_its_moment(cut: tuple[TimePartitions, datetime]) -> None:
    partitions, moment = cut
    column = pl.Series("at", [moment]).dt.convert_time_zone(partitions.timezone)
    told = token(partitions.told_by("at"), column.dtype, where="silver.x")
    assert column.to_frame().select(told).item() == partitions.token(partitions.ordinal_at(moment))


@given(every_zone, st.datetimes(datetime(2000, 1, 2), datetime(2035, 1, 1), timezones=st.just(UTC)))
@settings(max_examples=100, deadline=None)
def test_numbers_of_hours_are_those_of_utc_where_clocks_are_at_whole_hours(zone: str, moment: datetime) -> None:
    hourly = Hourly("2000-01-01T00:00", timezone=zone)
    local = moment.astimezone(hourly.zone)
    assert hourly.shifted or local.utcoffset() in {timedelta(hours=h) for h in range(-14, 15)}
    if not hourly.shifted:
        assert hourly.ordinal_at(moment) == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(hours=1)
        assert hourly.division == ("hourly",)


def test_clocks_that_went_back_over_midnight_began_no_day_twice() -> None:
    zone = "America/St_Johns"  # at 00:01 on the 7th, they showed 23:01 on the 6th
    daily = Daily("2010-11-01", timezone=zone, column="at")
    day = daily.range("2010-11-07", "2010-11-07")
    assert (day.start, day.end) == (datetime(2010, 11, 7, 2, 30, tzinfo=UTC), datetime(2010, 11, 8, 3, 30, tzinfo=UTC))
    again = day.start + timedelta(minutes=30)
    assert again.astimezone(daily.zone).isoformat() == "2010-11-06T23:30:00-03:30"
    assert daily.key(daily.ordinal_at(again)) == "2010-11-07"
    assert days_begun_twice(zone)[-1][1:] == (datetime(2010, 11, 7, 3, 30, tzinfo=UTC), date(2010, 11, 7))


def test_a_range_knows_its_time() -> None:
    month = Monthly("2013-01", timezone="Europe/Berlin").range("2013-03", "2013-03")
    assert month.start == datetime(2013, 2, 28, 23, tzinfo=UTC)
    assert month.end == datetime(2013, 3, 31, 22, tzinfo=UTC)


@given(st.sampled_from(ZONES), st.dates(date(2010, 2, 1), date(2025, 12, 1)), st.integers(1, 40))
@settings(max_examples=200)
def test_the_days_of_a_range_are_those_that_its_keys_name(zone: str, first: date, days: int) -> None:
    daily = Daily("2010-01-01", timezone=zone)
    part = daily.range(first, first + timedelta(days - 1))
    between = [first + timedelta(n) for n in range((part.end.date() - part.start.date()).days)]
    left_out = [date(2011, 12, 30)] if zone == "Pacific/Apia" else []  # the first of a range, it begins with the next
    assert part.start.date() == first or first in left_out
    assert part.end.date() == first + timedelta(days) or first + timedelta(days) in left_out
    assert [d.isoformat() for d in between] == part.keys() or set(left_out) & {first, first + timedelta(days)}
    assert (part.start, part.end) == (daily.instant(part.low), daily.instant(part.high))
    assert part.end - part.start == daily.instant(part.high) - daily.instant(part.low)


def test_an_hour_that_comes_twice_ends_an_hour_after_it_begins() -> None:
    hourly = Hourly("2013-11-03T00:00", timezone="America/New_York")
    hour = hourly.range("2013-11-03T01:00-04:00", "2013-11-03T01:00-04:00")
    assert (hour.start.isoformat(), hour.end.isoformat()) == ("2013-11-03T01:00:00-04:00", "2013-11-03T01:00:00-05:00")
    assert hour.start < hour.end
    assert hour.end - hour.start == timedelta(hours=1)
