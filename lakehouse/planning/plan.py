"""The plan: what will be built, in which chunks, from which versions, and why. A pure function of its arguments.

``lakehouse plan`` prints the very list that ``materialize`` executes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.definitions.selection import select
from lakehouse.errors import PartitionError, PlanError, count, shorten
from lakehouse.partitions import PartitionSet
from lakehouse.planning.batches import StepBatch, make_batches
from lakehouse.planning.demand import Demand, asked_partitions, ready_by, ready_partitions
from lakehouse.planning.left import Left, waiting
from lakehouse.planning.request import CHUNK, Request
from lakehouse.planning.snapshot import Snapshot
from lakehouse.planning.staleness import Cause, Reason
from lakehouse.planning.steps import Step, Steps


@final
@dataclass(frozen=True, repr=False)
class Plan:
    """Steps in an order in which they can run, producers first.

    Parameters:
        steps: the steps
        targets: what was asked for
        current: what was asked for and is there already, so that nothing is done about it
        now: the present as the plan saw it
        left: what was asked for and can't be built just now
    """

    steps: Steps
    targets: tuple[Asset, ...]
    current: Mapping[str, PartitionSet]
    now: datetime
    left: tuple[Left, ...] = ()

    @property
    def faults(self) -> tuple[Left, ...]:
        """What was asked for and can't be built because something can't be read; the rest of what is left waits."""
        return tuple(one for one in self.left if one.fault is not None)

    @cached_property
    def batches(self) -> tuple[StepBatch, ...]:
        """The steps as they are done, in an order in which they can run."""
        return make_batches(self.steps)

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The assets that are built, producers first."""
        return self.steps.assets

    def of(self, asset: Asset | str) -> tuple[Step, ...]:
        """The steps of one asset."""
        return self.steps.of(asset if isinstance(asset, str) else asset.key)

    def partitions(self, asset: Asset | str) -> PartitionSet:
        """The partitions of one asset that are built; raises KeyError if none is."""
        return self.steps.wanted[asset if isinstance(asset, str) else asset.key]

    def __repr__(self) -> str:
        partitions = sum(map(len, self.steps.wanted.values()))
        return (
            f"Plan({count(len(self.assets), 'asset')}, {count(partitions, 'partition')}, "
            f"{count(len(self.steps), 'step')})"
        )

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        return bool(self.steps)


def make_plan(graph: AssetGraph, request: Request, snapshot: Snapshot) -> Plan:
    """Work out what has to be built.

    Parameters:
        graph: all assets
        request: what was asked for
        snapshot: what is known of the targets and all they depend on, and the present: partitions that aren't over
            yet are not there

    Raises:
        UnknownAsset, SelectionError: targets that can't be
        PartitionError: partitions that can't be
        PlanError: a request that can't be planned
        StorageError, StepError: none of the targets can be built: a table or a source can't be read
    """
    chosen = select(graph, request.targets)
    if all(asset.external for asset in chosen):
        raise PlanError(
            f"{shorten(a.key for a in chosen)} {'is' if len(chosen) == 1 else 'are'} external: others write it, and "
            "it is never materialized",
            hint="materialize what is made from it; lakehouse observe looks at it",
        )
    named = [asset for asset in chosen if not asset.external]
    left = _unreadable(graph, named, snapshot)
    targets = [asset for asset in named if asset not in {one.asset for one in left}]
    if not targets:
        snapshot.whole()
    now, state = snapshot.now, snapshot.state
    involved = graph.involved(targets)
    over = ready_partitions(graph, involved, lambda asset: asset.partitions.all(now), now)
    ready = ready_by(graph, involved, state, now)
    meant = asked_partitions(graph, targets, request.partitions, over, now)
    all_missing = request.partitions is None
    for asset in targets:
        # What is there doesn't wait, even if its source has gone since; unless it was asked for by name.
        there = state(asset).present if request.refreshes or all_missing else asset.partitions.empty()
        if (late := waiting(graph, asset, meant[asset.key] - there, over, ready, now)) is not None:
            left.append(late)
    asked = {key: part & ready[key] for key, part in meant.items()}
    if request.partitions is not None and not any(asked[asset.key] for asset in targets if asset.partitioned):
        raise PartitionError(
            f"of partitions {request.partitions!r} nothing is there to make {shorten(a.key for a in targets)} from"
            + "".join(f"; {one.asset.key} {one}" for one in left[:1]),
            hint="its sources have none of them yet: lakehouse observe looks again",
        )
    demand = Demand(graph, involved, state, request.upstream, ready, now)
    for asset in targets:
        wanted = asked[asset.key]
        if request.refreshes:
            demand.keep(asset, wanted)
        elif all_missing and asset.partitioned:
            demand.add(asset, Reason(Cause.MISSING, wanted - state(asset).present))
        else:
            demand.add(asset, Reason(Cause.ASKED, wanted))
    demand.settle()
    current = {
        asset.key: asked[asset.key] - demand.of(asset)
        for asset in targets
        if request.refreshes or (all_missing and asset.partitioned)
    }
    return Plan(Steps(demand, request.chunk or CHUNK), tuple(targets), current, now.now, tuple(left))


def _unreadable(graph: AssetGraph, assets: Sequence[Asset], snapshot: Snapshot) -> list[Left]:
    """Those of some assets that can't be read, or are made from one that can't: then nothing can be said of them."""
    faults = {one.key: fault for one in graph.involved(assets) if (fault := snapshot.fault(one)) is not None}
    if not faults:
        return []
    found = ((asset, next((one.key for one in graph.involved([asset]) if one.key in faults), None)) for asset in assets)
    return [
        Left(asset, asset.partitions.all(snapshot.now), fault=faults[key]) for asset, key in found if key is not None
    ]
