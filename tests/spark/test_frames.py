"""Spark as a kind of frame: the same rows, whatever their types, and however the table lies that they come from."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
import polars.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, silver
from lakehouse.errors import SchemaViolation, StepError, WrongFrame
from lakehouse.io import PARTITION, spark_frames
from lakehouse.io.frames import give, kind, take
from lakehouse.io.scratch import Scratch
from lakehouse.lineage import Status
from lakehouse.settings import load_settings
from lakehouse.testing import run_asset

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.xdist_group("spark")]

daily = Daily("2013-01-01", end="2013-01-11", column="day")
EXTRA: list[bool] = []


class Counts(pa.DataFrameModel):
    day: pl.Date
    n: pl.UInt8 = pa.Field(nullable=True)
    at: Annotated[pl.Datetime, "us", "America/New_York"]


@bronze(partitions=daily)
def raw(partitions: PartitionRange) -> pl.LazyFrame:
    """Two rows for each day, and from some time on one more column."""
    days = sorted([*partitions.keys()] * 2)
    frame = pl.LazyFrame({"day": [date.fromisoformat(day) for day in days], "n": [int(day[-2:]) for day in days]})
    return frame.with_columns(more=pl.lit("x")) if EXTRA else frame


@silver(partitions=daily)
def counts(raw: DataFrame) -> Annotated[DataFrame, Counts]:
    rows = raw.groupBy("day").agg(F.sum("n").cast("short").alias("n"))
    return rows.withColumn("at", F.col("day").cast("timestamp"))


@silver(partitions=daily)
def same(raw: DataFrame) -> DataFrame:
    return raw


def lake_in(folder: Path, *, shared: bool = False) -> Lakehouse:
    return Lakehouse(
        [counts, same],
        storage=folder / "data",
        lineage=f"sqlite:///{folder}/facts.db",
        settings=load_settings(engine="inline", shared_files=shared),
    )


def through(frame: pl.LazyFrame, change: Any = lambda rows: rows) -> pl.DataFrame:
    """What comes back of a frame that goes through Spark."""
    with Scratch() as scratch:
        given = give(frame, DataFrame, scratch)
        return take(change(given), where="silver.x", scratch=scratch).collect()


def test_it_is_the_spark_that_is_meant(session: Any) -> None:
    assert session.version.startswith(os.environ.get("LAKEHOUSE_TESTED_SPARK", "4.1."))


# ── a lakehouse ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_a_function_of_spark_frames_is_an_asset_like_any_other(tmp_path: Path, *, shared: bool) -> None:
    lake = lake_in(tmp_path, shared=shared)
    run = lake.materialize("+silver.counts", "2013-01-01...2013-01-04").raise_on_failure()
    found = run.frame("silver.counts").sort("day").collect()
    assert found.schema["n"] == pl.UInt8
    assert found.schema["at"] == pl.Datetime("us", "America/New_York")
    assert found["n"].to_list() == [2, 4, 6, 8]
    fact = next(f for f in run.facts if f.asset == "silver.counts")
    assert (fact.status, fact.rows) == (Status.PUBLISHED, 4)
    assert [(pin.asset, pin.version) for pin in fact.inputs] == [("bronze.raw", 0)]
    # A part of what is there: of files that partitions share, not all rows are asked for.
    lake.materialize("bronze.raw", "2013-01-05...2013-01-08")
    run = lake.materialize("silver.counts", "2013-01-04...2013-01-06").raise_on_failure()
    assert run.frame("silver.counts").sort("day").collect()["n"].to_list() == [8, 10, 12]


@pytest.mark.parametrize("shared", [False, True], ids=["apart", "shared"])
def test_a_column_that_came_later_is_there(tmp_path: Path, *, shared: bool) -> None:
    lake = lake_in(tmp_path, shared=shared)
    lake.materialize("bronze.raw", "2013-01-01...2013-01-02").raise_on_failure()
    EXTRA.append(True)
    try:
        lake.materialize("bronze.raw", "2013-01-03").raise_on_failure()
    finally:
        EXTRA.clear()
    run = lake.materialize("silver.same", "2013-01-01...2013-01-03").raise_on_failure()
    found = run.frame("silver.same").sort("day").collect()
    assert PARTITION not in found.columns
    assert found["more"].to_list() == [None] * 4 + ["x"] * 2


def test_where_spark_has_several_machines_all_of_them_see_what_is_put_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[str] = []

    def place(session: Any, scratch: Scratch) -> Any:
        places.append((found := before(session, scratch)).uri)
        return found

    before = spark_frames._place
    monkeypatch.setattr(spark_frames, "_alone", lambda session: False)
    monkeypatch.setattr(spark_frames, "_place", place)
    lake = lake_in(tmp_path)
    run = lake.materialize("+silver.counts", "2013-01-01").raise_on_failure()
    assert run.frame("silver.counts").collect()["n"].to_list() == [2]
    table = lake.table(lake.graph["silver.counts"])
    assert [uri.startswith(f"{table.uri}/_staged-") for uri in places] == [True]
    # It is gone, as what is staged beside it is not: that was published.
    assert not list((tmp_path / "data").rglob("*-scratch"))


def test_an_asset_is_tried_out_on_a_laptop() -> None:
    rows = pl.DataFrame({"day": [date(2013, 1, 1)] * 2, "n": [1, 2]})
    assert run_asset(counts, {"raw": rows}, "2013-01-01")["n"].to_list() == [3]


# ── types ─────────────────────────────────────────────────────────────────────────────────


LEAVES: dict[pl.DataType, st.SearchStrategy[Any]] = {
    pl.Int8(): st.integers(-(2**7), 2**7 - 1),
    pl.Int16(): st.integers(-(2**15), 2**15 - 1),
    pl.Int32(): st.integers(-(2**31), 2**31 - 1),
    pl.Int64(): st.integers(-(2**63), 2**63 - 1),
    pl.Float32(): st.floats(width=32),
    pl.Float64(): st.floats(),
    pl.Boolean(): st.booleans(),
    pl.String(): st.text(st.characters(codec="utf-8")),
    pl.Binary(): st.binary(),
    pl.Date(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pl.Datetime("us"): st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    pl.Decimal(38, 9): st.decimals(-(10**20), 10**20, places=9),
    pl.Decimal(9, 2): st.decimals(-(10**6), 10**6, places=2),
}
ROWS = 4


@st.composite
def columns(draw: st.DrawFn) -> pl.DataFrame:
    """A column of each type that tables have, by itself and nested, some of whose values are missing."""
    found = {}
    for number, (dtype, values) in enumerate(LEAVES.items()):
        some = st.lists(st.none() | values, min_size=ROWS, max_size=ROWS)
        found[f"c {number}.{dtype}"] = pl.Series(draw(some), dtype=dtype)
    moments = pl.Series(
        draw(st.lists(LEAVES[pl.Datetime("us")], min_size=ROWS, max_size=ROWS)), dtype=pl.Datetime("us")
    )
    found["zoned"] = moments.dt.replace_time_zone("UTC")
    leaf = draw(st.sampled_from(list(LEAVES)))
    inner = st.none() | LEAVES[leaf]
    lists = st.none() | st.lists(inner, max_size=3)
    found["listed"] = pl.Series(draw(st.lists(lists, min_size=ROWS, max_size=ROWS)), dtype=pl.List(leaf))
    structs = st.fixed_dictionaries({"a": inner, "b c": st.none() | st.lists(inner, max_size=2)})
    nested = pl.Struct({"a": leaf, "b c": pl.List(leaf)})
    found["nested"] = pl.Series(draw(st.lists(structs, min_size=ROWS, max_size=ROWS)), dtype=nested)
    return pl.DataFrame(found).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(columns())
def test_every_value_comes_back_as_it_was(frame: pl.DataFrame) -> None:
    found = through(frame.lazy()).sort("row")
    assert dict(found.schema) == dict(frame.schema)
    polars.testing.assert_frame_equal(found, frame, check_exact=True)


@pytest.mark.parametrize(
    ("expression", "odd"),
    [
        ("interval 1 day", "interval day"),
        ("null", "void"),
        ("array(interval 1 month)", "interval month"),
        ("named_struct('a', null)", "void"),
    ],
)
def test_what_tables_cannot_hold_is_refused_by_name(expression: str, odd: str) -> None:
    with pytest.raises(SchemaViolation, match=rf"the column 'x y' of silver.x is of Spark's type {odd}"):
        through(pl.LazyFrame({"a": [1]}), lambda rows: rows.select(F.expr(expression).alias("x y")))


def test_a_name_of_the_librarys_own_is_refused() -> None:
    with pytest.raises(WrongFrame, match=PARTITION):
        through(pl.LazyFrame({"a": [1]}), lambda rows: rows.withColumnRenamed("a", PARTITION))


def test_no_rows_have_columns() -> None:
    frame = pl.LazyFrame({"a": [1], "b": ["x"]})
    assert through(frame.head(0)).schema == frame.collect_schema()
    assert through(frame, lambda rows: rows.filter("a > 1")).schema == frame.collect_schema()


def test_what_spark_marks_as_never_missing_is_like_any_other_column() -> None:
    found = through(
        pl.LazyFrame({"a": [1]}), lambda rows: rows.select(F.lit(1).alias("one"), F.array(F.lit("x")).alias("l"))
    )
    assert found.to_dicts() == [{"one": 1, "l": ["x"]}]


# ── the same everywhere ───────────────────────────────────────────────────────────────────


def test_a_session_of_another_zone_is_refused(session: Any) -> None:
    def elsewhere(rows: Any) -> Any:
        session.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
        return rows

    with pytest.raises(StepError, match="whose zone is Europe/Berlin"):
        through(pl.LazyFrame({"a": [1]}), elsewhere)
    assert (
        through(pl.LazyFrame({"a": [1]}), lambda rows: rows.select(F.current_timezone().alias("z")))["z"].item()
        == "UTC"
    )


def test_a_value_that_cannot_be_cast_is_no_missing_one() -> None:
    with pytest.raises(Exception, match="CAST_INVALID_INPUT"):
        through(pl.LazyFrame({"a": ["x"]}), lambda rows: rows.select(F.col("a").cast("int")))


def test_what_is_put_down_goes() -> None:
    with Scratch() as scratch:
        frame = take(give(pl.LazyFrame({"a": [1]}), DataFrame, scratch), where="silver.x", scratch=scratch)
        folder = Path(scratch.near().uri.removeprefix("file://")).parent
        assert frame.collect().height == 1
        assert len(list(folder.rglob("*.parquet"))) == 2
    assert not folder.exists()


def test_the_kind_is_known_by_the_annotation() -> None:
    assert kind(DataFrame) == "spark"
