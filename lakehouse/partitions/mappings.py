"""Which partitions of an input those of its consumer are made from, and the other way round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar, final

from lakehouse.errors import DefinitionError, PartitionError, nearest, shorten
from lakehouse.partitions.core import FOREVER, Now, Partitions, PartitionSet, Span
from lakehouse.partitions.keyed import Dynamic, Static, Unpartitioned
from lakehouse.partitions.multi import Multi
from lakehouse.partitions.time import TimePartitions

_INSTANT = timedelta(microseconds=1)
_Place = TypeVar("_Place", int, datetime)


@final
@dataclass(frozen=True)
class PartitionMapping:
    """Which partitions of an upstream asset those of a downstream one are made from.

    Parameters:
        down: how the consumer is partitioned
        up: how the producer is partitioned
        now: the present, which bounds partitions that go on as time goes by
        rule: which of them; None: what is obvious from how the two are partitioned
        there: the upstream partitions that [All][] and [Last][] choose from; None: all that are over by now

    Raises:
        PartitionError: the two can't be mapped

    Examples:
        >>> from datetime import UTC, datetime
        >>> from lakehouse import Daily, Hourly
        >>> hours, days = Hourly("2013-01-01T00:00"), Daily("2013-01-01")
        >>> now = datetime(2013, 2, 1, tzinfo=UTC)
        >>> str(PartitionMapping(days, hours, now).upstream(days.select("2013-01-02")))
        '2013-01-02T00:00...2013-01-02T23:00'
        >>> str(PartitionMapping(days, days, now, Window(before=6)).upstream(days.select("2013-01-09")))
        '2013-01-03...2013-01-09'
    """

    down: Partitions
    up: Partitions
    now: Now
    rule: Rule | None = None
    there: PartitionSet | None = None

    def __post_init__(self) -> None:
        fault = misfit(self.down, self.up, self.rule)
        if fault:
            raise PartitionError(fault)

    def upstream(self, wanted: PartitionSet) -> PartitionSet:
        """The upstream partitions that downstream ones need: there yet or not, but never outside of their range."""
        _check(wanted, self.down)
        return self.up.possible(self._rule.upstream(self, wanted)) if wanted else self.up.empty()

    def downstream(self, given: PartitionSet) -> PartitionSet:
        """The downstream partitions that upstream ones feed: those that need one of them."""
        _check(given, self.up)
        return self.down.possible(self._rule.downstream(self, given)) if given else self.down.empty()

    @property
    def fixed(self) -> bool:
        """Whether what partitions need of the input is the same whatever is there of it."""
        return isinstance(self._rule, Same | Overlap | Window)

    @cached_property
    def choice(self) -> PartitionSet:
        """The upstream partitions that are there."""
        return self.up.all(self.now) if self.there is None else self.there

    @cached_property
    def _rule(self) -> Rule:
        rule = self.rule or _default(self.down, self.up)
        assert rule is not None  # it would be a misfit
        return rule


def _check(given: PartitionSet, partitions: Partitions) -> None:
    if given.partitions.domain != partitions.domain:
        raise PartitionError(f"{given} are {given.partitions}, not {partitions}")


# ── rules ─────────────────────────────────────────────────────────────────────────────────


class Rule(ABC):
    """Which partitions of an input those of its consumer are made from: see [Same][], [Overlap][] and the others."""

    @abstractmethod
    def misfit(self, down: Partitions, up: Partitions) -> str | None:
        """Why partitions can't be made from others by this rule; None where they can."""

    @abstractmethod
    def upstream(self, mapping: PartitionMapping, wanted: PartitionSet) -> PartitionSet:
        """The upstream partitions that some downstream ones need."""

    @abstractmethod
    def downstream(self, mapping: PartitionMapping, given: PartitionSet) -> PartitionSet:
        """The downstream partitions that need one of some upstream ones."""


