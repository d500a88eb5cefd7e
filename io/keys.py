"""Which partition a row belongs to: from a column's value, whatever its type, to the partition's token."""

from __future__ import annotations

from contextlib import suppress

import polars as pl

from lakehouse.errors import PartitionError, WrongFrame
from lakehouse.partitions import (
    Daily,
    Hourly,
    Monthly,
    Partitions,
    PartitionSet,
    Static,
    TimePartitions,
    Unpartitioned,
)

NOWHERE = "~nowhere"
"""The token of rows that belong to no partition: no key's token begins with a tilde and a letter past f."""


def token(partitions: Partitions, dtype: pl.DataType, *, where: str) -> pl.Expr:
    """The expression that gives each row's partition token; [NOWHERE][] where there is none.

    Parameters:
        partitions: how the asset is cut
        dtype: the type of its partition column
        where: the asset, for messages

    Raises:
        WrongFrame: a column of that type can't say which partition a row is in

    Examples:
        >>> daily = Daily("2013-01-01", column="at", timezone="America/New_York")
        >>> at = pl.Series("at", ["2013-01-02T03:30:00Z"]).str.to_datetime(time_zone="UTC")
        >>> at.to_frame().select(token(daily, at.dtype, where="silver.x")).item()
        '2013-01-01'
    """
    if isinstance(partitions, Unpartitioned):
        return pl.lit("")
    column = pl.col(partitions.column or "")
    if isinstance(partitions, Static):
        found = _static(partitions, column, dtype)
    elif isinstance(partitions, TimePartitions):
        found = _time(partitions, column, dtype)
    else:
        found = None
    if found is None:
        raise WrongFrame(
            f"{where}: the partition column {partitions.column!r} is of type {dtype}, "
            f"which can't be read as {partitions.kind} partitions",
            hint=_allowed(partitions),
        )
    return found.fill_null(NOWHERE)


def _static(partitions: Static, column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Date)):
        return None
    text = column.cast(pl.String)
    tokens = [partitions.token(i) for i in range(len(partitions.keys))]
    return text.replace_strict(list(partitions.keys), tokens, default=None, return_dtype=pl.String)


def _time(partitions: TimePartitions, column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    match partitions:
        case Daily():
            form = "%Y-%m-%d"
        case Monthly():
            form = "%Y-%m"
        case Hourly():
            form = "%Y-%m-%dT%H"
        case _:
            return None
    if dtype == pl.String:
        return _text(partitions, column)
    if dtype == pl.Date:
        return None if isinstance(partitions, Hourly) else column.dt.strftime(form)
    if isinstance(dtype, pl.Datetime):
        zone = "UTC" if isinstance(partitions, Hourly) else partitions.timezone
        if dtype.time_zone is not None:
            return column.dt.convert_time_zone(zone).dt.strftime(form)
        if isinstance(partitions, Hourly) and partitions.timezone != "UTC":
            return None  # a wall time alone doesn't say which of two hours it is
        return column.dt.strftime(form)
    return None


def _text(partitions: TimePartitions, column: pl.Expr) -> pl.Expr | None:
    """Text is taken for the key itself, in its one right form."""
    match partitions:
        case Daily():
            return pl.when(column.str.contains(r"^\d{4}-\d{2}-\d{2}$")).then(column)
        case Monthly():
            return pl.when(column.str.contains(r"^\d{4}-\d{2}$")).then(column)
        case Hourly():
            if partitions.timezone != "UTC":
                return None
            return pl.when(column.str.contains(r"^\d{4}-\d{2}-\d{2}T\d{2}:00$")).then(column.str.head(13))
        case _:
            return None


def _allowed(partitions: Partitions) -> str:
    match partitions:
        case Static():
            return "a string, integer, boolean or category column holds static keys"
        case Hourly() if partitions.timezone != "UTC":
            return "hours of a time zone other than UTC need a timestamp with a time zone"
        case Hourly():
            return "a timestamp, or the key as text"
        case Daily() | Monthly():
            return "a date, a timestamp, or the key as text"
        case _:
            return "see lakehouse.partitions"


def spans(partitions: PartitionSet) -> list[tuple[str, str]]:
    """First and last token of each interval; one by one where tokens between two aren't known from the two."""
    definition = partitions.partitions
    if definition.ordered:
        return [(definition.token(low), definition.token(high - 1)) for low, high in partitions.spans]
    return sorted((definition.token(o), definition.token(o)) for o in partitions.ordinals())


def tokens(partitions: PartitionSet) -> list[str]:
    """Every token, in the order of the partitions."""
    return [partitions.partitions.token(o) for o in partitions.ordinals()]


def within(partitions: PartitionSet, column: pl.Expr) -> pl.Expr:
    """True for the tokens that lie in the set."""
    pairs = spans(partitions)
    if all(first == last for first, last in pairs):
        return column.is_in([first for first, _ in pairs])
    return pl.any_horizontal(
        [column.is_between(pl.lit(first), pl.lit(last)) for first, last in pairs] or [pl.lit(False)]
    )


def from_tokens(partitions: Partitions, found: list[str]) -> PartitionSet:
    """The set that tokens name; tokens that no partition has are left out."""
    ordinals = []
    if isinstance(partitions, Static):
        index = {partitions.token(i): i for i in range(len(partitions.keys))}
        ordinals = [index[t] for t in found if t in index]
    elif isinstance(partitions, TimePartitions):
        for each in found:
            with suppress(PartitionError):
                ordinals.append(partitions.parse(f"{each}:00Z" if isinstance(partitions, Hourly) else each))
    elif "" in found:
        ordinals = [0]
    return PartitionSet(partitions, tuple((o, o + 1) for o in ordinals))


__all__ = ["NOWHERE", "from_tokens", "spans", "token", "tokens", "within"]
