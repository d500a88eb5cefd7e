"""The deployed backfill: what is downstream, and where its steps run."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import SyncPrefectClient

from lakehouse import flows
from lakehouse.verbs import open_lakehouse
from tests.prefect.conftest import Shop

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


def built() -> set[str]:
    return {one.asset.key for one in open_lakehouse().status() if one.present and not one.asset.external}


def test_it_builds_what_is_downstream_if_asked_to(shop: Shop, client: SyncPrefectClient) -> None:
    state = flows.backfill("bronze.orders", "2013-01-01", "2013-01-03", chunk=2, downstream=True, return_state=True)
    assert state.state_details.flow_run_id is not None
    run = client.read_flow_run(state.state_details.flow_run_id)
    assert run.name == "backfill bronze.orders 2013-01-01...2013-01-03"
    assert built() == {
        "bronze.orders",
        "silver.clean",
        "gold.total",
        "gold.report",
    }
    assert open_lakehouse().lineage_store.leases()[1] == []


def test_without_it_builds_what_was_named_alone(shop: Shop, client: SyncPrefectClient) -> None:
    flows.backfill("bronze.orders", "2013-01-01", "2013-01-03", chunk=2)
    assert built() == {"bronze.orders"}
