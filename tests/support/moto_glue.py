"""Glue job runs that are real processes: for moto, which knows runs that go well and no others.

A job of kind `pythonshell` is a Python process, one of kind `glueetl` is what `spark-submit` starts, with the Spark of
its Glue version. BatchStopJobRun sends SIGTERM. A minute of a run's timeout takes as many seconds as the run's argument
`--minute` says; where it has the argument `--lost`, nobody hears of its end.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult
from moto.glue.models import FakeJob, FakeJobRun
from moto.glue.responses import GlueResponse
from moto.moto_api import state_manager

ROOT = Path(__file__).parents[2]
KEPT = ("PATH", "HOME", "LANG", "JAVA_HOME", "PYTHONDONTWRITEBYTECODE")
ROLE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
OLDER_SPARK = ROOT / ".venv-spark"


def install(folder: Path) -> None:
    """Have runs be processes.

    Parameters:
        folder: where they run, and leave their output
    """
    state_manager.set_transition("glue::job_run", {"progression": "manual", "times": 10**9})
    start, told = FakeJob.start_job_run, FakeJobRun.as_dict

    def start_job_run(self: Any, **given: Any) -> str:
        run = str(start(self, **given))
        _run(self, self.get_job_run(run), folder)
        return run

    def as_dict(self: Any) -> dict[str, Any]:
        found: dict[str, Any] = told(self)
        if getattr(self, "process", None) is None or self.process.poll() is None:
            found.pop("CompletedOn", None)
        if getattr(self, "error", None):
            found["ErrorMessage"] = self.error
        return found

    def batch_stop_job_run(self: Any) -> ActionResult:
        name, stopped = self._get_param("JobName"), []
        for id in self._get_param("JobRunIds"):
            run = self.glue_backend.get_job_run(name, id)
            if run.status in ("STARTING", "RUNNING"):
                run.status = "STOPPING"
                with suppress(ProcessLookupError):  # of one that is lost
                    os.killpg(run.process.pid, signal.SIGTERM)
                stopped.append({"JobName": name, "JobRunId": id})
        return ActionResult({"SuccessfulSubmissions": stopped, "Errors": []})

    FakeJob.start_job_run = start_job_run  # type: ignore[method-assign, assignment]
    FakeJobRun.as_dict = as_dict  # type: ignore[method-assign]
    GlueResponse.batch_stop_job_run = batch_stop_job_run  # type: ignore[attr-defined]


def _run(job: Any, run: Any, folder: Path) -> None:
    arguments = dict(run.arguments or {})
    minute = float(arguments.pop("--minute", "60"))
    words = [word for pair in arguments.items() for word in pair]
    environment = {name: os.environ[name] for name in (*KEPT, *ROLE) if name in os.environ}
    environment |= {"PYTHONSAFEPATH": "1", "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    if job.command["Name"] == "glueetl":
        spark = OLDER_SPARK / "pyspark"
        if not str(job.glue_version).startswith("5."):
            import pyspark

            spark = Path(pyspark.__file__).parent
        else:
            environment["PYTHONPATH"] = str(OLDER_SPARK)
        environment["SPARK_HOME"] = str(spark)
        command = [str(spark / "bin" / "spark-submit"), "--master", "local[2]", "--conf", "spark.ui.enabled=false"]
    else:
        command = [sys.executable]
    log = folder / f"{run.job_run_id[:16]}.log"
    with log.open("wb") as out:
        run.process = subprocess.Popen(
            [*command, job.command["ScriptLocation"], "--JOB_RUN_ID", run.job_run_id, *words],
            env=environment,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    run.status = "RUNNING"

    def wait() -> None:
        try:
            code = run.process.wait(minute * run.timeout if run.timeout else None)
        except subprocess.TimeoutExpired:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
            run.status = "TIMEOUT"
            return
        if "--lost" in arguments:
            return
        if run.status == "STOPPING":
            run.status = "STOPPED"
        elif code:
            run.error, run.status = _last(log), "FAILED"
        else:
            run.status = "SUCCEEDED"

    threading.Thread(target=wait, daemon=True).start()


def _last(log: Path) -> str:
    """What a run said last: the error that it raised, if there is one."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[A-Za-z_.]+(Error|Exception|Mismatch|Violation): ", line)]
    return ([*lines, *errors] or ["Command failed"])[-1]
