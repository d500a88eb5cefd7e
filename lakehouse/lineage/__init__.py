"""Lineage: an append-only log of facts. What is current is a fold over them (`state`)."""

from lakehouse.lineage.facts import CheckResult, Claim, Fact, InputPin, Lineage, LineageReader, Status, new_id
from lakehouse.lineage.state import AssetState

__all__ = [
    "AssetState",
    "CheckResult",
    "Claim",
    "Fact",
    "InputPin",
    "Lineage",
    "LineageReader",
    "Status",
    "new_id",
]
