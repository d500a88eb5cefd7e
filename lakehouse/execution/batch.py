"""A batch of steps: one step, or several that one builder computes in one go."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakehouse.definitions.builder import Builder, BuildRequest, Built
from lakehouse.definitions.policies import Retry
from lakehouse.errors import describe, panics_raised
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.candidate import stage
from lakehouse.execution.compute import read_input, take_built
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.outlook import Outlook, Results
from lakehouse.execution.pins import Pins
from lakehouse.execution.publish import begin, recording_failure
from lakehouse.execution.results import StepResult, merge
from lakehouse.execution.step import finish, leave_out, prepare, run_step
from lakehouse.partitions import PartitionSet
from lakehouse.planning.batches import StepBatch

if TYPE_CHECKING:
    import polars as pl


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
        the outcome of each step, in their order

    Raises:
        StepError, StorageError, LineageError: as [run_step][] does, for a batch of one step; or what the builder raised
    """
    builder = batch.steps[0].asset.builder
    if builder is None:
        (step,) = batch.steps
        return [run_step(step, home, run, upstream, attempt=attempt, task_run=task_run)]
    before = {result.step: result for result in upstream}
    wanted = _wanted([Attempt(step, home, run, attempt, task_run) for step in batch.steps], before)
    requests = [one.request for one in wanted if one.request is not None]
    done: dict[str, StepResult] = {}
    try:
        built, fault = _build(builder, requests)
        for one in wanted:
            step = one.attempt.step
            mine = built.get(step.asset.key) or Built(None, error=describe(fault) if fault else None)
            try:
                done[step.id] = _finish(one, before, done, mine, _requested(step.partitions, requests))
            except Exception as error:
                if len(batch.steps) == 1 and fault is None:
                    raise
                done[step.id] = StepResult.of_failure(step, error)
    finally:
        builder.release(requests)
    if fault is not None:
        raise fault
    return list(done.values())


def patience(batch: StepBatch) -> Retry:
    """How often a batch is tried: as the most patient of its assets asks; as long as all of theirs may take."""
    retries = [step.asset.retry for step in batch.steps]
    timeouts = [retry.timeout for retry in retries if retry.timeout is not None]
    return Retry(
        times=max(retry.times for retry in retries),
        delay=max(retry.delay for retry in retries),
        timeout=sum(timeouts) if len(timeouts) == len(retries) else None,
    )


@dataclass(frozen=True)
class _Wanted:
    """What is wanted of a step of a batch, before the builder is at work.

    Parameters:
        attempt: the step
        pins: the versions of its inputs, but for what the batch itself makes
        request: what the builder is asked for; None: nothing, for all of it is blocked or as it should be
    """

    attempt: Attempt
    pins: Pins
    request: BuildRequest | None = None


def _wanted(attempts: Sequence[Attempt], before: Results) -> list[_Wanted]:
    """What is wanted of each step, if those before it in the batch go well.

    What is blocked from outside is known before anything is computed; a step of the batch that then fails blocks the
    rest of it as any other does.
    """
    expected = dict(before)
    wanted = []
    for one in attempts:
        step, pins = one.step, Pins.of(one.step, before)
        outlook = Outlook.of(step, expected)
        expected[step.id] = StepResult.of_outlook(step, outlook.todo, outlook.blocked)
        if outlook.todo:
            wanted.append(_Wanted(begin(one), pins, _request(one, outlook.todo, pins)))
        else:
            wanted.append(_Wanted(one, pins))
    return wanted


def _request(attempt: Attempt, todo: PartitionSet, pins: Pins) -> BuildRequest:
    step = attempt.step
    inputs = {given.parameter: given for given in step.inputs}

    def load(parameter: str, partitions: PartitionSet) -> pl.LazyFrame:
        given = inputs[parameter]
        return read_input(attempt.home.table, given.asset, partitions, pins.version(given))

    return BuildRequest(
        step.asset,
        todo,
        attempt.context(todo),
        {name: step.mapping(given).upstream(todo) & given.partitions for name, given in inputs.items()},
        load,
        attempt.table,
        {name: (attempt.home.table(given.asset), pins.version(given)) for name, given in inputs.items()},
    )


def _build(builder: Builder, requests: Sequence[BuildRequest]) -> tuple[Mapping[str, Built], Exception | None]:
    """What the builder made, by the asset's key; or why it could make nothing at all."""
    if not requests:
        return {}, None
    try:
        with panics_raised():
            return builder.make(requests), None
    except Exception as error:
        return {}, error


def _finish(wanted: _Wanted, before: Results, batch: Results, built: Built, requested: PartitionSet) -> StepResult:
    """Publish what the builder made of a step, as far as the steps before it in the batch have gone well."""
    attempt = wanted.attempt
    outlook = Outlook.of(attempt.step, {**before, **batch})
    pins = wanted.pins.beside(batch.values())
    done = [leave_out(attempt, outlook, pins)]
    if outlook.todo:
        with recording_failure(attempt, outlook.todo, pins):
            frame = take_built(attempt, outlook.todo, built, requested - outlook.todo)
            ready = prepare(attempt, stage(attempt, frame, outlook.todo), outlook.todo, pins, built.checks)
        done.append(finish(attempt, ready))
    return replace(merge(done), seconds=time.perf_counter() - attempt.clock)


def _requested(alike: PartitionSet, requests: Sequence[BuildRequest]) -> PartitionSet:
    """All partitions that a call to a builder is about, of the assets that are partitioned as a step is."""
    domain = alike.partitions.domain
    return alike.partitions.union(one.partitions for one in requests if one.partitions.partitions.domain == domain)
