"""Every example in a docstring runs, and does what it shows."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import lakehouse


def modules() -> list[str]:
    found = pkgutil.walk_packages(lakehouse.__path__, "lakehouse.")
    return ["lakehouse", *sorted(info.name for info in found if not info.name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(name), optionflags=flags, verbose=False)
    assert result.failed == 0


def test_modules_of_all_rooms_are_among_them() -> None:
    assert {"lakehouse.partitions", "lakehouse.io.frames", "lakehouse.checks.library", "lakehouse.assets.gold"} <= set(
        modules()
    )
