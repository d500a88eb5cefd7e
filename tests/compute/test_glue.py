"""Glue jobs, with moto in AWS's place and runs that are real processes: all places' promises, and how runs may end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest

from lakehouse.compute.place import Place
from lakehouse.definitions.compute import GlueJob, read_compute
from lakehouse.errors import ComputeCancelled, ComputeError, DefinitionError
from lakehouse.execution.results import StepResult
from lakehouse.integrations.aws import glue
from lakehouse.integrations.aws.glue import AwsGlueJob
from lakehouse.lineage import Status
from lakehouse.testing import PlaceConformance
from lakehouse.testing.places import PlacedLakehouse, doubled, script_in
from tests.support.glue import glue_server, make_job, runs_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("glue")]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with glue_server(tmp_path_factory.mktemp("glue")) as url:
        yield url


@pytest.fixture
def lake(account: str, tmp_path: Path) -> Iterator[PlacedLakehouse]:
    with script_in(tmp_path, {}):
        yield PlacedLakehouse([doubled], storage=str(tmp_path / "data"), lineage=f"sqlite:///{tmp_path}/facts.db")


@pytest.mark.slow
class TestGlueJob(PlaceConformance):
    hurry: ClassVar[float] = 20.0

    @pytest.fixture
    def place(self, account: str) -> Place:
        return AwsGlueJob(GlueJob(make_job()))


def bad_end(lake: PlacedLakehouse) -> StepResult:
    """The result of a step that ends badly, and the trace that it leaves: a reason, and nothing else."""
    run = lake.materialize("bronze.numbers", "2013-01-02", engine="inline", raise_on_failure=False)
    (result,) = run.results
    assert not result.published
    (fact,) = lake.lineage_store.facts("bronze.numbers")
    assert (fact.status, fact.reason) == (Status.FAILED, result.error)
    table = lake.table(lake.graph["bronze.numbers"])
    assert [one["path"] for page in table.objects().list() for one in page] == []
    return result


def tell(folder: Path, what: str) -> None:
    (folder / "script.json").write_text(json.dumps({"2013-01-02": what}))


def pid(folder: Path) -> int:
    """The process that the function is called in, once it is."""
    file = folder / "pid"
    return eventually(lambda: int(file.read_text() or 0) if file.exists() else 0, what="the function")


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/stat").exists()


# ── it goes well ──────────────────────────────────────────────────────────────────────────


def test_each_order_is_a_run_with_its_own_workers(lake: PlacedLakehouse) -> None:
    job = make_job()
    lake.elsewhere = AwsGlueJob(
        GlueJob(job, worker_type="G.1X", workers=3, timeout=90, arguments={"--team": "flights"})
    )
    lake.materialize("bronze.numbers", "2013-01-02", engine="inline").raise_on_failure()
    (run,) = runs_of(job)
    assert (run["JobRunState"], run["WorkerType"], run["NumberOfWorkers"], run["Timeout"]) == (
        "SUCCEEDED",
        "G.1X",
        3,
        2,
    )
    table = lake.table(lake.graph["bronze.numbers"])
    assert run["Arguments"]["--order"].startswith(f"{table.uri}/_staged-")
    assert run["Arguments"]["--team"] == "flights"


# ── it goes badly ─────────────────────────────────────────────────────────────────────────


def test_there_is_no_such_job(lake: PlacedLakehouse) -> None:
    lake.elsewhere = AwsGlueJob(GlueJob("nothing"))
    result = bad_end(lake)
    assert isinstance(result.cause, ComputeError)
    assert "there is no Glue job nothing" in str(result.error)
    assert "aws glue create-job" in str(result.cause.hint)


def test_a_run_that_fails_without_a_word_of_ours_tells_glues_message(lake: PlacedLakehouse, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise ImportError(\"No module named 'flights'\")\n")
    job = make_job(script=script)
    lake.elsewhere = AwsGlueJob(GlueJob(job))
    result = bad_end(lake)
    (run,) = runs_of(job)
    assert result.cause is not None
    assert f"its run {run['Id']} of Glue job {job} ended as FAILED: ImportError: No module named" in str(result.error)
    assert f"log group /aws-glue/jobs/error, stream {run['Id']}" in str(result.cause.hint)


def test_what_the_function_raises_is_told_and_not_what_glue_says(lake: PlacedLakehouse, tmp_path: Path) -> None:
    tell(tmp_path, "raise")
    lake.elsewhere = AwsGlueJob(GlueJob(make_job()))
    result = bad_end(lake)
    assert "the source answered 503 for 2013-01-02" in str(result.error)
    assert result.cause is not None
    assert "_happen(told.get(day" in str(result.cause.__cause__)


def test_glue_ends_what_takes_longer_than_its_timeout(lake: PlacedLakehouse, tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text("import time\n\ntime.sleep(600)\n")
    job = make_job(script=script)
    lake.elsewhere = AwsGlueJob(GlueJob(job, timeout=3600, arguments={"--minute": "0.02"}))
    result = bad_end(lake)
    assert "ended as TIMEOUT: it took longer than its 60 minutes" in str(result.error)
    assert [run["JobRunState"] for run in runs_of(job)] == ["TIMEOUT"]


@pytest.mark.slow
def test_somebody_stops_it(lake: PlacedLakehouse, tmp_path: Path) -> None:
    tell(tmp_path, "sleep")
    job = make_job()
    lake.elsewhere = AwsGlueJob(GlueJob(job))

    def stop() -> None:
        pid(tmp_path)
        boto3.client("glue").batch_stop_job_run(JobName=job, JobRunIds=[runs_of(job)[0]["Id"]])

    other = threading.Thread(target=stop)
    other.start()
    result = bad_end(lake)
    other.join()
    assert isinstance(result.cause, ComputeCancelled)
    assert "ended as STOPPED" in str(result.error)


@pytest.mark.slow
def test_it_is_lost(lake: PlacedLakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glue, "_GRACE", 1.0)
    script = tmp_path / "lost.py"
    script.write_text("import os, signal\n\nos.kill(os.getpid(), signal.SIGKILL)\n")
    job = make_job(script=script)
    lake.elsewhere = AwsGlueJob(GlueJob(job, timeout=1, pending=4, arguments={"--lost": "yes"}))
    result = bad_end(lake)
    assert isinstance(result.cause, ComputeError)
    assert "was still RUNNING after its deadline: it is lost, or hangs; it was stopped" in str(result.error)
    assert runs_of(job)[0]["JobRunState"] == "STOPPING"


# ── its turn ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def crowded(account: str, tmp_path: Path) -> Iterator[str]:
    """A job that has as many runs as it may."""
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    job = make_job(at_once=1, script=script)
    client = boto3.client("glue")
    run = client.start_job_run(JobName=job)["JobRunId"]
    yield job
    client.batch_stop_job_run(JobName=job, JobRunIds=[run])


BUSY = """
import sys, time

