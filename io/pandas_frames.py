"""Between polars and pandas, with every value as it is: numpy's types have no word for some."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl

from lakehouse.errors import Panic, SchemaViolation, WrongFrame, panics_raised, shorten
from lakehouse.io.arrow import from_arrow
from lakehouse.io.types import held


def to_pandas(frame: pl.DataFrame) -> Any:
    """A pandas DataFrame: numpy's types where they hold what there is; pandas' nullable or Arrow's where they don't.

    Whole numbers and truth values among which some are missing are pandas' nullable ones, for numpy would make floats
    or objects of them. Where NaN has to be told from a missing value, and where a nested value would change, it's
    Arrow's types. Dates are timestamps at midnight, for pandas has no dates.

    Examples:
        >>> [str(dtype) for dtype in to_pandas(pl.DataFrame({"id": [2**53 + 1, None], "n": [1, 2]})).dtypes]
        ['Int64', 'int64']
    """
    import pandas as pd

    return pd.DataFrame({column.name: _given(column) for column in frame.get_columns()}, copy=False)


def _given(column: pl.Series) -> Any:
    if not _changes(column):
        return column.to_pandas()
    exact = column.to_pandas(use_pyarrow_extension_array=True)
    if column.dtype.is_integer():
        return exact.astype(str(column.dtype))
    return exact.astype("boolean") if column.dtype == pl.Boolean else exact


def _changes(column: pl.Series) -> bool:
    """Whether numpy's types would change what is in a column, or that it is of its type."""
    dtype, missing = column.dtype, column.null_count()
    match dtype:
        case pl.String() | pl.Date() | pl.Datetime():
            return False
        case pl.Float32() | pl.Float64():
            return bool(column.is_nan().any())
        case pl.List() | pl.Array() | pl.Struct() | pl.Map():
            return missing == len(column) or not _comes_back(column)
        case _ if dtype.is_integer() or dtype == pl.Boolean:
            return missing > 0
        case _:
            return missing == len(column)  # objects don't say of what type none of them is


def _comes_back(column: pl.Series) -> bool:
    try:
        with panics_raised():
            back = _column(column.name, column.to_pandas(), "")
            return held(back.dtype) == held(column.dtype) and back.cast(column.dtype).equals(column, null_equal=True)
    except (SchemaViolation, pl.exceptions.PolarsError, Panic, ValueError, OverflowError):
        return False


def from_pandas(frame: Any, *, where: str) -> pl.DataFrame:
    """A polars DataFrame of a pandas one; numpy's NaN is a missing value, as pandas has it.

    Parameters:
        frame: the pandas DataFrame
        where: the asset, for messages

    Raises:
        WrongFrame: a named index, which would be lost, or two columns of one name
        SchemaViolation: a column whose values no one type holds as they are
    """
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise WrongFrame(f"{where} returned several columns named {shorten(twice)}", hint="give each its own name")
    lost = [str(name) for name in frame.index.names if name is not None and str(name) not in names]
    if lost:
        raise WrongFrame(
            f"{where} returned a pandas frame with {shorten(lost)} as its index, which tables don't have",
            hint="make it a column: .reset_index(); or let go of it: .reset_index(drop=True)",
        )
    columns = [_column(name, frame.iloc[:, at], where) for at, name in enumerate(names)]
    return pl.DataFrame(columns)


def _column(name: str, values: Any, where: str) -> pl.Series:
    import pandas as pd
    import pyarrow as pa

    if isinstance(values.dtype, pd.SparseDtype):
        values = values.sparse.to_dense()
    try:
        if values.dtype == object:
            return _of_objects(name, list(values), where)
        return from_arrow(pa.table({name: pa.array(values, from_pandas=True)}), where=where)[name]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise SchemaViolation(
            f"the column {name!r} of {where} is of pandas' type {values.dtype}, and can't be held: {error}",
            hint=f"give it one type that tables have: .astype({{{name!r}: ...}})",
        ) from error


def _of_objects(name: str, objects: list[Any], where: str) -> pl.Series:
    import pyarrow as pa

    plain = [None if _missing(one) else str(one) if isinstance(one, UUID) else one for one in objects]
    if all(one is None for one in plain):
        return pl.Series(name, plain, dtype=pl.String)
    found = from_arrow(pa.table({name: pa.array(plain)}), where=where)[name]
    with panics_raised():
        there = found.to_list()
    for one, kept in zip(plain, there, strict=True):
        if not _same(one, kept):
            raise SchemaViolation(
                f"the column {name!r} of {where} holds objects of several types: as {found.dtype}, {one!r} would be "
                f"{kept!r}",
                hint=f"give it one type that tables have: .astype({{{name!r}: ...}})",
            )
    return found


def _missing(one: object) -> bool:
    import pandas as pd

    return one is None or one is pd.NA or one is pd.NaT or (isinstance(one, float | Decimal) and math.isnan(one))


def _same(one: Any, kept: Any) -> bool:
    if kept is None:
        return one is None or one is not one or (isinstance(one, Mapping) and not one)
    if isinstance(kept, dict):
        return isinstance(one, Mapping) and all(_same(one.get(name), value) for name, value in kept.items())
    if isinstance(kept, list):
        return len(one) == len(kept) and all(_same(a, b) for a, b in zip(one, kept, strict=True))
    return bool(one == kept) or (one != one and kept != kept)
