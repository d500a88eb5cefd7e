"""The plan: what will be built, in which chunks, from which versions, and why. A pure function of its arguments.

``lakehouse plan`` prints the very list that ``materialize`` executes.
"""

from __future__ import annotations

import graphlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, final, get_args

from lakehouse.asset import Asset
from lakehouse.errors import PartitionError, PlanError, shorten
from lakehouse.graph import AssetGraph
from lakehouse.lineage.state import AssetState
from lakehouse.partitions import PartitionMapping, Partitions, PartitionSet, TimePartitions, carry

Upstream = Literal["missing", "all", "none"]
"""What is done about a target's inputs: build what was never built, build all of them, or leave them."""

CHUNK = 30
"""Partitions in a step, where nobody says otherwise."""


class Cause(StrEnum):
    """Why a partition is built."""

    ASKED = "asked for"
    MISSING = "missing"
    UPSTREAM = "missing upstream of"
    REBUILT = "upstream of"


@final
@dataclass(frozen=True)
class Reason:
    """Why some partitions of a step are built.

    Parameters:
        cause: the kind of reason
        partitions: which of them
        consumer: for upstream partitions, the asset that needs them
    """

    cause: Cause
    partitions: PartitionSet
    consumer: str | None = None

    def __str__(self) -> str:
        return f"{self.cause} {self.consumer}" if self.consumer else str(self.cause)


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
    """

    parameter: str
    asset: Asset
    partitions: PartitionSet
    version: int | None
    steps: tuple[str, ...]


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
        chunk: number of the chunk, the same for assets that are cut alike
    """

    id: str
    asset: Asset
    partitions: PartitionSet
    inputs: tuple[Input, ...]
    reasons: tuple[Reason, ...]
    now: datetime = field(repr=False)
    chunk: int = 0

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the steps that have to come first."""
        return tuple(dict.fromkeys(i for given in self.inputs for i in given.steps))

    def mapping(self, given: Input) -> PartitionMapping:
        """How the partitions of an input become those of the step."""
        return PartitionMapping(self.asset.partitions, given.asset.partitions, self.now)


@final
@dataclass(frozen=True)
class Unit:
    """Steps that are done in one go, producers first: one step, or several that share a maker and a chunk.

    Parameters:
        id: unique in its plan
        steps: the steps
        after: ids of the units that have to come first
    """

    id: str
    steps: tuple[Step, ...]
    after: tuple[str, ...]


@final
@dataclass(frozen=True)
class Plan:
    """Steps in an order in which they can run, producers first.

    Parameters:
        steps: the steps
        targets: what was asked for
        current: what was asked for and is there already, so that nothing is done about it
        now: the present as the plan saw it
    """

    steps: tuple[Step, ...]
    targets: tuple[Asset, ...]
    current: Mapping[str, PartitionSet]
    now: datetime

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The steps as they are done, in an order in which they can run."""
        return _units(self.steps)

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The assets that are built, producers first."""
        return tuple({step.asset.key: step.asset for step in self.steps}.values())

    def of(self, asset: Asset | str) -> tuple[Step, ...]:
        """The steps of one asset."""
        key = asset if isinstance(asset, str) else asset.key
        return tuple(step for step in self.steps if step.asset.key == key)

    def partitions(self, asset: Asset | str) -> PartitionSet:
        """The partitions of one asset that are built; raises KeyError if none is."""
        steps = self.of(asset)
        if not steps:
            raise KeyError(asset)
        return PartitionSet(steps[0].asset.partitions, tuple(s for step in steps for s in step.partitions.spans))

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        return bool(self.steps)


def make_plan(
    graph: AssetGraph,
    targets: Sequence[Asset],
    states: Callable[[Asset], AssetState],
    *,
    partitions: Any = None,
    upstream: Upstream = "missing",
    only_missing: bool = False,
    chunk: int = CHUNK,
    now: datetime,
) -> Plan:
    """Work out what has to be built.

    Parameters:
        graph: all assets
        targets: what to build, producers first
        states: what lineage says of an asset
        partitions: which partitions of the targets: a key, a list, a range ``"a...b"``; None: what is missing
        upstream: what is done about the targets' inputs
        only_missing: leave target partitions that are there (a refresh)
        chunk: partitions in a step, at most
        now: the present: partitions that aren't over yet are not there

    Raises:
        PartitionError: partitions that can't be
        PlanError: a request that can't be planned
    """
    if upstream not in get_args(Upstream):
        raise PlanError(f"upstream={upstream!r} is not known; there are {', '.join(get_args(Upstream))}")
    if not isinstance(chunk, int) or chunk < 1:
        raise PlanError(f"chunk={chunk!r} can't be: a chunk holds 1 partition or more")
    ready = _ready(graph, now)
    asked = _asked(graph, targets, partitions, ready, now)
    reasons: dict[str, list[Reason]] = {}
    current: dict[str, PartitionSet] = {}
    for asset in targets:
        wanted = asked[asset.key]
        missing = wanted - states(asset).present
        if only_missing or (partitions is None and asset.partitioned):
            current[asset.key] = wanted - missing
            found = [Reason(Cause.MISSING, missing)]
        else:
            found = [Reason(Cause.ASKED, wanted)]
        reasons[asset.key] = [r for r in found if r.partitions]
    for asset in reversed(list(graph)):
        wanted = _all(asset.partitions, reasons.get(asset.key, ()))
        if wanted:
            _want_inputs(graph, asset, wanted, states, upstream, reasons, ready, now)
    steps = _steps(graph, reasons, states, chunk, ready, now)
    return Plan(steps, tuple(targets), current, now)


def _ready(graph: AssetGraph, now: datetime) -> dict[str, PartitionSet]:
    """The partitions that can be whole by now: those whose own time is over, and that of all they are made from.

    The two differ where an input is cut otherwise: a day in New York is over five hours before all
    that it needs of days in UTC.
    """
    ready: dict[str, PartitionSet] = {}
    for asset in graph:
        over = asset.partitions.all(now)
        if not asset.partitioned:
            # Of an input whose first partition isn't over yet there is nothing to make it from.
            bare = any(not ready[edge.asset.key] for edge in graph.inputs(asset))
            ready[asset.key] = asset.partitions.empty() if bare else over
            continue
        for edge in graph.inputs(asset):
            needed = carry(over, edge.asset.partitions, now)
            over = over - carry(needed - ready[edge.asset.key], asset.partitions, now)
        ready[asset.key] = over
    return ready


def _all(partitions: Partitions, reasons: Sequence[Reason]) -> PartitionSet:
    return PartitionSet(partitions, tuple(span for r in reasons for span in r.partitions.spans))


def _want_inputs(
    graph: AssetGraph,
    asset: Asset,
    wanted: PartitionSet,
    states: Callable[[Asset], AssetState],
    upstream: Upstream,
    reasons: dict[str, list[Reason]],
    ready: Mapping[str, PartitionSet],
    now: datetime,
) -> None:
    """Add to the reasons what an asset's inputs lack."""
    for edge in graph.inputs(asset):
        needed = PartitionMapping(asset.partitions, edge.asset.partitions, now).upstream(wanted)
        needed = needed & ready[edge.asset.key]
        known = reasons.setdefault(edge.asset.key, [])
        extra = needed - _all(edge.asset.partitions, known)
        if upstream != "all":
            extra = extra - states(edge.asset).present
        if not extra:
            continue
        if upstream == "none":
            raise PlanError(
                f"{asset.key} needs {edge.asset.key} {extra}".rstrip() + ", which was never built",
                hint='leave upstream at "missing" to build it as well',
            )
        missing = extra - states(edge.asset).present
        found = ((Cause.UPSTREAM, missing), (Cause.REBUILT, extra - missing))
        known += [Reason(cause, part, asset.key) for cause, part in found if part]


