"""dbt's steps through Prefect: one task run for each call, with a table for each model."""

from __future__ import annotations

import pytest

from lakehouse import Lakehouse

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
