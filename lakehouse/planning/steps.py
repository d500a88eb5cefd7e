"""Steps: the wanted partitions of each asset in chunks, with what each chunk reads and waits for."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final, overload

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import Edge
from lakehouse.lineage import AssetState
from lakehouse.partitions import Now, PartitionMapping, PartitionSet, Rule
from lakehouse.planning.demand import Demand, union_of_reasons
from lakehouse.planning.staleness import Cause, Reason


@final
@dataclass(frozen=True)
class Input:
    """What a step reads of one input.

    Parameters:
        parameter: the function's parameter
        asset: the asset that fills it
        partitions: which of its partitions
        version: the table version that the plan saw; None: not there yet
        steps: ids of the steps of this plan that make these partitions
        rule: how its partitions become the step's, where that was said outright
        digests: of an external asset, what stood for its partitions when the plan was made
    """

    parameter: str
    asset: Asset
    partitions: PartitionSet
    version: int | None
    steps: tuple[str, ...]
    rule: Rule | None = None
    digests: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@final
@dataclass(frozen=True)
class Step:
    """One unit of work: a chunk of an asset's partitions.

    Parameters:
        id: unique in its plan
        asset: what is made
        partitions: which partitions of it
        inputs: what is read
        reasons: why, for all of the partitions
        now: the present as the plan saw it
        chunk: number of the chunk, the same for assets that are partitioned alike
        digests: what stands for the rows that are there, by partition key; see [AssetState.digests][]
        since: the table version that has them
        sequence: of what becomes of it; see [lakehouse.lineage.Fact][]
        rows: how many rows it may come to, going by what was published before; None: nothing was
        planned: what steps of the plan are to make of the same asset, whatever happens; None: there is no other step
    """

    id: str
    asset: Asset
    partitions: PartitionSet
    inputs: tuple[Input, ...]
    reasons: tuple[Reason, ...]
    now: Now = field(repr=False)
    chunk: int = 0
    digests: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    since: int | None = None
    sequence: int = 0
    rows: int | None = None
    planned: PartitionSet | None = field(default=None, repr=False)

    @property
    def maybe(self) -> PartitionSet:
        """The partitions that are built only if an input of theirs changes in this run."""
        return union_of_reasons(self.asset.partitions, [r for r in self.reasons if r.cause is Cause.MAYBE])

    @property
    def rest(self) -> PartitionSet:
        """What other steps of the plan are to make of the same asset, whatever happens."""
        # Not kept: of many scattered partitions each step would hold nearly all.
        return self.asset.partitions.empty() if self.planned is None else self.planned - self.partitions

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the steps that have to come first."""
        return tuple(dict.fromkeys(i for given in self.inputs for i in given.steps))

    def mapping(self, given: Input) -> PartitionMapping:
        """How the partitions of an input become those of the step."""
        return PartitionMapping(
            self.asset.partitions, given.asset.partitions, self.now, given.rule, there=given.partitions
        )


