"""Notifications of objects that arrived in buckets, and where they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, final


@final
@dataclass(frozen=True)
class Message:
    """What a queue says has happened.

    Parameters:
        receipt: what takes it out of the queue
        objects: the objects that it tells of; None: it tells of something else, and is another's
    """

    receipt: str = field(repr=False)
    objects: tuple[str, ...] | None


class Queue(Protocol):
    """Where news of objects arrives."""

    def receive(self, seconds: float) -> Sequence[Message]:
        """What there is; where there is nothing, it waits for some of it, at most so long.

        Raises:
            StorageError: it can't be reached
        """
        ...

    def delete(self, messages: Sequence[Message]) -> None:
        """Take messages out of the queue; what can't be comes again."""
        ...
