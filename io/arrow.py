"""From Arrow to polars, with every value as it is."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from lakehouse.errors import SchemaViolation


def from_arrow(table: Any, *, where: str) -> pl.DataFrame:
    """A polars DataFrame of an Arrow table.

    UUIDs and JSON are text. Timestamps of a zone without a name are in UTC.

    Parameters:
        table: the Arrow table
        where: the asset, for messages

    Raises:
        SchemaViolation: a column of a type that polars has no word for, or takes for another

    Examples:
        >>> import pyarrow as pa
        >>> from_arrow(pa.table({"n": [1, 2]}), where="silver.x")["n"].to_list()
        [1, 2]
    """
    import pyarrow as pa

    for at, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if _unknown(column.type):
            raise SchemaViolation(
                f"the column {name!r} of {where} is of Arrow's type {column.type}, which can't be held",
                hint="cast it, for example to a string or an integer",
            )
        try:
            plain = _plain(column)
        except pa.ArrowInvalid as error:
            raise SchemaViolation(
                f"the column {name!r} of {where} is of Arrow's type {column.type}, and can't be held: {error}",
                hint="cast it, for example to a string or an integer",
            ) from error
        if plain is not column:
            table = table.set_column(at, name, plain)
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def _plain(column: Any) -> Any:
    """A column with a type that polars takes as it is."""
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.UuidType):
        return pa.array([None if one is None else str(one) for one in column.to_pylist()], pa.string())
    if isinstance(kind, pa.JsonType):
        return column.cast(kind.storage_type)
    if isinstance(kind, pa.Bool8Type):
        return column.cast(pa.bool_())
    if pa.types.is_timestamp(kind):
        # Polars makes seconds milliseconds, and doesn't look whether they fit.
        to = pa.timestamp("ms" if kind.unit == "s" else kind.unit, _zone(kind.tz))
        return column if to == kind else column.cast(to)
    return column


def _zone(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"


def _unknown(kind: Any, *, inner: bool = False) -> bool:
    """Whether polars has no word for a type, or would take it for another."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return inner or not isinstance(kind, pa.UuidType | pa.JsonType | pa.Bool8Type)
    known = pa.types
    if known.is_union(kind) or known.is_interval(kind) or known.is_run_end_encoded(kind):
        return True
    if known.is_dictionary(kind):
        return _unknown(kind.value_type, inner=True)
    if known.is_map(kind):
        return _unknown(kind.key_type, inner=True) or _unknown(kind.item_type, inner=True)
    if known.is_nested(kind):
        views = known.is_list_view(kind) or known.is_large_list_view(kind)
        return views or any(_unknown(kind.field(at).type, inner=True) for at in range(kind.num_fields))
    if known.is_decimal(kind):
        return bool(known.is_decimal256(kind) or kind.scale < 0)
    return bool(inner and known.is_timestamp(kind) and _zone(kind.tz) != kind.tz)
