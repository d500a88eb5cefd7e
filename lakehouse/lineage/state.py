"""What is current: a fold over an asset's facts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

from lakehouse.lineage.facts import DIGEST, Fact, Status
from lakehouse.partitions import Pairs, Partitions, PartitionSet


@final
@dataclass(frozen=True)
class AssetState:
    """What is known of an asset's partitions.

    Parameters:
        partitions: how the asset is cut
        current: for each published partition the one fact that made it, as disjoint sets
        attempts: for each partition that was ever tried the last fact about it, as disjoint sets
        changes: for each partition that was ever published the fact since which its rows are what they are, as disjoint
            sets, oldest version first
        gone: for each partition that was forgotten or wiped since it was published the fact that says so
        formerly: keys that the asset had before it was renamed
    """

    partitions: Partitions
    current: tuple[tuple[PartitionSet, Fact], ...]
    attempts: tuple[tuple[PartitionSet, Fact], ...]
    changes: tuple[tuple[PartitionSet, Fact], ...] = ()
    gone: tuple[tuple[PartitionSet, Fact], ...] = ()
    formerly: frozenset[str] = frozenset()

    @classmethod
    def fold(cls, partitions: Partitions, facts: Iterable[Fact]) -> AssetState:
        """Fold facts, in whatever order they come.

        A table's own versions order its publications: clocks differ between machines, commits don't.
        """
        listed = under_new_keys(facts)
        told = sorted((f for f in listed if f.status in _THERE + _GONE), key=_order, reverse=True)
        # A partition that gets another key is no attempt at it, and a forgotten one has the rows that it had.
        tried = sorted((f for f in listed if not f.renamed), key=lambda f: f.id, reverse=True)
        rows = [f for f in told if f.status is not Status.FORGOTTEN]
        pieces = _paint(partitions, told)
        return cls(
            partitions,
            tuple(piece for piece in pieces if piece[1].status in _THERE),
            _paint(partitions, tried),
            _paint(partitions, rows, without=True),
            tuple(piece for piece in pieces if piece[1].status in _GONE),
            frozenset(f.formerly for f in listed if f.formerly),
        )

    @property
    def present(self) -> PartitionSet:
        """The partitions that are published."""
        return _union(self.partitions, self.current)

    @property
    def version(self) -> int | None:
        """The highest table version that is recorded."""
        return max((f.version for _, f in (*self.current, *self.gone) if f.version is not None), default=None)

    def changed_since(self, version: int | None) -> PartitionSet:
        """The partitions whose rows are others than they were at a table version (None: before there were any)."""
        if version is None:
            return self.present
        versions, unions = self._newer
        return unions[bisect_right(versions, version)]

    @cached_property
    def _newer(self) -> tuple[list[int], list[PartitionSet]]:
        """The versions at which rows changed, and for each the partitions that changed then or later; then none."""
        versions: list[int] = []
        unions = [self.partitions.empty()]
        for part, fact in reversed(self.changes):
            if versions and versions[-1] == _version(fact):
                unions[-1] = unions[-1] | part
            else:
                versions.append(_version(fact))
                unions.append(unions[-1] | part)
        return versions[::-1], unions[::-1]

    def contents(self, wanted: PartitionSet) -> dict[str, str]:
        """What stands for the rows of some partitions, by key; without those of which it isn't known."""
        found: dict[str, str] = {}
        for part, fact in self.within(wanted):
            at = 0
            for first, last in fact.partitions:
                span = self.partitions.from_pairs([(first, last)])
                for key in span:
                    digest = fact.contents[at : at + DIGEST]
                    at += DIGEST
                    if len(digest) == DIGEST and key in part:
                        found[key] = digest
                if not span:  # a key that the definition has no longer
                    at += DIGEST
        return found

    @cached_property
    def rows_per_partition(self) -> float | None:
        """How many rows a partition has on average, as far as is recorded; None: nothing is."""
        whole = {fact.id: fact for _, fact in self.current}.values()
        counted = sum(len(self.partitions.from_pairs(fact.partitions)) for fact in whole)
        return sum(fact.rows for fact in whole) / counted if counted else None

    def last(self, status: Status) -> PartitionSet:
        """The partitions whose last attempt ended so."""
        return _union(self.partitions, [(part, f) for part, f in self.attempts if f.status is status])

    def within(self, wanted: PartitionSet) -> list[tuple[PartitionSet, Fact]]:
        """The current facts of some partitions, with the part of each that they cover."""
        return [(part & wanted, fact) for part, fact in self.current if part & wanted]


