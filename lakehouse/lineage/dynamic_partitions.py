"""Dynamic partitions: which keys are registered under a name, kept in lineage as facts.

A fact's version says which of them came after which: one more than the highest that was known when it was written. What
was done last counts, whatever the clocks say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lakehouse.definitions.asset import Asset
from lakehouse.errors import PartitionError, nearest, shorten
from lakehouse.lineage import Fact, LineageReader, LineageStore, Status
from lakehouse.lineage.recorder import Recorder
from lakehouse.partitions import Dynamic, Multi, Partitions, PartitionSet


def dynamics(partitions: Partitions) -> Iterator[Dynamic]:
    """The dynamic partitions that a definition is, or has among its dimensions."""
    if isinstance(partitions, Dynamic):
        yield partitions
    elif isinstance(partitions, Multi):
        for _, part in partitions.parts:
            yield from dynamics(part)


def dynamic_of(asset: Asset, dimension: str | None = None) -> Dynamic:
    """The dynamic partitions of an asset.

    Parameters:
        asset: the asset
        dimension: the dimension that they are, of several; None: the only one that is dynamic

    Raises:
        PartitionError: there are none, or it isn't said which
    """
    whole = asset.partitions
    several = whole.dimensions if isinstance(whole, Multi) else {}
    if dimension is not None and dimension not in several:
        hint = nearest(dimension, several)
        raise PartitionError(f"{dimension!r} is no dimension of {asset.key} ({whole})", hint=hint)
    named = {dimension: several[dimension]} if dimension is not None else several or {"": whole}
    found = {name: one for name, one in named.items() if isinstance(one, Dynamic)}
    if not found:
        along = f" along {dimension}" if dimension is not None else ""
        raise PartitionError(
            f"{asset.key} ({whole}) has no dynamic partitions{along}",
            hint="keys are registered for Dynamic(...) alone",
        )
    if len({one.name for one in found.values()}) > 1:
        raise PartitionError(
            f"{asset.key} has dynamic partitions along {shorten(found)}, and it isn't said which are meant",
            hint="say dimension=, on the command line --dimension",
        )
    return next(iter(found.values()))


def dynamic_keys(part: PartitionSet) -> Iterator[tuple[str, PartitionSet]]:
    """The keys of dynamic partitions that occur in a set, by the name that they are registered under."""
    match part.partitions:
        case Dynamic() as one:
            yield one.name, part
        case Multi() as several:
            for dimension, side in several.parts:
                if isinstance(side, Dynamic):
                    yield side.name, several.project(part, dimension)


def registered(lineage: LineageReader, definition: Dynamic) -> PartitionSet:
    """The keys that are registered now."""
    return _fold(definition, lineage.facts(_home(definition)))


def register(
    lineage: LineageStore, definition: Dynamic, keys: Iterable[str], *, users: Iterable[Partitions] = ()
) -> PartitionSet:
    """Register keys.

    Parameters:
        lineage: where they are kept
        definition: the dynamic partitions
        keys: the keys
        users: how assets are partitioned that share them, alone or as a dimension of several

    Returns:
        those that were not there

    Raises:
        PartitionError: a key that can't be one, for itself or beside the other dimensions of a user
    """
    wanted = definition.of_keys(keys)
    check_room(wanted, users)
    facts = lineage.facts(_home(definition))
    new = wanted - _fold(definition, facts)
    if new:
        lineage.append([_next(definition, Status.REGISTERED, new, facts)])
    return new


def retire(lineage: LineageStore, definition: Dynamic, keys: Iterable[str]) -> PartitionSet:
    """Take keys out of the register; returns those that were there. What was built of them stays.

    Raises:
        PartitionError: a key that can't be one
    """
    facts = lineage.facts(_home(definition))
    gone = definition.of_keys(keys) & _fold(definition, facts)
    if gone:
        lineage.append([_next(definition, Status.RETIRED, gone, facts)])
    return gone


def _fold(definition: Dynamic, facts: Iterable[Fact]) -> PartitionSet:
    there = definition.empty()
    for fact in sorted(facts, key=lambda fact: (_number(fact), fact.id)):
        these = definition.from_pairs(fact.partitions)
        there = there | these if fact.status is Status.REGISTERED else there - these
    return there


def _next(definition: Dynamic, status: Status, keys: PartitionSet, known: Iterable[Fact]) -> Fact:
    """The fact that comes after all that are known."""
    number = 1 + max(map(_number, known), default=0)
    return Recorder(asset=_home(definition)).fact(status, keys, version=number)


def _number(fact: Fact) -> int:
    return fact.version or 0  # the first ones had none


def check_room(keys: PartitionSet, users: Iterable[Partitions]) -> None:
    """See that keys have room in storage beside the other dimensions of whoever shares them.

    Raises:
        PartitionError: one has not
    """
    for several in users:
        if isinstance(several, Multi) and keys.partitions.domain in (one.domain for _, one in several.parts):
            for ordinal in keys.ordinals():
                if (length := len(keys.partitions.token(ordinal))) > several.room:
                    raise PartitionError(
                        f"{keys.partitions.key(ordinal)!r:.200} takes {length} characters in a path, and beside the "
                        f"other dimensions of {several.form} there is room for {several.room}",
                        hint="a letter of the alphabet, a digit, - and _ take one; any other character three for each "
                        "byte",
                    )


def _home(definition: Dynamic) -> str:
    """What stands where an asset's key does. No asset has such a key: it names no layer."""
    return f"partitions.{definition.name}"
