"""No call to a machine's metadata address without a word, and none against anybody's will."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lakehouse import credentials
from lakehouse.errors import LineageError, StorageError
from lakehouse.io.storage import Location
from lakehouse.lineage.open import open_lineage

WORD = "asked for some at its metadata address"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which nobody is logged in."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(credentials, "_VENDOR", tmp_path / "none")
    credentials.tell_that_machine_is_asked.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a metadata address was asked; it knows nothing."""
    calls: list[str] = []

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_error(404)

        do_PUT = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", url)
    yield calls
    server.shutdown()
    server.server_close()


def test_it_is_said_once_before_a_bucket_is_reached(caplog: pytest.LogCaptureFixture) -> None:
    location = Location.of("s3://bucket/lake")
    for _ in range(2):
        assert location.delta
        assert location.polars
        location.store()
    (told,) = [record for record in caplog.records if WORD in record.message]
    assert told.levelno == logging.WARNING
    assert told.message.startswith("s3://bucket: no AWS credentials are set")
    assert "AWS_EC2_METADATA_DISABLED=true" in told.message


def test_and_before_a_lineage_table_is(asked: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LineageError, match="credentials are missing"):
        open_lineage("dynamodb://lineage").facts("bronze.raw")
    assert asked, "it was asked"
    (told,) = [record.message for record in caplog.records if WORD in record.message]
    assert told.startswith("dynamodb://lineage")


def test_a_machine_of_aws_is_asked_as_a_matter_of_course(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "vendor").write_text("Amazon EC2\n")
    monkeypatch.setattr(credentials, "_VENDOR", tmp_path / "vendor")
    Location.of("s3://bucket/lake").store()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_where_it_must_not_be_asked_it_is_not(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    location = Location.of("s3://bucket/lake")
    for reach in (location.store, lambda: location.delta, lambda: location.polars):
        with pytest.raises(StorageError, match="there are no AWS credentials for s3://bucket/lake"):
            reach()
    with pytest.raises(LineageError, match="credentials are missing"):
        open_lineage("dynamodb://lineage").facts("bronze.raw")
    assert not asked
    assert not [record for record in caplog.records if WORD in record.message]


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({"AWS_ACCESS_KEY_ID": "a"}, {}),
        ({}, {"aws_access_key_id": "a"}),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, {}),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/here"}, {}),
        ({}, {"aws_skip_signature": "true"}),
    ],
)
def test_what_is_given_is_taken(
    environment: dict[str, str],
    options: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", **environment}.items():
        monkeypatch.setenv(name, value)
    assert Location.of("s3://bucket/lake", options).delta
    assert not caplog.records


def test_a_folder_needs_none() -> None:
    code = "from lakehouse.io.storage import Location; Location.of('.').store(); print(Location.of('.').delta)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "None\n"
