"""The states that partitions are drawn in, and pieces of an asset's range, each with its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from lakehouse.partitions import PartitionSet


class State(StrEnum):
    """How a partition is; of several that share a place in a picture the first one of these is shown."""

    FAILED = "failed"
    HELD = "held back"
    RUNNING = "running"
    STALE = "stale"
    MISSING = "missing"
    WAITING = "waiting"
    PUBLISHED = "published"

    @property
    def mark(self) -> str:
        """The class that shapes in this state bear."""
        return f"s-{self.name[0].lower()}"

    @property
    def weight(self) -> int:
        """The lower, the more it needs attention."""
        return _WEIGHTS[self]


_WEIGHTS = {state: number for number, state in enumerate(State)}


@final
@dataclass(frozen=True)
class Piece:
    """Some partitions that are in one state, for one reason.

    Parameters:
        partitions: which of them
        state: how they are
        why: the reason, in words; empty: there is none to tell
        run: id of the run that it is about; empty: none
    """

    partitions: PartitionSet
    state: State
    why: str = ""
    run: str = ""


@final
@dataclass(frozen=True)
class Stretch:
    """Partitions in a row that are in one state, for one reason.

    Parameters:
        low: ordinal of the first
        high: ordinal after the last
        piece: the piece that it belongs to
    """

    low: int
    high: int
    piece: Piece

    def __len__(self) -> int:
        return self.high - self.low


def stretches(pieces: Iterable[Piece]) -> list[Stretch]:
    """Disjoint pieces in the order of their partitions.

    Examples:
        >>> from lakehouse import Daily
        >>> daily = Daily("2013-01-01")
        >>> there = Piece(daily.select(["2013-01-01", "2013-01-03"]), State.PUBLISHED)
        >>> gap = Piece(daily.select("2013-01-02"), State.MISSING)
        >>> [str(one.piece.state) for one in stretches([there, gap])]
        ['published', 'missing', 'published']
    """
    found = [Stretch(low, high, piece) for piece in pieces for low, high in piece.partitions.spans]
    return sorted(found, key=lambda one: one.low)


def disjoint(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces that may overlap, the more important first, as pieces that don't; empty ones are left out."""
    found: list[Piece] = []
    covered: PartitionSet | None = None
    for piece in pieces:
        rest = piece.partitions if covered is None else piece.partitions - covered
        if rest:
            found.append(Piece(rest, piece.state, piece.why, piece.run))
            covered = rest if covered is None else covered | rest
    return found


def counts(pieces: Iterable[Piece]) -> dict[State, int]:
    """How many partitions are in each state; states that none is in are left out."""
    found: dict[State, int] = {}
    for piece in pieces:
        found[piece.state] = found.get(piece.state, 0) + len(piece.partitions)
    return {state: found[state] for state in State if state in found}


def said(pieces: Sequence[Piece]) -> str:
    """The same, in words.

    Examples:
        >>> from lakehouse import Daily
        >>> said([Piece(Daily("2013-01-01").select("2013-01"), State.PUBLISHED)])
        '31 published'
    """
    return ", ".join(f"{number:,} {state}" for state, number in counts(pieces).items()) or "no partition yet"
