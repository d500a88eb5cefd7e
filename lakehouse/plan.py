"""The plan: what will be built, in which chunks, from which versions, and why. A pure function of its arguments.

``lakehouse plan`` prints the very list that ``materialize`` executes.
"""

from __future__ import annotations

import graphlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, final, get_args

from lakehouse.asset import Asset
from lakehouse.errors import PartitionError, PlanError, shorten
from lakehouse.graph import AssetGraph, Edge
from lakehouse.partitions import Now, PartitionMapping, Partitions, PartitionSet, Present, Rule, TimePartitions, carry
from lakehouse.staleness import Cause, Reason, States, stale

Upstream = Literal["missing", "stale", "all", "none"]
"""What is done about a target's inputs: build what was never built, also what is out of date, all of them, or nothing.
"""

CHUNK = 30
"""Partitions in a step, where nobody says otherwise."""


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
        contents: of an external asset, what stood for its partitions when the plan was made
    """

    parameter: str
    asset: Asset
    partitions: PartitionSet
    version: int | None
    steps: tuple[str, ...]
    rule: Rule | None = None
    contents: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


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
        contents: what stands for the rows that are there, by partition key; since: the table version that has them
        rows: how many rows it may come to, going by what was published before; None: nothing was
    """

    id: str
    asset: Asset
    partitions: PartitionSet
    inputs: tuple[Input, ...]
    reasons: tuple[Reason, ...]
    now: Now = field(repr=False)
    chunk: int = 0
    contents: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    since: int | None = None
    rows: int | None = None

    @property
    def maybe(self) -> PartitionSet:
        """The partitions that are built only if an input of theirs changes in this run."""
        return _all(self.asset.partitions, [r for r in self.reasons if r.cause is Cause.MAYBE])

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
@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        partitions = sum(len(step.partitions) for step in self.steps)
        return f"Plan({len(self.assets)} assets, {partitions:,} partitions, {len(self.steps):,} steps)"

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        return bool(self.steps)