def _asked(
    graph: AssetGraph,
    targets: Sequence[Asset],
    partitions: Any,
    ready: Mapping[str, PartitionSet],
    now: datetime,
) -> dict[str, PartitionSet]:
    """Which partitions of each target are meant; unpartitioned ones are meant whole."""
    if partitions is None:
        return {asset.key: ready[asset.key] for asset in targets}
    if isinstance(partitions, Iterator):
        partitions = list(partitions)  # each target reads it
    cut = [asset for asset in targets if asset.partitioned]
    if not cut:
        raise PartitionError(
            f"partitions {partitions!r} were given, but {shorten(a.key for a in targets)} "
            f"{'is' if len(targets) == 1 else 'are'} not partitioned",
            hint="leave partitions out",
        )
    found: dict[str, PartitionSet] = {}
    faults: dict[str, PartitionError] = {}
    for asset in cut:
        try:
            found[asset.key] = asset.partitions.select(partitions, now=now)
        except PartitionError as error:
            faults[asset.key] = error
        else:
            _check_ready(graph, asset, found[asset.key] - ready[asset.key], ready, now)
    if not found:
        raise next(iter(faults.values()))
    for asset in cut:
        if asset.key in faults:
            found[asset.key] = _translated(asset, list(found.values()), faults[asset.key], now) & ready[asset.key]
    whole = {asset.key: ready[asset.key] for asset in targets if not asset.partitioned}
    if not any(found.values()):
        raise PartitionError(f"partitions {partitions!r} name none", hint="give a key or a range a...b")
    return {asset.key: (whole | found)[asset.key] for asset in targets}


