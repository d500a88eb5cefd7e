"""One step: load, compute, stage, audit, publish, record. Knows no orchestrator, and no store but by its protocol."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from lakehouse.errors import LineageError, RowsOutsidePartitions, StepError, panics_raised
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.candidate import Candidate, audit_candidate, discard, discarding_on_error
from lakehouse.execution.compute import Sources, look_at_sources
from lakehouse.execution.divide import Bad, Divided, Made, blames_partitions, divide
from lakehouse.execution.elsewhere import make_candidate
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.outlook import Outlook
from lakehouse.execution.pins import Pins
from lakehouse.execution.publish import (
    Ready,
    begin,
    failure,
    hold_back,
    publish,
    record,
    record_failure,
    recording_failure,
)
from lakehouse.execution.results import StepResult, merge
from lakehouse.lineage import Status
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Step
from lakehouse.redaction import logger

if TYPE_CHECKING:
    from lakehouse.checks import RowCheck

log = logger()


def run_step(
    step: Step,
    home: Home,
    run: RunInfo,
    upstream: Iterable[StepResult] = (),
    *,
    attempt: int = 1,
    task_run: str | None = None,
) -> StepResult:
    """Do a step: what its inputs allow of it, in parts if it can't be done as a whole.

    Parameters:
        step: what to do
        home: where tables and lineage are
        run: the run it belongs to
        upstream: the outcomes of the steps that it comes after
        attempt: 1 for the first try
        task_run: Prefect's id of the task run

    Returns:
        the outcome of each of its partitions

    Raises:
        StepError: it failed; nothing was published, and that is recorded
        StorageError: a table can't be reached; LineageError: what was published could not be recorded
    """
    this = Attempt(step, home, run, attempt, task_run)
    results = {result.step: result for result in upstream}
    outlook = Outlook.of(step, results)
    pins = Pins.of(step, results)
    done = [leave_out(this, outlook, pins)]
    if outlook.todo:
        with recording_failure(this, outlook.todo, pins):
            this = begin(this)
            sources = look_at_sources(this, outlook.todo, pins)
        make = partial(make_part, this, sources)
        divided = divide(make, outlook.todo, may_divide=this.is_last, seconds=step.asset.retry.timeout)
        done += conclude(this, outlook.todo, sources.pins, divided)
    return replace(merge(done), seconds=time.perf_counter() - this.clock)


def leave_out(attempt: Attempt, outlook: Outlook, pins: Pins) -> StepResult:
    """What of a step is not to be made, and is recorded as skipped where it should have been."""
    left = replace(StepResult.nothing(attempt.step), current=outlook.current)
    if not outlook.blocked:
        return left
    inputs = pins.inputs(outlook.blocked)
    fact = attempt.recorder.fact(Status.SKIPPED, outlook.blocked, inputs=inputs, reason=outlook.why)
    attempt.home.lineage_store.append([fact])
    return replace(left, skipped=outlook.blocked, error=outlook.why, facts=(fact,))


def make_part(attempt: Attempt, sources: Sources, part: PartitionSet) -> Made | Bad:
    """Have the asset's function make some partitions of a step, and publish them.

    Parameters:
        attempt: the step
        sources: what it reads
        part: which partitions

    Returns:
        their outcomes; or why they could not be made, if fewer of them might be

    Raises:
        StepError, StorageError, LineageError: as [run_step][]; recorded
    """
    divisible = _divisible(attempt.step)
    try:
        with panics_raised():
            candidate = make_candidate(attempt, part, sources)
            ready = prepare(attempt, candidate, part, sources.pins, divisible=divisible)
    except BaseException as error:
        if divisible and isinstance(error, StepError) and blames_partitions(error):
            return Bad(part, error)
        record_failure(attempt, part, sources.pins, error)
        raise
    return Made(finish(attempt, ready), ready.audited.well)


def prepare(
    attempt: Attempt,
    candidate: Candidate,
    todo: PartitionSet,
    pins: Pins,
    checks: Sequence[RowCheck] = (),
    *,
    divisible: bool = False,
) -> Ready:
    """Audit the rows of some partitions, so that what passes can be published.

    Parameters:
        attempt: the step
        candidate: the rows, as they are staged
        todo: the partitions that were asked for
        pins: the versions that they are made from
        checks: what stands before publication besides the asset's own checks
        divisible: whether the rows of fewer partitions could be computed by themselves
    """
    with discarding_on_error(attempt.table, candidate.staged):
        audited = audit_candidate(attempt, candidate, pins, todo, checks, divisible=divisible)
        return hold_back(attempt, candidate, audited, pins)


def finish(attempt: Attempt, ready: Ready) -> StepResult:
    """Publish what passed, and record the outcome of all of it.

    Parameters:
        attempt: the step
        ready: what was staged and audited
    """
    audit = ready.audited.audit
    facts = list(ready.held)
    if audit.passed:
        with recording_failure(attempt, audit.passed, ready.pins, ready.held):
            facts += publish(attempt, ready)
    with recording_failure(attempt, audit.passed, ready.pins, ready.held):
        unrecorded = record(attempt, facts)
    discard(attempt.table, ready.candidate.staged, published=audit.passed, held=ready.keeps)
    return replace(
        StepResult.nothing(attempt.step),
        published=audit.passed,
        rejected=audit.held,
        unchanged=ready.audited.unchanged,
        apart=0 if ready.audited.apart is None else ready.audited.apart.height,
        version=max((fact.version for fact in facts if fact.version is not None), default=None),
        error=unrecorded or "; ".join(filter(None, (audit.reason, ready.remark))) or None,
        facts=tuple(facts),
        unrecorded=unrecorded is not None,
    )


def conclude(attempt: Attempt, todo: PartitionSet, pins: Pins, divided: Divided) -> list[StepResult]:
    """Record what could not be made of a step, and log it.

    Parameters:
        attempt: the step
        todo: the partitions that were to be made
        pins: the versions of its inputs
        divided: their outcomes

    Raises:
        LakehouseError: nothing could be made at all
    """
    results = list(divided.results)
    if divided.error is None:
        return results
    log.info("%s was made in %s parts, for: %s", attempt.step.id, divided.calls, divided.error.message)
    bad = divided.bad
    if not results and any(len(one.partitions) > 1 for one in bad):
        bad = (Bad(todo, divided.error),)  # it fails everywhere alike
    facts = [failure(attempt, one.partitions, pins, one.error, _status(one)) for one in bad]
    try:
        if facts:
            attempt.home.lineage_store.append(facts)
    except LineageError as error:
        log.warning("%s: the failure could not be recorded either: %s", attempt.step.id, error.message)
    if not results:
        raise divided.error
    if not bad:
        return results
    for one in bad:
        log.info("%s %s could not be made", attempt.asset.key, one.partitions, exc_info=one.error)
    left = replace(
        StepResult.nothing(attempt.step),
        rejected=todo.partitions.union(one.partitions for one in bad if _status(one) is Status.REJECTED),
        failed=todo.partitions.union(one.partitions for one in bad if _status(one) is Status.FAILED),
        error="; ".join([*dict.fromkeys(fact.reason for fact in facts), f"found in {divided.calls} further calls"]),
        facts=tuple(facts),
        cause=bad[0].error,
    )
    return [*results, left]


def _status(bad: Bad) -> Status:
    """What lies elsewhere than it should is held back, whether it was found to stand alone or not."""
    return Status.REJECTED if isinstance(bad.error, RowsOutsidePartitions) else Status.FAILED


def _divisible(step: Step) -> bool:
    """Whether an asset's function makes other rows where it is asked for fewer partitions, and may be asked again."""
    asset = step.asset
    knows = bool(asset.takes) or any(given.asset.partitioned for given in step.inputs)
    return asset.retry.split and asset.partitioned and knows
