"""A value that storage or a kind of frame can't hold is refused or kept as it is; it never becomes another."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import SchemaViolation, WrongFrame
from lakehouse.io import Table
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.frames import give, restore, take
from lakehouse.io.memory import MemoryTable
from lakehouse.io.storage import Location
from lakehouse.partitions import Unpartitioned

WHOLE = Unpartitioned().all(datetime.now(UTC))
BIG = 2**53 + 1


def published(frame: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    table.publish(table.stage(frame, "one"), WHOLE, payload="", since=None)
    return table.scan()


def in_memory() -> Table:
    return MemoryTable(partitioned=False)


def on_disk() -> Table:
    return DeltaLakeTable(Location.of(tempfile.mkdtemp()), partitioned=False)


# ── any type, any kind of frame, any store ────────────────────────────────────────────────


def integers(bits: int, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high])


def instants(step: int) -> st.SearchStrategy[int]:
    """Some far away, and some that microseconds can hold."""
    return st.integers(-(2**58), 2**58) | st.integers(-(10**9), 10**9).map(lambda n: n * step)


LEAVES: list[tuple[pl.DataType, st.SearchStrategy[Any]]] = [
    *((d(), integers(bits, True)) for d, bits in ((pl.Int8, 8), (pl.Int16, 16), (pl.Int32, 32), (pl.Int64, 64))),
    *((d(), integers(bits, False)) for d, bits in ((pl.UInt8, 8), (pl.UInt16, 16), (pl.UInt32, 32), (pl.UInt64, 64))),
    (pl.Float32(), st.floats(width=32)),
    (pl.Float64(), st.floats() | st.sampled_from([-0.0, float("nan"), float("inf")])),
    (pl.Boolean(), st.booleans()),
    (pl.String(), st.text(max_size=4)),
    (pl.Binary(), st.binary(max_size=4)),
    (pl.Date(), st.integers(-(10**6), 10**6)),
    *((pl.Datetime("ms", zone), instants(1)) for zone in (None, "Europe/Berlin")),
    *((pl.Datetime("us", zone), instants(1)) for zone in (None, "Europe/Berlin")),
    *((pl.Datetime("ns", zone), instants(1000)) for zone in (None, "Europe/Berlin")),
    (pl.Decimal(38, 2), st.decimals(-(10**30), 10**30, places=2)),
    (pl.Decimal(10, 4), st.decimals(-(10**5), 10**5, places=4)),
    (pl.Categorical(), st.sampled_from(["a", "b", ""])),
    (pl.Enum(["b", "a"]), st.sampled_from(["a", "b"])),
    (pl.Time(), st.times()),
    (pl.Duration("us"), st.timedeltas(timedelta(-9), timedelta(9))),
]  # fmt: skip


@st.composite
def columns(draw: st.DrawFn) -> pl.Series:
    """Values of any type, some of them missing, some in lists, arrays and structs."""
    dtype, values = draw(st.sampled_from(LEAVES))
    some = st.none() | values
    match draw(st.sampled_from(["plain", "plain", "list", "array", "struct", "missing"])):
        case "plain":
            return made(draw(st.lists(some, max_size=4)), dtype)
        case "list":
            items = made(draw(st.lists(some, min_size=3, max_size=3)), dtype)
            lists = pl.DataFrame({"g": [0, 0, 2], "v": items}).group_by("g", maintain_order=True).agg("v")["v"]
            return pl.concat([lists, pl.Series("v", [None, []], dtype=pl.List(dtype))])
        case "array" if not isinstance(dtype, pl.Categorical | pl.Enum):  # DuckDB has no type for none of them
            return made(draw(st.lists(some, min_size=4, max_size=4)), dtype).reshape((2, 2))
        case "struct":
            fields = {"a": made(draw(st.lists(some, min_size=2, max_size=2)), dtype), "b": pl.Series([None, 1])}
            return pl.DataFrame(fields).to_struct("v")
        case _:
            return pl.Series("v", [None] * draw(st.integers(0, 2)), dtype=dtype)


def made(values: list[Any], dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.Date | pl.Datetime):  # by number, for Python's reach less far
        return pl.Series("v", values, dtype=pl.Int32 if isinstance(dtype, pl.Date) else pl.Int64).cast(dtype)
    return pl.Series("v", values, dtype=dtype)


KINDS = [pl.LazyFrame, pl.DataFrame, pa.Table, pa.RecordBatchReader, duckdb.DuckDBPyRelation, pd.DataFrame]


@given(columns(), st.sampled_from(KINDS), st.sampled_from([in_memory, in_memory, in_memory, on_disk]))
@settings(max_examples=400, deadline=None)
def test_what_a_function_gets_and_returns_is_what_was_published_or_it_is_refused(
    column: pl.Series, kind: Any, new_table: Callable[[], Table]
) -> None:
    frame = pl.DataFrame({"n": range(len(column)), "v": column.alias("v")})

    def through_a_function() -> pl.LazyFrame:
        return take(give(frame.lazy(), kind), where="silver.x")

    for rows in (frame.lazy, through_a_function):
        stored, refusal = None, None
        try:
            stored = restore(published(rows(), new_table()), frame.schema).sort("n").collect()
        except SchemaViolation as error:
            refusal = error
        assert stored is None or same(stored["v"], frame["v"])
        assert refusal is None or ("the column 'v'" in refusal.message and refusal.hint)


def same(one: pl.Series, other: pl.Series) -> bool:
    """Equal, and of zeros those with the same sign."""
    signs = [
        [str(value) for value in s.to_list()] if s.dtype in (pl.Float32, pl.Float64) else None for s in (one, other)
    ]
    return one.dtype == other.dtype and one.equals(other, null_equal=True) and signs[0] == signs[1]


# ── pandas ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pl.Series([BIG, None]), "Int64"),
        (pl.Series([1, 2]), "int64"),
        (pl.Series([255, None], dtype=pl.UInt8), "UInt8"),
        (pl.Series([True, None]), "boolean"),
        (pl.Series([1.5, None]), "float64"),
        (pl.Series([1.5, None, float("nan")]), "double[pyarrow]"),
        (pl.Series(["a", None]), "str"),
        (pl.Series([date(2013, 1, 1), None]), "datetime64[ms]"),
        (pl.Series([Decimal("1.50"), None]), "object"),
        (pl.Series([[1, 2]]), "object"),
        (pl.Series([[BIG, None]]), "large_list<item: int64>[pyarrow]"),
        (pl.Series([None], dtype=pl.Decimal(10, 2)), "decimal128(10, 2)[pyarrow]"),
    ],
)
def test_pandas_is_given_numpys_types_where_they_hold_what_there_is(column: pl.Series, dtype: str) -> None:
    assert str(give(pl.LazyFrame({"v": column}), pd.DataFrame)["v"].dtype) == dtype


def objects(*values: Any) -> pd.DataFrame:
    return pd.DataFrame({"v": pd.Series(values, dtype=object)})


ID = "550e8400-e29b-41d4-a716-446655440000"
TAKEN: dict[str, tuple[Any, Any, list[Any]]] = {
    "whole numbers and none": (objects(BIG, None), pl.Int64, [BIG, None]),
    "UUIDs": (objects(uuid.UUID(ID), None), pl.String, [ID, None]),
    "lists with NaN": (objects([1.0, float("nan"), None]), pl.List(pl.Float64), [[1.0, float("nan"), None]]),
    "dicts": (objects({"a": BIG}, {"a": None}), pl.Struct({"a": pl.Int64}), [{"a": BIG}, {"a": None}]),
    "dates": (objects(date(1, 1, 1), None), pl.Date, [date(1, 1, 1), None]),
    "nullable": (pd.DataFrame({"v": pd.array([BIG, None], "Int64")}), pl.Int64, [BIG, None]),
    "sparse": (pd.DataFrame({"v": pd.arrays.SparseArray([0, 1])}), pl.Int64, [0, 1]),
    "an offset": (
        pd.DataFrame({"v": [datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))]}),
        pl.Datetime("us", "UTC"),
        [datetime(2023, 12, 31, 18, 30, tzinfo=UTC)],
    ),
    "Arrow's UUID": (pa.table({"v": pa.array([uuid.UUID(ID).bytes], pa.uuid())}), pl.String, [ID]),
    "Arrow's offset": (
        pa.table({"v": pa.array([0], pa.timestamp("us", "+05:30"))}),
        pl.Datetime("us", "UTC"),
        [datetime(1970, 1, 1, tzinfo=UTC)],
    ),
    "DuckDB's UUID": (f"select '{ID}'::uuid as v", pl.String, [ID]),
    "JSON": ("""select '{"a": 9007199254740993}'::json as v""", pl.String, ['{"a": 9007199254740993}']),
    "bits": ("select '0101'::bit as v", pl.String, ["0101"]),
    "128 bits": ("select 9007199254740993::hugeint as v", pl.Decimal(38, 0), [Decimal(BIG)]),
    "nested": (
        f"select [{{'i': '{ID}'::uuid, 'n': 1::uhugeint, 'e': 'a'::enum('a', 'b')}}] as v",
        pl.List(pl.Struct({"i": pl.String, "n": pl.Decimal(38, 0), "e": pl.String})),
        [[{"i": ID, "n": Decimal(1), "e": "a"}]],
    ),
}


def frame_of(value: Any) -> Any:
    return duckdb.sql(value) if isinstance(value, str) else value


@pytest.mark.parametrize(("value", "dtype", "values"), TAKEN.values(), ids=TAKEN)
def test_what_a_function_returns_is_taken_as_it_is(value: Any, dtype: pl.DataType, values: list[Any]) -> None:
    found = take(frame_of(value), where="silver.x").collect()["v"]
    assert found.dtype == dtype
    assert found.equals(pl.Series("v", values, dtype=dtype), null_equal=True)


REFUSED: list[Any] = [
    objects(2**64),
    objects(1, "a"),
    objects(b"a", "b"),
    objects(date(2024, 1, 1), datetime(2024, 1, 1, 5)),
    objects(pd.Timestamp("2024-01-01", tz="Europe/Berlin"), pd.Timestamp("2024-01-01")),
    objects(Decimal("1.5"), 0.1),
    objects(Path("a")),
    objects({1}, [1, "a"]),
    pd.DataFrame({"v": [1 + 2j]}),
    pd.DataFrame({"v": pd.period_range("2024-01", periods=1, freq="M")}),
    pd.DataFrame({"v": np.array([1.5], dtype="longdouble")}),
    pa.table({"v": pa.array([Decimal("1")], pa.decimal256(60, 0))}),
    pa.table({"v": pa.array([10**18], pa.timestamp("s"))}),
    pa.table({"v": pa.RunEndEncodedArray.from_arrays([2], [5])}),
    "select interval '1 month' as v",
    "select '12:34:56+02'::timetz as v",
    "select union_value(a := 1) as v",
    "select [170141183460469231731687303715884105727::hugeint] as v",
    "select 340282366920938463463374607431768211455::uhugeint as v",
]


@pytest.mark.parametrize("value", REFUSED, ids=range(len(REFUSED)))
def test_what_would_be_another_value_is_refused(value: Any) -> None:
    with pytest.raises(SchemaViolation) as caught:
        take(frame_of(value), where="silver.x")
    assert "the column 'v' of silver.x" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"a": [1]}, index=pd.Index([5], name="id")), "with id as its index"),
        (pd.DataFrame({"id": [1, 1], "a": [1, 2]}).groupby("id").sum(), "with id as its index"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns named a"),
    ],
)
def test_what_tables_do_not_have_is_refused(frame: pd.DataFrame, says: str) -> None:
    with pytest.raises(WrongFrame, match=says):
        take(frame, where="silver.x")


def test_an_index_that_says_nothing_is_left_out() -> None:
    kept = pd.DataFrame({"id": [1, 2]}).set_index("id", drop=False)
    assert take(kept, where="silver.x").collect().columns == ["id"]
    assert take(pd.DataFrame({"a": [1, 2, 3]})[lambda f: f.a > 1], where="silver.x").collect()["a"].to_list() == [2, 3]


def test_a_relation_that_fails_by_itself_is_blamed_on_no_type() -> None:
    relation = duckdb.sql("select 1::hugeint as n, cast(x as int) as v from (values ('a')) t(x)")
    with pytest.raises(duckdb.ConversionException):
        take(relation, where="silver.x")


def test_a_time_is_a_time_of_day() -> None:
    with pytest.raises(SchemaViolation, match="is of type Time, which Delta tables can't hold") as caught:
        in_memory().stage(pl.LazyFrame({"v": [time(1)]}), "one")
    assert caught.value.hint == ".dt.to_string() makes text of it, .cast(pl.Int64) nanoseconds since midnight"


def test_a_zoned_time_beyond_duckdbs_is_refused() -> None:
    far = pl.Series("at", [None, 9223372036854776]).cast(pl.Datetime("ms", "Europe/Berlin"))
    for column in (far, pl.DataFrame({"at": far}).select(pl.concat_list("at"))["at"]):
        with pytest.raises(SchemaViolation, match=r"the column 'at' of silver\.x has a time that DuckDB can't hold"):
            take(give(column.to_frame().lazy(), duckdb.DuckDBPyRelation), where="silver.x")