def _check_ready(
    graph: AssetGraph, asset: Asset, early: PartitionSet, ready: Mapping[str, PartitionSet], now: datetime
) -> None:
    for edge in graph.inputs(asset):
        lacking = carry(early, edge.asset.partitions, now) - ready[edge.asset.key]
        if lacking:
            raise PartitionError(
                f"{asset.key} {early} can't be whole yet: it needs {edge.asset.key} {lacking}",
                hint="a partition is there once its time is over, and that of all it is made from",
            )


def _translated(asset: Asset, understood: Sequence[PartitionSet], fault: PartitionError, now: datetime) -> PartitionSet:
    """What a range in another target's form, or beyond this one's own bounds, means for an asset."""
    for given in understood:
        both_time = isinstance(given.partitions, TimePartitions) and isinstance(asset.partitions, TimePartitions)
        if both_time or given.partitions.domain == asset.partitions.domain:
            return carry(given, asset.partitions, now)
    raise fault


def _steps(
    graph: AssetGraph,
    reasons: Mapping[str, list[Reason]],
    states: Callable[[Asset], AssetState],
    chunk: int,
    ready: Mapping[str, PartitionSet],
    now: datetime,
) -> tuple[Step, ...]:
    wanted = {a.key: w for a in graph if (w := _all(a.partitions, reasons.get(a.key, ())))}
    # Assets that are cut alike are chunked at the same places, so that a chunk needs one chunk of its input.
    anchors: dict[Any, int] = {}
    for these in wanted.values():
        domain = these.partitions.domain
        anchors[domain] = min(anchors.get(domain, these.spans[0][0]), these.spans[0][0])
    made: dict[str, list[Step]] = {}
    for asset in graph:
        if asset.key not in wanted:
            continue
        these = wanted[asset.key]
        made[asset.key] = [
            Step(
                id=f"{asset.key}/{part.hull}" if asset.partitioned else asset.key,
                asset=asset,
                partitions=part,
                inputs=tuple(
                    _input(
                        asset,
                        part,
                        edge.parameter.name,
                        edge.asset,
                        made.get(edge.asset.key, []),
                        states(edge.asset).version,
                        ready[edge.asset.key],
                        now,
                    )
                    for edge in graph.inputs(asset)
                ),
                reasons=tuple(
                    Reason(r.cause, r.partitions & part, r.consumer) for r in reasons[asset.key] if r.partitions & part
                ),
                now=now,
                chunk=(part.hull.low - anchors[these.partitions.domain]) // chunk,
            )
            for part in these.chunks(chunk, anchor=anchors[these.partitions.domain])
        ]
    return tuple(step for steps in made.values() for step in steps)


