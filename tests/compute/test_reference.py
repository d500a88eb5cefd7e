"""January of the reference lakehouse: its raw flights are extracted by workers, eight days side by side."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun

from lakehouse import Lakehouse
from lakehouse import assets as reference
from lakehouse.integrations.prefect.engine import PrefectEngine
from lakehouse.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

JANUARY = "2013-01-01...2013-01-31"


def side_by_side(runs: list[FlowRun]) -> int:
    """How many of some runs were under way at the same time, at most."""
    moments = [(run.start_time, 1) for run in runs] + [(run.end_time, -1) for run in runs]
    most = now = 0
    for _, change in sorted(moments, key=lambda one: (str(one[0]), one[1])):
        now += change
        most = max(most, now)
    return most


def test_january_is_extracted_by_workers_and_cleansed_here(
    client: SyncPrefectClient, pool: str, tmp_path: Path
) -> None:
    lake = Lakehouse(
        reference,
        storage=tmp_path / "data",
        lineage=f"sqlite:///{tmp_path}/facts.db",
        settings=load_settings(compute={"bronze.raw_flights": {"work_pool": pool}}),
    )
    run = lake.backfill("+silver.flights", JANUARY, chunk=1, engine=PrefectEngine(workers=8))
    assert run.frame("silver.flights").collect().height == 27_004
    facts = [fact for fact in run.facts if fact.asset == "bronze.raw_flights"]
    assert len(facts) == 31
    (parent,) = {fact.flow_run for fact in facts}
    assert parent is not None
    below = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(parent)]))
    )
    assert {one.name for one in below} == {f"bronze.raw_flights 2013-01-{day:02}" for day in range(1, 32)}
    # How many of eight a machine starts in time is not ours to say; that they are not done one after the other, is.
    assert 1 < side_by_side(below) <= 8
