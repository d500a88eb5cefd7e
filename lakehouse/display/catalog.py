"""The assets that there are: ``lakehouse ls``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.asset import Asset, Layer
from lakehouse.display.page import columns, indented, styled
from lakehouse.display.words import QUIET, count, cut
from lakehouse.graph import AssetGraph


def catalog(graph: AssetGraph, assets: Sequence[Asset], now: datetime) -> RenderableType:
    """Assets by layer, each with what it is, and below that how it is cut, checked and made."""
    parts: list[RenderableType] = []
    for layer, members in groupby(by_layer(assets), key=lambda asset: asset.layer):
        parts.append(styled(("" if not parts else "\n") + str(layer).capitalize()))
        for asset in members:
            parts.append(indented(styled((asset.key, "bold"), "  ", _first_line(asset)), 2))
            about = [cut(asset.partitions, now), count(len(asset.checks), "check")]
            sources = _inputs(graph, asset)
            if sources:
                about.append(f"from {', '.join(sources)}")
            if asset.tags:
                about.append(f"tags {', '.join(asset.tags)}")
            parts.append(indented(Text("; ".join(about), QUIET), 4))
    return Group(*parts)


def flat_catalog(graph: AssetGraph, assets: Sequence[Asset], now: datetime) -> RenderableType:
    """The same, one line for an asset."""
    table = columns("asset", "partitions", "inputs", "checks", "tags", "description", numbers=["checks"])
    for asset in by_layer(assets):
        table.add_row(
            asset.key,
            cut(asset.partitions, now),
            ",".join(_inputs(graph, asset)) or "-",
            str(len(asset.checks)),
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
                    "column": asset.partitions.column,
                },
                "inputs": _inputs(graph, asset),
                "checks": [check.name for check in asset.checks],
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


def _first_line(asset: Asset) -> str:
    return asset.description.partition("\n")[0]
