"""Deployed: a schedule and an event each start a refresh whose Bronze is made in a work pool."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun

from lakehouse.verbs import open_lakehouse
from tests.compute.conftest import start_worker
from tests.prefect.conftest import Shop, make_pool
from tests.prefect.conftest import plain as plain
from tests.prefect.conftest import shop as shop
from tests.prefect.test_worker import runs_of, wait
from tests.prefect.test_worker import server as server
from tests.support.waiting import end

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

ASSETS = '''
import os
from pathlib import Path

import polars as pl

from lakehouse import Freshness, Observed, bronze, silver, source


@source(freshness=Freshness(every="20s"))
def landing() -> str:
    """What the supplier writes."""
    return Path("amount.json").read_text()


@bronze(freshness=Freshness(every="30s"))
def ticks() -> pl.LazyFrame:
    """On a schedule."""
    return pl.LazyFrame({"pid": [os.getpid()]})


@bronze(freshness=Freshness(after_inputs=True))
def orders(landing: Observed) -> pl.LazyFrame:
    """When there is something new."""
    return pl.LazyFrame({"pid": [os.getpid()], "amount": [Path("amount.json").read_text()]})


@silver
def here(orders: pl.LazyFrame) -> pl.LazyFrame:
    """Of the orchestrator's own."""
    return orders.with_columns(here=pl.lit(os.getpid()))
'''


def test_what_starts_by_a_schedule_or_an_event_has_its_bronze_made_in_the_pool(
    server: SyncPrefectClient, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool = make_pool(server, monkeypatch)
    (shop.folder / f"{shop.name}.py").write_text(ASSETS)
    (shop.folder / "pyproject.toml").write_text(
        f'[tool.lakehouse]\nmodule = "{shop.name}"\n[tool.lakehouse.compute]\nbronze = {{ work_pool = "{pool}" }}\n'
    )
    assert shop("deploy").code == 0
    log = tmp_path / "worker.log"

    def ended(deployment: str) -> FlowRun | None:
        done = [run for run in runs_of(server, deployment) if run.state is not None and run.state.is_final()]
        return done[0] if done else None

    worker = start_worker(pool, log)
    try:
        event = wait("the refresh after an event", lambda: ended("refresh-bronze.orders"), [log], 400)
        started = wait("the scheduled refresh", lambda: ended("refresh-bronze.ticks"), [log], 400)
    finally:
        end(worker)
    assert started.created_by is not None
    assert started.created_by.type == "SCHEDULE"
    assert event.created_by is not None
    assert event.created_by.type == "AUTOMATION"
    for parent, name in ((event, "bronze.orders"), (started, "bronze.ticks")):
        assert parent.state is not None
        assert parent.state.is_completed(), parent.state.message
        (child,) = server.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id]))
        )
        assert child.name == name
    lake = open_lakehouse()
    assert lake.load("bronze.orders").collect()["amount"].to_list() == ["10"]
