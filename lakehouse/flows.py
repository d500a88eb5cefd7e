"""The flows that are deployed: the verbs, with parameters that a person can fill in.

Each works on the lakehouse that settings describe where it runs, and its steps are task runs of its own flow run.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from lakehouse.engines import open_engine
from lakehouse.errors import count, shorten
from lakehouse.execution.engine import Engine
from lakehouse.execution.run import Run
from lakehouse.integrations.prefect.engine import PrefectEngine
from lakehouse.integrations.prefect.events import tell_observed
from lakehouse.lake import Lakehouse
from lakehouse.maintenance import Maintenance
from lakehouse.redaction import logger
from lakehouse.settings import THREADS
from lakehouse.verbs import open_lakehouse
from lakehouse.watching import Arrived, Pace, Watch, open_queue


def _name() -> str:
    """What a person recognizes a flow run by: ``refresh +gold.* 2013-01-01...2013-01-31``."""
    given: dict[str, Any] = flow_run.parameters
    dates = [given[p] for p in ("start_date", "end_date") if given.get(p)]
    named = given.get("partitions") or "...".join(dates)
    which = named if isinstance(named, str) else shorten(named, 3)
    what = [given.get("selection") or given.get("asset"), which]
    return " ".join([flow_run.flow_name.removeprefix("lakehouse-"), *filter(None, what)])


@flow(name="lakehouse-refresh", flow_run_name=_name, persist_result=False)
def refresh(
    selection: str = "*",
    partitions: str | list[str] | None = None,
    upstream: Literal["missing", "stale", "all", "none"] = "missing",
    chunk: int | None = None,
) -> State[str]:
    """Bring a selection up to date: build what is missing or stale of it.

    Parameters:
        selection: which assets, such as ``+gold.*``
        partitions: a key, a range ``a...b`` with both ends, or a list of keys; none: all that there could be by now
        upstream: what to do about inputs
        chunk: partitions in a step, at most

    Returns:
        what was published, in a line

    Raises:
        MaterializationFailed: something failed or was held back
    """
    lake = _looked(open_lakehouse(), selection)
    engine = _engine(lake, lake.settings.workers)
    return _told(lake.refresh(selection, partitions, upstream=upstream, engine=engine, chunk=chunk))


@flow(name="lakehouse-materialize", flow_run_name=_name, persist_result=False)
def materialize(
    selection: str,
    partitions: str | list[str] | None = None,
    upstream: Literal["missing", "stale", "all", "none"] = "missing",
    chunk: int | None = None,
) -> State[str]:
    """Build a selection, whether it is there or not, and what it lacks upstream.

    Parameters:
        selection: which assets, such as ``silver.flights``
        partitions: a key, a range ``a...b`` with both ends, or a list of keys as they are; none: what is missing
        upstream: what to do about inputs
        chunk: partitions in a step, at most

    Returns:
        what was published, in a line

    Raises:
        MaterializationFailed: something failed or was held back
    """
    lake = _looked(open_lakehouse(), selection)
    engine = _engine(lake, lake.settings.workers)
    return _told(lake.materialize(selection, partitions, upstream=upstream, engine=engine, chunk=chunk))


@flow(name="lakehouse-backfill", flow_run_name=_name, persist_result=False)
def backfill(
    selection: str,
    start_date: str,
    end_date: str,
    parallel_days: int = 4,
    chunk: int | None = None,
    downstream: bool = False,
) -> State[str]:
    """Build what a selection lacks in a range of time, several chunks side by side. Called again, it goes on.

    Parameters:
        selection: which assets, such as ``+gold.*``
        start_date: key of the first partition, such as ``2013-01-01``
        end_date: key of the last one, which is built as well
        parallel_days: chunks that are built at the same time, at most
        chunk: partitions in a chunk, at most
        downstream: whether to build all that is made from the selection as well

    Returns:
        what was published, in a line

    Raises:
        MaterializationFailed: something failed or was held back
    """
    lake = _looked(open_lakehouse(), selection)
    if downstream:
        selection = " ".join(f"{asset.key}+" for asset in lake.select(selection))
    dates = f"{start_date}...{end_date}"
    return _told(lake.backfill(selection, dates, engine=_engine(lake, parallel_days), chunk=chunk))


@flow(name="lakehouse-step", flow_run_name=_name, persist_result=False)
def step(asset: str, partitions: str | list[str] | None = None) -> State[str]:
    """Build one asset in one step and nothing else, from what is there of its inputs: work to be done elsewhere.

    Parameters:
        asset: its key, such as ``silver.flights``
        partitions: a key, a range ``a...b`` with both ends, or a list of keys as they are; none: what is missing

    Returns:
        what was published, in a line

    Raises:
        MaterializationFailed: it failed or was held back
        PlanError: an input was never built
    """
    lake = open_lakehouse()
    one = lake.graph[asset]
    return _told(lake.materialize(one, partitions, upstream="none", engine=_engine(lake, 1), chunk=sys.maxsize))


@flow(name="lakehouse-observe", flow_run_name=_name, persist_result=False)
def observe(selection: str | None = None) -> State[str]:
    """Look at external assets. What changed of them is an event, which starts what is refreshed after its inputs.

    Parameters:
        selection: which of them, such as ``source.landing``; none: all

    Returns:
        what changed, in a line

    Raises:
        PlanError: the selection names no external asset
        StepError, StorageError: one can't be looked at
    """
    changed = {key: found for key, found in open_lakehouse().observe(selection).items() if found}
    tell_observed(changed, flow_run.id, flow_run.name)
    if not changed:
        return Completed(name="Unchanged", message="nothing changed", data="nothing changed")
    message = f"changed: {shorten(changed)}"
    return Completed(message=message, data=message)


@flow(name="lakehouse-watch", flow_run_name=_name, persist_result=False)
def watch(
    selection: str | None = None,
    queue: str | None = None,
    poll: str = "5s",
    sweep: str = "5m",
    settle: str = "2s",
    minutes: float | None = None,
) -> State[str]:
    """Watch external assets. What arrives is an event, which starts what is refreshed after its inputs.

    Parameters:
        selection: which of them, such as ``source.landing``; none: all
        queue: the queue (SQS) that tells of objects in buckets: its URL or name; none: the setting, if there is one
        poll: how often it looks where no queue tells; sweep: how often it looks elsewhere, for what a queue lost
        settle: how long nothing has to arrive before a burst is over
        minutes: how long it watches; none: until it is cancelled

    Returns:
        what arrived, in a line

    Raises:
        PlanError: the selection names no external asset
    """
    lake = open_lakehouse()
    arrived: dict[str, int] = {}

    def tell(changed: Arrived) -> None:
        tell_observed(changed, flow_run.id, flow_run.name)
        for key, found in changed.items():
            arrived[key] = arrived.get(key, 0) + len(found)

    watching = Watch(
        lake, selection, queue=open_queue(queue or lake.settings.queue), pace=Pace.of(poll, sweep, settle), tell=tell
    )
    watching.run(None if minutes is None else 60 * minutes)
    message = shorten(f"{key}: {count(number, 'partition')}" for key, number in arrived.items()) or "nothing arrived"
    return Completed(message=message, data=message)


@flow(name="lakehouse-maintain", flow_run_name=_name, persist_result=False)
def maintain(selection: str | None = None, keep: str | None = None, dry_run: bool = False) -> State[str]:
    """Tidy up: what a retention no longer asks for, and what nobody needs. It can run beside everything else.

    Parameters:
        selection: which assets; none: all
        keep: how far back old versions are kept, such as ``90d``; none: what the setting ``retention`` says
        dry_run: only say what would be done

    Returns:
        what was done, in a line

    Raises:
        LakehouseError: a retention that can't be
    """
    change = Maintenance(open_lakehouse()).maintain(selection, keep=keep)
    log = logger("lakehouse.maintain")
    for about, text in [*((action.about, action.text) for action in change.actions), *(("", n) for n in change.notes)]:
        log.info("%s", f"{about} {text}".strip())
    if not dry_run:
        change.apply()
    if not change:
        return Completed(name="Unchanged", message="nothing to do", data="nothing to do")
    message = f"{count(len(change.actions), 'thing')} {'to be done' if dry_run else 'done'}"
    return Completed(message=message, data=message)


def _looked(lake: Lakehouse, selection: str) -> Lakehouse:
    """A lakehouse whose external assets have been looked at, as far as the selection depends on them.

    The verbs would look as well, but what they find is no event, and what else is made from it would wait in vain.
    """
    outside = [a for one in lake.select(selection) for a in (*lake.graph.ancestors(one), one) if a.external]
    if outside:
        tell_observed(lake.observe(outside), flow_run.id, flow_run.name)
    return lake


def _engine(lake: Lakehouse, workers: int) -> Engine:
    """Steps are task runs of this very flow run; on a cluster, of one below it, which has the cluster as its runner."""
    runner = lake.settings.runner
    return PrefectEngine(workers=workers, inside=True) if runner == THREADS else open_engine("prefect", workers, runner)


def _told(run: Run) -> State[str]:
    """The flow run's state, whose message says what was done; what the flow returns says the same."""
    rows = sum(one.rows for one in run.summaries())
    message = f"{count(rows, 'row')} of {count(len(run.plan.assets), 'asset')} in {count(len(run.plan), 'step')}"
    if not run.plan:
        message = "nothing to do" if run.waiting else "all is up to date"
    waiting = shorten(f"{one.asset.key} {one.partitions} {one}" for one in run.waiting)
    message = "; ".join(filter(None, [message, waiting]))
    name = "Waiting" if run.waiting else None if run.plan else "UpToDate"
    return Completed(name=name, message=message, data=message)
