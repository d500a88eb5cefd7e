"""For tests: assets tried out in memory, stores that live in memory, and the suites that every store passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.testing.assets import MemoryLakehouse, run_asset
    from lakehouse.testing.lineage import LineageConformance, MemoryLineage
    from lakehouse.testing.tables import MemoryTable, TableConformance

_LAZY = {
    "LineageConformance": "lineage",
    "MemoryLakehouse": "assets",
    "MemoryLineage": "lineage",
    "MemoryTable": "tables",
    "TableConformance": "tables",
    "run_asset": "assets",
}
"""Where each name lives. Imported when first used: pytest can't rewrite the asserts of what is imported already."""

__all__ = [
    "LineageConformance",
    "MemoryLakehouse",
    "MemoryLineage",
    "MemoryTable",
    "TableConformance",
    "run_asset",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
