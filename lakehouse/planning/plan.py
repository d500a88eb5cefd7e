"""The plan: what will be built, in which chunks, from which versions, and why. A pure function of its arguments.

``lakehouse plan`` prints the very list that ``materialize`` executes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, final, get_args

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import PlanError, shorten
from lakehouse.partitions import Now, PartitionSet, Present
from lakehouse.planning.batches import StepBatch, make_batches
from lakehouse.planning.demand import Demand, Upstream, asked_partitions, ready_by, ready_partitions
from lakehouse.planning.staleness import Cause, Reason, States
from lakehouse.planning.steps import Step, make_steps

CHUNK = 30
"""Partitions in a step, where nobody says otherwise."""


@final
@dataclass(frozen=True, repr=False)
class Plan:
    """Steps in an order in which they can run, producers first.

    Parameters:
        steps: the steps
        targets: what was asked for
        current: what was asked for and is there already, so that nothing is done about it
        now: the present as the plan saw it
    """

    steps: tuple[Step, ...]
    targets: tuple[Asset, ...]
    current: Mapping[str, PartitionSet]
    now: datetime

    @cached_property
    def batches(self) -> tuple[StepBatch, ...]:
        """The steps as they are done, in an order in which they can run."""
        return make_batches(self.steps)

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The assets that are built, producers first."""
        return tuple({step.asset.key: step.asset for step in self.steps}.values())

    def of(self, asset: Asset | str) -> tuple[Step, ...]:
        """The steps of one asset."""
        key = asset if isinstance(asset, str) else asset.key
        return tuple(step for step in self.steps if step.asset.key == key)

    def partitions(self, asset: Asset | str) -> PartitionSet:
        """The partitions of one asset that are built; raises KeyError if none is."""
        steps = self.of(asset)
        if not steps:
            raise KeyError(asset)
        return steps[0].asset.partitions.union(step.partitions for step in steps)

    def __repr__(self) -> str:
        partitions = sum(len(step.partitions) for step in self.steps)
        return f"Plan({len(self.assets)} assets, {partitions:,} partitions, {len(self.steps):,} steps)"

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        return bool(self.steps)


def make_plan(
    graph: AssetGraph,
    targets: Sequence[Asset],
    states: States,
    *,
    partitions: Any = None,
    upstream: Upstream = "missing",
    refresh: bool = False,
    chunk: int = CHUNK,
    now: Now,
) -> Plan:
    """Work out what has to be built.

    Parameters:
        graph: all assets
        targets: what to build, producers first
        states: what lineage says of an asset; it is asked about the targets and their ancestors
        partitions: which partitions of the targets: a key, a list, a range ``"a...b"``; None: what is missing
        upstream: what is done about the targets' inputs
        refresh: build only what is missing or out of date of the targets
        chunk: partitions in a step, at most
        now: the present: partitions that aren't over yet are not there

    Raises:
        PartitionError: partitions that can't be
        PlanError: a request that can't be planned
    """
    if upstream not in get_args(Upstream):
        raise PlanError(f"upstream={upstream!r} is not known; there are {', '.join(get_args(Upstream))}")
    if not isinstance(chunk, int) or chunk < 1:
        raise PlanError(f"chunk={chunk!r} can't be: a chunk holds 1 partition or more")
    if targets and all(asset.external for asset in targets):
        raise PlanError(
            f"{shorten(a.key for a in targets)} {'is' if len(targets) == 1 else 'are'} external: others write it, and "
            "it is never materialized",
            hint="materialize what is made from it; lakehouse observe looks at it",
        )
    targets = [asset for asset in targets if not asset.external]
    needed = {a.key for target in targets for a in (target, *graph.ancestors(target))}
    involved = [asset for asset in graph if asset.key in needed]
    over = ready_partitions(graph, involved, lambda asset: asset.partitions.all(now), now)
    ready = ready_by(graph, involved, states, now)
    asked = asked_partitions(graph, targets, partitions, over, ready, now)
    wants = Demand(graph, involved, states, upstream, ready, now)
    for asset in targets:
        wanted = asked[asset.key]
        if refresh:
            wants.keep(asset, wanted)
        elif partitions is None and asset.partitioned:
            wants.add(asset, Reason(Cause.MISSING, wanted - states(asset).present))
        else:
            wants.add(asset, Reason(Cause.ASKED, wanted))
    wants.settle()
    current = {
        asset.key: asked[asset.key] - wants.of(asset)
        for asset in targets
        if refresh or (partitions is None and asset.partitioned)
    }
    return Plan(make_steps(wants, chunk), tuple(targets), current, Present.of(now).now)
