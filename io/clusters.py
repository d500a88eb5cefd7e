"""Which files of a table are put together when something is published: small ones that lie beside what is written.

A publication writes again what is beside it only if that is not much more than what it brings. So the files that a
table has follow its bytes and not the number of its publications, and each byte is written again a few times at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lakehouse.io.staging import SHARED, SHARED_ROWS


def weight(size: int, rows: int | None) -> float:
    """What a file of so many bytes and rows is of a full one that partitions share."""
    return max(size / SHARED, (rows or 0) / SHARED_ROWS)


@final
@dataclass(frozen=True)
class Piece:
    """A file, or the rows of one that stay.

    Parameters:
        path: the file
        first: the least token of its rows; last: the greatest one
        weight: what it is of a full file, by its bytes or its rows
        brought: whether it comes with what is published; otherwise it is there already
        rewritten: whether some of its rows must go, so that it can't stay as it is
    """

    path: str
    first: str
    last: str
    weight: float
    brought: bool = False
    rewritten: bool = False

    @property
    def moves(self) -> bool:
        """Whether it is written in any case."""
        return self.brought or self.rewritten


def grouped(pieces: Sequence[Piece], *, absorb: bool = True) -> list[list[Piece]]:
    """Pieces that are put into one file each, but for those that are there and stay as they are.

    Parameters:
        pieces: all that there is to be
        absorb: whether files may be written again that needn't be

    Examples:
        >>> day, week = Piece("a", "d1", "d1", 0.1, brought=True), Piece("b", "d0", "d0", 0.15)
        >>> [[one.path for one in group] for group in grouped([day, week])]
        [['b', 'a']]
        >>> [[one.path for one in group] for group in grouped([day, Piece("b", "d0", "d0", 0.5)])]
        [['a']]
    """
    order = sorted(pieces, key=lambda piece: (piece.first, piece.last, piece.path))
    taken = [False] * len(order)
    groups = []
    for at, piece in enumerate(order):
        if taken[at] or not piece.moves:
            continue
        low, high, weight = at, at, piece.weight
        taken[at] = True
        while True:
            beside = [
                near
                for near in (low - 1, high + 1)
                if 0 <= near < len(order)
                and not taken[near]
                and weight + order[near].weight <= 1
                and (order[near].moves or (absorb and order[near].weight <= 2 * weight))
            ]
            if not beside:
                break
            near = min(beside, key=lambda one: order[one].weight)
            taken[near] = True
            low, high, weight = min(low, near), max(high, near), weight + order[near].weight
        groups.append(order[low : high + 1])
    return groups
