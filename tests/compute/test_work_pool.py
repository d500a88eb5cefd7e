"""A work pool with a real worker, whose processes call the functions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun

from lakehouse.compute.place import Place
from lakehouse.definitions.compute import WorkPool
from lakehouse.integrations.prefect.work_pool import PrefectWorkPool
from lakehouse.lineage import Status
from lakehouse.testing import PlaceConformance
from lakehouse.testing.places import _Lake

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


def orders(client: SyncPrefectClient, lake: _Lake) -> list[FlowRun]:
    """The flow runs of the orders about the lakehouse's tables."""
    found = client.read_flow_runs(limit=200)
    return [run for run in found if str(run.parameters.get("order", "")).startswith(str(lake.table(lake.graph["bronze.numbers"]).uri))]


def logs(client: SyncPrefectClient, run: FlowRun) -> list[str]:
    return [log.message for log in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))]


class TestWorkPool(PlaceConformance):
    pytestmark: ClassVar = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.xdist_group("prefect")]
    hurry: ClassVar[float] = 30.0

    @pytest.fixture
    def place(self, pool: str) -> Place:
        return PrefectWorkPool(WorkPool(pool))


class TestOneRun(PlaceConformance):
    """The core of it, in one run: the rest of the suite is slow."""

    @pytest.fixture
    def place(self, pool: str) -> Place:
        return PrefectWorkPool(WorkPool(pool, env={"TEAM": "flights"}))
