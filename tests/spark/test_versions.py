"""The Spark of each Glue version: 4.1 is what all other tests here run on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import need

OLDER = Path(__file__).parents[2] / ".venv-spark"


@pytest.mark.slow
@pytest.mark.usefixtures("java")
def test_spark_3_5_gives_and_takes_frames_as_4_1_does() -> None:
    need("spark-3.5", (OLDER / "installed").exists(), "make spark")
    done = subprocess.run(
        # Its own warnings, of what it does as it was done then, are none of ours.
        [sys.executable, "-P", "-m", "pytest", "-W", "default", "-p", "no:cacheprovider",
         str(Path(__file__).with_name("test_frames.py"))],
        env=os.environ | {"PYTHONPATH": str(OLDER), "LAKEHOUSE_TESTED_SPARK": "3.5."},
        capture_output=True,
        text=True,
        cwd=OLDER.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
