"""Pieces of time that a cron expression cuts, by arithmetic alone: no tick is ever counted one by one."""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Final, final

from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.partitions.clocks import utc
from lakehouse.partitions.core import Key
from lakehouse.partitions.time import TimePartitions

_MONTHS: Final = {name.lower(): i for i, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_FOUR_CENTURIES: Final = 146_097
"""After so many days, which are whole weeks, the calendar begins anew."""


@final
@dataclass(frozen=True)
class _Days:
    """The days that a cron expression selects, as a cycle.

    Parameters:
        period: length of the cycle
        selected: days of the cycle, counted by what their ordinal leaves when it is divided by the period
    """

    period: int
    selected: tuple[int, ...]

    def before(self, day: int) -> int:
        """How many selected days come before a day, counted from day 0 of the calendar."""
        cycles, rest = divmod(day, self.period)
        return cycles * len(self.selected) + bisect_left(self.selected, rest)

    def nth(self, number: int) -> int:
        """The selected day that so many come before."""
        cycles, rest = divmod(number, len(self.selected))
        return cycles * self.period + self.selected[rest]


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Cron(TimePartitions):
    """A partition from each tick of a cron expression to the next, by the wall clock of its time zone.

    Minute, hour, day of the month, month and day of the week, each ``*`` or numbers (names for the last two), ranges
    ``a-b``, steps ``/n``, and lists of these. As in cron, if both kinds of day are given, either will do.

    The key is the wall time of the tick. Where clocks go back, a wall time that comes twice ticks the first time
    only; where they go forward, those that are skipped tick when they are skipped, so that nothing lies between
    them. For equal pieces of real time, use [Every][].

    Parameters:
        expression: when it ticks
        start: key of the first partition: the wall time of a tick
        end: key of the first partition that is *not* there; none: goes on as time goes by
        column: the column whose value says which partition a row belongs to
        timezone: an IANA name

    Raises:
        DefinitionError: an expression that can't be read, or never ticks; a start that is no tick

    Examples:
        >>> weekdays = Cron("0 6 * * mon-fri", start="2013-01-01T06:00", timezone="America/New_York")
        >>> weekdays.range("2013-01-03T06:00", "2013-01-07T06:00").keys()
        ['2013-01-03T06:00', '2013-01-04T06:00', '2013-01-07T06:00']
        >>> weekdays.range("2013-01-04T06:00", "2013-01-04T06:00").end.isoformat()
        '2013-01-07T06:00:00-05:00'
    """

    kind: ClassVar[str] = "cron"
    periods: ClassVar[int] = 4
    expression: str

    def __init__(
        self,
        expression: str,
        *,
        start: Key,
        end: Key | None = None,
        column: str | None = None,
        timezone: str = "UTC",
    ) -> None:
        object.__setattr__(self, "expression", " ".join(str(expression).split()).lower())
        _ = self._days
        super().__init__(start, end=end, column=column, timezone=timezone)

    @property
    def label(self) -> str:
        return f"cron {self.expression}"

    @property
    def division(self) -> tuple[Any, ...]:
        return (self.kind, self.expression)

    @property
    def form(self) -> str:
        return f"2013-01-31T05:00, if {self.expression!r} ticks then"

    @cached_property
    def _fields(self) -> tuple[tuple[int, ...], ...]:
        return _read(self.expression)

    @cached_property
    def _days(self) -> _Days:
        days, months, weekdays = self._fields[2:]
        found = _cycle(days, months, weekdays)
        if not found.selected:
            raise DefinitionError(
                f"the cron expression {self.expression!r} never ticks", hint="no month of those has such a day"
            )
        return found

    @property
    def _a_day(self) -> int:
        """How often it ticks on a day."""
        return len(self._fields[0]) * len(self._fields[1])

    def _wall(self, ordinal: int) -> datetime:
        """The wall time of a tick."""
        minutes, hours = self._fields[:2]
        number, tick = divmod(ordinal, self._a_day)
        hour, minute = divmod(tick, len(minutes))
        day = date.fromordinal(self._days.nth(number))
        return datetime(day.year, day.month, day.day, hours[hour], minutes[minute])

    def _tick(self, wall: datetime) -> int:
        """The last tick whose wall time isn't after this one."""
        minutes, hours = self._fields[:2]
        day = wall.toordinal()
        number = self._days.before(day)
        ticks = 0
        if self._days.before(day + 1) > number:
            hour = bisect_left(hours, wall.hour)
            ticks = hour * len(minutes)
            if hour < len(hours) and hours[hour] == wall.hour:
                ticks += bisect_right(minutes, wall.minute)
        return number * self._a_day + ticks - 1

    def key(self, ordinal: int) -> str:
        return self._wall(ordinal).isoformat(timespec="minutes")

    def parse(self, key: object) -> int:
        value = self._time(key)
        try:
            wall = value.astimezone(self.zone).replace(tzinfo=None) if value.tzinfo else value
            ordinal = self.ordinal_at(value.astimezone(UTC)) if value.tzinfo else self._tick(wall)
            if (self.instant(ordinal) if value.tzinfo else self._wall(ordinal)) == value:
                return ordinal
        except (OverflowError, ValueError):
            raise self._wrong(key) from None
        raise PartitionError(
            f"{key!r} is no tick of {self}", hint=f"the partition that holds it is {self.key(self._tick(wall))}"
        )

    def instant(self, ordinal: int) -> datetime:
        return utc(self._wall(ordinal), self.zone)

    def ordinal_at(self, instant: datetime) -> int:
        found = self._tick(instant.astimezone(self.zone).replace(tzinfo=None))
        # In an hour that comes twice, the ticks after this wall time have been already.
        while self.instant(found + 1) <= instant:
            found += 1
        return found

    def ordinal_of(self, value: object) -> int:
        """The ordinal of the partition that holds an instant, or a wall time without a zone.

        Raises:
            PartitionError: neither was given
        """
        if not isinstance(value, datetime):
            raise self._wrong(value)
        return self.ordinal_at(value) if value.tzinfo else self._tick(value)

    def token(self, ordinal: int) -> str:
        # A colon isn't safe in a path.
        return self.key(ordinal).replace(":", "-")

    def from_token(self, token: str) -> int:
        return self.parse(f"{token[:13]}:{token[14:]}")


def _read(expression: str) -> tuple[tuple[int, ...], ...]:
    """The values of each field."""
    words = expression.split()
    if len(words) != len(_FIELDS):
        raise DefinitionError(
            f"the cron expression {expression!r} has {len(words)} fields; it takes {len(_FIELDS)}: "
            + ", ".join(name for name, *_ in _FIELDS),
            hint="e.g. '*/5 * * * *', or '0 6 * * mon-fri'",
        )
    found = [_values(expression, word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    # Sunday is 0 and 7.
    found[4] = sorted({day % 7 for day in found[4]}) if words[4] != "*" else []
    if words[2] == "*":
        found[2] = []
    return tuple(map(tuple, found))


def _values(expression: str, word: str, field: str, least: int, most: int, names: dict[str, int]) -> list[int]:
    values: set[int] = set()
    for part in word.split(","):
        found = _PART.fullmatch(part)
        low, high = least, most - (field == "day of the week")
        if found and not found[1]:
            low, last = (names.get(str(text), int(text) if str(text).isdecimal() else -1) for text in _ends(found))
            last = 7 if names is _DAYS and last == 0 < low else last  # sat-sun
            high = last if found[3] or not found[4] else high
        step = int(found[4] or 1) if found else 0
        if not step or not least <= low <= high <= most:
            raise DefinitionError(
                f"the cron expression {expression!r} can't be read: {part!r} is no {field}",
                hint=f"it takes * or {least} to {most}"
                + (f" or {', '.join(names)}" if names else "")
                + ", ranges a-b, steps /n, and lists of these",
            )
        values.update(range(low, high + 1, step))
    return sorted(values)


def _ends(found: re.Match[str]) -> tuple[str, str]:
    return found[2], found[3] or found[2]


@lru_cache(maxsize=64)
def _cycle(days: tuple[int, ...], months: tuple[int, ...], weekdays: tuple[int, ...]) -> _Days:
    """The days that are selected. No days of the month or of the week means that the field doesn't restrict them."""
    if not days and len(months) == 12:
        # Day 1 is a Monday, and so 0 a Sunday, in cron as well.
        return _Days(7, weekdays) if weekdays else _Days(1, (0,))
    selected: list[int] = []
    for year in range(1, 401):
        for month in months:
            first = date(year, month, 1).toordinal()
            for day in range(first, first + calendar.monthrange(year, month)[1]):
                if (not days and not weekdays) or day - first + 1 in days or day % 7 in weekdays:
                    selected.append(day % _FOUR_CENTURIES)
    return _Days(_FOUR_CENTURIES, tuple(sorted(selected)))


def last_tick(expression: str, now: datetime, timezone: str = "UTC") -> datetime:
    """The latest tick of a cron expression at or before a moment (UTC).

    Parameters:
        expression: five fields, as [Cron][] takes them
        now: the moment
        timezone: an IANA name; the clock that the expression is of

    Raises:
        DefinitionError: an expression that can't be read, or never ticks

    Examples:
        >>> last_tick("0 6 * * mon-fri", datetime(2013, 1, 6, tzinfo=UTC)).isoformat()
        '2013-01-04T06:00:00+00:00'
    """
    # Partitions begin at one of their ticks, and which one that could be isn't known here.
    ticks = object.__new__(Cron)
    object.__setattr__(ticks, "expression", " ".join(str(expression).split()).lower())
    object.__setattr__(ticks, "timezone", timezone)
    return ticks.instant(ticks.ordinal_at(now))
