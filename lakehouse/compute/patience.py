"""Asking a service that follows an order, also while it is away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

OUTAGE: Final = 300.0
"""Seconds that a service may be away while an order is given or followed."""

_SLOWEST: Final = 15.0


def patiently(
    ask: Callable[[], T],
    away: Callable[[Exception], bool],
    pause: Callable[[float], None],
    errors: tuple[type[Exception], ...],
) -> T:
    """Ask a service; while it is away, ask again, less and less often.

    Parameters:
        ask: the question
        away: whether an error says no more than that the service is away
        pause: waits so many seconds; raises where nobody waits for the answer any more
        errors: what the service's client raises; what else is raised is none of its business

    Raises:
        Exception: the client's error, where it is another one or the service has been away for too long
    """
    began, seconds = time.monotonic(), 1.0
    while True:
        try:
            return ask()
        except errors as error:
            if not away(error) or time.monotonic() - began > OUTAGE:
                raise
        pause(seconds)
        seconds = min(2 * seconds, _SLOWEST)