@final
@dataclass(frozen=True)
class Same(Rule):
    """Each from its namesake: for assets that are partitioned alike, by keys, or by days of different zones.

    Examples:
        >>> from lakehouse import Daily
        >>> new_york = Daily("2013-01-01", timezone="America/New_York")
        >>> misfit(new_york, Daily("2013-01-01"), Same())
    """

    def misfit(self, down: Partitions, up: Partitions) -> str | None:
        if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
            if down.division == up.division or down.domain == up.domain:
                return _shorter(down, up, (down.low, down.high), (up.low, up.high))
            if down.kind == up.kind:
                return f"{down} begin at other times than {up}"
        if isinstance(down, Static) and isinstance(up, Static):
            absent = [key for key in down.keys if key not in up.keys]
            return f"its input has no partitions {shorten(absent)}" if absent else None
        if isinstance(down, Multi) and isinstance(up, Multi) and down.domain == up.domain:
            return _first_fault((name, misfit(one, up.dimensions[name])) for name, one in down.parts)
        if down.domain == up.domain or (isinstance(down, Static | Dynamic) and isinstance(up, Static | Dynamic)):
            return None
        return f"{down.kind} partitions have no namesakes among {up.kind} ones"

    def upstream(self, mapping: PartitionMapping, wanted: PartitionSet) -> PartitionSet:
        return _namesakes(wanted, mapping.up)

    def downstream(self, mapping: PartitionMapping, given: PartitionSet) -> PartitionSet:
        return _namesakes(given, mapping.down)


@final
@dataclass(frozen=True)
class Overlap(Rule):
    """Each piece of time from those that share some time with it: a day from its hours, an hour from its day."""

    def misfit(self, down: Partitions, up: Partitions) -> str | None:
        return _not_time(down, up) or _uncovered(down, up)

    def upstream(self, mapping: PartitionMapping, wanted: PartitionSet) -> PartitionSet:
        return carry(wanted, mapping.up, mapping.now)

    def downstream(self, mapping: PartitionMapping, given: PartitionSet) -> PartitionSet:
        return carry(given, mapping.down, mapping.now)


@final
@dataclass(frozen=True)
class Window(Rule):
    """Each piece of time from itself and some before and after it; near the ends, from what there is of them.

    Parameters:
        before: how many pieces before, counted as the consumer is partitioned; negative: only what is later than itself
        after: how many pieces after; negative: only what is earlier, so that ``Window(1, -1)`` is the one before

    Raises:
        DefinitionError: a window with nothing in it

    Examples:
        >>> from datetime import UTC, datetime
        >>> from lakehouse import Daily
        >>> days = Daily("2013-01-01")
        >>> week = PartitionMapping(days, days, datetime(2013, 2, 1, tzinfo=UTC), Window(before=6))
        >>> str(week.upstream(days.select("2013-01-03"))), str(week.downstream(days.select("2013-01-03")))
        ('2013-01-01...2013-01-03', '2013-01-03...2013-01-09')
    """

    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        if not all(isinstance(n, int) for n in (self.before, self.after)) or self.before + self.after < 0:
            raise DefinitionError(
                f"{self} holds nothing: before and after are whole numbers of pieces, together 0 or more",
                hint="the last 7 days are Window(before=6)",
            )

    def misfit(self, down: Partitions, up: Partitions) -> str | None:
        return _not_time(down, up) or _uncovered(down, up)

    def upstream(self, mapping: PartitionMapping, wanted: PartitionSet) -> PartitionSet:
        return carry(self._moved(mapping, wanted, self.before, self.after), mapping.up, mapping.now)

    def downstream(self, mapping: PartitionMapping, given: PartitionSet) -> PartitionSet:
        return self._moved(mapping, carry(given, mapping.down, mapping.now), self.after, self.before)

    def _moved(self, mapping: PartitionMapping, these: PartitionSet, before: int, after: int) -> PartitionSet:
        """Spans of the consumer that begin and end earlier or later, as far as its input reaches."""
        reach = (carry(mapping.up.all(FOREVER), mapping.down, mapping.now) | mapping.down.all(FOREVER)).hull
        moved = PartitionSet(mapping.down, tuple((low - before, high + after) for low, high in these.spans))
        return moved & PartitionSet(mapping.down, ((reach.low, reach.high),))


