"""The Prefect engine, against a real server: what a person sees there, and what happens when something fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.settings import PREFECT_API_URL, temporary_settings

from lakehouse import Lakehouse, Run
from lakehouse.errors import EngineError, MaterializationFailed
from lakehouse.integrations.prefect.engine import PrefectEngine
from lakehouse.lineage import Fact
from tests.support.toys import ROWS, clean, events, lakehouse_in, totals
from tests.support.waiting import task_runs

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]

DAYS = "2013-01-01...2013-01-20"


def _flow_run(facts: tuple[Fact, ...]) -> str:
    (flow_run,) = {f.flow_run for f in facts}
    assert flow_run is not None
    return flow_run


def _task_runs(client: SyncPrefectClient, run: Run) -> dict[str, Any]:
    """The task runs of a run's steps."""
    return task_runs(client, _flow_run(run.facts), [step.id for step in run.plan.steps])


def test_a_materialization_is_one_flow_run_and_a_task_run_for_each_step(
    lake: Lakehouse,
    client: SyncPrefectClient,
) -> None:
    run = lake.materialize(totals, DAYS, chunk=10)
    assert [r.rows for r in run.results if r.asset == "gold.totals"] == [10, 10]
    flow_run = client.read_flow_run(_flow_run(run.facts))  # type: ignore[arg-type]
    assert flow_run.name == "gold.totals 2013-01-01...2013-01-20"
    assert flow_run.state is not None
    assert flow_run.state.is_completed()
    tasks = _task_runs(client, run)
    assert set(tasks) == {step.id for step in run.plan.steps}
    assert len(tasks) == 6
    one = tasks["silver.clean/2013-01-01...2013-01-10"]
    assert one.tags == [], "each would cost calls to concurrency limits: see test_requests.py"
    assert one.state.message == f"{10 * ROWS} rows"
    assert {f.task_run for f in run.facts if f.asset == "silver.clean"} >= {str(one.id)}


def test_edges_are_prefects_own(lake: Lakehouse, client: SyncPrefectClient) -> None:
    run = lake.materialize(totals, DAYS, chunk=10)
    tasks = _task_runs(client, run)
    inputs = tasks["gold.totals/2013-01-11...2013-01-20"].task_inputs
    upstream = {str(i.id) for given in inputs.values() for i in given if hasattr(i, "id")}
    assert upstream == {str(tasks["silver.clean/2013-01-11...2013-01-20"].id)}


def test_the_result_is_left_as_an_artifact(lake: Lakehouse, client: SyncPrefectClient) -> None:
    run = lake.materialize(totals, DAYS)
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["materialization"])),
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[_flow_run(run.facts)])),  # type: ignore[list-item]
    )
    (artifact,) = artifacts
    assert "| gold.totals | 2013-01-01...2013-01-20 | 20 |" in str(artifact.data)


def test_a_held_back_day_fails_the_flow_run_and_skips_what_depends_on_it(
    lake: Lakehouse,
    spoil: Callable[..., None],
    client: SyncPrefectClient,
) -> None:
    spoil(negative=["2013-01-05"])
    with pytest.raises(MaterializationFailed) as caught:
        lake.materialize(["gold.totals", "silver.calendar"], "2013-01-01...2013-12-31", chunk=365)
    run = caught.value.run
    assert len(run.published(totals)) == 364
    assert run.frame("silver.calendar").collect().height == 365, "another branch goes on"
    flow_run = client.read_flow_run(_flow_run(run.facts))  # type: ignore[arg-type]
    assert flow_run.state is not None
    assert flow_run.state.is_failed()
    states = {name.partition("/")[0]: task.state for name, task in _task_runs(client, run).items()}
    assert states["silver.clean"].name == states["gold.totals"].name == "PartlyPublished"
    assert "2013-01-05" in states["gold.totals"].message


def test_a_step_that_raises_fails_its_task_and_the_others_go_on(
    lake: Lakehouse,
    spoil: Callable[..., None],
    client: SyncPrefectClient,
) -> None:
    spoil(raises=[f"2013-01-{day:02d}" for day in range(1, 11)])
    run = lake.materialize(totals, DAYS, chunk=10, raise_on_failure=False)
    assert run.published(totals).keys()[0] == "2013-01-11"
    states = {name: task.state for name, task in _task_runs(client, run).items()}
    assert states["bronze.events/2013-01-01...2013-01-10"].is_failed()
    assert "the source is down" in states["bronze.events/2013-01-01...2013-01-10"].message
    assert states["silver.clean/2013-01-01...2013-01-10"].name == "Skipped"
    assert states["gold.totals/2013-01-11...2013-01-20"].is_completed()


