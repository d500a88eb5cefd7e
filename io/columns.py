"""Columns by their names, whatever these are."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
import polars.selectors as cs


def column(name: str) -> pl.Expr:
    """The column of exactly that name: polars takes ``*`` for all of them, and ``^...$`` for a pattern.

    Examples:
        >>> frame = pl.DataFrame({"*": [1], "a": [2], "^a$": [3]})
        >>> frame.select(column("*"), column("^a$")).row(0)
        (1, 3)
    """
    pattern = name == "*" or (name.startswith("^") and name.endswith("$"))
    return cs.by_name(name).as_expr() if pattern else pl.col(name)


def columns(names: Iterable[str]) -> list[pl.Expr]:
    """The columns of exactly these names, in their order."""
    return [column(name) for name in names]


__all__ = ["column", "columns"]