@final
@dataclass(frozen=True)
class Last(Rule):
    """Each from the newest upstream partition that is there."""

    def misfit(self, down: Partitions, up: Partitions) -> str | None:
        if isinstance(up, TimePartitions | Unpartitioned):
            return None
        hint = "; say it of the dimension of time: PerDimension({...: Last()})" if isinstance(up, Multi) else ""
        return f"{up.kind} partitions have no last one{hint}"

    def upstream(self, mapping: PartitionMapping, wanted: PartitionSet) -> PartitionSet:
        there = mapping.choice
        return PartitionSet(mapping.up, ((there.hull.high - 1, there.hull.high),) if there else ())

    def downstream(self, mapping: PartitionMapping, given: PartitionSet) -> PartitionSet:
        return _all_if(given & self.upstream(mapping, mapping.down.empty()), mapping)


def _all_if(fed: PartitionSet, mapping: PartitionMapping) -> PartitionSet:
    return mapping.down.all(mapping.now) if fed else mapping.down.empty()


@final
@dataclass(frozen=True)
class All(Rule):
    """Each from all upstream partitions that are there."""

    def misfit(self, down: Partitions, up: Partitions) -> str | None:
        return None

    def upstream(self, mapping: PartitionMapping, wanted: PartitionSet) -> PartitionSet:
        return PartitionSet(mapping.up, mapping.choice.spans)

    def downstream(self, mapping: PartitionMapping, given: PartitionSet) -> PartitionSet:
        return _all_if(given & self.upstream(mapping, mapping.down.empty()), mapping)


@final
@dataclass(frozen=True, init=False)
class PerDimension(Rule):
    """Each dimension by a rule of its own.

    Dimensions go by their names. One that is left out goes by what is obvious, and one that only one of the two
    has, by [All][]. Where one of the two has no dimensions, it goes with the one that is partitioned alike, or with
    the one that a rule is given for.

    Parameters:
        rules: rules by the name of the dimension

    Examples:
        >>> from datetime import UTC, datetime
        >>> from lakehouse import Daily, Multi, Static
        >>> sales = Multi({"region": Static(["us", "eu"]), "date": Daily("2013-01-01")})
        >>> now = datetime(2013, 2, 1, tzinfo=UTC)
        >>> week = PartitionMapping(sales, sales, now, PerDimension({"date": Window(before=6)}))
        >>> str(week.upstream(sales.select("eu|2013-01-09")))
        'eu|2013-01-03...2013-01-09'
    """

    rules: tuple[tuple[str, Rule], ...]

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        if not isinstance(rules, Mapping) or not all(isinstance(rule, Rule) for rule in rules.values()):
            raise DefinitionError(
                f"PerDimension takes a rule for each name; given {rules!r:.100}",
                hint="e.g. PerDimension({'date': Window(before=6)})",
            )
        object.__setattr__(self, "rules", tuple(rules.items()))

    def misfit(self, down: Partitions, up: Partitions) -> str | None:
        rules = dict(self.rules)
        downs, ups = _sides(down, up, rules)
        if not downs or not ups:
            many = down if isinstance(down, Multi) else up
            names = many.dimensions if isinstance(many, Multi) else {}
            return (
                f"it isn't clear which dimension of {many.label} goes with what"
                if names
                else f"neither {down.kind} nor {up.kind} partitions have dimensions"
            ) + (f"; say it with a rule: PerDimension({{{next(iter(names))!r}: Same()}})" if names else "")
        odd = [name for name in rules if name not in ups]
        if odd:
            known = [name for name in ups if name]
            hint = nearest(odd[0], known)
            return f"its input has no dimension {odd[0]!r}; there are {shorten(known)}" + (f"; {hint}" if hint else "")
        return _first_fault(
            (name, misfit(downs.get(name, Unpartitioned()), one, rules.get(name))) for name, one in ups.items()
        )

    def upstream(self, mapping: PartitionMapping, wanted: PartitionSet) -> PartitionSet:
        downs, ups, by_name = self._each(mapping)
        images = {name: _Images(one.upstream) for name, one in by_name.items()}
        spans: list[Span] = []
        for box in _boxes(wanted, downs):
            sets = {name: images[name](box[name] if name in downs else _WHOLE) for name in ups}
            spans += _product(mapping.up, sets)
        return PartitionSet(mapping.up, tuple(spans))

    def downstream(self, mapping: PartitionMapping, given: PartitionSet) -> PartitionSet:
        downs, ups, by_name = self._each(mapping)
        images = {name: _Images(one.downstream) for name, one in by_name.items()}
        rest = {name: one.all(mapping.now) for name, one in downs.items() if name not in ups}
        spans: list[Span] = []
        for box in _boxes(given, ups):
            sets = {name: images[name](box[name]) for name in ups}
            if all(sets.values()):
                spans += _product(mapping.down, {name: rest[name] if name in rest else sets[name] for name in downs})
        return PartitionSet(mapping.down, tuple(spans))

    def _each(
        self, mapping: PartitionMapping
    ) -> tuple[Mapping[str, Partitions], Mapping[str, Partitions], Mapping[str, PartitionMapping]]:
        rules = dict(self.rules)
        downs, ups = _sides(mapping.down, mapping.up, rules)
        return (
            downs,
            ups,
            {
                name: PartitionMapping(
                    downs.get(name, Unpartitioned()), one, mapping.now, rules.get(name), _side(mapping.there, name)
                )
                for name, one in ups.items()
            },
        )


