"""History kept folded: a checkpoint of what an asset's facts come to, to which is added what came since.

A checkpoint is a cache and never the truth: one that is missing, damaged or of another form, or that a fact belongs
before, is made anew from all facts. What is folded comes out as if all facts had been folded at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, final

from pydantic import TypeAdapter

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.lineage.facts import Fact, Status, new_id
from lakehouse.lineage.state import (
    GONE,
    THERE,
    AssetState,
    Meaning,
    Pieces,
    changes_among,
    judged_among,
    order_of,
    paint,
    places_of,
    rows_of,
)
from lakehouse.partitions import Partitions, PartitionSet

FORMAT = 2
"""Of a checkpoint's text, and of what ordinals mean in it: another one is not read."""


class Late(Exception):
    """A fact belongs before others that are folded already, or renames partitions: all facts are folded anew."""


@final
@dataclass(frozen=True)
class Kept:
    """An asset's folded facts, and what is needed to go on with them.

    Parameters:
        state: what they come to
        newest: those that name the highest table version
        last: the highest id of those with a version
        unplaced: the highest id of those that have none, and don't say which one they began with
        epoch: changes whenever all facts are folded anew
        sources: of each input whose state it relies on, by key, that one's epoch
    """

    state: AssetState
    newest: tuple[Fact, ...] = ()
    last: str = ""
    unplaced: str = ""
    epoch: str = field(default_factory=new_id)
    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, partitions: Partitions, facts: Collection[Fact]) -> Kept:
        """All facts, folded at once."""
        version = max((f.version for f in facts if f.version is not None), default=None)
        state, places = AssetState.fold(partitions, facts), places_of(facts)

        def placed(pieces: Pieces) -> Pieces:
            return tuple((part, _placed(fact, places)) for part, fact in pieces)

        return cls(
            replace(state, attempts=placed(state.attempts), rejected=placed(state.rejected)),
            tuple(f for f in facts if version is not None and f.version == version),
            max((f.id for f in facts if f.version is not None), default=""),
            max((f.id for f in facts if not _told(f)), default=""),
        )

    def plus(self, facts: Iterable[Fact]) -> Kept:
        """The same, with facts that came since.

        Raises:
            Late: one of them belongs before what is folded here
        """
        new = list({f.id: f for f in facts}.values())
        if not new:
            return self
        base, partitions = self.state, self.state.partitions
        places = self._places(new)
        unplaced = max((f.id for f in new if not _told(f)), default="")
        new = [_placed(f, places) for f in new]
        committed = sorted((f for f in new if f.status in THERE + GONE), key=order_of, reverse=True)
        tried = sorted(new, key=lambda f: attempt_order(f, places), reverse=True)
        told = (*base.current, *base.gone)
        _see_in_order(told, committed, order_of)
        _see_in_order(base.attempts, tried, lambda f: attempt_order(f, places))

        def covered(pieces: Pieces) -> PartitionSet:
            return partitions.union(part for part, _ in pieces)

        now, attempts, judged = paint(partitions, committed), paint(partitions, tried), judged_among(partitions, tried)
        rows = rows_of(committed)
        changes = changes_among(partitions, rows, lambda same, compared: _published_since(base, same, compared))
        changed, over = covered(changes), covered(now)
        meaning = base.meaning
        if meaning.since is not None:
            telling = (f.version for f in new if f.spec and f.version is not None and f.status.committed)
            meaning = replace(meaning, since=max(meaning.since, *telling, -1))
        state = replace(
            base,
            current=_joined(_without(base.current, over), [p for p in now if p[1].status in THERE], order_of),
            gone=_joined(_without(base.gone, over), [p for p in now if p[1].status in GONE], order_of),
            attempts=_joined(_without(base.attempts, covered(attempts)), attempts, lambda f: attempt_order(f, places)),
            rejected=_joined(
                _without(base.rejected, covered(judged)),
                [p for p in judged if p[1].status is Status.REJECTED],
                lambda f: attempt_order(f, places),
            ),
            changes=_joined(_without(base.changes, changed), changes, order_of),
            earlier=tuple((left, low, high) for part, low, high in base.earlier if (left := part - changed)),
            formerly=base.formerly.union(f.formerly for f in new if f.formerly),
            sequence=max(base.sequence, *(f.sequence for f in new)),
            meaning=meaning,
            merged=base.merged - over,
            lean=base.lean - over,
        )
        versioned = [f for f in new if f.version is not None]
        known = (*self.newest, *versioned)
        version = max((f.version or 0 for f in known), default=None)
        return replace(
            self,
            state=state,
            newest=tuple(sorted((f for f in known if f.version == version), key=lambda f: f.id)),
            last=max(self.last, *(f.id for f in versioned)) if versioned else self.last,
            unplaced=max(self.unplaced, unplaced),
        )

    def _places(self, new: Sequence[Fact]) -> dict[str, int]:
        """The table version that each new fact made, or began with.

        Raises:
            Late: that isn't known any more, or it is that of facts whose partitions were renamed since
        """
        meaning = self.state.meaning
        if meaning.other or any(f.renamed or f.spec not in ("", meaning.spec) for f in new):
            raise Late
        if self.unplaced and any(f.version is not None and f.id < self.unplaced for f in new):
            raise Late
        if any(not _told(f) and f.id < self.last for f in new):
            raise Late
        places = places_of(new, max((f.version or 0 for f in self.newest), default=-1))
        renamed = max((f.version or 0 for f in self.state.renames), default=-1)
        before = -1 if meaning.before is None else meaning.before + 1
        if any(place < max(renamed, before) for place in places.values()):
            raise Late
        return places

    # ── as text ───────────────────────────────────────────────────────────────────────────

    def to_json(self, asset: Asset, graph: AssetGraph) -> str:
        """As text, for a store: what [Kept.from_json][] reads back, but for what few ask for and all facts tell."""
        state = self.state
        facts: dict[int, tuple[int, Fact]] = {}

        def place(fact: Fact) -> int:
            return facts.setdefault(id(fact), (len(facts), fact))[0]

        def pieces(some: Pieces) -> list[Any]:
            return [[place(fact), part.spans] for part, fact in some]

        changes = [*state.earlier, *((part, order_of(fact)[0], order_of(fact)[0]) for part, fact in state.changes)]
        head = {
            "relies": _relies(asset, graph),
            "keys": [[o, state.partitions.key(o)] for o in _ends(state.present)],
            "epoch": self.epoch,
            "sources": dict(self.sources),
            "newest": [place(fact) for fact in self.newest],
            "last": self.last,
            "unplaced": self.unplaced,
            "current": pieces(state.current),
            "attempts": pieces(state.attempts),
            "gone": pieces(state.gone),
            "rejected": pieces(state.rejected),
            "earlier": [[first, last, part.spans] for part, first, last in changes],
            "formerly": sorted(state.formerly),
            "renames": [place(fact) for fact in state.renames],
            "sequence": state.sequence,
            "meaning": [state.meaning.spec, state.meaning.other, state.meaning.before, state.meaning.since],
            "merged": state.merged.spans,
            "made": [] if asset.external else state.made,
        }
        listed = [fact if asset.external else _update(fact, digests="") for _, fact in facts.values()]
        text = json.dumps(head, separators=(",", ":")) + "\n[" + ",".join(fact.to_json() for fact in listed) + "]"
        return f"{_seal(text)}\n{text}"

    @classmethod
    def from_json(cls, text: str, asset: Asset, graph: AssetGraph) -> Kept | None:
        """Read back what [Kept.to_json][] wrote; None: it is of another form, or of another definition, or damaged."""
        seal, _, rest = text.partition("\n")
        if seal != _seal(rest):
            return None
        first, _, second = rest.partition("\n")
        head = json.loads(first)
        partitions = asset.partitions
        if head["relies"] != _relies(asset, graph) or any(partitions.key(o) != key for o, key in head["keys"]):
            return None
        facts = _FACTS.validate_json(second)

        def these(spans: Iterable[Sequence[int]]) -> PartitionSet:
            return PartitionSet(partitions, tuple((low, high) for low, high in spans))

        def pieces(name: str) -> Pieces:
            return tuple((these(spans), facts[place]) for place, spans in head[name])

        current = pieces("current")
        return cls(
            AssetState(
                partitions,
                current,
                pieces("attempts"),
                (),
                pieces("gone"),
                pieces("rejected"),
                frozenset(head["formerly"]),
                tuple(facts[place] for place in head["renames"]),
                head["sequence"],
                Meaning(*head["meaning"]),
                earlier=tuple((these(spans), first, last) for first, last, spans in head["earlier"]),
                merged=these(head["merged"]),
                lean=partitions.empty() if asset.external else partitions.union(part for part, _ in current),
                made=tuple((low, high, version, step) for low, high, version, step in head["made"]),
            ),
            tuple(facts[place] for place in head["newest"]),
            head["last"],
            head["unplaced"],
            head["epoch"],
            head["sources"],
        )


