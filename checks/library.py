"""The checks that people declare.

A [Check][] is a handful of polars expressions, so that all checks of an asset are measured together in one pass over
the staged rows. What can't be said as an expression is a [FrameCheck][]: a function that returns the rows that fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final, overload

import polars as pl

from lakehouse.checks.rowwise import is_rowwise
from lakehouse.definitions.code_version import digest
from lakehouse.definitions.former import Dump, former_fingerprint
from lakehouse.errors import DefinitionError, count
from lakehouse.io import PARTITION
from lakehouse.io.columns import columns as exactly

FrameFunction = Callable[[pl.LazyFrame], pl.LazyFrame]


@final
@dataclass(frozen=True, kw_only=True)
class Check:
    """A check that is said in expressions. Built by [row_count][], [unique][] and their like.

    Parameters:
        name: what it is called in results; different for each check of an asset
        wants: what has to be true, in words
        measures: what is measured in each partition: aggregations, by name
        fails: true where a partition fails, over the measures (and ``theirs`` of an upstream)
        rows: how many rows fail, over the measures
        failing: true for the rows that fail, where the check looks at rows
        upstream: the input whose partitions are measured too
        theirs: what is measured there
        blocking: whether a failure holds the partition back
        given: what it was made with; empty: its expressions say it
        key: the columns whose values must not repeat, where that is what it measures
    """

    name: str
    wants: str
    measures: Mapping[str, pl.Expr] = field(repr=False)
    fails: pl.Expr = field(repr=False)
    rows: pl.Expr | None = field(default=None, repr=False)
    failing: pl.Expr | None = field(default=None, repr=False)
    upstream: str | None = None
    theirs: pl.Expr | None = field(default=None, repr=False)
    blocking: bool = True
    given: tuple[Any, ...] = field(default=(), repr=False)
    key: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def rowwise(self) -> bool:
        """Whether all that it measures is how many rows fail, each by itself."""
        return self.failing is not None and set(self.measures) == {"failing"} and is_rowwise(self.failing)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the asset that it looks at, as far as its expressions name them."""
        return _named_in(*self.measures.values(), *([self.failing] if self.failing is not None else []))

    @cached_property
    def upstream_columns(self) -> tuple[str, ...]:
        """The columns of the upstream that it looks at."""
        return () if self.theirs is None else _named_in(self.theirs)

    @property
    def parts(self) -> tuple[Any, ...]:
        """What it is made of: another check, if one of them is another."""
        return (self.name, self.blocking, self.upstream, self.given or self._expressions)

    def former_fingerprint(self, _: Dump) -> str:
        """What was recorded for it formerly."""
        given = repr(self.given[2]) if self.given[:1] == ("accepted_values",) else ""
        parts = (self.name, self.blocking, self.upstream, given, *self.measures)
        return digest(*map(str, parts), *map(str, self._expressions[1:]))

    @property
    def _expressions(self) -> tuple[Any, ...]:
        return ([*self.measures], *self.measures.values(), self.fails, self.rows, self.failing, self.theirs)


