"""Each benchmark runs: every case once, tiny, without servers and the peer. What it measures is no matter."""

import os
import sys
from pathlib import Path
from subprocess import run

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# The peer's own scripts need the peer's environment; and what runs all of them is none of them.
OURS = [
    file
    for file in sorted(BENCHMARKS.glob("*.py"))
    if file.stem not in ("harness", "run") and not file.stem.startswith("dagster_") and "smoke" in file.read_text()
]
PROMISES = [
    file
    for file in sorted(BENCHMARKS.glob("promises/*.py"))
    if not file.stem.startswith("dagster_") and file.stem != "peer"
]


@pytest.mark.parametrize("script", [pytest.param(file, id=file.stem) for file in OURS])
def test_a_benchmark_runs(script: Path) -> None:
    # They import what lies beside them, which a safe path leaves out.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = run([sys.executable, script, "--smoke"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("script", [pytest.param(file, id=file.stem) for file in PROMISES])
def test_a_promise_runs_beside_its_twin(script: Path) -> None:
    assert script.with_name(f"dagster_{script.name}").exists()
    done = run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "shape: " in done.stdout
