"""Planning costs what the number of spans and steps costs, not of partitions."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse import Daily, Hourly
from lakehouse.partitions import PartitionSet
from tests.support.worlds import World, asset

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
