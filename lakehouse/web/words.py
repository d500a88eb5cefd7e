"""What several pages say alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lakehouse.drawing.state import State
from lakehouse.lineage import Fact, Status

MARKS: Final = {
    Status.PUBLISHED: State.PUBLISHED.mark,
    Status.OBSERVED: State.PUBLISHED.mark,
    Status.REGISTERED: State.PUBLISHED.mark,
    Status.REJECTED: State.HELD.mark,
    Status.FAILED: State.FAILED.mark,
    Status.SKIPPED: State.STALE.mark,
}
"""The class that an outcome is drawn in; what is not here is quiet."""

_LETTERS = 100


def short(value: object) -> str:
    """A value in few letters."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else str(value)
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"


def spent(facts: Sequence[Fact]) -> float:
    """Seconds that the steps of some facts took, added up."""
    return sum((fact.finished - fact.started).total_seconds() for fact in facts)
