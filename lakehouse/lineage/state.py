"""What is current: a fold over an asset's facts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

from lakehouse.errors import PartitioningChanged
from lakehouse.lineage.facts import DIGEST, Fact, Status
from lakehouse.partitions import Pairs, Partitions, PartitionSet, Unpartitioned


@final
@dataclass(frozen=True)
class Meaning:
    """Whether keys mean what they meant when they were written down: how an asset is partitioned may change.

    What is stored is partitioned as the newest publication says. Facts of before it was partitioned so tell of rows
    that are no more, whatever their keys look like.

    Parameters:
        spec: how the asset is declared to be partitioned; see [Partitions.spec][]
        other: how what is stored is partitioned, where that is another way
        before: the newest table version of when it was partitioned otherwise; None: it never was
        since: the newest of those that came after it
    """

    spec: str
    other: str = ""
    before: int | None = None
    since: int | None = None

    @classmethod
    def of(cls, partitions: Partitions, facts: Iterable[Fact], version: int | None = None) -> Meaning:
        """What an asset's facts say.

        Parameters:
            partitions: how the asset is declared
            facts: what is known of it; those of its newest version are enough to tell how it is stored
            version: as of which table version; None: as of now
        """
        spec = partitions.spec
        telling = [f for f in facts if f.spec and f.version is not None and f.status.committed]
        telling = telling if version is None else [f for f in telling if _version(f) <= version]
        others = [f for f in telling if f.spec != spec]
        if not others:
            return cls(spec)
        newest = max(telling, key=order_of)
        before = max(map(_version, others))
        return cls(spec, newest.spec, before) if newest.spec != spec else cls(spec, "", before, newest.version)

    def kept(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        """The facts whose keys mean what they say."""
        if self.other:
            return []
        if self.before is None:
            return [f for f in facts if f.spec in ("", self.spec)]  # attempts alone may differ
        places = places_of(facts)
        return [f for f in facts if f.spec in ("", self.spec) and places[f.id] > self.before]

    def fault(self, asset: str, version: int | None = None) -> PartitioningChanged | None:
        """Why nothing that is stored of an asset counts, if what is stored is partitioned otherwise.

        Parameters:
            asset: its key
            version: the table version that is looked at; None: the newest
        """
        if not self.other:
            return None
        what = asset if version is None else f"version {version} of {asset}"
        every = "" if self.spec == Unpartitioned().spec else " -p '*'"
        command = f"lakehouse state wipe {asset}{every}"
        return PartitioningChanged(
            f"{what} is stored as {self.other} and declared as {self.spec}: keys mean something else by now, so "
            "nothing that is stored counts as there",
            hint=f"{command} starts the table anew, for a refresh to build; or declare it as before"
            if version is None
            else "its files are there, for others to read",
        )


Pieces = tuple[tuple[PartitionSet, Fact], ...]
"""Disjoint sets of partitions, each with the fact that tells of it."""


Versions = tuple[tuple[int, int, int, int], ...]
"""Spans of ordinals with the table version of the first of each, and by how much it grows from one to the next."""

_MOST_AT_ONCE = 1_000
"""So many versions are looked up one by one: of more, all facts are read."""


@final
@dataclass(frozen=True)
class AssetState:
    """What is known of an asset's partitions.

    Parameters:
        partitions: how the asset is partitioned
        current: for each published partition the one fact that made it, as disjoint sets
        attempts: for each partition that was ever tried the last fact about it, as disjoint sets
        changes: for each partition that was ever published the fact since which its rows are what they are, as disjoint
            sets, oldest version first
        gone: for each partition that was forgotten or wiped since it was published the fact that says so
        rejected: for each partition that was held back and not published since, whatever else was tried in vain, the
            fact that says so
        formerly: keys that the asset had before it was renamed
        renames: the facts that say that partitions were renamed, oldest first
        sequence: the highest of all facts; what is planned now comes after it
        meaning: whether keys mean what they meant when they were written down
        earlier: changes of which the versions alone are kept, the first and the last at which some partitions changed
        merged: partitions of which one current fact stands for several that are alike; see
            [lakehouse.lineage.merging][]
        lean: partitions whose current facts are without their digests
        made: of those, in spans by their order, the table versions at which they were published
        at: reads the facts of some table versions, for their digests; None: nothing does
        whole: folds all facts, for what is asked about what isn't kept here; None: everything is
    """

    partitions: Partitions
    current: Pieces
    attempts: Pieces
    changes: Pieces = ()
    gone: Pieces = ()
    rejected: Pieces = ()
    formerly: frozenset[str] = frozenset()
    renames: tuple[Fact, ...] = ()
    sequence: int = 0
    meaning: Meaning = field(default_factory=lambda: Meaning(""))
    earlier: tuple[tuple[PartitionSet, int, int], ...] = ()
    merged: PartitionSet = None  # type: ignore[assignment]  # until it is made
    lean: PartitionSet = None  # type: ignore[assignment]
    made: Versions = ()
    at: Callable[[Collection[int]], Sequence[Fact]] | None = field(default=None, repr=False, compare=False)
    whole: Callable[[], AssetState] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("merged", "lean"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.partitions.empty())

    @classmethod
    def fold(cls, partitions: Partitions, facts: Iterable[Fact], *, version: int | None = None) -> AssetState:
        """Fold facts, in whatever order they come.

        A table's own versions order its publications, and what came to nothing goes by the version that it began with:
        clocks differ between machines, commits don't.

        Parameters:
            partitions: how the asset is partitioned
            facts: everything that is known of it
            version: as of which table version, with every partition under the key that it has now; None: as of now
        """
        everything = list(facts)
        meaning = Meaning.of(partitions, everything, version)
        listed = under_new_keys(meaning.kept(everything))
        if version is not None:
            listed = [f for f in listed if f.version is not None and f.version <= version]
        committed = sorted((f for f in listed if f.status in THERE + GONE), key=order_of, reverse=True)
        # A partition that gets another key is no attempt at it.
        tried = [f for f in reversed(in_order(listed)) if not f.renamed]
        rows = rows_of(committed)
        pieces = paint(partitions, committed)
        return cls(
            partitions,
            tuple(piece for piece in pieces if piece[1].status in THERE),
            paint(partitions, tried),
            changes_among(partitions, rows),
            tuple(piece for piece in pieces if piece[1].status in GONE),
            tuple(piece for piece in judged_among(partitions, tried) if piece[1].status is Status.REJECTED),
            frozenset(f.formerly for f in everything if f.formerly),
            tuple(sorted((f for f in listed if f.renamed), key=order_of)),
            max((f.sequence for f in everything), default=0),
            meaning,
        )

    @cached_property
    def present(self) -> PartitionSet:
        """The partitions that are published."""
        return self.partitions.union(part for part, _ in self.current)

    @property
    def held(self) -> PartitionSet:
        """The partitions that were held back, and not published since."""
        return self.partitions.union(part for part, _ in self.rejected)

    @cached_property
    def version(self) -> int | None:
        """The highest table version that is recorded."""
        known = (*(fact.version for _, fact in (*self.current, *self.gone)), self.meaning.since)
        return max((version for version in known if version is not None), default=None)

    def changed_since(self, version: int | None) -> PartitionSet:
        """The partitions whose rows are others than they were at a table version (None: before there were any)."""
        if version is None:
            return self.present
        if version not in self._since:
            if any(first <= version < last for _, first, last in self.earlier):
                return self.exact.changed_since(version)
            versions, unions = self._newer
            newer = self.partitions.union(part for part, first, _ in self.earlier if first > version)
            self._since[version] = unions[bisect_right(versions, version)] | newer
        return self._since[version]

    @cached_property
    def _since(self) -> dict[int, PartitionSet]:
        """What was found to have changed since a version: many publications ask for the same one."""
        return {}

    @cached_property
    def exact(self) -> AssetState:
        """The same, with nothing left out."""
        return self if self.whole is None else self.whole()

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

    def digests(self, wanted: PartitionSet) -> dict[str, str]:
        """What stands for the rows of some partitions, by key; without those of which it isn't known.

        After its [DIGEST][] characters each says how it was made, where its fact does: one that was made in another way
        can't be compared.
        """
        if (detailed := self.with_digests(wanted)) is not self:
            return detailed.digests(wanted)
        pieces = self._digests
        found: dict[str, str] = {}
        for low, high in wanted.spans:
            for place in range(max(bisect_right(pieces, low, key=lambda p: p[0]) - 1, 0), len(pieces)):
                first, end, text, at, how = pieces[place]
                if first >= high:
                    break
                for ordinal in range(max(low, first), min(high, end)):
                    digest = text[at + DIGEST * (ordinal - first) :][:DIGEST]
                    if len(digest) == DIGEST and not digest.isspace():
                        found[self.partitions.key(ordinal)] = digest + how
        return found

    def with_digests(self, wanted: PartitionSet) -> AssetState:
        """What says the digests of some partitions: itself, or the same of them with facts that are read for it."""
        lean = self.lean & wanted
        if not lean:
            return self
        versions = None if self.at is None or self.renames else versions_of(self.made, lean)
        if self.at is None or versions is None or len(versions) > _MOST_AT_ONCE:
            return self.exact
        published = sorted((f for f in self.at(versions) if f.status in THERE), key=order_of, reverse=True)
        found = [(part & lean, fact) for part, fact in paint(self.partitions, published)]
        if not lean <= self.partitions.union(part for part, _ in found):
            return self.exact
        return AssetState(self.partitions, (*found, *((part - lean, fact) for part, fact in self.current)), ())

    @cached_property
    def _digests(self) -> list[tuple[int, int, str, int, str]]:
        """By ordinals, spans with the text that stands for their rows, where theirs begins, and how it was made."""
        pieces = []
        for part, fact in self.current:
            at = 0
            for pair in fact.partitions:
                these = self.partitions.from_pairs([pair])
                if not these and pair[0] != pair[1]:
                    break  # how many there were isn't known any more
                for low, high in these.spans:
                    inside = (part & PartitionSet(self.partitions, ((low, high),))).spans
                    pieces += [
                        (first, end, fact.digests, at + DIGEST * (first - low), fact.digested) for first, end in inside
                    ]
                at += DIGEST * (len(these) or 1)
        return sorted(pieces, key=lambda piece: piece[:2])

    @cached_property
    def rows_per_partition(self) -> float | None:
        """How many rows a partition has on average, as far as is recorded; None: nothing is."""
        whole = {fact.id: fact for _, fact in self.current}.values()
        counted = sum(len(self.partitions.from_pairs(fact.partitions)) for fact in whole)
        return sum(fact.rows for fact in whole) / counted if counted else None

    def last(self, status: Status) -> PartitionSet:
        """The partitions whose last attempt ended so."""
        return self.partitions.union(part for part, fact in self.attempts if fact.status is status)

    def within(self, wanted: PartitionSet) -> list[tuple[PartitionSet, Fact]]:
        """The current facts of some partitions, with the part of each that they cover."""
        return [(part & wanted, fact) for part, fact in self.current if part & wanted]


def rows_of(facts: Iterable[Fact]) -> list[Fact]:
    """Facts that say something of rows: a partition that was forgotten has those that it had."""
    return [f for f in facts if f.status in THERE + GONE and f.status is not Status.FORGOTTEN]


def history(partitions: Partitions, facts: Sequence[Fact], wanted: PartitionSet) -> list[Fact]:
    """The facts that touch some partitions, in their order."""
    kept = Meaning.of(partitions, facts).kept(facts)
    return [f for f in under_new_keys(kept) if partitions.from_pairs(f.partitions) & wanted]


def under_new_keys(facts: Iterable[Fact]) -> list[Fact]:
    """Facts with each partition under the key that it has now, if it was renamed since.

    Of a partition whose key another one has taken nothing is left but its place, with an empty key.
    """
    listed = list(facts)
    renames = sorted((f for f in listed if f.renamed), key=order_of)
    places = places_of(listed) if renames else {}
    for rename in renames:
        keys = _keys(rename)
        listed = [_renamed(f, keys) if places[f.id] < _version(rename) else f for f in listed]
    return listed


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Facts in the order in which they came about, oldest first, whatever the clocks of those who wrote them said.

    What was committed goes by its version. What came to nothing comes after the version that it began with, and before
    the next one; several of those by their sequence.
    """
    listed = list(facts)
    places = places_of(listed)
    return sorted(listed, key=lambda f: (places[f.id], f.version is None, f.sequence, f.id))


