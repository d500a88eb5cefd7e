"""dbt's steps through Prefect: one task run for each call, with a table for each model."""

from __future__ import annotations

import logging
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterTaskRunId

from lakehouse import Lakehouse
from tests.support.waiting import logs

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]


def test_a_call_is_one_task_run(lake: Lakehouse) -> None:
    run = lake.materialize(["gold.sums", "gold.shares", "gold.every_order"], "2013-01-01...2013-01-02")
    assert run.ok
    tasks = {f.task_run for f in run.facts if f.asset.startswith("gold.")}
    assert len(tasks) == 1
    assert None not in tasks
    assert {f.asset: f.rows for f in run.facts if f.asset.startswith("gold.")} == {
        "gold.sums": 2,
        "gold.shares": 2,
        "gold.every_order": 8,
    }


def test_dbt_s_log_is_kept_with_its_task_run(lake: Lakehouse) -> None:
    run = lake.materialize("gold.sums", "2013-01-03")
    (task_run,) = {f.task_run for f in run.facts if f.asset == "gold.sums"}
    with get_client(sync_client=True) as client:
        only = LogFilter(task_run_id=LogFilterTaskRunId(any_=[UUID(task_run)]))
        said = logs(client, only, "test not_null_sums_date: pass", "test not_null_sums_amount: pass")
    told = {log.message.partition(" in ")[0]: log.level for log in said if log.name == "lakehouse.dbt"}
    assert told == {
        "model sums: started": logging.INFO,
        "model sums: ok": logging.INFO,
        "test not_null_sums_date: pass": logging.INFO,
        "test not_null_sums_amount: pass": logging.INFO,
    }
