"""Publications that are alike become one, so that what is kept of a long history is small and plans come out the same.

What a publication read is looked at by the newest version of the input at which it is still the same; partitions that
were then made alike, from the same versions, share one fact. How many pieces are left goes by how many kinds of them
there are, and not by how many runs have made them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import PartitionError
from lakehouse.lineage.facts import DIGEST, Fact, InputPin
from lakehouse.lineage.kept import Kept, attempt_order
from lakehouse.lineage.state import AssetState, Pieces, made_at, order_of
from lakehouse.partitions import Now, Partitions, PartitionSet, TimePartitions

RECENT = 32
"""So many of the newest pieces stay as they are: what comes late by a little finds its place among them."""

_UNSEEN = 256
"""So many changes are kept one by one where not all is known of what is made from an asset."""

Piece = tuple[PartitionSet, Fact]


def merged(graph: AssetGraph, known: Mapping[str, Kept], now: Now) -> dict[str, Kept]:
    """What is kept of assets, in as few pieces as plans allow.

    Parameters:
        graph: all assets
        known: what is kept of some of them and of all that these are made from, by key
        now: the present
    """
    assets = [asset for asset in graph if asset.key in known]
    current = {asset.key: _Publications(graph, asset, known, now).alike() for asset in assets}
    found = {}
    for asset in assets:
        state, (pieces, several) = known[asset.key].state, current[asset.key]
        gone, gone_together = _by_outcome(asset.partitions, state.gone)
        consumers = graph.consumers(asset)
        pins = (pin for one in consumers if one.key in known for _, fact in current[one.key][0] for pin in fact.inputs)
        asked = {pin.version for pin in pins if pin.asset == asset.key and pin.version is not None}
        state = replace(
            state,
            current=pieces,
            attempts=_by_outcome(asset.partitions, state.attempts)[0],
            gone=gone,
            changes=(),
            earlier=_earlier(state, asked, RECENT if all(one.key in known for one in consumers) else _UNSEEN),
            merged=state.merged | several | gone_together,
            lean=state.lean if asset.external else asset.partitions.union(part for part, _ in pieces),
            made=made_at(state),
        )
        sources = {edge.asset.key: known[edge.asset.key].epoch for edge in graph.inputs(asset)}
        found[asset.key] = replace(known[asset.key], state=state, sources=sources)
    return found


@final
@dataclass(frozen=True)
class _Read:
    """What a publication read of an input, as it does to look at it now.

    Parameters:
        asset: the input's key
        version: the newest version at which it is what was read
        partitions: which partitions; None: as the publication names them
        kind: what publications share that read alike
    """

    asset: str
    version: int | None
    partitions: PartitionSet | None
    kind: Any


@final
@dataclass(frozen=True)
class _Publications:
    """The publications of one asset, and what they were made from."""

    graph: AssetGraph
    asset: Asset
    known: Mapping[str, Kept]
    now: Now

    def alike(self) -> tuple[Pieces, PartitionSet]:
        """The current pieces, those that are alike as one; and the partitions of which one stands for several."""
        state = self.known[self.asset.key].state
        groups: dict[Any, list[tuple[PartitionSet, Fact, list[_Read]]]] = {}
        older, recent = _split(state.current)
        for part, fact in older:
            reads = self._reads(state, fact, part)
            kind = fact.id if reads is None else self._kind(state, part, fact, reads)
            groups.setdefault(kind, []).append((part, fact, reads or []))
        joined = [self._join(state, group) for group in groups.values()]
        several = self.asset.partitions.union(part for group in groups.values() if len(group) > 1 for part, *_ in group)
        return tuple(sorted((*joined, *recent), key=lambda piece: order_of(piece[1]))), several

    def _kind(self, state: AssetState, part: PartitionSet, fact: Fact, reads: list[_Read]) -> Any:
        """What a piece shares with those that it can be joined with."""
        age: Any = None
        if self.asset.freshness is not None and isinstance(self.asset.partitions, TimePartitions):
            # Of pieces of time only the newest can be too old.
            age = fact.id if part.spans[-1][1] == state.present.spans[-1][1] else None
        elif self.asset.freshness is not None:
            age = fact.started, fact.finished
        return (
            tuple(getattr(fact, name) for name in _ALIKE),
            age,
            tuple((check.name, check.blocking) for check in fact.checks),
            tuple((read.asset, read.version, read.kind) for read in reads),
        )

    def _reads(self, state: AssetState, fact: Fact, part: PartitionSet) -> list[_Read] | None:
        """What a piece was made from; None: it stays as it is."""
        if fact.renamed or state.renames or fact.quarantine or not all(check.passed for check in fact.checks):
            return None
        pins: dict[str, list[InputPin]] = {}
        for pin in fact.inputs:
            pins.setdefault(pin.asset, []).append(pin)
        reads = {key: self._read(part, key, some) for key, some in pins.items()}
        found = [reads[pin.asset] for pin in fact.inputs]
        return None if None in found else [read for read in found if read is not None]

    def _read(self, part: PartitionSet, key: str, pins: list[InputPin]) -> _Read | None:
        edges = [edge for edge in self.graph.inputs(self.asset) if edge.asset.key == key]
        if not edges:
            # It goes by another name now, or isn't read any more.
            return _Read(key, pins[0].version, None, tuple(pins)) if len(pins) == 1 else None
        source, state = edges[0].asset.partitions, self.known[key].state
        pairs = [pair for pin in pins for pair in pin.partitions]
        before = state.meaning.before
        if before is not None and any((pin.version or 0) <= before for pin in pins):
            return None
        if state.renames or any(not source.from_pairs([pair]) for pair in pairs):
            return None
        read = [source.from_pairs(pin.partitions) for pin in pins]
        together = source.union(read)
        try:
            mappings = [self.graph.mapping(self.asset, edge, self.now, state.present) for edge in edges]
            needed = source.union(mapping.upstream(part) for mapping in mappings)
        except PartitionError:
            return None
        kind: Any = together.spans
        if all(mapping.fixed for mapping in mappings) and needed <= together:
            # What was read besides is of no account, and what is read is what the partitions say.
            read, together, kind = [one & needed for one in read], needed, "needed"
        versions = {self._newest(state, pin.version, one) for pin, one in zip(pins, read, strict=True)}
        return _Read(key, versions.pop(), together, kind) if len(versions) == 1 else None

    def _newest(self, state: AssetState, version: int | None, read: PartitionSet) -> int | None:
        """The newest version of an input at which some partitions are what they were at a version."""
        newest = state.version
        if newest is None or (version is not None and version >= newest) or state.changed_since(version) & read:
            return version
        return newest

    def _join(self, state: AssetState, group: list[tuple[PartitionSet, Fact, list[_Read]]]) -> Piece:
        """Pieces that are alike as one, under the id of the newest."""
        part, fact, reads = max(group, key=lambda piece: order_of(piece[1]))
        if len(group) == 1 and not reads:
            return part, fact
        inputs = tuple(
            pin if read.partitions is None else self._pin(read, [reads[place] for _, _, reads in group])
            for place, (pin, read) in enumerate(zip(fact.inputs, reads, strict=True))
        )
        if len(group) == 1:
            return part, fact.model_copy(update={"inputs": inputs})
        part = self.asset.partitions.union(one for one, *_ in group)
        values: dict[str, Any] = {"partitions": part.to_pairs(), "inputs": inputs, "unchanged": (), "compared": None}
        for name in ("rows", "bytes"):
            values[name] = round(sum(_share(one, of, getattr(of, name)) for one, of, _ in group))
        values["digests"] = ""
        if self.asset.external:  # what is seen of it is compared with what was seen, each time
            known = state.digests(part)
            values["digests"] = "".join(known.get(key, " " * DIGEST) for key in part)
        return part, fact.model_copy(update=values)

    def _pin(self, read: _Read, alike: list[_Read]) -> InputPin:
        source = self.graph[read.asset].partitions
        these = source.union(one.partitions for one in alike if one.partitions is not None)
        return InputPin(asset=read.asset, version=read.version, partitions=these.to_pairs())


_ALIKE = ("status", "table", "spec", "code_version", "schema_version", "checks_version")
"""What publications have to share for one to stand for all of them, besides what they read."""


def _split(pieces: Pieces) -> tuple[Pieces, Pieces]:
    """The older ones and the newest."""
    return pieces[:-RECENT], pieces[-RECENT:]


def _share(part: PartitionSet, fact: Fact, number: int) -> float:
    """What of a number is a part's, of all partitions that a fact is about."""
    return number * len(part) / max(len(part.partitions.from_pairs(fact.partitions)), 1)


