"""Which partition a row belongs to, for every type of column and every kind of partitions."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Daily, Hourly, Monthly, Static, Unpartitioned
from lakehouse.errors import WrongFrame
from lakehouse.io.tokens import NOWHERE, from_tokens, spans, token, tokens, within
from lakehouse.partitions import Partitions, TimePartitions

DAILY = Daily("2013-01-01", column="k")
HOURLY = Hourly("2013-01-01T00:00", column="k")
MONTHLY = Monthly("2013-01", column="k")
NEW_YORK_DAYS = Daily("2013-01-01", column="k", timezone="America/New_York")
NEW_YORK_HOURS = Hourly("2013-01-01T00:00-05:00", column="k", timezone="America/New_York")
NEW_YORK_MONTHS = Monthly("2013-01", column="k", timezone="America/New_York")
STATIC = Static(["a", "b c", "7", "true", "2013-01-05"], column="k")


def token_of(partitions: Partitions, value: Any, dtype: Any = None) -> str:
    series = pl.Series("k", [value], dtype=dtype)
    found: str = series.to_frame().select(token(partitions, series.dtype, where="silver.x")).item()
    return found


LATE = datetime(2013, 2, 1, 4, 30, tzinfo=UTC)  # January 31st still, in New York


@pytest.mark.parametrize(
    ("partitions", "value", "dtype", "expected"),
    [
        (DAILY, "2013-01-05", pl.String, "2013-01-05"),
        (DAILY, date(2013, 1, 5), pl.Date, "2013-01-05"),
        (DAILY, datetime(2013, 1, 5, 23, 59), pl.Datetime("ms"), "2013-01-05"),
        (DAILY, datetime(2013, 1, 5, 23, 59), pl.Datetime("us"), "2013-01-05"),
        (DAILY, datetime(2013, 1, 5, 23, 59), pl.Datetime("ns"), "2013-01-05"),
        (DAILY, LATE, pl.Datetime("us", "UTC"), "2013-02-01"),
        (DAILY, LATE, pl.Datetime("us", "America/New_York"), "2013-02-01"),
        (NEW_YORK_DAYS, LATE, pl.Datetime("us", "UTC"), "2013-01-31"),
        (NEW_YORK_DAYS, LATE, pl.Datetime("ms", "Asia/Tokyo"), "2013-01-31"),
        (NEW_YORK_DAYS, date(2013, 1, 5), pl.Date, "2013-01-05"),
        (NEW_YORK_DAYS, datetime(2013, 1, 5, 1), pl.Datetime("us"), "2013-01-05"),
        (NEW_YORK_DAYS, "2013-01-05", pl.String, "2013-01-05"),
        (MONTHLY, "2013-02", pl.String, "2013-02"),
        (MONTHLY, date(2013, 2, 28), pl.Date, "2013-02"),
        (MONTHLY, datetime(2013, 2, 28, 23), pl.Datetime("us"), "2013-02"),
        (MONTHLY, LATE, pl.Datetime("us", "UTC"), "2013-02"),
        (NEW_YORK_MONTHS, LATE, pl.Datetime("us", "UTC"), "2013-01"),
        (HOURLY, "2013-01-05T07:00", pl.String, "2013-01-05T07"),
        (HOURLY, datetime(2013, 1, 5, 7, 59, 59), pl.Datetime("us"), "2013-01-05T07"),
        (HOURLY, LATE, pl.Datetime("us", "America/New_York"), "2013-02-01T04"),
        (NEW_YORK_HOURS, LATE, pl.Datetime("us", "UTC"), "2013-02-01T04"),
        (NEW_YORK_HOURS, LATE, pl.Datetime("us", "America/New_York"), "2013-02-01T04"),
        (STATIC, "b c", pl.String, "b~20c"),
        (STATIC, "b c", pl.Categorical, "b~20c"),
        (STATIC, "b c", pl.Enum(["a", "b c"]), "b~20c"),
        *((STATIC, 7, kind, "7") for kind in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt64)),
        (STATIC, True, pl.Boolean, "true"),
        (STATIC, date(2013, 1, 5), pl.Date, "2013-01-05"),
        (Unpartitioned(), 1.5, pl.Float64, ""),
        # what is in no partition
        *((p, None, pl.String, NOWHERE) for p in (DAILY, HOURLY, MONTHLY, STATIC)),
        (DAILY, None, pl.Date, NOWHERE),
        (NEW_YORK_HOURS, None, pl.Datetime("us", "UTC"), NOWHERE),
        (DAILY, "2013-01-05 ", pl.String, NOWHERE),
        (DAILY, "2013-01-05\n", pl.String, NOWHERE),
        (DAILY, "2013-1-5", pl.String, NOWHERE),
        (DAILY, "2013-01-05T00:00", pl.String, NOWHERE),
        (MONTHLY, "2013-01-05", pl.String, NOWHERE),
        (HOURLY, "2013-01-05T07:30", pl.String, NOWHERE),
        (HOURLY, "2013-01-05 07:00", pl.String, NOWHERE),
        (HOURLY, "2013-01-05T07", pl.String, NOWHERE),
        (STATIC, "A", pl.String, NOWHERE),
        (STATIC, 8, pl.Int64, NOWHERE),
        (STATIC, False, pl.Boolean, NOWHERE),
    ],
)
def test_a_value_says_which_partition_its_row_is_in(
    partitions: Partitions, value: Any, dtype: Any, expected: str
) -> None:
    assert token_of(partitions, value, dtype) == expected


ODD_TYPES = [
    pl.Float32,
    pl.Float64,
    pl.Decimal(10, 2),
    pl.Time,
    pl.Duration("us"),
    pl.Binary,
    pl.List(pl.String),
    pl.Array(pl.Int8, 2),
    pl.Struct({"a": pl.Int8}),
    pl.Null,
    pl.Object,
]
OTHERS = [pl.Int64, pl.UInt8, pl.Boolean, pl.Categorical, pl.Enum(["a"])]


@pytest.mark.parametrize(
    ("partitions", "dtypes"),
    [
        (DAILY, [*ODD_TYPES, *OTHERS]),
        (MONTHLY, [*ODD_TYPES, *OTHERS]),
        (HOURLY, [*ODD_TYPES, *OTHERS, pl.Date]),
        (NEW_YORK_DAYS, [*ODD_TYPES, *OTHERS]),
        (NEW_YORK_HOURS, [*ODD_TYPES, *OTHERS, pl.Date, pl.String, pl.Datetime("us")]),
        (STATIC, [*ODD_TYPES, pl.Datetime("us"), pl.Datetime("us", "UTC")]),
    ],
    ids=str,
)
def test_a_type_that_can_not_say_it_is_refused(partitions: Partitions, dtypes: list[Any]) -> None:
    for kind in dtypes:
        dtype = kind() if isinstance(kind, type) else kind
        with pytest.raises(WrongFrame) as caught:
            token(partitions, dtype, where="silver.x")
        message = str(caught.value)
        assert f"silver.x: the partition column 'k' is of type {dtype}" in message
        assert f"can't be read as {partitions.kind} partitions" in message
        assert caught.value.hint


def test_what_is_not_partitioned_takes_any_type() -> None:
    for value in (1.5, Decimal("1.5"), time(1), timedelta(1), b"x", [1], {"a": 1}, None):
        assert token_of(Unpartitioned(), value) == ""


@given(
    st.sampled_from([DAILY, HOURLY, MONTHLY, NEW_YORK_DAYS, NEW_YORK_HOURS, NEW_YORK_MONTHS]),
    st.lists(st.datetimes(datetime(2013, 1, 2), datetime(2030, 1, 1), timezones=st.just(UTC)), min_size=1, max_size=20),
    st.sampled_from(["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"]),
)
@settings(max_examples=100)
def test_rows_and_partitions_agree_on_where_a_moment_lies(
    partitions: TimePartitions, moments: list[datetime], zone: str
) -> None:
    series = pl.Series("k", moments).dt.convert_time_zone(zone)
    found = series.to_frame().select(token(partitions, series.dtype, where="x").alias("t"))["t"].to_list()
    assert found == [partitions.token(partitions.ordinal_at(m)) for m in moments]


@given(st.dates(date(2013, 1, 1), date(2030, 1, 1)))
@settings(max_examples=30)
def test_text_is_the_key_itself(day: date) -> None:
    for partitions in (DAILY, NEW_YORK_DAYS, MONTHLY):
        ordinal = partitions.ordinal_at(
            datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(partitions.timezone))
        )
        assert token_of(partitions, partitions.key(ordinal), pl.String) == partitions.token(ordinal)


# ── sets of tokens ────────────────────────────────────────────────────────────────────────

SETS = [
    DAILY.select("2013-01-01...2013-01-03, 2013-01-07"),
    HOURLY.select("2013-01-31T22:00...2013-02-01T02:00"),
    MONTHLY.select("2013-11...2014-02"),
    NEW_YORK_HOURS.select("2013-11-03T00:00...2013-11-03T03:00"),
    STATIC.select(["a", "7", "true"]),
    Unpartitioned().all(LATE),
    DAILY.empty(),
    STATIC.empty(),
]


@pytest.mark.parametrize("wanted", SETS, ids=str)
def test_tokens_name_the_set_they_come_from(wanted: Any) -> None:
    assert from_tokens(wanted.partitions, tokens(wanted)) == wanted
    assert from_tokens(wanted.partitions, tokens(wanted)[::-1] * 2) == wanted


@pytest.mark.parametrize("wanted", SETS, ids=str)
def test_tokens_of_no_partition_are_left_out(wanted: Any) -> None:
    odd = [NOWHERE, "2013-13-45", "2013-13", "nothing", "2013-01-01T99"]
    assert from_tokens(wanted.partitions, [*odd, *tokens(wanted)]) == wanted


@pytest.mark.parametrize("wanted", SETS, ids=str)
def test_a_filter_by_tokens_takes_the_set_and_nothing_else(wanted: Any) -> None:
    partitions: Partitions = wanted.partitions
    there = partitions.all(datetime(2014, 6, 1, tzinfo=UTC))
    around = [partitions.token(o) for o in islice(there.ordinals(), 9000)]
    frame = pl.DataFrame({"t": [*around, NOWHERE]})
    assert frame.filter(within(wanted, pl.col("t")))["t"].to_list() == tokens(wanted)


def test_spans_of_time_are_two_tokens_each() -> None:
    wanted = DAILY.select("2013-01-01...2020-12-31, 2021-06-01")
    assert spans(wanted) == [("2013-01-01", "2020-12-31"), ("2021-06-01", "2021-06-01")]
    assert spans(STATIC.select(["b c", "a"])) == [("a", "a"), ("b~20c", "b~20c")]
