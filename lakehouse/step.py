"""One step: load, compute, stage, audit, publish, record. Knows no orchestrator, and no store but by its protocol."""

from __future__ import annotations

import logging
import os
import platform
import time
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, final

from lakehouse.asset import Asset, Context, Retry
from lakehouse.errors import (
    LakehouseError,
    LineageError,
    RowsOutsidePartitions,
    StepError,
    StorageError,
    WrongFrame,
    shorten,
)
from lakehouse.lineage import Fact, InputPin, Lineage, LineageReader, Status, new_id
from lakehouse.maker import Made, Maker, Order
from lakehouse.observe import Observed, look, observation
from lakehouse.partitions import PartitionSet
from lakehouse.plan import Input, Step, Unit

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.checks import AnyCheck
    from lakehouse.checks.gate import Audit
    from lakehouse.io import Staged, Table, TableReader

log = logging.getLogger("lakehouse")


class Home(Protocol):
    """What a step has to know of the lakehouse it works for."""

    @property
    def lineage(self) -> Lineage:
        """Where facts are written."""
        ...

    def table(self, asset: Asset) -> Table:
        """Where an asset's rows live."""
        ...


@final
@dataclass(frozen=True)
class RunInfo:
    """The run that a step belongs to.

    Parameters:
        id: the run
        started: when it started (UTC)
        engine: what runs it
        title: what was asked for, in words
        flow_run: Prefect's id of the flow run
    """

    id: str
    started: datetime
    engine: str
    title: str = ""
    flow_run: str | None = None


@final
@dataclass(frozen=True)
class StepResult:
    """What became of a step, partition by partition.

    Parameters:
        step: the step's id
        asset: key of what it makes
        published: what readers see now; version: the table version that shows it
        rejected: what its checks held back
        failed: what an error kept from being made; error: that error
        skipped: what was left out because its input isn't there
        unchanged: of what is published, what has the very rows that it had before
        current: what was left as it is, because no input of it has changed after all
        facts: what was recorded
        seconds: how long it took
        unrecorded: whether lineage doesn't know yet what was published
    """

    step: str
    asset: str
    published: PartitionSet
    rejected: PartitionSet
    failed: PartitionSet
    skipped: PartitionSet
    unchanged: PartitionSet
    current: PartitionSet
    version: int | None = None
    error: str | None = None
    facts: tuple[Fact, ...] = ()
    seconds: float = 0.0
    unrecorded: bool = False

    @property
    def ok(self) -> bool:
        """Whether everything that the step was to make is published and recorded."""
        return not (self.absent or self.unrecorded)

    @property
    def absent(self) -> PartitionSet:
        """What the step was to make and did not publish."""
        return self.rejected | self.failed | self.skipped

    @property
    def rows(self) -> int:
        """How many rows were published."""
        return sum(f.rows for f in self.facts if f.status is Status.PUBLISHED)

    @property
    def changed(self) -> PartitionSet:
        """What has other rows now than before."""
        return self.published - self.unchanged

    @classmethod
    def of_outlook(cls, step: Step, todo: PartitionSet, skipped: PartitionSet) -> StepResult:
        """What is known of a step before it is done: what it will make, if nothing fails, and what it can't."""
        none = step.asset.partitions.empty()
        return cls(step.id, step.asset.key, todo, none, none, skipped, none, step.partitions - todo - skipped)

    @classmethod
    def of_failure(cls, step: Step, error: BaseException | str, *, facts: tuple[Fact, ...] = ()) -> StepResult:
        """The result of a step that raised."""
        none = step.asset.partitions.empty()
        told = error.message if isinstance(error, LakehouseError) else str(error)
        return cls(step.id, step.asset.key, none, none, step.partitions, none, none, none, error=told, facts=facts)


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
    return _Attempt(step, home, run, list(upstream), attempt, task_run).do()


