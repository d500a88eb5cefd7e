"""Partitions: how an asset is cut, and sets of its parts as values.

A partition has a *key* (what people write: ``2013-01-31``) and an *ordinal* (an integer; what sets are made of).
Sets are intervals of ordinals, so that a thousand days are one pair of numbers and not a list of a
thousand strings. Nothing here knows the clock: where "now" matters it is an argument.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lakehouse.errors import DefinitionError, PartitionError, nearest, shorten

RANGE_MARK = "..."

Key = str | int | date | datetime
"""What can name one partition: its key, or the value behind it."""

@final
@dataclass(frozen=True)
class Present:
    """The present as a plan sees it: the clock, and the dynamic keys that are registered.

    Parameters:
        now: the clock
        keys: by name of the dynamic partitions, the keys that are registered

    Examples:
        >>> Present.of(datetime(2013, 1, 1, tzinfo=UTC)).keys
        {}
    """

    now: datetime
    keys: Mapping[str, Collection[str]] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, now: Now) -> Present:
        """The clock alone, or a present as it is."""
        return now if isinstance(now, Present) else cls(now)


Now = datetime | Present
"""The present: where no dynamic partitions are about, the clock will do."""

Pairs = tuple[tuple[str, str], ...]
"""A partition set as text, for storage: first and last key of each interval, both included."""


# ── sets of ordinals ──────────────────────────────────────────────────────────────────────


def _normalize(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sort half-open spans, drop empty ones and join those that touch."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(s for s in spans if s[0] < s[1]):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


@final
@dataclass(frozen=True, slots=True)
class PartitionRange:
    """A contiguous run of partitions, both ends included.

    Made by [Partitions.range][] or handed to an asset's function as ``partitions``.

    Parameters:
        partitions: how the asset is cut
        low: ordinal of the first partition
        high: ordinal after the last one

    Examples:
        >>> days = Daily("2013-01-01").range("2013-01-30", "2013-02-01")
        >>> len(days), days.first, days.last
        (3, '2013-01-30', '2013-02-01')
        >>> days.start.isoformat(), days.end.isoformat()
        ('2013-01-30T00:00:00+00:00', '2013-02-02T00:00:00+00:00')
    """

    partitions: Partitions
    low: int
    high: int

    @property
    def first(self) -> str:
        """Key of the first partition."""
        return self.partitions.key(self.low)

    @property
    def last(self) -> str:
        """Key of the last partition."""
        return self.partitions.key(self.high - 1)

    @property
    def start(self) -> datetime:
        """The instant at which the first partition begins (UTC).

        Raises:
            PartitionError: the partitions are not pieces of time
        """
        return self._time("start").instant(self.low)

    @property
    def end(self) -> datetime:
        """The instant at which the last partition ends (UTC), itself not included.

        Raises:
            PartitionError: the partitions are not pieces of time
        """
        return self._time("end").instant(self.high)

    def keys(self) -> list[str]:
        """Every key, in order."""
        return [self.partitions.key(o) for o in range(self.low, self.high)]

    def _time(self, what: str) -> TimePartitions:
        if isinstance(self.partitions, TimePartitions):
            return self.partitions
        raise PartitionError(
            f"{self.partitions} have no {what} in time",
            hint="use .first, .last or .keys() for partitions that are not pieces of time",
        )

    def __len__(self) -> int:
        return self.high - self.low

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __str__(self) -> str:
        return self.first if len(self) == 1 else f"{self.first}{RANGE_MARK}{self.last}"


@final
@dataclass(frozen=True)
class PartitionSet:
    """Any partitions of one definition, kept as intervals.

    Supports ``|``, ``&``, ``-``, ``len``, ``in`` (of a key) and truth; iterates over keys.

    Parameters:
        partitions: how the asset is cut
        spans: half-open spans of ordinals; sorted and joined when the set is made

    Examples:
        >>> daily = Daily("2013-01-01")
        >>> january = daily.select("2013-01-01...2013-01-31")
        >>> weekend = daily.select(["2013-01-05", "2013-01-06"])
        >>> str(january - weekend), len(january - weekend)
        ('2013-01-01...2013-01-04, 2013-01-07...2013-01-31', 29)
    """

    partitions: Partitions
    spans: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", _normalize(self.spans))

    @property
    def ranges(self) -> tuple[PartitionRange, ...]:
        """The contiguous ranges that the set is made of, in order."""
        return tuple(PartitionRange(self.partitions, low, high) for low, high in self.spans)

    @property
    def hull(self) -> PartitionRange:
        """The smallest contiguous range that holds the whole set.

        Raises:
            PartitionError: the set is empty
        """
        if not self.spans:
            raise PartitionError("an empty set of partitions has no range around it")
        return PartitionRange(self.partitions, self.spans[0][0], self.spans[-1][1])

    def keys(self) -> list[str]:
        """Every key, in order."""
        return [self.partitions.key(o) for o in self.ordinals()]

    def ordinals(self) -> Iterator[int]:
        """Every ordinal, in order."""
        for low, high in self.spans:
            yield from range(low, high)

    def chunks(self, size: int, *, anchor: int | None = None) -> Iterator[PartitionSet]:
        """Cut into sets of at most ``size`` partitions each, at fixed places counted from ``anchor``.

        Parameters:
            size: partitions in a chunk
            anchor: ordinal at which a cut lies; the set's own first one by default. Sets that
                share an anchor are cut at the same places.

        Examples:
            >>> [len(c) for c in Daily("2013-01-01").select("2013-01-01...2013-03-01").chunks(30)]
            [30, 30]
        """
        if size < 1:
            raise PartitionError(f"a chunk of {size} partitions holds nothing; 1 is the least")
        if not self.spans:
            return
        origin = self.spans[0][0] if anchor is None else anchor
        chunk: list[tuple[int, int]] = []
        number: int | None = None
        for low, high in self.spans:
            while low < high:
                current = (low - origin) // size
                cut = min(high, origin + (current + 1) * size)
                if number is not None and current != number:
                    yield PartitionSet(self.partitions, tuple(chunk))
                    chunk = []
                number = current
                chunk.append((low, cut))
                low = cut
        yield PartitionSet(self.partitions, tuple(chunk))

    def to_pairs(self) -> Pairs:
        """As text for storage; [Partitions.from_pairs][] reads it back."""
        if not self.partitions.ordered:
            return tuple((key, key) for key in self.keys())
        return tuple((r.first, r.last) for r in self.ranges)

    def _same(self, other: PartitionSet) -> None:
        if self.partitions.domain != other.partitions.domain:
            raise PartitionError(f"{self.partitions} and {other.partitions} can't be combined")

    def __or__(self, other: PartitionSet) -> PartitionSet:
        self._same(other)
        return PartitionSet(self.partitions, self.spans + other.spans)

    def __and__(self, other: PartitionSet) -> PartitionSet:
        self._same(other)
        common: list[tuple[int, int]] = []
        i = j = 0
        while i < len(self.spans) and j < len(other.spans):
            low = max(self.spans[i][0], other.spans[j][0])
            high = min(self.spans[i][1], other.spans[j][1])
            if low < high:
                common.append((low, high))
            if self.spans[i][1] < other.spans[j][1]:
                i += 1
            else:
                j += 1
        return PartitionSet(self.partitions, tuple(common))

    def __sub__(self, other: PartitionSet) -> PartitionSet:
        self._same(other)
        left: list[tuple[int, int]] = []
        j = 0
        for low, high in self.spans:
            while j < len(other.spans) and other.spans[j][1] <= low:
                j += 1
            at, k = low, j
            while k < len(other.spans) and other.spans[k][0] < high:
                left.append((at, other.spans[k][0]))
                at = max(at, other.spans[k][1])
                k += 1
            left.append((at, high))
        return PartitionSet(self.partitions, tuple(left))

    def __le__(self, other: PartitionSet) -> bool:
        return not self - other

    def __contains__(self, key: object) -> bool:
        try:
            ordinal = self.partitions.parse(key)
        except PartitionError:
            return False
        return any(low <= ordinal < high for low, high in self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __len__(self) -> int:
        return sum(high - low for low, high in self.spans)

    def __iter__(self) -> Iterator[str]:
        return (self.partitions.key(o) for o in self.ordinals())

    def __str__(self) -> str:
        if not self.spans:
            return "none"
        return shorten(self.ranges)


# ── definitions ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Partitions(ABC):
    """How an asset is cut into partitions.

    Parameters:
        column: the column whose value says which partition a row belongs to
    """

    column: str | None = None

    kind: ClassVar[str]
    ordered: ClassVar[bool] = True
    """Whether keys between two keys are known from the two alone (true of time)."""

    @property
    @abstractmethod
    def domain(self) -> tuple[Any, ...]:
        """What two definitions must share for their ordinals to mean the same."""

    @property
    @abstractmethod
    def form(self) -> str:
        """The form of a key, for messages."""

    @abstractmethod
    def bounds(self, now: datetime) -> tuple[int, int]:
        """Ordinals of the first partition and after the last complete one."""

    @abstractmethod
    def key(self, ordinal: int) -> str:
        """The key of an ordinal."""

    @abstractmethod
    def parse(self, key: object) -> int:
        """The ordinal of a key, be it in range or not.

        Raises:
            PartitionError: the key doesn't have the right form
        """

    @abstractmethod
    def token(self, ordinal: int) -> str:
        """The name of a partition in storage: safe in a path; sorts as the ordinals do, for ordered partitions."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values say which partition a row belongs to; none where they aren't all declared."""
        return (self.column,) if self.column else ()

    def all(self, now: Now) -> PartitionSet:
        """Every partition that is complete at ``now``."""
        return PartitionSet(self, (self.bounds(Present.of(now).now),))

    def empty(self) -> PartitionSet:
        """No partition."""
        return PartitionSet(self)

    def range(self, first: Key, last: Key) -> PartitionRange:
        """The partitions from one key to another, both included.

        Raises:
            PartitionError: a key in the wrong form, or a reversed range
        """
        low, high = self.parse(first), self.parse(last)
        if high < low:
            raise PartitionError(
                f"the range {first}{RANGE_MARK}{last} is reversed",
                hint=f"write the earlier partition first: {last}{RANGE_MARK}{first}",
            )
        return PartitionRange(self, low, high + 1)

    def select(self, wanted: object, *, now: Now | None = None) -> PartitionSet:
        """Read what a person asked for, and see that it lies within the definition's range.

        Parameters:
            wanted: a key, a range ``"a...b"`` (both ends included), several of these with commas
                between, a list of them, a [PartitionRange][] or a [PartitionSet][]
            now: the present, for definitions without an end; no upper bound is held without it

        Raises:
            PartitionError: wrong form, out of range, or a reversed range

        Examples:
            >>> len(Daily("2013-01-01", end="2014-01-01").select("2013-01-01...2013-12-31"))
            365
        """
        chosen = PartitionSet(self, tuple(self._spans(wanted)))
        self._check_range(chosen, now)
        return chosen

    def from_pairs(self, pairs: Sequence[Sequence[str]]) -> PartitionSet:
        """Read back what [PartitionSet.to_pairs][] wrote; keys that the definition no longer has are left out."""
        spans = []
        for first, last in pairs:
            try:
                spans.append((self.parse(first), self.parse(last) + 1))
            except PartitionError:
                continue
        return PartitionSet(self, tuple(spans))

    def _spans(self, wanted: object) -> Iterator[tuple[int, int]]:
        if isinstance(wanted, PartitionSet | PartitionRange):
            if wanted.partitions.domain != self.domain:
                raise PartitionError(f"{wanted} are {wanted.partitions}, not {self}")
            if isinstance(wanted, PartitionSet):
                yield from wanted.spans
            else:
                yield wanted.low, wanted.high
        elif isinstance(wanted, str):
            yield from self._spans_of_text(wanted)
        elif isinstance(wanted, Iterable):
            for one in wanted:
                yield from self._spans(one)
        else:
            ordinal = self.parse(wanted)
            yield ordinal, ordinal + 1

    def _spans_of_text(self, text: str) -> Iterator[tuple[int, int]]:
        for part in text.split(","):
            first, mark, last = part.strip().partition(RANGE_MARK)
            if mark:
                found = self.range(first.strip(), last.strip())
                yield found.low, found.high
            else:
                ordinal = self.parse(first)
                yield ordinal, ordinal + 1

    def _check_range(self, chosen: PartitionSet, now: Now | None) -> None:
        low, high = self.bounds(Present.of(now).now if now else datetime.max.replace(tzinfo=UTC))
        outside = chosen - PartitionSet(self, ((low, high),))
        if outside:
            if now is None and self.bounded_by_now:
                there = f"all from {self.key(low)} on"
            else:
                there = f"{self.key(low)}{RANGE_MARK}{self.key(high - 1)}" if low < high else "none yet"
            raise PartitionError(
                f"partition {outside} is outside the range of {self}; there are {there}",
                hint="a partition is there once its time is over" if now and self.bounded_by_now else None,
            )

    @property
    def bounded_by_now(self) -> bool:
        """Whether more partitions come as time goes by."""
        return False

    def _wrong(self, key: object) -> PartitionError:
        return PartitionError(f"{key!r} is no partition key of {self}; a key looks like {self.form}")


