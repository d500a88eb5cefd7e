"""The types that tables have: what a column is held as, and that no value is changed by it."""

from __future__ import annotations

from typing import Any

import polars as pl

from lakehouse.errors import Panic, SchemaViolation, panics_raised
from lakehouse.io.columns import column

_WIDER: dict[type[pl.DataType], type[pl.DataType]] = {
    pl.UInt8: pl.Int16,
    pl.UInt16: pl.Int32,
    pl.UInt32: pl.Int64,
    pl.UInt64: pl.Int64,
}

_WAYS_OUT: dict[type[pl.DataType], str] = {
    pl.Duration: ".dt.total_microseconds() makes whole numbers of it",
    pl.Time: ".dt.to_string() makes text of it, .cast(pl.Int64) nanoseconds since midnight",
    pl.Null: "it has no value, so say of what type it is: .cast(pl.String)",
    pl.Object: "give it one type, for example .cast(pl.String)",
    pl.Int128: ".cast(pl.Decimal(38, 0)) holds up to 38 digits, .cast(pl.String) all",
    pl.UInt128: ".cast(pl.Decimal(38, 0)) holds up to 38 digits, .cast(pl.String) all",
    pl.UInt64: ".cast(pl.Decimal(20, 0)) or .cast(pl.String) holds it",
    pl.Float16: ".cast(pl.Float32) holds it",
    pl.Datetime: "say what becomes of it: .dt.cast_time_unit('us') cuts to microseconds, .dt.epoch('ns') makes numbers",
}


def held(dtype: Any) -> pl.DataType | None:
    """The type that a column of this one is held as in a table; None: there is none."""
    match dtype:
        case pl.List() | pl.Array():
            inner = held(dtype.inner)
            return None if inner is None else pl.List(inner)
        case pl.Struct():
            fields = {field.name: held(field.dtype) for field in dtype.fields}
            return None if not fields or None in fields.values() else pl.Struct(fields)  # type: ignore[arg-type]
        case pl.Map():
            sides = [held(dtype.key), held(dtype.value)]
            return dtype if sides == [dtype.key, dtype.value] else None
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.Datetime():
            return pl.Datetime("us", dtype.time_zone)
        case pl.Time() | pl.Duration() | pl.Null() | pl.Object() | pl.Int128() | pl.UInt128() | pl.Float16():
            return None
        case pl.BaseExtension():
            return None
        case _:
            wider = _WIDER.get(type(dtype))
            return dtype if wider is None else wider()


def as_stored(dtype: Any) -> Any:
    """The type that a column of a type that tables have is read back as: moments with a zone are UTC's."""
    match dtype:
        case pl.List():
            return pl.List(as_stored(dtype.inner))
        case pl.Struct():
            return pl.Struct({field.name: as_stored(field.dtype) for field in dtype.fields})
        case pl.Map():
            return pl.Map(as_stored(dtype.key), as_stored(dtype.value))
        case pl.Datetime():
            return pl.Datetime("us", dtype.time_zone and "UTC")
        case _:
            return dtype


def storable(frame: pl.LazyFrame, *, where: str) -> pl.LazyFrame:
    """Cast what tables have no type for to the nearest that holds it; [lakehouse.io.frames.restore][] undoes it.

    Columns of which some values may not fit are left to [exact][], which looks at the values.

    Parameters:
        frame: what is to be stored
        where: the table, for messages

    Raises:
        SchemaViolation: a column of a type that can't be held

    Examples:
        >>> storable(pl.LazyFrame({"a": [1]}, schema={"a": pl.UInt32}), where="silver.x").collect_schema()["a"]
        Int64
    """
    casts = {}
    for name, dtype in frame.collect_schema().items():
        to = held(dtype)
        if to is None:
            raise SchemaViolation(
                f"the column {name!r} for {where} is of type {dtype}, which Delta tables can't hold",
                hint=_WAYS_OUT.get(type(dtype), "cast it, for example to a string or an integer"),
            )
        if to != dtype and not _narrower(dtype):
            casts[name] = to
    return frame.with_columns(column(name).cast(to) for name, to in casts.items()) if casts else frame


def exact(rows: pl.DataFrame, *, where: str) -> pl.DataFrame:
    """The same rows with the types that tables have, where no value is changed by it.

    Parameters:
        rows: some rows of what [storable][] returned
        where: the table, for messages

    Raises:
        SchemaViolation: a value that the type can't hold as it is

    Examples:
        >>> exact(pl.DataFrame({"a": [1]}, schema={"a": pl.UInt64}), where="silver.x")["a"].dtype
        Int64
    """
    return rows.with_columns(_exact(column, where) for column in rows.get_columns() if _narrower(column.dtype))


def _exact(column: pl.Series, where: str) -> pl.Series:
    to = held(column.dtype)
    assert to is not None
    cast = column.cast(to, strict=False)
    back = cast.cast(column.dtype, strict=False)
    if back.equals(column, null_equal=True):
        return cast
    raise SchemaViolation(
        f"the column {column.name!r} for {where} is of type {column.dtype}{_example(column, back)}, "
        f"which Delta tables can't hold as it is, but only as {to}",
        hint=_WAYS_OUT.get(type(_narrowest(column.dtype))),
    )


def _example(column: pl.Series, back: pl.Series) -> str:
    """The first value that would be another."""
    if column.dtype.is_nested():
        return ""
    try:
        with panics_raised():
            value = column.filter(back.ne_missing(column)).head(1).cast(pl.String).item()
    except (pl.exceptions.PolarsError, Panic):
        return ""  # so far away that polars can't say it
    return f" and holds {value}"


def _narrower(dtype: Any) -> bool:
    """Whether some values of a type don't fit into the one that it is held as."""
    return _narrowest(dtype) is not None


def _narrowest(dtype: Any) -> Any:
    """The innermost type of which some values don't fit; None: all do."""
    match dtype:
        case pl.List() | pl.Array():
            return _narrowest(dtype.inner)
        case pl.Struct():
            return next((found for field in dtype.fields if (found := _narrowest(field.dtype)) is not None), None)
        case pl.UInt64():
            return dtype
        case pl.Datetime():
            return dtype if dtype.time_unit != "us" else None
        case _:
            return None