_WHOLE = PartitionSet(Unpartitioned(), ((0, 1),))


class _Images:
    """The images of sets under a mapping, each worked out once: products have the same sides again and again."""

    def __init__(self, image: Callable[[PartitionSet], PartitionSet]) -> None:
        self._image = image
        self._known: dict[tuple[Span, ...], PartitionSet] = {}

    def __call__(self, these: PartitionSet) -> PartitionSet:
        if these.spans not in self._known:
            self._known[these.spans] = self._image(these)
        return self._known[these.spans]


def _sides(
    down: Partitions, up: Partitions, rules: Mapping[str, Rule]
) -> tuple[Mapping[str, Partitions], Mapping[str, Partitions]]:
    """The dimensions of both by name, one without dimensions under the name that it goes with; empty: not clear."""
    if isinstance(down, Multi) and isinstance(up, Multi):
        shared = down.dimensions.keys() & up.dimensions.keys()
        return (down.dimensions, up.dimensions) if shared else ({}, {})
    if isinstance(down, Multi):
        name = _counterpart(up, down, rules)
        return (down.dimensions, {name: up}) if name else ({}, {})
    if isinstance(up, Multi):
        name = _counterpart(down, up, rules)
        return ({name: down}, up.dimensions) if name else ({}, {})
    return {}, {}


def _counterpart(one: Partitions, many: Multi, rules: Mapping[str, Rule]) -> str | None:
    """The dimension that partitions without dimensions go with."""
    said = [name for name, rule in rules.items() if name in many.dimensions and not isinstance(rule, All | Last)]
    alike = [name for name, other in many.parts if other.domain == one.domain]
    near = [name for name, other in many.parts if _default(one, other) is not None]
    found = said or alike or near
    return found[0] if len(found) == 1 else None


def _side(there: PartitionSet | None, name: str) -> PartitionSet | None:
    if there is None or not isinstance(there.partitions, Multi):
        return there
    return there.partitions.project(there, name)


def _boxes(these: PartitionSet, sides: Mapping[str, Partitions]) -> Iterator[Mapping[str, PartitionSet]]:
    """A set as products of partitions of each dimension."""
    if isinstance(these.partitions, Multi):
        for box in these.partitions.boxes(these):
            yield {name: PartitionSet(sides[name], (span,)) for name, span in box.items()}
    else:
        yield dict.fromkeys(sides, these)


def _product(target: Partitions, sets: Mapping[str, PartitionSet]) -> Iterator[Span]:
    if isinstance(target, Multi):
        return target.product(sets)
    (only,) = sets.values()
    return iter(only.spans)


# ── what fits ─────────────────────────────────────────────────────────────────────────────


