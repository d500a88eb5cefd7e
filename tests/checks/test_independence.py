"""A partition's verdict is its own: whichever others are in the chunk, and in whatever order rows come."""

from typing import Any

import pandera.polars as pa
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.checks import (
    AnyCheck,
    accepted_values,
    custom,
    expression,
    not_null,
    reconcile,
    row_count,
    unique,
)
from lakehouse.checks.gate import Audit
from tests.checks.audits import DAYS, ask, asset, marks


@custom
def not_three(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.filter(pl.col("v") == 3)


@custom(name="sums")
def small_sums(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.group_by("day").agg(pl.col("v").sum()).filter(pl.col("v") > 8)


CHECKS: list[AnyCheck] = [
    row_count(min=1, max=4),
    unique("v", "w"),
    not_null("v"),
    accepted_values("w", ["a", "b"]),
    expression("small", pl.col("v") < 4),
    expression("mean", pl.col("v").mean() < 3),
    expression("outlier", pl.col("v") <= pl.col("v").min() + 2, blocking=False),
    reconcile("raw", tolerance=0.2),
    reconcile("raw", name="totals", ours=pl.col("v").sum()),
    not_three,
    small_sums,
]


class Plain(pa.DataFrameModel):
    v: int = pa.Field(nullable=True, ge=1)
    w: str = pa.Field(nullable=True, isin=["a", "b", "c"])


class Whole(pa.DataFrameModel):
    v: int = pa.Field(unique=True)
    w: str = pa.Field(nullable=True)

    @pa.check("v")
    def mean(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key).mean() < 3)  # type: ignore[no-any-return]

    @pa.dataframe_check
    @classmethod
    def both(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("v").is_null() | (pl.col("w") != "d"))  # type: ignore[no-any-return]

    class Config:
        unique = ["w"]  # noqa: RUF012


Row = tuple[str, int | None, str | None]
row = st.tuples(
    st.sampled_from(DAYS),
    st.none() | st.integers(0, 5),
    st.none() | st.sampled_from(["a", "b", "c", "d"]),
)


def frame(table: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(table, {"day": pl.String, "v": pl.Int64, "w": pl.String}, orient="row")


def facts(found: Audit) -> dict[str, Any]:
    """What was found out about each partition."""
    told: dict[str, Any] = {}
    for results in (found.held_results, found.passed_results):
        for result in results:
            for first, last in result.failed:
                for day in DAYS:
                    if first <= day <= last:
                        told.setdefault(day, set()).add(result.name)
    return told


@given(
    st.lists(row, max_size=14),
    st.lists(row, max_size=14),
    st.lists(st.sampled_from(CHECKS), unique_by=lambda c: c.name),
    st.sampled_from([None, None, Plain, Whole]),
    st.sets(st.sampled_from(DAYS), min_size=1),
)
@settings(max_examples=150)
def test_a_partition_is_judged_alone(
    ours: list[Row], theirs: list[Row], checks: list[AnyCheck], model: Any, chunk: set[str]
) -> None:
    made = asset(*checks, model=model)
    days = sorted(chunk)
    ours, theirs = [r for r in ours if r[0] in chunk], [r for r in theirs if r[0] in chunk]
    together = ask(made, frame(ours), days, raw=frame(theirs))

    assert together.passed | together.held == made.partitions.select(days)
    assert not together.passed & together.held
    held_rows: list[Any] = []
    for day in days:
        mine = [r for r in ours if r[0] == day]
        alone = ask(made, frame(mine), day, raw=frame([r for r in theirs if r[0] == day]))
        assert (day in alone.held) == (day in together.held)
        assert facts(alone).get(day) == facts(together).get(day)
        if alone.rows is not None:
            held_rows += marks(alone, "day", "v", "w")
    if together.rows is not None:
        assert marks(together, "day", "v", "w") == sorted(held_rows, key=repr)
    else:
        assert not held_rows


@given(st.lists(row, max_size=14), st.randoms(use_true_random=False), st.sampled_from([None, Plain, Whole]))
@settings(max_examples=60)
def test_the_order_of_rows_does_not_matter(ours: list[Row], random: Any, model: Any) -> None:
    made = asset(*CHECKS, model=model)
    shuffled = random.sample(ours, len(ours))
    one, other = (ask(made, frame(table), DAYS, raw=frame(ours)) for table in (ours, shuffled))
    assert one.held == other.held
    assert facts(one) == facts(other)
    assert [r.failing_rows for r in one.held_results] == [r.failing_rows for r in other.held_results]
    if one.rows is not None:
        assert marks(one, "day", "v", "w") == marks(other, "day", "v", "w")


@given(st.lists(row, max_size=14), st.lists(st.sampled_from(CHECKS), unique_by=lambda c: c.name))
@settings(max_examples=60)
def test_what_is_held_is_what_fails_a_blocking_check(ours: list[Row], checks: list[AnyCheck]) -> None:
    found = ask(asset(*checks), frame(ours), DAYS, raw=frame(ours))
    blocking = {c.name for c in checks if c.blocking}
    failing = {day for day, names in facts(found).items() if names & blocking}
    assert set(found.held.keys()) == failing
    assert bool(found.reason) == bool(failing)
    if found.rows is not None:
        assert found.rows.height == sum(r[0] in failing for r in ours)
