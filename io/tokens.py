"""Which partition a row belongs to: from its columns' values, whatever their types, to the partition's token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import polars as pl

from lakehouse.errors import PartitionError, WrongFrame
from lakehouse.io.columns import column
from lakehouse.partitions import (
    WEEKDAYS,
    Cron,
    Daily,
    Dynamic,
    Every,
    Hourly,
    Monthly,
    Multi,
    Partitions,
    PartitionSet,
    Static,
    TimePartitions,
    Unpartitioned,
    Weekly,
)
from lakehouse.partitions.clocks import days_begun_twice

NOWHERE = "~nowhere"
"""The token of rows that belong to no partition: no key's token begins with a tilde and a letter past f."""

_MANY = 100
"""From so many intervals on, it is quicker to look tokens up than to compare them with each interval."""
_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Date)


def token(partitions: Partitions, dtypes: Mapping[str, pl.DataType] | pl.DataType, *, where: str) -> pl.Expr:
    """The expression that gives each row's partition token; [NOWHERE][] where there is none.

    Parameters:
        partitions: how the asset is partitioned
        dtypes: the types of the columns, among them the partition columns; where there is one, its type will do
        where: the asset, for messages

    Raises:
        WrongFrame: a column that isn't there, or whose type can't say which partition a row is in

    Examples:
        >>> daily = Daily("2013-01-01", column="at", timezone="America/New_York")
        >>> at = pl.Series("at", ["2013-01-02T03:30:00Z"]).str.to_datetime(time_zone="UTC")
        >>> at.to_frame().select(token(daily, at.dtype, where="silver.x")).item()
        '2013-01-01'
    """
    if isinstance(partitions, Unpartitioned):
        return pl.lit("")
    if isinstance(partitions, Multi):
        sides = [token(field.partitions, dtypes, where=where) for field in partitions.fields]
        joined = pl.concat_str(sides, separator=".")
        return pl.when(pl.any_horizontal([side == NOWHERE for side in sides])).then(pl.lit(NOWHERE)).otherwise(joined)
    name = partitions.column or ""
    if not isinstance(dtypes, Mapping):
        dtype = dtypes
    elif name in dtypes:
        dtype = dtypes[name]
    else:
        raise WrongFrame(f"{where}: the partition column {name!r} is not there", hint=f"keep {name!r} in the frame")
    found = _found(partitions, column(name), dtype)
    if found is None:
        raise WrongFrame(
            f"{where}: the partition column {name!r} is of type {dtype}, "
            f"which can't be read as {partitions.kind} partitions",
            hint=_allowed(partitions),
        )
    return found.fill_null(NOWHERE)