def _input(
    asset: Asset,
    part: PartitionSet,
    parameter: str,
    source: Asset,
    steps: Sequence[Step],
    version: int | None,
    ready: PartitionSet,
    now: datetime,
) -> Input:
    needed = PartitionMapping(asset.partitions, source.partitions, now).upstream(part) & ready
    return Input(parameter, source, needed, version, _makers(steps, needed))


def _makers(steps: Sequence[Step], needed: PartitionSet) -> tuple[str, ...]:
    """The steps that make some of these partitions. Steps of an asset are in order and don't overlap."""
    if not needed:
        return ()
    first = bisect_right(steps, needed.hull.low, key=lambda s: s.partitions.hull.high)
    last = bisect_left(steps, needed.hull.high, key=lambda s: s.partitions.hull.low)
    return tuple(s.id for s in steps[first:last] if s.partitions & needed)


def _units(steps: Sequence[Step]) -> tuple[Unit, ...]:
    """Group what one maker makes of one chunk, as far as nothing in between has to be done by another."""
    try:
        return _grouped(steps, _turns(steps))
    except graphlib.CycleError:
        # Makers that feed each other to and fro: by depth there are more groups, but never a circle of them.
        return _grouped(steps, _depths(steps))


def _turns(steps: Sequence[Step]) -> dict[str, int]:
    """How often a step's own kind was left and entered again on the way to it."""
    known = {step.id: step for step in steps}
    rounds: dict[str, dict[Any, int]] = {}
    turns: dict[str, int] = {}
    for step in steps:
        kind = _kind(step)
        seen: dict[Any, int] = {}
        turn = 0
        for source in step.after:
            for other, count in rounds[source].items():
                seen[other] = max(seen.get(other, 0), count)
            back = rounds[source].get(kind)
            if back is not None:
                turn = max(turn, back if _kind(known[source]) == kind else back + 1)
        if step.asset.maker is not None:
            seen[kind] = max(seen.get(kind, 0), turn)
        rounds[step.id] = seen
        turns[step.id] = turn
    return turns


def _depths(steps: Sequence[Step]) -> dict[str, int]:
    """How many changes of kind there are at most on the way to a step: more with every arrow between two kinds."""
    known = {step.id: step for step in steps}
    depths: dict[str, int] = {}
    for step in steps:
        kind = _kind(step)
        depths[step.id] = max((depths[i] + (_kind(known[i]) != kind) for i in step.after), default=0)
    return depths


def _grouped(steps: Sequence[Step], turns: Mapping[str, int]) -> tuple[Unit, ...]:
    groups: dict[Any, list[Step]] = {}
    unit_of = {step.id: (_kind(step), turns[step.id] if step.asset.maker else 0) for step in steps}
    for step in steps:
        groups.setdefault(unit_of[step.id], []).append(step)
    names: dict[Any, str] = {}
    taken: set[str] = set()
    for key, members in groups.items():
        name = _unit_id(members, key[1])
        # Two makers may bear one name.
        names[key] = next(n for n in (name, *(f"{name} #{i}" for i in range(2, len(groups) + 2))) if n not in taken)
        taken.add(names[key])
    units = [
        Unit(
            names[key],
            tuple(members),
            tuple(dict.fromkeys(names[unit_of[i]] for s in members for i in s.after if unit_of[i] != key)),
        )
        for key, members in groups.items()
    ]
    by_id = {unit.id: unit for unit in units}
    order = graphlib.TopologicalSorter({unit.id: unit.after for unit in units}).static_order()
    return tuple(by_id[i] for i in order)


def _kind(step: Step) -> Any:
    """What a step shares with those that it can be done together with."""
    if step.asset.maker is None:
        return step.id
    return step.asset.maker, step.partitions.partitions.domain, step.chunk


def _unit_id(steps: Sequence[Step], turn: int) -> str:
    first = steps[0]
    if first.asset.maker is None:
        return first.id
    spans = tuple(span for step in steps for span in step.partitions.spans)
    hull = PartitionSet(first.partitions.partitions, spans).hull if first.asset.partitioned else ""
    again = f" ({turn + 1})" if turn else ""
    return f"{first.asset.maker.name}/{hull}".rstrip("/") + again
