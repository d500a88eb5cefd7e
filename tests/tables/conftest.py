from __future__ import annotations

import multiprocessing
import sys
import urllib.request
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.proxy import Proxy, proxy_to


@pytest.fixture(scope="session")
def bucket(aws_server: str) -> str:
    """An empty bucket."""
    name = f"tables-{uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{aws_server}/{name}", method="PUT")).close()
    return name


@pytest.fixture(scope="session")
def running_proxy(aws_server: str) -> Iterator[Proxy]:
    """A proxy in front of the bucket's server."""
    with proxy_to(aws_server) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy: Proxy) -> Iterator[Proxy]:
    """The proxy, failing nothing yet."""
    running_proxy.forget()
    yield running_proxy
    running_proxy.forget()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> SpawnContext:
    """Makes processes that start afresh, and find the tests' own modules."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    return multiprocessing.get_context("spawn")
