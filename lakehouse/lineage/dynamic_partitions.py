"""Dynamic partitions: which keys are registered under a name, kept in lineage as facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lakehouse.lineage import LineageReader, LineageStore, Status
from lakehouse.lineage.recorder import Recorder
from lakehouse.partitions import Dynamic, Multi, Partitions, PartitionSet


def dynamics(partitions: Partitions) -> Iterator[Dynamic]:
    """The dynamic partitions that a definition is, or has among its dimensions."""
    if isinstance(partitions, Dynamic):
        yield partitions
    elif isinstance(partitions, Multi):
        for _, part in partitions.parts:
            yield from dynamics(part)


def registered(lineage: LineageReader, definition: Dynamic) -> PartitionSet:
    """The keys that are registered now."""
    there = definition.empty()
    for fact in lineage.facts(_home(definition)):
        these = definition.from_pairs(fact.partitions)
        there = there | these if fact.status is Status.REGISTERED else there - these
    return there


def register(lineage: LineageStore, definition: Dynamic, keys: Iterable[str]) -> PartitionSet:
    """Register keys; returns those that were not there.

    Raises:
        PartitionError: a key that can't be one
    """
    new = _set(definition, keys) - registered(lineage, definition)
    if new:
        lineage.append([Recorder(asset=_home(definition)).fact(Status.REGISTERED, new)])
    return new


def retire(lineage: LineageStore, definition: Dynamic, keys: Iterable[str]) -> PartitionSet:
    """Take keys out of the register; returns those that were there. What was built of them stays.

    Raises:
        PartitionError: a key that can't be one
    """
    gone = _set(definition, keys) & registered(lineage, definition)
    if gone:
        lineage.append([Recorder(asset=_home(definition)).fact(Status.RETIRED, gone)])
    return gone


def _set(definition: Dynamic, keys: Iterable[str]) -> PartitionSet:
    ordinals = [definition.parse(key) for key in keys]
    return PartitionSet(definition, tuple((o, o + 1) for o in ordinals))


def _home(definition: Dynamic) -> str:
    """What stands where an asset's key does. No asset has such a key: it names no layer."""
    return f"partitions.{definition.name}"