def run_unit(
    unit: Unit,
    home: Home,
    run: RunInfo,
    upstream: Iterable[StepResult] = (),
    *,
    attempt: int = 1,
    task_run: str | None = None,
) -> list[StepResult]:
    """Do a unit's steps: one, or those that one maker computes in one go.

    Takes what [run_step][] does. Of several steps one that fails doesn't stop those that don't need it: its failure is
    in its result. Where the maker itself failed nothing was made, and that is raised.

    Returns:
        what became of each step, in their order

    Raises:
        StepError, StorageError, LineageError: as [run_step][] does, for a unit of one step; or what the maker raised
    """
    maker = unit.steps[0].asset.maker
    if maker is None:
        (step,) = unit.steps
        return [run_step(step, home, run, upstream, attempt=attempt, task_run=task_run)]
    known = list(upstream)
    # What is blocked from outside is known before anything is computed; a step of the unit that then fails blocks the
    # rest of it as any other does.
    attempts = []
    for step in unit.steps:
        one = _Attempt(step, home, run, known, attempt, task_run)
        todo, blocked, _ = one.outlook()
        known.append(StepResult.of_outlook(step, todo, blocked))
        attempts.append(one)
    orders = [o for one in attempts if (o := one.order({s.id for s in unit.steps})) is not None]
    results = {result.step: result for result in known if result.step not in {s.id for s in unit.steps}}
    done: list[StepResult] = []
    try:
        made, fault = _make(maker, orders)
        for one in attempts:
            one.made = dict(results)
            try:
                result = one.do(made.get(one.asset.key) or Made(None, error=_told(fault)), _union(one.step, orders))
            except Exception as error:
                if len(unit.steps) == 1 and fault is None:
                    raise
                result = StepResult.of_failure(one.step, error)
            results[one.step.id] = result
            done.append(result)
    finally:
        maker.release(orders)
    if fault is not None:
        raise fault
    return done


def patience(unit: Unit) -> Retry:
    """How often a unit is tried: as the most patient of its assets asks; as long as all of theirs may take."""
    retries = [step.asset.retry for step in unit.steps]
    timeouts = [retry.timeout for retry in retries if retry.timeout is not None]
    return Retry(
        times=max(retry.times for retry in retries),
        delay=max(retry.delay for retry in retries),
        timeout=sum(timeouts) if len(timeouts) == len(retries) else None,
    )


def _union(step: Step, orders: Sequence[Order]) -> PartitionSet:
    """All partitions, as a step counts them, that a call to a maker is about."""
    domain = step.partitions.partitions.domain
    alike = [o.partitions for o in orders if o.partitions.partitions.domain == domain]
    return PartitionSet(step.asset.partitions, tuple(span for these in alike for span in these.spans))


def _make(maker: Maker, orders: Sequence[Order]) -> tuple[Mapping[str, Made], Exception | None]:
    if not orders:
        return {}, None
    try:
        return maker.make(orders), None
    except Exception as error:
        return {}, error


def _told(fault: Exception | None) -> str | None:
    if fault is None:
        return None
    return fault.message if isinstance(fault, LakehouseError) else f"{type(fault).__name__}: {fault}"


