"""The toys as fixtures: a lakehouse of them, and what is wrong with its source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse import Lakehouse
from tests.support.toys import lakehouse_in


@pytest.fixture
def spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set what is wrong with the source from now on."""
    file = tmp_path / "world.json"
    monkeypatch.setenv("TOY_WORLD", str(file))

    def set_world(**faults: object) -> None:
        file.write_text(json.dumps(faults))

    return set_world


@pytest.fixture
def lake(tmp_path: Path, spoil: Callable[..., None]) -> Lakehouse:
    return lakehouse_in(tmp_path)
