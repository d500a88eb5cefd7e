"""Demand: which partitions of which assets are wanted, and why, followed up and down the graph to the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph, Edge
from lakehouse.errors import PartitionError, PlanError, shorten
from lakehouse.partitions import (
    Now,
    PartitionMapping,
    Partitions,
    PartitionSelection,
    PartitionSet,
    TimePartitions,
    carry,
)
from lakehouse.planning.request import Upstream
from lakehouse.planning.staleness import Cause, Reason, States, stale


class Demand:
    """What is to be built, and why: grows until nothing more follows from it."""

    def __init__(
        self,
        graph: AssetGraph,
        assets: Sequence[Asset],
        states: States,
        upstream: Upstream,
        ready: Mapping[str, PartitionSet],
        now: Now,
    ) -> None:
        self.graph = graph
        self.assets = assets
        self.states = states
        self.upstream = upstream
        self.ready = ready
        self.now = now
        self.reasons: dict[str, list[Reason]] = {asset.key: [] for asset in assets}
        self.kept: dict[str, PartitionSet] = {}
        self._mappings: dict[tuple[str, str], PartitionMapping] = {}

    def add(self, asset: Asset, reason: Reason) -> None:
        """Want some partitions."""
        if reason.partitions:
            self.reasons[asset.key].append(reason)

    def keep(self, asset: Asset, partitions: PartitionSet) -> None:
        """Have some partitions up to date in the end, be there much to do for it or nothing."""
        known = self.kept.get(asset.key)
        self.kept[asset.key] = partitions if known is None else known | partitions

    def of(self, asset: Asset) -> PartitionSet:
        """The partitions that are wanted."""
        return union_of_reasons(asset.partitions, self.reasons[asset.key])

    def needed(self, asset: Asset, edge: Edge, partitions: PartitionSet) -> PartitionSet:
        """What some partitions need of an input."""
        return self.mapping(asset, edge).upstream(partitions) & self.ready[edge.asset.key]

    def mapping(self, asset: Asset, edge: Edge) -> PartitionMapping:
        """How the partitions of an input become those of the asset."""
        which = asset.key, edge.parameter.name
        if which not in self._mappings:
            self._mappings[which] = self.graph.mapping(asset, edge, self.now, self.ready[edge.asset.key])
        return self._mappings[which]

    def settle(self) -> None:
        """Follow the wants up to what they lack and down to what they change, until nothing is added."""
        if self.upstream == "stale":
            for asset in reversed(self.assets):
                scope = self.kept.get(asset.key, asset.partitions.empty()) | self.of(asset)
                for edge in self.graph.inputs(asset):
                    if edge.asset.external:
                        continue
                    self.keep(edge.asset, self.needed(asset, edge, scope))
        for asset in self.assets:
            if asset.key in self.kept:
                kept = self.kept[asset.key] - self.of(asset)
                for reason in stale(self.graph, asset, kept, self.states, self.ready, self.now):
                    self.add(asset, reason)
        size = -1
        while size != (size := sum(len(found) for found in self.reasons.values())):
            for asset in reversed(self.assets):
                self._lacking(asset)
            for asset in self.assets:
                self._following(asset)

    def _lacking(self, asset: Asset) -> None:
        """Want what an asset's inputs lack."""
        wanted = self.of(asset)
        if not wanted:
            return
        for edge in self.graph.inputs(asset):
            if edge.asset.external:
                continue
            extra = self.needed(asset, edge, wanted) - self.of(edge.asset)
            present = self.states(edge.asset).present
            if self.upstream != "all":
                extra = extra - present
            if extra and self.upstream == "none":
                raise PlanError(
                    f"{asset.key} needs {edge.asset.key} {extra}".rstrip() + ", which was never built",
                    hint='leave upstream at "missing" to build it as well',
                )
            self.add(edge.asset, Reason(Cause.UPSTREAM, extra - present, asset.key))
            self.add(edge.asset, Reason(Cause.REBUILT, extra & present, asset.key))

    def _following(self, asset: Asset) -> None:
        """Want what may change because an input is built."""
        kept = self.kept.get(asset.key)
        if not kept:
            return
        for edge in self.graph.inputs(asset):
            built = self.of(edge.asset)
            if built:
                touched = self.mapping(asset, edge).downstream(built) & kept
                self.add(asset, Reason(Cause.MAYBE, touched - self.of(asset), edge.asset.key))


