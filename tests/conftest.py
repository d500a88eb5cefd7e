from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no fault in the code.
hypothesis.settings.register_profile(
    "lakehouse", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("lakehouse")

# Before anything imports it: its asserts then tell what differed.
pytest.register_assert_rewrite("lakehouse.testing.lineage", "lakehouse.testing.places", "lakehouse.testing.tables")


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """URL of an AWS of our own: moto's server, on this machine. The environment names it to every client."""
    script = Path(__file__).with_name("support") / "moto_server.py"
    with (
        subprocess.Popen(
            [sys.executable, "-P", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        yield url
        server.stdin.close()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prefect API of our own, with an empty database. Settings and the environment name it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import (
        PREFECT_API_DATABASE_CONNECTION_URL,
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )

    home = tmp_path_factory.mktemp("prefect")
    database = f"sqlite+aiosqlite:///{home}/prefect.db"
    ours = {
        PREFECT_HOME: home,
        PREFECT_API_DATABASE_CONNECTION_URL: database,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(ours):
        server = SubprocessASGIServer()
        server.start(timeout=300)
        try:
            with temporary_settings({PREFECT_API_URL: server.api_url}), pytest.MonkeyPatch.context() as patch:
                patch.setenv("PREFECT_API_URL", server.api_url)
                patch.setenv("PREFECT_HOME", str(home))
                yield server.api_url
                # What is still on its way to the server has to arrive before it goes.
                APILogWorker.instance().drain()
                EventsWorker.drain_all()
        finally:
            server.stop()
