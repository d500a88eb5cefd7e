"""Steps: the wanted partitions of each asset in chunks, with what each chunk reads and waits for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import Edge
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
        digests: what stands for the rows that are there, by partition key; since: the table version that has them
        sequence: of what becomes of it; see [lakehouse.lineage.Fact][]
        rows: how many rows it may come to, going by what was published before; None: nothing was
        rest: what other steps of the plan are to make of the same asset, whatever happens; None: nothing
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
    rest: PartitionSet | None = field(default=None, repr=False)

    @property
    def maybe(self) -> PartitionSet:
        """The partitions that are built only if an input of theirs changes in this run."""
        return union_of_reasons(self.asset.partitions, [r for r in self.reasons if r.cause is Cause.MAYBE])

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the steps that have to come first."""
        return tuple(dict.fromkeys(i for given in self.inputs for i in given.steps))

    def mapping(self, given: Input) -> PartitionMapping:
        """How the partitions of an input become those of the step."""
        return PartitionMapping(
            self.asset.partitions, given.asset.partitions, self.now, given.rule, there=given.partitions
        )


def make_steps(demand: Demand, chunk: int) -> tuple[Step, ...]:
    """The wanted partitions of each asset in chunks, producers first."""
    wanted = {asset.key: these for asset in demand.assets if (these := demand.of(asset))}
    # Assets that are partitioned alike are chunked at the same places, so that a chunk needs one chunk of its input.
    alike: dict[Any, list[PartitionSet]] = {}
    for these in wanted.values():
        alike.setdefault(these.partitions.domain, []).append(these)
    anchors = {domain: found[0].partitions.union(found) for domain, found in alike.items()}
    made: dict[str, list[Step]] = {}
    for asset in demand.assets:
        if asset.key in wanted:
            these = wanted[asset.key]
            cells = these.cells(chunk, anchor=anchors[these.partitions.domain])
            made[asset.key] = _with_rest([_step(demand, asset, part, made, number) for number, part in cells])
    return tuple(step for steps in made.values() for step in steps)


def _step(demand: Demand, asset: Asset, part: PartitionSet, made: Mapping[str, Sequence[Step]], chunk: int) -> Step:
    state = demand.states(asset)
    each = state.rows_per_partition
    return Step(
        id=f"{asset.key}/{part.extent}" if asset.partitioned else asset.key,
        asset=asset,
        partitions=part,
        inputs=tuple(_input(demand, asset, part, edge, made) for edge in demand.graph.inputs(asset)),
        reasons=tuple(
            Reason(r.cause, r.partitions & part, r.about) for r in demand.reasons[asset.key] if r.partitions & part
        ),
        now=demand.now,
        chunk=chunk,
        digests=state.digests(part),
        since=state.version,
        sequence=state.sequence + 1,
        rows=None if each is None else round(each * len(part)),
    )


def _with_rest(steps: Sequence[Step]) -> list[Step]:
    """The steps of one asset, each knowing what the others make for certain."""
    if len(steps) < 2:
        return list(steps)
    certain = steps[0].asset.partitions.union(step.partitions - step.maybe for step in steps)
    return [replace(step, rest=certain - step.partitions) for step in steps]


def _input(demand: Demand, asset: Asset, part: PartitionSet, edge: Edge, made: Mapping[str, Sequence[Step]]) -> Input:
    needed = demand.needed(asset, edge, part)
    return Input(
        edge.parameter.name,
        edge.asset,
        needed,
        demand.states(edge.asset).version,
        _makers(made.get(edge.asset.key, ()), needed),
        edge.rule,
        demand.states(edge.asset).digests(needed) if edge.asset.external else {},
    )


def _makers(steps: Sequence[Step], needed: PartitionSet) -> tuple[str, ...]:
    """The steps that make some of these partitions. Steps of an asset are in order and don't overlap."""
    if not needed:
        return ()
    first = bisect_right(steps, needed.hull.low, key=lambda s: s.partitions.hull.high)
    last = bisect_left(steps, needed.hull.high, key=lambda s: s.partitions.hull.low)
    return tuple(s.id for s in steps[first:last] if s.partitions & needed)
