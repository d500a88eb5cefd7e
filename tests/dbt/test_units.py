"""How steps are grouped: whatever the graph, each step is done once, and after all that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Asset
from lakehouse.maker import Made, Order
from tests.plan.worlds import DAILY, World, asset


@dataclass(frozen=True)
class Team:
    """A maker that is only named."""

    name: str

    def make(self, orders: Sequence[Order]) -> Mapping[str, Made]:
        raise NotImplementedError

    def release(self, orders: Sequence[Order]) -> None:
        raise NotImplementedError


TEAMS = {None: None, "a": Team("a"), "b": Team("b")}


def world(*made: tuple[str | None, list[int]]) -> World:
    """Assets by their number, each with its maker and the numbers of its inputs."""
    assets: list[Asset] = []
    for number, (maker, inputs) in enumerate(made):
        one = asset(f"gold.g{number}", *(f"g{i}" for i in inputs), partitions=DAILY)
        assets.append(replace(one, maker=TEAMS[maker]))
    return World(assets)


def units(given: World, chunk: int = 30) -> list[set[str]]:
    plan = given.plan(*given.graph.assets, partitions="2013-01-01...2013-01-04", chunk=chunk)
    done: set[str] = set()
    seen: set[str] = set()
    for unit in plan.units:
        assert set(unit.after) <= seen, "in an order in which they can run"
        seen.add(unit.id)
        for step in unit.steps:
            assert step.id not in done
            assert set(step.after) <= done
            done.add(step.id)
        assert len({s.asset.maker for s in unit.steps}) == 1
        assert len(unit.steps) == 1 or unit.steps[0].asset.maker is not None
    assert done == {step.id for step in plan.steps}
    return [{s.asset.name for s in unit.steps} for unit in plan.units]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    made = []
    for number in range(draw(st.integers(1, 8))):
        maker = draw(st.sampled_from([None, "a", "b"]))
        inputs = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        made.append((maker, inputs))
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
