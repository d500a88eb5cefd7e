"""What a run asks of Prefect's API: a few requests a step, whatever tags its assets have, and no limits that aren't."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from uuid import uuid4

import httpx
import polars as pl
import pytest
from prefect import tags
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import TaskRun
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE,
    get_current_settings,
    temporary_settings,
)

from lakehouse import Daily, Lakehouse, PartitionRange, Run, bronze, silver
from lakehouse.execution.engine import Silent
from lakehouse.integrations.prefect import engine
from lakehouse.integrations.prefect.engine import PrefectEngine
from tests.support.waiting import task_runs

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]

daily = Daily("2013-01-01", end="2014-01-01", column="date")
FOUR_DAYS, EIGHT_DAYS = "2013-01-01...2013-01-04", "2013-01-01...2013-01-08"
_LIMITS = "/v2/concurrency_limits"


def _lake(folder: Path, tag: str) -> Lakehouse:
    @bronze(partitions=daily, tags=["raw"])
    def days(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"date": partitions.keys()})

    @silver(partitions=daily, tags=[tag])
    def again(days: pl.LazyFrame) -> pl.LazyFrame:
        return days

    return Lakehouse([days, again], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Method and path of every request to the API, by whichever client and thread."""
    found: list[str] = []

    def noted(request: httpx.Request) -> None:
        found.append(f"{request.method} {request.url.path.removeprefix('/api')}")

    sync, asynchronous = httpx.Client.send, httpx.AsyncClient.send

    def send(self: httpx.Client, request: httpx.Request, **more: object) -> httpx.Response:
        noted(request)
        return sync(self, request, **more)  # type: ignore[arg-type]

    async def send_later(self: httpx.AsyncClient, request: httpx.Request, **more: object) -> httpx.Response:
        noted(request)
        return await asynchronous(self, request, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(httpx.Client, "send", send)
    monkeypatch.setattr(httpx.AsyncClient, "send", send_later)
    return found


def _materialize(lake: Lakehouse, days: str) -> Run:
    return lake.materialize(["bronze.days", "silver.again"], days, chunk=1, engine=PrefectEngine(workers=1))


def _tasks(client: SyncPrefectClient, run: Run) -> dict[str, TaskRun]:
    (flow_run,) = {fact.flow_run for fact in run.facts}
    return task_runs(client, flow_run, [step.id for step in run.plan.steps])


def test_a_step_asks_little_and_never_for_limits(tmp_path: Path, asked: list[str]) -> None:
    counts = []
    for number, days in enumerate((FOUR_DAYS, EIGHT_DAYS)):
        asked.clear()
        assert _materialize(_lake(tmp_path / str(number), "curated"), days).ok
        counts.append(Counter(asked))
    few, many = counts
    limits = {request: times for request, times in many.items() if _LIMITS in request}
    assert limits == {f"POST {_LIMITS}/filter": 1}, "asked once a run, and for no slot"
    # Logs are sent when there are some to send: by time, not by step.
    more = {r: n - few[r] for r, n in many.items() if n > few[r] and not r.startswith("POST /logs")}
    assert sum(more.values()) <= 8, f"at most one request for each of eight further steps: {more}"


def test_layer_and_tags_are_on_the_flow_run(tmp_path: Path, client: SyncPrefectClient) -> None:
    with tags("nightly"):
        run = _materialize(_lake(tmp_path, "curated"), FOUR_DAYS)
    flow_run = client.read_flow_run(next(fact.flow_run for fact in run.facts))  # type: ignore[arg-type]
    assert set(flow_run.tags) == {"bronze", "silver", "raw", "curated", "nightly"}
    assert {tuple(task.tags) for task in _tasks(client, run).values()} == {("nightly",)}, "a person's own stay"


def test_a_limit_on_a_tag_is_kept(tmp_path: Path, client: SyncPrefectClient, asked: list[str]) -> None:
    tag = f"curated-{uuid4().hex[:8]}"
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=f"tag:{tag}", limit=1))
    asked.clear()
    run = _materialize(_lake(tmp_path, tag), FOUR_DAYS)
    borne = {name.partition("/")[0]: task.tags for name, task in _tasks(client, run).items()}
    assert borne == {"bronze.days": [], "silver.again": [tag]}
    taken = [request for request in asked if "increment" in request]
    assert len(taken) >= 4, "a slot for each step of the asset that has the tag, which Prefect may ask for again"


def test_where_limits_cannot_be_read_steps_bear_all_their_tags(
    tmp_path: Path, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: SyncPrefectClient, **_: object) -> None:
        raise PermissionError("403 Forbidden")

    monkeypatch.setattr(SyncPrefectClient, "read_global_concurrency_limits", refused)
    run = _materialize(_lake(tmp_path, "curated"), "2013-01-01")
    borne = {name.partition("/")[0]: set(task.tags) for name, task in _tasks(client, run).items()}
    assert borne == {"bronze.days": {"bronze", "raw"}, "silver.again": {"silver", "curated"}}


def test_a_temporary_server_writes_in_batches_unless_it_is_set_up_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_health", lambda: None)
    own = {PREFECT_API_URL: None, PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE: 7}
    with temporary_settings(own), engine.connected(Silent()):
        services = get_current_settings().server.services
        given = get_current_settings().to_environment_variables(exclude_unset=True)
    assert (services.task_run_recorder.batch_size, services.task_run_recorder.read_batch_size) == (100, 100)
    assert services.event_persister.batch_size == 7, "a person's own"
    assert given["PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL"] == "2.0", "the server's process gets it"
