from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

# A busy machine is no fault in the code.
hypothesis.settings.register_profile("lakehouse", deadline=None)
hypothesis.settings.load_profile("lakehouse")

# Before anything imports it: its asserts then tell what differed.
pytest.register_assert_rewrite("lakehouse.testing.lineage")


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """URL of an AWS of our own: moto's server, on this machine. The environment names it to every client."""
    from moto.dynamodb.responses import DynamoHandler
    from moto.server import ThreadedMotoServer

    one_at_a_time = threading.Lock()
    answer = DynamoHandler.call_action

    @functools.wraps(answer)
    def answer_alone(self: DynamoHandler) -> Any:
        # To undo a failed transaction moto puts back a copy of the whole table, which takes with it
        # what others wrote meanwhile. DynamoDB doesn't.
        with one_at_a_time:
            return answer(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DynamoHandler, "call_action", answer_alone)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
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
        try:
            yield url
        finally:
            server.stop()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prefect API of our own, with an empty database. Settings and the environment name it."""
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
        finally:
            server.stop()
