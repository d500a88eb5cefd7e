"""A process from its first moment to its end: an import, a list of assets, a first materialization.

    python benchmarks/cold_start.py

One asset of three rows, kept in Delta. Prefect's own start is a flow of one task that does nothing, on the temporary
server that it starts: with Prefect ours is held against that, and what it takes longer is what the library adds. The
others are held against Dagster, which runs in its own environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness import PEER, Subject, Watch

subject = Subject(sizes=(1,), smoke=(1,), repeats=3)

OURS = """
import polars as pl
from lakehouse import bronze

@bronze
def numbers() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1, 2, 3]})
"""
BUILD = (
    OURS
    + """
import sys
from lakehouse import materialize

materialize(numbers, engine=sys.argv[1])
"""
)
PREFECT = """
from prefect import flow, task

@task
def nothing(): ...

@flow
def one():
    nothing()

one()
"""
DAGSTER = """
import dagster as dg
import polars as pl

@dg.asset(key_prefix="bronze")
def numbers() -> pl.DataFrame:
    return pl.DataFrame({"n": [1, 2, 3]})

defs = dg.Definitions(assets=[numbers])
"""
DAGSTER_BUILD = """
from dagster_deltalake import LocalConfig
from dagster_deltalake_polars import DeltaLakePolarsIOManager
tables = DeltaLakePolarsIOManager(root_uri=".", storage_options=LocalConfig())
dg.materialize([numbers], resources={"io_manager": tables})
"""


def process(
    name: str,
    *command: str,
    files: dict[str, str] | None = None,
    smoke: bool = True,
    against: str = "python, nothing",
) -> None:
    """A case: a command, in a folder with these files."""

    def run(folder: Path, size: int, watch: Watch) -> None:
        for file, text in (files or {}).items():
            (folder / file).write_text(text)
        ours = {"PYTHONDONTWRITEBYTECODE": "1", "PREFECT_HOME": str(folder), "DAGSTER_HOME": str(folder)}
        # Where others are at work beside it, a server takes longer to start than Prefect waits for one.
        ours["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LAKEHOUSE_"))}
        with watch():
            done = subprocess.run(command, cwd=folder, env=clean | ours, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)

    subject.case(name, smoke=smoke, against=against)(run)


PYTHON = sys.executable
PROJECT = {"shop.py": OURS, "pyproject.toml": '[tool.lakehouse]\nmodule = "shop"\n', "build.py": BUILD}

DEFINITIONS = {"defs.py": DAGSTER, "build.py": DAGSTER + DAGSTER_BUILD}
IMPORT, LIST, MATERIALIZE = "import dagster", "dagster asset list", "a first dagster.materialize"
FLOW = "Prefect alone: a flow of one task"

process("python, nothing", PYTHON, "-c", "pass")
if PEER.exists():
    listed = (str(PEER.with_name("dagster")), "asset", "list", "-f", "defs.py", "--select", "*")
    process(IMPORT, str(PEER), "-c", "import dagster", smoke=False)
    process(LIST, *listed, files=DEFINITIONS, smoke=False)
    process(MATERIALIZE, str(PEER), "build.py", files=DEFINITIONS, smoke=False)
process("import lakehouse", PYTHON, "-c", "import lakehouse", against=IMPORT)
process("lakehouse ls", str(Path(PYTHON).with_name("lakehouse")), "ls", files=PROJECT, against=LIST)
process("a first materialization, inline", PYTHON, "build.py", "inline", files=PROJECT, against=MATERIALIZE)
process(FLOW, PYTHON, "flow.py", files={"flow.py": PREFECT}, smoke=False, against=FLOW)
process("a first materialization, Prefect", PYTHON, "build.py", "prefect", files=PROJECT, smoke=False, against=FLOW)

if __name__ == "__main__":
    subject.main(__doc__)
