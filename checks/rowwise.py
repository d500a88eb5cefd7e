"""Which expressions look at one row at a time: those are measured in a pass that streams."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

_NODES = {"Alias", "BinaryExpr", "Cast", "Column", "Function", "Literal", "Ternary"}
_PLAIN = {"Abs", "Ceil", "Coalesce", "Exp", "FillNull", "Floor", "Log", "Negate", "NullCount", "Pow", "Round", "Sign"}
_BOOLEAN = {
    "AllHorizontal", "AnyHorizontal", "IsBetween", "IsClose", "IsFinite", "IsIn", "IsInfinite", "IsNan", "IsNotNan",
    "IsNotNull", "IsNull", "Not",
}  # fmt: skip
_FAMILIES = {"StringExpr": {"ConcatVertical", "Split"}, "TemporalExpr": {"DatetimeFunction"}}
"""Families of functions that take each value by itself, but for these."""


def is_rowwise(expr: pl.Expr) -> bool:
    """Whether a value depends on its own row alone, as far as that is known for sure.

    Examples:
        >>> is_rowwise(pl.col("arrival") > pl.col("departure"))
        True
        >>> is_rowwise(pl.col("fare") > pl.col("fare").mean())
        False
    """
    try:
        # What names no column has one value, and that of a partition without rows as well.
        return bool(expr.meta.root_names()) and _known(json.loads(expr.meta.serialize(format="json")))
    except Exception:  # polars doesn't promise this form: what can't be read is taken for a matter of the whole
        return False


def _known(node: Any) -> bool:
    if not isinstance(node, dict) or len(node) != 1:
        return False
    ((kind, inside),) = node.items()
    if kind not in _NODES:
        return False
    match kind:
        case "Column":
            # A name that stands for several columns makes several values of a row.
            return isinstance(inside, str) and not inside.startswith("^") and inside != "*"
        case "Literal":
            return True
        case "BinaryExpr":
            return _known(inside["left"]) and _known(inside["right"])
        case "Ternary":
            return all(_known(inside[part]) for part in ("predicate", "truthy", "falsy"))
        case "Cast":
            return _known(inside["expr"])
        case "Alias":
            return _known(inside[0])
        case _:
            return _takes_values(inside["function"]) and all(map(_known, inside["input"]))


def _takes_values(function: Any) -> bool:
    if isinstance(function, str):
        return function in _PLAIN
    ((family, which),) = function.items()
    name = which if isinstance(which, str) else next(iter(which), "")
    if family == "Boolean":
        return name in _BOOLEAN
    if family in _FAMILIES:
        return name not in _FAMILIES[family]
    return family in _PLAIN
