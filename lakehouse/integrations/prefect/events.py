"""What runs publish, as Prefect events: for people to follow, and for automations to wait for.

Each publication of a step is one event. A run that published new content is one more, when it ends: that is what
triggers deployments, so that a backfill of hundreds of steps starts what is downstream once, when it is done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from prefect.context import FlowRunContext
from prefect.events import emit_event

from lakehouse.definitions.asset import Asset
from lakehouse.execution.home import RunInfo
from lakehouse.execution.results import StepResult
from lakehouse.lineage import Status
from lakehouse.partitions import PartitionSet

PUBLISHED: Final = "lakehouse.asset.published"
"""A step has published; its resource is the asset. Partitions, rows, run and table version are in the payload."""

OBSERVED: Final = "lakehouse.source.changed"
"""An external asset was looked at and had changed; its resource is the asset, which partitions is in the payload."""

UPDATED: Final = "lakehouse.run.updated"
"""A run has ended that published new content; its resource is the run, related are the assets whose content is new."""

CHANGED: Final = "lakehouse.changed"
"""Label of a publication's asset: ``true``, or ``false`` where all rows are what they were before."""

DEPLOYMENT: Final = "lakehouse.deployment"
"""Label of a run: id of the deployment that it belongs to, or ``none``."""

ROLE: Final = "updated"
"""The role in which a run's event is related to assets with new content."""

_ASSETS_IN_EVENT = 50
"""Prefect refuses an event with more than 100 related resources, and adds the flow run's own, its tags among them."""

log = logging.getLogger("lakehouse")


def resource_id(asset: str) -> str:
    """What Prefect's events call an asset.

    Parameters:
        asset: its key

    Examples:
        >>> resource_id("silver.flights")
        'lakehouse.asset.silver.flights'
    """
    return f"lakehouse.asset.{asset}"


def tell_published(asset: Asset, result: StepResult, run: RunInfo) -> None:
    """Emit [PUBLISHED][] for a step, if it published anything. Never raises: what is published stays so.

    Parameters:
        asset: what the step made
        result: what became of it
        run: the run that it belongs to
    """
    if not result.published:
        return
    changed = changes(asset, result)
    _emit(
        PUBLISHED,
        {
            "prefect.resource.id": resource_id(asset.key),
            "prefect.resource.name": asset.key,
            "lakehouse.layer": str(asset.layer),
            CHANGED: "true" if changed else "false",
        },
        payload={
            "asset": asset.key,
            "partitions": _words(result.published),
            "changed": _words(changed),
            "rows": result.rows,
            "version": result.version,
            "run": run.id,
        },
    )


def tell_updated(assets: Iterable[Asset], results: Iterable[StepResult], run: RunInfo) -> None:
    """Emit [UPDATED][] for a run, if it published new content. Never raises.

    Parameters:
        assets: what the run was to make
        results: what became of its steps
        run: the run
    """
    known = {asset.key: asset for asset in assets}
    updated: dict[str, PartitionSet] = {}
    for result in results:
        changed = changes(known[result.asset], result)
        if changed:
            updated[result.asset] = changed | updated.get(result.asset, changed)
    _tell(updated, run.id, run.title)


def tell_observed(changed: Mapping[str, PartitionSet], run: str, title: str) -> None:
    """Emit [OBSERVED][] for each external asset that changed, and [UPDATED][] for all of them. Never raises.

    Parameters:
        changed: the partitions that are new or changed, by the asset's key
        run: id of the flow run that looked; title: its name
    """
    found = {key: partitions for key, partitions in changed.items() if partitions}
    for key, partitions in found.items():
        _emit(
            OBSERVED,
            {"prefect.resource.id": resource_id(key), "prefect.resource.name": key},
            payload={"asset": key, "changed": _words(partitions), "run": run},
        )
    _tell(found, run, title)


def _tell(updated: Mapping[str, PartitionSet], run: str, title: str) -> None:
    context = FlowRunContext.get()
    deployment = context.flow_run.deployment_id if context and context.flow_run else None
    rest = iter(updated.items())
    while some := dict(islice(rest, _ASSETS_IN_EVENT)):
        _emit(
            UPDATED,
            {
                "prefect.resource.id": f"lakehouse.run.{run}",
                "prefect.resource.name": title or run,
                DEPLOYMENT: str(deployment or "none"),
            },
            related=[
                {
                    "prefect.resource.id": resource_id(key),
                    "prefect.resource.name": key,
                    "prefect.resource.role": ROLE,
                }
                for key in some
            ],
            payload={"run": run, "changed": {key: _words(part) for key, part in some.items()}},
        )


def changes(asset: Asset, result: StepResult) -> PartitionSet:
    """Which of the partitions that a step published have other rows than before.

    Parameters:
        asset: what the step made
        result: what became of it
    """
    same = [pair for fact in result.facts if fact.status is Status.PUBLISHED for pair in fact.unchanged]
    return result.published - asset.partitions.from_pairs(same)


def _words(partitions: PartitionSet) -> str:
    return str(partitions) or "all"


def _emit(event: str, resource: dict[str, str], **more: Any) -> None:
    try:
        emit_event(event, resource, **more)
    except Exception as error:
        log.warning("the event %s of %s could not be sent: %s", event, resource["prefect.resource.name"], error)
