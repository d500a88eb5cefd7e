"""What a place has to do: see that an order is carried out, and say how it ended."""

from __future__ import annotations

import threading
from typing import Any, Protocol, final

from lakehouse.compute.order import Order


@final
class Stop:
    """Says that a run is over before its end, to whoever waits on its behalf. Copies in other processes hear nothing.

    Examples:
        >>> stop = Stop()
        >>> stop.wait(0), stop.now("the run was interrupted"), stop.wait(0)
        (None, None, 'the run was interrupted')
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._why = ""

    def now(self, why: str) -> None:
        """Stop.

        Parameters:
            why: the reason, in words
        """
        self._why = self._why or why
        self._event.set()

    def wait(self, seconds: float) -> str | None:
        """Wait a while, unless there is reason to stop: then that is returned, at once.

        Parameters:
            seconds: how long
        """
        return self._why if self._event.wait(seconds) else None

    def __reduce__(self) -> Any:
        return Stop, ()


class Place(Protocol):
    """Somewhere that orders are carried out; as a string, what people call it."""

    @property
    def shared(self) -> bool:
        """Whether it sees the memory of this process."""
        ...

    @property
    def seconds(self) -> float:
        """How long an order may take there, once it is begun."""
        ...

    @property
    def pending(self) -> float:
        """Seconds that may pass before it is begun."""
        ...

    def carry_out(self, order: Order, stop: Stop) -> None:
        """Have an order carried out that is written down, and wait until it is over.

        How the function fared is in the manifest that is left. Whoever ends this early, by ``stop`` or by an exception
        in this thread, ends what is under way there as well, as far as that can be reached; the order's deadline is
        kept there in any case.

        Parameters:
            order: what is to be done; it is told by its URI
            stop: tells when nobody waits for it any more

        Raises:
            ComputeError: it was not carried out, or nobody knows whether it was: why, as far as it is known
        """
        ...
