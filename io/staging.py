"""From rows to Parquet files, in bounded memory: what a candidate is staged as, and how its files are told of.

Rows are taken as they come and held until there are enough of them; then they are sorted by partition and written. So
small partitions share files and large ones have their own, however many partitions there are and in whatever order
their rows come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from io import BytesIO
from time import time
from typing import Any, Final, final
from uuid import uuid4

import polars as pl

from lakehouse.io.columns import columns
from lakehouse.io.storage import Location
from lakehouse.io.tables import PARTITION

SHARED: Final = 1 << 20
"""Bytes of a file that partitions share, at most. What replaces one of them writes the others once more."""

SHARED_ROWS: Final = 20_000
"""Rows of such a file, at most: of tiny partitions a file of so many bytes would hold too many."""

_HELD = 128 << 20
"""Bytes of rows in memory that are held before they are written."""

_SAMPLE = 10_000
"""Rows that are packed to see how well the others may be."""

_ROW_GROUP = 122_880
_COMPRESSION: Final = "snappy"
_WRITERS = 8
_INDEXED = 32
"""Columns whose bounds the log has, as Delta has it."""

_BOUND = 64
"""Characters of a text that a bound has, at most."""

NO_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"


class Cut(Enum):
    """How rows are divided into files."""

    WHOLE = "whole"
    """As they come: the table has no partitions."""
    APART = "apart"
    """A folder for each partition, whose name tells which it is: tables as they were made once."""
    SHARED = "shared"
    """By the column of the partition, which is stored: small partitions share files, large ones have their own."""


@final
@dataclass(frozen=True)
class StagedFile:
    """A file of rows, and what a table's log has to tell of it.

    Parameters:
        path: within the table
        size: in bytes
        rows: how many of each partition, by token
        stats: bounds of its columns, as the log has them
        written: when, in milliseconds
    """

    path: str
    size: int
    rows: Mapping[str | None, int]
    stats: str = field(repr=False)
    written: int


def write_files(
    batches: Iterable[pl.DataFrame],
    table: Location,
    folder: str,
    cut: Cut,
    *,
    whole: bool = False,
    without: Callable[[Collection[str | None]], Sequence[str]] = lambda tokens: (),
) -> list[StagedFile]:
    """Write rows to files, in an order that keeps the rows of a partition in theirs.

    Parameters:
        batches: the rows, as they come; with the column [PARTITION][], unless they are of a table that has none
        table: where the table lies
        folder: where in it
        cut: how they are divided into files
        whole: whether small partitions are put into one file, however many bytes that are
        without: the columns that a file of some partitions, by token, does without

    Returns:
        the files, none of which is empty
    """
    found: list[StagedFile] = []
    held: list[pl.DataFrame] = []
    size = 0
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="lakehouse-files") as pool:
        store = table.store()

        def write(piece: _Piece) -> StagedFile:
            name, rows = f"{uuid4().hex}.parquet", _without(piece.rows, without(piece.tokens))
            if cut is Cut.APART:
                (token,) = piece.tokens
                name, rows = f"{PARTITION}={NO_PARTITION if token is None else token}/{name}", rows.drop(PARTITION)
            packed = BytesIO()
            rows.write_parquet(packed, compression=_COMPRESSION, row_group_size=_ROW_GROUP)
            path = f"{folder}/{name}"
            store.put(path, packed.getbuffer())
            return StagedFile(path, packed.getbuffer().nbytes, piece.tokens, stats_of(rows), round(time() * 1000))

        for batch in batches:
            if batch.height:
                held.append(batch)
                size += int(batch.estimated_size())
            if size < _HELD:
                continue
            pieces = list(_pieces(held, cut, whole))
            held, size = [], 0
            if cut is not Cut.WHOLE and len(pieces) > 1 and pieces[-1].rows.estimated_size() < _HELD // 2:
                # Where rows come in order, there are more to come of the last partition.
                rest = pieces.pop().rows
                # A copy: a slice would keep all the others in memory.
                held = [rest.select(pl.all().gather(pl.int_range(rest.height)))]
                size = int(held[0].estimated_size())
            found += pool.map(write, pieces)
            del pieces
        if held:
            found += pool.map(write, _pieces(held, cut, whole))
    return found


def _without(rows: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    return rows.select(columns(name for name in rows.columns if name not in names)) if names else rows


@dataclass(frozen=True)
class _Piece:
    rows: pl.DataFrame
    tokens: Mapping[str | None, int]


def _pieces(held: Sequence[pl.DataFrame], cut: Cut, whole: bool) -> Iterator[_Piece]:
    """Rows as they are put into files."""
    rows = pl.concat(held)
    if cut is Cut.WHOLE:
        yield _Piece(rows, {"": rows.height})
        return
    if not rows[PARTITION].is_sorted():
        rows = rows.sort(PARTITION, maintain_order=True)
    size = rows.estimated_size()
    each = size / rows.height
    room = SHARED_ROWS if size <= SHARED else min(SHARED_ROWS, _unpacked(rows) / each)
    if whole:
        room = 2 * rows.height
    begin = end = 0
    tokens: dict[str | None, int] = {}
    for count, token in rows[PARTITION].rle().struct.unnest().iter_rows():
        # Rows that lie nowhere are never published, so they share no file.
        large = cut is Cut.APART or token is None or count > room / 2
        if tokens and (large or end + count - begin > room):
            yield _Piece(rows[begin:end], tokens)
            begin, tokens = end, {}
        end += count
        tokens[token] = count
        if large:
            yield _Piece(rows[begin:end], tokens)
            begin, tokens = end, {}
    if tokens:
        yield _Piece(rows[begin:end], tokens)


def _unpacked(rows: pl.DataFrame) -> float:
    """Bytes in memory of rows that are a shared file when they are packed, as far as some of them tell."""
    sample, packed = rows.head(_SAMPLE), BytesIO()
    sample.write_parquet(packed, compression=_COMPRESSION)
    return SHARED * sample.estimated_size() / packed.tell()


# ── what the log has of a file ────────────────────────────────────────────────────────────


def stats_of(rows: pl.DataFrame) -> str:
    """Rows, nulls and bounds of columns, as a table's log has them: bounds hold, and may be wider than need be.

    Columns of which they can't be told are left out; nobody may conclude anything of them.

    Examples:
        >>> stats_of(pl.DataFrame({"n": [1, None, 3]}))
        '{"numRecords": 3, "minValues": {"n": 1}, "maxValues": {"n": 3}, "nullCount": {"n": 1}}'
    """
    plain = [name for name, dtype in list(rows.schema.items())[:_INDEXED] if not dtype.is_nested()]
    ranked = [name for name in plain if _bounded(rows.schema[name])]
    nulls = rows.select(columns(plain)).null_count().row(0, named=True) if plain else {}
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in ranked:
        column = rows[name]
        if column.dtype.is_float() and not column.is_finite().all():
            continue  # JSON has no word for them, and readers don't agree on where NaN stands
        try:
            least, most = column.min(), column.max()
        except (OverflowError, ValueError):
            continue  # a date that Python has no word for
        bounds = _below(least, name), _above(most, name)
        low |= {name: bounds[0]} if bounds[0] is not None else {}
        high |= {name: bounds[1]} if bounds[1] is not None else {}
    return json.dumps({"numRecords": rows.height, "minValues": low, "maxValues": high, "nullCount": nulls})


def _bounded(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype.is_float() or dtype in (pl.String, pl.Date) or isinstance(dtype, pl.Datetime)


def _below(value: Any, name: str) -> Any:
    match value:
        case str():
            return value if name == PARTITION else value[:_BOUND]
        case datetime():
            return _moment(value)
        case date():
            return value.isoformat()
        case _:
            return value


def _above(value: Any, name: str) -> Any:
    match value:
        case str():
            return value if name == PARTITION or len(value) <= _BOUND else None
        case datetime():
            try:
                # Milliseconds are all that the log has.
                return _moment(value + timedelta(microseconds=-value.microsecond % 1000))
            except OverflowError:
                return None
        case _:
            return _below(value, name)


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(sep=" ", timespec="milliseconds")
    return f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
