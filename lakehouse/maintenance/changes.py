"""Changes: what is to be done, worked out and not yet done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True)
class Action:
    """One thing that is done.

    Parameters:
        about: the asset
        text: what is done
        do: does it; done already, it does nothing
        items: what it is done to: partitions, files, ids of facts
    """

    about: str
    text: str
    do: Callable[[], None] = field(repr=False, compare=False)
    items: tuple[str, ...] = field(default=(), repr=False)


@final
@dataclass(frozen=True)
class Change:
    """What is to be done, worked out and not yet done. Empty, there is nothing to do.

    Parameters:
        title: what was asked for
        actions: what is done, in this order; whatever moment it is interrupted at, asking for it again completes it
        notes: what else there is to know
        destructive: whether something is lost by it
        alone: keeps runs away from what is changed, for as long as that takes
    """

    title: str
    actions: tuple[Action, ...]
    notes: tuple[str, ...] = ()
    destructive: bool = False
    alone: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False, compare=False)

    def apply(self) -> None:
        """Do it.

        Raises:
            LakehouseError: a run is building some of it just now; nothing was done
            PartitionConflict: one of the partitions was published meanwhile; StorageError, LineageError: out of reach
        """
        if not self.actions:
            return
        with self.alone():
            for action in self.actions:
                action.do()

    def __bool__(self) -> bool:
        return bool(self.actions)
