"""The plan as a Prefect flow: a flow run for a materialization, a task run for a step, futures for its edges."""

from __future__ import annotations

import platform
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, final

import cloudpickle
from prefect import allow_failure, flow, tags
from prefect.artifacts import create_markdown_artifact
from prefect.assets import Asset as PrefectAsset
from prefect.assets import AssetProperties, add_asset_metadata
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import AssetContext, FlowRunContext, TagsContext, TaskRunContext
from prefect.futures import PrefectFuture
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE,
    temporary_settings,
)
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import MaterializingTask

from lakehouse.definitions.asset import Asset
from lakehouse.errors import EngineError, LakehouseError, StepError, count, describe, shorten
from lakehouse.execution.batch import patience, run_batch
from lakehouse.execution.engine import Watcher
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.queue import Queue
from lakehouse.execution.results import StepResult
from lakehouse.execution.run import Run
from lakehouse.integrations.prefect.events import tell_published, tell_updated
from lakehouse.integrations.prefect.limits import limited
from lakehouse.integrations.prefect.logs import forward_logs
from lakehouse.interrupts import next_of
from lakehouse.lineage import Status
from lakehouse.planning.batches import StepBatch
from lakehouse.planning.plan import Plan
from lakehouse.redaction import logger, redacted

log = logger()

_THREADS = 4
_STARTUP_SECONDS = 180
_IN_BATCHES = {
    # By itself a server with SQLite writes each task run and each state alone, and answers 503 meanwhile.
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE: 100,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE: 100,
    PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL: 2.0,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE: 1000,
}
"""How a temporary server writes, where nobody has set it up otherwise."""

_MAX_TAGS = 25
"""Of a flow run: each is related to every event of it, and an event may have 100 related resources."""

_MAX_DESCRIPTION = 2500


@final
@dataclass(frozen=True)
class PrefectEngine:
    """Runs a plan as a flow on the Prefect API that is configured, or on a temporary one.

    Parameters:
        workers: steps at a time; None: 4 in threads, and with a task runner of your own as many as there are
        task_runner: makes another task runner (Dask, Ray) in place of threads
        inside: whether the steps become task runs of the flow run that this is called in, with its task runner,
            rather than of a flow run of their own
    """

    workers: int | None = None
    task_runner: Callable[[], TaskRunner[PrefectFuture[Any]]] | None = None
    inside: bool = False
    name: str = "prefect"

    @property
    def limit(self) -> int:
        """How many steps are under way at a time, at most."""
        return self.workers or (sys.maxsize if self.task_runner else _THREADS)

    def execute(self, plan: Plan, home: Home, run: RunInfo, watcher: Watcher) -> Sequence[StepResult]:
        """Do every step; see [Engine.execute][]."""
        results: dict[str, StepResult] = {}
        outer = TagsContext.get().current_tags

        def body() -> State[Any]:
            context = FlowRunContext.get()
            if context is None or context.flow_run is None:
                raise EngineError("no flow run is under way that steps could belong to", hint="leave out inside=True")
            info = replace(run, flow_run=str(context.flow_run.id))
            try:
                with TagsContext(current_tags=outer):
                    _walk(plan, home, info, watcher, self.limit, results)
            finally:
                tell_updated(results.values(), info)
            _report(plan, results.values(), home, run.title)
            return _flow_state(results.values())

        with connected(watcher):
            state = body() if self.inside else self._in_flow(body, plan, run.title)
        if not results and plan:
            raise EngineError(f"Prefect ended the flow run before any step was done: {state.message or state.name}")
        # Where Prefect itself failed on the way, what was done by then stands, and the rest is reported as failed.
        why = f"Prefect ended the flow run: {state.message or state.name}"
        return [results.get(step.id) or StepResult.of_failure(step, why) for step in plan.steps]

    def _in_flow(self, body: Callable[[], State[Any]], plan: Plan, title: str) -> State[Any]:
        runner: Any = self.task_runner() if self.task_runner else ThreadPoolTaskRunner(max_workers=self.limit)
        materialize = flow(
            name="materialize",
            flow_run_name=title.replace("{", "(").replace("}", ")"),
            task_runner=runner,
            persist_result=False,
            validate_parameters=False,
        )(_materialize)
        token = _body.set(body)
        try:
            with tags(*_tags(step.asset for step in plan.steps)[:_MAX_TAGS]):
                return materialize(return_state=True)
        finally:
            _body.reset(token)


_body: ContextVar[Callable[[], State[Any]]] = ContextVar("_body")


def _materialize() -> State[Any]:
    """What the flow does. Prefect sends its flow's function along with each task: so it holds on to nothing itself."""
    return _body.get()()


