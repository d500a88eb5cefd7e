"""Lineage: an append-only log of facts; state is a fold over them, and what was read is answered in one place.

Knows definitions and partitions, and the stores that keep facts (SQLite, DynamoDB). It must not know planning,
execution, Prefect, or how tables are stored.
"""

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