@final
class Steps(Sequence[Step]):
    """The wanted partitions of each asset in chunks, producers first; an asset's are made when they are looked at.

    Parameters:
        demand: what is wanted, and why
        chunk: partitions in a step, at most
    """

    def __init__(self, demand: Demand, chunk: int) -> None:
        self._demand = demand
        self._chunk = chunk
        self.wanted: Mapping[str, PartitionSet] = {
            asset.key: these for asset in demand.assets if (these := demand.of(asset))
        }
        self.assets = tuple(asset for asset in demand.assets if asset.key in self.wanted)
        # Assets that are partitioned alike are chunked at the same places: a chunk needs one chunk of its input.
        alike: dict[Any, list[PartitionSet]] = {}
        for these in self.wanted.values():
            alike.setdefault(these.partitions.domain, []).append(these)
        self._anchors = {domain: found[0].partitions.union(found) for domain, found in alike.items()}
        self._places: dict[str, tuple[_Place, ...]] = {}
        self._made: dict[str, tuple[Step, ...]] = {}

    def of(self, key: str) -> tuple[Step, ...]:
        """The steps of an asset."""
        if key not in self._made:
            if key not in self.wanted:
                return ()
            self._made[key] = self._steps(self._demand.graph[key])
        return self._made[key]

    def reasons(self, key: str) -> tuple[Reason, ...]:
        """Why the partitions of an asset are made, all of its steps together: no step has to be made for it."""
        wanted = self.wanted.get(key)
        if wanted is None:
            return ()
        if self._demand is None:
            return tuple(reason for step in self.of(key) for reason in step.reasons)
        found = self._demand.reasons[key]
        return tuple(Reason(r.cause, these, r.about) for r in found if (these := r.partitions & wanted))

    def __iter__(self) -> Iterator[Step]:
        return itertools.chain.from_iterable(self.of(key) for key in self.wanted)

    def __len__(self) -> int:
        return sum(these.count_cells(self._chunk, anchor=self._anchor(these)) for these in self.wanted.values())

    def __bool__(self) -> bool:
        return bool(self.wanted)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, index: int | slice) -> Step | tuple[Step, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Steps | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        # What a plan was made from doesn't travel: all of its steps do.
        return {**self.__dict__, "_made": {key: self.of(key) for key in self.wanted}, "_demand": None}

    def _anchor(self, these: PartitionSet) -> PartitionSet:
        return self._anchors[these.partitions.domain]

    def _placed(self, key: str) -> tuple[_Place, ...]:
        """The chunks of an asset, in their order."""
        if key not in self._places:
            these = self.wanted.get(key)
            cells = () if these is None else these.cells(self._chunk, anchor=self._anchor(these))
            partitioned = self._demand.graph[key].partitioned
            self._places[key] = tuple(
                _Place(f"{key}/{part.extent}" if partitioned else key, part, number) for number, part in cells
            )
        return self._places[key]

    def _steps(self, asset: Asset) -> tuple[Step, ...]:
        demand, state, places = self._demand, self._demand.states(asset), self._placed(asset.key)
        each, reasons = state.rows_per_partition, demand.reasons[asset.key]
        maybe = union_of_reasons(asset.partitions, [r for r in reasons if r.cause is Cause.MAYBE])
        certain = self.wanted[asset.key] - maybe
        inputs = [
            (edge, demand.states(edge.asset), self._placed(edge.asset.key)) for edge in demand.graph.inputs(asset)
        ]
        known = state.with_digests(self.wanted[asset.key])
        return tuple(
            Step(
                id=place.id,
                asset=asset,
                partitions=(part := place.partitions),
                inputs=tuple(
                    _input(edge, source, demand.needed(asset, edge, part), makers) for edge, source, makers in inputs
                ),
                reasons=tuple(Reason(r.cause, these, r.about) for r in reasons if (these := r.partitions & part)),
                now=demand.now,
                chunk=place.chunk,
                digests=known.digests(part),
                since=state.version,
                sequence=state.sequence + 1,
                rows=None if each is None else round(each * len(part)),
                planned=certain if len(places) > 1 else None,
            )
            for place in places
        )


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """What is known of a step before it is made."""

    id: str
    partitions: PartitionSet
    chunk: int


def _input(edge: Edge, source: AssetState, needed: PartitionSet, makers: Sequence[_Place]) -> Input:
    return Input(
        edge.parameter.name,
        edge.asset,
        needed,
        source.version,
        _makers(makers, needed),
        edge.rule,
        source.digests(needed) if edge.asset.external else {},
    )


def _makers(steps: Sequence[_Place], needed: PartitionSet) -> tuple[str, ...]:
    """The steps that make some of these partitions. Steps of an asset are in order and don't overlap."""
    if not needed or not steps:
        return ()
    low, high = needed.spans[0][0], needed.spans[-1][1]
    first = bisect_right(steps, low, key=lambda s: s.partitions.spans[-1][1])
    last = bisect_left(steps, high, key=lambda s: s.partitions.spans[0][0])
    return tuple(s.id for s in steps[first:last] if s.partitions & needed)
