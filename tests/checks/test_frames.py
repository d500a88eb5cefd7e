"""Frames of every kind: given to a function as it asks, and taken from it as it returns."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandera.typing.polars import DataFrame, LazyFrame
from polars.testing import assert_frame_equal

from lakehouse.errors import DefinitionError, WrongFrame
from lakehouse.io.frames import ArrowStream, give, kind, restore, take

KINDS: list[tuple[Any, str, type]] = [
    (None, "lazy", pl.LazyFrame),
    (Any, "lazy", pl.LazyFrame),
    (pl.LazyFrame, "lazy", pl.LazyFrame),
    (LazyFrame, "lazy", pl.LazyFrame),
    (pl.DataFrame, "eager", pl.DataFrame),
    (DataFrame, "eager", pl.DataFrame),
    (pa.Table, "arrow", pa.Table),
    (pa.RecordBatchReader, "reader", pa.RecordBatchReader),
    (duckdb.DuckDBPyRelation, "duckdb", duckdb.DuckDBPyRelation),
    (pd.DataFrame, "pandas", pd.DataFrame),
]

FRAME = pl.LazyFrame(
    {
        "n": [1, 2, 3],
        "x": [1.5, None, 2.5],
        "s": ["a", None, "c"],
        "b": [True, False, None],
        "day": [date(2013, 1, 1), date(2013, 1, 2), None],
        "at": [datetime(2013, 1, 1, 5), None, datetime(2013, 1, 1, 6)],
        "zoned": [datetime(2013, 1, 1, 5, tzinfo=UTC), None, datetime(2013, 1, 1, 6, tzinfo=UTC)],
        "list": [[1], [], None],
        "struct": [{"a": 1}, {"a": None}, {"a": 2}],
    }
)


@pytest.mark.parametrize(("annotation", "name", "type_"), KINDS)
def test_a_function_is_given_what_it_asks_for(annotation: Any, name: str, type_: type) -> None:
    assert kind(annotation) == name
    assert isinstance(give(FRAME, annotation), type_)


@pytest.mark.parametrize(("annotation", "name", "type_"), KINDS)
def test_what_is_given_comes_back_as_it_was(annotation: Any, name: str, type_: type) -> None:
    back = take(give(FRAME, annotation), where="silver.x")
    assert isinstance(back, pl.LazyFrame)
    schema = FRAME.collect_schema()
    # pandas has no days, and DuckDB another name for UTC.
    mended = restore(back, dict(schema)).collect()
    assert_frame_equal(mended, FRAME.collect())


@pytest.mark.parametrize(("annotation", "name", "type_"), KINDS)
def test_a_frame_without_rows_keeps_its_columns(annotation: Any, name: str, type_: type) -> None:
    empty = FRAME.select("n", "x", "s").clear()
    back = take(give(empty, annotation), where="silver.x").collect()
    assert (back.height, back.columns) == (0, ["n", "x", "s"])


@pytest.mark.parametrize("annotation", [int, list, dict, pl.Series, pd.Series, pa.RecordBatch, "pl.LazyFrame", object])
def test_a_type_that_is_no_frame_can_not_be_given(annotation: Any) -> None:
    for verb in (kind, lambda a: give(FRAME, a)):
        with pytest.raises(DefinitionError, match=r"is no kind of frame that can be loaded; there are pl\.LazyFrame"):
            verb(annotation)


@pytest.mark.parametrize(
    "value",
    [5, "text", [1, 2], {"a": [1]}, (FRAME,), pl.Series([1]), pd.Series([1]), pa.array([1]), FRAME.collect, object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_frame_is_not_taken(value: Any) -> None:
    with pytest.raises(WrongFrame) as caught:
        take(value, where="silver.x")
    assert f"silver.x returned {type(value).__name__}, which is no frame" in str(caught.value)
    assert "return pl.LazyFrame, pl.DataFrame, pa.Table" in str(caught.value)


def test_a_generator_is_no_frame() -> None:
    with pytest.raises(WrongFrame, match="returned generator"):
        take((frame for frame in [FRAME]), where="silver.x")


def test_a_forgotten_return_is_told_as_such() -> None:
    with pytest.raises(WrongFrame, match="ends without a return"):
        take(None, where="silver.x")


def test_a_lazy_frame_stays_lazy() -> None:
    assert give(FRAME, pl.LazyFrame) is FRAME
    assert take(FRAME, where="silver.x") is FRAME


def test_any_relation_of_duckdb_is_taken() -> None:
    with duckdb.connect() as connection:
        relation = connection.sql("select range as n, range * 2 as twice from range(3)")
        assert take(relation, where="silver.x").collect().rows() == [(0, 0), (1, 2), (2, 4)]


def test_a_given_relation_can_be_queried() -> None:
    relation = give(FRAME, duckdb.DuckDBPyRelation)
    assert relation.aggregate("sum(n) as total").fetchall() == [(6,)]


def test_a_given_relation_can_be_read_again() -> None:
    relation = give(FRAME, duckdb.DuckDBPyRelation)
    assert [relation.aggregate("count(*) as n").fetchall() for _ in range(3)] == [[(3,)]] * 3
    joined = relation.set_alias("one").join(relation.set_alias("other"), "one.n = other.n")
    assert len(joined.fetchall()) == 3
    assert take(relation, where="silver.x").collect().height == 3


def test_given_relations_can_be_joined() -> None:
    one = give(FRAME.select("n", "s"), duckdb.DuckDBPyRelation)
    other = give(FRAME.select("n", "x"), duckdb.DuckDBPyRelation)
    joined = one.join(other, "n").order("n")
    assert take(joined, where="silver.x").collect().rows() == [(1, "a", 1.5), (2, None, None), (3, "c", 2.5)]


def test_threads_have_relations_of_their_own() -> None:
    def query(number: int) -> int:
        relation = give(pl.LazyFrame({"n": [number] * 1000}), duckdb.DuckDBPyRelation)
        total: int = relation.aggregate("sum(n) as total").fetchall()[0][0]
        return total

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(query, range(40))) == [1000 * number for number in range(40)]


# ── streams ───────────────────────────────────────────────────────────────────────────────


def test_a_stream_holds_all_rows_in_their_order() -> None:
    long = pl.LazyFrame({"n": range(300_000)})
    assert ArrowStream(long).reader().read_all()["n"].to_pylist() == list(range(300_000))


def test_a_stream_remembers_what_was_raised() -> None:
    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise ZeroDivisionError("oh")

    stream = ArrowStream(pl.LazyFrame({"n": [1]}).map_batches(fail, schema={"n": pl.Int64}))
    with pytest.raises(Exception, match="oh"):
        stream.reader().read_all()
    assert stream.error is not None
    assert "oh" in str(stream.error)


# ── types ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (pl.Series([1], dtype=pl.Int16), pl.UInt8()),
        (pl.Series(["a"]), pl.Categorical()),
        (pl.Series(["a"]), pl.Enum(["a", "b"])),
        (pl.Series([datetime(2013, 1, 1, 5, tzinfo=UTC)]), pl.Datetime("us", "America/New_York")),
        (pl.Series([datetime(2013, 1, 1, 5, tzinfo=UTC)]), pl.Datetime("ms", "UTC")),
        (pl.Series([datetime(2013, 1, 1)]), pl.Date()),
        (pl.Series([1]), pl.Int64()),
        (pl.Series([[1]], dtype=pl.List(pl.Int64)), pl.List(pl.Int8)),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_columns_get_back_the_types_that_storage_has_no_word_for(stored: pl.Series, wanted: pl.DataType) -> None:
    frame = stored.alias("c").to_frame().lazy()
    back = restore(frame, {"c": wanted, "absent": pl.Int8()}).collect()
    assert back.schema == {"c": wanted}
    if isinstance(wanted, pl.Datetime):
        assert back["c"].dt.convert_time_zone("UTC").to_list() == stored.to_list()


def test_a_column_of_any_type_is_left_as_it_is() -> None:
    frame = pl.LazyFrame({"a": [1], "b": ["x"]})
    assert restore(frame, {"a": None}).collect_schema() == frame.collect_schema()
    assert restore(frame, {}).collect_schema() == frame.collect_schema()
