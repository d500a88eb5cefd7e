"""The stock ``prefect deploy --all`` over the repository's own ``prefect.yaml``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.process import ProcessWorker

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


def deploy_all() -> None:
    command = [sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_writes_the_flows_and_a_second_call_changes_nothing(client: SyncPrefectClient) -> None:
    client.create_work_pool(
        WorkPoolCreate(
            name="lakehouse", type="process", base_job_template=ProcessWorker.get_default_base_job_template()
        )
    )
    for one in client.read_deployments():
        client.delete_deployment(one.id)

    def seen() -> dict[str, Any]:
        # Prefect writes schedules anew each time.
        again: Any = {"updated": True, "schedules": {"__all__": {"id", "created", "updated"}}}
        return {one.name: one.model_dump(exclude=again) for one in client.read_deployments()}

    deploy_all()
    first = seen()
    assert set(first) == {"refresh", "backfill", "materialize", "maintain", "step"}
    assert first["refresh"]["parameters"] == {"selection": "+gold.*"}
    assert first["backfill"]["parameter_openapi_schema"]["required"] == ["selection", "start_date", "end_date"]
    assert {one["work_pool_name"] for one in first.values()} == {"lakehouse"}
    assert [one["slug"] for one in first["maintain"]["schedules"]] == ["nightly"]
    deploy_all()
    assert seen() == first