_FACTS = TypeAdapter(list[Fact])


def _seal(text: str) -> str:
    return f"{FORMAT} {hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _ends(part: PartitionSet) -> list[int]:
    return [part.spans[0][0], part.spans[-1][1] - 1] if part else []


def _relies(asset: Asset, graph: AssetGraph) -> str:
    """What of the definitions a checkpoint relies on."""

    def partitioned(one: Asset) -> tuple[str, Any]:
        return one.partitions.spec, one.partitions.domain

    inputs = [(edge.asset.key, repr(edge.rule), *partitioned(edge.asset)) for edge in graph.inputs(asset)]
    said = repr((*partitioned(asset), inputs, asset.freshness is None))
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def _told(fact: Fact) -> bool:
    """Whether a fact says where it belongs."""
    return fact.version is not None or fact.after is not None


def _placed(fact: Fact, places: Mapping[str, int]) -> Fact:
    """A fact that says where it belongs: without the others, that can't be told any more."""
    return fact if _told(fact) else _update(fact, after=places[fact.id])


def _update(fact: Fact, **values: Any) -> Fact:
    return fact.model_copy(update=values)


def attempt_order(fact: Fact, places: Mapping[str, int] = MappingProxyType({})) -> tuple[int, bool, int, str]:
    """Where an attempt has its place among others; of what is folded already, it says so itself."""
    place = places.get(fact.id, fact.after if fact.version is None else fact.version)
    return -1 if place is None else place, fact.version is None, fact.sequence, fact.id