@final
@dataclass(frozen=True, kw_only=True)
class Unpartitioned(Partitions):
    """An asset that is built as a whole: one partition, with an empty key."""

    kind: ClassVar[str] = "unpartitioned"

    @property
    def domain(self) -> tuple[Any, ...]:
        return (self.kind,)

    @property
    def form(self) -> str:
        return "nothing"

    def bounds(self, now: datetime) -> tuple[int, int]:
        return 0, 1

    def key(self, ordinal: int) -> str:
        return ""

    def parse(self, key: object) -> int:
        if key == "":
            return 0
        raise PartitionError(
            f"partition {key!r} was given, but the asset is not partitioned", hint="leave partitions out"
        )

    def token(self, ordinal: int) -> str:
        return ""

    def __str__(self) -> str:
        return "unpartitioned"


@dataclass(frozen=True, kw_only=True)
class TimePartitions(Partitions):
    """Partitions that are pieces of time: see [Daily][], [Hourly][], [Monthly][].

    Parameters:
        start: key of the first partition
        end: key of the first partition that is *not* there; none: goes on as time goes by
        column: the column whose value says which partition a row belongs to
        timezone: an IANA name; days and months begin at midnight there
    """

    start: str
    end: str | None = None
    timezone: str = "UTC"
    _last: str | None = field(default=None, init=False, repr=False, compare=False)

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
        if self._high is not None and self._high <= self._low:
            raise DefinitionError(
                f"{self.kind} partitions from {self.start} to {self.end} hold nothing",
                hint="end is the first partition that is not there",
            )
        set_(self, "_last", None if self._high is None else self.key(self._high - 1))

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)

    @cached_property
    def _low(self) -> int:
        return self.parse(self.start)

    @cached_property
    def _high(self) -> int | None:
        return None if self.end is None else self.parse(self.end)

    @property
    def domain(self) -> tuple[Any, ...]:
        return (self.kind, self.timezone)

    @property
    def bounded_by_now(self) -> bool:
        return self.end is None

    @abstractmethod
    def instant(self, ordinal: int) -> datetime:
        """When a partition begins (UTC)."""

    @abstractmethod
    def ordinal_at(self, instant: datetime) -> int:
        """The ordinal of the partition that holds an instant."""

    def bounds(self, now: datetime) -> tuple[int, int]:
        if self._high is not None:
            return self._low, self._high
        if now.year >= 9999:
            return self._low, self.ordinal_at(datetime(9000, 1, 1, tzinfo=UTC))
        return self._low, max(self._low, self.ordinal_at(now))

    def _local(self, key: object) -> date | None:
        """The day that a key which is no string begins; None: it begins none."""
        if not isinstance(key, datetime):
            return key if isinstance(key, date) else None
        local = key.astimezone(self.zone) if key.tzinfo else key
        midnight = datetime(local.year, local.month, local.day)
        # Where clocks skip midnight, a day begins later than that.
        begins = local == (_utc(midnight, self.zone) if key.tzinfo else midnight)
        return local.date() if begins else None

    def __str__(self) -> str:
        zone = "" if self.timezone == "UTC" else f" {self.timezone}"
        return f"{self.kind} {self.start}{RANGE_MARK}{self._last or ''}{zone}"