def new_keys(pairs: Pairs, renames: Iterable[Fact], version: int | None) -> Pairs:
    """Partitions as they were called at a version, each under the key that it has now, or an empty one: it is gone.

    Parameters:
        pairs: the partitions
        renames: among other facts, those by which partitions of the asset were renamed
        version: the version; None: before there was any
    """
    for rename in _since(renames, version):
        pairs = _replaced(pairs, _keys(rename))
    return pairs


def old_keys(pairs: Pairs, renames: Iterable[Fact], version: int | None) -> Pairs:
    """Partitions that there were at a version, each under the key that it had then: undoes [new_keys][]."""
    for rename in reversed(_since(renames, version)):
        pairs = _replaced(pairs, {new: old for old, new in rename.renamed})
    return pairs


def superseded(partitions: Partitions, facts: Sequence[Fact], versions: Collection[int] = ()) -> list[Fact]:
    """The facts without which everything current stays as it is.

    Parameters:
        partitions: how the asset is partitioned
        facts: everything that is known of it
        versions: table versions that others have read and that are to stay explained
    """
    # The newest fact of a version stays: by it is known that all before it were recorded.
    newest = max((f for f in facts if f.version is not None), key=order_of, default=None)
    needed = {newest.id} if newest is not None else set()
    needed |= {f.id for f in facts if f.renamed or f.formerly}
    # By the newest of each it is known how rows are partitioned, and up to when they were otherwise.
    told = sorted((f for f in facts if f.spec and f.version is not None and f.status.committed), key=order_of)
    needed |= set({f.spec: f.id for f in told}.values()) if {f.spec for f in told} > {partitions.spec} else set()
    last = max(facts, key=lambda f: (f.sequence, order_of(f)), default=None)
    needed |= {last.id} if last is not None and last.sequence else set()
    state = AssetState.fold(partitions, facts)
    needed |= {f.id for _, f in (*state.current, *state.attempts, *state.changes, *state.gone)}
    # What came after a rejection ends it, also where it is neither current nor the last attempt by now.
    needed |= {f.id for _, f in judged_among(partitions, in_order(under_new_keys(facts))[::-1])}
    # What an older release wrote of attempts has its place by the newest version that was recorded before.
    needed |= {places[id] for id in needed if id in places} if (places := _newest_before(facts)) else set()
    for version in set(versions):
        then = AssetState.fold(partitions, facts, version=version)
        needed |= {f.id for _, f in (*then.current, *then.gone)}
    return [f for f in facts if f.id not in needed]