def misfit(down: Partitions, up: Partitions, rule: Rule | None = None) -> str | None:
    """Say why partitions can't be made from others; None where they can.

    Parameters:
        down: how the consumer is partitioned
        up: how the producer is partitioned
        rule: which of the producer's partitions are meant; None: what is obvious from how the two are partitioned

    Examples:
        >>> from lakehouse import Daily
        >>> misfit(Daily("2013-01-01"), Daily("2014-01-01"))
        'it begins at 2013-01-01, its input only at 2014-01-01'
    """
    found = rule or _default(down, up)
    if found is None:
        return f"{down.kind} partitions can't be made from {up.kind} ones, unless a rule says how: From(asset, All())"
    return found.misfit(down, up)


def _default(down: Partitions, up: Partitions) -> Rule | None:
    """The rule that is obvious from how two assets are partitioned."""
    if isinstance(down, Unpartitioned) or isinstance(up, Unpartitioned):
        return All()
    if down.domain == up.domain:
        return Same()
    if isinstance(down, Multi) or isinstance(up, Multi):
        return PerDimension({})
    if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
        return Overlap()
    if isinstance(down, Static | Dynamic) and isinstance(up, Static | Dynamic):
        return Same()
    return None


def _not_time(down: Partitions, up: Partitions) -> str | None:
    for one in (down, up):
        if not isinstance(one, TimePartitions):
            return f"{one.kind} partitions are no pieces of time"
    return None


def _uncovered(down: Partitions, up: Partitions) -> str | None:
    assert isinstance(down, TimePartitions)
    assert isinstance(up, TimePartitions)
    return _shorter(
        down,
        up,
        (down.instant(down.low), None if down.high is None else down.instant(down.high)),
        (up.instant(up.low), None if up.high is None else up.instant(up.high)),
    )


def _shorter(
    down: TimePartitions, up: TimePartitions, ours: tuple[_Place, _Place | None], theirs: tuple[_Place, _Place | None]
) -> str | None:
    """Say where an input doesn't reach as far as its consumer."""
    if theirs[0] > ours[0]:
        return f"it begins at {down.start}, its input only at {up.start}"
    if theirs[1] is not None and (ours[1] is None or theirs[1] < ours[1]):
        return f"it ends at {down.end or 'no time'}, its input already at {up.end}"
    return None


def _first_fault(faults: Iterator[tuple[str, str | None]]) -> str | None:
    return next((f"by {name}, {fault}" for name, fault in faults if fault), None)


# ── sets in other partitions' terms ───────────────────────────────────────────────────────


def carry(these: PartitionSet, target: Partitions, now: Now) -> PartitionSet:
    """The partitions of one definition that share some time (or key) with those of another, in range or not.

    Examples:
        >>> from datetime import UTC, datetime
        >>> from lakehouse import Daily, Monthly
        >>> str(carry(Monthly("2013-01").select("2013-02"), Daily("2013-01-01"), datetime(2014, 1, 1, tzinfo=UTC)))
        '2013-02-01...2013-02-28'
    """
    source = these.partitions
    if not these:
        return target.empty()
    if source.domain == target.domain:
        return PartitionSet(target, these.spans)
    if isinstance(source, TimePartitions) and isinstance(target, TimePartitions):
        instants = ((source.instant(low), source.instant(high)) for low, high in these.spans)
        return PartitionSet(
            target,
            tuple((target.ordinal_at(begin), target.ordinal_at(end - _INSTANT) + 1) for begin, end in instants),
        )
    if isinstance(source, Static | Dynamic) and isinstance(target, Static | Dynamic):
        return _namesakes(these, target)
    return target.all(now)


def _namesakes(these: PartitionSet, target: Partitions) -> PartitionSet:
    """The partitions of the same names."""
    if not (isinstance(these.partitions, Static | Dynamic) and isinstance(target, Static | Dynamic)):
        return PartitionSet(target, these.spans)
    if these.partitions.domain == target.domain:
        return PartitionSet(target, these.spans)
    ordinals: list[int] = []
    for key in these:
        with suppress(PartitionError):
            ordinals.append(target.parse(key))
    return PartitionSet(target, tuple((o, o + 1) for o in ordinals))
