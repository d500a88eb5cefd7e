"""The public face as type checkers see it: README's blocks, the reference assets, and what must pass or fail.

mypy and pyright run once each over all of it, in strict mode. To add a case, write a line in `accepted.py` or
`refused.py`.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lakehouse

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)

SEEN = f"""\
# pyright: reportUnusedImport=false
from typing import Annotated
import pandera.polars as pa
import polars as pl
from lakehouse import {", ".join(lakehouse.__all__)}
daily = Daily("2013-01-01", column="date")


class RawOrders(pa.DataFrameModel):
    date: pl.Date


orders = Asset(Layer.SILVER, "orders", lambda: pl.LazyFrame(), daily)
"""
"""What stands before a block of README that is no whole module: its reader has seen the first block."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is checked, away from the repository, where io/ would pass for the standard library's."""
    folder = tmp_path_factory.mktemp("types")
    for number, block in enumerate(BLOCKS, start=1):
        (folder / f"readme_{number}.py").write_text(block if "import polars" in block else SEEN + block)
    for name in ("accepted.py", "refused.py"):
        shutil.copy(HERE / name, folder)
    return folder


def test_the_readme_has_blocks() -> None:
    assert len(BLOCKS) >= 4


def test_mypy_accepts_what_it_must_and_refuses_what_it_must(folder: Path) -> None:
    # With the cache of `make types`, and so with its options.
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    files = [path.name for path in sorted(folder.glob("*.py"))]
    run = subprocess.run(
        [sys.executable, "-P", "-m", "mypy", "--no-error-summary", *options, *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout + run.stderr).splitlines() == []
    assert run.returncode == 0


def test_pyright_accepts_what_it_must_and_refuses_what_it_must(folder: Path) -> None:
    config = {
        # mypy's comments are not for pyright, and an error that was ignored must have come.
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": True,
        "typeCheckingMode": "strict",
    }
    assets = [str(path) for path in (ROOT / "assets").glob("*.py")]
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, ".", *assets],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(run.stdout)
    said = found["generalDiagnostics"]
    assert [f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}: {one['message']}" for one in said] == []
    assert found["summary"]["filesAnalyzed"] == len([*folder.glob("*.py"), *assets])
