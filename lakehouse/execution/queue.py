"""In which order batches are done."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import final

from lakehouse.planning.batches import StepBatch


@final
class Queue:
    """Batches that can be done, each after those that it needs, and the first chunk's before the next one's.

    With all of Bronze ahead of all of Silver, a run that is interrupted would leave nothing for a reader.

    Parameters:
        batches: all that there are, in an order in which they can be done
    """

    def __init__(self, batches: Iterable[StepBatch]) -> None:
        self.make_batches: dict[str, StepBatch] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._waits: dict[str, set[str]] = {}
        self._feeds: dict[str, list[str]] = {}
        self._ready: list[tuple[tuple[int, int], str]] = []
        for number, batch in enumerate(batches):
            self.make_batches[batch.id] = batch
            self._places[batch.id] = (batch.steps[0].chunk, number)
            self._waits[batch.id] = set(batch.after)
            for source in batch.after:
                self._feeds.setdefault(source, []).append(batch.id)
            if not batch.after:
                self._push(batch.id)

    def __bool__(self) -> bool:
        return bool(self._ready)

    def pop(self) -> StepBatch:
        """The next batch that can be done. Asked for where there is none it raises IndexError."""
        return self.make_batches[heapq.heappop(self._ready)[1]]

    def ended(self, batch: StepBatch) -> None:
        """A batch has ended, well or not: what waits for it can be done."""
        for consumer in self._feeds.get(batch.id, ()):
            self._waits[consumer].discard(batch.id)
            if not self._waits[consumer]:
                self._push(consumer)

    def _push(self, batch: str) -> None:
        heapq.heappush(self._ready, (self._places[batch], batch))
