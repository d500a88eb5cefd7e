from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.attack import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found
