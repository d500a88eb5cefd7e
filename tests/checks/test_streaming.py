"""The gate measures in passes that stream, some partitions at a time; what it finds is what pandera finds at once."""

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.constants import CHECK_OUTPUT_KEY
from pandera.errors import SchemaErrors

from lakehouse.checks import custom, gate, unique
from lakehouse.checks.rowwise import is_rowwise
from lakehouse.checks.schema import reasons, schema_checks
from lakehouse.io import PARTITION
from tests.checks.audits import DAYS, ask, asset, marks, numbers, rows

# ── pandera's checks ──────────────────────────────────────────────────────────────────────

INTEGERS = st.sampled_from([None, 0, 1, 2, 3, -1, 5])
FLOATS = st.sampled_from([None, float("nan"), 0.0, -0.0, 1.5, 2.0, float("inf"), -3.0])
TEXTS = st.sampled_from([None, "", "a", "ab", "abc", "bA", "é", "^a", "a\nb", "zz"])


@st.composite
def checked(draw: st.DrawFn) -> tuple[pl.DataFrame, Any]:
    """A column with values, and a pandera column with some built-in checks."""
    dtype, values = draw(st.sampled_from([(pl.Int64, INTEGERS), (pl.Float64, FLOATS), (pl.String, TEXTS)]))
    some = values.filter(lambda value: value is not None)
    ignore: dict[str, Any] = {"ignore_na": draw(st.booleans())}
    kinds: list[Callable[[], Any]] = [
        lambda: pa.Check.eq(draw(some), **ignore),
        lambda: pa.Check.ne(draw(some), **ignore),
        lambda: pa.Check.gt(draw(some), **ignore),
        lambda: pa.Check.ge(draw(some), **ignore),
        lambda: pa.Check.lt(draw(some), **ignore),
        lambda: pa.Check.le(draw(some), **ignore),
        lambda: pa.Check.isin([draw(some), draw(some)], **ignore),
        lambda: pa.Check.notin([draw(some), draw(some)], **ignore),
    ]
    if dtype is pl.String:
        kinds += [
            lambda: pa.Check.str_matches(draw(st.sampled_from(["a", "^a", "a|b", "[a-z]+$"])), **ignore),
            lambda: pa.Check.str_contains(draw(st.sampled_from(["b", "^a", "."])), **ignore),
            lambda: pa.Check.str_startswith("a", **ignore),
            lambda: pa.Check.str_endswith("b", **ignore),
            lambda: pa.Check.str_length(1, 2, **ignore),
            lambda: pa.Check.str_length(min_value=2, **ignore),
        ]
    else:
        ends = {"include_min": draw(st.booleans()), "include_max": draw(st.booleans())}
        kinds.append(lambda: pa.Check.in_range(0, 2, **ends, **ignore))
    checks = [kind() for kind in draw(st.lists(st.sampled_from(kinds), max_size=3))]
    column = pa.Column(dtype, checks=checks, nullable=draw(st.booleans()), unique=draw(st.booleans()))
    return pl.DataFrame({"x": draw(st.lists(values, max_size=12))}, schema={"x": dtype}), column


def by_pandera(frame: pl.DataFrame, column: Any) -> list[list[str] | None]:
    """What pandera says of each row, all at once."""
    said: dict[str, set[int]] = {}
    try:
        pa.DataFrameSchema({"x": column}).validate(frame, lazy=True)
    except SchemaErrors as error:
        for fault in error.schema_errors:
            output: Any = fault.check_output
            what = f"x: {getattr(fault.check, 'error', None) or fault.check}"
            said.setdefault(what, set()).update(output[CHECK_OUTPUT_KEY].eq(False).arg_true().to_list())
    listed = [sorted(what for what, places in said.items() if place in places) for place in range(frame.height)]
    return [found or None for found in listed]


@settings(max_examples=300, deadline=None)
@given(checked())
def test_what_is_said_of_rows_is_what_pandera_says(given: tuple[pl.DataFrame, Any]) -> None:
    frame, column = given
    checks = schema_checks(pa.DataFrameSchema({"x": column}), frame.schema)
    rest = checks.rest

    def at_hand(part: pl.DataFrame) -> dict[str, Any]:
        from lakehouse.checks.schema import failures

        return failures(asset(), rest, part) if rest is not None else {}

    held = frame.with_columns(pl.lit("one").alias(PARTITION))
    assert reasons(held, checks.by_row, at_hand).to_list() == by_pandera(frame, column)


# ── a bounded number of rows at a time ────────────────────────────────────────────────────


class Trips(pa.DataFrameModel):
    v: int = pa.Field(ge=0, unique=True)


