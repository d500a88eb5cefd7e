"""The gate: each check's verdict on each partition, and the reasons of each row."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from lakehouse import Daily, Hourly, Monthly, Static, Unpartitioned
from lakehouse.checks import (
    AnyCheck,
    Check,
    FrameCheck,
    accepted_values,
    custom,
    expression,
    not_null,
    reconcile,
    row_count,
    unique,
)
from lakehouse.checks.gate import REASONS
from lakehouse.errors import CheckError
from lakehouse.io import PARTITION
from lakehouse.partitions import Partitions
from tests.checks.audits import DAYS, ask, asset, marks, named, numbers, rows


@custom
def not_seven(frame: pl.LazyFrame) -> pl.LazyFrame:
    """no value is 7"""
    return frame.filter(pl.col("v") == 7)


@custom
def at_hand(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.collect().filter(pl.col("v") == 7)  # type: ignore[return-value]


@custom
def small_in_sum(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.group_by("day").agg(pl.col("v").sum()).filter(pl.col("v") >= 7)


@custom
def small_by_partition(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.group_by(PARTITION).agg(pl.col("v").sum().alias("total")).filter(pl.col("total") >= 7)


# ── verdicts ──────────────────────────────────────────────────────────────────────────────

GOOD = [(1, 1), (1, 2), (3, 1)]


@pytest.mark.parametrize(
    ("check", "bad", "failing", "reasons"),
    [
        # rows of day 2; how many of them fail; which are marked
        (row_count(max=2), [1, 2, 3], 0, []),
        (unique("v"), [5, 5, 6], 1, [5, 5]),
        (unique("day", "v"), [5, 5, 5], 2, [5, 5, 5]),
        (not_null("v"), [1, None], 1, [None]),
        (not_null("day", "v"), [None, None], 2, [None, None]),
        (accepted_values("v", [1, 2]), [1, 7, 8], 2, [7, 8]),
        (accepted_values("v", [1, 2]), [None, 7], 1, [7]),
        (accepted_values("v", [1, 2, None]), [None, 7], 1, [7]),
        (expression("small", pl.col("v") < 7), [1, 7, 8], 2, [7, 8]),
        (expression("small or unknown", pl.col("v") < 7), [None, 7], 1, [7]),
        (expression("small and known", (pl.col("v") < 7).fill_null(False)), [None, 1], 1, [None]),
        (expression("no outlier", pl.col("v") <= pl.col("v").min() + 5), [1, 2, 9], 1, [9]),
        (not_seven, [1, 7], 1, [7]),
        (at_hand, [7, 7, 8], 2, [7, 7]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_one_bad_partition_is_held_and_its_rows_are_marked(
    check: Check | FrameCheck, bad: list[Any], failing: int, reasons: list[Any]
) -> None:
    found = ask(asset(check), rows(*GOOD, *((2, v) for v in bad)), DAYS[:3])

    assert numbers(found.held) == [2]
    assert numbers(found.passed) == [1, 3]
    held, passed = named(found)[check.name]
    assert (held.passed, held.failed, held.failing_rows) == (False, ((DAYS[1], DAYS[1]),), failing)
    assert (passed.passed, passed.failed, passed.failing_rows) == (True, (), 0)
    assert passed.message in held.message
    assert check.name in found.reason
    expected = [(v, [check.name] if v in reasons else []) for v in bad]
    assert marks(found, "v") == sorted(expected, key=repr)
    assert found.rows is not None
    assert found.rows["day"].unique().to_list() == [DAYS[1]]


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (expression("mean", pl.col("v").mean() < 7), [8, 9]),
        (expression("count", pl.len() < 3), [1, 2, 3]),
        (expression("all", (pl.col("v") < 7).all()), [1, 8]),
        (expression("never", pl.col("v").max() == pl.lit(2)), [3]),
        (small_in_sum, [3, 4]),
        (small_by_partition, [3, 4]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_aggregated_holds_the_partition_back(check: Check | FrameCheck, bad: list[int]) -> None:
    found = ask(asset(check), rows((1, 1), (1, 2), *((2, v) for v in bad), (3, 2)), DAYS[:3])
    assert numbers(found.held) == [2]
    assert numbers(found.passed) == [1, 3]
    assert found.rows is not None
    assert found.rows.height == len(bad)


def test_an_expression_that_is_never_true_holds_everything_back() -> None:
    found = ask(asset(expression("never", pl.lit(False))), rows((1, 1)), DAYS[:2])
    assert numbers(found.held) == [1, 2]


def test_good_rows_pass_whole() -> None:
    checks: list[AnyCheck] = [row_count(), unique("v"), not_null("v"), accepted_values("v", [1, 2]), not_seven]
    found = ask(asset(*checks), rows((1, 1), (1, 2), (2, 1), (3, 2), (4, 1)))
    assert numbers(found.passed) == [1, 2, 3, 4]
    assert not found.held
    assert found.rows is None
    assert found.reason == ""
    assert [r.name for r in found.passed_results] == [c.name for c in checks]
    assert all(r.passed and not r.failed for r in (*found.passed_results, *found.held_results))


def test_without_a_check_everything_passes() -> None:
    found = ask(asset(), rows((1, None)))
    assert numbers(found.passed) == [1, 2, 3, 4]
    assert found.passed_results == found.held_results == ()


def test_each_row_bears_all_its_reasons() -> None:
    checks: list[AnyCheck] = [not_null("w"), accepted_values("v", [1]), unique("v"), not_seven]
    frame = rows((1, {"v": 7, "w": None}), (1, {"v": 7, "w": 1}), (1, {"v": 1, "w": 1}), (2, {"v": 1, "w": 1}))
    found = ask(asset(*checks), frame, DAYS[:2])
    assert marks(found, "v", "w") == [
        (1, 1, []),
        (7, 1, ["accepted_values(v)", "unique(v)", "not_seven"]),
        (7, None, ["not_null(w)", "accepted_values(v)", "unique(v)", "not_seven"]),
    ]
    assert [said.split(" wants ")[0] for said in found.reason.split("; ") if " wants " in said] == [
        check.name for check in checks
    ]
    assert found.rows is not None
    assert found.rows.columns == ["day", "v", "w", PARTITION, REASONS]


def test_a_warning_holds_nothing_back() -> None:
    found = ask(asset(accepted_values("v", [1], blocking=False)), rows((1, 1), (2, 7)), DAYS[:2])
    assert numbers(found.passed) == [1, 2]
    assert found.rows is None
    assert found.reason == ""
    (result,) = found.passed_results
    assert (result.blocking, result.passed, result.failed, result.failing_rows) == (
        False,
        False,
        ((DAYS[1], DAYS[1]),),
        1,
    )


def test_a_warning_is_no_reason_of_a_row_that_is_held() -> None:
    checks: list[AnyCheck] = [accepted_values("v", [1], blocking=False), not_null("w")]
    found = ask(asset(*checks), rows((1, {"v": 7, "w": None}), (2, {"v": 7, "w": 1})), DAYS[:2])
    assert numbers(found.held) == [1]
    assert marks(found, "v") == [(7, ["not_null(w)"])]
    assert "accepted_values" not in found.reason
    held, passed = named(found)["accepted_values(v)"]
    assert (held.failed, passed.failed) == (((DAYS[0], DAYS[0]),), ((DAYS[1], DAYS[1]),))


def test_results_tell_failing_partitions_as_intervals() -> None:
    found = ask(asset(not_null("v")), rows((1, None), (2, None), (3, 1), (4, None)))
    assert str(found.held) == "2013-01-01...2013-01-02, 2013-01-04"
    assert found.held_results[0].failed == ((DAYS[0], DAYS[1]), (DAYS[3], DAYS[3]))
    assert found.held_results[0].failing_rows == 3


# ── partitions without rows ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        (row_count(min=1), False),
        (row_count(min=0), True),
        (row_count(min=0, max=0), True),
        (unique("v"), True),
        (not_null("v"), True),
        (accepted_values("v", [1]), True),
        (expression("small", pl.col("v") < 7), True),
        (expression("mean", pl.col("v").mean() < 7), True),
        (expression("some", pl.len() > 0), False),
        (expression("sum", pl.col("v").sum() > 0), False),
        (not_seven, True),
        (small_in_sum, True),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("others", [[], [(1, 1)]], ids=["alone", "beside another"])
def test_a_partition_without_rows_is_checked_as_well(
    check: Check | FrameCheck, holds: bool, others: list[tuple[int, int]]
) -> None:
    found = ask(asset(check), rows(*others, v=pl.Int64), DAYS[:2] if others else DAYS[1])
    held = [day for day in numbers(found.held) if day == 2]
    assert held == ([] if holds else [2])
    if not holds:
        assert found.rows is not None
        assert found.rows.columns == ["day", "v", PARTITION, REASONS]
        assert found.rows.filter(pl.col("day") == DAYS[1]).height == 0


def test_a_partition_without_rows_is_not_hidden_by_a_bad_one() -> None:
    found = ask(asset(row_count(), not_null("v")), rows((1, None), (3, 1)), DAYS[:3])
    assert numbers(found.held) == [1, 2]
    assert marks(found, "v") == [(None, ["not_null(v)"])]


# ── reconcile ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "ours", "theirs", "held"),
    [
        ({}, [(1, 1), (2, 1)], [(1, 9), (2, 9)], []),
        ({}, [(1, 1), (2, 1)], [(1, 9), (2, 9), (2, 8)], [2]),
        ({}, [(1, 1), (2, 1), (2, 2)], [(1, 9), (2, 9)], [2]),
        ({}, [(1, 1)], [(1, 9), (2, 9)], [2]),
        ({}, [(1, 1), (2, 1)], [(1, 9)], [2]),
        ({}, [(1, 1)], [(1, 9)], []),
        ({"tolerance": 0.1}, [(1, i) for i in range(9)], [(1, i) for i in range(10)], []),
        ({"tolerance": 0.1}, [(1, i) for i in range(11)], [(1, i) for i in range(10)], []),
        ({"tolerance": 0.1}, [(1, i) for i in range(8)], [(1, i) for i in range(10)], [1]),
        ({"tolerance": 0.1}, [(1, i) for i in range(12)], [(1, i) for i in range(10)], [1]),
        ({"tolerance": 5.0}, [(1, 1)], [], [1]),
        ({"ours": pl.col("v").sum()}, [(1, 2), (1, 3)], [(1, 5)], []),
        ({"ours": pl.col("v").sum()}, [(1, 2), (1, 3)], [(1, 6)], [1]),
        ({"ours": pl.col("v").sum(), "theirs": pl.col("v").max()}, [(1, 2), (1, 3)], [(1, 5), (1, 4)], []),
        ({"ours": pl.col("v").sum()}, [(1, -2)], [(1, -2)], []),
        ({"ours": pl.col("v").sum(), "tolerance": 0.5}, [(1, -2)], [(1, -3)], []),
        ({"ours": pl.col("v").sum()}, [(1, 0.1), (1, 0.2)], [(1, 0.3)], []),
        ({"ours": pl.col("v").mean()}, [], [], []),
        ({"ours": pl.col("v").mean()}, [(1, None)], [(1, 5)], [1]),
        ({"ours": pl.col("v").sum()}, [(1, float("nan"))], [(1, 5.0)], [1]),
    ],
)
def test_a_partition_agrees_with_the_same_one_upstream(
    options: dict[str, Any], ours: list[tuple[int, Any]], theirs: list[tuple[int, Any]], held: list[int]
) -> None:
    kind = pl.Float64 if any(isinstance(v, float) for _, v in [*ours, *theirs]) else pl.Int64
    check = reconcile("raw", **options)
    found = ask(asset(check), rows(*ours, v=kind), DAYS[:2], raw=rows(*theirs, v=kind))
    assert numbers(found.held) == held
    if held:
        assert "ours" in found.reason
        assert "theirs" in found.reason


def test_reconciling_with_what_was_not_given_is_a_check_error() -> None:
    with pytest.raises(CheckError, match=r"silver\.trips: the check 'reconcile\(raw\)' raised KeyError"):
        ask(asset(reconcile("raw")), rows((1, 1)))


# ── checks that raise ─────────────────────────────────────────────────────────────────────


@custom
def explodes(frame: pl.LazyFrame) -> pl.LazyFrame:
    raise RuntimeError("no idea")


@custom
def explodes_late(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.filter(pl.col("nowhere") > 1)


@custom
def returns_nothing(frame: pl.LazyFrame) -> pl.LazyFrame:
    return None  # type: ignore[return-value]


@custom
def returns_a_verdict(frame: pl.LazyFrame) -> pl.LazyFrame:
    return True  # type: ignore[return-value]


@custom
def loses_the_partition(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.select("v")


@custom
def spoils_the_partition(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.select(pl.lit(1).alias("day"))


@custom
def names_other_partitions(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.select(pl.lit("2013-05-05").alias("day"))


@custom
def names_no_partition(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.select(pl.lit(None, pl.String).alias("day"))


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (not_null("nowhere"), ["'not_null(nowhere)'", "ColumnNotFoundError", "nowhere"]),
        (unique("nowhere"), ["'unique(nowhere)'", "ColumnNotFoundError"]),
        (expression("odd", pl.col("nowhere") > 1), ["'odd'", "ColumnNotFoundError"]),
        (expression("a number", pl.col("v")), ["'a number'", "expected `Boolean`"]),
        (expression("a text", pl.col("day")), ["'a text'"]),
        (expression("late", pl.col("day").str.to_date("%Y") > date(2013, 1, 1)), ["'late'"]),
        (accepted_values("v", ["a"]), ["'accepted_values(v)'"]),
        (reconcile("raw", ours=pl.col("nowhere").sum()), ["'reconcile(raw)'", "ColumnNotFoundError"]),
        (reconcile("raw", theirs=pl.col("nowhere").sum()), ["'reconcile(raw)'", "ColumnNotFoundError"]),
        (reconcile("other"), ["'reconcile(other)'", "no input of silver.trips"]),
        (explodes, ["'explodes'", "RuntimeError: no idea"]),
        (explodes_late, ["'explodes_late'", "ColumnNotFoundError"]),
        (returns_nothing, ["'returns_nothing'", "it returned NoneType"]),
        (returns_a_verdict, ["'returns_a_verdict'", "it returned bool"]),
        (loses_the_partition, ["'loses_the_partition'", "neither the column 'day' nor"]),
        (spoils_the_partition, ["'spoils_the_partition'", "Int32"]),
        (names_other_partitions, ["'names_other_partitions'", "not asked for: 2013-05-05"]),
        (names_no_partition, ["'names_no_partition'", "not asked for"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_check_that_raises_is_named(check: Check | FrameCheck, says: list[str]) -> None:
    frame = rows((1, 1), (2, 2))
    with pytest.raises(CheckError) as caught:
        ask(asset(row_count(), check, not_null("v")), frame, DAYS[:2], raw=frame)
    for words in ["silver.trips: the check", *says, "nothing was published"]:
        assert words in str(caught.value)


# ── kinds of partitions and columns ───────────────────────────────────────────────────────

HOURLY = Hourly("2013-01-01T00:00", column="k")
NEW_YORK = Daily("2013-01-01", column="k", timezone="America/New_York")


@pytest.mark.parametrize(
    ("partitions", "values", "held"),
    [
        (Daily("2013-01-01", column="k"), ["2013-01-01", "2013-01-02", "2013-01-03"], "2013-01-02"),
        (Daily("2013-01-01", column="k"), [date(2013, 1, 1), date(2013, 1, 2), date(2013, 1, 3)], "2013-01-02"),
        (Daily("2013-01-01", column="k"), [datetime(2013, 1, n, 23, 59) for n in (1, 2, 3)], "2013-01-02"),
        (Daily("2013-01-01", column="k"), [datetime(2013, 1, n, 23, tzinfo=UTC) for n in (1, 2, 3)], "2013-01-02"),
        (NEW_YORK, [datetime(2013, 1, n, 4, tzinfo=UTC) for n in (2, 3, 4)], "2013-01-02"),
        (NEW_YORK, [datetime(2013, 1, n, 4) for n in (1, 2, 3)], "2013-01-02"),
        (HOURLY, ["2013-01-01T00:00", "2013-01-01T01:00", "2013-01-01T02:00"], "2013-01-01T01:00"),
        (HOURLY, [datetime(2013, 1, 1, n, 30) for n in (0, 1, 2)], "2013-01-01T01:00"),
        (
            Hourly("2013-11-03T00:00-04:00", column="k", timezone="America/New_York"),
            [datetime(2013, 11, 3, n, 30, tzinfo=UTC) for n in (4, 5, 6)],
            "2013-11-03T01:00-04:00",
        ),
        (
            Hourly("2013-11-03T00:00-04:00", column="k", timezone="America/New_York"),
            [datetime(2013, 11, 3, n, 30, tzinfo=UTC) for n in (5, 6, 7)],
            "2013-11-03T01:00-05:00",
        ),
        (Monthly("2013-01", column="k"), ["2013-01", "2013-02", "2013-03"], "2013-02"),
        (Monthly("2013-01", column="k"), [date(2013, n, 28) for n in (1, 2, 3)], "2013-02"),
        (Monthly("2013-01", column="k"), [datetime(2013, n, 28, tzinfo=UTC) for n in (1, 2, 3)], "2013-02"),
        (Static(["a/b", "ü", "c, d"], column="k"), ["a/b", "ü", "c, d"], "ü"),
        (Static([2021, 2022, 2023], column="k"), [2021, 2022, 2023], "2022"),
        (Static(["x", "true", "false"], column="k"), [False, True, None], "true"),
    ],
)
def test_verdicts_are_by_partition_whatever_holds_it(partitions: Partitions, values: list[Any], held: str) -> None:
    made = asset(row_count(), not_null("v"), unique("v"), not_seven, partitions=partitions)
    frame = pl.DataFrame({"k": values, "v": [1, 7, 2]}).drop_nulls()
    wanted = [held] if frame.height < 3 else None
    around = partitions.parse(held)
    low = partitions.all(datetime(2014, 1, 1, tzinfo=UTC)).hull.low
    chosen = wanted or [partitions.key(o) for o in range(max(low, around - 1), around + 2)]
    found = ask(made, frame, chosen)
    assert found.held.keys() == [held]
    assert marks(found, "v")[0] == (7, ["not_seven"])


def test_what_is_not_partitioned_passes_or_not_as_a_whole() -> None:
    made = asset(row_count(), accepted_values("v", [1, 2]), not_seven, partitions=Unpartitioned())
    good = ask(made, pl.DataFrame({"v": [1, 2]}))
    assert len(good.passed) == 1
    assert not good.held
    bad = ask(made, pl.DataFrame({"v": [1, 7]}))
    assert len(bad.held) == 1
    assert not bad.passed
    assert bad.held_results[1].failed == (("", ""),)
    assert marks(bad, "v") == [(1, []), (7, ["accepted_values(v)", "not_seven"])]
    empty = ask(made, pl.DataFrame(schema={"v": pl.Int64}))
    assert len(empty.held) == 1
    assert "row_count" in empty.reason


def test_a_custom_check_may_aggregate_what_is_not_partitioned() -> None:
    @custom
    def few(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.select(pl.len().alias("rows")).filter(pl.col("rows") > 1)

    made = asset(few, partitions=None)
    assert not ask(made, pl.DataFrame({"v": [1]})).held
    assert ask(made, pl.DataFrame({"v": [1, 2]})).held


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1.5, float("nan"), None]),
        pl.Series([timedelta(1), None, timedelta(2)]),
        pl.Series([b"a", b"b", None]),
        pl.Series([[1], [], None]),
        pl.Series([{"a": 1}, {"a": 2}, None]),
        pl.Series(["a", "b", None], dtype=pl.Categorical),
        pl.Series(["a", "b", None], dtype=pl.Enum(["a", "b"])),
        pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int8, 2)),
        pl.Series([None, None, None]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_rows_of_any_type_are_marked(values: pl.Series) -> None:
    @custom
    def marked(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.filter(pl.col("bad"))

    frame = pl.DataFrame({"day": [DAYS[0]] * 3, "v": values, "bad": [False, True, True]})
    found = ask(asset(marked, not_null("v")), frame, DAYS[0])
    assert found.rows is not None
    assert ["marked" in reasons for reasons in found.rows[REASONS].to_list()] == [False, True, True]
    assert ["not_null(v)" in r for r in found.rows[REASONS].to_list()] == values.is_null().to_list()
