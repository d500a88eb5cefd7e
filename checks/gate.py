"""The gate: every check of an asset over a candidate's rows, in one pass, partition by partition."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import polars as pl

from lakehouse.checks.library import AnyCheck, Check, FrameCheck
from lakehouse.definitions.asset import Asset
from lakehouse.definitions.schema import Schema
from lakehouse.errors import CheckError, LakehouseError, SchemaViolation, shorten
from lakehouse.io import PARTITION
from lakehouse.io.tokens import from_tokens, token, tokens
from lakehouse.lineage import CheckResult
from lakehouse.partitions import PartitionSet

REASONS = "_reasons"
"""The column of quarantined rows that lists the checks each row fails."""


@final
@dataclass(frozen=True)
class Audit:
    """What the gate found.

    Parameters:
        passed: the partitions that may be published
        held: the partitions that may not
        passed_results: what each check found in them; held_results: what it found in those held back
        rows: the rows of the held partitions, with the column [REASONS][]; None: nothing is held back
        reason: why something is held back, in a line
    """

    passed: PartitionSet
    held: PartitionSet
    passed_results: tuple[CheckResult, ...]
    held_results: tuple[CheckResult, ...]
    rows: pl.DataFrame | None
    reason: str


@dataclass(frozen=True)
class _Finding:
    """What one check found: failing partitions by token with their failing rows, and how to tell these rows."""

    name: str
    blocking: bool
    wants: str
    failed: Mapping[str, int]
    found: str = ""
    mark: Callable[[pl.DataFrame], pl.Series] | None = None
    """Given rows of held partitions (with their number ``_row``): a list of reasons or null for each."""

    @property
    def message(self) -> str:
        return f"wants {self.wants}; found {self.found}" if self.failed else self.wants

    def result(self, partitions: PartitionSet) -> CheckResult:
        """What it found in some of the partitions."""
        these = set(tokens(partitions))
        failed = [t for t in self.failed if t in these]
        return CheckResult(
            name=self.name,
            blocking=self.blocking,
            passed=not failed,
            failed=from_tokens(partitions.partitions, failed).to_pairs(),
            failing_rows=sum(self.failed[t] for t in failed),
            message=self.message if failed else self.wants,
        )


def audit(
    asset: Asset,
    frame: pl.LazyFrame,
    partitions: PartitionSet,
    upstream: Mapping[str, pl.LazyFrame] | None = None,
    *,
    more: Sequence[AnyCheck] = (),
) -> Audit:
    """Hold an asset's candidate against its schema and its checks.

    Parameters:
        asset: what was made
        frame: the candidate's rows, with the column [PARTITION][]
        partitions: what was asked for: a partition without rows is checked as well
        upstream: for checks that compare, the inputs by parameter, with the column [PARTITION][]
        more: checks besides those that the asset declares

    Returns:
        which partitions passed, which are held back, and why

    Raises:
        CheckError: a check itself raised; says which one
    """
    asked = tokens(partitions)
    plain = [c for c in (*asset.checks, *more) if isinstance(c, Check)]
    framed = [c for c in (*asset.checks, *more) if isinstance(c, FrameCheck)]
    model = asset.schema.model if asset.schema is not None else None
    if model is not None or framed:
        # Pandera and functions need the rows at hand; then everything is measured on them, in memory.
        frame = frame.collect().lazy()
    findings: list[_Finding] = []
    if model is not None:
        findings.append(_schema(asset, model.to_schema(), frame.collect(), partitions, asked))
    findings += _measure(asset, plain, frame, partitions, asked, upstream or {})
    findings += [_framed(asset, check, frame, partitions) for check in framed]
    blocked = {t for f in findings if f.blocking for t in f.failed}
    held = from_tokens(partitions.partitions, [t for t in asked if t in blocked])
    passed = partitions - held
    return Audit(
        passed=passed,
        held=held,
        passed_results=tuple(f.result(passed) for f in findings),
        held_results=tuple(f.result(held) for f in findings),
        rows=_held_rows(frame, findings, blocked) if blocked else None,
        reason="; ".join(f"{f.name} {f.message}" for f in findings if f.blocking and f.failed),
    )


def conform(asset: Asset, frame: pl.LazyFrame) -> pl.LazyFrame:
    """Hold a frame's columns and types against the asset's schema, before a row is computed.

    Returns:
        the frame, with what the schema itself repairs (``coerce``, ``strict="filter"``)

    Raises:
        SchemaViolation: a column that is promised is missing, or has another type
    """
    if asset.schema is None:
        return frame
    if asset.schema.model is None:
        return _conform_columns(asset.key, asset.schema, frame)
    from pandera.errors import SchemaError, SchemaErrors

    try:
        return asset.schema.model.to_schema().validate(frame, lazy=True)  # type: ignore[no-any-return]
    except SchemaErrors as error:
        cases = error.failure_cases.select("column", "check", "failure_case").rows()
        faults = [f"{c or 'frame'}: {_fault(str(k), str(v))}" for c, k, v in cases]
    except SchemaError as error:
        faults = [str(error)]
    except pl.exceptions.ColumnNotFoundError as error:
        # Where it is to coerce a column that isn't there, pandera itself stumbles over it.
        there = frame.collect_schema()
        faults = [f"{c.name} is missing" for c in asset.schema.columns if c.required and c.name not in there]
        faults = faults or [_line(error)]
    raise SchemaViolation(
        f"{asset.key} returned what {asset.schema.name} doesn't allow: {shorten(faults, width=120)}",
        hint="mend the function, or its return annotation",
    )


def _conform_columns(key: str, schema: Schema, frame: pl.LazyFrame) -> pl.LazyFrame:
    """The same for a schema that is no pandera model, such as the contract of a dbt model."""
    there = frame.collect_schema()
    faults = [f"{c.name}: is missing" for c in schema.columns if c.required and c.name not in there]
    faults += [
        f"{c.name}: has type {there[c.name]}, promised is {c.dtype}"
        for c in schema.columns
        if c.name in there and c.dtype is not None and there[c.name] != c.dtype
    ]
    if faults:
        raise SchemaViolation(f"{key} returned what {schema.name} doesn't allow: {shorten(faults, width=120)}")
    return frame


def _fault(check: str, found: str) -> str:
    if check.startswith("dtype("):
        return f"has type {found}, promised is {check[len('dtype(') : -1]}"
    return {
        "column_in_dataframe": f"{found} is missing",
        "column_in_schema": f"{found} is not in the schema",
    }.get(check, f"{check} ({found})")


# ── the schema ────────────────────────────────────────────────────────────────────────────


def _schema(asset: Asset, schema: Any, frame: pl.DataFrame, partitions: PartitionSet, asked: list[str]) -> _Finding:
    """Pandera's data checks. Those that look at a row alone run over all partitions at once, the others (uniqueness,
    checks of a whole column) in each partition, because a partition must not fail for its neighbours.
    """
    by_row, by_partition = _split(schema)
    bare = frame.drop(PARTITION)
    cases = [_cases(asset, by_row, bare).select("index", "column", "check")]
    whole: dict[str, list[str]] = {}
    if by_partition is not None:
        numbered = frame.with_row_index("_row")
        parts = numbered.partition_by(PARTITION, as_dict=True, include_key=False)
        for key in asked:
            part = parts.get((key,), numbered.clear().drop(PARTITION))
            found = _cases(asset, by_partition, part.drop("_row"))
            if found.height:
                whole[key] = [
                    f"{c}: {k}" for c, k in found.select("column", "check").unique().sort("column").iter_rows()
                ]
                placed = found.drop_nulls("index")
                cases.append(placed.with_columns(part["_row"].gather(placed["index"]).alias("index")))
    listed = pl.concat(cases, how="vertical_relaxed")
    reasons = (
        listed.drop_nulls("index")
        .group_by(pl.col("index").alias("_row"))
        .agg(pl.format("{}: {}", "column", "check").unique().sort().alias("reasons"))
    )
    failed = dict.fromkeys(whole, 0)
    failed |= dict(frame.select(pl.col(PARTITION).gather(reasons["_row"])).group_by(PARTITION).len().iter_rows())
    if listed["index"].null_count():
        # A failure without a row (a check of nothing but the frame) is every partition's.
        failed = dict.fromkeys(asked, 0) | failed
    what = {f"{c}: {k}" for c, k in listed.select("column", "check").unique().iter_rows()}
    return _Finding(
        name="schema",
        blocking=True,
        wants=asset.schema.name if asset.schema else "",
        failed={t: failed[t] for t in asked if t in failed},
        found=shorten(sorted(what.union(*whole.values()))),
        mark=lambda rows: rows.select("_row").join(reasons, on="_row", how="left", maintain_order="left")["reasons"],
    )


_AGGREGATES = {"unique_values_eq"}


def _split(schema: Any) -> tuple[Any, Any | None]:
    """Two schemas of one: what looks at one row at a time, and the rest (None: there is none)."""
    from pandera.api.checks import Check as PanderaCheck

    def by_row(check: Any) -> bool:
        # A check of a person's own may bear a built-in one's name, but has no bounds to compare with.
        builtin = PanderaCheck.is_builtin_check(check.name) and check.statistics
        return bool(builtin) and check.name not in _AGGREGATES

    rowwise, rest = copy.deepcopy(schema), copy.deepcopy(schema)
    rowwise.checks, rowwise.unique = [], None
    something = bool(schema.checks or schema.unique)
    for name, column in schema.columns.items():
        rowwise.columns[name].checks = [c for c in column.checks if by_row(c)]
        rowwise.columns[name].unique = False
        rest.columns[name].checks = [c for c in column.checks if not by_row(c)]
        rest.columns[name].nullable = True
        something = something or column.unique or bool(rest.columns[name].checks)
    return rowwise, rest if something else None


def _cases(asset: Asset, schema: Any, frame: pl.DataFrame) -> pl.DataFrame:
    """What pandera finds: the place of each row that fails a check, or null for a check that is not of rows."""
    from pandera.constants import CHECK_OUTPUT_KEY
    from pandera.errors import SchemaErrorReason, SchemaErrors

    found: list[tuple[int | None, str, str]] = []
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
            output: Any = fault.check_output
            whole = not isinstance(output, pl.DataFrame) or output.height != frame.height
            places = [] if whole else output[CHECK_OUTPUT_KEY].eq(False).arg_true().to_list()
            found += [(place, column, what) for place in places or [None]]
    except Exception as error:
        raise CheckError(
            f"{asset.key}: the schema raised {type(error).__name__}: {_line(error)}",
            hint="mend the schema's own checks; nothing was published",
        ) from error
    return pl.DataFrame(found, {"index": pl.UInt32, "column": pl.String, "check": pl.String}, orient="row")


# ── expressions ───────────────────────────────────────────────────────────────────────────


def _measure(
    asset: Asset,
    checks: Sequence[Check],
    frame: pl.LazyFrame,
    partitions: PartitionSet,
    asked: list[str],
    upstream: Mapping[str, pl.LazyFrame],
) -> list[_Finding]:
    """Measure all checks of all partitions in one aggregation."""
    if not checks:
        return []
    measures = [expr.alias(f"{i}.{name}") for i, c in enumerate(checks) for name, expr in c.measures.items()]
    wanted = pl.LazyFrame({PARTITION: asked}, schema={PARTITION: pl.String})
    try:
        there = frame.group_by(PARTITION).agg(measures).collect(engine="streaming")
        absent = wanted.join(there.lazy(), on=PARTITION, how="anti").collect()
        if absent.height:
            # A partition without rows is measured as an empty frame, not as missing numbers.
            nothing = frame.clear().select(measures).collect()
            there = pl.concat([there, absent.join(nothing, how="cross")], how="vertical_relaxed")
        measured = wanted.join(there.lazy(), on=PARTITION, how="left", maintain_order="left").collect()
    except Exception as error:
        raise _culprit(asset, checks, frame) from error
    return [_judge(asset, i, check, measured, partitions, upstream) for i, check in enumerate(checks)]


def _judge(
    asset: Asset,
    number: int,
    check: Check,
    measured: pl.DataFrame,
    partitions: PartitionSet,
    upstream: Mapping[str, pl.LazyFrame],
) -> _Finding:
    own = measured.select(PARTITION, *(pl.col(f"{number}.{name}").alias(name) for name in check.measures))
    try:
        if check.upstream is not None:
            if check.upstream not in upstream:
                raise KeyError(f"{check.upstream!r} is no input of {asset.key}")
            theirs = upstream[check.upstream].group_by(PARTITION).agg(check.theirs.alias("theirs"))  # type: ignore[union-attr]
            own = own.join(theirs.collect(engine="streaming"), on=PARTITION, how="left", maintain_order="left")
        verdict = own.select(
            PARTITION,
            check.fails.fill_null(False).alias("fails"),
            (pl.lit(0) if check.rows is None else check.rows).cast(pl.Int64).alias("rows"),
        )
    except Exception as error:
        raise _raised(asset, check.name, error) from error
    bad = verdict.filter("fails")
    worst = own.filter(verdict["fails"]).drop(PARTITION).head(1).to_dicts()
    return _Finding(
        name=check.name,
        blocking=check.blocking,
        wants=check.wants,
        failed=dict(bad.select(PARTITION, "rows").iter_rows()),
        found=_numbers(worst[0]) if worst else "",
        mark=_marker(check.name, check.failing) if check.failing is not None else None,
    )


def _marker(name: str, failing: pl.Expr) -> Callable[[pl.DataFrame], pl.Series]:
    reason = pl.lit([name], dtype=pl.List(pl.String))
    return lambda rows: rows.select(pl.when(failing.over(PARTITION)).then(reason)).to_series()


def _numbers(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in values.items()
    )


def _culprit(asset: Asset, checks: Sequence[Check], frame: pl.LazyFrame) -> LakehouseError:
    """Which check it was that raised, when they all were measured together."""
    for check in checks:
        try:
            frame.group_by(PARTITION).agg(e.alias(n) for n, e in check.measures.items()).collect()
            frame.clear().select(e.alias(n) for n, e in check.measures.items()).collect()
        except Exception as error:
            return _raised(asset, check.name, error)
    return CheckError(f"{asset.key}: its checks raised together, but none alone", hint="run it again")


def _raised(asset: Asset, name: str, error: Exception) -> CheckError:
    return CheckError(
        f"{asset.key}: the check {name!r} raised {type(error).__name__}: {_line(error)}",
        hint="mend the check; nothing was published",
    )


def _line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), "")


# ── functions ─────────────────────────────────────────────────────────────────────────────


def _framed(asset: Asset, check: FrameCheck, frame: pl.LazyFrame, partitions: PartitionSet) -> _Finding:
    try:
        failing = check(frame)
        if isinstance(failing, pl.DataFrame):
            failing = failing.lazy()
        if not isinstance(failing, pl.LazyFrame):
            raise TypeError(f"it returned {type(failing).__name__}; it has to return the rows that fail")
        schema = failing.collect_schema()
        if PARTITION not in schema:
            for column in asset.partitions.columns:
                if column not in schema:
                    raise ValueError(f"what it returned has neither the column {column!r} nor {PARTITION!r}")
            key = token(asset.partitions, schema, where=asset.key)
            failing = failing.with_columns(key.alias(PARTITION))
        rows = failing.collect()
        elsewhere = sorted(set(rows[PARTITION]) - set(tokens(partitions)))
        if elsewhere:
            raise ValueError(f"it returned rows of partitions that were not asked for: {shorten(elsewhere)}")
    except Exception as error:
        raise _raised(asset, check.name, error) from error
    whole = rows.columns == frame.collect_schema().names()

    def mark(held: pl.DataFrame) -> pl.Series:
        reason = pl.lit([check.name], dtype=pl.List(pl.String))
        keys = rows.unique().with_columns(reason.alias("reason"))
        on = rows.columns
        return held.select(on).join(keys, on=on, how="left", nulls_equal=True, maintain_order="left")["reason"]

    return _Finding(
        name=check.name,
        blocking=check.blocking,
        wants=check.wants or "no failing rows",
        failed=dict(rows.group_by(PARTITION).len().sort(PARTITION).iter_rows()),
        found=f"{rows.height:,} failing rows",
        mark=mark if whole else None,
    )


# ── rows that are held back ───────────────────────────────────────────────────────────────


def _held_rows(frame: pl.LazyFrame, findings: Sequence[_Finding], blocked: set[str]) -> pl.DataFrame:
    """The rows of the held partitions, each with the names of the blocking checks that it fails."""
    held = frame.with_row_index("_row").filter(pl.col(PARTITION).is_in(sorted(blocked))).collect()
    marks = [f.mark(held) for f in findings if f.mark is not None and f.blocking and f.failed]
    empty = pl.lit([], dtype=pl.List(pl.String))
    if not marks:
        return held.drop("_row").with_columns(empty.alias(REASONS))
    filled = pl.DataFrame({str(i): m for i, m in enumerate(marks)}).select(
        pl.concat_list(pl.all().fill_null(empty)).list.unique(maintain_order=True)
    )
    return held.drop("_row").with_columns(filled.to_series().alias(REASONS))
