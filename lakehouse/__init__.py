"""Software-defined data assets for Prefect.

Declare Bronze, Silver and Gold datasets as typed functions; `materialize` works out what to build, runs it as a Prefect
flow, publishes only what passes its checks, and records where every partition came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.asset import Asset, Context, Freshness, From, Layer, Retry, bronze, gold, silver, source
from lakehouse.errors import LakehouseError, MaterializationFailed
from lakehouse.graph import AssetGraph
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
    from lakehouse.lake import Lakehouse, backfill, materialize, refresh, status
    from lakehouse.run import Run

_LAZY = {
    "Lakehouse": "lakehouse.lake",
    "Run": "lakehouse.run",
    "backfill": "lakehouse.lake",
    "materialize": "lakehouse.lake",
    "refresh": "lakehouse.lake",
    "status": "lakehouse.lake",
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
    "Hourly",
    "Lakehouse",
    "LakehouseError",
    "Last",
    "Layer",
    "MaterializationFailed",
    "Monthly",
    "Multi",
    "Overlap",
    "PartitionRange",
    "PartitionSet",
    "PerDimension",
    "Retry",
    "Run",
    "Same",
    "Static",
    "Unpartitioned",
    "Weekly",
    "Window",
    "backfill",
    "bronze",
    "gold",
    "materialize",
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