def make_plan(
    graph: AssetGraph,
    targets: Sequence[Asset],
    states: States,
    *,
    partitions: Any = None,
    upstream: Upstream = "missing",
    refresh: bool = False,
    chunk: int = CHUNK,
    now: Now,
) -> Plan:
    """Work out what has to be built.

    Parameters:
        graph: all assets
        targets: what to build, producers first
        states: what lineage says of an asset; it is asked about the targets and their ancestors
        partitions: which partitions of the targets: a key, a list, a range ``"a...b"``; None: what is missing
        upstream: what is done about the targets' inputs
        refresh: build only what is missing or out of date of the targets
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
    if targets and all(asset.external for asset in targets):
        raise PlanError(
            f"{shorten(a.key for a in targets)} {'is' if len(targets) == 1 else 'are'} external: others write it, and "
            "it is never materialized",
            hint="materialize what is made from it; lakehouse observe looks at it",
        )
    targets = [asset for asset in targets if not asset.external]
    needed = {a.key for target in targets for a in (target, *graph.ancestors(target))}
    involved = [asset for asset in graph if asset.key in needed]
    over = _ready(graph, involved, lambda asset: asset.partitions.all(now), now)
    ready = ready_by(graph, involved, states, now)
    asked = _asked(graph, targets, partitions, over, ready, now)
    wants = _Wants(graph, involved, states, upstream, ready, now)
    for asset in targets:
        wanted = asked[asset.key]
        if refresh:
            wants.keep(asset, wanted)
        elif partitions is None and asset.partitioned:
            wants.add(asset, Reason(Cause.MISSING, wanted - states(asset).present))
        else:
            wants.add(asset, Reason(Cause.ASKED, wanted))
    wants.settle()
    current = {
        asset.key: asked[asset.key] - wants.of(asset)
        for asset in targets
        if refresh or (partitions is None and asset.partitioned)
    }
    return Plan(_steps(wants, chunk), tuple(targets), current, Present.of(now).now)


class _Wants:
    """What is to be built, and why: grows until nothing more follows from it."""

    def __init__(
        self,
        graph: AssetGraph,
        assets: Sequence[Asset],
        states: States,
        upstream: Upstream,
        ready: Mapping[str, PartitionSet],
        now: Now,
    ) -> None:
        self.graph = graph
        self.assets = assets
        self.states = states
        self.upstream = upstream
        self.ready = ready
        self.now = now
        self.reasons: dict[str, list[Reason]] = {asset.key: [] for asset in assets}
        self.kept: dict[str, PartitionSet] = {}

    def add(self, asset: Asset, reason: Reason) -> None:
        """Want some partitions."""
        if reason.partitions:
            self.reasons[asset.key].append(reason)

    def keep(self, asset: Asset, partitions: PartitionSet) -> None:
        """Have some partitions up to date in the end, be there much to do for it or nothing."""
        known = self.kept.get(asset.key)
        self.kept[asset.key] = partitions if known is None else known | partitions

    def of(self, asset: Asset) -> PartitionSet:
        """The partitions that are wanted."""
        return _all(asset.partitions, self.reasons[asset.key])

    def needed(self, asset: Asset, edge: Edge, partitions: PartitionSet) -> PartitionSet:
        """What some partitions need of an input."""
        return self.mapping(asset, edge).upstream(partitions) & self.ready[edge.asset.key]

    def mapping(self, asset: Asset, edge: Edge) -> PartitionMapping:
        """How the partitions of an input become those of the asset."""
        return self.graph.mapping(asset, edge, self.now, self.ready[edge.asset.key])

    def settle(self) -> None:
        """Follow the wants up to what they lack and down to what they change, until nothing is added."""
        if self.upstream == "stale":
            for asset in reversed(self.assets):
                scope = self.kept.get(asset.key, asset.partitions.empty()) | self.of(asset)
                for edge in self.graph.inputs(asset):
                    if edge.asset.external:
                        continue
                    self.keep(edge.asset, self.needed(asset, edge, scope))
        for asset in self.assets:
            if asset.key in self.kept:
                kept = self.kept[asset.key] - self.of(asset)
                for reason in stale(self.graph, asset, kept, self.states, self.ready, self.now):
                    self.add(asset, reason)
        size = -1
        while size != (size := sum(len(found) for found in self.reasons.values())):
            for asset in reversed(self.assets):
                self._lacking(asset)
            for asset in self.assets:
                self._following(asset)

    def _lacking(self, asset: Asset) -> None:
        """Want what an asset's inputs lack."""
        wanted = self.of(asset)
        if not wanted:
            return
        for edge in self.graph.inputs(asset):
            if edge.asset.external:
                continue
            extra = self.needed(asset, edge, wanted) - self.of(edge.asset)
            present = self.states(edge.asset).present
            if self.upstream != "all":
                extra = extra - present
            if extra and self.upstream == "none":
                raise PlanError(
                    f"{asset.key} needs {edge.asset.key} {extra}".rstrip() + ", which was never built",
                    hint='leave upstream at "missing" to build it as well',
                )
            self.add(edge.asset, Reason(Cause.UPSTREAM, extra - present, asset.key))
            self.add(edge.asset, Reason(Cause.REBUILT, extra & present, asset.key))

    def _following(self, asset: Asset) -> None:
        """Want what may change because an input is built."""
        kept = self.kept.get(asset.key)
        if not kept:
            return
        for edge in self.graph.inputs(asset):
            built = self.of(edge.asset)
            if built:
                touched = self.mapping(asset, edge).downstream(built) & kept
                self.add(asset, Reason(Cause.MAYBE, touched - self.of(asset), edge.asset.key))


def ready_by(graph: AssetGraph, assets: Sequence[Asset], states: States, now: Now) -> dict[str, PartitionSet]:
    """The partitions that can be made by now: their time is over, and what they are made from can be made or is there.

    Parameters:
        graph: all assets
        assets: some of them, each after all that it is made from
        states: what lineage says of an asset
        now: the present
    """
    return _ready(graph, assets, lambda a: states(a).present if a.external else a.partitions.all(now), now)


def _ready(
    graph: AssetGraph, assets: Sequence[Asset], own: Callable[[Asset], PartitionSet], now: Now
) -> dict[str, PartitionSet]:
    """The partitions that can be whole by now: those that can by themselves, and all that they are made from.

    The two differ where an input is cut otherwise: a day in New York is over five hours before all
    that it needs of days in UTC.
    """
    ready: dict[str, PartitionSet] = {}
    for asset in assets:
        over = own(asset)
        if not asset.partitioned:
            # Of an input whose first partition isn't over yet there is nothing to make it from.
            bare = any(not ready[edge.asset.key] for edge in graph.inputs(asset))
            ready[asset.key] = asset.partitions.empty() if bare else over
            continue
        for edge in graph.inputs(asset):
            mapping = graph.mapping(asset, edge, now, ready[edge.asset.key])
            needed = mapping.upstream(over)
            over = over - mapping.downstream(needed - ready[edge.asset.key])
        ready[asset.key] = over
    return ready


def _all(partitions: Partitions, reasons: Sequence[Reason]) -> PartitionSet:
    return PartitionSet(partitions, tuple(span for r in reasons for span in r.partitions.spans))