def ready_by(graph: AssetGraph, assets: Sequence[Asset], states: States, now: Now) -> dict[str, PartitionSet]:
    """The partitions that can be made by now: their time is over, and what they are made from can be made or is there.

    Parameters:
        graph: all assets
        assets: some of them, each after all that it is made from
        states: what lineage says of an asset
        now: the present
    """
    return ready_partitions(graph, assets, lambda a: states(a).present if a.external else a.partitions.all(now), now)


def ready_partitions(
    graph: AssetGraph, assets: Sequence[Asset], own: Callable[[Asset], PartitionSet], now: Now
) -> dict[str, PartitionSet]:
    """The partitions that can be whole by now: those that can by themselves, and all that they are made from.

    The two differ where an input is partitioned otherwise: a day in New York is over five hours before all
    that it needs of days in UTC.
    """
    ready: dict[str, PartitionSet] = {}
    for asset in assets:
        over = own(asset)
        if not asset.partitioned:
            # Of an input whose first partition isn't over yet there is nothing to make it from.
            bare = any(not ready[edge.asset.key] for edge in graph.inputs(asset))
            ready[asset.key] = asset.partitions.empty() if bare else over
            continue
        for edge in graph.inputs(asset):
            mapping = graph.mapping(asset, edge, now, ready[edge.asset.key])
            needed = mapping.upstream(over)
            over = over - mapping.downstream(needed - ready[edge.asset.key])
        ready[asset.key] = over
    return ready


def union_of_reasons(partitions: Partitions, reasons: Sequence[Reason]) -> PartitionSet:
    """The partitions that have one of these reasons."""
    return partitions.union(reason.partitions for reason in reasons)


def asked_partitions(
    graph: AssetGraph,
    targets: Sequence[Asset],
    partitions: PartitionSelection | None,
    over: Mapping[str, PartitionSet],
    now: Now,
) -> dict[str, PartitionSet]:
    """Which partitions of each target are meant; unpartitioned ones are meant whole.

    To name one whose time isn't over is an error; one that a source lacks is meant as well.
    """
    if partitions is None:
        return {asset.key: over[asset.key] for asset in targets}
    partitioned = [asset for asset in targets if asset.partitioned]
    if not partitioned:
        raise PartitionError(
            f"partitions {partitions!r} were given, but {shorten(a.key for a in targets)} "
            f"{'is' if len(targets) == 1 else 'are'} not partitioned",
            hint="leave partitions out",
        )
    found: dict[str, PartitionSet] = {}
    faults: dict[str, PartitionError] = {}
    for asset in partitioned:
        try:
            found[asset.key] = asset.partitions.select(partitions, now=now)
        except PartitionError as error:
            faults[asset.key] = error
        else:
            _check_ready(graph, asset, found[asset.key] - over[asset.key], over, now)
    if not found:
        raise next(iter(faults.values()))
    for asset in partitioned:
        if asset.key in faults:
            found[asset.key] = _translated(asset, list(found.values()), faults[asset.key], now)
    if not any(found.values()):
        raise PartitionError(f"partitions {partitions!r} name none", hint="give a key or a range a...b")
    whole = {asset.key: over[asset.key] for asset in targets if not asset.partitioned}
    return {asset.key: (whole | found)[asset.key] for asset in targets}


def _check_ready(
    graph: AssetGraph, asset: Asset, early: PartitionSet, ready: Mapping[str, PartitionSet], now: Now
) -> None:
    for edge in graph.inputs(asset):
        lacking = graph.mapping(asset, edge, now, ready[edge.asset.key]).upstream(early) - ready[edge.asset.key]
        if lacking:
            raise PartitionError(
                f"{asset.key} {early} can't be whole yet: it needs {edge.asset.key} {lacking}",
                hint="a partition is there once its time is over, and that of all it is made from",
            )


def _translated(asset: Asset, understood: Sequence[PartitionSet], fault: PartitionError, now: Now) -> PartitionSet:
    """What a range in another target's form, or beyond this one's own bounds, means for an asset."""
    for given in understood:
        both_time = isinstance(given.partitions, TimePartitions) and isinstance(asset.partitions, TimePartitions)
        if both_time or given.partitions.domain == asset.partitions.domain:
            return carry(given, asset.partitions, now)
    raise fault