def test_a_day_that_raises_fails_alone_as_it_does_inline(
    lake: Lakehouse,
    spoil: Callable[..., None],
    client: SyncPrefectClient,
    tmp_path: Path,
) -> None:
    spoil(raises=["2013-01-05"])
    run = lake.materialize(totals, DAYS, chunk=10, raise_on_failure=False)
    inline = lakehouse_in(tmp_path / "inline").materialize(
        totals, DAYS, chunk=10, engine="inline", raise_on_failure=False
    )
    for one, other in zip(run.results, inline.results, strict=True):
        assert replace(one, facts=(), version=0, seconds=0) == replace(other, facts=(), version=0, seconds=0)
    assert [one.failed.keys() for one in run.summaries() if one.failed] == [["2013-01-05"]]
    assert len(run.published(totals)) == 19
    states = {name: task.state for name, task in _task_runs(client, run).items()}
    assert states["bronze.events/2013-01-01...2013-01-10"].name == "PartlyPublished"
    assert "2013-01-05: the function raised" in states["bronze.events/2013-01-01...2013-01-10"].message
    assert states["silver.clean/2013-01-01...2013-01-10"].name == "PartlyPublished"
    assert states["gold.totals/2013-01-11...2013-01-20"].is_completed()


def test_retries_are_prefects_and_every_attempt_is_recorded(
    lake: Lakehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake.materialize(totals, "2013-01-01...2013-12-31", engine="inline", chunk=365)
    grand_total = lake.graph["gold.grand_total"]
    real, calls = grand_total.function, []

    def flaky(totals: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("not yet")
        return real(totals)

    object.__setattr__(grand_total, "function", flaky)
    try:
        run = lake.materialize("gold.grand_total")
    finally:
        object.__setattr__(grand_total, "function", real)
    assert run.frame("gold.grand_total").collect()["days"].item() == 365
    told = [(str(f.status), f.attempt) for f in lake.lineage_store.facts("gold.grand_total")]
    assert told == [("failed", 1), ("published", 2)]


def test_tables_are_prefect_assets_with_rows_and_checks(
    lake: Lakehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emitted: list[dict[str, Any]] = []
    monkeypatch.setattr("prefect.events.emit_event", lambda **event: emitted.append(event))
    lake.materialize(clean, DAYS)
    made = {e["resource"]["prefect.resource.name"]: e for e in emitted if "materialization" in e["event"]}
    assert set(made) == {"bronze.events", "silver.clean"}
    event = made["silver.clean"]
    assert event["event"] == "prefect.asset.materialization.succeeded"
    assert event["resource"]["prefect.resource.id"] == lake.table(clean).uri
    assert event["payload"]["rows"] == 20 * ROWS
    assert event["payload"]["checks"] == {"schema": "passed", "small": "passed"}
    upstream = {r["prefect.resource.id"] for r in event["related"] if r["prefect.resource.role"] == "asset"}
    assert upstream == {lake.table(events).uri}
    json.dumps(event["payload"])


def test_within_a_flow_it_is_a_subflow(lake: Lakehouse, client: SyncPrefectClient) -> None:
    @flow(name="mine")
    def mine() -> str:
        return _flow_run(lake.materialize(events, DAYS).facts)

    assert client.read_flow_run(mine()).parent_task_run_id is not None  # type: ignore[arg-type]


def test_an_api_that_does_not_answer_is_one_clear_error_and_nothing_is_done(lake: Lakehouse) -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(EngineError, match=r"Prefect at http://127\.0\.0\.1:9/api doesn't answer"),
    ):
        lake.materialize(events, DAYS)
    assert lake.table(events).version() is None
    assert lake.lineage_store.facts("bronze.events") == []


def test_another_task_runner_can_be_given(lake: Lakehouse) -> None:
    from prefect.task_runners import ThreadPoolTaskRunner

    made: list[Any] = []

    def runner() -> Any:
        made.append(ThreadPoolTaskRunner(max_workers=1))
        return made[-1]

    assert lake.materialize(events, DAYS, engine=PrefectEngine(task_runner=runner)).ok
    assert len(made) == 1


def test_a_home_whose_path_has_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "a b c"
    lake = Lakehouse([events], storage=folder, lineage=f"sqlite:///{tmp_path}/l.db")
    assert lake.materialize(events, DAYS).ok