def _asked(
    graph: AssetGraph,
    targets: Sequence[Asset],
    partitions: Any,
    over: Mapping[str, PartitionSet],
    ready: Mapping[str, PartitionSet],
    now: Now,
) -> dict[str, PartitionSet]:
    """Which partitions of each target are meant; unpartitioned ones are meant whole.

    To name one whose time isn't over is an error; one that a source lacks is left until it arrives.
    """
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
            _check_ready(graph, asset, found[asset.key] - over[asset.key], over, now)
    if not found:
        raise next(iter(faults.values()))
    for asset in cut:
        if asset.key in faults:
            found[asset.key] = _translated(asset, list(found.values()), faults[asset.key], now)
    if not any(found.values()):
        raise PartitionError(f"partitions {partitions!r} name none", hint="give a key or a range a...b")
    found = {key: part & ready[key] for key, part in found.items()}
    whole = {asset.key: ready[asset.key] for asset in targets if not asset.partitioned}
    if not any(found.values()):
        raise PartitionError(
            f"of partitions {partitions!r} nothing is there to make {shorten(found)} from",
            hint="its sources have none of them yet: lakehouse observe looks again",
        )
    return {asset.key: (whole | found)[asset.key] for asset in targets}


def _check_ready(
    graph: AssetGraph, asset: Asset, early: PartitionSet, ready: Mapping[str, PartitionSet], now: Now
) -> None:
    for edge in graph.inputs(asset):
        lacking = graph.mapping(asset, edge, now, ready[edge.asset.key]).upstream(early) - ready[edge.asset.key]
        if lacking:
            raise PartitionError(
                f"{asset.key} {early} can't be whole yet: it needs {edge.asset.key} {lacking}",
                hint="a partition is there once its time is over, and that of all it is made from",
            )


def _translated(asset: Asset, understood: Sequence[PartitionSet], fault: PartitionError, now: Now) -> PartitionSet:
    """What a range in another target's form, or beyond this one's own bounds, means for an asset."""
    for given in understood:
        both_time = isinstance(given.partitions, TimePartitions) and isinstance(asset.partitions, TimePartitions)
        if both_time or given.partitions.domain == asset.partitions.domain:
            return carry(given, asset.partitions, now)
    raise fault


def _steps(wants: _Wants, chunk: int) -> tuple[Step, ...]:
    wanted = {asset.key: these for asset in wants.assets if (these := wants.of(asset))}
    # Assets that are cut alike are chunked at the same places, so that a chunk needs one chunk of its input.
    alike: dict[Any, list[PartitionSet]] = {}
    for these in wanted.values():
        alike.setdefault(these.partitions.domain, []).append(these)
    anchors = {domain: _union(found) for domain, found in alike.items()}
    made: dict[str, list[Step]] = {}
    for asset in wants.assets:
        if asset.key in wanted:
            these = wanted[asset.key]
            cells = these.cells(chunk, anchor=anchors[these.partitions.domain])
            made[asset.key] = [_step(wants, asset, part, made, number) for number, part in cells]
    return tuple(step for steps in made.values() for step in steps)


def _union(alike: Sequence[PartitionSet]) -> PartitionSet:
    return PartitionSet(alike[0].partitions, tuple(span for one in alike for span in one.spans))


def _step(wants: _Wants, asset: Asset, part: PartitionSet, made: Mapping[str, Sequence[Step]], chunk: int) -> Step:
    state = wants.states(asset)
    each = state.rows_per_partition
    return Step(
        id=f"{asset.key}/{part.extent}" if asset.partitioned else asset.key,
        asset=asset,
        partitions=part,
        inputs=tuple(_input(wants, asset, part, edge, made) for edge in wants.graph.inputs(asset)),
        reasons=tuple(
            Reason(r.cause, r.partitions & part, r.about) for r in wants.reasons[asset.key] if r.partitions & part
        ),
        now=wants.now,
        chunk=chunk,
        contents=state.contents(part),
        since=state.version,
        rows=None if each is None else round(each * len(part)),
    )


def _input(wants: _Wants, asset: Asset, part: PartitionSet, edge: Edge, made: Mapping[str, Sequence[Step]]) -> Input:
    needed = wants.needed(asset, edge, part)
    return Input(
        edge.parameter.name,
        edge.asset,
        needed,
        wants.states(edge.asset).version,
        _makers(made.get(edge.asset.key, ()), needed),
        edge.rule,
        wants.states(edge.asset).contents(needed) if edge.asset.external else {},
    )


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
    hull = PartitionSet(first.partitions.partitions, spans).extent if first.asset.partitioned else ""
    again = f" ({turn + 1})" if turn else ""
    return f"{first.asset.maker.name}/{hull}".rstrip("/") + again
