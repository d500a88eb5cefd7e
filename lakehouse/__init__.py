"""Software-defined data assets for Prefect.

Declare Bronze, Silver and Gold datasets as typed functions; `materialize` works out what to build, runs it as a Prefect
flow, publishes only what passes its checks, and records where every partition came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.definitions.asset import Asset, Context, Layer
from lakehouse.definitions.compute import GlueJob, Here, Process, WorkPool
from lakehouse.definitions.decorators import bronze, gold, silver, source
from lakehouse.definitions.graph import AssetGraph
from lakehouse.definitions.policies import Freshness, Retry
from lakehouse.definitions.signature import From
from lakehouse.errors import LakehouseError, MaterializationFailed
from lakehouse.partitions import (
    All,
    Cron,
    Daily,
    Dynamic,
    Every,
    Hourly,
    Last,
    Monthly,
    Multi,
    Overlap,
    PartitionRange,
    PartitionSet,
    PerDimension,
    Same,
    Static,
    Unpartitioned,
    Weekly,
    Window,
)

if TYPE_CHECKING:
    from lakehouse.execution.run import Run
    from lakehouse.lake import Lakehouse
    from lakehouse.lineage.observations import Observed
    from lakehouse.verbs import backfill, load, materialize, observe, plan, refresh, status

_LAZY = {
    "Lakehouse": "lakehouse.lake",
    "Observed": "lakehouse.lineage.observations",
    "Run": "lakehouse.execution.run",
    "backfill": "lakehouse.verbs",
    "materialize": "lakehouse.verbs",
    "load": "lakehouse.verbs",
    "observe": "lakehouse.verbs",
    "plan": "lakehouse.verbs",
    "refresh": "lakehouse.verbs",
    "status": "lakehouse.verbs",
}
"""What needs more than definitions do: imported when it is first used."""

__all__ = [
    "All",
    "Asset",
    "AssetGraph",
    "Context",
    "Cron",
    "Daily",
    "Dynamic",
    "Every",
    "Freshness",
    "From",
    "GlueJob",
    "Here",
    "Hourly",
    "Lakehouse",
    "LakehouseError",
    "Last",
    "Layer",
    "MaterializationFailed",
    "Monthly",
    "Multi",
    "Observed",
    "Overlap",
    "PartitionRange",
    "PartitionSet",
    "PerDimension",
    "Process",
    "Retry",
    "Run",
    "Same",
    "Static",
    "Unpartitioned",
    "Weekly",
    "Window",
    "WorkPool",
    "backfill",
    "bronze",
    "gold",
    "load",
    "materialize",
    "observe",
    "plan",
    "refresh",
    "silver",
    "source",
    "status",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
