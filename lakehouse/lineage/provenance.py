"""Where rows came from and where they went: lineage followed from record to record, by pinned versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.lineage import AssetState, Fact
from lakehouse.lineage.reads import Reads
from lakehouse.lineage.state import history
from lakehouse.partitions import Now, PartitionSet
from lakehouse.partitions.core import RANGE_MARK


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
class AssetLineage:
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


def asset_lineage(
    graph: AssetGraph, lineage: FactsOfAssets, asset: Asset, partitions: PartitionSet | None, now: Now
) -> AssetLineage:
    """Follow lineage up and down from some partitions of an asset.

    Parameters:
        graph: the assets
        lineage: what is recorded
        asset: where to start
        partitions: which partitions; None: all that are there
        now: the present
    """
    facts = _Facts(lineage)
    reads = Reads(graph, facts.state, now)
    state = facts.state(asset)
    chosen = state.present if partitions is None else partitions
    return AssetLineage(
        asset.key,
        chosen,
        _up(facts, reads, asset, chosen, None),
        _down(facts, reads, asset, chosen),
        tuple(facts(asset.key) if partitions is None else history(asset.partitions, facts(asset.key), chosen)),
    )


class _Facts:
    """An asset's facts, read once."""

    def __init__(self, lineage: FactsOfAssets) -> None:
        self.lineage = lineage
        self.known: dict[str, list[Fact]] = {}
        self.folded: dict[tuple[str, int | None], AssetState] = {}

    def __call__(self, asset: str) -> list[Fact]:
        if asset not in self.known:
            self.known[asset] = list(self.lineage.facts(asset))
        return self.known[asset]

    def state(self, asset: Asset, version: int | None = None) -> AssetState:
        """An asset as it stood at a version (None: as it stands), folded once."""
        if (asset.key, version) not in self.folded:
            self.folded[asset.key, version] = AssetState.fold(asset.partitions, self(asset.key), version=version)
        return self.folded[asset.key, version]


def _up(facts: _Facts, reads: Reads, asset: Asset, partitions: PartitionSet, version: int | None) -> tuple[Link, ...]:
    """The publications that made these partitions as they stood at a version, each with its own sources."""
    links = []
    for part, fact in facts.state(asset, version).within(partitions):
        sources: list[Link] = []
        for pin, read in reads.all_needed(asset, part, fact):
            if read is None or read.version is None:
                sources.append(Link(pin.asset, "", None))
                continue
            made = _up(facts, reads, read.asset, read.partitions, read.version)
            unknown = str(read.partitions) if read.asset.partitioned else ""
            sources += made or ([Link(read.asset.key, unknown, None)] if read.partitions else [])
            sources += [
                Link(read.asset.key, first if first == last else f"{first}{RANGE_MARK}{last}", None)
                for first, last in read.lost.then
            ]
        links.append(Link(asset.key, str(part) if asset.partitioned else "", fact, tuple(sources)))
    return tuple(links)


def _down(facts: _Facts, reads: Reads, asset: Asset, partitions: PartitionSet) -> tuple[Link, ...]:
    """What readers see now and was made from these partitions as they are now."""
    state = facts.state(asset)
    there = state.present & partitions
    # By when the rows became what they are: published again, the same rows are still those that were used.
    made = [(part & there, fact) for part, fact in state.changes]
    links = []
    for consumer in reads.graph.consumers(asset):
        for part, fact in facts.state(consumer).current:
            used = []
            for read in (one for one in reads.of(fact, asset) if one.version is not None):
                fresh = [piece for piece, source in made if (read.version or 0) >= (source.version or 0)]
                used.append(reads.fed(consumer, part, fact, read.within(asset.partitions.union(fresh))))
            touched = consumer.partitions.union(used)
            if touched:
                links.append(
                    Link(
                        consumer.key,
                        str(touched) if consumer.partitioned else "",
                        fact,
                        _down(facts, reads, consumer, touched),
                    )
                )
    return tuple(links)
