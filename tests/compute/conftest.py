from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.process import ProcessWorker


def start_worker(pool: str, log: Path, *, kind: str = "process", **environment: str) -> subprocess.Popen[bytes]:
    """A worker of a pool, as people start it."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PREFECT_WORKER_QUERY_SECONDS": "1"} | environment,
        )


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def make_pool(client: SyncPrefectClient) -> str:
    """A work pool of processes."""
    name = f"pool-{uuid4().hex[:8]}"
    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    return name


@pytest.fixture(scope="module")
def pool(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A work pool with a worker at work."""
    with get_client(sync_client=True) as client:
        name = make_pool(client)
    worker = start_worker(name, tmp_path_factory.mktemp("worker") / "worker.log")
    try:
        yield name
    finally:
        worker.terminate()
        worker.wait(60)
