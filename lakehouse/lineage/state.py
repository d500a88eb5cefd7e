"""What is current: a fold over an asset's facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from lakehouse.lineage.facts import Fact, Status
from lakehouse.partitions import Partitions, PartitionSet


@final
@dataclass(frozen=True)
class AssetState:
    """What is known of an asset's partitions.

    Parameters:
        partitions: how the asset is cut
        current: for each published partition the one fact that made it, as disjoint sets
        attempts: for each partition that was ever tried the last fact about it, as disjoint sets
    """

    partitions: Partitions
    current: tuple[tuple[PartitionSet, Fact], ...]
    attempts: tuple[tuple[PartitionSet, Fact], ...]

    @classmethod
    def fold(cls, partitions: Partitions, facts: Iterable[Fact]) -> AssetState:
        """Fold facts, in whatever order they come.

        A table's own versions order its publications: clocks differ between machines, commits don't.
        """
        listed = list(facts)
        published = [f for f in listed if f.status is Status.PUBLISHED]
        published.sort(key=lambda f: (-1 if f.version is None else f.version, f.id), reverse=True)
        tried = sorted(listed, key=lambda f: f.id, reverse=True)
        return cls(partitions, _paint(partitions, published), _paint(partitions, tried))

    @property
    def present(self) -> PartitionSet:
        """The partitions that are published."""
        return _union(self.partitions, self.current)

    @property
    def version(self) -> int | None:
        """The highest table version that is recorded."""
        return max((f.version for _, f in self.current if f.version is not None), default=None)

    def last(self, status: Status) -> PartitionSet:
        """The partitions whose last attempt ended so."""
        return _union(self.partitions, [(part, f) for part, f in self.attempts if f.status is status])

    def within(self, wanted: PartitionSet) -> list[tuple[PartitionSet, Fact]]:
        """The current facts of some partitions, with the part of each that they cover."""
        return [(part & wanted, fact) for part, fact in self.current if part & wanted]


def history(partitions: Partitions, facts: Sequence[Fact], wanted: PartitionSet) -> list[Fact]:
    """The facts that touch some partitions, in their order."""
    return [f for f in facts if partitions.from_pairs(f.partitions) & wanted]


def _paint(partitions: Partitions, newest_first: Sequence[Fact]) -> tuple[tuple[PartitionSet, Fact], ...]:
    covered = partitions.empty()
    pieces = []
    for fact in newest_first:
        part = partitions.from_pairs(fact.partitions) - covered
        if part:
            pieces.append((part, fact))
            covered = covered | part
    return tuple(reversed(pieces))


def _union(partitions: Partitions, pieces: Iterable[tuple[PartitionSet, Fact]]) -> PartitionSet:
    return PartitionSet(partitions, tuple(span for part, _ in pieces for span in part.spans))
