"""What is true of every plan: over random graphs, states and requests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Asset, Daily, Hourly, Monthly, Static, Unpartitioned
from lakehouse.errors import PlanError
from lakehouse.partitions import PartitionMapping, Partitions, PartitionSet, TimePartitions, carry
from lakehouse.planning.plan import Plan
from lakehouse.planning.staleness import Cause
from tests.support.worlds import World, asset

NOW = datetime(2013, 3, 10, 3, 30, tzinfo=UTC)
ZONES = ["UTC", "America/New_York", "Asia/Kolkata"]


def cut(kind: str, zone: str, depth: int) -> Partitions:
    """Partitions that begin later, the further down an asset lies."""
    month = f"2013-{depth + 1:02d}"
    match kind:
        case "daily":
            return Daily(f"{month}-01", timezone=zone, column="c")
        case "hourly":
            return Hourly(f"{month}-01T00:00Z", timezone=zone, column="c")
        case "monthly":
            return Monthly(f"2012-{depth + 8:02d}", timezone=zone, column="c")
        case "static":
            keys = list("abcdef"[: 6 - depth])
            return Static(keys if zone == "UTC" else keys[::-1], column="c")
        case _:
            return Unpartitioned()


def fits(down: Partitions, up: Partitions) -> bool:
    if isinstance(down, Unpartitioned) or isinstance(up, Unpartitioned):
        return True
    if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
        return up.instant(up.parse(up.start)) <= down.instant(down.parse(down.start))
    return isinstance(down, Static) and isinstance(up, Static) and set(down.keys) <= set(up.keys)


@st.composite
def some_of(draw: st.DrawFn, whole: PartitionSet) -> PartitionSet:
    """A random part of a set, as a few spans."""
    if not whole:
        return whole
    hull = whole.hull
    ends = st.integers(hull.low, hull.high)
    spans = draw(st.lists(st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair))), max_size=4))
    return PartitionSet(whole.partitions, tuple(spans)) & whole


@st.composite
def worlds(draw: st.DrawFn) -> World:
    assets: list[Asset] = []
    for number in range(draw(st.integers(1, 6))):
        depth = draw(st.integers(0, 1)) if number else 0
        kind = draw(st.sampled_from(["daily", "daily", "hourly", "monthly", "static", "none"]))
        partitions = cut(kind, draw(st.sampled_from(ZONES)), depth)
        candidates = [a for a in assets if fits(partitions, a.partitions)]
        inputs = draw(st.lists(st.sampled_from(candidates), unique=True, max_size=3)) if candidates else []
        layer = "silver" if inputs else "bronze"
        assets.append(asset(f"{layer}.a{number}", *(a.name for a in inputs), partitions=partitions))
    present = {a.key: draw(some_of(a.partitions.all(NOW))) for a in assets}
    versions = {a.key: draw(st.integers(0, 50)) for a in assets}
    return World(assets, present, versions, NOW)


Case = tuple[World, Plan, dict[str, Any]]


@st.composite
def plans(draw: st.DrawFn) -> Case:
    world = draw(worlds())
    named = draw(st.booleans())
    keys = [a.key for a in world.graph]
    targets = draw(st.lists(st.sampled_from(keys), unique=True, min_size=1, max_size=1 if named else None))
    options: dict[str, Any] = {
        "upstream": draw(st.sampled_from(["missing", "missing", "all", "none"])),
        "refresh": draw(st.booleans()),
        "chunk": draw(st.sampled_from([1, 2, 7, 30, 1000])),
    }
    ready = ready_by_now(world)[targets[0]]
    if named and ready and world.graph[targets[0]].partitioned:
        options["partitions"] = draw(some_of(ready)) or ready
    # One step for each hour would be a thousand steps, which shows nothing that a hundred don't.
    if options["chunk"] < 7 and any(isinstance(a.partitions, Hourly) for a in world.graph):
        options["chunk"] = 30
    try:
        plan = world.plan(*targets, now=NOW, **options)
    except PlanError:
        assert options["upstream"] == "none"
        options["upstream"] = "missing"
        plan = world.plan(*targets, now=NOW, **options)
    return world, plan, options


def ready_by_now(world: World) -> Mapping[str, PartitionSet]:
    """Partition by partition: is its time over, and that of all it is made from?"""
    ready: dict[str, PartitionSet] = {}
    for one in world.graph:
        found = one.partitions.all(NOW)
        if isinstance(one.partitions, Unpartitioned) and not all(ready[e.asset.key] for e in world.graph.inputs(one)):
            found = one.partitions.empty()  # there is nothing to make it from
        for edge in world.graph.inputs(one):
            if isinstance(one.partitions, TimePartitions) and isinstance(edge.asset.partitions, TimePartitions):
                theirs = ready[edge.asset.key]
                over = edge.asset.partitions.instant(theirs.hull.high) if theirs else NOW.replace(year=1900)
                low, high = one.partitions.bounds(NOW)
                while low < high and one.partitions.instant(high) > over:
                    high -= 1
                found = found & PartitionSet(one.partitions, ((low, high),))
        ready[one.key] = found
    return ready


def union(plan: Plan, one: Asset) -> PartitionSet:
    return PartitionSet(one.partitions, tuple(s for step in plan.of(one) for s in step.partitions.spans))


@given(plans())
@settings(max_examples=150)
def test_every_input_partition_is_there_or_made_by_a_step_before(case: Case) -> None:
    world, plan, options = case
    made = {step.id: step for step in plan.steps}
    for step in plan.steps:
        for edge, read in zip(world.graph.inputs(step.asset), step.inputs, strict=True):
            assert (read.parameter, read.asset) == (edge.parameter.name, edge.asset)
            assert read.version == world.state(read.asset).version
            builders = [made[i] for i in read.steps]
            assert all(builder.asset is read.asset for builder in builders)
            by_steps = PartitionSet(read.asset.partitions, tuple(s for m in builders for s in m.partitions.spans))
            if options["upstream"] == "all":
                assert read.partitions <= by_steps
            assert read.partitions <= by_steps | world.state(read.asset).present
            # No step that makes some of it is forgotten, and none is waited for in vain.
            assert set(read.steps) == {m.id for m in plan.of(read.asset) if m.partitions & read.partitions}


@given(plans())
@settings(max_examples=150)
def test_every_input_is_read_whole(case: Case) -> None:
    world, plan, _ = case
    ready = ready_by_now(world)
    for step in plan.steps:
        for read in step.inputs:
            needed = PartitionMapping(step.asset.partitions, read.asset.partitions, NOW).upstream(step.partitions)
            if isinstance(step.asset.partitions, Unpartitioned):
                assert read.partitions == ready[read.asset.key]
            else:
                assert read.partitions == needed
                assert read.partitions <= read.asset.partitions.all(NOW)


@given(plans())
@settings(max_examples=150)
def test_steps_stand_in_an_order_in_which_they_can_run(case: Case) -> None:
    _, plan, _ = case
    done: set[str] = set()
    for step in plan.steps:
        assert set(step.after) <= done
        assert step.after == tuple(dict.fromkeys(i for read in step.inputs for i in read.steps))
        assert step.id not in done
        done.add(step.id)
    place = {unit.id: n for n, unit in enumerate(plan.batches)}
    assert sorted(s.id for unit in plan.batches for s in unit.steps) == sorted(done)
    assert all(place[before] < place[unit.id] for unit in plan.batches for before in unit.after)


@given(plans())
@settings(max_examples=150)
def test_steps_build_what_is_wanted_once_and_no_more(case: Case) -> None:
    world, plan, options = case
    ready = ready_by_now(world)
    targets = {one.key for one in plan.targets}
    for one in world.graph:
        built = union(plan, one)
        assert sum(len(step.partitions) for step in plan.of(one)) == len(built)
        assert all(0 < len(step.partitions) <= options["chunk"] for step in plan.of(one))
        assert built <= ready[one.key]

        wanted = one.partitions.empty()
        if one.key in targets:
            asked = options.get("partitions", ready[one.key])
            named = "partitions" in options or isinstance(one.partitions, Unpartitioned)
            there = world.state(one).present
            if options["refresh"] or not named:
                wanted = asked - there
                if options["refresh"]:  # what may change because an input is built
                    for edge in world.graph.inputs(one):
                        wanted = wanted | (carry(union(plan, edge.asset), one.partitions, NOW) & asked)
                assert plan.current[one.key] == asked - built
            else:
                wanted = asked
                assert one.key not in plan.current
        needed = one.partitions.empty()
        for consumer in world.graph.consumers(one):
            for step in plan.of(consumer):
                needed = needed | (carry(step.partitions, one.partitions, NOW) & ready[one.key])
        if options["upstream"] != "all":
            needed = needed - world.state(one).present
        assert built == wanted | needed


@given(plans())
@settings(max_examples=150)
def test_every_partition_has_a_reason(case: Case) -> None:
    world, plan, _ = case
    for step in plan.steps:
        told = step.asset.partitions.empty()
        for reason in step.reasons:
            assert reason.partitions
            assert reason.partitions <= step.partitions
            consumers = {c.key for c in world.graph.consumers(step.asset)}
            inputs = {edge.asset.key for edge in world.graph.inputs(step.asset)}
            match reason.cause:
                case Cause.UPSTREAM | Cause.REBUILT:
                    assert reason.about in consumers
                case Cause.MAYBE | Cause.INPUT:
                    assert reason.about in inputs
                case _:
                    assert reason.about is None
            assert not told & reason.partitions
            told = told | reason.partitions
        assert told == step.partitions


@given(plans())
@settings(max_examples=100)
def test_assets_that_are_cut_alike_are_chunked_alike(case: Case) -> None:
    _, plan, _ = case
    for step in plan.steps:
        for read in step.inputs:
            if read.asset.partitions.domain == step.asset.partitions.domain:
                assert len(read.steps) <= 1


@given(plans())
@settings(max_examples=60)
def test_the_same_request_makes_the_same_plan(case: Case) -> None:
    world, plan, options = case
    assert world.plan(*(one.key for one in plan.targets), now=NOW, **options) == plan


@given(plans())
@settings(max_examples=60)
def test_after_all_is_built_nothing_is_left_to_do(case: Case) -> None:
    world, plan, options = case
    present = {one.key: world.state(one).present | union(plan, one) for one in world.graph}
    after = World(list(world.graph), present, now=NOW)
    again = after.plan(*(one.key for one in plan.targets), now=NOW, **options | {"refresh": True})
    assert not again
