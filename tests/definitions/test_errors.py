"""Errors: what was given, what is allowed, the next step; and they cross process borders."""

import pickle
import traceback
from typing import Any

import pytest

from lakehouse.errors import LakehouseError, MaterializationFailed, PartitionError, nearest, shorten


def test_an_error_says_what_and_what_next() -> None:
    assert str(PartitionError("wrong")) == "wrong"
    assert str(PartitionError("wrong", hint="write it so")) == "wrong\n  hint: write it so"


@pytest.mark.parametrize(
    "error",
    [LakehouseError("what"), PartitionError("what", hint="next"), MaterializationFailed("what", run=None)],  # type: ignore[arg-type]
)
def test_an_error_survives_pickling(error: LakehouseError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), back.message, back.hint, back.args) == (str(error), error.message, error.hint, error.args)
    assert vars(back) == vars(error)


class Peculiar(Exception):
    """One that can't be made again from its message, as many libraries' errors can't."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"{code} in {where}")


def test_where_an_error_came_from_survives_pickling_as_text() -> None:
    def theirs() -> None:
        raise Peculiar(7, where="their own code")

    def ours() -> None:
        try:
            theirs()
        except Peculiar as error:
            raise LakehouseError("it failed") from error

    with pytest.raises(LakehouseError) as caught:
        ours()
    back = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(caught.value))))
    shown = "".join(traceback.format_exception(back))
    assert "Peculiar: 7 in their own code" in shown
    assert "in theirs" in shown
    assert shown.endswith("LakehouseError: it failed\n")


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        (["a"], "a"),
        ("abcde", "a, b, c, d, e"),
        ("abcdefg", "a, b, c, d, e, and 2 more"),
        ([1, None], "1, None"),
        (["x" * 100], "x" * 59 + "…"),
    ],
)
def test_long_lists_are_cut(items: Any, text: str) -> None:
    assert shorten(items) == text


def test_the_nearest_names_are_told() -> None:
    known = ["silver.flights", "silver.weather", "gold.delays"]
    assert nearest("silver.flihgts", known) == "did you mean silver.flights or silver.weather?"
    assert nearest("weather", known) == "did you mean silver.weather?"
    assert nearest("zzz", known) is None
    assert nearest("a", []) is None
