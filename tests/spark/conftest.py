from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from lakehouse.io import spark_session
from tests.support.needs import need


@pytest.fixture(scope="session")
def java() -> None:
    need("java", shutil.which("java") is not None, "install default-jre-headless, or another Java 17")


@pytest.fixture(scope="module")
def session(java: None) -> Iterator[Any]:
    """One session for all tests of a module."""
    session = spark_session()
    yield session
    session.stop()
