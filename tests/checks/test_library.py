"""Checks as people declare them."""

from typing import Any

import polars as pl
import pytest

from lakehouse.checks import (
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
from lakehouse.errors import DefinitionError


def no_rows(frame: pl.LazyFrame) -> pl.LazyFrame:
    """no row at all

    Whatever it is.
    """
    return frame


@pytest.mark.parametrize(
    ("check", "name", "wants"),
    [
        (row_count(), "row_count", "at least 1 row"),
        (row_count(min=0, max=9), "row_count", "0 to 9 rows"),
        (unique("a"), "unique(a)", "no two rows with the same a"),
        (unique("a", "b"), "unique(a, b)", "no two rows with the same a, b"),
        (not_null("a", "b"), "not_null(a, b)", "a value in a, b of every row"),
        (accepted_values("a", [1, 2]), "accepted_values(a)", "a one of 1, 2"),
        (accepted_values("a", range(9)), "accepted_values(a)", "a one of 0, 1, 2, 3, 4, …"),
        (expression("later", pl.col("a") > 1, wants="to be later"), "later", "to be later"),
        (reconcile("raw"), "reconcile(raw)", "rows as in raw"),
        (reconcile("raw", tolerance=0.05), "reconcile(raw)", "rows as in raw, give or take 5.00%"),
        (reconcile("raw", ours=pl.col("a").sum()), "reconcile(raw)", "total as in raw"),
        (custom(no_rows), "no_rows", "no row at all"),
        (custom(name="mine")(no_rows), "mine", "no row at all"),
    ],
)
def test_a_check_says_what_it_is_called_and_what_it_wants(check: Check | FrameCheck, name: str, wants: str) -> None:
    assert (check.name, check.wants, check.blocking) == (name, wants, True)


@pytest.mark.parametrize(
    "check",
    [
        row_count(blocking=False, name="n"),
        unique("a", blocking=False, name="n"),
        not_null("a", blocking=False, name="n"),
        accepted_values("a", [1], blocking=False, name="n"),
        expression("n", pl.lit(True), blocking=False),
        reconcile("raw", blocking=False, name="n"),
        custom(blocking=False, name="n")(no_rows),
    ],
)
def test_a_check_may_warn_and_have_another_name(check: Check | FrameCheck) -> None:
    assert (check.name, check.blocking) == ("n", False)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: row_count(min=-1), "row_count(min=-1, max=None) can't hold"),
        (lambda: row_count(min=5, max=4), "row_count(min=5, max=4) can't hold"),
        (lambda: unique(), "unique needs the names of columns"),
        (lambda: unique(["a", "b"]), "unique needs the names of columns; given (['a', 'b'],)"),  # type: ignore[arg-type]
        (lambda: not_null(), "not_null needs the names of columns"),
        (lambda: accepted_values("a", []), "needs a list of values; given []"),
        (lambda: accepted_values("a", "abc"), "needs a list of values; given 'abc'"),
        (lambda: expression("e", True), "needs a polars expression; given bool"),  # type: ignore[arg-type]
        (lambda: reconcile("raw", tolerance=-0.1), "needs a tolerance of 0 or more; given -0.1"),
        (lambda: custom(5), "custom needs a function; given 5"),  # type: ignore[call-overload]
    ],
)
def test_a_check_that_can_not_be_is_refused(make: Any, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        make()
    assert says in str(caught.value)


def test_a_custom_check_is_a_function_still() -> None:
    frame = pl.LazyFrame({"a": [1]})
    assert custom(no_rows)(frame) is frame
