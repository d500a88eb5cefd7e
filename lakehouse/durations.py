"""Durations as people write them: ``30m``, ``26h``, ``90d``. Read and written here, and nowhere else."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

_MICROSECONDS: Final = {
    "w": 7 * 86_400_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
}
_WRITTEN: Final = ("d", "h", "m", "s", "ms")
"""Weeks are read and not written: 14d is as plain as 2w, and it says what 15d would."""

_WORD = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(ms|[smhdw])\s*")
_LONGEST = timedelta(days=365_000)
"""Longer than any history, and short enough to be taken from any moment."""

DURATIONS: Final = 'a timedelta, or text such as "30m", "26h", "90d", "8w"'
"""What can be given, for hints."""


def parse_duration(given: object, *, zero: bool = False) -> timedelta:
    """Read a duration: a ``timedelta``, or a number with its unit (``ms``, ``s``, ``m``, ``h``, ``d``, ``w``), or some.

    Parameters:
        given: what a person wrote
        zero: whether it may be no time at all

    Returns:
        at most a thousand years

    Raises:
        ValueError: it is none; its text says why, to be put into a message of the caller's

    Examples:
        >>> str(parse_duration("30m")), str(parse_duration("1h 30m")), str(parse_duration("2w"))
        ('0:30:00', '1:30:00', '14 days, 0:00:00')
    """
    length = given if isinstance(given, timedelta) else _read(given)
    if length is None or length < timedelta(0) or (not length and not zero):
        raise ValueError("it is no length of time")
    if length > _LONGEST:
        raise ValueError("it is longer than a thousand years")
    return length


def format_duration(length: timedelta) -> str:
    """Write a duration, so that [parse_duration][] reads the same: in the largest unit that it is a multiple of.

    Parameters:
        length: more than nothing

    Examples:
        >>> format_duration(timedelta(hours=26)), format_duration(timedelta(days=7)), format_duration(timedelta(0, 90))
        ('26h', '7d', '90s')
    """
    microseconds = length // timedelta(microseconds=1)
    for unit in _WRITTEN:
        number, rest = divmod(microseconds, _MICROSECONDS[unit])
        if not rest:
            return f"{number}{unit}"
    return f"{Decimal(microseconds).scaleb(-6)}s"


def _read(given: object) -> timedelta | None:
    """The sum of a text's words; None: it is no duration."""
    if not isinstance(given, str) or not given:
        return None
    total, at = Decimal(0), 0
    while at < len(given):
        found = _WORD.match(given, at)
        if found is None:
            return None
        total += Decimal(found[1]) * _MICROSECONDS[found[2]]
        at = found.end()
    # Less than a microsecond isn't kept: better none than a part of it.
    whole = total == total.to_integral_value()
    return timedelta(microseconds=int(min(total, Decimal(10) ** 17))) if whole else None
