"""What runs publish, as Prefect events: for people to follow, and for automations to wait for.

Each publication of a step is one event. A run that published new content is one more, when it ends: that is what
triggers deployments, so that a backfill of hundreds of steps starts what is downstream once, when it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from lakehouse.definitions.asset import Asset
from lakehouse.execution.home import RunInfo
from lakehouse.execution.results import StepResult
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import logger

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

log = logger()


def resource_id(asset: str) -> str:
    """What Prefect's events call an asset.

    Parameters:
        asset: its key

    Examples:
        >>> resource_id("silver.flights")
        'lakehouse.asset.silver.flights'
    """
    return f"lakehouse.asset.{asset}"


def heard() -> bool:
    """Whether there is anybody to tell: a Prefect API is configured."""
    return bool(PREFECT_API_URL.value())


def tell_published(asset: Asset, result: StepResult, run: RunInfo) -> None:
    """Emit [PUBLISHED][] for a step, if it published anything. Never raises: what is published stays so.

    Parameters:
        asset: what the step made
        result: its outcome
        run: the run that it belongs to
    """
    if not result.published:
        return
    _emit(
        PUBLISHED,
        {
            "prefect.resource.id": resource_id(asset.key),
            "prefect.resource.name": asset.key,
            "lakehouse.layer": str(asset.layer),
            CHANGED: "true" if result.changed else "false",
        },
        payload={
            "asset": asset.key,
            "partitions": _words(result.published),
            "changed": _words(result.changed),
            "rows": result.rows,
            "version": result.version,
            "run": run.id,
        },
    )


def tell_updated(results: Iterable[StepResult], run: RunInfo) -> None:
    """Emit [UPDATED][] for a run, if it published new content. Never raises.

    Parameters:
        results: its outcomes steps
        run: the run
    """
    updated: dict[str, PartitionSet] = {}
    for result in results:
        if result.changed:
            updated[result.asset] = result.changed | updated.get(result.asset, result.changed)
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


def _words(partitions: PartitionSet) -> str:
    return str(partitions) or "all"


def _emit(event: str, resource: dict[str, str], **more: Any) -> None:
    try:
        emit_event(event, resource, **more)
    except Exception as error:
        log.warning("the event %s of %s could not be sent: %s", event, resource["prefect.resource.name"], error)
