"""Waiting so that Ctrl-C is heard."""

from __future__ import annotations

from queue import Empty, Queue, SimpleQueue
from typing import Final, TypeVar

T = TypeVar("T")

_HEARD_WITHIN: Final = 0.2


def next_of(queue: Queue[T] | SimpleQueue[T]) -> T:
    """Wait for the next item of a queue; of Ctrl-C, too.

    Polars has system calls go on where a signal interrupted them: a plain wait for a lock would hear of Ctrl-C only
    when the lock is given back, if ever.

    Parameters:
        queue: what others put into

    Returns:
        the item

    Examples:
        >>> ended = SimpleQueue()
        >>> ended.put("bronze.orders")
        >>> next_of(ended)
        'bronze.orders'
    """
    while True:
        try:
            return queue.get(timeout=_HEARD_WITHIN)
        except Empty:
            continue
