"""In which order units are done."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import final

from lakehouse.plan import Unit


@final
class Queue:
    """Units that can be done, each after those that it needs, and the first chunk's before the next one's.

    With all of Bronze ahead of all of Silver, a run that is interrupted would leave nothing for a reader.

    Parameters:
        units: all that there are, in an order in which they can be done
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self._units: dict[str, Unit] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._waits: dict[str, set[str]] = {}
        self._feeds: dict[str, list[str]] = {}
        self._ready: list[tuple[tuple[int, int], str]] = []
        for number, unit in enumerate(units):
            self._units[unit.id] = unit
            self._places[unit.id] = (unit.steps[0].chunk, number)
            self._waits[unit.id] = set(unit.after)
            for source in unit.after:
                self._feeds.setdefault(source, []).append(unit.id)
            if not unit.after:
                self._push(unit.id)

    def __bool__(self) -> bool:
        return bool(self._ready)

    def pop(self) -> Unit:
        """The next unit that can be done. Asked for where there is none it raises IndexError."""
        return self._units[heapq.heappop(self._ready)[1]]

    def ended(self, unit: Unit) -> None:
        """A unit has ended, well or not: what waits for it can be done."""
        for consumer in self._feeds.get(unit.id, ()):
            self._waits[consumer].discard(unit.id)
            if not self._waits[consumer]:
                self._push(consumer)

    def _push(self, unit: str) -> None:
        heapq.heappush(self._ready, (self._places[unit], unit))
