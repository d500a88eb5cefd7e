from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker

from tests.support.waiting import end, eventually


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
        end(worker)


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server as people start it, with all its services; that of the other tests keeps no events."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
    }
    url = f"http://127.0.0.1:{port}/api"
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "prefect", "server", "start", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"} | own,
        )
    try:
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            eventually(
                lambda: client.api_healthcheck() is None,
                what="the server",
                told=lambda: (home / "server.log").read_text()[-3000:],
            )
        yield url
    finally:
        end(server)
