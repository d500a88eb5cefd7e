"""What was asked for and is left: it waits for what a source doesn't have yet, or something can't be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import LakehouseError
from lakehouse.partitions import Now, PartitionSet

Ready = Mapping[str, PartitionSet]


@final
@dataclass(frozen=True)
class Left:
    """Partitions of an asset that can't be built just now.

    Parameters:
        asset: the asset
        partitions: which of them; of an asset that can't be read, all that could be there
        awaited: what they wait for: partitions of external assets, by the asset's key
        fault: why the asset, or what it is made from, can't be read
    """

    asset: Asset
    partitions: PartitionSet
    awaited: tuple[tuple[str, PartitionSet], ...] = ()
    fault: LakehouseError | None = None

    def __str__(self) -> str:
        if self.fault is not None:
            return str(self.fault)
        return "waits for " + ", ".join(f"{key} {part}".rstrip() for key, part in self.awaited)


def waiting(graph: AssetGraph, asset: Asset, wanted: PartitionSet, over: Ready, ready: Ready, now: Now) -> Left | None:
    """Which of an asset's partitions wait for a source, and for what of it.

    Parameters:
        graph: all assets
        asset: the asset
        wanted: partitions whose time is over
        over: of each asset that is involved, the partitions whose time is over, and that of all they are made from
        ready: of each, those that can be made by now, going by what its sources have
        now: the present
    """
    late = (wanted & over[asset.key]) - ready[asset.key]
    if not late:
        return None
    awaited: dict[str, PartitionSet] = {}
    _collect(graph, asset, late, over, ready, now, awaited)
    return Left(asset, late, tuple(sorted(awaited.items()))) if awaited else None


def _collect(
    graph: AssetGraph,
    asset: Asset,
    late: PartitionSet,
    over: Ready,
    ready: Ready,
    now: Now,
    awaited: dict[str, PartitionSet],
) -> None:
    for edge in graph.inputs(asset):
        source = edge.asset
        if asset.partitioned:
            needed = graph.mapping(asset, edge, now, over[source.key]).upstream(late) & over[source.key]
        else:
            needed = over[source.key]  # an unpartitioned asset waits for the first of it, whichever that is
        lacking = needed - ready[source.key]
        if not lacking:
            continue
        if source.external:
            awaited[source.key] = awaited[source.key] | lacking if source.key in awaited else lacking
        else:
            _collect(graph, source, lacking, over, ready, now, awaited)
