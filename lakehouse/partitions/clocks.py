"""What the clocks of a time zone show: when they change, and where they show whole hours or minutes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from math import gcd
from typing import Final, final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_HOUR: Final = 3600
_EVER: Final = -(10**12)
"""Seconds before 1970 that lie before the year 1."""

_YEAR: Final = 31_556_952
_LOOKED_AT: Final = range((1840 - 1970) * _YEAR, (2100 - 1970) * _YEAR, 6 * 86_400)
"""Zones don't tell when their clocks change, so it is looked for: every six days, for none has changed back within
less, and from before the first change to where all that is left repeats itself."""


def utc(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a wall time: the first, if it comes twice; when clocks skip it, if they do."""
    if zone.key == "UTC":
        return local.replace(tzinfo=UTC)
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local:
        return instant
    # Read by the clock of after the skip and by that of before it, a skipped time lies on either side of the skip.
    early = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    new = instant.astimezone(zone).utcoffset()
    seconds = range(int((instant - early).total_seconds()))
    skip = bisect_left(seconds, True, key=lambda s: (early + timedelta(seconds=s)).astimezone(zone).utcoffset() == new)
    return early + timedelta(seconds=skip)


@cache
def offsets(timezone: str) -> tuple[tuple[int, int], ...]:
    """Since when clocks have been how far from UTC, in seconds: first what they ever were, then each change."""
    zone = ZoneInfo(timezone)

    def offset(second: int) -> int:
        shown = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
        return (shown or timedelta()) // _SECOND

    found = [(_EVER, offset(_LOOKED_AT.start))]
    for second in _LOOKED_AT if timezone != "UTC" else ():
        old, new = found[-1][1], offset(second)
        if new != old:
            before, after = second - _LOOKED_AT.step, second
            while after - before > 1:
                between = (before + after) // 2
                before, after = (between, after) if offset(between) == old else (before, between)
            found.append((after, new))
    return tuple(found)


def days_begun_twice(timezone: str) -> list[tuple[datetime, datetime, date]]:
    """From when to when clocks show again what comes before a midnight that has been, and the day that it began.

    Clocks that went from 00:01 back to 23:01, say, showed the day before for 59 minutes more.
    """
    found = []
    changes = offsets(timezone)
    for (_, old), (since, new) in pairwise(changes):
        change = _EPOCH + since * _SECOND
        day = (change + old * _SECOND - timedelta(microseconds=1)).date()
        if (change + new * _SECOND).date() < day:
            found.append((change, datetime(day.year, day.month, day.day, tzinfo=UTC) - new * _SECOND, day))
    return found


@final
@dataclass(frozen=True)
class Ticks:
    """Where a clock shows a multiple of some seconds, numbered one by one.

    Multiples are counted from midnight UTC; a clock that isn't at whole hours from UTC shows them at other times, for
    as long as it isn't. Where it changes by half an hour, say, one piece is longer or shorter than the others,
    and still each begins where the clock shows it.

    Parameters:
        length: the seconds
        since: from which second on, counted from 1970, the clock shows them at other times than before
        phases: how many seconds earlier than in UTC
        moved: what is added to the numbers there, so that they go on
        first: the number of the first piece that begins there
    """

    length: int
    since: tuple[int, ...]
    phases: tuple[int, ...]
    moved: tuple[int, ...]
    first: tuple[int, ...]

    def number(self, instant: datetime) -> int:
        """The number of the piece that an instant lies in."""
        second = (instant - _EPOCH) // _SECOND
        at = bisect_right(self.since, second) - 1
        return (second + self.phases[at]) // self.length + self.moved[at]

    def begins(self, number: int) -> datetime:
        """When a piece begins (UTC)."""
        at = bisect_right(self.first, number) - 1
        return _EPOCH + ((number - self.moved[at]) * self.length - self.phases[at]) * _SECOND

    def begin_at(self, instant: datetime) -> bool:
        """Whether a piece begins at an instant."""
        return self.begins(self.number(instant)) == instant

    def shifted(self, number: int) -> bool:
        """Whether from a piece on any begins at another time than those of UTC do."""
        return any(self.phases[bisect_right(self.first, number) - 1 :])

    def grain(self, number: int) -> int:
        """Seconds of UTC such that from a piece on none begins within so many of them."""
        at = bisect_right(self.first, number) - 1
        return gcd(self.length, *self.phases[at:], *self.since[at + 1 :])


@cache
def ticks(timezone: str, length: int) -> Ticks:
    """Where the clock of a time zone shows a multiple of some seconds.

    Examples:
        >>> ticks("Asia/Kolkata", 3600).begins(0).isoformat()
        '1969-12-31T23:30:00+00:00'
    """
    parts: list[tuple[int, int]] = []
    for since, offset in offsets(timezone):
        phase = offset % _HOUR % length
        if not parts or parts[-1][1] != phase:
            parts.append((since, phase))
    steps = []
    for (_, old), (since, new) in pairwise(parts):
        last = -((since + old) // -length) - 1
        steps.append(last + ((since + new) % length == 0) - (since + new) // length)
    # Zones that came to whole hours and stayed there have UTC's numbers since.
    moved = tuple(-sum(steps[at:]) for at in range(len(parts)))
    first = tuple(-((since + phase) // -length) + m for (since, phase), m in zip(parts, moved, strict=True))
    return Ticks(length, tuple(s for s, _ in parts), tuple(p for _, p in parts), moved, first)
