"""The gate: every check of an asset over a candidate's rows, in one pass, partition by partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import polars as pl

from lakehouse.checks.library import Check, FrameCheck, RowCheck
from lakehouse.checks.schema import SchemaChecks, failures, is_as_promised, model_checks, reasons
from lakehouse.definitions.asset import Asset
from lakehouse.definitions.schema import Schema
from lakehouse.errors import CheckError, LakehouseError, SchemaViolation, shorten
from lakehouse.io import PARTITION
from lakehouse.io.columns import columns as exactly
from lakehouse.io.digests import digests_of, row_hashes
from lakehouse.io.frames import unused
from lakehouse.io.tokens import from_tokens, token, tokens
from lakehouse.lineage import CheckResult
from lakehouse.partitions import PartitionSet

REASONS = "_reasons"
"""The column of quarantined rows that lists the checks each row fails; see [reasons_in][]."""

_ROWS = 500_000
"""Rows of several partitions that are at hand together, at most; a partition that has more is at hand alone."""

_HASHES = 8_000_000
"""Hashes of keys that are at hand together, in order."""

_KEYS = 1_000_000
"""Keys that are compared with each other at a time, of those whose hashes are equal."""

_SEED = 7
"""Of the hash that a key has; another one than those of digests."""


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
        digests: what stands for the rows of each partition that has some, by token
    """

    passed: PartitionSet
    held: PartitionSet
    passed_results: tuple[CheckResult, ...]
    held_results: tuple[CheckResult, ...]
    rows: pl.DataFrame | None
    reason: str
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class _Finding:
    """What one check found: failing partitions by token with their failing rows, and how to tell these rows."""

    name: str
    blocking: bool
    wants: str
    failed: Mapping[str, int]
    found: str = ""
    mark: Callable[[pl.DataFrame], pl.Series] | None = None
    """Given rows of held partitions: a list of reasons or null for each."""

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
    more: Sequence[RowCheck] = (),
    part: Callable[[Sequence[str]], pl.LazyFrame] | None = None,
) -> Audit:
    """Hold an asset's candidate against its schema and its checks.

    All that adds up is measured in one pass that streams. What has to have rows at hand (a person's own functions,
    checks of whole columns) gets some partitions at a time, so that memory doesn't grow with the candidate.

    Parameters:
        asset: what was made
        frame: the candidate's rows, with the column [PARTITION][]
        partitions: what was asked for: a partition without rows is checked as well
        upstream: for checks that compare, the inputs by parameter, with the column [PARTITION][]
        more: checks besides those that the asset declares
        part: the rows of some partitions by token, where they can be had without reading all; None: they can't

    Returns:
        which partitions passed, which are held back, and why; with a digest of the rows of each

    Raises:
        CheckError: a check itself raised; says which one
    """
    rows = _Rows(frame, asset.partitioned, tokens(partitions), part or (lambda these: _among(frame, these)))
    declared = (*asset.checks, *more)
    plain = [check for check in declared if isinstance(check, Check)]
    framed = [check for check in declared if isinstance(check, FrameCheck)]
    model = asset.schema.model if asset.schema is not None else None
    schema = None if model is None else model_checks(model, tuple(rows.dtypes.items()))
    flags = dict(enumerate(schema.by_row.values())) if schema is not None else {}
    flagged = {len(flags) + i: c.failing for i, c in enumerate(plain) if c.failing is not None and c.rowwise}
    try:
        measured = _pass(rows, flags | flagged)
    except Exception as error:
        raise _culprit(asset, schema, plain, rows) from error
    at_hand = _at_hand(asset, rows, measured.rows, schema, framed)
    findings: list[_Finding] = []
    if schema is not None:
        findings.append(_schema(asset, schema, rows, measured, at_hand))
    findings += _measure(asset, plain, rows, measured, partitions, upstream or {}, first=len(flags))
    findings += [_framed(asset, check, rows, at_hand.failing[check.name]) for check in framed]
    blocked = {t for f in findings if f.blocking for t in f.failed}
    held = from_tokens(partitions.partitions, [t for t in rows.asked if t in blocked])
    passed = partitions - held
    return Audit(
        passed=passed,
        held=held,
        passed_results=tuple(f.result(passed) for f in findings),
        held_results=tuple(f.result(held) for f in findings),
        rows=_held_rows(rows, findings, blocked) if blocked else None,
        reason="; ".join(f"{f.name} {f.message}" for f in findings if f.blocking and f.failed),
        digests=measured.digests,
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
    if is_as_promised(asset.schema.model.to_schema(), frame.collect_schema()):
        return frame
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


def reasons_in(columns: Iterable[str]) -> str | None:
    """The column that lists why each row was held back: [REASONS][], with more underscores where there was such a one.

    Examples:
        >>> reasons_in(["n", "_reasons"]), reasons_in(["_reasons", "n", "__reasons"])
        ('_reasons', '__reasons')
    """
    return max((name for name in columns if name.lstrip("_") == REASONS.lstrip("_")), key=len, default=None)


# ── one pass over all rows ────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Rows:
    """A candidate's rows.

    Parameters:
        frame: all of them, lazily
        partitioned: whether they are kept by partition
        asked: the partitions that were asked for, by token
        part: the rows of some partitions, lazily
    """

    frame: pl.LazyFrame
    partitioned: bool
    asked: Sequence[str]
    part: Callable[[Sequence[str]], pl.LazyFrame]

    @cached_property
    def dtypes(self) -> Mapping[str, pl.DataType]:
        """Their columns, without that of the partition."""
        return {name: dtype for name, dtype in self.frame.collect_schema().items() if name != PARTITION}

    def measure(self, measures: Sequence[pl.Expr], columns: Sequence[pl.Expr] | None = None) -> pl.DataFrame:
        """Aggregations for each partition that has rows.

        Parameters:
            measures: the aggregations
            columns: what they are of; made row by row, before rows are put together by partition: within that, polars
                would hold whole partitions in memory. None: the rows as they are
        """
        frame = self.frame
        if len(self.asked) == 1:
            # Grouping by a constant would hold all rows in memory, or find out for each that it is of the one group.
            frame = frame if columns is None else frame.select(columns)
            whole = frame.select(pl.len().alias("rows there"), *measures).collect(engine="streaming")
            there = whole.filter(pl.col("rows there") > 0).drop("rows there")
            return there.select(pl.lit(self.asked[0]).alias(PARTITION), pl.all())
        frame = frame if columns is None else frame.select(PARTITION, *columns)
        return frame.group_by(PARTITION).agg(measures).collect(engine="streaming")


@dataclass(frozen=True)
class _Measured:
    """What one pass found, by token: how many rows, their digest, and how many of them each flag is true for."""

    rows: Mapping[str, int]
    digests: Mapping[str, str]
    flagged: Mapping[int, Mapping[str, int]]


def _pass(rows: _Rows, flags: Mapping[int, pl.Expr]) -> _Measured:
    hashes = row_hashes(rows.dtypes)
    columns = [*hashes, *(flag.fill_null(False).alias(f"flag {i}") for i, flag in flags.items())]
    sums = [pl.len().alias("rows"), *(pl.col(one.meta.output_name()).sum() for one in hashes)]
    found = rows.measure([*sums, *(pl.col(f"flag {i}").sum() for i in flags)], columns)
    places = found[PARTITION].to_list()
    return _Measured(
        dict(zip(places, found["rows"].to_list(), strict=True)),
        digests_of(found, rows.dtypes),
        {i: {t: n for t, n in zip(places, found[f"flag {i}"].to_list(), strict=True) if n} for i in flags},
    )


def _among(frame: pl.LazyFrame, these: Sequence[str]) -> pl.LazyFrame:
    return frame.filter(pl.col(PARTITION).is_in(list(these)))


# ── what has to have rows at hand ─────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _AtHand:
    """What was found with rows at hand.

    Parameters:
        said: by partition, what the schema's other checks say of it
        flagged: the partitions in which they name rows
        failing: by check, the rows that its function returned
    """

    said: Mapping[str, Sequence[str]]
    flagged: Set[str]
    failing: Mapping[str, pl.DataFrame]


def _at_hand(
    asset: Asset,
    rows: _Rows,
    counts: Mapping[str, int],
    schema: SchemaChecks | None,
    framed: Sequence[FrameCheck],
) -> _AtHand:
    said: dict[str, list[str]] = {}
    flagged: set[str] = set()
    failing: dict[str, list[pl.DataFrame]] = {check.name: [] for check in framed}
    rest = schema.rest if schema is not None else None
    if rest is None and not framed:
        return _AtHand({}, set(), {})
    for group in _groups(rows.asked, counts):
        few = sum(counts.get(t, 0) for t in group) <= _ROWS
        frame = rows.part(group)
        frame = frame.collect().lazy() if few else frame
        if schema is not None and rest is not None:
            columns = None if schema.columns is None else [*schema.columns, PARTITION]
            needed = frame if columns is None else frame.select(exactly(columns))
            parts = needed.collect().partition_by(PARTITION, as_dict=True, include_key=False)
            nothing = needed.drop(PARTITION).clear().collect()
            for place in group:
                found = failures(asset, rest, parts.get((place,), nothing))
                if found:
                    said[place] = sorted(found)
                if any(flags is not None for flags in found.values()):
                    flagged.add(place)
        for check in framed:
            failing[check.name].append(_failing_rows(asset, check, frame, group))
    return _AtHand(said, flagged, {name: pl.concat(found, how="vertical_relaxed") for name, found in failing.items()})


def _groups(asked: Sequence[str], counts: Mapping[str, int]) -> list[list[str]]:
    """Partitions that are looked at together: as many as have few rows together, or one."""
    groups: list[list[str]] = []
    held = _ROWS + 1
    for place in asked:
        rows = counts.get(place, 0)
        if held + rows > _ROWS:
            groups.append([])
            held = 0
        groups[-1].append(place)
        held += rows
    return groups


def _schema(asset: Asset, schema: SchemaChecks, rows: _Rows, measured: _Measured, at_hand: _AtHand) -> _Finding:
    """What the schema has against rows and partitions, as one check."""
    names = list(schema.by_row)
    flagged = {said: measured.flagged[i] for i, said in enumerate(names)}
    # How many rows fail at least one check can't be added up from the checks.
    failed = dict.fromkeys(at_hand.said, 0)
    several = {t for counts in flagged.values() for t in counts} | at_hand.flagged
    if several:
        failed |= _rows_that_fail(asset, schema, rows, sorted(several))
    found = {said for said, counts in flagged.items() if counts} | {
        s for listed in at_hand.said.values() for s in listed
    }
    rest = schema.rest

    def mark(held: pl.DataFrame) -> pl.Series:
        return reasons(held, schema.by_row, lambda part: _rest(asset, schema, part) if rest is not None else {})

    return _Finding(
        name="schema",
        blocking=True,
        wants=asset.schema.name if asset.schema else "",
        failed={t: failed[t] for t in rows.asked if t in failed},
        found=shorten(sorted(found)),
        mark=mark,
    )


def _rest(asset: Asset, schema: SchemaChecks, part: pl.DataFrame) -> Mapping[str, pl.Series | None]:
    return failures(asset, schema.rest, part if schema.columns is None else part.select(exactly(schema.columns)))


def _rows_that_fail(asset: Asset, schema: SchemaChecks, rows: _Rows, these: Sequence[str]) -> dict[str, int]:
    """How many rows of some partitions fail at least one of the schema's checks."""
    if schema.rest is None:
        bad = pl.any_horizontal(failing.fill_null(False) for failing in schema.by_row.values())
        found = replace(rows, frame=rows.part(these)).measure([pl.col("bad").sum()], [bad.alias("bad")])
        return dict(found.iter_rows())
    counted: dict[str, int] = {}
    for place in these:
        part = rows.part([place]).collect()
        listed = reasons(part, schema.by_row, lambda one: _rest(asset, schema, one))
        counted[place] = part.height - listed.null_count()
    return counted


# ── expressions ───────────────────────────────────────────────────────────────────────────


def _measure(
    asset: Asset,
    checks: Sequence[Check],
    rows: _Rows,
    measured: _Measured,
    partitions: PartitionSet,
    upstream: Mapping[str, pl.LazyFrame],
    *,
    first: int,
) -> list[_Finding]:
    """What the checks that are said in expressions found."""
    if not checks:
        return []
    wanted = pl.LazyFrame({PARTITION: rows.asked}, schema={PARTITION: pl.String})
    found = wanted.collect()
    try:
        for i, check in enumerate(checks):
            if check.rowwise:
                counts = measured.flagged[first + i]
                column = pl.Series(f"{i}.failing", [counts.get(t, 0) for t in rows.asked], dtype=pl.UInt32)
                found = found.with_columns(column)
        measures = [
            expr.alias(f"{i}.{name}")
            for i, check in enumerate(checks)
            if not check.rowwise and not check.key
            for name, expr in check.measures.items()
        ]
        if measures:
            there = rows.measure(measures)
            absent = wanted.join(there.lazy(), on=PARTITION, how="anti").collect()
            if absent.height:
                # A partition without rows is measured as an empty frame, not as missing numbers.
                nothing = rows.frame.clear().select(measures).collect()
                there = pl.concat([there, absent.join(nothing, how="cross")], how="vertical_relaxed")
            found = found.join(there, on=PARTITION, how="left", maintain_order="left")
        for i, check in enumerate(checks):
            if check.key:
                counts = _repeated(rows, check.key, sum(measured.rows.values()))
                column = pl.Series(f"{i}.repeated", [counts.get(t, 0) for t in rows.asked], dtype=pl.Int64)
                found = found.with_columns(column)
    except Exception as error:
        raise _culprit(asset, None, checks, rows) from error
    return [_judge(asset, i, check, found, partitions, upstream) for i, check in enumerate(checks)]


def _repeated(rows: _Rows, key: Sequence[str], total: int) -> dict[str, int]:
    """How many rows of each partition repeat the key of another one, of a bounded number of keys at a time."""
    keys = exactly(dict.fromkeys(key))
    columns = [pl.col(PARTITION), *keys] if rows.partitioned else keys
    # Equal keys have equal hashes; whether keys are equal is asked only of those whose hashes are.
    hashed = (pl.struct(columns) if len(columns) > 1 else columns[0]).hash(_SEED).alias("hash")
    passes = max(1, -(-total // _HASHES))
    counted: dict[str, int] = {}
    for number in range(passes):
        hashes = rows.frame.select(hashed).filter(pl.col("hash") % passes == number).collect(engine="streaming")
        ordered = hashes["hash"].sort()
        twice = ordered.filter(ordered == ordered.shift(1)).unique()
        for at in range(0, len(twice), _KEYS):
            frame = rows.frame.filter(hashed.is_in(twice.slice(at, _KEYS).implode()))
            repeated = (pl.len().cast(pl.Int64) - pl.struct(keys).n_unique().cast(pl.Int64)).alias("repeated")
            for place, more in replace(rows, frame=frame).measure([repeated]).iter_rows():
                counted[place] = counted.get(place, 0) + more
    return {place: more for place, more in counted.items() if more}


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
    failed: dict[str, int] = {}
    worst = ""
    if verdict["fails"].any():
        failed = dict(verdict.filter("fails").select(PARTITION, "rows").iter_rows())
        worst = _numbers(own.filter(verdict["fails"]).drop(PARTITION).row(0, named=True))
    return _Finding(
        name=check.name,
        blocking=check.blocking,
        wants=check.wants,
        failed=failed,
        found=worst,
        mark=_marker(check.name, check.failing) if check.failing is not None else None,
    )


def _marker(name: str, failing: pl.Expr) -> Callable[[pl.DataFrame], pl.Series]:
    reason = pl.lit([name], dtype=pl.List(pl.String))
    return lambda rows: rows.select(pl.when(failing.over(PARTITION)).then(reason)).to_series()


def _numbers(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in values.items()
    )


def _culprit(asset: Asset, schema: SchemaChecks | None, checks: Sequence[Check], rows: _Rows) -> LakehouseError:
    """Which check it was that raised, when they all were measured together."""
    for said, failing in (schema.by_row if schema is not None else {}).items():
        try:
            rows.measure([pl.col("bad").sum()], [failing.alias("bad")])
        except Exception as error:
            column, _, what = said.partition(": ")
            return CheckError(
                f"{asset.key}: the schema's check {what!r} on {column!r} raised {type(error).__name__}: {_line(error)}",
                hint="mend the check; nothing was published",
            )
    for check in checks:
        try:
            rows.measure([e.alias(n) for n, e in check.measures.items()])
            rows.frame.clear().select(e.alias(n) for n, e in check.measures.items()).collect()
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


def _failing_rows(asset: Asset, check: FrameCheck, frame: pl.LazyFrame, asked: Sequence[str]) -> pl.DataFrame:
    """The rows that a person's own check returns, with the column [PARTITION][]."""
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
        elsewhere = sorted(set(rows[PARTITION]) - set(asked))
        if elsewhere:
            raise ValueError(f"it returned rows of partitions that were not asked for: {shorten(elsewhere)}")
    except Exception as error:
        raise _raised(asset, check.name, error) from error
    return rows


def _framed(asset: Asset, check: FrameCheck, rows: _Rows, failing: pl.DataFrame) -> _Finding:
    whole = set(failing.columns) == set(rows.frame.collect_schema().names())

    def mark(held: pl.DataFrame) -> pl.Series:
        reason = pl.lit([check.name], dtype=pl.List(pl.String))
        keys = failing.unique().with_columns(reason.alias("reason"))
        on = exactly(failing.columns)
        return held.select(on).join(keys, on=on, how="left", nulls_equal=True, maintain_order="left")["reason"]

    return _Finding(
        name=check.name,
        blocking=check.blocking,
        wants=check.wants or "no failing rows",
        failed=dict(failing.group_by(PARTITION).len().sort(PARTITION).iter_rows()),
        found=check.found(failing) if check.found and failing.height else f"{failing.height:,} failing rows",
        mark=mark if whole else None,
    )


# ── rows that are held back ───────────────────────────────────────────────────────────────


def _held_rows(rows: _Rows, findings: Sequence[_Finding], blocked: set[str]) -> pl.DataFrame:
    """The rows of the held partitions, each with the names of the blocking checks that it fails."""
    held = rows.part(sorted(blocked)).collect()
    marks = [f.mark(held) for f in findings if f.mark is not None and f.blocking and f.failed]
    empty, name = pl.lit([], dtype=pl.List(pl.String)), unused(REASONS, held.columns)
    if not marks:
        return held.with_columns(empty.alias(name))
    filled = pl.DataFrame({str(i): m for i, m in enumerate(marks)}).select(
        pl.concat_list(pl.all().fill_null(empty)).list.unique(maintain_order=True)
    )
    return held.with_columns(filled.to_series().alias(name))