@custom
def no_seven(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.filter(pl.col("v") == 7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-1, 8)), max_size=16), st.integers(1, 6))
def test_the_verdict_is_the_same_however_few_rows_are_at_hand(values: list[tuple[int, int]], few: int) -> None:
    made = asset(unique("v"), no_seven, model=Trips)
    frame = rows(*values) if values else rows((1, 0)).clear()
    whole = ask(made, frame.with_columns(pl.col("v").cast(pl.Int64)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_ROWS", few)
        patch.setattr(gate, "_KEYS", few)
        patch.setattr(gate, "_HASHES", few)
        found = ask(made, frame.with_columns(pl.col("v").cast(pl.Int64)))
    assert (found.held, found.held_results, found.passed_results) == (
        whole.held,
        whole.held_results,
        whole.passed_results,
    )
    assert found.digests == whole.digests
    if whole.held:
        assert marks(found, "day", "v") == marks(whole, "day", "v")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), FLOATS, TEXTS), max_size=20), st.integers(1, 8))
def test_repeated_keys_are_those_that_are_equal(values: list[tuple[int, float | None, str | None]], few: int) -> None:
    frame = rows(*((day, {"f": f, "t": t}) for day, f, t in values), f=pl.Float64, t=pl.String)
    equal = frame.group_by("day").agg((pl.len() - pl.struct("f", "t").n_unique()).alias("repeated"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_KEYS", few)
        patch.setattr(gate, "_HASHES", few)
        found = ask(asset(unique("f", "t")), frame)
    assert {DAYS[n - 1] for n in numbers(found.held)} == set(equal.filter(pl.col("repeated") > 0)["day"])
    assert sum(result.failing_rows for result in found.held_results) == equal["repeated"].sum()


def test_rows_are_at_hand_where_something_needs_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(pa.DataFrameModel):
        v: int = pa.Field(ge=0)

    def never(*_: object) -> None:
        raise AssertionError("rows were collected")

    monkeypatch.setattr(gate, "failures", never)
    found = ask(asset(unique("v"), model=Plain), rows((1, 1), (2, 1)), DAYS[:2])
    assert found.passed == found.passed.partitions.select(DAYS[:2])


@pytest.mark.parametrize(
    ("expr", "rowwise"),
    [
        (pl.col("a") > 3, True),
        (pl.col("s").str.contains("x") & pl.col("a").is_in([1, 2]), True),
        (pl.col("t").dt.hour().is_between(2, 3), True),
        (pl.when(pl.col("a").is_null()).then(True).otherwise(False), True),
        (pl.col("a").fill_null(0).abs() <= 5, True),
        (pl.lit(False), False),
        (pl.col("a") > pl.col("a").mean(), False),
        (pl.col("a").is_duplicated(), False),
        (pl.col("a") > pl.col("a").shift(1), False),
        (pl.col("a").sum().over("b") > 1, False),
        (pl.len() > 1, False),
        (pl.all() > 1, False),
        (pl.col("^a.*$") > 1, False),
        (pl.col("a").map_elements(hash, return_dtype=pl.Int64) > 1, False),
    ],
)
def test_an_expression_of_single_rows_is_known_as_one(expr: pl.Expr, rowwise: bool) -> None:
    assert is_rowwise(expr) is rowwise


# ── memory ────────────────────────────────────────────────────────────────────────────────

MAKE = """
import polars as pl
n = pl.col("i")
pl.LazyFrame().select(i=pl.int_range({rows}, dtype=pl.Int64)).with_columns(
    a=n * 7919 % 1000003, b=(n % 997).cast(pl.Float64), c=pl.format("user-{{}}", n % 100003), d=n % 365
).sink_parquet("in-{rows}.parquet")
"""
READ = """
import resource
import pandera.polars as pa, polars as pl
def rows():
    return pl.scan_parquet("in-{rows}.parquet").filter(pl.col("b") >= 0).with_columns(e=pl.col("a") * 2)
"""
BARE = READ + "rows().sink_delta('out-{rows}')\n"
OURS = (
    READ
    + """
from typing import Annotated
from lakehouse import Lakehouse, bronze
from lakehouse.checks import not_null, row_count, unique
class Big(pa.DataFrameModel):
    i: int
    b: float = pa.Field(ge=0, lt=997)
    c: str = pa.Field(str_startswith="user-")
@bronze(checks=[row_count(min=1), not_null("c"), unique("i")])
def big() -> Annotated[pl.LazyFrame, Big]:
    return rows()
Lakehouse([big], storage="data-{rows}", lineage="sqlite:///lineage-{rows}.db").materialize(big, engine="inline")
"""
)
PEAK = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"


@pytest.mark.slow
def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    def peak(code: str, number: int) -> int:
        done = run(
            [sys.executable, "-P", "-c", code.format(rows=number) + PEAK],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    few, many = 5_000_000, 15_000_000
    for number in (few, many):
        run([sys.executable, "-P", "-c", MAKE.format(rows=number)], cwd=tmp_path, check=True)
    small, large, bare = peak(OURS, few), peak(OURS, many), peak(BARE, many)
    assert large < 1.5 * small, (small, large, bare)
    assert large < 2 * bare, (small, large, bare)