def _by_outcome(partitions: Partitions, pieces: Pieces) -> tuple[Pieces, PartitionSet]:
    """Pieces of one outcome as one, those that came to nothing by run; and the partitions of which one stands for more.

    How the last run ended is asked for: of that, all that it didn't publish counts.
    """
    groups: dict[Any, list[Piece]] = {}
    older, recent = _split(pieces)
    for part, fact in older:
        groups.setdefault((fact.status, "" if fact.status.committed else fact.run), []).append((part, fact))
    joined, several = [], partitions.empty()
    for group in groups.values():
        part, fact = partitions.union(part for part, _ in group), max((f for _, f in group), key=attempt_order)
        if len(group) > 1:
            several = several | part
            fact = fact.model_copy(update={"partitions": part.to_pairs(), **_LESS})
        joined.append((part, fact))
    return tuple(sorted((*joined, *recent), key=lambda piece: attempt_order(piece[1]))), several


_LESS: Mapping[str, Any] = {
    "inputs": (),
    "checks": (),
    "columns": "",
    "digests": "",
    "unchanged": (),
    "compared": None,
}


def _earlier(state: AssetState, asked: Collection[int], recent: int) -> tuple[tuple[PartitionSet, int, int], ...]:
    """Changes by their versions, as one where nobody's pin lies between them; not the most recent ones."""
    single = ((part, order_of(fact)[0], order_of(fact)[0]) for part, fact in state.changes)
    changes = sorted((*state.earlier, *single), key=lambda change: change[1:])
    pins = sorted(asked)
    joined: list[tuple[list[PartitionSet], int, int]] = []
    for part, first, last in changes[:-recent]:
        if joined:
            parts, low, high = joined[-1]
            low, high = min(low, first), max(high, last)
            if bisect_left(pins, low) == bisect_left(pins, high):
                parts.append(part)
                joined[-1] = parts, low, high
                continue
        joined.append(([part], first, last))
    union = state.partitions.union
    return (*((union(parts), low, high) for parts, low, high in joined), *changes[-recent:])
