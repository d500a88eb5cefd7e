"""What a publication read of its inputs: whatever name an input or its partitions had then, and have now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import PartitionError
from lakehouse.lineage.facts import Fact, InputPin
from lakehouse.lineage.state import AssetState, new_keys, old_keys
from lakehouse.partitions import Now, Pairs, PartitionMapping, Partitions, PartitionSet


@final
@dataclass(frozen=True)
class Read:
    """What a publication read of an asset at one version of its table.

    Parameters:
        asset: the asset
        name: the key that it had then
        version: the version; None: there was no table yet
        then: which partitions, by the keys that they had then: so they are called in that version's files
        now: the same, in the same order, by the keys that they have now; an empty one: another has taken its key
    """

    asset: Asset
    name: str
    version: int | None
    then: Pairs
    now: Pairs

    @cached_property
    def partitions(self) -> PartitionSet:
        """The partitions, as far as the asset still has them."""
        return self.asset.partitions.from_pairs(self.now)

    @property
    def same(self) -> PartitionSet:
        """Those that have the key now that they had then."""
        if self.now == self.then:
            return self.partitions
        return self.asset.partitions.from_pairs([now for then, now in self._pairs if then == now])

    @property
    def renamed(self) -> list[Read]:
        """Those that have another key now, one by one."""
        if self.now == self.then:
            return []
        known = self.asset.partitions.from_pairs
        return [replace(self, then=(then,), now=(now,)) for then, now in self._pairs if then != now and known([now])]

    @cached_property
    def lost(self) -> Read:
        """Those that the asset doesn't have any more."""
        known = self.asset.partitions.from_pairs
        lost = [(then, now) for then, now in self._pairs if not known([now])]
        return replace(self, then=tuple(then for then, _ in lost), now=tuple(now for _, now in lost))

    @property
    def _pairs(self) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        return zip(self.then, self.now, strict=True)

    @property
    def partitioning(self) -> Partitions:
        """How the asset is partitioned, with the keys that it had then."""
        return self.asset.partitions.including(self.then)

    @property
    def pin(self) -> InputPin:
        """As a fact has it."""
        return InputPin(asset=self.name, version=self.version, partitions=self.then)

    def within(self, wanted: PartitionSet) -> Read:
        """Some partitions of it, by the keys that they have now."""
        return self._left([self.asset.partitions.from_pairs([now]) & wanted for now in self.now], self.now)

    def without(self, spare: PartitionSet) -> Read:
        """All but some partitions of it, by the keys that they had then; what they don't know stays."""
        known = [spare.partitions.from_pairs([then]) for then in self.then]
        return self._left([part - spare if part else None for part in known], self.then)

    def _left(self, parts: Sequence[PartitionSet | None], keys: Pairs) -> Read:
        """What is left of each pair; None: all."""
        left: list[tuple[tuple[str, str], tuple[str, str]]] = []
        for then, now, key, part in zip(self.then, self.now, keys, parts, strict=True):
            if part is None or (part and part == part.partitions.from_pairs([key])):
                left.append((then, now))
            else:
                # A part of a range: ranges are of time, whose keys never change.
                left += [(pair, pair) for pair in part.to_pairs()]
        return replace(self, then=tuple(then for then, _ in left), now=tuple(now for _, now in left))


@final
class Reads:
    """Answers what publications read of their inputs.

    Parameters:
        graph: the assets
        states: what lineage says of one
        now: the present
    """

    def __init__(self, graph: AssetGraph, states: Callable[[Asset], AssetState], now: Now) -> None:
        self.graph = graph
        self.states = states
        self.now = now

    def source(self, consumer: Asset, name: str) -> Asset | None:
        """The asset that a publication of another read under a name; None: there is none any more."""
        inputs = [edge.asset for edge in self.graph.inputs(consumer)]
        found = next((one for one in inputs if one.key == name), None)
        found = found or next((one for one in inputs if name in self.states(one).formerly), None)
        return found or self.graph.assets.get(name)

    def of(self, fact: Fact, source: Asset) -> tuple[Read, ...]:
        """What a publication read of an asset; nothing: it wasn't made from it."""
        pins = [pin for pin in fact.inputs if pin.asset == source.key]
        pins = pins or [pin for pin in fact.inputs if pin.asset in self.states(source).formerly]
        return tuple(self._read(source, pin) for pin in pins)

    def needed(self, consumer: Asset, part: PartitionSet, fact: Fact, source: Asset) -> tuple[Read, ...]:
        """What some partitions of a publication were made from of an asset.

        A publication names what all of its partitions were made from; what only the others needed is left out, as far
        as that can be told.

        Parameters:
            consumer: the asset that was published
            part: the partitions, by the keys that they have now
            fact: the publication, as a state has it
            source: the asset that was read
        """
        return tuple(self._needed(consumer, part, fact, read) for read in self.of(fact, source))

    def all_needed(self, consumer: Asset, part: PartitionSet, fact: Fact) -> list[tuple[InputPin, Read | None]]:
        """The same of every input, in the publication's order; None: there is no such asset any more."""
        sources = [(pin, self.source(consumer, pin.asset)) for pin in fact.inputs]
        return [
            (pin, source and self._needed(consumer, part, fact, self._read(source, pin))) for pin, source in sources
        ]

    def fed(self, consumer: Asset, part: PartitionSet, fact: Fact, read: Read) -> PartitionSet:
        """Which of some partitions of a current publication were made from a part of what it read."""
        up = read.partitioning
        given = up.from_pairs(read.then)
        if fact.renamed or not given:
            return part if given else part.partitions.empty()
        try:
            mappings = self._mappings(consumer.partitions, consumer, read, up, given)
            return part & consumer.partitions.union(mapping.downstream(given) for mapping in mappings)
        except PartitionError:
            return part

    def _read(self, source: Asset, pin: InputPin) -> Read:
        now = new_keys(pin.partitions, self.states(source).renames, pin.version)
        return Read(source, pin.asset, pin.version, pin.partitions, now)

    def _needed(self, consumer: Asset, part: PartitionSet, fact: Fact, read: Read) -> Read:
        if fact.renamed:
            return read  # this was asked when it was renamed: its pins are the answer
        # Keys meet as they were when it was made: each side may have been renamed since without the other.
        renames = self.states(consumer).renames
        made, asked = (old_keys(pairs, renames, fact.version) for pairs in (fact.partitions, part.to_pairs()))
        down, up = consumer.partitions.including((*made, *asked)), read.partitioning
        these = down.from_pairs(asked)
        others = down.from_pairs(made) - these
        if not others:
            return read
        try:
            mappings = self._mappings(down, consumer, read, up, up.from_pairs(read.then))
            spare = up.union(mapping.upstream(others) for mapping in mappings)
            return read.without(spare - up.union(mapping.upstream(these) for mapping in mappings))
        except PartitionError:
            return read  # the two don't fit as they are partitioned now: all of it, to be on the safe side

    def _mappings(
        self, down: Partitions, consumer: Asset, read: Read, up: Partitions, there: PartitionSet
    ) -> list[PartitionMapping]:
        edges = [edge for edge in self.graph.inputs(consumer) if edge.asset is read.asset]
        return [PartitionMapping(down, up, self.now, edge.rule, there) for edge in edges]
