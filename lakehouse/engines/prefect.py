"""The plan as a Prefect flow: a flow run for a materialization, a task run for a step, futures for its edges."""

from __future__ import annotations

import heapq
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, final

from prefect import allow_failure, flow
from prefect.artifacts import create_markdown_artifact
from prefect.assets import Asset as PrefectAsset
from prefect.assets import AssetProperties, add_asset_metadata
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectFuture
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import MaterializingTask
from prefect.utilities.annotations import quote

from lakehouse.errors import EngineError, shorten
from lakehouse.lineage import Status
from lakehouse.plan import Plan, Unit
from lakehouse.run import Run, Watcher
from lakehouse.step import Home, RunInfo, StepResult, run_unit

_STARTUP_SECONDS = 180
_MAX_DESCRIPTION = 2500


@final
@dataclass(frozen=True)
class PrefectEngine:
    """Runs a plan as a flow on the Prefect API that is configured, or on a temporary one.

    Parameters:
        workers: steps at a time, in threads
        task_runner: makes another task runner (Dask, Ray) in place of threads
    """

    workers: int = 4
    task_runner: Callable[[], TaskRunner[PrefectFuture[Any]]] | None = None
    name: str = "prefect"

    def execute(self, plan: Plan, home: Home, run: RunInfo, watcher: Watcher) -> Sequence[StepResult]:
        """Do every step; see [Engine.execute][]."""
        results: dict[str, StepResult] = {}
        runner: Any = self.task_runner() if self.task_runner else ThreadPoolTaskRunner(max_workers=self.workers)

        @flow(
            name="materialize",
            flow_run_name=run.title.replace("{", "(").replace("}", ")"),
            task_runner=runner,
            persist_result=False,
            validate_parameters=False,
        )
        def materialize() -> State[Any]:
            context = FlowRunContext.get()
            assert context is not None
            assert context.flow_run is not None
            info = replace(run, flow_run=str(context.flow_run.id))
            _walk(plan, home, info, watcher, self.workers, results)
            _report(plan, results.values(), home, run.title)
            return _flow_state(results.values())

        with _connected(watcher):
            state = materialize(return_state=True)
        if not results and plan:
            raise EngineError(f"Prefect ended the flow run before any step was done: {state.message or state.name}")
        # Where Prefect itself failed on the way, what was done by then stands, and the rest is told as failed.
        why = f"Prefect ended the flow run: {state.message or state.name}"
        return [results.get(step.id) or StepResult.of_failure(step, why) for step in plan.steps]


def _walk(
    plan: Plan, home: Home, info: RunInfo, watcher: Watcher, workers: int, results: dict[str, StepResult]
) -> None:
    """Submit each unit as soon as what it needs is there, the first chunk's before the next one's, and wait for all.

    A unit that waited for its inputs in the task runner would hold a worker while it waits; and with all of Bronze
    ahead of all of Silver, a run that is interrupted would leave nothing for a reader.
    """
    units = {unit.id: unit for unit in plan.units}
    place = {unit.id: (unit.steps[0].chunk, i) for i, unit in enumerate(plan.units)}
    waits = {unit.id: set(unit.after) for unit in plan.units}
    feeds: dict[str, list[str]] = {unit.id: [] for unit in plan.units}
    for unit in plan.units:
        for source in unit.after:
            feeds[source].append(unit.id)
    ready = [(place[i], i) for i, sources in waits.items() if not sources]
    heapq.heapify(ready)
    ended: SimpleQueue[str] = SimpleQueue()
    tasks: dict[str, MaterializingTask[..., Any]] = {}
    futures: dict[str, PrefectFuture[Any]] = {}
    busy = 0
    while ready or busy:
        while ready and busy < workers:
            unit = units[heapq.heappop(ready)[1]]
            name = _task_name(unit)
            if name not in tasks:
                tasks[name] = _task(unit, home, info, watcher, units)
            task = tasks[name].with_options(task_run_name=unit.id)
            futures[unit.id] = task.submit(quote(unit), [allow_failure(futures[i]) for i in unit.after])
            futures[unit.id].add_done_callback(partial(_tell, ended, unit.id))
            busy += 1
        done = ended.get()
        busy -= 1
        found = futures[done].result(raise_on_failure=False)
        results.update({result.step: result for result in _ended(units[done], found)})
        for consumer in feeds[done]:
            waits[consumer].discard(done)
            if not waits[consumer]:
                heapq.heappush(ready, (place[consumer], consumer))


