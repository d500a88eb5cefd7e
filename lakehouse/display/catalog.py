"""The assets that there are: ``lakehouse ls``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.graph import AssetGraph
from lakehouse.display.formatting import QUIET, count, partitioning
from lakehouse.display.page import columns


def catalog(graph: AssetGraph, assets: Sequence[Asset], now: datetime) -> RenderableType:
    """Assets by layer, each with what it is, and below that how it is partitioned, checked and made."""
    parts: list[RenderableType] = []
    width = max((len(asset.key) for asset in assets), default=0)
    for layer, members in groupby(by_layer(assets), key=lambda asset: asset.layer):
        parts.append(("\n" if parts else "") + str(layer).capitalize())
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=width + 2, no_wrap=True)
        table.add_column()
        for asset in members:
            about = [partitioning(asset.partitions, now), count(_checks(asset), "check")]
            sources = _inputs(graph, asset)
            if sources:
                about.append(f"from {', '.join(sources)}")
            if asset.tags:
                about.append(f"tags {', '.join(asset.tags)}")
            what = Text(_first_line(asset), no_wrap=True, overflow="ellipsis")
            table.add_row(Text(f"  {asset.key}", "bold"), Group(what, Text("; ".join(about), QUIET)))
        parts.append(table)
    return Group(*parts)


def flat_catalog(graph: AssetGraph, assets: Sequence[Asset], now: datetime) -> RenderableType:
    """The same, one line for an asset."""
    table = columns("asset", "partitions", "inputs", "checks", "tags", "description", numbers=["checks"])
    for asset in by_layer(assets):
        table.add_row(
            asset.key,
            partitioning(asset.partitions, now),
            ",".join(_inputs(graph, asset)) or "-",
            str(_checks(asset)),
            ",".join(asset.tags) or "-",
            _first_line(asset),
        )
    return table


def catalog_json(graph: AssetGraph, assets: Sequence[Asset], now: datetime) -> list[dict[str, Any]]:
    """The same, for programs."""
    found = []
    for asset in by_layer(assets):
        there = asset.partitions.all(now)
        found.append(
            {
                "asset": asset.key,
                "layer": str(asset.layer),
                "partitions": {
                    "kind": asset.partitions.kind,
                    "count": len(there),
                    "first": there.hull.first if there else None,
                    "last": there.hull.last if there else None,
                    "columns": list(asset.partitions.columns),
                },
                "inputs": _inputs(graph, asset),
                "schema": asset.schema.name if asset.schema else None,
                "checks": _names(asset),
                "tags": list(asset.tags),
                "owners": list(asset.owners),
                "group": asset.group or None,
                "description": asset.description,
            }
        )
    return found


def by_layer(assets: Sequence[Asset]) -> list[Asset]:
    """Assets from Bronze to Gold, and within a layer producers first."""
    order = list(Layer)
    return sorted(assets, key=lambda asset: order.index(asset.layer))


def _inputs(graph: AssetGraph, asset: Asset) -> list[str]:
    return [edge.asset.key for edge in graph.inputs(asset)]


def _checks(asset: Asset) -> int:
    """How many checks stand before publication, its schema among them."""
    return len(_names(asset)) + (asset.schema is not None)


def _names(asset: Asset) -> list[str]:
    """The names of an asset's checks, and of the tests that its builder runs as such."""
    return [check.name for check in asset.checks] + list(asset.builder.tests(asset) if asset.builder else ())


def _first_line(asset: Asset) -> str:
    return asset.description.partition("\n")[0]
