"""How steps are grouped: whatever the graph, each step is done once, and after all that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Asset
from lakehouse.definitions.builder import BuildRequest, Built
from tests.support.worlds import DAILY, World, asset


@dataclass(frozen=True)
class Team:
    """A builder that is only named."""

    name: str

    def make(self, orders: Sequence[BuildRequest]) -> Mapping[str, Built]:
        raise NotImplementedError

    def tests(self, asset: Asset) -> tuple[str, ...]:
        return ()

    def release(self, orders: Sequence[BuildRequest]) -> None:
        raise NotImplementedError


TEAMS = {None: None, "a": Team("a"), "b": Team("b")}


def world(*made: tuple[str | None, list[int]]) -> World:
    """Assets by their number, each with its builder and the numbers of its inputs."""
    assets: list[Asset] = []
    for number, (builder, inputs) in enumerate(made):
        one = asset(f"gold.g{number}", *(f"g{i}" for i in inputs), partitions=DAILY)
        assets.append(replace(one, builder=TEAMS[builder]))
    return World(assets)


def units(given: World, chunk: int = 30) -> list[set[str]]:
    plan = given.plan(*given.graph.assets, partitions="2013-01-01...2013-01-04", chunk=chunk)
    done: set[str] = set()
    seen: set[str] = set()
    for unit in plan.batches:
        assert set(unit.after) <= seen, "in an order in which they can run"
        seen.add(unit.id)
        for step in unit.steps:
            assert step.id not in done
            assert set(step.after) <= done
            done.add(step.id)
        assert len({s.asset.builder for s in unit.steps}) == 1
        assert len(unit.steps) == 1 or unit.steps[0].asset.builder is not None
    assert done == {step.id for step in plan.steps}
    return [{s.asset.name for s in unit.steps} for unit in plan.batches]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    made = []
    for number in range(draw(st.integers(1, 8))):
        builder = draw(st.sampled_from([None, "a", "b"]))
        inputs = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        made.append((builder, inputs))
    return world(*made)


@given(worlds(), st.integers(1, 5))
def test_each_step_is_done_once_and_after_what_it_needs(some: World, chunk: int) -> None:
    units(some, chunk=chunk)


def test_as_few_as_can_be_where_that_is_plain() -> None:
    assert units(world(("a", []), ("a", [0]), ("a", [0, 1]))) == [{"g0", "g1", "g2"}]
    assert units(world(("a", []), (None, [0]), ("a", [1]))) == [{"g0"}, {"g1"}, {"g2"}]
    # What polars lies between is apart; a neighbour that needs nothing of it isn't.
    assert sorted(map(sorted, units(world(("a", []), (None, [0]), ("a", [1]), ("a", [0]))))) == [
        ["g0", "g3"],
        ["g1"],
        ["g2"],
    ]
    assert len(units(world(("a", []), ("b", [0]), ("a", [1]), ("b", [2])))) == 4
    assert len(units(world(("a", []), ("a", [0])), chunk=2)) == 2