def history(partitions: Partitions, facts: Sequence[Fact], wanted: PartitionSet) -> list[Fact]:
    """The facts that touch some partitions, in their order."""
    return [f for f in under_new_keys(facts) if partitions.from_pairs(f.partitions) & wanted]


def under_new_keys(facts: Iterable[Fact]) -> list[Fact]:
    """Facts with each partition under the key that it has now, if it was renamed since."""
    listed = list(facts)
    for rename in sorted((f for f in listed if f.renamed), key=_order):
        listed = [_renamed(f, dict(rename.renamed)) if _before(f, rename) else f for f in listed]
    return listed


def new_keys(pairs: Pairs, facts: Iterable[Fact], version: int) -> Pairs:
    """Partitions that were read at a version, each under the key that it has now.

    Parameters:
        pairs: the partitions
        facts: what is known of the asset that they are of
        version: the version
    """
    for rename in sorted((f for f in facts if f.renamed and _version(f) > version), key=_order):
        pairs = _replaced(pairs, dict(rename.renamed))
    return pairs


def superseded(partitions: Partitions, facts: Sequence[Fact], versions: Collection[int] = ()) -> list[Fact]:
    """The facts without which everything current stays as it is.

    Parameters:
        partitions: how the asset is cut
        facts: everything that is known of it
        versions: table versions that others have read and that are to stay explained
    """
    # The newest fact of a version stays: by it is known that all before it were recorded.
    newest = max(facts, key=_order, default=None)
    needed = {newest.id} if newest is not None else set()
    needed |= {f.id for f in facts if f.renamed or f.formerly}
    state = AssetState.fold(partitions, facts)
    needed |= {f.id for _, f in (*state.current, *state.attempts, *state.changes, *state.gone)}
    listed = under_new_keys(facts)
    for version in set(versions):
        then = AssetState.fold(partitions, [f for f in listed if f.version is not None and f.version <= version])
        needed |= {f.id for _, f in then.current}
    return [f for f in facts if f.id not in needed]


_THERE = (Status.PUBLISHED, Status.OBSERVED)
_GONE = (Status.FORGOTTEN, Status.WIPED)


def _order(fact: Fact) -> tuple[int, str]:
    """Commits order what a table's versions stand behind; ids the rest."""
    return _version(fact), fact.id


def _before(fact: Fact, rename: Fact) -> bool:
    return fact.id < rename.id if fact.version is None else fact.version < _version(rename)


def _renamed(fact: Fact, keys: Mapping[str, str]) -> Fact:
    """A fact with other keys; their order stays, for contents go by it."""
    if not any(first in keys for first, _ in fact.partitions):
        return fact
    return fact.model_copy(
        update={
            "partitions": _replaced(fact.partitions, keys),
            "unchanged": _replaced(fact.unchanged, keys),
            "checks": tuple(c.model_copy(update={"failed": _replaced(c.failed, keys)}) for c in fact.checks),
        }
    )


def _replaced(pairs: Pairs, keys: Mapping[str, str]) -> Pairs:
    return tuple((keys.get(first, first), keys.get(last, last)) for first, last in pairs)


def _version(fact: Fact) -> int:
    return -1 if fact.version is None else fact.version


def _paint(
    partitions: Partitions, newest_first: Sequence[Fact], *, without: bool = False
) -> tuple[tuple[PartitionSet, Fact], ...]:
    """Each partition with the newest fact about it; ``without`` those that only say that it stayed as it was."""
    covered = partitions.empty()
    pieces = []
    for fact in newest_first:
        part = partitions.from_pairs(fact.partitions) - covered
        if without and fact.unchanged:
            part = part - partitions.from_pairs(fact.unchanged)
        if part:
            pieces.append((part, fact))
            covered = covered | part
    return tuple(reversed(pieces))


def _union(partitions: Partitions, pieces: Iterable[tuple[PartitionSet, Fact]]) -> PartitionSet:
    return PartitionSet(partitions, tuple(span for part, _ in pieces for span in part.spans))