def _walk(
    plan: Plan, home: Home, info: RunInfo, watcher: Watcher, workers: int, results: dict[str, StepResult]
) -> None:
    """Submit each batch as soon as what it needs is there, and wait for all.

    A batch that waited for its inputs in the task runner would hold a worker while it waits.
    """
    context = FlowRunContext.get()
    # On the way to other processes the word gets lost that a task may start although another has failed.
    in_threads = context is not None and isinstance(context.task_runner, ThreadPoolTaskRunner)
    limits = limited(_tags(step.asset for step in plan.steps))
    queue = Queue(plan.batches)
    ended: SimpleQueue[StepBatch] = SimpleQueue()
    tasks: dict[str, MaterializingTask[..., Any]] = {}
    futures: dict[str, PrefectFuture[Any]] = {}  # of what is under way
    states: dict[str, State[Any]] = {}

    def submit(batch: StepBatch) -> None:
        name = _task_name(batch)
        if name not in tasks:
            tasks[name] = _task(batch, home, limits)
        work = _Work(batch, [results[i] for step in batch.steps for i in step.after if i in results], home, info)
        # States, not futures: of these Dask would do those again that a lost worker had done.
        edges = [allow_failure(states[i]) for i in batch.after if i in states]
        futures[batch.id] = tasks[name].with_options(task_run_name=batch.id).submit(work, edges)
        tell_its_end(batch)
        for step in batch.steps:
            watcher.started(step)

    def tell_its_end(batch: StepBatch) -> None:
        futures[batch.id].add_done_callback(lambda _: ended.put(batch))

    def end_one() -> None:
        batch = next_of(ended)
        future = futures.pop(batch.id, None)  # before anything that may raise: one batch ends once
        if future is None:
            return
        try:
            try:
                found = future.result(raise_on_failure=False)
            except Exception as error:  # the worker is gone, and with it the task run's state
                found = error
            if in_threads or future.state.is_completed():
                states[batch.id] = future.state.model_copy(update={"data": True})
            for step, result in zip(batch.steps, _ended(batch, found), strict=True):
                results[step.id] = result
                watcher.finished(step, result)
        finally:
            queue.ended(batch)

    try:
        while queue or futures:
            while queue and len(futures) < workers:
                submit(queue.pop())
            end_one()
    except BaseException as error:
        # What is under way publishes all the same: the run isn't over before it is. What is made elsewhere is ended.
        info.stop.now(f"the run was interrupted ({type(error).__name__})")
        for batch in plan.batches if futures else ():
            if batch.id in futures:
                tell_its_end(batch)  # once more: the word may have come in the very moment of the interrupt
        while futures:
            with suppress(Exception):
                end_one()
        raise


@final
class _Work:
    """What a task run is given. No dataclass, or Prefect would search all of it for futures.

    In another process it is unpacked by the task run itself: where the assets' module can't be imported, that is an
    error of the step, and not the end of the worker.

    Parameters:
        batch: what to do
        upstream: the outcomes of the steps that it comes after
        home: where tables and lineage are
        info: the run
    """

    def __init__(self, batch: StepBatch, upstream: list[StepResult], home: Home, info: RunInfo) -> None:
        self._given = (batch, upstream, home, info)

    def unpacked(self) -> tuple[StepBatch, list[StepResult], Home, RunInfo]:
        """All of it.

        Raises:
            EngineError: it names what can't be imported here
        """
        return self._given

    def __reduce__(self) -> Any:
        return _Packed, (cloudpickle.dumps(self._given),)


@final
class _Packed:
    """The same as it arrives in another process."""

    def __init__(self, bytes_: bytes) -> None:
        self._bytes = bytes_

    def unpacked(self) -> tuple[StepBatch, list[StepResult], Home, RunInfo]:
        try:
            found: tuple[StepBatch, list[StepResult], Home, RunInfo] = cloudpickle.loads(self._bytes)
        except Exception as error:
            raise EngineError(
                f"what the step needs can't be loaded on {platform.node()}: {type(error).__name__}: {error}",
                hint="install the module that holds the assets on every worker",
            ) from error
        return found


def _task_name(batch: StepBatch) -> str:
    """What Prefect's task runs are gathered under: the asset, or those that are made together."""
    builder = batch.steps[0].asset.builder
    return (
        batch.steps[0].asset.key
        if builder is None
        else f"{builder.name}: {', '.join(s.asset.name for s in batch.steps)}"
    )


def _tags(assets: Iterable[Asset]) -> list[str]:
    """What tells some assets from others: their layers, then their tags."""
    listed = list(assets)
    return [*sorted({str(one.layer) for one in listed}), *sorted({tag for one in listed for tag in one.tags})]


