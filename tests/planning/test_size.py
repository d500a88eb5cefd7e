"""Planning costs what the number of spans and steps costs, not of partitions."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse import Daily, Hourly
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Step, Steps
from tests.support.worlds import DAILY, World, asset

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ordinals whose key is asked for, or that are walked over one by one."""
    seen: list[int] = []

    def watch(kind: Any) -> None:
        plain = kind.key

        def key(self: Any, ordinal: int) -> str:
            seen.append(ordinal)
            found: str = plain(self, ordinal)
            return found

        monkeypatch.setattr(kind, "key", key)

    watch(Daily)
    watch(Hourly)
    walk = PartitionSet.ordinals

    def ordinals(self: PartitionSet) -> Any:
        for ordinal in walk(self):
            seen.append(ordinal)
            yield ordinal

    monkeypatch.setattr(PartitionSet, "ordinals", ordinals)
    return seen


def test_a_hundred_thousand_days_are_planned_in_few_spans(asked: list[int]) -> None:
    daily = Daily("1700-01-01", end="2000-01-01", column="d")
    assets = [
        asset("bronze.raw", partitions=daily),
        asset("silver.clean", "raw", partitions=daily),
        asset("gold.top", "clean", partitions=daily),
    ]
    world = World(assets, {"bronze.raw": "1700-01-01...1799-12-31"})
    asked.clear()
    plan = world.plan("gold.top", now=NOW, chunk=3650)

    assert len(plan.partitions("gold.top")) == 109_572
    assert len(plan.of("gold.top")) == 31
    assert max(len(step.partitions.spans) for step in plan.steps) == 1
    assert max(len(read.partitions.spans) for step in plan.steps for read in step.inputs) == 1
    assert len(asked) <= 3 * len(plan)


def test_ten_years_of_hours_made_into_days_are_planned_in_few_spans(asked: list[int]) -> None:
    hourly = Hourly("2012-01-01T00:00", column="at")
    zone = "America/New_York"
    days = Daily("2012-01-02", timezone=zone, column="d")
    world = World([asset("bronze.raw", partitions=hourly), asset("silver.days", "raw", partitions=days)])
    asked.clear()
    plan = world.plan("silver.days", now=NOW, chunk=1000)

    assert len(plan.partitions("bronze.raw")) > 100_000
    assert len(plan.partitions("bronze.raw").spans) == 1
    assert max(len(read.partitions.spans) for step in plan.steps for read in step.inputs) == 1
    assert len(asked) <= 3 * len(plan)


def test_a_plan_that_finds_all_there_asks_for_no_key(asked: list[int]) -> None:
    daily = Daily("1700-01-01", end="2000-01-01", column="d")
    world = World([asset("bronze.raw", partitions=daily)], {"bronze.raw": "1700-01-01...1999-12-31"})
    asked.clear()
    plan = world.plan("bronze.raw", now=NOW)
    assert not plan
    assert len(plan.current["bronze.raw"]) == 109_572
    assert asked == []


def test_steps_are_made_when_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    daily = Daily("1700-01-01", end="2000-01-01", column="d")
    made = [asset("bronze.a0", partitions=daily)]
    made += [asset(f"silver.a{n}", f"a{n - 1}", partitions=daily) for n in range(1, 50)]
    world, steps = World(made), list[str]()

    def watched(**values: Any) -> Step:
        steps.append(values["id"])
        return Step(**values)

    monkeypatch.setattr("lakehouse.planning.steps.Step", watched)
    plan = world.plan("silver.a49", now=NOW, chunk=30)

    assert plan
    assert len(plan) == 50 * 3653
    assert [len(plan.partitions(one)) for one in plan.assets] == [109_572] * 50
    assert repr(plan) == "Plan(50 assets, 5,478,600 partitions, 182,650 steps)"
    assert steps == []
    assert len(plan.of("silver.a7")) == len(steps) == 3653
    assert plan.of("silver.a7")[5].after == (plan.of("silver.a6")[5].id,)


def test_a_plan_can_be_pickled() -> None:
    world = World([asset("bronze.raw", partitions=DAILY), asset("silver.clean", "raw", partitions=DAILY)])
    steps = world.plan("silver.clean", chunk=7).steps
    made = Steps.__new__(Steps)
    made.__dict__.update(steps.__getstate__())
    assert (made, len(made), made.wanted) == (steps, len(steps), steps.wanted)
    assert tuple(made) == steps