def _found(partitions: Partitions, column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if isinstance(partitions, TimePartitions):
        if dtype == pl.String:
            return _text(partitions, column)
        if dtype == pl.Date:
            return _date(partitions, column)
        return _moment(partitions, column, dtype) if isinstance(dtype, pl.Datetime) else None
    if not (dtype.is_integer() or dtype in _TEXTS):
        return None
    text = column if dtype.is_integer() else column.cast(pl.String)
    if isinstance(partitions, Static):
        known = {key: partitions.token(number) for number, key in enumerate(partitions.keys)}
        return _each_token(text, lambda value: known.get(str(value)))
    return _each(text, lambda value: partitions.parse(str(value)), partitions)


def _text(partitions: TimePartitions, column: pl.Expr) -> pl.Expr | None:
    """Text is taken for the key itself, in its one right form."""
    match partitions:
        case Daily():
            return pl.when(column.str.contains(r"^\d{4}-\d{2}-\d{2}$")).then(column)
        case Monthly():
            return pl.when(column.str.contains(r"^\d{4}-\d{2}$")).then(column)
        case Hourly() if partitions.timezone == "UTC":
            return pl.when(column.str.contains(r"^\d{4}-\d{2}-\d{2}T\d{2}:00$")).then(column.str.head(13))
        case Hourly():
            return None
        case _:
            return _each(column, partitions.parse, partitions, exact=True)


def _date(partitions: TimePartitions, column: pl.Expr) -> pl.Expr | None:
    match partitions:
        case Daily():
            return column.dt.strftime("%Y-%m-%d")
        case Weekly():
            days = column.cast(pl.Int32)
            into = (days + WEEKDAYS.index("thursday") - WEEKDAYS.index(partitions.day)) % 7  # day 0 was a Thursday
            return (days - into).cast(pl.Date).dt.strftime("%Y-%m-%d")
        case Monthly():
            return column.dt.strftime("%Y-%m")
        case _:
            return None


def _moment(partitions: TimePartitions, column: pl.Expr, dtype: pl.Datetime) -> pl.Expr | None:
    zoned = dtype.time_zone is not None
    match partitions:
        case Hourly() | Every():
            if not zoned and partitions.timezone != "UTC":
                return None  # a wall time alone doesn't say which of two hours it is
            real = column.dt.convert_time_zone("UTC") if zoned else column
            if partitions.shifted:
                # By the least that any begins apart, so that few different times are left to look at one by one.
                few = real.dt.truncate(f"{partitions.ticks.grain(partitions.low)}s")
                return _each(few, partitions.ordinal_at, partitions)  # type: ignore[arg-type]
            if isinstance(partitions, Hourly):
                return real.dt.strftime("%Y-%m-%dT%H")
            return real.dt.truncate(f"{partitions.minutes}m").dt.strftime("%Y-%m-%dT%H-%M")
        case Cron():
            # By the minute, so that few different times are left to look at one by one.
            minutes = column.dt.convert_time_zone("UTC") if zoned else column
            return _each(minutes.dt.truncate("1m"), partitions.ordinal_of, partitions)
        case _:
            return _date(partitions, _day(partitions, column) if zoned else column.dt.date())


def _day(partitions: TimePartitions, column: pl.Expr) -> pl.Expr:
    """The day that had begun, which is the one that clocks show, but where they went back to the day before it."""
    shown = column.dt.convert_time_zone(partitions.timezone).dt.date()
    real = column.dt.convert_time_zone("UTC")
    for since, until, day in days_begun_twice(partitions.timezone):
        shown = pl.when(real.is_between(pl.lit(since), pl.lit(until), closed="left")).then(day).otherwise(shown)
    return shown


def _each(column: pl.Expr, ordinal: Callable[[object], int], partitions: Partitions, *, exact: bool = False) -> pl.Expr:
    """Ask of each different value which partition it is in; null where it is in none.

    Parameters:
        column: the values
        ordinal: gives the ordinal of a value, or raises PartitionError
        partitions: how the asset is partitioned
        exact: whether the value has to be the key itself
    """

    def of(value: object) -> str | None:
        with suppress(PartitionError):
            found = ordinal(value)
            if not exact or partitions.key(found) == value:
                return partitions.token(found)
        return None

    return _each_token(column, of)


def _each_token(column: pl.Expr, of: Callable[[object], str | None]) -> pl.Expr:
    """Ask for the token of each different value; null where there is none."""

    def each(values: pl.Series) -> pl.Series:
        # By a name of ours: polars takes that of a series for a pattern, if it looks like one.
        name, values = values.name, values.alias("value")
        different = values.drop_nulls().unique()
        tokens = pl.Series([of(value) for value in different], dtype=pl.String)
        if len(different) == 1 and not values.null_count():  # as where rows come in order
            return tokens.new_from_index(0, len(values)).alias(name)
        return values.replace_strict(different, tokens, default=None, return_dtype=pl.String).alias(name)

    return column.map_batches(each, return_dtype=pl.String, is_elementwise=True)


def _allowed(partitions: Partitions) -> str:
    match partitions:
        case Static() | Dynamic():
            return f"a string, integer, boolean or category column holds {partitions.kind} keys"
        case Hourly() if partitions.timezone != "UTC":
            return "hours of a time zone other than UTC need a timestamp with a time zone"
        case Every() if partitions.timezone != "UTC":
            return "times of a time zone other than UTC need a timestamp with a time zone, or the key as text"
        case Hourly() | Every() | Cron():
            return "a timestamp, or the key as text"
        case Daily() | Weekly() | Monthly():
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


def token_of(partitions: Partitions, key: str) -> str:
    """The token of a key."""
    return partitions.token(partitions.parse(key))


def within(partitions: PartitionSet, column: pl.Expr) -> pl.Expr:
    """True for the tokens that lie in the set."""
    pairs = spans(partitions)
    if len(pairs) >= _MANY or all(first == last for first, last in pairs):
        return column.is_in(tokens(partitions))
    return pl.any_horizontal(
        [column.is_between(pl.lit(first), pl.lit(last)) for first, last in pairs] or [pl.lit(False)]
    )


def from_tokens(partitions: Partitions, found: list[str]) -> PartitionSet:
    """The set that tokens name; tokens that no partition has are left out."""
    ordinals = []
    for each in found:
        with suppress(PartitionError):
            ordinals.append(partitions.from_token(each))
    return PartitionSet(partitions, tuple((o, o + 1) for o in ordinals))


def bounded(partitions: Partitions, found: Collection[str]) -> PartitionSet | None:
    """The partitions that are stored and lie within the definition's bounds; None: all that is stored does.

    Parameters:
        partitions: how the asset is partitioned
        found: what is stored, by token; keys that are not (any more) listed or registered lie out of no bounds

    Examples:
        >>> stored = ["2012-12-31", "2013-01-01", "2013-01-04"]
        >>> str(bounded(Daily("2013-01-02", end="2013-01-05"), stored)), bounded(Daily("2012-01-01"), stored)
        ('2013-01-04', None)
    """
    if isinstance(partitions, TimePartitions) and found:
        # In order, the first and the last tell of all between them.
        ends = from_tokens(partitions, [min(found), max(found)])
        if partitions.possible(ends) == ends:
            return None
    stored = from_tokens(partitions, list(found))
    inside = partitions.possible(stored)
    return None if inside == stored else inside


def outside(partitions: Partitions, found: Collection[str]) -> list[str]:
    """What is stored, by token, and is no partition of the definition (any more), in words.

    Examples:
        >>> outside(Daily("2013-01-02", end="2013-01-05"), ["2012-12-31", "2013-01-01", "2013-01-04"])
        ['2012-12-31...2013-01-01']
        >>> outside(Static(["EWR"]), ["EWR", "JFK"])
        ['JFK']
    """
    inside = bounded(partitions, found)
    if inside is None and isinstance(partitions, TimePartitions):
        return []
    stored = from_tokens(partitions, list(found))
    unknown = set(found) - set(tokens(stored))
    return [*map(str, (stored - (stored if inside is None else inside)).ranges), *sorted(unknown)]


__all__ = ["NOWHERE", "bounded", "from_tokens", "outside", "spans", "token", "tokens", "within"]
