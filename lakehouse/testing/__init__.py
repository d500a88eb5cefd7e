"""For tests: assets tried out in memory, stores that live in memory, and the suites that every store passes.

Public, for people's own tests and stores. It must not know the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.io.memory import MemoryTable
    from lakehouse.testing.assets import MemoryLakehouse, run_asset
    from lakehouse.testing.lineage import LineageConformance, MemoryLineage
    from lakehouse.testing.places import PlaceConformance
    from lakehouse.testing.schemas import SchemaRegistryConformance
    from lakehouse.testing.tables import TableConformance

_LAZY = {
    "LineageConformance": "lakehouse.testing.lineage",
    "MemoryLakehouse": "lakehouse.testing.assets",
    "MemoryLineage": "lakehouse.testing.lineage",
    "MemoryTable": "lakehouse.io.memory",
    "PlaceConformance": "lakehouse.testing.places",
    "SchemaRegistryConformance": "lakehouse.testing.schemas",
    "TableConformance": "lakehouse.testing.tables",
    "run_asset": "lakehouse.testing.assets",
}
"""Where each name lives. Imported when first used: pytest can't rewrite the asserts of what is imported already."""

__all__ = [
    "LineageConformance",
    "MemoryLakehouse",
    "MemoryLineage",
    "MemoryTable",
    "PlaceConformance",
    "SchemaRegistryConformance",
    "TableConformance",
    "run_asset",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
