"""A batch of steps: one step, or several that one builder computes in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse.definitions.builder import Builder, BuildRequest, Built
from lakehouse.definitions.policies import Retry
from lakehouse.errors import (
    LakehouseError,
)
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.results import StepResult
from lakehouse.execution.step import Attempt, run_step
from lakehouse.partitions import PartitionSet
from lakehouse.planning.batches import StepBatch
from lakehouse.planning.steps import Step

if TYPE_CHECKING:
    pass


def run_batch(
    batch: StepBatch,
    home: Home,
    run: RunInfo,
    upstream: Iterable[StepResult] = (),
    *,
    attempt: int = 1,
    task_run: str | None = None,
) -> list[StepResult]:
    """Do a batch's steps: one, or those that one builder computes in one go.

    Takes what [run_step][] does. Of several steps one that fails doesn't stop those that don't need it: its failure is
    in its result. Where the builder itself failed nothing was made, and that is raised.

    Returns:
        what became of each step, in their order

    Raises:
        StepError, StorageError, LineageError: as [run_step][] does, for a batch of one step; or what the builder raised
    """
    builder = batch.steps[0].asset.builder
    if builder is None:
        (step,) = batch.steps
        return [run_step(step, home, run, upstream, attempt=attempt, task_run=task_run)]
    known = list(upstream)
    # What is blocked from outside is known before anything is computed; a step of the batch that then fails blocks the
    # rest of it as any other does.
    attempts = []
    for step in batch.steps:
        one = Attempt(step, home, run, known, attempt, task_run)
        todo, blocked, _ = one.outlook()
        known.append(StepResult.of_outlook(step, todo, blocked))
        attempts.append(one)
    requests = [o for one in attempts if (o := one.order({s.id for s in batch.steps})) is not None]
    results = {result.step: result for result in known if result.step not in {s.id for s in batch.steps}}
    done: list[StepResult] = []
    try:
        made, fault = _make(builder, requests)
        for one in attempts:
            one.made = dict(results)
            try:
                result = one.do(made.get(one.asset.key) or Built(None, error=_told(fault)), _union(one.step, requests))
            except Exception as error:
                if len(batch.steps) == 1 and fault is None:
                    raise
                result = StepResult.of_failure(one.step, error)
            results[one.step.id] = result
            done.append(result)
    finally:
        builder.release(requests)
    if fault is not None:
        raise fault
    return done


def patience(batch: StepBatch) -> Retry:
    """How often a batch is tried: as the most patient of its assets asks; as long as all of theirs may take."""
    retries = [step.asset.retry for step in batch.steps]
    timeouts = [retry.timeout for retry in retries if retry.timeout is not None]
    return Retry(
        times=max(retry.times for retry in retries),
        delay=max(retry.delay for retry in retries),
        timeout=sum(timeouts) if len(timeouts) == len(retries) else None,
    )


def _union(step: Step, requests: Sequence[BuildRequest]) -> PartitionSet:
    """All partitions, as a step counts them, that a call to a builder is about."""
    domain = step.partitions.partitions.domain
    alike = (o.partitions for o in requests if o.partitions.partitions.domain == domain)
    return step.asset.partitions.union(alike)


def _make(builder: Builder, requests: Sequence[BuildRequest]) -> tuple[Mapping[str, Built], Exception | None]:
    if not requests:
        return {}, None
    try:
        return builder.make(requests), None
    except Exception as error:
        return {}, error


def _told(fault: Exception | None) -> str | None:
    if fault is None:
        return None
    return fault.message if isinstance(fault, LakehouseError) else f"{type(fault).__name__}: {fault}"
