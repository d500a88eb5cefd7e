"""Pieces of time: of the calendar and of the clock, in any time zone."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cached_property
from typing import Any, ClassVar, Final, final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lakehouse.errors import DefinitionError, PartitionError, nearest
from lakehouse.partitions.clocks import Ticks, ticks, utc
from lakehouse.partitions.core import FOREVER, RANGE_MARK, Key, Now, Partitions, PartitionSet, Present, Span

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PERIOD = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ](\d{2}))?)?)?")
_WALL = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}(:\d{2})?(:\d{2})?(Z|[+-]\d{2}:\d{2}(:\d{2})?)?")


@dataclass(frozen=True, kw_only=True)
class TimePartitions(Partitions):
    """Partitions that are pieces of time: see [Every][], [Hourly][], [Daily][], [Weekly][], [Monthly][], [Cron][].

    Parameters:
        start: key of the first partition
        end: key of the first partition that is *not* there; none: goes on as time goes by
        column: the column whose value says which partition a row belongs to
        timezone: an IANA name; days, weeks and months begin at midnight there
    """

    start: str
    end: str | None = None
    timezone: str = "UTC"
    _last: str | None = field(default=None, init=False, repr=False, compare=False)

    periods: ClassVar[int] = 0
    """How many of year, month, day and hour name a longer piece of time than these: for "2013-01", say, two."""

    def __init__(
        self,
        start: Key,
        *,
        end: Key | None = None,
        column: str | None = None,
        timezone: str = "UTC",
    ) -> None:
        set_ = object.__setattr__
        set_(self, "column", column)
        set_(self, "timezone", timezone)
        # A fault in one of them is told with both, as they were given.
        set_(self, "start", str(start))
        set_(self, "end", None if end is None else str(end))
        set_(self, "_last", self.end)
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            raise DefinitionError(
                f"{timezone!r} is no time zone", hint="use an IANA name such as Europe/Berlin"
            ) from None
        try:
            set_(self, "start", self.key(self.parse(start)))
            set_(self, "end", None if end is None else self.key(self.parse(end)))
        except PartitionError as error:
            raise DefinitionError(error.message, hint=error.hint) from None
        if self.high is not None and self.high <= self.low:
            raise DefinitionError(
                f"{self.kind} partitions from {self.start} to {self.end} hold nothing",
                hint="end is the first partition that is not there",
            )
        set_(self, "_last", None if self.high is None else self.key(self.high - 1))

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)

    @cached_property
    def low(self) -> int:
        """Ordinal of the first partition."""
        return self.parse(self.start)

    @cached_property
    def high(self) -> int | None:
        """Ordinal after the last partition; None: there is no end."""
        return None if self.end is None else self.parse(self.end)

    @property
    def division(self) -> tuple[Any, ...]:
        """What two definitions must share to cut time alike, but for the time zone."""
        return (self.kind,)

    @property
    def domain(self) -> tuple[Any, ...]:
        return (*self.division, self.timezone)

    @property
    def _unit_of_keys(self) -> str:
        return " ".join(map(str, (*self.division, self.timezone)))

    @property
    def unending(self) -> bool:
        return self.end is None

    @abstractmethod
    def instant(self, ordinal: int) -> datetime:
        """When a partition begins (UTC)."""

    @abstractmethod
    def ordinal_at(self, instant: datetime) -> int:
        """The ordinal of the partition that holds an instant."""

    def bounds(self, now: Now) -> Span:
        """Ordinals of the first partition and after the last one that is over."""
        if self.high is not None:
            return self.low, self.high
        return self.low, max(self.low, self.ordinal_at(min(Present.of(now).now, FOREVER)))

    def all(self, now: Now) -> PartitionSet:
        return PartitionSet(self, (self.bounds(now),))

    def possible(self, chosen: PartitionSet) -> PartitionSet:
        return chosen & self.all(FOREVER)

    def moments(self, low: int, high: int) -> tuple[datetime, datetime]:
        return self._shown(self.instant(low)), self._shown(self.instant(high))

    def _shown(self, instant: datetime) -> datetime:
        """An instant as the clock of the time zone shows it.

        It bears the offset, not the zone: Python takes the times of one zone apart by what clocks show, so that a day
        of 23 hours would have 24, and an hour that comes twice would end when it begins.
        """
        local = instant.astimezone(self.zone)
        return local.replace(tzinfo=timezone(local.utcoffset() or timedelta()), fold=0)

    def token(self, ordinal: int) -> str:
        return self.key(ordinal)

    def from_token(self, token: str) -> int:
        return self.parse(token)

    def _spans_of_item(self, item: object, now: Present | None) -> Iterator[Span]:
        return self._spans(item, now)  # a range or a longer piece of time is no other's key

    def _span_of_key(self, text: str, now: Present | None) -> Span:
        try:
            return super()._span_of_key(text, now)
        except PartitionError:
            low, high = self._begun_in(text)
            if low >= high:
                raise
        first, end = self.bounds(now or FOREVER)
        # Of a month that isn't over, what is there; of one that is out of range altogether, it is told.
        return (max(low, first), min(high, end)) if low < end and first < high else (low, high)

    def _begun_in(self, text: str) -> Span:
        """The partitions that begin in a longer piece of time: a year, a month, a day or an hour."""
        found = _PERIOD.fullmatch(text)
        words = [int(word) for word in found.groups() if word] if found else []
        if not 0 < len(words) <= self.periods:
            return 0, 0
        year, month, day, hour = (*words, *(1, 1, 1, 0)[len(words) :])
        try:
            begins = datetime(year, month, day, hour)
            match len(words):
                case 1:
                    ends = datetime(year + 1, 1, 1)
                case 2:
                    ends = datetime(year + month // 12, month % 12 + 1, 1)
                case 3:
                    ends = begins + timedelta(days=1)
                case _:
                    ends = begins + timedelta(hours=1)
        except (ValueError, OverflowError):
            return 0, 0
        return self._begun_at(utc(begins, self.zone)), self._begun_at(utc(ends, self.zone))

    def _begun_by(self, instant: datetime, shown: int) -> int:
        """The partition of what a clock shows; or the next, if clocks went back to before it after it had begun."""
        return shown + (self.instant(shown + 1) <= instant)

    def _begun_at(self, instant: datetime) -> int:
        """The first partition that begins at an instant or after it."""
        ordinal = self.ordinal_at(instant)
        return ordinal if self.instant(ordinal) == instant else ordinal + 1

    def _local(self, key: object) -> date | None:
        """The day that a key which is no string begins; None: it begins none."""
        if not isinstance(key, datetime):
            return key if isinstance(key, date) else None
        local = key.astimezone(self.zone) if key.tzinfo else key
        midnight = datetime(local.year, local.month, local.day)
        # Where clocks skip midnight, a day begins later than that.
        begins = local == (utc(midnight, self.zone) if key.tzinfo else midnight)
        return local.date() if begins else None

    def _day(self, key: object) -> int:
        """The ordinal of the day that a key names or begins."""
        if isinstance(key, str) and _DAY.fullmatch(key.strip()):
            try:
                return date.fromisoformat(key.strip()).toordinal()
            except ValueError:
                raise self._wrong(key) from None
        local = self._local(key)
        if local is None:
            raise self._wrong(key)
        return local.toordinal()

    def _time(self, key: object) -> datetime:
        """The time that a key names: an instant, or a wall time without a zone."""
        if isinstance(key, datetime):
            return key
        text = key.strip() if isinstance(key, str) else ""
        found = _WALL.fullmatch(text)
        # An hour without minutes is a key only where it isn't a longer piece of time.
        if not found or (not found[1] and self.periods > 3):
            raise self._wrong(key)
        try:
            return datetime.fromisoformat(text + ":00" if len(text) == 13 else text)
        except ValueError:
            raise self._wrong(key) from None

    def __str__(self) -> str:
        zone = "" if self.timezone == "UTC" else f" {self.timezone}"
        return f"{self.label} {self.start}{RANGE_MARK}{self._last or ''}{zone}"


# ── the calendar ──────────────────────────────────────────────────────────────────────────


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Daily(TimePartitions):
    """A partition for each calendar day, midnight to midnight in its time zone.

    Examples:
        >>> Daily("2013-01-01", end="2014-01-01", column="date").key(734869)
        '2013-01-01'
    """

    kind: ClassVar[str] = "daily"
    periods: ClassVar[int] = 2

    @property
    def form(self) -> str:
        return "2013-01-31"

    def key(self, ordinal: int) -> str:
        return date.fromordinal(ordinal).isoformat()

    def parse(self, key: object) -> int:
        return self._day(key)

    def instant(self, ordinal: int) -> datetime:
        return utc(datetime.fromordinal(ordinal), self.zone)

    def ordinal_at(self, instant: datetime) -> int:
        return self._begun_by(instant, instant.astimezone(self.zone).toordinal())


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Weekly(TimePartitions):
    """A partition for each week in its time zone; the key is its first day.

    Parameters:
        start: first day of the first week
        day: the day of the week on which weeks begin
        end: first day of the first week that is *not* there; none: goes on as time goes by
        column: the column whose value says which partition a row belongs to
        timezone: an IANA name; weeks begin at midnight there

    Raises:
        DefinitionError: no day of the week, or a start that is another day

    Examples:
        >>> Weekly("2013-01-07").range("2013-01-07", "2013-01-21").keys()
        ['2013-01-07', '2013-01-14', '2013-01-21']
        >>> Weekly("2013-01-06", day="sunday").select("2013-02").keys()
        ['2013-02-03', '2013-02-10', '2013-02-17', '2013-02-24']
    """

    kind: ClassVar[str] = "weekly"
    periods: ClassVar[int] = 2
    day: str = "monday"

    def __init__(
        self,
        start: Key,
        *,
        day: str = "monday",
        end: Key | None = None,
        column: str | None = None,
        timezone: str = "UTC",
    ) -> None:
        if day not in WEEKDAYS:
            raise DefinitionError(
                f"{day!r} is no day of the week; there are {', '.join(WEEKDAYS)}", hint=nearest(str(day), WEEKDAYS)
            )
        object.__setattr__(self, "day", day)
        super().__init__(start, end=end, column=column, timezone=timezone)

    @property
    def form(self) -> str:
        return f"2013-01-{7 + self._first:02d}, a {self.day.capitalize()}"

    @property
    def division(self) -> tuple[Any, ...]:
        return (self.kind, self.day)

    @cached_property
    def _first(self) -> int:
        return WEEKDAYS.index(self.day)

    def key(self, ordinal: int) -> str:
        return date.fromordinal(self._begins(ordinal)).isoformat()

    def parse(self, key: object) -> int:
        day = self._day(key)
        week = self._of_day(day)
        if self._begins(week) != day:
            raise PartitionError(
                f"{key!r} is a {WEEKDAYS[date.fromordinal(day).weekday()].capitalize()}; "
                f"weeks of {self} begin on a {self.day.capitalize()}",
                hint=f"the partition that holds it is {self.key(week)}",
            )
        return week

    def instant(self, ordinal: int) -> datetime:
        return utc(datetime.fromordinal(self._begins(ordinal)), self.zone)

    def ordinal_at(self, instant: datetime) -> int:
        return self._begun_by(instant, self._of_day(instant.astimezone(self.zone).toordinal()))

    def _begins(self, week: int) -> int:
        return week * 7 + self._first + 1  # day 1, the first of January of the year 1, is a Monday

    def _of_day(self, day: int) -> int:
        return (day - self._first - 1) // 7


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Monthly(TimePartitions):
    """A partition for each calendar month in its time zone.

    Examples:
        >>> str(Monthly("2013-01").select("2013-01...2013-03"))
        '2013-01...2013-03'
    """

    kind: ClassVar[str] = "monthly"
    periods: ClassVar[int] = 1
    _FORM: ClassVar[re.Pattern[str]] = re.compile(r"(\d{4})-(\d{2})")

    @property
    def form(self) -> str:
        return "2013-01"

    def key(self, ordinal: int) -> str:
        year, month = divmod(ordinal, 12)
        return f"{year:04d}-{month + 1:02d}"

    def parse(self, key: object) -> int:
        if isinstance(key, str):
            found = self._FORM.fullmatch(key.strip())
            if found and 1 <= int(found[2]) <= 12 and int(found[1]) >= 1:
                return int(found[1]) * 12 + int(found[2]) - 1
            raise self._wrong(key)
        local = self._local(key)
        if local is None or local.day != 1:
            raise self._wrong(key)
        return local.year * 12 + local.month - 1

    def instant(self, ordinal: int) -> datetime:
        year, month = divmod(ordinal, 12)
        return utc(datetime(year, month + 1, 1), self.zone)

    def ordinal_at(self, instant: datetime) -> int:
        local = instant.astimezone(self.zone)
        return self._begun_by(instant, local.year * 12 + local.month - 1)


# ── the clock ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, init=False)
class ClockPartitions(TimePartitions):
    """Equal pieces of real time that begin where a clock shows whole hours or minutes: see [Every][] and [Hourly][]."""

    @property
    @abstractmethod
    def length(self) -> timedelta:
        """How long each is, but for one where clocks change by less than an hour."""

    @cached_property
    def ticks(self) -> Ticks:
        """Where the clock of their time zone shows them; or that of UTC, if the first is said to begin only there."""
        local, real = (ticks(zone, self.length // timedelta(seconds=1)) for zone in (self.timezone, "UTC"))
        try:
            first = self._moment(self._time(self.start), self.start)
        except (PartitionError, OverflowError):
            return local
        return real if real.begin_at(first) and not local.begin_at(first) else local

    @property
    def shifted(self) -> bool:
        """Whether any of them begins at another time than those of UTC do."""
        return self.ticks.shifted(self.low)

    @property
    @abstractmethod
    def _unit(self) -> tuple[Any, ...]:
        """What they are in any time zone."""

    @property
    def division(self) -> tuple[Any, ...]:
        return (*self._unit, self.timezone) if self.shifted else self._unit

    @property
    def _unit_of_keys(self) -> str:
        # Not the division, which goes by what lies between start and end.
        own = self.ticks == ticks(self.timezone, self.length // timedelta(seconds=1))
        return " ".join(map(str, (*self._unit, self.timezone, *(() if own else ("from UTC",)))))

    @property
    def form(self) -> str:
        return "2013-01-31T05:00" + ("" if self.timezone == "UTC" else " (with its offset where clocks change)")

    def key(self, ordinal: int) -> str:
        instant = self.instant(ordinal)
        if self.timezone == "UTC":
            return instant.replace(tzinfo=None).isoformat(timespec="minutes")
        return instant.astimezone(self.zone).isoformat(timespec="minutes")

    def parse(self, key: object) -> int:
        value = self._time(key)
        try:
            instant = self._moment(value, key)
            ordinal = self.ordinal_at(instant)
            if self.instant(ordinal) == instant:
                return ordinal
            holds = self.key(ordinal)
        except OverflowError:
            raise self._wrong(key) from None
        raise PartitionError(
            f"{key!r} is not on {self._piece} of {self}", hint=f"the partition that holds it is {holds}"
        )

    @property
    def _piece(self) -> str:
        return f"a multiple of {self.length // timedelta(minutes=1)} minutes"

    def _moment(self, value: datetime, key: object) -> datetime:
        """The instant of a time that a key names (UTC)."""
        return value.astimezone(UTC) if value.tzinfo else self._from_wall(value, key)

    def _from_wall(self, wall: datetime, key: object) -> datetime:
        early, late = (wall.replace(tzinfo=self.zone, fold=f).astimezone(UTC) for f in (0, 1))
        if early == late:
            return early
        if early < late:
            both = " or ".join(i.astimezone(self.zone).isoformat(timespec="minutes") for i in (early, late))
            raise PartitionError(f"{key!r} comes twice in {self.timezone}, where clocks go back", hint=f"say {both}")
        raise PartitionError(
            f"{key!r} doesn't exist in {self.timezone}, where clocks go forward",
            hint=f"the time there is {early.astimezone(self.zone).isoformat(timespec='minutes')}",
        )

    def instant(self, ordinal: int) -> datetime:
        return self.ticks.begins(ordinal)

    def ordinal_at(self, instant: datetime) -> int:
        return self.ticks.number(instant)

    def _named(self, ordinal: int, least: str) -> str:
        """The instant at which a partition begins, safe in a path: to the minute only if it has any, or ``least``."""
        begins = self.instant(ordinal).replace(tzinfo=None)
        exact = "seconds" if begins.second else "minutes" if begins.minute else least
        return begins.isoformat(timespec=exact).replace(":", "-")

    def from_token(self, token: str) -> int:
        return self.parse(f"{token[:11]}{token[11:].replace('-', ':')}{':00' if len(token) == 13 else ''}Z")


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Hourly(ClockPartitions):
    """A partition for each hour of real time, from one full hour of its time zone's clock to the next.

    A day has 23 or 25 of them where clocks change. Where they change by half an hour, as on Lord Howe Island, one
    takes until the clock shows a full hour again. Outside UTC a key bears its offset (``2013-11-03T01:00-04:00``); it
    may be left out where it is clear. Where ``start`` is a full hour of UTC alone (00:30 in India), hours are UTC's.

    Examples:
        >>> new_york = Hourly("2013-11-03T00:00", timezone="America/New_York")
        >>> new_york.range("2013-11-03T01:00-04:00", "2013-11-03T01:00-05:00").keys()
        ['2013-11-03T01:00-04:00', '2013-11-03T01:00-05:00']
        >>> Hourly("2013-11-03T00:00", timezone="Asia/Kolkata").range("2013-11-03T05:00", "2013-11-03T05:00").keys()
        ['2013-11-03T05:00+05:30']
    """

    kind: ClassVar[str] = "hourly"
    periods: ClassVar[int] = 3
    _LENGTH: ClassVar[timedelta] = timedelta(hours=1)

    @property
    def length(self) -> timedelta:
        return self._LENGTH

    @property
    def _unit(self) -> tuple[Any, ...]:
        return (self.kind,)

    @property
    def _piece(self) -> str:
        return "an hour"

    def token(self, ordinal: int) -> str:
        return self._named(ordinal, "hours")


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Every(ClockPartitions):
    """A partition for each so many minutes of real time, shown as the wall clock of its time zone.

    Counted from midnight UTC, but on the clock's own minutes where it is no whole hours from UTC. Outside UTC a key
    bears its offset, as those of [Hourly][] do.

    Parameters:
        start: key of the first partition
        minutes: length of each; a day is a multiple of it
        end: key of the first partition that is *not* there; none: goes on as time goes by
        column: the column whose value says which partition a row belongs to
        timezone: an IANA name, for the keys

    Raises:
        DefinitionError: minutes of which a day is no multiple

    Examples:
        >>> Every("2013-01-01T00:00", minutes=5).range("2013-01-31T05:55", "2013-01-31T06:05").keys()
        ['2013-01-31T05:55', '2013-01-31T06:00', '2013-01-31T06:05']
        >>> len(Every("2013-01-01T00:00", minutes=5).select("2013...2017"))
        525888
    """

    kind: ClassVar[str] = "every"
    periods: ClassVar[int] = 4
    minutes: int

    def __init__(
        self,
        start: Key,
        *,
        minutes: int,
        end: Key | None = None,
        column: str | None = None,
        timezone: str = "UTC",
    ) -> None:
        if not isinstance(minutes, int) or isinstance(minutes, bool) or not 0 < minutes < 1440 or 1440 % minutes:
            raise DefinitionError(
                f"partitions of {minutes!r} minutes can't be: a day has to be a multiple of them",
                hint="e.g. 1, 5, 15, 60, 360; use Daily for days, and Cron for times of the wall clock",
            )
        object.__setattr__(self, "minutes", minutes)
        super().__init__(start, end=end, column=column, timezone=timezone)

    @property
    def label(self) -> str:
        return f"every {self.minutes} minutes"

    @property
    def _unit(self) -> tuple[Any, ...]:
        return (self.kind, self.minutes)

    @property
    def length(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    def token(self, ordinal: int) -> str:
        return self._named(ordinal, "minutes")
