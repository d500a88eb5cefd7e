"""Until when rows stayed what they were: by that it is told which versions of a table the read rows are still in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

from lakehouse.lineage.facts import Fact
from lakehouse.lineage.state import Meaning, changed_by, order_of, rows_of, under_new_keys
from lakehouse.partitions import Partitions, PartitionSet

_FAR = 1 << 62
"""Beyond all ordinals."""


@final
@dataclass(frozen=True)
class Asked:
    """Some partitions as they were at a version.

    Parameters:
        version: the version
        partitions: which partitions, by the keys that they had then
    """

    version: int
    partitions: PartitionSet


Until = tuple[PartitionSet, int | None]
"""Some partitions, and the newest version at which their rows are what they were; None: they still are."""


def unchanged(
    partitions: Partitions,
    facts: Collection[Fact],
    asked: Sequence[Asked],
    others: Collection[int] = (),
    *,
    exact: bool = False,
) -> list[list[Until]]:
    """Until which version rows stayed what they were at a version: until they got another key, at the longest.

    Parameters:
        partitions: how the asset is partitioned
        facts: what its table's log tells: what it lacks would seem never to have happened
        asked: of which partitions, at which version
        others: the versions that something else has made: whatever it did
        exact: whether what was published again as it was has changed, too: there are columns that no digest tells of

    Returns:
        for each that was asked, in its order, the partitions that changed at the same version, or never
    """
    found: list[list[Until]] = [[] for _ in asked]
    left = [one.partitions for one in asked]
    for rename in sorted((fact for fact in facts if fact.renamed), key=order_of):
        version = order_of(rename)[0]
        keys = renamed_since(partitions, [rename], version - 1)
        here = [n for n, one in enumerate(asked) if one.version < version and left[n] & keys]
        before = [fact for fact in facts if order_of(fact)[0] < version]
        older = [Asked(asked[n].version, left[n] & keys) for n in here]
        then = _unchanged(partitions, before, older, [v for v in others if v < version], exact)
        for n, parts in zip(here, then, strict=True):
            found[n] += [(part, version - 1 if until is None else until) for part, until in parts]
            left[n] = left[n] - keys
    never = [Asked(one.version, part) for one, part in zip(asked, left, strict=True)]
    for parts, more in zip(found, _unchanged(partitions, facts, never, others, exact), strict=True):
        parts += more
    return found


def _unchanged(
    partitions: Partitions, facts: Collection[Fact], asked: Sequence[Asked], others: Collection[int], exact: bool
) -> list[list[Until]]:
    """The same of partitions that have the keys now that they had at the version."""
    kept = Meaning.of(partitions, facts).kept(list(facts))
    newest_first = sorted(rows_of(under_new_keys(kept)), key=order_of, reverse=True)
    changes: list[tuple[int, tuple[tuple[int, int], ...]]] = [(version, ((-_FAR, _FAR),)) for version in others]
    by_others = sorted(others)
    for place, fact in enumerate(newest_first):
        made = order_of(fact)[0]
        # What something else did in between isn't what it was compared with.
        between = bisect_right(by_others, fact.compared or 0) < bisect_left(by_others, made)
        anew = (exact or between) and not fact.renamed
        changed = partitions.from_pairs(fact.partitions) if anew else changed_by(partitions, newest_first, place)
        if changed:
            changes.append((made, changed.spans))
    changes.sort(reverse=True)
    next_change, at = _Latest(), 0
    found: list[list[Until]] = [[] for _ in asked]
    for number in sorted(range(len(asked)), key=lambda n: asked[n].version, reverse=True):
        one = asked[number]
        while at < len(changes) and changes[at][0] > one.version:
            for span in changes[at][1]:
                next_change.put(span, changes[at][0])
            at += 1
        parts: dict[int | None, list[tuple[int, int]]] = {}
        for span in one.partitions.spans:
            for low, high, version in next_change.within(span):
                parts.setdefault(None if version is None else version - 1, []).append((low, high))
        found[number] = [(PartitionSet(partitions, tuple(spans)), until) for until, spans in parts.items()]
    return found


def renamed_since(partitions: Partitions, facts: Collection[Fact], version: int) -> PartitionSet:
    """The partitions that have a key which another one had at a version, or that had another one in between."""
    pairs = (pair for fact in facts if (fact.version or 0) > version for pair in fact.renamed)
    return partitions.union(partitions.from_pairs([(key, key)]) for pair in pairs for key in pair)


class _Latest:
    """For each ordinal what was put there last."""

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._pieces: list[tuple[int, int, int]] = []

    def put(self, span: tuple[int, int], version: int) -> None:
        low, high = span
        first, last = self._touched(low, high)
        new = [(low, high, version)]
        if first < last:
            before, after = self._pieces[first], self._pieces[last - 1]
            new = [*([(before[0], low, before[2])] if before[0] < low else []), *new]
            new += [(high, after[1], after[2])] if after[1] > high else []
        self._pieces[first:last] = new
        self._lows[first:last] = [piece[0] for piece in new]

    def within(self, span: tuple[int, int]) -> list[tuple[int, int, int | None]]:
        """What there is in a span, in its order; None: nothing was put there."""
        at, high = span
        found: list[tuple[int, int, int | None]] = []
        for low, end, version in self._pieces[slice(*self._touched(at, high))]:
            if at < low:
                found.append((at, low, None))
            found.append((max(at, low), min(end, high), version))
            at = min(end, high)
        return [*found, (at, high, None)] if at < high else found

    def _touched(self, low: int, high: int) -> tuple[int, int]:
        """The pieces that meet a span: the first, and the one after the last."""
        first = bisect_right(self._lows, low) - 1
        if first < 0 or self._pieces[first][1] <= low:
            first += 1
        return first, max(bisect_left(self._lows, high), first)
