"""A work pool with a real server and a real worker, whose processes call the functions."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterTaskRunId,
    TaskRunFilter,
    TaskRunFilterId,
)
from prefect.client.schemas.objects import FlowRun

from lakehouse.compute.place import Place
from lakehouse.definitions.compute import WorkPool
from lakehouse.integrations.prefect.engine import PrefectEngine
from lakehouse.integrations.prefect.work_pool import PrefectWorkPool
from lakehouse.lineage import Status
from lakehouse.testing import PlaceConformance
from lakehouse.testing.places import PlacedLakehouse, doubled, script_in
from tests.support.waiting import eventually, logs, task_runs

GROUP = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


class TestWorkPool(PlaceConformance):
    pytestmark: ClassVar = [pytest.mark.slow, *GROUP]
    hurry: ClassVar[float] = 30.0

    @pytest.fixture
    def place(self, pool: str) -> Place:
        return PrefectWorkPool(WorkPool(pool))


@pytest.fixture
def lake(pool: str, tmp_path: Path) -> PlacedLakehouse:
    lake = PlacedLakehouse([doubled], storage=str(tmp_path / "data"), lineage=f"sqlite:///{tmp_path}/facts.db")
    lake.elsewhere = PrefectWorkPool(WorkPool(pool, cpu=1024, env={"TEAM": "flights"}))
    return lake


def children(client: SyncPrefectClient, run: str) -> list[FlowRun]:
    """The flow runs below another one."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(run)]))
    )


class TestARun:
    """One run whose Bronze is made in the pool, two steps side by side, and whose Silver is made here."""

    pytestmark: ClassVar = GROUP

    def test_it_is_seen_where_its_steps_run_and_what_they_say(
        self, client: SyncPrefectClient, lake: PlacedLakehouse, tmp_path: Path
    ) -> None:
        lake.here = {"silver.doubled"}
        with script_in(tmp_path, {"2013-01-03": "null"}):
            run = lake.backfill(
                "+silver.doubled",
                "2013-01-01...2013-01-04",
                chunk=2,
                engine=PrefectEngine(workers=2),
                raise_on_failure=False,
            )
        assert list(run.published("silver.doubled")) == ["2013-01-01", "2013-01-02", "2013-01-04"]
        fact = next(f for f in run.facts if f.asset == "bronze.numbers" and f.status is Status.PUBLISHED)
        assert fact.flow_run is not None
        assert fact.task_run is not None
        below = children(client, fact.flow_run)
        assert {one.name for one in below} == {
            "bronze.numbers 2013-01-01...2013-01-02",
            "bronze.numbers 2013-01-03...2013-01-04",
        }
        for one in below:
            assert one.state is not None
            assert one.state.is_completed()
            assert one.job_variables is not None
            assert one.job_variables["env"]["TEAM"] == "flights"
            assert "cpu" not in one.job_variables  # of which a pool of processes knows nothing
            assert set(one.parameters) == {"order"}
            # What the function logs is seen under its own run.
            days = one.name.removeprefix("bronze.numbers ").split("...")
            logs(client, LogFilter(flow_run_id=LogFilterFlowRunId(any_=[one.id])), f"making {', '.join(days)}")
        # The step's own task run says where it is done, and its child comes after it in the graph.
        steps = task_runs(client, fact.flow_run, [step.id for step in run.plan.steps])
        made = {task.id for name, task in steps.items() if name.startswith("bronze.numbers/")}
        assert len(made) == 2
        calls = TaskRunFilter(
            id=TaskRunFilterId(any_=[one.parent_task_run_id for one in below if one.parent_task_run_id])
        )

        def links() -> set[object]:
            found = client.read_task_runs(task_run_filter=calls)
            return {getattr(parent, "id", None) for task in found for parent in task.task_inputs.get("__parents__", [])}

        eventually(links, lambda found: found == made, f"links to {made}")
        for id in made:
            told = f"is made in work pool {lake.elsewhere.declared.name}: flow run"  # type: ignore[union-attr]
            logs(client, LogFilter(task_run_id=LogFilterTaskRunId(any_=[id])), told)
