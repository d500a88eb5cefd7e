"""Partitions of several dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, final

from lakehouse.errors import DefinitionError, PartitionError, nearest, shorten
from lakehouse.partitions.core import (
    LONGEST_TOKEN,
    RANGE_MARK,
    WHOLE_MARK,
    Key,
    Now,
    Pairs,
    PartitionRange,
    Partitions,
    PartitionSet,
    Present,
    Span,
    within,
)
from lakehouse.partitions.keyed import Dynamic, Static
from lakehouse.partitions.time import TimePartitions

BAR = "|"
_DOT = "."
"""What stands between the tokens of dimensions: no token has it, nor is one the beginning of another with it."""


@final
@dataclass(frozen=True)
class _Field:
    """The bits of an ordinal that hold one dimension's ordinal.

    Parameters:
        name: the dimension
        partitions: how it is partitioned
        shift: how many bits are below
    """

    name: str
    partitions: Partitions
    shift: int

    @property
    def width(self) -> int:
        """How many bits it has: so many that the last ordinal is never reached, and spans of neighbours never touch."""
        match self.partitions:
            case TimePartitions():
                return 41
            case Dynamic():
                return 1616
            case _:
                return 32

    @property
    def bias(self) -> int:
        """What is added, so that nothing is negative: times before 1970 may be."""
        return 1 << 40 if isinstance(self.partitions, TimePartitions) else 0

    def put(self, ordinal: int) -> int:
        """A dimension's ordinal in its place."""
        return (ordinal + self.bias) << self.shift

    def take(self, ordinal: int) -> int:
        """The dimension's part of an ordinal."""
        return ((ordinal >> self.shift) & ((1 << self.width) - 1)) - self.bias