THERE = (Status.PUBLISHED, Status.OBSERVED)
GONE = (Status.FORGOTTEN, Status.WIPED)


def order_of(fact: Fact) -> tuple[int, str]:
    """Commits order what a table's versions stand behind; ids the rest."""
    return _version(fact), fact.id


def _newest_before(facts: Iterable[Fact]) -> dict[str, str]:
    """For each fact that says nothing of the version that it began with, the fact that made the newest one before."""
    found: dict[str, str] = {}
    newest: Fact | None = None
    for fact in sorted(facts, key=lambda f: f.id):
        if fact.version is not None and (newest is None or fact.version > _version(newest)):
            newest = fact
        elif fact.version is None and fact.after is None and newest is not None:
            found[fact.id] = newest.id
    return found


def places_of(facts: Iterable[Fact], newest: int = -1) -> dict[str, int]:
    """The table version that each fact made, or began with.

    Parameters:
        facts: the facts
        newest: the highest version of those that came before them
    """
    places: dict[str, int] = {}
    for fact in sorted(facts, key=lambda f: f.id):
        if fact.version is not None:
            newest = max(newest, fact.version)
        # One that doesn't say what it began with is of an older release: of that, only its time is known.
        known = fact.version if fact.version is not None else fact.after
        places[fact.id] = newest if known is None else known
    return places


