"""A pandera schema at the gate: what it says of single rows as expressions, and the rest on frames at hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import polars as pl

from lakehouse.definitions.asset import Asset
from lakehouse.errors import CheckError
from lakehouse.io import PARTITION
from lakehouse.io.columns import column as exactly

_PLACE = "row of what is held back"
_WHOLE = {"unique_values_eq"}
"""Built-in checks that look at a column as a whole."""


@final
@dataclass(frozen=True)
class SchemaChecks:
    """The data checks of a pandera schema, taken apart.

    Parameters:
        by_row: true for the rows that fail, by what is said of them (``column: check``)
        rest: a schema of what has to see whole columns: uniqueness, a person's own functions; None: there is none
        columns: the columns that the rest needs; None: all
    """

    by_row: Mapping[str, pl.Expr]
    rest: Any | None
    columns: tuple[str, ...] | None


@lru_cache(maxsize=256)
def model_checks(model: Any, columns: tuple[tuple[str, pl.DataType], ...]) -> SchemaChecks:
    """The data checks of a pandera model, taken apart once for all steps.

    Parameters:
        model: the model
        columns: the columns that the frame has, with their types
    """
    return schema_checks(model.to_schema(), dict(columns))


def schema_checks(schema: Any, dtypes: Mapping[str, pl.DataType]) -> SchemaChecks:
    """Take a pandera schema apart.

    Parameters:
        schema: the schema
        dtypes: the columns that the frame has, with their types
    """
    rest = copy.deepcopy(schema)
    rest.strict, rest.ordered = False, False
    by_row: dict[str, pl.Expr] = {}
    needed: set[str] = set(schema.unique or ())
    for name, column in schema.columns.items():
        if name not in dtypes:
            # A pattern that stands for several columns, or an optional column that isn't there.
            if getattr(column, "regex", False):
                return SchemaChecks({}, rest, None)
            del rest.columns[name]
            continue
        if not column.nullable:
            missing = exactly(name).is_null()
            if dtypes[name].is_float():
                missing = missing | exactly(name).is_nan().fill_null(False)
            by_row[f"{name}: not_nullable"] = missing
        own = []
        for check in column.checks:
            failing = _failing(check, name)
            if failing is None:
                own.append(check)
            else:
                said = f"{name}: {check.error or check.name}"
                by_row[said] = by_row[said] | failing if said in by_row else failing
        rest.columns[name].checks, rest.columns[name].nullable = own, True
        if own or column.unique:
            needed.add(name)
        elif not schema.checks and name not in (schema.unique or ()):
            del rest.columns[name]
    something = bool(needed or schema.checks)
    return SchemaChecks(by_row, rest if something else None, None if schema.checks else tuple(sorted(needed)))


def is_as_promised(schema: Any, dtypes: Mapping[str, pl.DataType]) -> bool:
    """Whether a frame's columns are, one by one, those of a schema which changes nothing about them.

    Where it isn't as plain as that, pandera itself has to say: it knows types that are alike, patterns, and repairs.

    Parameters:
        schema: the schema
        dtypes: the columns that the frame has, with their types
    """
    changes = schema.coerce or schema.parsers or schema.add_missing_columns or schema.drop_invalid_rows
    if changes or schema.dtype is not None or schema.ordered or schema.strict not in (True, False):
        return False
    if schema.strict and not dtypes.keys() <= schema.columns.keys():
        return False
    return all(
        name in dtypes
        and not (column.coerce or column.parsers or column.regex or column.default is not None)
        and (column.dtype is None or _same(getattr(column.dtype, "type", None), dtypes[name]))
        for name, column in schema.columns.items()
    )


def _same(promised: Any, there: pl.DataType) -> bool:
    # A class that stands for a family of types is equal to each of them, but isn't written as they are.
    return bool(promised == there) and str(promised) == str(there)


def failures(asset: Asset, schema: Any, frame: pl.DataFrame) -> dict[str, pl.Series | None]:
    """What pandera itself finds in one partition's rows: a flag for each row, by what is said of those that fail.

    None in place of flags: it is said of the partition as a whole.

    Raises:
        CheckError: a check raised
    """
    from pandera.constants import CHECK_OUTPUT_KEY
    from pandera.errors import SchemaErrorReason, SchemaErrors

    found: dict[str, pl.Series | None] = {}
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        for fault in error.schema_errors:
            check: Any = fault.check
            what = str(getattr(check, "error", None) or getattr(check, "name", None) or check)
            column = str(fault.column_name or schema.name or asset.name)
            if fault.reason_code is SchemaErrorReason.CHECK_ERROR:
                raise CheckError(
                    f"{asset.key}: the schema's check {what!r} on {column!r} raised {_line(fault.failure_cases)}",
                    hint="mend the check; nothing was published",
                ) from error
            said, output = f"{column}: {what}", fault.check_output
            whole = not isinstance(output, pl.DataFrame) or output.height != frame.height
            flags = None if whole else output[CHECK_OUTPUT_KEY].eq(False).fill_null(False)
            before = found.get(said)
            found[said] = flags if before is None or flags is None else before | flags
    except Exception as error:
        raise CheckError(
            f"{asset.key}: the schema raised {type(error).__name__}: {_line(error)}",
            hint="mend the schema's own checks; nothing was published",
        ) from error
    return found


def reasons(
    held: pl.DataFrame, by_row: Mapping[str, pl.Expr], rest: Callable[[pl.DataFrame], Mapping[str, pl.Series | None]]
) -> pl.Series:
    """What a schema has against each of some rows of held partitions: a list, sorted, or null.

    Parameters:
        held: the rows, with the column [PARTITION][]
        by_row: what is said of single rows
        rest: says what else there is against the rows of one partition
    """
    flags = {said: held.select(failing.fill_null(False)).to_series() for said, failing in by_row.items()}
    numbered = held.with_row_index(_PLACE)
    for part in numbered.partition_by(PARTITION, maintain_order=True):
        for said, found in rest(part.drop(_PLACE, PARTITION)).items():
            if found is not None and found.any():
                flags.setdefault(said, pl.repeat(False, held.height, dtype=pl.Boolean, eager=True))
                flags[said] = flags[said].scatter(part[_PLACE].filter(found), True)
    if not flags:
        return pl.Series("reasons", [None] * held.height, dtype=pl.List(pl.String))
    given = sorted(flags)
    listed = pl.DataFrame({said: flags[said].rename(said) for said in given}).select(
        pl.concat_list(pl.when(exactly(said)).then(pl.lit(said)) for said in sorted(flags))
        .list.drop_nulls()
        .alias("reasons")
    )
    return listed.select(pl.when(pl.col("reasons").list.len() > 0).then("reasons")).to_series()


class _Captured:
    """Stands in for the frame that pandera gives to a check: what the check selects is its expression."""

    def select(self, expr: pl.Expr) -> pl.Expr:
        return expr


def _failing(check: Any, column: str) -> pl.Expr | None:
    """True where a built-in check of pandera fails; None: it is none, or looks at the column as a whole."""
    from pandera.api.checks import Check
    from pandera.api.polars.types import PolarsData
    from pandera.backends.polars import builtin_checks  # noqa: F401 - registers what a check's name stands for

    # A check of a person's own may bear a built-in one's name, but has no bounds to compare with. (What pandera says of
    # itself, `is_row_separable`, takes `a > a.mean()` for a matter of each row.)
    if not Check.is_builtin_check(check.name) or not check.statistics or check.name in _WHOLE:
        return None
    if check.element_wise or check.groupby or check.raise_warning:
        return None
    captured: Any = _Captured()
    holds = Check.get_builtin_check_fn(check.name)(PolarsData(captured, column), **check._check_kwargs)
    if not isinstance(holds, pl.Expr):
        return None
    return ~(holds | holds.is_null() if check.ignore_na else holds.fill_null(False))


def _line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), "")
