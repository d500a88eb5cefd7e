"""One step: load, compute, stage, audit, publish, record. Knows no orchestrator, and no store but by its protocol."""

from __future__ import annotations

import logging
import os
import platform
import time
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from lakehouse.definitions.asset import Asset, Context
from lakehouse.definitions.builder import BuildRequest, Built
from lakehouse.errors import (
    LakehouseError,
    LineageError,
    RowsOutsidePartitions,
    StepError,
    StorageError,
    WrongFrame,
    shorten,
)
from lakehouse.execution.home import Home, RunInfo, load
from lakehouse.execution.results import StepResult
from lakehouse.lineage import Fact, InputPin, Status, new_id
from lakehouse.lineage.observations import Observed, look, observation
from lakehouse.lineage.table_log import to_payload, unrecorded
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Input, Step

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.checks import AnyCheck
    from lakehouse.checks.gate import Audit
    from lakehouse.io import Staged

log = logging.getLogger("lakehouse")


def run_step(
    step: Step,
    home: Home,
    run: RunInfo,
    upstream: Iterable[StepResult] = (),
    *,
    attempt: int = 1,
    task_run: str | None = None,
) -> StepResult:
    """Do a step: what its inputs allow of it.

    Parameters:
        step: what to do
        home: where tables and lineage are
        run: the run it belongs to
        upstream: what became of the steps that it comes after
        attempt: 1 for the first try
        task_run: Prefect's id of the task run

    Returns:
        what became of each of its partitions

    Raises:
        StepError: it failed; nothing was published, and that is recorded
        StorageError: a table can't be reached; LineageError: what was published could not be recorded
    """
    return Attempt(step, home, run, list(upstream), attempt, task_run).do()


