"""Rows: a table on a terminal, CSV for programs: ``lakehouse show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.display.formatting import QUIET, count
from lakehouse.display.page import Page, columns

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.definitions.asset import Asset
    from lakehouse.io import Table
    from lakehouse.partitions import PartitionSet

_CELL = 40
_LEAST = 8


def table_of(frame: pl.DataFrame, *, more: bool, width: int) -> RenderableType:
    """Rows as a table that fits: columns that have no room are named below it.

    Parameters:
        frame: the rows
        more: whether there are more rows than these
        width: characters in a line
    """
    cells = {name: [cell(value) for value in frame[name].to_list()] for name in frame.columns}
    shown: list[str] = []
    used = 0
    for name in frame.columns:
        need = min(_CELL, max([len(name), *map(len, cells[name])])) + 2
        if shown and used + need > width + 2:
            break
        shown.append(name)
        used += need
    numeric = [name for name in shown if frame.schema[name].is_numeric()]
    table = columns(numbers=numeric)
    for name in shown:
        right = name in numeric
        table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis", max_width=_CELL)
    for row in zip(*(cells[name] for name in shown), strict=True):
        table.add_row(*(Text(value, QUIET if value == _NOTHING else "") for value in row))
    below = f"the first {count(frame.height, 'row')}; --limit shows more" if more else count(frame.height, "row")
    parts: list[RenderableType] = [table, Text(below, QUIET)]
    hidden = frame.columns[len(shown) :]
    if hidden:
        parts.append(Text(f"no room for {count(len(hidden), 'column')}: {', '.join(hidden)}", QUIET))
    return Group(*parts)


def csv(page: Page, frame: pl.LazyFrame) -> None:
    """Write rows as CSV, with a header, in pieces: a year of them need not fit into memory.

    Lists are written as their items with ``; `` between, what is nested deeper as JSON, bytes as base64.
    """
    import polars as pl

    from lakehouse.io.frames import batches

    plain = frame.with_columns(_flat(name, dtype) for name, dtype in frame.collect_schema().items())
    schema = plain.collect_schema()
    if not schema:
        return
    page.write(pl.DataFrame(schema=schema).write_csv())
    for batch in batches(plain):
        page.write(batch.write_csv(include_header=False))
        if page.broken:
            return


def _flat(name: str, dtype: pl.DataType) -> pl.Expr:
    import polars as pl

    from lakehouse.io.columns import column as exactly

    column = exactly(name)
    if isinstance(dtype, pl.List) and not dtype.inner.is_nested():
        return column.cast(pl.List(pl.String)).list.join("; ")
    if isinstance(dtype, pl.Struct):
        return column.struct.json_encode()
    if dtype.is_nested():
        return pl.struct(column).struct.json_encode().alias(name)
    return column.bin.encode("base64") if dtype == pl.Binary else column


def held_rows(table: Table, asset: Asset, held: PartitionSet, uris: Sequence[str]) -> pl.LazyFrame:
    """Rows that are held back, with the reasons of each, which stand first.

    Parameters:
        table: where the asset's rows live
        asset: the asset
        held: the partitions that they are of
        uris: the files that they lie in
    """
    import polars as pl

    from lakehouse.checks.gate import reasons_in
    from lakehouse.io import PARTITION
    from lakehouse.io.columns import columns as exactly
    from lakehouse.io.tokens import NOWHERE, within

    frame = pl.concat([table.quarantined(uri) for uri in uris], how="diagonal_relaxed")
    if PARTITION in (names := frame.collect_schema().names()):
        # A file keeps what one attempt held back, of which a later one may have published some.
        shown = within(held, pl.col(PARTITION)) | (pl.col(PARTITION) == NOWHERE)
        frame = frame.filter(shown) if asset.partitioned else frame
        names.remove(PARTITION)
    # The reasons first: there may be no room for what stands last.
    reasons = reasons_in(names)
    return frame.select(exactly(sorted(names, key=lambda name: name != reasons)))


_NOTHING = "-"


def cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return _NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return str(value).replace("\n", " ")