def _utc(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a local wall time; in a gap that clocks skip, the instant at which they skip."""
    return local.replace(tzinfo=zone).astimezone(UTC)


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Daily(TimePartitions):
    """A partition for each calendar day, midnight to midnight in its time zone.

    Examples:
        >>> Daily("2013-01-01", end="2014-01-01", column="date").key(734869)
        '2013-01-01'
    """

    kind: ClassVar[str] = "daily"
    _FORM: ClassVar[re.Pattern[str]] = re.compile(r"\d{4}-\d{2}-\d{2}")

    @property
    def form(self) -> str:
        return "2013-01-31"

    def key(self, ordinal: int) -> str:
        return date.fromordinal(ordinal).isoformat()

    def parse(self, key: object) -> int:
        if isinstance(key, str) and self._FORM.fullmatch(key.strip()):
            try:
                return date.fromisoformat(key.strip()).toordinal()
            except ValueError:
                raise self._wrong(key) from None
        local = self._local(key)
        if local is None:
            raise self._wrong(key)
        return local.toordinal()

    def token(self, ordinal: int) -> str:
        return self.key(ordinal)

    def instant(self, ordinal: int) -> datetime:
        return _utc(datetime.fromordinal(ordinal), self.zone)

    def ordinal_at(self, instant: datetime) -> int:
        return instant.astimezone(self.zone).toordinal()


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Monthly(TimePartitions):
    """A partition for each calendar month in its time zone.

    Examples:
        >>> str(Monthly("2013-01").select("2013-01...2013-03"))
        '2013-01...2013-03'
    """

    kind: ClassVar[str] = "monthly"
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

    def token(self, ordinal: int) -> str:
        return self.key(ordinal)

    def instant(self, ordinal: int) -> datetime:
        year, month = divmod(ordinal, 12)
        return _utc(datetime(year, month + 1, 1), self.zone)

    def ordinal_at(self, instant: datetime) -> int:
        local = instant.astimezone(self.zone)
        return local.year * 12 + local.month - 1


@final
@dataclass(frozen=True, kw_only=True, init=False)
class Hourly(TimePartitions):
    """A partition for each hour of real time, shown as the wall clock of its time zone.

    Hours are whole hours of UTC, so a day has 23 or 25 of them where clocks change. Outside UTC a
    key bears its offset (``2013-11-03T01:00-04:00``); it may be left out where it is clear.

    Examples:
        >>> new_york = Hourly("2013-11-03T00:00", timezone="America/New_York")
        >>> new_york.range("2013-11-03T01:00-04:00", "2013-11-03T01:00-05:00").keys()
        ['2013-11-03T01:00-04:00', '2013-11-03T01:00-05:00']
    """

    kind: ClassVar[str] = "hourly"
    _FORM: ClassVar[re.Pattern[str]] = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}(:\d{2})?(:\d{2})?(Z|[+-]\d{2}:\d{2})?")
    _EPOCH: ClassVar[datetime] = datetime(1970, 1, 1, tzinfo=UTC)

    @property
    def form(self) -> str:
        return "2013-01-31T05:00" + ("" if self.timezone == "UTC" else " (with its offset where clocks change)")

    def key(self, ordinal: int) -> str:
        instant = self.instant(ordinal)
        if self.timezone == "UTC":
            return instant.replace(tzinfo=None).isoformat(timespec="minutes")
        return instant.astimezone(self.zone).isoformat(timespec="minutes")

    def parse(self, key: object) -> int:
        if isinstance(key, str) and self._FORM.fullmatch(key.strip()):
            text = key.strip()
            try:
                value = datetime.fromisoformat(text + ":00" if len(text) == 13 else text)
            except ValueError:
                raise self._wrong(key) from None
        elif isinstance(key, datetime):
            value = key
        else:
            raise self._wrong(key)
        try:
            instant = value.astimezone(UTC) if value.tzinfo else self._from_wall(value, key)
        except OverflowError:
            raise self._wrong(key) from None
        seconds = (instant - self._EPOCH).total_seconds()
        if seconds % 3600:
            raise PartitionError(
                f"{key!r} is not on an hour of {self}",
                hint=f"the hour that holds it is {self.key(int(seconds // 3600))}",
            )
        return int(seconds // 3600)

    def _from_wall(self, wall: datetime, key: object) -> datetime:
        early, late = (wall.replace(tzinfo=self.zone, fold=f).astimezone(UTC) for f in (0, 1))
        if early == late:
            return early
        if early < late:
            both = " or ".join(i.astimezone(self.zone).isoformat(timespec="minutes") for i in (early, late))
            raise PartitionError(f"{key!r} comes twice in {self.timezone}, where clocks go back", hint=f"say {both}")
        raise PartitionError(
            f"{key!r} doesn't exist in {self.timezone}, where clocks go forward",
            hint=f"the hour there is {early.astimezone(self.zone).isoformat(timespec='minutes')}",
        )

    def token(self, ordinal: int) -> str:
        return self.instant(ordinal).replace(tzinfo=None).isoformat(timespec="hours")

    def instant(self, ordinal: int) -> datetime:
        return self._EPOCH + timedelta(hours=ordinal)

    def ordinal_at(self, instant: datetime) -> int:
        return (instant - self._EPOCH) // timedelta(hours=1)


@final
@dataclass(frozen=True, kw_only=True)
class Static(Partitions):
    """A partition for each of a fixed list of keys.

    Parameters:
        keys: the keys; integers are taken as their text
        column: the column whose value (as text) is the key

    Examples:
        >>> Static(["EWR", "JFK", "LGA"], column="origin").select("JFK").keys()
        ['JFK']
    """

    keys: tuple[str, ...]
    kind: ClassVar[str] = "static"
    ordered: ClassVar[bool] = False
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __init__(self, keys: Iterable[str | int], *, column: str | None = None) -> None:
        listed = tuple(str(key) for key in keys) if isinstance(keys, Iterable) else ()
        index = {key: i for i, key in enumerate(listed)}
        if isinstance(keys, str) or not listed or "" in index or len(index) != len(listed):
            raise DefinitionError(f"static partitions need a list of different, non-empty keys; given {keys!r:.100}")
        object.__setattr__(self, "keys", listed)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "_index", index)

    def __hash__(self) -> int:
        return hash((self.keys, self.column))

    @property
    def domain(self) -> tuple[Any, ...]:
        return (self.kind, self.keys)

    @property
    def form(self) -> str:
        return shorten(self.keys)

    def bounds(self, now: datetime) -> tuple[int, int]:
        return 0, len(self.keys)

    def key(self, ordinal: int) -> str:
        return self.keys[ordinal]

    def parse(self, key: object) -> int:
        try:
            return self._index[str(key)]
        except KeyError:
            raise PartitionError(
                f"{key!r} is no partition key of {self}; the keys are {shorten(self.keys)}",
                hint=nearest(str(key), self.keys),
            ) from None

    def _spans_of_text(self, text: str) -> Iterator[tuple[int, int]]:
        if text in self._index:  # a key may hold a comma or dots of its own
            yield self._index[text], self._index[text] + 1
        else:
            yield from super()._spans_of_text(text)

    def token(self, ordinal: int) -> str:
        # Percent signs are escaped once more by table formats, so the escape is a tilde.
        return re.sub(r"[^A-Za-z0-9_-]", lambda m: "".join(f"~{b:02x}" for b in m[0].encode()), self.keys[ordinal])

    def __str__(self) -> str:
        return f"static {shorten(self.keys, 3)}"


# ── mappings ──────────────────────────────────────────────────────────────────────────────


class Rule(ABC):
    """Which partitions of an input those of its consumer are made from, where it isn't obvious."""


@final
@dataclass(frozen=True)
class PartitionMapping:
    """Which partitions of an upstream asset those of a downstream one are made from.

    Parameters:
        down: how the consumer is cut
        up: how the producer is cut
        now: the present, which bounds partitions that go on as time goes by
        rule: which of them; None: what is obvious from how the two are cut

    Raises:
        PartitionError: the two can't be mapped

    Examples:
        >>> hours, days = Hourly("2013-01-01T00:00"), Daily("2013-01-01")
        >>> now = datetime(2013, 2, 1, tzinfo=UTC)
        >>> str(PartitionMapping(days, hours, now).upstream(days.select("2013-01-02")))
        '2013-01-02T00:00...2013-01-02T23:00'
    """

    down: Partitions
    up: Partitions
    now: Now
    rule: Rule | None = None

    def __post_init__(self) -> None:
        fault = misfit(self.down, self.up, self.rule)
        if fault:
            raise PartitionError(fault)

    def upstream(self, wanted: PartitionSet) -> PartitionSet:
        """The upstream partitions that downstream ones need."""
        return carry(wanted, self.up, self.now)

    def downstream(self, given: PartitionSet) -> PartitionSet:
        """The downstream partitions that upstream ones feed."""
        return carry(given, self.down, self.now)


def carry(these: PartitionSet, target: Partitions, now: Now) -> PartitionSet:
    """The partitions of one definition that share some time (or key) with those of another.

    Examples:
        >>> str(carry(Monthly("2013-01").select("2013-02"), Daily("2013-01-01"), datetime(2014, 1, 1, tzinfo=UTC)))
        '2013-02-01...2013-02-28'
    """
    source = these.partitions
    if not these:
        return target.empty()
    if source.domain == target.domain:
        return PartitionSet(target, these.spans)
    if isinstance(source, TimePartitions) and isinstance(target, TimePartitions):
        return PartitionSet(
            target,
            tuple(
                (
                    target.ordinal_at(source.instant(low)),
                    target.ordinal_at(source.instant(high) - timedelta(microseconds=1)) + 1,
                )
                for low, high in these.spans
            ),
        )
    if isinstance(source, Static) and isinstance(target, Static):
        known = (target._index.get(key) for key in these)
        return PartitionSet(target, tuple((o, o + 1) for o in known if o is not None))
    return target.all(now)


def misfit(down: Partitions, up: Partitions, rule: Rule | None = None) -> str | None:
    """Say why partitions can't be made from others; None where they can.

    Examples:
        >>> misfit(Daily("2013-01-01"), Daily("2014-01-01"))
        'it begins at 2013-01-01, its input only at 2014-01-01'
    """
    if isinstance(down, Unpartitioned) or isinstance(up, Unpartitioned):
        return None
    if isinstance(down, Static) and isinstance(up, Static):
        absent = [key for key in down.keys if key not in up._index]
        return f"its input has no partitions {shorten(absent)}" if absent else None
    if not (isinstance(down, TimePartitions) and isinstance(up, TimePartitions)):
        return f"{down.kind} partitions can't be made from {up.kind} ones"
    if up.instant(up._low) > down.instant(down._low):
        return f"it begins at {down.start}, its input only at {up.start}"
    if up._high is not None and (down._high is None or up.instant(up._high) < down.instant(down._high)):
        return f"it ends at {down.end or 'no time'}, its input already at {up.end}"
    return None
