"""What is out of date, and why: a pure function of the assets and of what lineage says of them.

An input counts as changed when the *content* of a partition is another than the one that was read, not when it was
published again. Everything here is arithmetic on intervals: what it costs doesn't grow with the partitions in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph, Edge
from lakehouse.durations import format_duration
from lakehouse.lineage import AssetState, Fact
from lakehouse.lineage.reads import Reads
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
    held = state.held & wanted
    missing = wanted - state.present
    reasons = _Reasons(wanted)
    reasons.add(Cause.HELD, missing & held)
    reasons.add(Cause.MISSING, missing)
    made, reads = state.within(wanted), Reads(graph, states, now)
    for cause, differs in _VERSIONS:
        reasons.add(cause, asset.partitions.union(part for part, fact in made if differs(asset, fact)))
    reasons.add(Cause.CODE, asset.partitions.union(part for part, fact in made if _other_inputs(reads, asset, fact)))
    for edge in graph.inputs(asset):
        touched = _by_input(reads, asset, edge, made, ready[edge.asset.key])
        reasons.add(Cause.INPUT, asset.partitions.union(touched), edge.asset.key)
    reasons.add(Cause.HELD, held)
    if asset.freshness is not None and asset.freshness.max_age is not None:
        clock, age = Present.of(now).now, asset.freshness.max_age
        listed = made
        if isinstance(asset.partitions, TimePartitions):
            last = tuple((high - 1, high) for _, high in asset.partitions.all(now).spans[-1:])
            newest = PartitionSet(asset.partitions, last) & wanted
            # One fact that stands for several doesn't tell the age of each.
            listed = (state.exact if newest & state.merged else state).within(newest)
        # What was made further ahead than that was made by a machine whose clock is wrong: nobody knows how old it is.
        aged = asset.partitions.union(part for part, fact in listed if not -age <= clock - fact.finished <= age)
        reasons.add(Cause.AGE, aged, format_duration(asset.freshness.max_age))
    if asset.freshness is not None and not asset.inputs and not isinstance(asset.partitions, TimePartitions | Multi):
        clock = Present.of(now).now
        due = asset.partitions.union(part for part, fact in made if asset.freshness.due(fact.started, clock))
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
    return not asset.same_code(fact.code_version)


def _other_schema(asset: Asset, fact: Fact) -> bool:
    return not asset.same_schema(fact.schema_version)


def _other_checks(asset: Asset, fact: Fact) -> bool:
    return not asset.same_checks(fact.checks_version)


_VERSIONS: Sequence[tuple[Cause, Callable[[Asset, Fact], bool]]] = (
    (Cause.CODE, _other_code),
    (Cause.SCHEMA, _other_schema),
    (Cause.CHECKS, _other_checks),
)
"""A version that a person declared stands for code, schema and checks alike."""


def _other_inputs(reads: Reads, asset: Asset, fact: Fact) -> bool:
    """Whether a publication was made from other assets than it would be now, or from the same in another order."""
    if asset.declared_version is not None:
        return False
    sources = ((reads.source(asset, pin.asset), pin.asset) for pin in fact.inputs)
    read = [key for key, _ in groupby(name if source is None else source.key for source, name in sources)]
    return read != [key for key, _ in groupby(edge.asset.key for edge in reads.graph.inputs(asset))]


def _by_input(
    reads: Reads, asset: Asset, edge: Edge, made: Sequence[tuple[PartitionSet, Fact]], ready: PartitionSet
) -> Iterator[PartitionSet]:
    """The partitions of publications of which an input is another, or has other rows, than they were made from."""
    source, union = reads.states(edge.asset), edge.asset.partitions.union
    mapping = reads.graph.mapping(asset, edge, reads.now, ready)
    known, whole = ready & source.present, edge.asset.partitions.all(reads.now)
    for part, fact in made:
        found = reads.of(fact, edge.asset)
        if any(source.meaning.before is not None and (one.version or 0) <= source.meaning.before for one in found):
            yield part  # of what was read by keys that mean something else now
            continue
        read, same = union(one.partitions for one in found), union(one.same for one in found)
        changed = union(source.changed_since(one.version) & one.same for one in found) if found else source.present
        added = (mapping.upstream(part) & known) - read
        yield mapping.downstream(changed | added) & part
        gone = same - whole
        if gone:
            yield reads.graph.mapping(asset, edge, reads.now, read).downstream(gone) & part
        for one in found:
            if one.lost.then:
                yield reads.fed(asset, part, fact, one.lost)
            for renamed in one.renamed:
                # Others may need it by its new key than those that it was read for by the old one.
                used, needed = reads.fed(asset, part, fact, renamed), mapping.downstream(renamed.partitions) & part
                if renamed.partitions <= known:
                    yield needed - used
                if not renamed.partitions <= whole or renamed.partitions & source.changed_since(one.version):
                    yield needed & used