if "--order" not in sys.argv:
    time.sleep(600)

from lakehouse.integrations.aws.glue_script import main

main()
"""


def test_one_run_too_many_waits_for_its_turn(lake: PlacedLakehouse, crowded: str) -> None:
    lake.elsewhere = AwsGlueJob(GlueJob(crowded))
    client, (other,) = boto3.client("glue"), runs_of(crowded)
    asked: list[str] = []

    start = glue._Following._pause

    def pause(self: Any, seconds: float) -> None:
        if not asked:
            client.batch_stop_job_run(JobName=crowded, JobRunIds=[other["Id"]])
        asked.append("pause")
        start(self, min(seconds, 0.2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glue._Following, "_pause", pause)
        lake.materialize("bronze.numbers", "2013-01-02", engine="inline").raise_on_failure()
    assert asked
    assert sorted(run["JobRunState"] for run in runs_of(crowded)) == ["STOPPED", "SUCCEEDED"]


def test_one_whose_turn_never_comes_says_so(lake: PlacedLakehouse, crowded: str) -> None:
    lake.elsewhere = AwsGlueJob(GlueJob(crowded, pending=0.5))
    result = bad_end(lake)
    assert result.cause is not None
    assert f"Glue job {crowded} had no turn for it" in str(result.error)
    assert "MaxConcurrentRuns" in str(result.cause.hint)
    assert len(runs_of(crowded)) == 1


# ── the orchestrator ──────────────────────────────────────────────────────────────────────

PROJECT = """
import sys
from pathlib import Path

from lakehouse.definitions.compute import GlueJob
from lakehouse.integrations.aws.glue import AwsGlueJob
from lakehouse.testing.places import PlacedLakehouse, doubled, script_in

folder, job = Path(sys.argv[1]), sys.argv[2]
lake = PlacedLakehouse([doubled], storage=str(folder / "data"), lineage=f"sqlite:///{folder}/facts.db")
lake.elsewhere = AwsGlueJob(GlueJob(job))
with script_in(folder, {"2013-01-02": "sleep"}):
    lake.materialize("bronze.numbers", "2013-01-02", engine="inline")
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_orchestrator_is_ended(account: str, tmp_path: Path, how: signal.Signals) -> None:
    job = make_job()
    with subprocess.Popen([sys.executable, "-P", "-c", PROJECT, str(tmp_path), job], env=os.environ) as process:
        child = pid(tmp_path)
        process.send_signal(how)
        process.wait(120)
    eventually(lambda: gone(child), what="its end")
    (run,) = runs_of(job)
    assert run["JobRunState"] in ("STOPPING", "STOPPED")
    lake = PlacedLakehouse([doubled], storage=str(tmp_path / "data"), lineage=f"sqlite:///{tmp_path}/facts.db")
    assert lake.table(lake.graph["bronze.numbers"]).version() is None


# ── what it is told ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": ""}, "no name of a Glue job"),
        ({"name": "x", "workers": 2}, "Glue wants both or none"),
        ({"name": "x", "worker_type": "G.1X", "workers": 1}, "at least 2"),
        ({"name": "x", "timeout": 0}, "more than 0"),
        ({"name": "x", "arguments": {"--order": "mine"}}, "the library's own"),
        ({"name": "x", "arguments": {"conf": "mine"}}, "'conf'"),
        ({"name": "x", "arguments": {"--db-password": "hunter2"}}, "bears a secret"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words) as refused:
        GlueJob(**given)
    assert "hunter2" not in str(refused.value)


def test_settings_name_a_job() -> None:
    assert read_compute({"glue_job": "x", "timeout": 60}) == GlueJob("x", timeout=60)
    with pytest.raises(DefinitionError, match="a glue job can't be told 'wokers'"):
        read_compute({"glue_job": "x", "wokers": 2})
