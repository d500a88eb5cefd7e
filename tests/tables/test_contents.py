"""What stands for a partition's rows: equal for equal rows, whatever their order, and for no others."""

import random
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.io.digests import partition_digests

ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from(["x", "y", None])), max_size=8)


def frame(rows: list[tuple[str, int, str | None]]) -> pl.LazyFrame:
    schema = {"_partition": pl.String, "n": pl.Int64, "s": pl.String}
    return pl.LazyFrame(rows, schema=schema, orient="row")


@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[tuple[str, int, str | None]], chance: random.Random) -> None:
    mixed = rows.copy()
    chance.shuffle(mixed)
    assert partition_digests(frame(mixed)) == partition_digests(frame(rows))


@given(ROWS, ROWS)
def test_it_differs_where_rows_do(
    one: list[tuple[str, int, str | None]], other: list[tuple[str, int, str | None]]
) -> None:
    def of(rows: list[tuple[str, int, str | None]], part: str) -> list[str]:
        return sorted(repr(row) for row in rows if row[0] == part)

    first, second = partition_digests(frame(one)), partition_digests(frame(other))
    for part in "ab":
        assert (first.get(part) == second.get(part)) == (of(one, part) == of(other, part))


def test_names_and_types_count_and_underscores_do_not() -> None:
    base = frame([("a", 1, "x")]).with_columns(m=pl.lit(2, pl.Int64))
    same = base.with_columns(_run_id=pl.lit("another"), _extracted_at=pl.lit(datetime(2013, 1, 1)))
    assert partition_digests(same) == partition_digests(base)
    for other in (
        base.rename({"s": "t"}),
        base.with_columns(pl.col("n").cast(pl.Int32)),
        base.with_columns(n=pl.col("m"), m=pl.col("n")),
        base.drop("s"),
    ):
        assert partition_digests(other) != partition_digests(base)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.1, 0.2),
        (None, 0.0),
        (float("nan"), None),
        ("", None),
        (b"a", b"b"),
        (True, False),
        ([1, 2], [2, 1]),
        ([[1], [2]], [[1, 2], []]),
        ({"a": 1, "b": "x"}, {"a": 1, "b": "y"}),
        (date(2013, 1, 1), date(2013, 1, 2)),
        (datetime(2013, 1, 1, 0, 0, 0, 1), datetime(2013, 1, 1)),
    ],
)
def test_values_of_any_type_count(one: Any, other: Any) -> None:
    values = pl.Series("v", [one, other], strict=False)
    told = partition_digests(pl.LazyFrame({"_partition": ["one", "other"]}).with_columns(values))
    assert told["one"] != told["other"]


def test_no_rows_and_no_columns() -> None:
    assert partition_digests(frame([])) == {}
    bare = pl.LazyFrame({"_partition": ["a", "b", "b"]})
    assert len(set(partition_digests(bare).values())) == 2
