"""The deployed flows, called as Prefect calls them: names, states, and where their steps are seen."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State

from lakehouse import flows
from lakehouse.errors import MaterializationFailed, PlanError
from lakehouse.integrations.prefect import events
from lakehouse.verbs import open_lakehouse
from tests.prefect.conftest import Shop
from tests.support.waiting import task_runs

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("shop")]


def ended(client: SyncPrefectClient, state: State[Any]) -> FlowRun:
    assert state.state_details.flow_run_id is not None
    return client.read_flow_run(state.state_details.flow_run_id)


def only(run: FlowRun) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))


def test_a_refresh_is_one_flow_run_with_its_steps_and_its_result(client: SyncPrefectClient) -> None:
    state = flows.refresh("+gold.total", return_state=True)
    run = ended(client, state)
    assert run.name == "refresh +gold.total"
    assert state.message == "7 rows of 3 assets in 3 steps"
    steps = {"bronze.orders/2013-01-01...2013-01-03", "silver.clean/2013-01-01...2013-01-03", "gold.total"}
    assert set(task_runs(client, run.id, steps)) == steps
    (artifact,) = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["materialization"])), flow_run_filter=only(run)
    )
    assert "| gold.total | " in str(artifact.data)
    facts = open_lakehouse().lineage_store.facts("gold.total")
    assert [fact.flow_run for fact in facts] == [str(run.id)]


def test_a_refresh_with_nothing_to_do_says_so(client: SyncPrefectClient) -> None:
    flows.refresh("+silver.clean")
    state = flows.refresh("+silver.clean", return_state=True)
    assert (state.name, state.message) == ("UpToDate", "all is up to date")
    assert client.read_task_runs(flow_run_filter=only(ended(client, state))) == []


def test_a_materialization_that_fails_fails_the_flow_run(shop: Shop, client: SyncPrefectClient) -> None:
    (shop.folder / "amount.json").write_text("no number")
    state = flows.materialize("bronze.orders", "2013-01-02", return_state=True)
    run = ended(client, state)
    assert run.name == "materialize bronze.orders 2013-01-02"
    assert run.state is not None
    assert run.state.is_failed()
    assert "bronze.orders 2013-01-02 failed" in str(run.state.message)
    with pytest.raises(MaterializationFailed):
        flows.materialize("bronze.orders", "2013-01-02")


def test_a_backfill_is_named_by_its_dates_and_goes_on_when_called_again(client: SyncPrefectClient) -> None:
    state = flows.backfill("+silver.clean", "2013-01-01", "2013-01-02", chunk=1, return_state=True)
    assert ended(client, state).name == "backfill +silver.clean 2013-01-01...2013-01-02"
    assert state.message == "4 rows of 2 assets in 4 steps"
    again = flows.backfill("+silver.clean", "2013-01-01", "2013-01-03", parallel_days=2, chunk=1, return_state=True)
    assert again.message == "2 rows of 2 assets in 2 steps"


def test_a_step_builds_one_asset_in_one_step_and_nothing_upstream(client: SyncPrefectClient) -> None:
    with pytest.raises(PlanError, match=r"silver\.clean needs bronze\.orders"):
        flows.step("silver.clean", "2013-01-01...2013-01-03")
    flows.refresh("bronze.orders", chunk=1)
    state = flows.step("silver.clean", "2013-01-01...2013-01-03", return_state=True)
    assert ended(client, state).name == "step silver.clean 2013-01-01...2013-01-03"
    assert state.message == "3 rows of 1 asset in 1 step"


def test_an_external_asset_that_changed_is_an_event(
    shop: Shop, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted: list[dict[str, Any]] = []
    monkeypatch.setattr(events, "emit_event", lambda event, resource, **more: emitted.append({event: resource, **more}))
    state = flows.observe("source.prices", return_state=True)
    run = ended(client, state)
    assert (run.name, state.message) == ("observe source.prices", "changed: source.prices")
    changed, updated = emitted
    assert changed["lakehouse.source.changed"]["prefect.resource.id"] == "lakehouse.asset.source.prices"
    assert updated["lakehouse.run.updated"]["prefect.resource.id"] == f"lakehouse.run.{run.id}"
    assert [one["prefect.resource.id"] for one in updated["related"]] == ["lakehouse.asset.source.prices"]

    emitted.clear()
    state = flows.observe(return_state=True)
    assert (state.name, state.message) == ("Unchanged", "nothing changed")
    assert emitted == []

    shop.sell(11)
    flows.observe()
    assert [next(iter(one)) for one in emitted] == ["lakehouse.source.changed", "lakehouse.run.updated"]


def test_tidying_up_says_what_was_done(client: SyncPrefectClient, shop: Shop) -> None:
    flows.refresh("+gold.total")
    state = flows.maintain(keep="90d", return_state=True)
    assert (ended(client, state).name, state.message) == ("maintain", "nothing to do")