class _Attempt:
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

    def order(self, together: Collection[str]) -> Order | None:
        """What a maker is asked for; None: nothing, for all of it is blocked or as it should be."""
        todo, _, _ = self.outlook()
        if not todo:
            return None
        self.since = self.table.version()
        inputs = {i.parameter: i for i in self.step.inputs}
        needs = {p: self.step.mapping(i).upstream(todo) & i.partitions for p, i in inputs.items()}
        # What the same call doesn't make of an input is loaded as it is now, whatever that call makes of it.
        self.together, self.loaded = together, self.versions
        return Order(
            self.asset,
            todo,
            self._context(todo),
            needs,
            lambda parameter, partitions: self._load(inputs[parameter], partitions),
            self.table,
            {p: (self.home.table(i.asset), self.versions[p]) for p, i in inputs.items()},
        )

    def do(self, made: Made | None = None, about: PartitionSet | None = None) -> StepResult:
        """Do the step; with what a maker made of it, if one did, and all the partitions that its call was about."""
        todo, skipped, why = self.outlook()
        facts = [self._fact(Status.SKIPPED, skipped, reason=why)] if skipped else []
        current = self.step.partitions - todo - skipped
        if not todo:
            self.home.lineage.append(facts)
            return self._result(facts, skipped=skipped, current=current)
        staged: Staged | None = None
        publishing = False
        try:
            since = self.table.version() if self.since == "unknown" else self.since
            frame = self._compute(todo) if made is None else self._take(made, todo, (about or todo) - todo)
            staged = self._stage(frame, todo)
            audit, contents = self._audit(staged, todo, made.checks if made else ())
            facts += self._outcome(audit, staged, contents)
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
        found = observation(given.asset, seen.versions, given.contents)
        if found is not None:
            self.home.lineage.append([found])
            self.observed[given.asset.key] = found.version
        return seen

    def _load(self, given: Input, partitions: PartitionSet) -> pl.LazyFrame:
        if self.versions[given.parameter] is None and not partitions:
            # Nothing is needed of what was never built, as at the beginning of a window.
            import polars as pl

            schema = given.asset.schema
            return pl.LazyFrame(schema={c.name: c.dtype for c in schema.columns} if schema else None)
        return load(self.home.table(given.asset), given.asset, partitions, version=self.versions[given.parameter])

    def _take(self, made: Made, todo: PartitionSet, beside: PartitionSet) -> pl.LazyFrame:
        """What a maker made, without partitions that it made for others or that were blocked while it was at work."""
        import polars as pl

        from lakehouse.checks.gate import conform
        from lakehouse.io.keys import token, within

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
        from lakehouse.io.keys import token, tokens

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
        from lakehouse.io.contents import contents
        from lakehouse.io.frames import restore
        from lakehouse.io.keys import token

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
        return audit(self.asset, frame, todo, upstream, more=more), contents(frame)

    # ── publish and record ────────────────────────────────────────────────────────────────

    def _outcome(self, audit: Audit, staged: Staged, contents: Mapping[str, str]) -> list[Fact]:
        from lakehouse.io.contents import NOTHING
        from lakehouse.io.keys import from_tokens, tokens

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
            found = {t: contents.get(t, NOTHING) for t in passed}
            before = self.step.contents
            same = [t for t, k in zip(passed, audit.passed, strict=True) if before.get(k) == found[t]] if before else []
            facts.append(
                self._fact(
                    Status.PUBLISHED,
                    audit.passed,
                    contents="".join(found.values()),
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
        behind = unrecorded(self.table, self.home.lineage, self.asset.key, below=version)
        if behind:
            self.home.lineage.append(behind)

    def _record(self, facts: Sequence[Fact]) -> str | None:
        """Write down what came of the step; says why that failed, if it did after a publication.

        What is published is published, and its record is in the table's log: the step has not failed by it.
        """
        version = max((f.version for f in facts if f.version is not None), default=None)
        try:
            if version is not None:
                self._catch_up(version)
            self.home.lineage.append(facts)
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
            self.home.lineage.append(
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
        """What some partitions were made from of an input: at one version; or at two, if a maker made a part of it."""
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


def load(
    table: TableReader, asset: Asset, partitions: PartitionSet | None, *, version: int | None = None
) -> pl.LazyFrame:
    """Read an asset's rows lazily, with the types that its schema promises.

    Parameters:
        table: where they live
        asset: what is read
        partitions: which partitions; None: all
        version: the table version; None: the newest

    Raises:
        StorageError: the table or the version is not there
    """
    from lakehouse.io.frames import restore

    frame = table.scan(partitions if asset.partitioned else None, version=version)
    return restore(frame, {c.name: c.dtype for c in asset.schema.columns} if asset.schema else {})


# ── what the table's log knows ────────────────────────────────────────────────────────────


def to_payload(facts: Sequence[Fact]) -> str:
    """Facts as text for the table's log, which keeps them in the very commit that they tell of."""
    return "[" + ",".join(f.to_json() for f in facts) + "]"


def unrecorded(table: TableReader, lineage: LineageReader, asset: str, *, below: int | None = None) -> list[Fact]:
    """What the table's log tells and lineage doesn't: the trail of a process that was killed in between.

    Parameters:
        table: the asset's table
        lineage: what is recorded
        asset: its key
        below: look at older versions only

    Raises:
        StorageError: the table can't be reached, or is older than what lineage knows; LineageError: lineage can't
    """
    known = lineage.latest_version(asset)
    newest = table.version() if below is None else below - 1
    if known is not None and below is None and (newest is None or newest < known):
        there = "there is no table" if newest is None else f"the table is only at version {newest}"
        raise StorageError(
            f"lineage knows version {known} of {asset}, but {there} at {table.uri}",
            hint="see that storage and lineage belong together (LAKEHOUSE_STORAGE, LAKEHOUSE_LINEAGE); if the table "
            "was deleted on purpose, delete the lineage store as well: what tables remain is found again in their logs",
        )
    if newest is None or (known is not None and newest <= known):
        return []
    return told(table, asset, after=known, below=below)


def told(table: TableReader, asset: str, *, after: int | None = None, below: int | None = None) -> list[Fact]:
    """What the table's log tells, between two versions, of an asset that may have had another name.

    Raises:
        StorageError: the table can't be reached
    """
    return [
        fact.moved(asset, table.uri)
        for publication in table.publications(after=after)
        if below is None or publication.version < below
        for fact in from_payload(publication.payload, publication.version)
    ]


def from_payload(payload: str, version: int) -> list[Fact]:
    """Facts as the table's log has them, with the version that was made along with them."""
    from pydantic import TypeAdapter

    return [
        f.model_copy(update={"version": version}) if f.status.committed else f
        for f in TypeAdapter(list[Fact]).validate_json(payload)
    ]


__all__ = [
    "Home",
    "RunInfo",
    "StepResult",
    "from_payload",
    "load",
    "patience",
    "run_step",
    "run_unit",
    "to_payload",
    "told",
    "unrecorded",
]
