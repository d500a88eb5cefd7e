"""The plan as a Prefect flow: a flow run for a materialization, a task run for a step, futures for its edges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

from lakehouse.asset import Asset
from lakehouse.errors import EngineError, shorten
from lakehouse.lineage import Status
from lakehouse.plan import Plan, Step
from lakehouse.run import Run, Watcher
from lakehouse.step import Home, RunInfo, StepResult, run_step

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
            results.update(_walk(plan, home, info, watcher))
            _report(plan, results.values(), home, run.title)
            return _flow_state(results.values())

        with _connected(watcher):
            state = materialize(return_state=True)
        if not results and plan:
            raise EngineError(f"Prefect ended the flow run before any step: {state.message or state.name}")
        return list(results.values())


def _walk(plan: Plan, home: Home, info: RunInfo, watcher: Watcher) -> dict[str, StepResult]:
    """Submit every step, in an order in which its inputs come first, and wait for all of them."""
    steps = {step.id: step for step in plan.steps}
    tasks = {asset.key: _task(asset, home, info, watcher, steps) for asset in plan.assets}
    futures: dict[str, PrefectFuture[Any]] = {}
    for step in plan.steps:
        task = tasks[step.asset.key].with_options(task_run_name=step.id)
        futures[step.id] = task.submit(quote(step), [allow_failure(futures[i]) for i in step.after])
    return {step.id: _ended(step, futures[step.id].result(raise_on_failure=False)) for step in plan.steps}


def _task(
    asset: Asset, home: Home, info: RunInfo, watcher: Watcher, steps: Mapping[str, Step]
) -> MaterializingTask[..., Any]:
    key = _asset_key(home.table(asset).uri)

    def do(step: Step, upstream: list[Any]) -> State[Any]:
        context = TaskRunContext.get()
        task_run = context.task_run if context else None
        attempt = task_run.run_count if task_run else 1
        if attempt == 1:
            watcher.started(step)
        try:
            result = run_step(
                step,
                home,
                info,
                [_ended(steps[i], found) for i, found in zip(step.after, upstream, strict=True)],
                attempt=attempt,
                task_run=str(task_run.id) if task_run else None,
            )
        except BaseException as error:
            if attempt > asset.retry.times or not isinstance(error, Exception):
                watcher.finished(step, StepResult.of_failure(step, error))
            raise
        watcher.finished(step, result)
        if result.published:
            add_asset_metadata(key, _metadata(result))
        return _task_state(result)

    return MaterializingTask(
        do,
        assets=[
            PrefectAsset(
                key=key,
                properties=AssetProperties(
                    name=asset.key,
                    description=asset.description[:_MAX_DESCRIPTION] or None,
                    owners=list(asset.owners) or None,
                ),
            )
        ],
        materialized_by="lakehouse",
        name=asset.key,
        description=asset.description or None,
        tags=sorted({str(asset.layer), *asset.tags}),
        retries=asset.retry.times,
        retry_delay_seconds=asset.retry.delay,
        timeout_seconds=asset.retry.timeout,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _ended(step: Step, found: Any) -> StepResult:
    """A task's result; one that raised, timed out or crashed stands for a step that published nothing."""
    return found if isinstance(found, StepResult) else StepResult.of_failure(step, found)


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


def _task_state(result: StepResult) -> State[Any]:
    if result.ok:
        return Completed(message=f"{result.rows:,} rows", data=result)
    if result.rejected and not result.published:
        return Failed(name="HeldBack", message=result.error, data=result)
    if not result.published:
        return Completed(name="Skipped", message=result.error, data=result)
    return Completed(name="PartlyPublished", message=result.error, data=result)


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
        try:
            with get_client(sync_client=True) as client:
                fault = client.api_healthcheck()
        except Exception as error:
            fault = error
        if fault is not None:
            raise EngineError(
                f"Prefect at {url} doesn't answer: {fault}"
                if url
                else f"Prefect's temporary server didn't start: {fault}",
                hint="start it (prefect server start), correct PREFECT_API_URL, or run without it: engine inline",
            ) from fault
        yield