def _since(facts: Iterable[Fact], version: int | None) -> list[Fact]:
    """The renames that came after a version, in their order."""
    after = -1 if version is None else version
    return sorted((f for f in facts if f.renamed and _version(f) > after), key=order_of)


def _keys(rename: Fact) -> Mapping[str, str]:
    """What a rename makes of the keys that there were."""
    # What had the new key until then is another partition, and gone: it doesn't become the renamed one.
    return {new: "" for _, new in rename.renamed} | dict(rename.renamed)


def _renamed(fact: Fact, keys: Mapping[str, str]) -> Fact:
    """A fact with other keys; their order stays, for digests go by it."""
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


def paint(partitions: Partitions, newest_first: Sequence[Fact]) -> Pieces:
    """Each partition with the newest fact about it."""
    covered = partitions.empty()
    pieces = []
    for fact in newest_first:
        part = partitions.from_pairs(fact.partitions) - covered
        if part:
            pieces.append((part, fact))
            covered = covered | part
    return tuple(reversed(pieces))


def judged_among(partitions: Partitions, newest_first: Sequence[Fact]) -> Pieces:
    """Each partition with the newest fact that says something of its rows: not that they couldn't be made."""
    tried = [f for f in newest_first if not f.renamed and f.status not in (Status.FAILED, Status.SKIPPED)]
    return paint(partitions, tried)


