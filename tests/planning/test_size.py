"""Planning costs what the number of spans and steps costs, not of partitions."""

import sys
from datetime import UTC, datetime
from subprocess import run
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


SCATTERED = """
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lakehouse import AssetGraph, Every, bronze, silver
from lakehouse.lineage import AssetState, Fact, InputPin, Status
from lakehouse.partitions import PartitionSet, Present
from lakehouse.planning.plan import make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Known, Snapshot

start, now = datetime(2013, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
cut = Every(minutes=5, start=start, end=start + timedelta(minutes=5 * {partitions}), column="at")

@bronze(partitions=cut)
def raw(): ...

@silver(partitions=cut)
def clean(raw): ...

graph, chance = AssetGraph([raw, clean]), random.Random(1)
whole = cut.all(now)
((low, high),) = whole.spans

def fact(number, asset, part, status=Status.PUBLISHED):
    read = (InputPin(asset=raw.key, version=1, partitions=part.to_pairs()),) if asset is clean else ()
    return Fact(
        id=f"{{number:032x}}", asset=asset.key, status=status, partitions=part.to_pairs(), run="run", inputs=read,
        started=start, finished=start, after=number - 1, sequence=number, spec=cut.spec,
        version=number if status.committed else None, code_version=asset.code_version,
        schema_version=asset.schema_version, checks_version=asset.checks_version,
    )

facts = {{asset: [fact(1, asset, whole)] for asset in (raw, clean)}}
ways = [(raw, Status.PUBLISHED), (clean, Status.FAILED), (clean, Status.REJECTED), (clean, Status.WIPED)]
for number, at in enumerate(chance.sample(range(low, high), 4000), start=2):
    asset, way = ways[number % 4]
    facts[asset].append(fact(number, asset, PartitionSet(cut, ((at, at + 1),)), way))
known = {{asset.key: Known(AssetState.fold(cut, facts[asset])) for asset in graph}}
plan = make_plan(graph, Request("refresh", "*", chunk=30), Snapshot(known, Present.of(now)))
assert len(plan.partitions(clean)) > 2000
assert len(list(plan.steps)) > 1000
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the peak")
def test_memory_goes_by_what_differs_and_not_by_the_number_of_partitions() -> None:
    def peak(partitions: int) -> float:
        code = SCATTERED.format(partitions=partitions)
        done = run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout) / 1024

    few, many = peak(52_600), peak(526_000)
    assert many < 1.25 * few
    assert many < 500
