"""What is out of date, and why: a pure function of the assets and of what lineage says of them.

An input counts as changed when the *content* of a partition is another than the one that was read, not when it was
published again. Everything here is arithmetic on intervals: what it costs doesn't grow with the partitions in them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from lakehouse.asset import Asset
from lakehouse.graph import AssetGraph
from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.partitions import Multi, Now, PartitionSet, Present, TimePartitions

States = Callable[[Asset], AssetState]
"""What lineage says of an asset."""


class Cause(StrEnum):
    """Why a partition is built."""

    ASKED = "asked for"
    MISSING = "missing"
    HELD = "held back last time"
    CODE = "code changed"
    SCHEMA = "schema changed"
    CHECKS = "checks changed"
    INPUT = "changed"
    AGE = "older than"
    DUE = "due by its schedule"
    MAYBE = "if it changes"
    UPSTREAM = "missing upstream of"
    REBUILT = "upstream of"


@final
@dataclass(frozen=True)
class Reason:
    """Why some partitions of an asset are built.

    Parameters:
        cause: the kind of reason
        partitions: which of them
        about: what it is about: the consumer that needs them, the input that changed, the age that is allowed
    """

    cause: Cause
    partitions: PartitionSet
    about: str | None = None

    def __str__(self) -> str:
        match self.cause:
            case Cause.INPUT:
                return f"{self.about} changed"
            case Cause.MAYBE:
                return f"if {self.about} changes"
            case _:
                return f"{self.cause} {self.about}" if self.about else str(self.cause)


def stale(
    graph: AssetGraph,
    asset: Asset,
    wanted: PartitionSet,
    states: States,
    ready: Mapping[str, PartitionSet],
    now: Now,
) -> list[Reason]:
    """Why some partitions of an asset have to be built; each partition has one reason, the first of these.

    It was never built; it was held back; the asset's code, schema or checks are others than those that made it; an
    input has other rows than it was made from; it is too old; or its schedule has come round, if it has no inputs.

    Parameters:
        graph: all assets
        asset: the asset
        wanted: the partitions in question
        states: what lineage says of an asset
        ready: of each input, by its key, what can be made of it by now
        now: the present
    """
    state = states(asset)
    held = state.last(Status.REJECTED) & wanted
    missing = wanted - state.present
    reasons = _Reasons(wanted)
    reasons.add(Cause.HELD, missing & held)
    reasons.add(Cause.MISSING, missing)
    made = state.within(wanted)
    for cause, differs in _VERSIONS:
        reasons.add(cause, _all(wanted, (part for part, fact in made if differs(asset, fact))))
    for edge in graph.inputs(asset):
        source, mapping = states(edge.asset), graph.mapping(asset, edge, now, ready[edge.asset.key])
        touched = [
            mapping.downstream(changed) & part
            for part, fact in made
            if (changed := source.changed_since(_read(fact, edge.asset.key, source.formerly)))
        ]
        reasons.add(Cause.INPUT, _all(wanted, touched), edge.asset.key)
    reasons.add(Cause.HELD, held)
    if asset.freshness is not None and asset.freshness.max_age is not None:
        oldest = Present.of(now).now - asset.freshness.max_age
        aged = _all(wanted, (part for part, fact in made if fact.finished < oldest))
        if isinstance(asset.partitions, TimePartitions):
            newest = asset.partitions.all(now)
            aged = aged & PartitionSet(asset.partitions, tuple((high - 1, high) for _, high in newest.spans[-1:]))
        reasons.add(Cause.AGE, aged, _age(asset.freshness.max_age.total_seconds()))
    if asset.freshness is not None and not asset.inputs and not isinstance(asset.partitions, TimePartitions | Multi):
        clock = Present.of(now).now
        due = _all(wanted, (part for part, fact in made if asset.freshness.due(fact.started, clock)))
        reasons.add(Cause.DUE, due)
    return reasons.found


class _Reasons:
    """Reasons, in the order of their weight: a partition that has one gets no other."""

    def __init__(self, wanted: PartitionSet) -> None:
        self.rest = wanted
        self.found: list[Reason] = []

    def add(self, cause: Cause, partitions: PartitionSet, about: str | None = None) -> None:
        new = partitions & self.rest
        if new:
            self.found.append(Reason(cause, new, about))
            self.rest = self.rest - new


def _other_code(asset: Asset, fact: Fact) -> bool:
    return fact.code_version != asset.code_version


def _other_schema(asset: Asset, fact: Fact) -> bool:
    return asset.declared_version is None and fact.schema_version != asset.schema_version


def _other_checks(asset: Asset, fact: Fact) -> bool:
    return asset.declared_version is None and fact.checks_version != asset.checks_version


_VERSIONS: Sequence[tuple[Cause, Callable[[Asset, Fact], bool]]] = (
    (Cause.CODE, _other_code),
    (Cause.SCHEMA, _other_schema),
    (Cause.CHECKS, _other_checks),
)
"""A version that a person declared stands for code, schema and checks alike."""


def _read(fact: Fact, asset: str, formerly: Collection[str]) -> int | None:
    """The oldest version at which a publication read an input, by whatever name it had; None: it never did."""
    pins = [pin for pin in fact.inputs if pin.asset == asset] or [p for p in fact.inputs if p.asset in formerly]
    versions = [pin.version for pin in pins]
    return None if None in versions else min((v for v in versions if v is not None), default=None)


def _all(like: PartitionSet, parts: Iterable[PartitionSet]) -> PartitionSet:
    return PartitionSet(like.partitions, tuple(span for part in parts for span in part.spans))


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