def _task(batch: StepBatch, home: Home, limits: Set[str]) -> MaterializingTask[..., Any]:
    """What does a batch; it bears those tags of its assets that have a limit."""
    assets = [step.asset for step in batch.steps]
    first = assets[0]
    retry = patience(batch)
    keys = {asset.key: _asset_key(home.table(asset).uri) for asset in assets}

    inputs = [given.asset for step in batch.steps for given in step.inputs]
    uris = (f"source://{one.name}" if one.external else home.table(one).uri for one in inputs)
    sources = {_asset_key(uri) for uri in uris} - set(keys.values())

    def do(work: _Work | _Packed, after: list[Any]) -> State[Any]:
        batch, upstream, home, info = work.unpacked()
        forward_logs(step.asset for step in batch.steps)
        context = TaskRunContext.get()
        task_run = context.task_run if context else None
        try:
            results = run_batch(
                batch,
                home,
                info,
                upstream,
                attempt=task_run.run_count if task_run else 1,
                task_run=str(task_run.id) if task_run else None,
            )
        except LakehouseError:
            raise
        except Exception as error:  # whose text Prefect would keep as it is
            raise StepError(f"{_task_name(batch)}: {describe(error)}") from error
        for result in results:
            if result.cause is not None:
                log.error("%s: %s", result.step, result.error, exc_info=result.cause)
        for step, result in zip(batch.steps, results, strict=True):
            tell_published(step.asset, result, info)
            if result.published:
                add_asset_metadata(keys[result.asset], _metadata(step.asset, result))
        shown = [r for r in results if r.published] or [r for r in results if r.rejected or r.failed]
        _tell_only_of({keys[r.asset] for r in shown})
        return _task_state(results)

    return MaterializingTask(
        do,
        assets=[
            PrefectAsset(
                key=keys[asset.key],
                properties=AssetProperties(
                    name=asset.key,
                    url=home.page(asset),
                    description=asset.description[:_MAX_DESCRIPTION] or None,
                    owners=list(asset.owners) or None,
                ),
            )
            for asset in assets
        ],
        materialized_by="dbt" if first.builder else "lakehouse",
        name=_task_name(batch),
        description=first.description or None,
        tags=[tag for tag in _tags(assets) if tag in limits],
        asset_deps=[*sources],
        retries=retry.times,
        retry_condition_fn=_may_be_tried_again,
        retry_delay_seconds=retry.delay,
        timeout_seconds=retry.timeout,
        cache_policy=NO_CACHE,
        persist_result=False,
        log_prints=True,
    )


def _retryable(error: object) -> bool:
    return not isinstance(error, KeyboardInterrupt | SystemExit) and bool(getattr(error, "retryable", True))


def _may_be_tried_again(task: Any, task_run: Any, state: State[Any]) -> bool:
    """Prefect would also try again what a task returned as a failed state: what checks held back stays so."""
    found = state.result(raise_on_failure=False)
    return isinstance(found, BaseException) and _retryable(found)


def _ended(batch: StepBatch, found: Any) -> list[StepResult]:
    """A task's results; one that raised, timed out or crashed stands for steps that published nothing."""
    return found if isinstance(found, list) else [StepResult.of_failure(step, found) for step in batch.steps]


# ── how it looks in Prefect ───────────────────────────────────────────────────────────────


def _asset_key(uri: str) -> str:
    """A table's URI as Prefect allows it in an asset key."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{re.sub(r'[^A-Za-z0-9._~/-]', '_', rest)}"


def _tell_only_of(keys: Set[str]) -> None:
    """Leave other tables out of the task's asset events: Prefect would tell of what was skipped as materialized."""
    context = AssetContext.get()
    if context is not None:
        others = [asset for asset in context.downstream_assets if asset.key not in keys]
        context.downstream_assets.difference_update(others)


def _metadata(asset: Asset, result: StepResult) -> dict[str, Any]:
    facts = [f for f in result.facts if f.status is Status.PUBLISHED]
    return {
        "layer": str(asset.layer),
        "tags": list(asset.tags),
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
        if not any(r.published for r in results):
            return Completed(name="UpToDate", message="no input has changed", data=results)
        return Completed(message=count(sum(r.rows for r in results), "row"), data=results)
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
        return Failed(
            message=f"{len(bad)} of {count(len(listed), 'step')} did not publish all: {shorten(r.step for r in bad)}"
        )
    return Completed(message=f"{count(sum(r.rows for r in listed), 'row')} in {count(len(listed), 'step')}")


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
        page = home.page(one.asset)
        name = one.asset.key if page is None else f"[{one.asset.key}]({page})"
        lines.append(
            f"| {name} | {one.published if one.published else 'nothing'} | {one.rows:,} "
            f"| {absent if absent else ''} | {'failed: ' + ', '.join(bad) if bad else f'{len(one.checks)} passed'} "
            f"| `{one.uri}` |"
        )
    for one in run.summaries():
        lines += [f"\n**{one.asset.key}**: {error}" for error in one.errors]
    create_markdown_artifact("\n".join(lines), key="materialization", description=title)


# ── reaching Prefect ──────────────────────────────────────────────────────────────────────


@contextmanager
def connected(watcher: Watcher) -> Iterator[None]:
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
        changes |= {setting: value for setting, value in _IN_BATCHES.items() if setting.value() == setting.default()}
    with temporary_settings(changes):
        watcher.waiting(
            f"Prefect at {redacted(url)}" if url else "a temporary Prefect server to start (10 to 20 seconds)"
        )
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
    found: SimpleQueue[Exception | None] = SimpleQueue()

    def ask() -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with get_client(sync_client=True) as client:
                found.put(client.api_healthcheck())
        except Exception as error:
            found.put(error)

    threading.Thread(target=copy_context().run, args=(ask,), name="lakehouse-prefect", daemon=True).start()
    return next_of(found)
