"""A real server with all its services and a real worker: a schedule fires, an event follows, both are seen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from lakehouse.verbs import open_lakehouse
from tests.prefect.conftest import Shop, make_pool
from tests.support.waiting import end, eventually

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

T = TypeVar("T")


def prefect(*words: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "prefect", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )


def wait(for_what: str, look: Callable[[], T | None], logs: list[Path], deadline: float = 300) -> T:
    """What a look finds, once it is not None; the failure tells the ends of these logs."""
    return eventually(
        look,
        lambda found: True,
        for_what,
        seconds=deadline,
        every=0.5,
        told=lambda: "\n".join(log.read_text()[-3000:] for log in logs),
    )


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A server as people start it, with scheduler and triggers, which the one of the other tests doesn't have."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: url}):
        for name, value in {
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        }.items():
            patch.setenv(name, value)
        patch.delenv("PREFECT_API_URL", raising=False)
        log = home / "server.log"
        process = prefect("server", "start", "--port", str(port), log=log)
        try:
            patch.setenv("PREFECT_API_URL", url)
            with get_client(sync_client=True) as client:
                wait("the server", lambda: None if client.api_healthcheck() else True, [log])
                yield client
        finally:
            end(process)


def runs_of(client: SyncPrefectClient, deployment: str) -> list[FlowRun]:
    return client.read_flow_runs(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[deployment])))


def artifact_of(client: SyncPrefectClient, run: FlowRun) -> str:
    (found,) = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["materialization"])),
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
    )
    return str(found.data)


def by_hand(*words: str) -> None:
    """Call the command line as a person would, in a process of its own."""
    subprocess.run([sys.executable, "-P", "-m", "lakehouse", *words], check=True, capture_output=True, timeout=120)


def test_a_schedule_fires_and_what_is_downstream_follows_each_publication(
    server: SyncPrefectClient, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool = make_pool(server, monkeypatch)
    shop.declare(every="15s", report="")
    assert shop("deploy").code == 0
    log = tmp_path / "worker.log"

    def ended(deployment: str, number: int = 1) -> list[FlowRun] | None:
        done = [run for run in runs_of(server, deployment) if run.state is not None and run.state.is_final()]
        return sorted(done, key=lambda run: str(run.start_time)) if len(done) >= number else None

    worker = prefect("worker", "start", "--pool", pool, "--type", "process", log=log, PREFECT_WORKER_QUERY_SECONDS="1")
    try:
        first, *_ = wait("the scheduled refresh", lambda: ended("refresh-intake"), [log])
        wait("the refresh that follows", lambda: ended("refresh-gold.total"), [log])
        by_hand("materialize", "bronze.orders")
        shop.sell(20)
        by_hand("materialize", "bronze.orders", "--partitions", "2013-01-02")
        follow = wait("the refresh that follows new content", lambda: ended("refresh-gold.total", 2), [log])
    finally:
        end(worker)

    def seen(run: FlowRun) -> dict[str, Any]:
        assert run.state is not None
        assert run.created_by is not None
        return {
            "name": run.name,
            "state": (run.state.name, run.state.message),
            "tags": set(run.tags) - {"auto-scheduled", "lakehouse", f"declared-by:{shop.name}"},
            "by": run.created_by.type,
        }

    assert seen(first) == {
        "name": "refresh bronze.orders",
        "state": ("Completed", "3 rows of 1 asset in 1 step"),
        "tags": {"bronze", "bronze.orders", "intake"},
        "by": "SCHEDULE",
    }
    # One for each time that there was new content: not for its own publications, nor for those of what was there.
    after = {"name": "refresh gold.total", "tags": {"gold", "gold.total"}, "by": "AUTOMATION"}
    assert [seen(run) for run in follow] == [
        after | {"state": ("Completed", "4 rows of 2 assets in 2 steps")},
        after | {"state": ("Completed", "2 rows of 2 assets in 2 steps")},
    ]
    assert len(runs_of(server, "refresh-gold.total")) == 2
    assert "| bronze.orders | 2013-01-01...2013-01-03 | 3 |" in artifact_of(server, first)
    assert "| silver.clean | 2013-01-02 | 1 |" in artifact_of(server, follow[1])

    # The work was done, in the project's own lakehouse.
    lake = open_lakehouse()
    assert lake.load("gold.total").collect().item() == 40
    assert lake.load("bronze.orders").select(pl.len()).collect().item() == 3
    assert {fact.flow_run for fact in lake.lineage_store.facts("gold.total")} == {str(run.id) for run in follow}


INTAKE = """
from typing import Annotated
from pathlib import Path

import polars as pl

from lakehouse import Daily, Freshness, bronze, silver, source
from lakehouse.io import Csv, Files, RawFiles

daily = Daily("2013-01-01", end="2013-02-01", column="date")


@source(partitions=daily, freshness=Freshness(watched=True))
def landing() -> Files:
    return Files("in/{partition}/*.csv")


@bronze(partitions=daily)
def raw(landing: RawFiles) -> RawFiles:
    return landing


@silver(partitions=daily, freshness=Freshness(after_inputs=True))
def lines(raw: Annotated[pl.LazyFrame, Csv()]) -> pl.LazyFrame:
    return raw
"""


def test_what_arrives_starts_what_is_made_from_it_for_the_partitions_that_arrived(
    server: SyncPrefectClient, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool = make_pool(server, monkeypatch)
    (shop.folder / f"{shop.name}.py").write_text(INTAKE)
    sys.modules.pop(shop.name, None)
    (shop.folder / "in").mkdir()
    assert shop("deploy").code == 0
    log = tmp_path / "worker.log"

    def arrives(*days: int, parts: int = 1) -> None:
        for day in days:
            folder = shop.folder / f"in/2013-01-{day:02}"
            folder.mkdir(exist_ok=True)
            for part in range(parts):
                (folder / f"{part}.csv").write_text(f"n\n{part}\n")

    def ended(number: int) -> list[FlowRun] | None:
        done = [
            run for run in runs_of(server, "refresh-silver.lines") if run.state is not None and run.state.is_final()
        ]
        return sorted(done, key=lambda run: str(run.start_time)) if len(done) >= number else None

    def watching() -> bool | None:
        return (
            any(run.state is not None and run.state.is_running() for run in runs_of(server, "watch-source.landing"))
            or None
        )

    worker = prefect("worker", "start", "--pool", pool, "--type", "process", log=log, PREFECT_WORKER_QUERY_SECONDS="1")
    try:
        wait("the watcher", watching, [log])
        arrives(1, 2, 3, parts=20)
        wait("the refresh that follows a burst", lambda: ended(1), [log])
        arrives(7)
        first, second = wait("the refresh that follows a file", lambda: ended(2), [log])
    finally:
        end(worker)
    assert [str(run.state.message).partition(";")[0] for run in (first, second) if run.state is not None] == [
        "120 rows of 2 assets in 2 steps",
        "2 rows of 2 assets in 2 steps",
    ]
    assert [run.created_by.type for run in (first, second) if run.created_by is not None] == ["AUTOMATION"] * 2
    assert open_lakehouse().load("silver.lines").collect().height == 61
