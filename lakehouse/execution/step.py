"""One step: load, compute, stage, audit, publish, record. Knows no orchestrator, and no store but by its protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lakehouse.execution.attempt import Attempt
from lakehouse.execution.candidate import audit_candidate, discard, discarding_on_error, stage
from lakehouse.execution.compute import Computed, call_function
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.outlook import Outlook
from lakehouse.execution.pins import Pins
from lakehouse.execution.publish import hold_back, publish, record, recording_failure
from lakehouse.execution.results import StepResult, merge
from lakehouse.lineage import Fact, Status
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Step

if TYPE_CHECKING:
    from lakehouse.checks import AnyCheck


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
    this = Attempt(step, home, run, attempt, task_run)
    results = {result.step: result for result in upstream}
    outlook = Outlook.of(step, results)
    pins = Pins.of(step, results)
    done = [leave_out(this, outlook, pins)]
    if outlook.todo:
        with recording_failure(this, outlook.todo, pins):
            since = this.table.version()
        done.append(make(this, outlook.todo, pins, since, lambda: call_function(this, outlook.todo, pins)))
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


def make(
    attempt: Attempt,
    todo: PartitionSet,
    pins: Pins,
    since: int | None,
    compute: Callable[[], Computed],
    checks: Sequence[AnyCheck] = (),
) -> StepResult:
    """Make some partitions of a step: compute, stage, audit, publish and record.

    Parameters:
        attempt: the step
        todo: which partitions
        pins: the versions of its inputs, as far as they are known before it is computed
        since: the version of its table that it began with
        compute: gives the rows
        checks: what stands before publication besides the asset's own checks

    Raises:
        StepError, StorageError, LineageError: as [run_step][]
    """
    with recording_failure(attempt, todo, pins):
        computed = compute()
        candidate = stage(attempt, computed, todo)
        with discarding_on_error(attempt.table, candidate.staged):
            audited = audit_candidate(attempt, candidate, computed, todo, checks)
            held = hold_back(attempt, candidate, audited, computed.pins)
    published: list[Fact] = []
    if audited.audit.passed:
        with recording_failure(attempt, audited.audit.passed, computed.pins, held):
            published = publish(attempt, candidate, audited, computed.pins, held, since)
    facts = (*held, *published)
    unrecorded = record(attempt, facts)
    discard(attempt.table, candidate.staged, published=audited.audit.passed)
    return replace(
        StepResult.nothing(attempt.step),
        published=audited.audit.passed,
        rejected=audited.audit.held,
        unchanged=audited.unchanged,
        version=published[-1].version if published else None,
        error=unrecorded or audited.audit.reason or None,
        facts=facts,
        unrecorded=unrecorded is not None,
    )
