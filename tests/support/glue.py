"""An AWS account whose Glue jobs are real processes, and jobs in it as people set them up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "glue"


@contextmanager
def glue_server(folder: Path) -> Iterator[str]:
    """URL of an AWS whose Glue jobs run in a folder. The environment names it to every client."""
    script = Path(__file__).with_name("moto_server.py")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        with subprocess.Popen(
            [sys.executable, "-P", str(script), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            patch.setenv("AWS_ENDPOINT_URL", url)
            yield url
            server.stdin.close()


def make_job(
    kind: str = "pythonshell", *, version: str = "5.1", at_once: int = 8, script: Path = DEPLOY / "script.py"
) -> str:
    """A job as `deploy/glue` has it, with the library's own script or another one; returns its name."""
    job: dict[str, Any] = json.loads((DEPLOY / "job.json").read_text())
    name = f"cleanse-{uuid4().hex[:8]}"
    job |= {"Name": name, "GlueVersion": version, "ExecutionProperty": {"MaxConcurrentRuns": at_once}}
    job["Command"] |= {"Name": kind, "ScriptLocation": str(script)}
    del job["DefaultArguments"]["--additional-python-modules"]  # it is installed
    boto3.client("glue").create_job(**job)
    return name


def runs_of(job: str) -> list[dict[str, Any]]:
    """The runs of a job, as AWS tells of them."""
    return [dict(run) for run in boto3.client("glue").get_job_runs(JobName=job)["JobRuns"]]
