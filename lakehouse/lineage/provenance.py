"""Where rows came from and where they went: lineage followed from record to record, by pinned versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.lineage import AssetState, Fact
from lakehouse.lineage.state import history, new_keys, under_new_keys
from lakehouse.partitions import Now, PartitionSet


@final
@dataclass(frozen=True)
class Link:
    """Some partitions of an asset as one publication made them.

    Parameters:
        asset: key of the asset
        partitions: which partitions, in words
        fact: the record of the publication; None: it was read, and lineage doesn't know it
        links: what it was made from, or what was made from it
    """

    asset: str
    partitions: str
    fact: Fact | None
    links: tuple[Link, ...] = ()


@final
@dataclass(frozen=True)
class Trace:
    """Both sides of an asset's partitions.

    Parameters:
        asset: key of the asset
        partitions: which partitions
        sources: the publications that readers see now, each with what it was made from
        uses: what was made from them and is current
        events: everything that was recorded about these partitions, in its order
    """

    asset: str
    partitions: PartitionSet
    sources: tuple[Link, ...]
    uses: tuple[Link, ...]
    events: tuple[Fact, ...]


class FactsOfAssets(Protocol):
    """Knows the facts of assets: a lineage store, or a snapshot of it."""

    def facts(self, asset: str) -> Sequence[Fact]:
        """Every fact about an asset, by its key."""
        ...


def trace(graph: AssetGraph, lineage: FactsOfAssets, asset: Asset, partitions: PartitionSet | None, now: Now) -> Trace:
    """Follow lineage up and down from some partitions of an asset.

    Parameters:
        graph: the assets
        lineage: what is recorded
        asset: where to start
        partitions: which partitions; None: all that are there
        now: the present
    """
    facts = _Facts(lineage, now)
    state = facts.state(asset)
    chosen = state.present if partitions is None else partitions
    return Trace(
        asset.key,
        chosen,
        _up(graph, facts, asset, chosen, None),
        _down(graph, facts, asset, chosen),
        tuple(facts(asset.key) if partitions is None else history(asset.partitions, facts(asset.key), chosen)),
    )


class _Facts:
    """An asset's facts, read once."""

    def __init__(self, lineage: FactsOfAssets, now: Now) -> None:
        self.lineage = lineage
        self.now = now
        self.known: dict[str, list[Fact]] = {}
        self.folded: dict[tuple[str, int | None], AssetState] = {}

    def __call__(self, asset: str) -> list[Fact]:
        if asset not in self.known:
            self.known[asset] = list(self.lineage.facts(asset))
        return self.known[asset]

    def state(self, asset: Asset, version: int | None = None) -> AssetState:
        """An asset as it stood at a version (None: as it stands), folded once."""
        if (asset.key, version) not in self.folded:
            facts = self(asset.key)
            # Renamed first, and then looked at as of then: what was there then had another key.
            seen = [
                f for f in under_new_keys(facts) if version is None or (f.version is not None and f.version <= version)
            ]
            self.folded[asset.key, version] = AssetState.fold(asset.partitions, seen)
        return self.folded[asset.key, version]


def _up(
    graph: AssetGraph,
    facts: _Facts,
    asset: Asset,
    partitions: PartitionSet,
    version: int | None,
) -> tuple[Link, ...]:
    """The publications that made these partitions as they stood at a version, each with its own sources."""
    links = []
    for part, fact in facts.state(asset, version).within(partitions):
        sources: list[Link] = []
        for pin in fact.inputs:
            source = _source(graph, facts, asset, pin.asset)
            if source is None or pin.version is None:
                sources.append(Link(pin.asset, "", None))
                continue
            read = source.partitions.from_pairs(new_keys(pin.partitions, facts(source.key), pin.version))
            # The step read more than these partitions need.
            needed = _needed(graph, facts, asset, source, part, read)
            sources += _up(graph, facts, source, needed, pin.version)
        links.append(Link(asset.key, str(part) if asset.partitioned else "", fact, tuple(sources)))
    return tuple(links)


def _needed(
    graph: AssetGraph, facts: _Facts, asset: Asset, source: Asset, part: PartitionSet, read: PartitionSet
) -> PartitionSet:
    """What some partitions need of all that was read of an input."""
    mappings = [graph.mapping(asset, e, facts.now, read) for e in graph.inputs(asset) if e.asset is source]
    return source.partitions.union(mapping.upstream(part) for mapping in mappings) & read if mappings else read


def _fed(graph: AssetGraph, facts: _Facts, consumer: Asset, source: Asset, given: PartitionSet) -> PartitionSet:
    """The consumer's partitions that some of an input's go into."""
    mappings = [graph.mapping(consumer, e, facts.now, given) for e in graph.inputs(consumer) if e.asset is source]
    return consumer.partitions.union(mapping.downstream(given) for mapping in mappings)


def _source(graph: AssetGraph, facts: _Facts, asset: Asset, key: str) -> Asset | None:
    """The asset that an input was, which may have been renamed since."""
    if key in graph:
        return graph[key]
    inputs = [edge.asset for edge in graph.inputs(asset)]
    return next((one for one in inputs if key in facts.state(one).formerly), None)


def _down(graph: AssetGraph, facts: _Facts, asset: Asset, partitions: PartitionSet) -> tuple[Link, ...]:
    """What readers see now and was made from these partitions as they are now."""
    state = facts.state(asset)
    there = state.present & partitions
    # By when the rows became what they are: published again, the same rows are still those that were used.
    made = [(part & there, fact) for part, fact in state.changes]
    names = {asset.key, *state.formerly}
    links = []
    for consumer in graph.consumers(asset):
        for part, fact in facts.state(consumer).current:
            used: list[PartitionSet] = []
            for pin in (p for p in fact.inputs if p.asset in names and p.version is not None):
                read = asset.partitions.from_pairs(new_keys(pin.partitions, facts(asset.key), pin.version or 0))
                used += (piece & read for piece, source in made if (pin.version or 0) >= (source.version or 0))
            fresh = asset.partitions.union(used)
            touched = part & _fed(graph, facts, consumer, asset, fresh)
            if touched:
                links.append(
                    Link(
                        consumer.key,
                        str(touched) if consumer.partitioned else "",
                        fact,
                        _down(graph, facts, consumer, touched),
                    )
                )
    return tuple(links)