class Attempt:
    """One try at a step."""

    def __init__(
        self,
        step: Step,
        home: Home,
        run: RunInfo,
        upstream: Sequence[StepResult],
        number: int,
        task_run: str | None,
    ) -> None:
        self.step = step
        self.home = home
        self.run = run
        self.number = number
        self.asset = step.asset
        self.made = {result.step: result for result in upstream}
        self.id = new_id()
        self.started = datetime.now(UTC)
        self.clock = time.perf_counter()
        self.task_run = task_run
        self.table = home.table(step.asset)
        self.since: int | Literal["unknown"] | None = "unknown"
        self.together: Collection[str] = ()
        self.loaded: Mapping[str, int | None] = {}
        self.observed: dict[str, int | None] = {}

    @property
    def versions(self) -> dict[str, int | None]:
        """The version of each input that is read: what the plan saw, or what this run has published since."""
        return {i.parameter: self._version(i) for i in self.step.inputs}

    def order(self, together: Collection[str]) -> BuildRequest | None:
        """What a builder is asked for; None: nothing, for all of it is blocked or as it should be."""
        todo, _, _ = self.outlook()
        if not todo:
            return None
        self.since = self.table.version()
        inputs = {i.parameter: i for i in self.step.inputs}
        needs = {p: self.step.mapping(i).upstream(todo) & i.partitions for p, i in inputs.items()}
        # What the same call doesn't make of an input is loaded as it is now, whatever that call makes of it.
        self.together, self.loaded = together, self.versions
        return BuildRequest(
            self.asset,
            todo,
            self._context(todo),
            needs,
            lambda parameter, partitions: self._load(inputs[parameter], partitions),
            self.table,
            {p: (self.home.table(i.asset), self.versions[p]) for p, i in inputs.items()},
        )

    def do(self, made: Built | None = None, about: PartitionSet | None = None) -> StepResult:
        """Do the step; with what a builder made of it, if one did, and all the partitions that its call was about."""
        todo, skipped, why = self.outlook()
        facts = [self._fact(Status.SKIPPED, skipped, reason=why)] if skipped else []
        current = self.step.partitions - todo - skipped
        if not todo:
            self.home.lineage_store.append(facts)
            return self._result(facts, skipped=skipped, current=current)
        staged: Staged | None = None
        publishing = False
        try:
            since = self.table.version() if self.since == "unknown" else self.since
            frame = self._compute(todo) if made is None else self._take(made, todo, (about or todo) - todo)
            staged = self._stage(frame, todo)
            audit, digests = self._audit(staged, todo, made.checks if made else ())
            facts += self._outcome(audit, staged, digests)
            if audit.passed:
                publishing = True
                version = self.table.publish(staged, audit.passed, payload=to_payload(facts), since=since)
                facts = [
                    f.model_copy(update={"version": version}) if f.status is Status.PUBLISHED else f for f in facts
                ]
        except BaseException as error:
            # Once a commit was on its way only the log knows whether it arrived, and its files must stay; unless the
            # table itself refused it.
            if not publishing or isinstance(error, StepError):
                self._clean_up(staged)
            if not isinstance(error, KeyboardInterrupt | SystemExit):
                self._record_failure(todo, error, facts)
            raise
        unrecorded = self._record(facts)
        self._clean_up(staged, published=audit.passed)
        result = self._result(facts, skipped=skipped, current=current)
        return result if unrecorded is None else replace(result, unrecorded=True, error=unrecorded)

    # ── what the inputs allow ─────────────────────────────────────────────────────────────

    def outlook(self) -> tuple[PartitionSet, PartitionSet, str]:
        """What there is to do, what can't be done, and why not.

        The rest is as it should be: it was to be made if an input of it changed, and none did.
        """
        blocked, why = self._blocked()
        todo = self.step.partitions - blocked
        if self.step.maybe:
            todo = todo - (self.step.maybe - self._touched())
        return todo, blocked, why

    def _touched(self) -> PartitionSet:
        """The partitions of which an input has other rows now than before the run."""
        touched = self.asset.partitions.empty()
        for given in self.step.inputs:
            changed = given.asset.partitions.empty()
            for made in (self.made[s] for s in given.steps if s in self.made):
                changed = changed | (made.changed & given.partitions)
            touched = touched | self.step.mapping(given).downstream(changed)
        return touched

    def _blocked(self) -> tuple[PartitionSet, str]:
        """The partitions whose inputs were to be made in this run and were not, and why."""
        blocked = self.asset.partitions.empty()
        reasons = []
        for given in self.step.inputs:
            absent = given.asset.partitions.empty()
            for made in (self.made[s] for s in given.steps if s in self.made):
                absent = absent | (made.absent & given.partitions)
            hit = self.step.mapping(given).downstream(absent) & self.step.partitions if absent else None
            if hit:
                blocked = blocked | hit
                reasons.append(f"its input {given.asset.key} {absent}".rstrip() + " was not published")
        return blocked, "; ".join(reasons)

    def _version(self, given: Input) -> int | None:
        """The version to read: what the plan saw, or what this run has published since."""
        alike = [one for one in self.step.inputs if one.asset.key == given.asset.key]
        versions = [given.version, *(self.made[s].version for one in alike for s in one.steps if s in self.made)]
        versions.append(self.observed.get(given.asset.key))
        return max((v for v in versions if v is not None), default=None)

    # ── compute ───────────────────────────────────────────────────────────────────────────

    def _compute(self, todo: PartitionSet) -> pl.LazyFrame:
        import polars as pl

        from lakehouse.checks.gate import conform
        from lakehouse.io.frames import take

        # A function that asks for its range gets one range at a time: it never has to think of gaps.
        parts = (
            [PartitionSet(todo.partitions, (span,)) for span in todo.spans]
            if "partitions" in self.asset.takes
            else [todo]
        )
        frames = []
        for part in parts:
            given = self._arguments(part, todo)
            with _blaming(self.asset, part):
                frame = take(self.asset.function(**given), where=self.asset.key)
                frame.collect_schema()
            frames.append(frame)
        with _blaming(self.asset, todo):
            frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical")
            return conform(self.asset, frame)

    def _arguments(self, part: PartitionSet, todo: PartitionSet) -> dict[str, Any]:
        from lakehouse.io.frames import give

        given: dict[str, Any] = {}
        for one in self.step.inputs:
            if one.asset.external:
                given[one.parameter] = self._look(one, self.step.mapping(one).upstream(part) & one.partitions)
                continue
            frame = self._load(one, self.step.mapping(one).upstream(part) & one.partitions)
            try:
                given[one.parameter] = give(frame, self._frame_type(one))
            except LakehouseError:
                raise
            except Exception as error:
                raise StorageError(
                    f"{self.asset.key}: its input {one.asset.key} at version {self.versions[one.parameter]} "
                    f"can't be read: {type(error).__name__}: {error}"
                ) from error
        if "partitions" in self.asset.takes:
            given["partitions"] = part.hull
        if "context" in self.asset.takes:
            given["context"] = self._context(todo)
        return given

    def _context(self, todo: PartitionSet) -> Context:
        return Context(
            run_id=self.run.id,
            asset=self.asset.key,
            partitions=todo,
            attempt=self.number,
            started_at=self.run.started,
            logger=logging.getLogger(f"lakehouse.{self.asset.key}"),
        )

    def _frame_type(self, given: Input) -> Any:
        return next(p.frame for p in self.asset.inputs if p.name == given.parameter)

    def _look(self, given: Input, partitions: PartitionSet) -> Observed:
        """What there is of an external asset. What isn't as it was for the plan is written down: it is what is read."""
        seen = look(given.asset, partitions)
        absent = [key for key in partitions if key not in seen.versions]
        if absent:
            raise StepError(
                f"{self.asset.key}: {given.asset.key} {shorten(absent)} is gone since it was observed",
                hint="what was made from it before stays as it is; lakehouse observe looks again",
            )
        found = observation(given.asset, seen.versions, given.digests)
        if found is not None:
            self.home.lineage_store.append([found])
            self.observed[given.asset.key] = found.version
        return seen

    def _load(self, given: Input, partitions: PartitionSet) -> pl.LazyFrame:
        if self.versions[given.parameter] is None and not partitions:
            # Nothing is needed of what was never built, as at the beginning of a window.
            import polars as pl

            schema = given.asset.schema
            return pl.LazyFrame(schema={c.name: c.dtype for c in schema.columns} if schema else None)
        return load(self.home.table(given.asset), given.asset, partitions, version=self.versions[given.parameter])

    def _take(self, made: Built, todo: PartitionSet, beside: PartitionSet) -> pl.LazyFrame:
        """What a builder made, without partitions that it made for others or that were blocked while it was at work."""
        import polars as pl

        from lakehouse.checks.gate import conform
        from lakehouse.io.tokens import token, within

        if made.frame is None:
            raise StepError(f"{self.asset.key}: {made.error or 'it was not made'}")
        with _blaming(self.asset, todo):
            frame, schema = made.frame, made.frame.collect_schema()
            columns = self.asset.partitions.columns
            if beside and columns and set(columns) <= set(schema):
                key = token(self.asset.partitions, schema, where=self.asset.key)
                frame = frame.filter(~within(beside, key) | pl.any_horizontal(pl.col(columns).is_null()))
            return conform(self.asset, frame)

    # ── stage and audit ───────────────────────────────────────────────────────────────────

    def _stage(self, frame: pl.LazyFrame, todo: PartitionSet) -> Staged:
        from lakehouse.io import PARTITION
        from lakehouse.io.tokens import token, tokens

        self.dtypes = dict(frame.collect_schema())
        if PARTITION in self.dtypes:
            raise WrongFrame(f"{self.asset.key} returned a column {PARTITION!r}, which is the library's own")
        if self.asset.partitioned:
            for column in self.asset.partitions.columns:
                if column not in self.dtypes:
                    raise WrongFrame(
                        f"{self.asset.key} returned no column {column!r}, which holds its partition; "
                        f"it has {shorten(self.dtypes, 10)}",
                        hint=f"keep {column!r} in what the function returns",
                    )
            key = token(self.asset.partitions, self.dtypes, where=self.asset.key)
            frame = frame.with_columns(key.alias(PARTITION))
        staged = self.table.stage(frame, self.id)
        asked = set(tokens(todo))
        outside = {t: n for t, n in staged.rows.items() if t not in asked}
        if outside and self.asset.partitioned:
            self.table.discard(staged)
            shown = shorten(sorted(t if t and not t.startswith("~n") else "no partition at all" for t in outside))
            raise RowsOutsidePartitions(
                f"{self.asset.key} was asked for {todo} and returned {sum(outside.values()):,} rows for {shown}",
                hint="filter by the range that the function is given, or keep the input's partition column as it is",
            )
        return staged

    def _audit(self, staged: Staged, todo: PartitionSet, more: Sequence[AnyCheck]) -> tuple[Audit, Mapping[str, str]]:
        """What the gate found, and what stands for the rows of each partition, by token."""
        import polars as pl

        from lakehouse.checks import Check
        from lakehouse.checks.gate import audit
        from lakehouse.io import PARTITION
        from lakehouse.io.digests import partition_digests
        from lakehouse.io.frames import restore
        from lakehouse.io.tokens import token

        frame = restore(self.table.staged(staged), self.dtypes)
        if not self.asset.partitioned:
            frame = frame.with_columns(pl.lit("").alias(PARTITION))
        compared = {c.upstream for c in self.asset.checks if isinstance(c, Check) and c.upstream}
        upstream = {}
        for given in self.step.inputs:
            if given.parameter in compared:
                theirs = self._load(given, self.step.mapping(given).upstream(todo))
                key = token(given.asset.partitions, theirs.collect_schema(), where=given.asset.key)
                upstream[given.parameter] = theirs.with_columns(key.alias(PARTITION))
        return audit(self.asset, frame, todo, upstream, more=more), partition_digests(frame)

    # ── publish and record ────────────────────────────────────────────────────────────────

    def _outcome(self, audit: Audit, staged: Staged, digests: Mapping[str, str]) -> list[Fact]:
        from lakehouse.io.digests import NOTHING
        from lakehouse.io.tokens import from_tokens, tokens

        facts = []
        if audit.held:
            uri = None
            if audit.rows is not None and audit.rows.height:
                uri = self.table.quarantine(audit.rows, self.id)
            facts.append(
                self._fact(
                    Status.REJECTED,
                    audit.held,
                    reason=audit.reason,
                    quarantine=uri,
                    rows=sum(staged.rows.get(t, 0) for t in tokens(audit.held)),
                    checks=audit.held_results,
                )
            )
        if audit.passed:
            passed = tokens(audit.passed)
            found = {t: digests.get(t, NOTHING) for t in passed}
            before = self.step.digests
            same = [t for t, k in zip(passed, audit.passed, strict=True) if before.get(k) == found[t]] if before else []
            facts.append(
                self._fact(
                    Status.PUBLISHED,
                    audit.passed,
                    digests="".join(found.values()),
                    unchanged=from_tokens(audit.passed.partitions, same).to_pairs(),
                    compared=self.step.since,
                    rows=sum(staged.rows.get(t, 0) for t in passed),
                    bytes=sum(staged.bytes.get(t, 0) for t in passed),
                    checks=audit.passed_results,
                )
            )
        return facts

    def _catch_up(self, version: int) -> None:
        """Record what others published before us and were stopped from recording.

        So that a recorded version means that all before it are recorded too, and looking for gaps stays cheap.
        """
        behind = unrecorded(self.table, self.home.lineage_store, self.asset.key, below=version)
        if behind:
            self.home.lineage_store.append(behind)

    def _record(self, facts: Sequence[Fact]) -> str | None:
        """Write down what came of the step; says why that failed, if it did after a publication.

        What is published is published, and its record is in the table's log: the step has not failed by it.
        """
        version = max((f.version for f in facts if f.version is not None), default=None)
        try:
            if version is not None:
                self._catch_up(version)
            self.home.lineage_store.append(facts)
        except (LineageError, StorageError) as error:
            if version is None:
                raise
            return (
                f"{self.asset.key}: published as version {version}, but not recorded: {error.message}; "
                "the next run finds it in the table's log and records it"
            )
        return None

    def _record_failure(self, todo: PartitionSet, error: BaseException, facts: Sequence[Fact]) -> None:
        reason = error.message if isinstance(error, LakehouseError) else f"{type(error).__name__}: {error}"
        # Published facts stay out: if the commit arrived, they are in the table's log.
        kept = [f for f in facts if f.status is not Status.PUBLISHED]
        held = [f.partitions for f in kept if f.status is Status.REJECTED]
        failed = todo - self.asset.partitions.from_pairs([pair for pairs in held for pair in pairs])
        try:
            self.home.lineage_store.append(
                [*kept, self._fact(Status.FAILED, failed, reason=reason[:2000])] if failed else kept
            )
        except LineageError as second:
            log.warning("%s: the failure could not be recorded either: %s", self.step.id, second.message)

    def _clean_up(self, staged: Staged | None, *, published: PartitionSet | None = None) -> None:
        """Remove what no version uses. What can't be removed takes space and harms nobody, so it fails no step."""
        try:
            self.table.discard(staged or self.id, published=published)
        except Exception as error:
            log.warning("%s: staged files were left behind: %s", self.step.id, error)

    def _fact(self, status: Status, partitions: PartitionSet, **more: Any) -> Fact:
        return Fact(
            id=new_id(),
            asset=self.asset.key,
            status=status,
            partitions=partitions.to_pairs(),
            run=self.run.id,
            started=self.started,
            finished=datetime.now(UTC),
            attempt=self.number,
            engine=self.run.engine,
            flow_run=self.run.flow_run,
            task_run=self.task_run,
            inputs=tuple(pin for given in self.step.inputs for pin in self._pins(given, partitions)),
            table=self.table.uri,
            code_version=self.asset.code_version,
            schema_version=self.asset.schema_version,
            checks_version=self.asset.checks_version,
            host=platform.node(),
            **more,
        )

    def _pins(self, given: Input, partitions: PartitionSet) -> list[InputPin]:
        """What some partitions were made from of an input: at one version; at two, if a builder made a part of it."""
        needed = self.step.mapping(given).upstream(partitions) & given.partitions
        version = self.versions[given.parameter]
        own = given.asset.partitions.empty()
        for made in (self.made[s] for s in given.steps if s in self.made and s in self.together):
            own = own | (made.published & needed)
        rest = needed - own
        if not own:
            version = self.loaded.get(given.parameter, version)
        pins = [(version, needed)] if not own else [(version, own)]
        if own and rest:
            pins.append((self.loaded[given.parameter], rest))
        return [InputPin(asset=given.asset.key, version=v, partitions=part.to_pairs()) for v, part in pins]

    def _result(self, facts: Sequence[Fact], *, skipped: PartitionSet, current: PartitionSet) -> StepResult:
        def of(status: Status) -> PartitionSet:
            pairs = [pair for f in facts if f.status is status for pair in f.partitions]
            return self.asset.partitions.from_pairs(pairs)

        return StepResult(
            step=self.step.id,
            asset=self.asset.key,
            published=of(Status.PUBLISHED),
            rejected=of(Status.REJECTED),
            failed=of(Status.FAILED),
            skipped=skipped,
            unchanged=self.asset.partitions.from_pairs([pair for f in facts for pair in f.unchanged]),
            current=current,
            version=max((f.version for f in facts if f.version is not None), default=None),
            error="; ".join(f.reason for f in facts if f.reason) or None,
            facts=tuple(facts),
            seconds=time.perf_counter() - self.clock,
        )


class _blaming:
    """Says whose function it was that raised."""

    def __init__(self, asset: Asset, part: PartitionSet) -> None:
        self.what = f"{asset.key} {part}".rstrip() if asset.partitioned else asset.key
        code = getattr(asset.function, "__code__", None)
        self.file = code.co_filename if code else None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, LakehouseError):
            text = str(error).strip() or "nothing more"
            raise StepError(
                f"{self.what}: the function raised {type(error).__name__}: {text}{self._place(error)}"
            ) from error

    def _place(self, error: Exception) -> str:
        """The last line of the asset's own module that the error went through."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if self.file is not None and f.filename == self.file]
        return f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""