def _see_in_order(pieces: Pieces, facts: Sequence[Fact], key: Callable[[Fact], Any]) -> None:
    """See that facts come after all that is folded of the same partitions.

    Raises:
        Late: one doesn't
    """
    if not pieces:
        return
    highest = max(key(fact) for _, fact in pieces)
    for fact in facts:
        mine = key(fact)
        if mine > highest:
            continue
        part = pieces[0][0].partitions.from_pairs(fact.partitions)
        if any(key(other) >= mine and touched & part for touched, other in pieces):
            raise Late


def _published_since(base: AssetState, same: PartitionSet, compared: int) -> PartitionSet:
    """Which of some partitions were published, or wiped, after a version.

    Raises:
        Late: that can't be told any more
    """
    found = []
    for part, fact in (*base.current, *base.gone):
        if order_of(fact)[0] > compared and (hit := part & same):
            if hit & base.merged or fact.status is Status.FORGOTTEN:
                raise Late
            found.append(hit)
    return base.partitions.union(found)


def _without(pieces: Pieces, covered: PartitionSet) -> Pieces:
    return tuple((left, fact) for part, fact in pieces if (left := part - covered)) if covered else pieces


def _joined(
    old: Pieces, new: Sequence[tuple[PartitionSet, Fact]], key: Callable[[Fact], Any]
) -> tuple[tuple[PartitionSet, Fact], ...]:
    return tuple(sorted((*old, *new), key=lambda piece: key(piece[1])))
