"""Which partition a row is in, for the kinds beyond days, hours, months and fixed keys; see also the checks of keys."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Cron, Daily, Dynamic, Every, Multi, Static, Weekly
from lakehouse.errors import WrongFrame
from lakehouse.io.tables import layout
from lakehouse.io.tokens import NOWHERE, from_tokens, spans, token, tokens, within
from lakehouse.partitions import Hourly, Partitions, PartitionSet, Present, TimePartitions, Unpartitioned

PRESENT = Present(datetime(2013, 3, 1, tzinfo=UTC), {"customers": ["acme", "a b", "é.", "7"]})

WEEKS = Weekly("2013-01-06", day="sunday", column="k")
MINUTES = Every("2013-01-01T00:00", minutes=5, column="k")
BERLIN_MINUTES = Every("2013-01-01T00:00Z", minutes=20, column="k", timezone="Europe/Berlin")
TICKS = Cron("*/30 6-18 * * mon-fri", start="2013-01-01T06:00", column="k", timezone="America/New_York")
KEYS = Dynamic("customers", column="k")
SALES = Multi({"date": Daily("2013-01-01", column="at"), "region": Static(["us", "e.u", "x~"], column="region")})
VISITS = Multi({"region": Static(["us", "e.u"], column="region"), "customer": KEYS})


def token_of(partitions: Partitions, value: Any, dtype: Any = None) -> str:
    series = pl.Series("k", [value], dtype=dtype)
    found: str = series.to_frame().select(token(partitions, series.dtype, where="silver.x")).item()
    return found


LATE = datetime(2013, 2, 1, 4, 37, 59, tzinfo=UTC)  # January 31st still, in New York


@pytest.mark.parametrize(
    ("partitions", "value", "dtype", "expected"),
    [
        (WEEKS, date(2013, 1, 6), pl.Date, "2013-01-06"),
        (WEEKS, date(2013, 1, 12), pl.Date, "2013-01-06"),
        (WEEKS, date(1913, 1, 11), pl.Date, "1913-01-05"),
        (WEEKS, datetime(2013, 1, 12, 23, 59), pl.Datetime("us"), "2013-01-06"),
        (WEEKS, "2013-01-06", pl.String, "2013-01-06"),
        (WEEKS, "2013-01-07", pl.String, NOWHERE),
        (WEEKS, "2013-01", pl.String, NOWHERE),
        (MINUTES, LATE, pl.Datetime("us", "UTC"), "2013-02-01T04-35"),
        (MINUTES, LATE, pl.Datetime("ns", "Asia/Kathmandu"), "2013-02-01T04-35"),
        (MINUTES, LATE.replace(tzinfo=None), pl.Datetime("ms"), "2013-02-01T04-35"),
        (MINUTES, "2013-02-01T04:35", pl.String, "2013-02-01T04-35"),
        (MINUTES, "2013-02-01T04:37", pl.String, NOWHERE),
        (BERLIN_MINUTES, LATE, pl.Datetime("us", "UTC"), "2013-02-01T04-20"),
        (BERLIN_MINUTES, "2013-02-01T05:20+01:00", pl.String, "2013-02-01T04-20"),
        (BERLIN_MINUTES, "2013-02-01T05:20", pl.String, NOWHERE),
        (TICKS, LATE, pl.Datetime("us", "UTC"), "2013-01-31T18-30"),
        (TICKS, datetime(2013, 2, 3, 12), pl.Datetime("us"), "2013-02-01T18-30"),
        (TICKS, "2013-02-01T06:30", pl.String, "2013-02-01T06-30"),
        (TICKS, "2013-02-02T06:30", pl.String, NOWHERE),
        (KEYS, "acme", pl.String, "acme"),
        (KEYS, "a b", pl.Categorical, "a~20b"),
        (KEYS, 7, pl.Int64, "7"),
        (KEYS, "", pl.String, NOWHERE),
        (KEYS, "a|b", pl.String, NOWHERE),
        *((p, None, pl.String, NOWHERE) for p in (WEEKS, MINUTES, TICKS, KEYS)),
        (TICKS, None, pl.Datetime("us", "UTC"), NOWHERE),
        (WEEKS, None, pl.Date, NOWHERE),
    ],
)
def test_a_value_says_which_partition_its_row_is_in(
    partitions: Partitions, value: Any, dtype: Any, expected: str
) -> None:
    assert token_of(partitions, value, dtype) == expected


@pytest.mark.parametrize(
    ("partitions", "dtypes"),
    [
        (WEEKS, [pl.Int64(), pl.Boolean(), pl.Time()]),
        (MINUTES, [pl.Date(), pl.Int64()]),
        (BERLIN_MINUTES, [pl.Date(), pl.Datetime("us")]),
        (TICKS, [pl.Date(), pl.Int64()]),
        (KEYS, [pl.Float64(), pl.Datetime("us"), pl.List(pl.String)]),
    ],
    ids=str,
)
def test_a_type_that_can_not_say_it_is_refused(partitions: Partitions, dtypes: list[Any]) -> None:
    for dtype in dtypes:
        with pytest.raises(WrongFrame, match=f"can't be read as {partitions.kind} partitions") as caught:
            token(partitions, dtype, where="silver.x")
        assert caught.value.hint


@given(
    st.sampled_from([WEEKS, MINUTES, BERLIN_MINUTES, TICKS, Weekly("2013-01-02", day="wednesday", timezone="Asia/Tokyo",
                     column="k"), Cron("0 */5 3,4 11 *", start="2013-11-03T00:00", timezone="America/New_York",
                     column="k")]),
    st.lists(st.datetimes(datetime(2013, 11, 3), datetime(2016, 1, 1), timezones=st.just(UTC))
             | st.datetimes(datetime(2013, 11, 3), datetime(2013, 11, 4), timezones=st.just(UTC)),
             min_size=1, max_size=20),
    st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"]),
)  # fmt: skip
@settings(max_examples=100)
def test_rows_and_partitions_agree_on_where_a_moment_lies(
    partitions: TimePartitions, moments: list[datetime], zone: str
) -> None:
    series = pl.Series("k", moments).dt.convert_time_zone(zone)
    found = series.to_frame().select(token(partitions, series.dtype, where="x").alias("t"))["t"].to_list()
    assert found == [partitions.token(partitions.ordinal_at(m)) for m in moments]


# ── several columns ───────────────────────────────────────────────────────────────────────


def test_a_row_is_in_the_combination_of_what_its_columns_say() -> None:
    rows = pl.DataFrame(
        {"at": [date(2013, 1, 5), date(2013, 1, 6), None], "region": ["us", "e.u", "us"], "x": [1, 2, 3]}
    )
    found = rows.select(token(SALES, rows.schema, where="silver.x").alias("t"))["t"].to_list()
    assert found == ["us.2013-01-05", "e~2eu.2013-01-06", NOWHERE]
    assert from_tokens(SALES, found).keys() == ["2013-01-05|us", "2013-01-06|e.u"]
    unknown = rows.with_columns(region=pl.lit("uk")).select(token(SALES, rows.schema, where="silver.x").alias("t"))
    assert unknown["t"].to_list() == [NOWHERE] * 3


def test_it_does_so_lazily() -> None:
    rows = pl.LazyFrame({"k": ["acme", "a b"], "region": ["us", "us"]})
    found = rows.with_columns(token(VISITS, rows.collect_schema(), where="silver.x").alias("t")).collect()
    assert found["t"].to_list() == ["us.acme", "us.a~20b"]


def test_a_column_that_is_not_there_is_told() -> None:
    with pytest.raises(WrongFrame, match=r"silver\.x: the partition column 'region' is not there"):
        token(SALES, {"at": pl.Date()}, where="silver.x")
    with pytest.raises(WrongFrame, match="the partition column 'at' is of type Int64, which can't be read as daily"):
        token(SALES, {"at": pl.Int64(), "region": pl.String()}, where="silver.x")


# ── sets of tokens ────────────────────────────────────────────────────────────────────────

SETS: list[PartitionSet] = [
    WEEKS.select("2013-01-06...2013-02-03, 2013-02-17"),
    MINUTES.select("2013-01-31T23...2013-02-01T00"),
    TICKS.select("2013-01-31...2013-02-04"),
    KEYS.all(PRESENT),
    SALES.select("2013-01-31...2013-02-02|us,e.u"),
    SALES.select({"date": "2013-01-05"}),
    VISITS.select("*", now=PRESENT),
    Multi({"a": Static(["x", "y", "xy", "x-"]), "day": Daily("2013-01-01", end="2013-01-04")}).select("x|*"),
    SALES.empty(),
]


@pytest.mark.parametrize("wanted", SETS, ids=str)
def test_tokens_name_the_set_they_come_from(wanted: PartitionSet) -> None:
    odd = [NOWHERE, "a.b.c", "us.", "~zz", ""] + ["2013-13-45"] * (wanted.partitions is not KEYS)
    assert from_tokens(wanted.partitions, [*tokens(wanted)[::-1], *odd]) == wanted


@pytest.mark.parametrize("wanted", SETS, ids=str)
def test_a_filter_by_tokens_takes_the_set_and_nothing_else(wanted: PartitionSet) -> None:
    around = tokens(wanted.partitions.all(PRESENT))
    frame = pl.DataFrame({"t": [*around, NOWHERE]}, schema={"t": pl.String})
    assert sorted(frame.filter(within(wanted, pl.col("t")))["t"]) == sorted(tokens(wanted))


def test_a_set_with_many_gaps_is_filtered_alike() -> None:
    odd = PartitionSet(MINUTES, tuple((o, o + 2) for o in range(MINUTES.low, MINUTES.low + 900, 3)))
    assert len(odd.spans) == 300
    frame = pl.DataFrame({"t": tokens(MINUTES.select("2013-01...2013-01-05"))})
    assert frame.filter(within(odd, pl.col("t")))["t"].to_list() == tokens(odd)


def test_an_interval_in_one_combination_is_two_tokens() -> None:
    assert spans(SALES.select("2013-01-31...2013-02-02|us,e.u")) == [
        ("us.2013-01-31", "us.2013-02-02"),
        ("e~2eu.2013-01-31", "e~2eu.2013-02-02"),
    ]
    assert len(spans(VISITS.select("*", now=PRESENT))) == len(VISITS.all(PRESENT))


# ── tables ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("partitions", "says"),
    [
        (Unpartitioned(), "unpartitioned"),
        (Static(["a"]), "static"),
        (KEYS, "dynamic"),
        (Daily("2013-01-01"), "daily UTC"),
        (WEEKS, "weekly sunday UTC"),
        (Hourly("2013-01-01T00:00Z", timezone="Asia/Kolkata"), "hourly"),
        (Hourly("2013-01-01T00:00Z", timezone="America/New_York"), "hourly"),
        (Hourly("2013-01-01T00:00", timezone="Asia/Kolkata"), "hourly Asia/Kolkata"),
        (Every("2013-01-01T00:00", minutes=30, timezone="Asia/Kathmandu"), "every 30 Asia/Kathmandu"),
        (Every("2013-01-01T00:00", minutes=15, timezone="Asia/Kathmandu"), "every 15"),
        (Hourly("2013-01-01T00:00", timezone="Asia/Singapore"), "hourly"),  # at half hours until 1981
        (BERLIN_MINUTES, "every 20"),
        (TICKS, "cron */30 6-18 * * mon-fri America/New_York"),
        (SALES, "region static; date daily UTC"),
    ],
)
def test_a_table_keeps_what_decides_which_rows_a_token_stands_for(partitions: Partitions, says: str) -> None:
    assert layout(partitions) == says


def test_tokens_of_time_sort_as_time_does() -> None:
    for partitions in (WEEKS, MINUTES, BERLIN_MINUTES, TICKS):
        low = partitions.ordinal_at(datetime(2013, 3, 10, tzinfo=UTC) - timedelta(days=20))
        listed = [partitions.token(o) for o in range(low, low + 4000)]
        assert listed == sorted(set(listed))