def changes_among(
    partitions: Partitions,
    newest_first: Sequence[Fact],
    published_since: Callable[[PartitionSet, int], PartitionSet] | None = None,
) -> Pieces:
    """Each partition with the newest fact that didn't leave its rows as they were.

    Parameters:
        partitions: how the asset is partitioned
        newest_first: facts that say something of its rows
        published_since: says which partitions were published after a version by facts that came before these
    """
    covered = partitions.empty()
    pieces = []
    for place, fact in enumerate(newest_first):
        part = changed_by(
            partitions, newest_first, place, published_since, partitions.from_pairs(fact.partitions) - covered
        )
        if part:
            pieces.append((part, fact))
            covered = covered | part
    return tuple(reversed(pieces))


def changed_by(
    partitions: Partitions,
    newest_first: Sequence[Fact],
    place: int,
    published_since: Callable[[PartitionSet, int], PartitionSet] | None = None,
    part: PartitionSet | None = None,
) -> PartitionSet:
    """The partitions of a fact whose rows it didn't leave as they were.

    Parameters:
        partitions: how the asset is partitioned
        newest_first: facts that say something of its rows
        place: where among them the fact is
        published_since: see [changes_among][]
        part: those of its partitions that are in question; None: all
    """
    fact = newest_first[place]
    if fact.renamed:
        return partitions.empty()  # the same rows, with another key in them
    part = partitions.from_pairs(fact.partitions) if part is None else part
    if not fact.unchanged or not part:
        return part
    same = part & partitions.from_pairs(fact.unchanged)
    # What it was compared with is not what it replaced, where another run published in between.
    for other in newest_first[place + 1 :]:
        if fact.compared is None or _version(other) <= fact.compared or not same:
            break
        same = same - partitions.from_pairs(other.partitions)
    if same and published_since is not None and fact.compared is not None:
        same = same - published_since(same, fact.compared)
    return part - same


def made_at(state: AssetState) -> Versions:
    """The table version at which each partition was published that is there, in few spans.

    Day after day, each published by itself, is one: the version grows from one to the next as the day does.
    """
    spans = list(_within(state.made, state.lean & state.present))
    for part, fact in state.current:
        if fact.version is not None:
            spans += [(low, high, fact.version, 0) for low, high in (part - state.lean).spans]
    joined: list[tuple[int, int, int, int]] = []
    for low, high, version, step in sorted(spans):
        if joined:
            first, end, start, grows = joined[-1]
            by = version - start if end - first == 1 and high - low == 1 else grows
            follows = end == low and version == start + by * (low - first)
            if follows and (by == step or high - low == 1):
                joined[-1] = first, high, start, by
                continue
        joined.append((low, high, version, step))
    return tuple(joined)


def versions_of(made: Versions, wanted: PartitionSet) -> set[int] | None:
    """The table versions at which some partitions were published; None: it isn't known of all."""
    found: set[int] = set()
    known = 0
    for low, high, version, step in _within(made, wanted):
        known += high - low
        found.update(range(version, version + step * (high - low), step) if step else (version,))
        if len(found) > _MOST_AT_ONCE:
            break
    return found if known == len(wanted) or len(found) > _MOST_AT_ONCE else None


def _within(made: Versions, wanted: PartitionSet) -> Iterator[tuple[int, int, int, int]]:
    for low, high in wanted.spans:
        for place in range(max(bisect_right(made, low, key=lambda one: one[0]) - 1, 0), len(made)):
            first, end, version, step = made[place]
            if first >= high:
                break
            if (start := max(first, low)) < (stop := min(end, high)):
                yield start, stop, version + step * (start - first), step
