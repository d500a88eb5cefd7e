"""What all kinds of partitions share: keys, ordinals, and sets of partitions as spans of ordinals."""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, ClassVar, final

from lakehouse.errors import PartitionError

RANGE_MARK = "..."
WHOLE_MARK = "*"

LONGEST_TOKEN = 244
"""Characters of a partition's name in storage, at most: file names have 255, of which ``_partition=`` takes its own."""

Key = str | int | date | datetime
"""What can name one partition: its key, or the value behind it."""

Pairs = tuple[tuple[str, str], ...]
"""A partition set as text, for storage: first and last key of each interval, both included."""

Span = tuple[int, int]
"""Ordinals from the first one on, up to the second one, itself not included."""

_SHOWN = 5


@final
@dataclass(frozen=True)
class Present:
    """The present as a plan sees it: the clock, and the dynamic keys that are registered.

    Parameters:
        now: the clock
        keys: by name of the dynamic partitions, the keys that are registered

    Examples:
        >>> Present(datetime(2013, 1, 1, tzinfo=UTC), {"customers": ["acme", "globex"]}).keys["customers"]
        ['acme', 'globex']
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

FOREVER = datetime(9000, 1, 1, tzinfo=UTC)
"""Where partitions without an end are taken to end, if no present bounds them."""


# ── sets of ordinals ──────────────────────────────────────────────────────────────────────


def _normalize(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Sort half-open spans, drop empty ones and join those that touch."""
    joined: list[Span] = []
    for low, high in sorted(s for s in spans if s[0] < s[1]):
        if joined and low <= joined[-1][1]:
            if high > joined[-1][1]:
                joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return tuple(joined)


def _begin(span: Span) -> int:
    return span[0]


def _end(span: Span) -> int:
    return span[1]


def _near(spans: tuple[Span, ...], others: tuple[Span, ...]) -> tuple[Span, ...]:
    """Those of sorted spans that lie where others do, from the first of these to the last."""
    if not others:
        return ()
    return spans[bisect_right(spans, others[0][0], key=_end) : bisect_left(spans, others[-1][1], key=_begin)]