@final
@dataclass(frozen=True, kw_only=True)
class Multi(Partitions):
    """A partition for each combination of the partitions of several dimensions.

    Its key is that of each dimension, in the order in which they are declared, with ``|`` between. One time
    dimension (the last, if there are several) is special: a range of it, with all others fixed, is one interval.

    Parameters:
        dimensions: the dimensions by name, any number; each says its own column

    Raises:
        DefinitionError: no dimensions, or one that can't be

    Examples:
        >>> from lakehouse import Daily
        >>> sales = Multi({"region": Static(["us", "eu"]), "date": Daily("2013-01-01", end="2014-01-01")})
        >>> sales.select("us|2013-01-30...2013-02-01").keys()
        ['us|2013-01-30', 'us|2013-01-31', 'us|2013-02-01']
        >>> len(sales.select("*|2013-02")), len(sales.select({"region": "eu"}))
        (56, 365)
    """

    parts: tuple[tuple[str, Partitions], ...]
    kind: ClassVar[str] = "multi"

    def __init__(self, dimensions: Mapping[str, Partitions]) -> None:
        if not isinstance(dimensions, Mapping) or not dimensions:
            raise DefinitionError(
                f"partitions of several dimensions need a name for each; given {dimensions!r:.100}",
                hint="e.g. Multi({'region': Static([...], column='region'), 'date': Daily(..., column='date')})",
            )
        for name, one in dimensions.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise DefinitionError(f"{name!r} is no name for a dimension", hint="use letters, digits and _")
            if not isinstance(one, TimePartitions | Static | Dynamic):
                raise DefinitionError(
                    f"{one!r:.100} can't be the dimension {name!r}", hint="a dimension is time, Static or Dynamic"
                )
            barred = [key for key in one.keys if BAR in key] if isinstance(one, Static) else []
            if barred:
                raise DefinitionError(
                    f"the key {barred[0]!r} of the dimension {name!r} has a {BAR}, which stands between dimensions"
                )
        object.__setattr__(self, "parts", tuple(dimensions.items()))
        object.__setattr__(self, "column", None)
        if self.room < any(isinstance(one, Dynamic) for _, one in self.parts):
            raise DefinitionError(
                f"the keys of {self.form} are together too long for a name in storage: they may take {LONGEST_TOKEN} "
                "characters",
                hint="a letter of the alphabet, a digit, - and _ take one; any other character three for each byte",
            )

    @cached_property
    def dimensions(self) -> Mapping[str, Partitions]:
        """The dimensions by name, as they were declared."""
        return dict(self.parts)

    @property
    def columns(self) -> tuple[str, ...]:
        columns = tuple(one.column for _, one in self.parts if one.column)
        return columns if len(columns) == len(self.parts) else ()

    def told_by(self, column: str) -> Multi:
        """These very partitions: each dimension names its own column."""
        return self

    def including(self, pairs: Pairs) -> Multi:
        listed = {key: key.split(BAR) for pair in pairs for key in pair}
        words = [found for found in listed.values() if len(found) == len(self.parts)]
        more = {
            name: one.including(tuple((found[place], found[place]) for found in words))
            for place, (name, one) in enumerate(self.parts)
        }
        return self if all(more[name] is one for name, one in self.parts) else Multi(more)

    @cached_property
    def fields(self) -> tuple[_Field, ...]:
        """Where each dimension is in an ordinal, the highest first: as declared, but for the time, which is lowest."""
        times = [name for name, one in self.parts if isinstance(one, TimePartitions)]
        order = sorted(self.parts, key=lambda part: part[0] == (times or [""])[-1])
        placed: list[_Field] = []
        shift = 0
        for name, one in reversed(order):
            placed.append(_Field(name, one, shift))
            shift += placed[-1].width
        return tuple(reversed(placed))

    @cached_property
    def _named(self) -> Mapping[str, _Field]:
        return {field.name: field for field in self.fields}

    @property
    def _fast(self) -> _Field:
        return self.fields[-1]

    @cached_property
    def room(self) -> int:
        """How many characters of a name in storage are left to the key of each dynamic dimension."""
        dynamic = sum(isinstance(one, Dynamic) for _, one in self.parts)
        left = LONGEST_TOKEN - len(self.parts) + 1 - sum(_longest(one) for _, one in self.parts)
        return min(Dynamic.LONGEST, left // dynamic) if dynamic else left

    @property
    def ordered(self) -> bool:
        return self._fast.partitions.ordered

    @property
    def scattered(self) -> bool:
        return True

    @property
    def unending(self) -> bool:
        return any(one.unending for _, one in self.parts)

    @property
    def label(self) -> str:
        return self.form

    @property
    def domain(self) -> tuple[Any, ...]:
        return (self.kind, *((name, one.domain) for name, one in self.parts))

    @property
    def spec(self) -> str:
        return f" {BAR} ".join(f"{name}: {one.spec}" for name, one in self.parts)

    @property
    def form(self) -> str:
        return BAR.join(name for name, _ in self.parts)

    # ── keys ──────────────────────────────────────────────────────────────────────────────

    def key(self, ordinal: int) -> str:
        return BAR.join(one.key(self._named[name].take(ordinal)) for name, one in self.parts)

    def parse(self, key: object) -> int:
        words: Mapping[str, object]
        if isinstance(key, Mapping):
            self._check_names(key)
            words = key
        else:
            found = key.split(BAR) if isinstance(key, str) else []
            words = {name: word for (name, _), word in zip(self.parts, found, strict=False)}
            if len(found) != len(self.parts):
                raise self._wrong(key)
        lacking = [name for name, _ in self.parts if name not in words]
        if lacking:
            raise PartitionError(f"{key!r} says nothing of {shorten(lacking)}, so it is no key of one partition")
        return sum(field.put(field.partitions.parse(words[field.name])) for field in self.fields)

    def token(self, ordinal: int) -> str:
        return _DOT.join(field.partitions.token(field.take(ordinal)) for field in self.fields)

    def from_token(self, token: str) -> int:
        words = token.split(_DOT)
        if len(words) != len(self.fields):
            raise PartitionError(f"{token!r} names no partition in storage")
        placed = zip(self.fields, words, strict=True)
        return sum(field.put(field.partitions.from_token(word)) for field, word in placed)

    def text(self, low: int, high: int) -> str:
        if not self.contiguous(low, high):
            return f"{self.key(low)}{RANGE_MARK}{self.key(high - 1)}"
        ranges = (self.along(name, low, high) for name, _ in self.parts)
        return BAR.join(map(str, ranges))

    # ── dimensions ────────────────────────────────────────────────────────────────────────

    def along(self, name: str, low: int, high: int) -> PartitionRange:
        self._check_names([name])
        if not self.contiguous(low, high):
            raise PartitionError(
                f"{self.text(low, high)} spans more than one combination, so it has no range of {name!r}",
                hint="take one of the set's ranges",
            )
        field = self._named[name]
        first = field.take(low)
        return PartitionRange(field.partitions, first, first + (high - low if field is self._fast else 1))

    def contiguous(self, low: int, high: int) -> bool:
        # All dimensions but the fast one are the same at both ends.
        return low >> self._fast.width == (high - 1) >> self._fast.width

    def moments(self, low: int, high: int) -> tuple[datetime, datetime]:
        times = [name for name, one in self.parts if isinstance(one, TimePartitions)]
        if len(times) != 1:
            raise PartitionError(
                f"{self} have {len(times) or 'no'} dimensions of time, so it isn't clear which start and end are meant",
                hint="use .dimension(name)",
            )
        found = self.along(times[0], low, high)
        return found.start, found.end

    def project(self, chosen: PartitionSet, name: str) -> PartitionSet:
        """The partitions of one dimension that occur in a set."""
        field = self._named[name]
        if field is self._fast:
            spans = {self._fast_span(span) for span in chosen.spans}
        else:
            spans = {(o, o + 1) for o in {field.take(low) for low, _ in chosen.spans}}
        return PartitionSet(field.partitions, tuple(spans))

    def boxes(self, chosen: PartitionSet) -> Iterator[Mapping[str, Span]]:
        """A set as products: for each of its spans, the span of each dimension."""
        for span in chosen.spans:
            slow = ((field.name, field.take(span[0])) for field in self.fields[:-1])
            yield {**{name: (at, at + 1) for name, at in slow}, self._fast.name: self._fast_span(span)}

    def product(self, sets: Mapping[str, PartitionSet]) -> Iterator[Span]:
        """The spans of all combinations of some partitions of each dimension."""
        *slow, fast = self.fields
        spans = [(fast.put(low), fast.put(high)) for low, high in sets[fast.name].spans]
        for combination in itertools.product(*(sets[field.name].ordinals() for field in slow)):
            base = sum(field.put(ordinal) for field, ordinal in zip(slow, combination, strict=True))
            yield from ((base + low, base + high) for low, high in spans)

    def all(self, now: Now) -> PartitionSet:
        sets = {name: one.all(now) for name, one in self.parts}
        there = PartitionSet(self, tuple(self.product(sets)))
        self._check_names_in_storage(there, sets)
        return there

    def possible(self, chosen: PartitionSet) -> PartitionSet:
        allowed = {name: one.possible(self.project(chosen, name)) for name, one in self.parts}
        *slow, fast = self.fields
        spans: list[Span] = []
        for low, high in chosen.spans:
            if all(within(allowed[field.name].spans, field.take(low)) for field in slow):
                base = low - fast.put(fast.take(low))
                here = PartitionSet(fast.partitions, (self._fast_span((low, high)),)) & allowed[fast.name]
                spans += ((base + fast.put(first), base + fast.put(end)) for first, end in here.spans)
        return PartitionSet(self, tuple(spans))

    def check_range(self, chosen: PartitionSet, now: Present | None) -> None:
        # What is there is a product: a set is in it if each of its sides is.
        sides = {name: self.project(chosen, name) for name, _ in self.parts}
        for name, one in self.parts:
            one.check_range(sides[name], now)
        self._check_names_in_storage(chosen, sides)

    def _check_names_in_storage(self, chosen: PartitionSet, sides: Mapping[str, PartitionSet]) -> None:
        """See that no name in storage is too long: dynamic keys may each fit, and not together."""
        most = len(self.parts) - 1 + sum(_longest(one, sides[name]) for name, one in self.parts)
        if most <= LONGEST_TOKEN:
            return
        one_each = isinstance(self._fast.partitions, TimePartitions)
        for low, high in chosen.spans:
            for ordinal in (low,) if one_each else range(low, high):
                if (length := len(self.token(ordinal))) > LONGEST_TOKEN:
                    raise PartitionError(
                        f"the keys of {self.key(ordinal)!r:.200} are together too long for a name in storage: "
                        f"{length} characters, where {LONGEST_TOKEN} is the most",
                        hint="take one of them out of the register, and give it a shorter name",
                    )

    # ── what people write ─────────────────────────────────────────────────────────────────

    def range(self, first: Key, last: Key) -> PartitionRange:
        found = super().range(first, last)
        if not self.contiguous(found.low, found.high):
            raise PartitionError(
                f"{first}{RANGE_MARK}{last} is no range of {self}: it spans more than one combination",
                hint=f"give each dimension its own range, with {BAR} between: {self.form}",
            )
        return found

    def _spans(self, wanted: object, now: Present | None) -> Iterator[Span]:
        if isinstance(wanted, Mapping):
            yield from self._product_of(wanted, now)
        elif isinstance(wanted, PartitionRange) and not self.contiguous(wanted.low, wanted.high):
            raise PartitionError(f"{wanted} spans more than one combination", hint="give a set instead")
        else:
            yield from super()._spans(wanted, now)

    def _spans_of_item(self, item: object, now: Present | None) -> Iterator[Span]:
        if isinstance(item, str):
            try:
                yield from super()._spans_of_item(item, now)
            except PartitionError:
                # Of time, it may be a range. A dimension's own words are items too: keys, as they are.
                words = item.split(BAR)
                if len(words) != len(self.parts):
                    raise
                named = zip(self.parts, words, strict=True)
                yield from self._product_of({name: [word] for (name, _), word in named}, now)
        elif isinstance(item, Mapping):
            literal = {name: [word] if isinstance(word, str) else word for name, word in item.items()}
            yield from self._product_of(literal, now)
        else:
            yield from super()._spans_of_item(item, now)

    def _spans_of_text(self, text: str, now: Present | None) -> Iterator[Span]:
        if text.strip() == WHOLE_MARK:
            yield from self._product_of({}, now)
            return
        bars = len(self.parts) - 1
        # Commas lie between a dimension's own keys, or between whole selections; the bars tell.
        selections = [text] if text.count(BAR) == bars else text.split(",")
        for selection in selections:
            words = selection.split(BAR)
            if len(words) != len(self.parts):
                raise self._wrong(selection.strip())
            yield from self._product_of({name: word for (name, _), word in zip(self.parts, words, strict=True)}, now)

    def _product_of(self, wanted: Mapping[str, object], now: Present | None) -> Iterator[Span]:
        self._check_names(wanted)
        sets = {}
        for name, one in self.parts:
            sets[name] = one.named(wanted[name], now=now) if name in wanted else one.whole(now)
        return self.product(sets)

    def _check_names(self, given: Any) -> None:
        for name in given:
            if name not in self.dimensions:
                raise PartitionError(
                    f"{name!r} is no dimension of {self}; there are {shorten(self.dimensions)}",
                    hint=nearest(str(name), self.dimensions),
                )

    # ── ordinals ──────────────────────────────────────────────────────────────────────────

    def _fast_span(self, span: Span) -> Span:
        low = self._fast.take(span[0])
        return low, low + span[1] - span[0]

    def __str__(self) -> str:
        return BAR.join(f"{name} ({one})" for name, one in self.parts)


def _longest(one: Partitions, these: PartitionSet | None = None) -> int:
    """How long a dimension's name in storage is at most; of a dynamic one, whose keys are not known, among some."""
    match one:
        case Static():
            return one.longest
        case TimePartitions():
            return len(one.token(one.low))
        case _ if not these:
            return 0
        case _:
            # Ordinals go by the length of their keys first. A byte takes three characters at most.
            return 3 * len(one.key(these.spans[-1][0]).encode())
