"""``lakehouse deploy`` against a real server: what it writes, that it writes it once, and what it leaves alone."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings

from lakehouse import flows
from tests.prefect.conftest import Shop

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

INTAKE, TOTAL, REPORT = "refresh-intake", "refresh-gold.total", "refresh-gold.report"


@pytest.fixture(autouse=True)
def nothing_there(request: pytest.FixtureRequest) -> None:
    """Deployments of other tests are another's."""
    if "pool" in request.fixturenames:
        client: SyncPrefectClient = request.getfixturevalue("client")
        for one in client.read_deployments():
            client.delete_deployment(one.id)


def verdicts(shop: Shop, *words: str) -> dict[str, str]:
    code, out, err = shop("deploy", "--json", *words)
    assert (code, err) == (0, ""), err
    return {one["deployment"]: one["verdict"] for one in json.loads(out)}


def there(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    return client.read_deployment_by_name(f"lakehouse-refresh/{name}")


def automations(client: SyncPrefectClient, name: str) -> list[Any]:
    return client.read_resource_related_automations(f"prefect.deployment.{there(client, name).id}")


def test_what_assets_declare_is_written(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    assert verdicts(shop) == {INTAKE: "new", TOTAL: "new", REPORT: "new"}

    intake = there(client, INTAKE)
    assert intake.schedules[0].schedule.interval == timedelta(hours=1)  # type: ignore[union-attr]
    assert intake.parameters == {"selection": "bronze.orders", "upstream": "stale"}
    assert set(intake.tags) == {"lakehouse", "bronze", "bronze.orders", "intake", f"declared-by:{shop.name}"}
    assert "- **bronze.orders** Orders as the shop exports them." in str(intake.description)
    assert intake.work_pool_name == pool
    assert intake.global_concurrency_limit is not None
    assert intake.global_concurrency_limit.limit == 1

    report = there(client, REPORT).schedules[0].schedule
    assert (report.cron, report.timezone) == ("0 6 * * *", "Europe/Berlin")  # type: ignore[union-attr]

    assert there(client, TOTAL).schedules == []
    (automation,) = automations(client, TOTAL)
    assert automation.name == "refresh-gold.total after silver.clean, bronze.orders"
    assert automation.enabled


def test_runs_work_on_the_lakehouse_that_was_deployed(
    shop: Shop, pool: str, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_STORAGE_OPTIONS", '{"secret": "s3cr3t"}')
    monkeypatch.setenv("LAKEHOUSE_CHUNK", "7")
    verdicts(shop)
    found = there(client, INTAKE)
    assert found.job_variables["env"] == {
        "LAKEHOUSE_MODULE": shop.name,
        "LAKEHOUSE_LINEAGE": "sqlite:///facts.db",
        "LAKEHOUSE_CHUNK": "7",
        "LAKEHOUSE_WORK_POOL": pool,
        "PYTHONSAFEPATH": "1",
    }
    assert str(shop.folder) in str(found.pull_steps)
    assert "s3cr3t" not in found.model_dump_json()


def test_a_second_call_changes_nothing_and_says_so(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    verdicts(shop)
    before = [(d.id, d.updated, d.schedules) for d in client.read_deployments()]
    rules = automations(client, TOTAL)
    code, out, _ = shop("deploy")
    assert code == 0
    assert "all is as declared: nothing was done" in out
    assert out.count("unchanged") == 3
    assert [(d.id, d.updated, d.schedules) for d in client.read_deployments()] == before
    assert automations(client, TOTAL) == rules


def test_a_dry_run_says_the_same_and_writes_nothing(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    code, out, _ = shop("deploy", "--dry-run")
    assert code == 0
    assert out.count("new") == 3
    assert "a dry run: nothing was done" in out
    assert client.read_deployments() == []
    verdicts(shop)
    shop.declare(every="2h", report="")
    assert verdicts(shop, "--dry-run", "--prune") == {INTAKE: "changed", TOTAL: "unchanged", REPORT: "removed"}
    assert verdicts(shop, "--dry-run") == {INTAKE: "changed", TOTAL: "unchanged", REPORT: "no longer declared"}
    assert there(client, INTAKE).schedules[0].schedule.interval == timedelta(hours=1)  # type: ignore[union-attr]
    assert there(client, REPORT)


def test_a_changed_schedule_is_written_and_named(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    verdicts(shop)
    before = there(client, INTAKE).id
    shop.declare(every="2h")
    _, out, _ = shop("deploy")
    assert "changed: description, schedule" in out
    after = there(client, INTAKE)
    assert after.id == before
    assert [one.schedule.interval for one in after.schedules] == [timedelta(hours=2)]  # type: ignore[union-attr]


def test_from_a_schedule_to_after_inputs_and_back(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    verdicts(shop)
    shop.declare(report="freshness=Freshness(after_inputs=True)")
    assert verdicts(shop)[REPORT] == "changed"
    assert there(client, REPORT).schedules == []
    (automation,) = automations(client, REPORT)
    assert automation.name == "refresh-gold.report after gold.total"
    shop.declare()
    assert verdicts(shop)[REPORT] == "changed"
    assert len(there(client, REPORT).schedules) == 1
    assert automations(client, REPORT) == []
    assert set(verdicts(shop).values()) == {"unchanged"}


def test_what_no_asset_declares_any_more_is_listed_and_removed_when_asked(
    shop: Shop, pool: str, client: SyncPrefectClient
) -> None:
    verdicts(shop)
    shop.declare(report="")
    code, out, _ = shop("deploy")
    assert code == 0
    assert "no longer declared" in out
    assert "--prune removes 1 deployment" in out
    assert there(client, REPORT)
    assert verdicts(shop, "--prune")[REPORT] == "removed"
    assert {one.name for one in client.read_deployments()} == {INTAKE, TOTAL}
    assert REPORT not in verdicts(shop)


def test_prune_leaves_the_deployments_of_others(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    by_hand = {"work_pool_name": pool, "tags": ["lakehouse"]}
    flow = client.create_flow(flows.refresh)
    client.create_deployment(flow, "refresh", **by_hand)  # type: ignore[arg-type]
    client.create_deployment(flow, "refresh-x", work_pool_name=pool, tags=["lakehouse", "declared-by:another"])
    assert verdicts(shop, "--prune") == {INTAKE: "new", TOTAL: "new", REPORT: "new"}
    assert {one.name for one in client.read_deployments()} == {"refresh", "refresh-x", INTAKE, TOTAL, REPORT}


def test_a_deployment_of_another_that_bears_the_name_is_not_overwritten(
    shop: Shop, pool: str, client: SyncPrefectClient
) -> None:
    client.create_deployment(
        client.create_flow(flows.refresh), INTAKE, work_pool_name=pool, tags=["lakehouse", "declared-by:another"]
    )
    code, _, err = shop("deploy")
    assert code == 2
    assert f"there is a deployment {INTAKE} already that is another's (declared-by:another)" in err
    assert "declared-by:another" in there(client, INTAKE).tags


def test_a_selection_writes_what_has_to_do_with_it(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    assert verdicts(shop, "tag:money") == {TOTAL: "new"}
    assert [one.name for one in client.read_deployments()] == [TOTAL]
    assert verdicts(shop, "silver.clean") == {}


def test_what_a_person_changed_is_put_right_and_what_was_paused_stays_paused(
    shop: Shop, pool: str, client: SyncPrefectClient
) -> None:
    verdicts(shop)
    intake = there(client, INTAKE)
    client.update_deployment_schedule(intake.id, intake.schedules[0].id, active=False)
    assert set(verdicts(shop).values()) == {"unchanged"}
    (automation,) = automations(client, TOTAL)
    client.delete_automation(automation.id)
    shop.declare(every="3h")
    assert verdicts(shop) == {INTAKE: "changed", TOTAL: "changed", REPORT: "unchanged"}
    assert not there(client, INTAKE).schedules[0].active
    assert len(automations(client, TOTAL)) == 1


def test_automations_that_people_made_are_left_alone(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    verdicts(shop)
    action = RunDeployment(
        source="selected", deployment_id=there(client, TOTAL).id, parameters=None, job_variables=None
    )
    own = AutomationCore(name="mine", trigger=EventTrigger(expect={"file.arrived"}), actions=[action])
    client.create_automation(own)
    assert set(verdicts(shop).values()) == {"unchanged"}
    (ours,) = (one for one in automations(client, TOTAL) if one.name != "mine")
    client.delete_automation(ours.id)
    assert verdicts(shop)[TOTAL] == "changed"
    assert {one.name for one in automations(client, TOTAL)} == {"mine", ours.name}


def test_an_external_asset_is_looked_at_on_its_schedule(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    shop.declare(prices='freshness=Freshness(every="5m")')
    assert verdicts(shop)["observe-source.prices"] == "new"
    found = client.read_deployment_by_name("lakehouse-observe/observe-source.prices")
    assert found.entrypoint == "lakehouse.flows.observe"
    assert found.parameters == {"selection": "source.prices"}
    assert set(verdicts(shop).values()) == {"unchanged"}
    shop.declare()
    assert verdicts(shop, "--prune")["observe-source.prices"] == "removed"


def test_without_an_api_it_says_what_to_set(shop: Shop) -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        code, _, err = shop("deploy", "--work-pool", "x")
    assert code == 3
    assert "no Prefect API is configured" in err
    assert "PREFECT_API_URL" in err


def test_an_api_that_does_not_answer_is_told(shop: Shop) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        code, _, err = shop("deploy", "--work-pool", "x")
    assert code == 3
    assert "Prefect at http://127.0.0.1:9/api doesn't answer" in err


@pytest.mark.usefixtures("prefect_server")
def test_without_a_work_pool_it_says_how_to_make_one(shop: Shop) -> None:
    code, _, err = shop("deploy")
    assert code == 2
    assert "no work pool is named" in err
    assert "prefect work-pool create lakehouse --type process" in err
    code, _, err = shop("deploy", "--work-pool", "no-such-pool")
    assert code == 2
    assert "there is no work pool 'no-such-pool'" in err
    assert "prefect work-pool create no-such-pool --type process" in err


def test_a_cron_that_nobody_understands_is_told_with_its_line(shop: Shop, pool: str, client: SyncPrefectClient) -> None:
    shop.declare(report='freshness=Freshness(cron="61 6 * * *")')
    code, _, err = shop("deploy")
    assert code == 2
    assert "the cron expression '61 6 * * *' can't be read: '61' is no minute (" in err
    assert ".py, line " in err
    assert client.read_deployments() == [], "all or nothing"


@pytest.mark.usefixtures("pool")
def test_a_lakehouse_that_declares_nothing_says_how(shop: Shop) -> None:
    code, out, _ = shop("deploy", "silver.clean")
    assert code == 0
    assert "no asset declares when it is refreshed" in out