def _tell(ended: SimpleQueue[str], unit: str, _: Any) -> None:
    ended.put(unit)


def _task_name(unit: Unit) -> str:
    """What Prefect's task runs are gathered under: the asset, or those that are made together."""
    maker = unit.steps[0].asset.maker
    return unit.steps[0].asset.key if maker is None else f"{maker.name}: {', '.join(s.asset.name for s in unit.steps)}"


def _task(
    unit: Unit, home: Home, info: RunInfo, watcher: Watcher, units: Mapping[str, Unit]
) -> MaterializingTask[..., Any]:
    assets = [step.asset for step in unit.steps]
    first = assets[0]
    keys = {asset.key: _asset_key(home.table(asset).uri) for asset in assets}

    sources = {_asset_key(home.table(i.asset).uri) for step in unit.steps for i in step.inputs} - set(keys.values())

    def do(unit: Unit, upstream: list[Any]) -> State[Any]:
        context = TaskRunContext.get()
        task_run = context.task_run if context else None
        attempt = task_run.run_count if task_run else 1
        if attempt == 1:
            for step in unit.steps:
                watcher.started(step)
        try:
            results = run_unit(
                unit,
                home,
                info,
                [r for i, found in zip(unit.after, upstream, strict=True) for r in _ended(units[i], found)],
                attempt=attempt,
                task_run=str(task_run.id) if task_run else None,
            )
        except BaseException as error:
            if attempt > first.retry.times or not _retryable(error):
                for step in unit.steps:
                    watcher.finished(step, StepResult.of_failure(step, error))
            raise
        for step, result in zip(unit.steps, results, strict=True):
            watcher.finished(step, result)
            if result.published:
                add_asset_metadata(keys[result.asset], _metadata(result))
        return _task_state(results)

    return MaterializingTask(
        do,
        assets=[
            PrefectAsset(
                key=keys[asset.key],
                properties=AssetProperties(
                    name=asset.key,
                    description=asset.description[:_MAX_DESCRIPTION] or None,
                    owners=list(asset.owners) or None,
                ),
            )
            for asset in assets
        ],
        materialized_by="dbt" if first.maker else "lakehouse",
        name=_task_name(unit),
        description=first.description or None,
        tags=sorted({str(first.layer), *(tag for asset in assets for tag in asset.tags)}),
        asset_deps=[*sources],
        retries=first.retry.times,
        retry_condition_fn=_may_be_tried_again,
        retry_delay_seconds=first.retry.delay,
        timeout_seconds=first.retry.timeout,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _retryable(error: object) -> bool:
    return not isinstance(error, KeyboardInterrupt | SystemExit) and bool(getattr(error, "retryable", True))


def _may_be_tried_again(task: Any, task_run: Any, state: State[Any]) -> bool:
    """Prefect would also try again what a task returned as a failed state: what checks held back stays so."""
    found = state.result(raise_on_failure=False)
    return isinstance(found, BaseException) and _retryable(found)


def _ended(unit: Unit, found: Any) -> list[StepResult]:
    """A task's results; one that raised, timed out or crashed stands for steps that published nothing."""
    return found if isinstance(found, list) else [StepResult.of_failure(step, found) for step in unit.steps]


# ── how it looks in Prefect ───────────────────────────────────────────────────────────────


def _asset_key(uri: str) -> str:
    """A table's URI as Prefect allows it in an asset key."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{re.sub(r'[^A-Za-z0-9._~/-]', '_', rest)}"


def _metadata(result: StepResult) -> dict[str, Any]:
    facts = [f for f in result.facts if f.status is Status.PUBLISHED]
    return {
        "partitions": str(result.published) or "all",
        "rows": result.rows,
        "bytes": sum(f.bytes for f in facts),
        "table_version": result.version,
        "held_back": str(result.rejected) if result.rejected else None,
        "inputs": {pin.asset: pin.version for f in facts for pin in f.inputs},
        "checks": {c.name: "passed" if c.passed else f"failed: {c.message}" for f in facts for c in f.checks},
    }


def _task_state(results: list[StepResult]) -> State[Any]:
    errors = "; ".join(dict.fromkeys(r.error for r in results if r.error))
    if all(r.ok for r in results):
        return Completed(message=f"{sum(r.rows for r in results):,} rows", data=results)
    if any(r.published for r in results):
        return Completed(name="PartlyPublished", message=errors, data=results)
    if any(r.rejected for r in results):
        return Failed(name="HeldBack", message=errors, data=results)
    if any(r.failed for r in results):
        return Failed(message=errors, data=results)
    return Completed(name="Skipped", message=errors, data=results)


def _flow_state(results: Iterable[StepResult]) -> State[Any]:
    listed = list(results)
    bad = [r for r in listed if not r.ok]
    if bad:
        return Failed(message=f"{len(bad)} of {len(listed)} steps did not publish all: {shorten(r.step for r in bad)}")
    return Completed(message=f"{sum(r.rows for r in listed):,} rows in {len(listed)} steps")


def _report(plan: Plan, results: Iterable[StepResult], home: Home, title: str) -> None:
    """Leave the run's result where people look for it in Prefect."""
    run = Run("", plan, tuple(results), 0.0, home)
    lines = [
        "| asset | published | rows | not published | checks | table |",
        "| --- | --- | --: | --- | --- | --- |",
    ]
    for one in run.summaries():
        absent = one.failed | one.rejected | one.skipped
        bad = [c.name for c in one.checks if not c.passed]
        lines.append(
            f"| {one.asset.key} | {one.published if one.published else 'nothing'} | {one.rows:,} "
            f"| {absent if absent else ''} | {'failed: ' + ', '.join(bad) if bad else f'{len(one.checks)} passed'} "
            f"| `{one.uri}` |"
        )
    for one in run.summaries():
        lines += [f"\n**{one.asset.key}**: {error}" for error in one.errors]
    create_markdown_artifact("\n".join(lines), key="materialization", description=title)


# ── reaching Prefect ──────────────────────────────────────────────────────────────────────


@contextmanager
def _connected(watcher: Watcher) -> Iterator[None]:
    """See that an API answers, or start one and say so."""
    if FlowRunContext.get() is not None:
        yield
        return
    url = PREFECT_API_URL.value()
    changes: dict[Any, Any] = {}
    if not url:
        # Two cores need up to 20 seconds for it, which is where Prefect gives up by default.
        if PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value() < _STARTUP_SECONDS:
            changes[PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS] = _STARTUP_SECONDS
        changes[PREFECT_SERVER_ANALYTICS_ENABLED] = False
    with temporary_settings(changes):
        watcher.waiting(f"Prefect at {url}" if url else "a temporary Prefect server to start (10 to 20 seconds)")
        fault = _health()
        if fault is not None:
            raise EngineError(
                f"Prefect at {url} doesn't answer: {fault}"
                if url
                else f"Prefect's temporary server didn't start: {fault}",
                hint="start it (prefect server start), correct PREFECT_API_URL, or run without it: engine inline",
            ) from fault
        yield


def _health() -> Exception | None:
    """Ask the API how it is; a temporary one is started by that.

    In a thread that is deaf to Ctrl-C, which the server inherits: a terminal sends it to all that runs there, and a
    server that ends before the run does leaves the run to ask in vain, for minutes.
    """
    found: Future[Exception | None] = Future()

    def ask() -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with get_client(sync_client=True) as client:
                found.set_result(client.api_healthcheck())
        except Exception as error:
            found.set_result(error)

    threading.Thread(target=copy_context().run, args=(ask,), name="lakehouse-prefect", daemon=True).start()
    return found.result()