@final
@dataclass(frozen=True, kw_only=True)
class FrameCheck:
    """A check that is a function: from an asset's staged rows to those that fail. Built by [custom][].

    Parameters:
        name: what it is called in results
        function: gets the rows; returns the failing ones, or rows that bear the failing partitions' column
        wants: what has to be true, in words
        blocking: whether a failure holds the partition back
        found: says what is wrong with the failing rows; None: how many there are says it
    """

    name: str
    function: FrameFunction = field(repr=False)
    wants: str = ""
    blocking: bool = True
    found: Callable[[pl.DataFrame], str] | None = field(default=None, repr=False)

    @property
    def parts(self) -> tuple[Any, ...]:
        """What it is made of: another check, if one of them is another."""
        return (self.name, self.blocking, self.function)

    def former_fingerprint(self, dump: Dump) -> str:
        """What was recorded for it formerly."""
        return digest(self.name, str(self.blocking), former_fingerprint(self.function, dump))

    def __call__(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        return self.function(frame)


def _named_in(*expressions: pl.Expr) -> tuple[str, ...]:
    """The columns that expressions name. Those that they only describe (a selector, a wildcard) aren't known yet."""
    found = {name: None for one in expressions if not one.meta.has_multiple_outputs() for name in one.meta.root_names()}
    return tuple(name for name in found if name != PARTITION)


RowCheck = Check | FrameCheck
"""What looks at rows, and may be declared of any asset."""


def row_count(*, min: int = 1, max: int | None = None, blocking: bool = True, name: str | None = None) -> Check:
    """Each partition has between ``min`` and ``max`` rows, both included.

    Parameters:
        min: rows at least
        max: rows at most; None: no bound
        blocking: whether a failure holds the partition back
        name: another name for results

    Raises:
        DefinitionError: bounds that nothing fits

    Examples:
        >>> row_count(min=10).wants
        'at least 10 rows'
    """
    if min < 0 or (max is not None and max < min):
        raise DefinitionError(f"row_count(min={min}, max={max}) can't hold for any table")
    rows = pl.col("count")
    return Check(
        name=name or "row_count",
        wants=f"at least {count(min, 'row')}" if max is None else f"{min} to {max} rows",
        measures={"count": pl.len()},
        fails=(rows < min) if max is None else ~rows.is_between(min, max),
        blocking=blocking,
        given=("row_count", min, max),
    )


def unique(*columns: str, blocking: bool = True, name: str | None = None) -> Check:
    """No two rows of a partition have the same values in these columns.

    Parameters:
        columns: the columns that tell rows apart, together
        blocking: whether a failure holds the partition back
        name: another name for results

    Raises:
        DefinitionError: no column was named

    Examples:
        >>> unique("carrier", "flight").name
        'unique(carrier, flight)'
    """
    _named(columns, "unique")
    key = pl.struct(exactly(columns))
    return Check(
        name=name or f"unique({', '.join(columns)})",
        wants=f"no two rows with the same {', '.join(columns)}",
        measures={"repeated": pl.len().cast(pl.Int64) - key.n_unique().cast(pl.Int64)},
        fails=pl.col("repeated") > 0,
        rows=pl.col("repeated"),
        failing=key.is_duplicated(),
        blocking=blocking,
        key=columns,
        given=("unique", columns),
    )


def not_null(*columns: str, blocking: bool = True, name: str | None = None) -> Check:
    """No value is missing in these columns.

    Parameters:
        columns: the columns
        blocking: whether a failure holds the partition back
        name: another name for results

    Raises:
        DefinitionError: no column was named
    """
    _named(columns, "not_null")
    return _by_row(
        name or f"not_null({', '.join(columns)})",
        f"a value in {', '.join(columns)} of every row",
        pl.any_horizontal(one.is_null() for one in exactly(columns)),
        blocking,
        given=("not_null", columns),
    )


def accepted_values(column: str, values: Sequence[Any], *, blocking: bool = True, name: str | None = None) -> Check:
    """Every value of a column that is there is one of these; a missing one passes (see [not_null][]).

    Parameters:
        column: the column
        values: what is allowed
        blocking: whether a failure holds the partition back
        name: another name for results

    Raises:
        DefinitionError: no value is allowed at all
    """
    allowed = list(values)
    if isinstance(values, str) or not allowed:
        raise DefinitionError(f"accepted_values({column!r}) needs a list of values; given {values!r}")
    shown = ", ".join(map(repr, allowed[:5])) + (", …" if len(allowed) > 5 else "")
    return _by_row(
        name or f"accepted_values({column})",
        f"{column} one of {shown}",
        ~exactly([column])[0].is_in(allowed),
        blocking,
        given=("accepted_values", column, allowed),
    )


def expression(name: str, holds: pl.Expr, *, wants: str = "", blocking: bool = True) -> Check:
    """A polars expression is true: of every row, or, if it aggregates, of every partition.

    Only what is false fails, as in SQL: where the expression has no value, nothing is wrong yet. (Mind that
    ``False | null`` has no value; ``.fill_null(False)`` makes it fail.)

    Parameters:
        name: what it is called in results
        holds: true where all is well
        wants: what has to be true, in words
        blocking: whether a failure holds the partition back

    Raises:
        DefinitionError: ``holds`` is no expression

    Examples:
        >>> expression("arrives later", pl.col("arrival") > pl.col("departure")).blocking
        True
    """
    if not isinstance(holds, pl.Expr):
        raise DefinitionError(f"expression({name!r}) needs a polars expression; given {type(holds).__name__}")
    return _by_row(name, wants or str(holds), ~holds, blocking, given=("expression", holds))


def reconcile(
    upstream: str,
    *,
    ours: pl.Expr | None = None,
    theirs: pl.Expr | None = None,
    tolerance: float = 0.0,
    blocking: bool = True,
    name: str | None = None,
) -> Check:
    """A partition agrees with the same partition of an input: in rows, or in any aggregation.

    Parameters:
        upstream: the parameter that the input fills
        ours: an aggregation over this asset's rows; the number of rows by default
        theirs: an aggregation over the input's rows; the same as ``ours`` by default
        tolerance: how far ours may be from theirs, as a share of theirs (0.01: one percent)
        blocking: whether a failure holds the partition back
        name: another name for results

    Raises:
        DefinitionError: a negative tolerance

    Examples:
        >>> reconcile("raw_flights", tolerance=0.01).upstream
        'raw_flights'
    """
    if tolerance < 0:
        raise DefinitionError(f"reconcile({upstream!r}) needs a tolerance of 0 or more; given {tolerance}")
    measured = pl.len() if ours is None else ours
    mine, other = pl.col("ours").cast(pl.Float64), pl.col("theirs").cast(pl.Float64).fill_null(0)
    return Check(
        name=name or f"reconcile({upstream})",
        wants=f"{'rows' if ours is None else 'total'} as in {upstream}"
        + (f", give or take {tolerance:.2%}" if tolerance else ""),
        measures={"ours": measured},
        fails=(mine.fill_null(0) - other).abs() > other.abs() * tolerance + 1e-9,
        upstream=upstream,
        theirs=measured if theirs is None else theirs,
        blocking=blocking,
        given=("reconcile", ours, theirs, tolerance),
    )


@overload
def custom(function: FrameFunction, /) -> FrameCheck: ...


@overload
def custom(*, blocking: bool = True, name: str | None = None) -> Callable[[FrameFunction], FrameCheck]: ...


def custom(function: FrameFunction | None = None, /, *, blocking: bool = True, name: str | None = None) -> Any:
    """Make a check of a function that is given an asset's rows and returns those that fail.

    It may aggregate, as long as what it returns still has the asset's partition column. Its
    docstring says what it wants.

    Parameters:
        function: the function
        blocking: whether a failure holds the partition back
        name: another name for results

    Examples:
        >>> @custom(blocking=False)
        ... def no_red_eyes(frame: pl.LazyFrame) -> pl.LazyFrame:
        ...     "nobody departs between 2 and 4"
        ...     return frame.filter(pl.col("hour").is_between(2, 3))
        >>> no_red_eyes.wants
        'nobody departs between 2 and 4'
    """

    def make(function: FrameFunction) -> FrameCheck:
        if not callable(function):
            raise DefinitionError(f"custom needs a function; given {function!r}")
        said = (function.__doc__ or "").strip().partition("\n")[0]
        return FrameCheck(name=name or function.__name__, function=function, wants=said, blocking=blocking)

    return make if function is None else make(function)


def _by_row(name: str, wants: str, failing: pl.Expr, blocking: bool, *, given: tuple[Any, ...]) -> Check:
    # Unlike a sum of it, `when` takes nothing but booleans: a number would pass as no failure at all.
    failing = pl.when(failing).then(pl.lit(True)).otherwise(pl.lit(False))
    return Check(
        name=name,
        wants=wants,
        measures={"failing": failing.sum()},
        fails=pl.col("failing") > 0,
        rows=pl.col("failing"),
        failing=failing,
        blocking=blocking,
        given=given,
    )


def _named(columns: Sequence[str], what: str) -> None:
    if not columns or not all(isinstance(c, str) for c in columns):
        raise DefinitionError(f"{what} needs the names of columns; given {columns!r}", hint=f'{what}("id")')
