"""Lineage: an append-only log of facts. What is current is a fold over them (`state`)."""

from lakehouse.lineage.facts import CheckResult, Fact, InputPin, Status, new_id
from lakehouse.lineage.state import AssetState
from lakehouse.lineage.store import Lease, LineageReader, LineageStore

__all__ = [
    "AssetState",
    "CheckResult",
    "Fact",
    "InputPin",
    "Lease",
    "LineageReader",
    "LineageStore",
    "Status",
    "new_id",
]