@final
@dataclass(frozen=True, slots=True)
class PartitionRange:
    """A contiguous run of partitions, both ends included.

    Built by [Partitions.range][] or handed to an asset's function as ``partitions``.

    Parameters:
        partitions: how the asset is partitioned
        low: ordinal of the first partition
        high: ordinal after the last one

    Examples:
        >>> from lakehouse import Daily
        >>> days = Daily("2013-01-01").range("2013-01-30", "2013-02-01")
        >>> len(days), days.first, days.last
        (3, '2013-01-30', '2013-02-01')
        >>> days.start.isoformat(), days.end.isoformat()
        ('2013-01-30T00:00:00+00:00', '2013-02-02T00:00:00+00:00')
        >>> Daily("2013-01-01", timezone="Europe/Berlin").range("2013-03-31", "2013-03-31").end.isoformat()
        '2013-04-01T00:00:00+02:00'
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
        """The instant at which the first partition begins, by the clock of the partitions' own time zone.

        Its date is the partition's own, and its offset the one that holds then, so that times can be compared and
        subtracted.

        Raises:
            PartitionError: the partitions are not pieces of time
        """
        return self.partitions.moments(self.low, self.high)[0]

    @property
    def end(self) -> datetime:
        """The instant at which the last partition ends, itself not included, by the clock of their time zone.

        Raises:
            PartitionError: the partitions are not pieces of time
        """
        return self.partitions.moments(self.low, self.high)[1]

    def dimension(self, name: str) -> PartitionRange:
        """The range of one dimension, of partitions that have several.

        Raises:
            PartitionError: there is no dimension of that name
        """
        return self.partitions.along(name, self.low, self.high)

    def keys(self) -> list[str]:
        """Every key, in order.

        Raises:
            PartitionError: the range is the hull of scattered partitions, so that not all between are some
        """
        self._check_contiguous()
        return [self.partitions.key(o) for o in range(self.low, self.high)]

    def _check_contiguous(self) -> None:
        if not self.partitions.contiguous(self.low, self.high):
            raise PartitionError(
                f"{self} goes from the first to the last of scattered partitions; which are between, it doesn't say",
                hint="take the keys or the ranges of the set",
            )

    def __len__(self) -> int:
        self._check_contiguous()
        return self.high - self.low

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __str__(self) -> str:
        return self.partitions.text(self.low, self.high)


@final
@dataclass(frozen=True)
class PartitionSet:
    """Any partitions of one definition, kept as intervals.

    Supports ``|``, ``&``, ``-``, ``<=``, ``len``, ``in`` (of a key) and truth; iterates over keys.

    Parameters:
        partitions: how the asset is partitioned
        spans: half-open spans of ordinals; sorted and joined when the set is made

    Examples:
        >>> from lakehouse import Daily
        >>> daily = Daily("2013-01-01")
        >>> january = daily.select("2013-01-01...2013-01-31")
        >>> weekend = daily.select(["2013-01-05", "2013-01-06"])
        >>> str(january - weekend), len(january - weekend)
        ('2013-01-01...2013-01-04, 2013-01-07...2013-01-31', 29)
    """

    partitions: Partitions
    spans: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", _normalize(self.spans))

    @property
    def ranges(self) -> tuple[PartitionRange, ...]:
        """The contiguous ranges that the set is made of, in order."""
        return tuple(PartitionRange(self.partitions, low, high) for low, high in self.spans)

    @property
    def hull(self) -> PartitionRange:
        """The smallest range that holds the whole set; for scattered partitions, its first and last are all it says.

        Raises:
            PartitionError: the set is empty
        """
        if not self.spans:
            raise PartitionError("an empty set of partitions has no range around it")
        return PartitionRange(self.partitions, self.spans[0][0], self.spans[-1][1])

    @property
    def extent(self) -> str:
        """Where it lies, in few words: the range around it, or where there are none, its first key and the number.

        Raises:
            PartitionError: the set is empty
        """
        if not self.partitions.scattered or len(self) == 1:
            return str(self.hull)
        return f"{self.hull.first} and {len(self) - 1:,} more"

    def keys(self) -> list[str]:
        """Every key, in order."""
        return [self.partitions.key(o) for o in self.ordinals()]

    def ordinals(self) -> Iterator[int]:
        """Every ordinal, in order."""
        for low, high in self.spans:
            yield from range(low, high)

    def chunks(self, size: int, *, anchor: PartitionSet | int | None = None) -> Iterator[PartitionSet]:
        """Cut into sets of at most ``size`` partitions each; see [PartitionSet.cells][].

        Examples:
            >>> from lakehouse import Daily
            >>> [len(c) for c in Daily("2013-01-01").select("2013-01-01...2013-03-01").chunks(30)]
            [30, 30]
        """
        return (chunk for _, chunk in self.cells(size, anchor=anchor))

    def cells(self, size: int, *, anchor: PartitionSet | int | None = None) -> Iterator[tuple[int, PartitionSet]]:
        """Cut into sets of at most ``size`` partitions each, at fixed places; each with the number of its place.

        Sets that share an anchor are cut at the same places, and what is cut there bears the same number. Places
        are ``size`` ordinals apart; for scattered partitions, whose ordinals have gaps, ``size`` partitions of the
        anchor.

        Parameters:
            size: partitions in a chunk
            anchor: the set that cuts are counted from (this one by default); or, where partitions aren't
                scattered, the ordinal at which a cut lies

        Raises:
            PartitionError: a size below 1

        Examples:
            >>> from lakehouse import Daily
            >>> year = Daily("2013-01-01").select("2013")
            >>> [(n, str(c)) for n, c in year.partitions.select("2013-03-01...2013-03-04").cells(30, anchor=year)]
            [(1, '2013-03-01'), (2, '2013-03-02...2013-03-04')]
        """
        if size < 1:
            raise PartitionError(f"a chunk of {size} partitions holds nothing; 1 is the least")
        if not self.spans:
            return
        chunk: list[Span] = []
        number: int | None = None
        for current, span in self._cut(size, anchor):
            if number is not None and current != number:
                yield number, PartitionSet(self.partitions, tuple(chunk))
                chunk = []
            number = current
            chunk.append(span)
        assert number is not None
        yield number, PartitionSet(self.partitions, tuple(chunk))

    def count_cells(self, size: int, *, anchor: PartitionSet | int | None = None) -> int:
        """How many sets [PartitionSet.cells][] makes.

        Examples:
            >>> from lakehouse import Daily
            >>> Daily("2013-01-01").select("2013-01-01...2013-03-01").count_cells(30)
            2
        """
        number, last = 0, None
        for (low, high), origin in zip(self.spans, self._origins(anchor), strict=True):
            first, end = (low - origin) // size, (high - 1 - origin) // size
            number += end - first + (first != last)
            last = end
        return number

    def _cut(self, size: int, anchor: PartitionSet | int | None) -> Iterator[tuple[int, Span]]:
        """The pieces of each span with the number of the place that each lies in."""
        for (low, high), origin in zip(self.spans, self._origins(anchor), strict=True):
            while low < high:
                number = (low - origin) // size
                cut = min(high, origin + (number + 1) * size)
                yield number, (low, cut)
                low = cut

    def _origins(self, anchor: PartitionSet | int | None) -> list[int]:
        """For each span the ordinal that places are counted from."""
        if not self.spans:
            return []
        if self.partitions.scattered:
            frame = anchor if isinstance(anchor, PartitionSet) and self <= anchor else self
            lows = [low for low, _ in frame.spans]
            before = [0]
            for low, high in frame.spans:
                before.append(before[-1] + high - low)
            # The rank of an ordinal in the frame is its distance from this origin.
            places = [bisect_right(lows, low) - 1 for low, _ in self.spans]
            return [lows[i] - before[i] for i in places]
        first = anchor.spans[0][0] if isinstance(anchor, PartitionSet) and anchor else anchor
        return [first if isinstance(first, int) else self.spans[0][0]] * len(self.spans)

    def to_pairs(self) -> Pairs:
        """As text for storage; [Partitions.from_pairs][] reads it back."""
        if not self.partitions.ordered:
            return tuple((key, key) for key in self.keys())
        return tuple((r.first, r.last) for r in self.ranges)

    def _same(self, other: PartitionSet) -> None:
        if self.partitions is not other.partitions and self.partitions.domain != other.partitions.domain:
            raise PartitionError(f"{self.partitions} and {other.partitions} can't be combined")

    def _of(self, spans: tuple[Span, ...]) -> PartitionSet:
        """A set of the same definition, of spans that are sorted and joined already."""
        made = object.__new__(PartitionSet)
        object.__setattr__(made, "partitions", self.partitions)
        object.__setattr__(made, "spans", spans)
        return made

    def __or__(self, other: PartitionSet) -> PartitionSet:
        self._same(other)
        if not (self.spans and other.spans):
            return self if self.spans else self._of(other.spans)
        # Only where the one lies there is anything to sort: sets grow by small pieces at a time.
        many, few = (self.spans, other.spans) if len(self.spans) >= len(other.spans) else (other.spans, self.spans)
        first = bisect_left(many, few[0][0], key=_end)
        last = bisect_right(many, few[-1][1], key=_begin)
        return self._of((*many[:first], *_normalize((*many[first:last], *few)), *many[last:]))

    def __and__(self, other: PartitionSet) -> PartitionSet:
        self._same(other)
        ours, theirs = _near(self.spans, other.spans), _near(other.spans, self.spans)
        common: list[Span] = []
        i = j = 0
        while i < len(ours) and j < len(theirs):
            low = max(ours[i][0], theirs[j][0])
            high = min(ours[i][1], theirs[j][1])
            if low < high:
                common.append((low, high))
            if ours[i][1] < theirs[j][1]:
                i += 1
            else:
                j += 1
        return self._of(tuple(common))

    def __sub__(self, other: PartitionSet) -> PartitionSet:
        self._same(other)
        theirs = _near(other.spans, self.spans)
        if not theirs:
            return self
        left: list[Span] = []
        j = 0
        for low, high in self.spans:
            while j < len(theirs) and theirs[j][1] <= low:
                j += 1
            at, k = low, j
            while k < len(theirs) and theirs[k][0] < high:
                left.append((at, theirs[k][0]))
                at = max(at, theirs[k][1])
                k += 1
            left.append((at, high))
        return self._of(tuple(span for span in left if span[0] < span[1]))

    def __le__(self, other: PartitionSet) -> bool:
        return not self - other

    def __contains__(self, key: object) -> bool:
        try:
            return within(self.spans, self.partitions.parse(key))
        except PartitionError:
            return False

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __len__(self) -> int:
        return sum(high - low for low, high in self.spans)

    def __iter__(self) -> Iterator[str]:
        return (self.partitions.key(o) for o in self.ordinals())

    def __str__(self) -> str:
        if not self.spans:
            return "none"
        shown = ", ".join(self.partitions.text(low, high) for low, high in self.spans[:_SHOWN])
        rest = len(self.spans) - _SHOWN
        return f"{shown}, and {rest} more" if rest > 0 else shown


# ── definitions ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Partitions(ABC):
    """How an asset is divided into partitions.

    Parameters:
        column: the column whose value says which partition a row belongs to
    """

    column: str | None = None

    kind: ClassVar[str]

    @property
    def ordered(self) -> bool:
        """Whether the keys of a span are known from its first and last alone (true of time)."""
        return True

    @property
    def scattered(self) -> bool:
        """Whether ordinals between those of two partitions may be those of none."""
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values say which partition a row belongs to; none, where they aren't all declared."""
        return (self.column,) if self.column else ()

    @property
    def label(self) -> str:
        """How the asset is partitioned, in a word or a few."""
        return self.kind

    @property
    @abstractmethod
    def domain(self) -> tuple[Any, ...]:
        """What two definitions must share for their ordinals to mean the same."""

    @property
    def spec(self) -> str:
        """What gives keys their meaning, as text that facts keep: unit, time zone, columns; not which keys there are.

        Examples:
            >>> from lakehouse import Daily
            >>> Daily("2013-01-01", timezone="America/New_York", column="date").spec
            'daily America/New_York by date'
        """
        return f"{self._unit_of_keys} by {self.column}" if self.column else self._unit_of_keys

    @property
    def _unit_of_keys(self) -> str:
        """What a key stands for, whatever the column."""
        return self.kind

    @property
    @abstractmethod
    def form(self) -> str:
        """The form of a key, for messages."""

    def told_by(self, column: str) -> Partitions:
        """The same partitions, where another column says which one a row belongs to."""
        same = copy.copy(self)
        object.__setattr__(same, "column", column)
        return same

    def including(self, pairs: Pairs) -> Partitions:
        """The same, where keys are listed with those too that pairs name: keys that the definition had once."""
        return self

    @abstractmethod
    def all(self, now: Now) -> PartitionSet:
        """Every partition that is there at ``now``: registered, and its time over."""

    @abstractmethod
    def possible(self, chosen: PartitionSet) -> PartitionSet:
        """Those of some partitions that the definition allows, whatever the time."""

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
        """The name of a partition in storage: safe in a path; in a span of ordered ones, it sorts as ordinals do."""

    @abstractmethod
    def from_token(self, token: str) -> int:
        """The ordinal of a token.

        Raises:
            PartitionError: no partition has that token
        """

    def empty(self) -> PartitionSet:
        """No partition."""
        return PartitionSet(self)

    def of_keys(self, keys: Iterable[object]) -> PartitionSet:
        """The partitions of some keys, in range or not.

        Raises:
            PartitionError: a key in the wrong form
        """
        ordinals = map(self.parse, keys)
        return PartitionSet(self, tuple((o, o + 1) for o in ordinals))

    def union(self, sets: Iterable[PartitionSet]) -> PartitionSet:
        """Several sets as one.

        Examples:
            >>> from lakehouse import Daily
            >>> days = Daily("2013-01-01")
            >>> str(days.union(days.select(key) for key in ("2013-01-02", "2013-01-01", "2013-01-05")))
            '2013-01-01...2013-01-02, 2013-01-05'
        """
        return PartitionSet(self, tuple(span for one in sets for span in one.spans))

    def range(self, first: Key, last: Key) -> PartitionRange:
        """The partitions from one key to another, both included.

        Raises:
            PartitionError: a key in the wrong form, or a reversed range
        """
        low, high = self.parse(first), self.parse(last)
        if high < low:
            raise self._reversed(first, last)
        return PartitionRange(self, low, high + 1)

    def select(self, wanted: object, *, now: Now | None = None) -> PartitionSet:
        """Read what a person asked for, and see that it lies within the definition's range.

        This is how partitions are named, for every verb:

        - *A list* (a tuple, a set, whatever is iterated over) holds keys. Each stands for itself, whatever is in it:
          ``["b,c"]`` is one key, and so is ``["*"]``.
        - *Text* that is a key of the definition, or one that is registered, is that key. Any other is read as an
          expression: a range ``"a...b"`` with both ends included, ``"*"`` (all), or several with commas between, around
          which blanks don't count. Where a key that is there holds a comma, and the expression could mean it or its
          parts, it is refused.
        - A [PartitionSet][] or a [PartitionRange][] is what it is. Dates and numbers are keys as their text.
        - *Pieces of time*: a longer one stands for all that begin in it: ``"2013-01"``, ``"2013...2014"``. No key of
          time looks like an expression, so that lists may hold both.
        - *Several dimensions*: each in its own words, with ``|`` between, or a mapping of each dimension's name to what
          is wanted of it; those that it doesn't name are wanted whole.

        On the command line ``--partition KEY`` is an item of a list, and may be repeated; ``--partitions`` is text.

        Parameters:
            wanted: which partitions, as above
            now: the present; without it, partitions that don't come to an end aren't bounded

        Raises:
            PartitionError: wrong form, out of range, a reversed range, or one that could mean other keys

        Examples:
            >>> from lakehouse import Daily, Static
            >>> daily = Daily("2013-01-01", end="2014-01-01")
            >>> len(daily.select("2013-01-01...2013-12-31")), len(daily.select("2013-02"))
            (365, 28)
            >>> customers = Static(["b", "c", "b,c", "d"])
            >>> [customers.select(wanted).keys() for wanted in ("b,c", ["b,c"], ["b", "c"], "b, d")]
            [['b,c'], ['b,c'], ['b', 'c'], ['b', 'd']]
        """
        chosen = self.named(wanted, now=now)
        self.check_range(chosen, None if now is None else Present.of(now))
        return chosen

    def named(self, wanted: object, *, now: Now | None = None) -> PartitionSet:
        """The same, whether they lie within the definition's range or not.

        Raises:
            PartitionError: wrong form, a reversed range, or one that could mean other keys
        """
        return PartitionSet(self, tuple(self._spans(wanted, None if now is None else Present.of(now))))

    def from_pairs(self, pairs: Sequence[Sequence[str]]) -> PartitionSet:
        """Read back what [PartitionSet.to_pairs][] wrote; keys that the definition no longer has are left out."""
        spans = []
        for first, last in pairs:
            try:
                low = self.parse(first)
                spans.append((low, low + 1 if last == first else self.parse(last) + 1))
            except PartitionError:
                continue
        return PartitionSet(self, tuple(spans))

    def check_range(self, chosen: PartitionSet, now: Present | None) -> None:
        """See that partitions are there (without a present: that they can be).

        Raises:
            PartitionError: some are not; it says which, and which are
        """
        outside = chosen - (self.possible(chosen) if now is None else self.all(now))
        if outside:
            raise PartitionError(
                f"partition {outside} is outside the range of {self}; there are {self._told(now)}",
                hint=self.comes if now and self.unending else None,
            )

    @property
    def unending(self) -> bool:
        """Whether more partitions come as time goes by."""
        return False

    @property
    def comes(self) -> str:
        """When a partition comes to be there, for messages."""
        return "a partition is there once its time is over"

    def contiguous(self, low: int, high: int) -> bool:
        """Whether all ordinals of a span are partitions."""
        return True

    def moments(self, low: int, high: int) -> tuple[datetime, datetime]:
        """When a span of partitions begins and ends, by the clock of their time zone.

        Raises:
            PartitionError: they are not pieces of time
        """
        raise PartitionError(
            f"{self} have no start and no end in time",
            hint="use .first, .last or .keys() for partitions that are not pieces of time",
        )

    def along(self, name: str, low: int, high: int) -> PartitionRange:
        """One dimension of a span of partitions.

        Raises:
            PartitionError: there is no dimension of that name
        """
        raise PartitionError(f"{self} have no dimensions; given {name!r}", hint="use the range itself")

    def text(self, low: int, high: int) -> str:
        """A span of partitions as people write it."""
        first = self.key(low)
        return first if high - low == 1 else f"{first}{RANGE_MARK}{self.key(high - 1)}"

    def whole(self, now: Present | None) -> PartitionSet:
        """Every partition, where it is known which there are.

        Raises:
            PartitionError: that takes a present
        """
        if now is not None:
            return self.all(now)
        if self.unending:
            raise PartitionError(f"which partitions of {self} there are depends on the present", hint="give now=...")
        return self.all(FOREVER)

    def _told(self, now: Present | None) -> str:
        """Which partitions there are."""
        there = self.all(now or FOREVER)
        if not there:
            return "none yet"
        return f"all from {there.hull.first} on" if now is None and self.unending else str(there)

    def _spans(self, wanted: object, now: Present | None) -> Iterator[Span]:
        if isinstance(wanted, PartitionSet | PartitionRange):
            if wanted.partitions.domain != self.domain:
                raise PartitionError(f"{wanted} are {wanted.partitions}, not {self}")
            if isinstance(wanted, PartitionSet):
                yield from wanted.spans
            else:
                yield wanted.low, wanted.high
        elif isinstance(wanted, str):
            yield from self._spans_of_text(wanted, now)
        elif isinstance(wanted, Iterable):
            for one in wanted:
                yield from self._spans_of_item(one, now)
        else:
            ordinal = self.parse(wanted)
            yield ordinal, ordinal + 1

    def _spans_of_item(self, item: object, now: Present | None) -> Iterator[Span]:
        """What an item of a list stands for: text for the key that it is."""
        if isinstance(item, str):
            ordinal = self.parse(item)
            yield ordinal, ordinal + 1
        else:
            yield from self._spans(item, now)

    def _spans_of_text(self, text: str, now: Present | None) -> Iterator[Span]:
        for part in text.split(","):
            if part.strip() == WHOLE_MARK:
                yield from self.whole(now).spans
                continue
            first, mark, last = (word.strip() for word in part.strip().partition(RANGE_MARK))
            yield self._span_of_range(first, last, now) if mark else self._span_of_key(first, now)

    def _span_of_range(self, first: str, last: str, now: Present | None) -> Span:
        low, high = self._span_of_key(first, now)[0], self._span_of_key(last, now)[1]
        if high <= low:
            raise self._reversed(first, last)
        return low, high

    def _span_of_key(self, text: str, now: Present | None) -> Span:
        """What the text of a key, or of one end of a range, stands for."""
        ordinal = self.parse(text)
        return ordinal, ordinal + 1

    def _reversed(self, first: object, last: object) -> PartitionError:
        return PartitionError(
            f"the range {first}{RANGE_MARK}{last} is reversed",
            hint=f"write the earlier partition first: {last}{RANGE_MARK}{first}",
        )

    def _wrong(self, key: object) -> PartitionError:
        return PartitionError(
            f"{key!r} is no partition key of {self}; a key looks like {self.form}", hint=misspelt_range(key)
        )


def misspelt_range(text: object) -> str | None:
    """What to write instead of something that looks like a range, with other marks than the three dots.

    Examples:
        >>> misspelt_range("2013-01-01..2013-01-05")
        'a range has three dots: 2013-01-01...2013-01-05'
    """
    dots = re.fullmatch(r"(.*[^\s.…])?\s*(?:\.{2,}|…|\.$|^\.)\s*([^\s.…].*)?", str(text), re.DOTALL)
    if dots is None or not (dots[1] or dots[2]):
        return None
    return f"a range has three dots: {dots[1] or 'a'}{RANGE_MARK}{dots[2] or 'b'}"


def within(spans: Sequence[Span], ordinal: int) -> bool:
    """Whether an ordinal lies in one of some sorted spans."""
    i = bisect_right(spans, ordinal, key=lambda span: span[0]) - 1
    return i >= 0 and ordinal < spans[i][1]


PartitionSelection = Key | PartitionSet | Iterable[Key | PartitionSet]
"""What a person may name: a key, a range ``"a...b"`` with both ends, a set, or a list of keys as they are.

How it is read, says [Partitions.select][].
"""
