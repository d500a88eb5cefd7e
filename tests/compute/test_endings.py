"""How work in a pool may end badly: said clearly, nothing published, the reason recorded, mended by the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling

from lakehouse.definitions.compute import WorkPool
from lakehouse.errors import ComputeCancelled, ComputeError
from lakehouse.execution.results import StepResult
from lakehouse.integrations.prefect import work_pool
from lakehouse.integrations.prefect.work_pool import PrefectWorkPool
from lakehouse.lineage import Status
from lakehouse.testing.places import PlacedLakehouse, doubled, script_in
from tests.compute.conftest import make_pool, start_worker
from tests.support.proxy import proxy_to
from tests.support.waiting import eventually

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

T = TypeVar("T")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[PlacedLakehouse]:
    with script_in(tmp_path, {}):
        yield PlacedLakehouse([doubled], storage=str(tmp_path / "data"), lineage=f"sqlite:///{tmp_path}/facts.db")


@contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """What somebody else does at the same time."""
    other = threading.Thread(target=do)
    other.start()
    try:
        yield
    finally:
        other.join()


def bad_end(lake: PlacedLakehouse) -> StepResult:
    """The result of a step that ends badly, and the trace that it leaves: a reason, and nothing else."""
    run = lake.materialize("bronze.numbers", "2013-01-02", engine="inline", raise_on_failure=False)
    (result,) = run.results
    assert not result.published
    (fact,) = [f for f in run.facts if f.status is not Status.FAILED] or lake.lineage_store.facts("bronze.numbers")
    assert (fact.status, fact.reason) == (Status.FAILED, result.error)
    table = lake.table(lake.graph["bronze.numbers"])
    assert table.version() is None
    assert [one["path"] for page in table.objects().list() for one in page] == []
    return result


def order_run(client: SyncPrefectClient, folder: Path) -> FlowRun | None:
    """The newest flow run of an order about a table below a folder."""
    found = [one for one in client.read_flow_runs(limit=200) if str(folder) in str(one.parameters.get("order"))]
    return max(found, key=lambda one: str(one.created), default=None)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/stat").exists()


# ── nobody takes it up ────────────────────────────────────────────────────────────────────


def test_there_is_no_such_pool(client: SyncPrefectClient, lake: PlacedLakehouse) -> None:
    lake.elsewhere = PrefectWorkPool(WorkPool("nowhere"))
    result = bad_end(lake)
    assert isinstance(result.cause, ComputeError)
    assert "there is no work pool 'nowhere'" in str(result.error)
    assert "prefect work-pool create" in str(result.cause.hint)


def test_no_worker_takes_it_up(client: SyncPrefectClient, lake: PlacedLakehouse, tmp_path: Path) -> None:
    pool = make_pool(client)
    lake.elsewhere = PrefectWorkPool(WorkPool(pool, pending=1))
    result = bad_end(lake)
    assert "was still Scheduled after 1 s: no worker is online" in str(result.error)
    assert result.cause is not None
    assert f"prefect worker start --pool '{pool}'" in str(result.cause.hint)
    run = order_run(client, tmp_path)
    assert run is not None
    assert run.state is not None
    assert run.state.is_cancelled()  # a worker that comes later finds nothing to do


def test_no_api_is_configured(lake: PlacedLakehouse) -> None:
    lake.elsewhere = PrefectWorkPool(WorkPool("somewhere"))
    with temporary_settings({PREFECT_API_URL: None}):
        result = bad_end(lake)
    assert "needs a Prefect API that its workers reach" in str(result.error)


@pytest.mark.parametrize("how", ["503", "reset"])
def test_the_api_is_away_while_it_is_submitted_and_followed(
    client: SyncPrefectClient, lake: PlacedLakehouse, prefect_server: str, how: str
) -> None:
    pool = make_pool(client)
    lake.elsewhere = PrefectWorkPool(WorkPool(pool, pending=4))
    with (
        proxy_to(prefect_server.removesuffix("/api")) as proxy,
        temporary_settings({PREFECT_API_URL: f"{proxy.url}/api", PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        proxy.fail(how, r"create_flow_run|GET .*/flow_runs/", times=2)
        result = bad_end(lake)
        failed = [path for _, path, failure in proxy.requests if failure]
    assert len(failed) == 2
    # It was submitted all the same, once.
    assert "was still Scheduled after 4 s: no worker is online" in str(result.error)


@pytest.mark.slow
def test_what_a_worker_cannot_start_is_submitted_again(
    client: SyncPrefectClient, pool: str, lake: PlacedLakehouse, tmp_path: Path
) -> None:
    lake.elsewhere = PrefectWorkPool(WorkPool(pool, variables={"working_dir": str(tmp_path / "nowhere")}))
    result = bad_end(lake)
    assert "ended as Crashed: Flow run could not start" in str(result.error)
    runs = [one for one in client.read_flow_runs(limit=200) if str(tmp_path) in str(one.parameters.get("order"))]
    assert len(runs) == 3


# ── somebody ends it ──────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_it_is_cancelled_in_prefect(
    client: SyncPrefectClient, pool: str, lake: PlacedLakehouse, tmp_path: Path
) -> None:
    lake.elsewhere = PrefectWorkPool(WorkPool(pool))
    lake_tell(tmp_path, "sleep")

    def cancel() -> None:
        pid(tmp_path)
        run = order_run(client, tmp_path)
        assert run is not None
        client.set_flow_run_state(run.id, Cancelling())

    with meanwhile(cancel):
        result = bad_end(lake)
    assert isinstance(result.cause, ComputeCancelled)
    assert "ended as Cancelled" in str(result.error)
    eventually(lambda: gone(pid(tmp_path)), what="its end")


@pytest.mark.slow
def test_the_run_that_it_is_done_for_is_cancelled_in_prefect(
    client: SyncPrefectClient, pool: str, lake: PlacedLakehouse, tmp_path: Path
) -> None:
    lake.elsewhere = PrefectWorkPool(WorkPool(pool))
    lake_tell(tmp_path, "sleep")

    def cancel() -> None:
        pid(tmp_path)
        run = order_run(client, tmp_path)
        assert run is not None
        assert run.parent_task_run_id is not None
        parent = client.read_task_run(run.parent_task_run_id).flow_run_id
        assert parent is not None
        client.set_flow_run_state(parent, Cancelling())

    with meanwhile(cancel):
        run = lake.materialize("bronze.numbers", "2013-01-02", engine="prefect", raise_on_failure=False)
    assert "the run that it was done for was cancelled in Prefect" in str(run.results[0].error)
    eventually(lambda: gone(pid(tmp_path)), what="its end")
    child = order_run(client, tmp_path)
    assert child is not None
    eventually(lambda: final(client, child.id), what="its end in Prefect")
    assert lake.table(lake.graph["bronze.numbers"]).version() is None


PROJECT = """
import sys
from pathlib import Path

from lakehouse.definitions.compute import WorkPool
from lakehouse.integrations.prefect.work_pool import PrefectWorkPool
from lakehouse.testing.places import PlacedLakehouse, doubled, script_in

folder, pool, what, engine = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
lake = PlacedLakehouse([doubled], storage=str(folder / "data"), lineage=f"sqlite:///{folder}/facts.db")
lake.elsewhere = PrefectWorkPool(WorkPool(pool, timeout=20, pending=120))
with script_in(folder, {"2013-01-02": what} if what else {}):
    lake.materialize("bronze.numbers", "2013-01-02", engine=engine)
"""


def orchestrator(folder: Path, pool: str, what: str, engine: str) -> subprocess.Popen[bytes]:
    with (folder / "orchestrator.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", PROJECT, str(folder), pool, what, engine],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ,
        )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["prefect", "inline"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_orchestrator_is_ended(
    client: SyncPrefectClient, pool: str, tmp_path: Path, how: signal.Signals, engine: str
) -> None:
    process = orchestrator(tmp_path, pool, "sleep", engine)
    try:
        child = eventually(lambda: ended(process, tmp_path) or called(tmp_path), what="the function", seconds=200)
        process.send_signal(how)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it doesn't end:\n{(tmp_path / 'orchestrator.log').read_text()[-5000:]}")
        run = order_run(client, tmp_path)
        assert run is not None
        # By its own deadline at the latest, 20 seconds after it began; if somebody can still say so, at once.
        eventually(lambda: gone(child), what="its end", seconds=60)
        state = eventually(lambda: final(client, run.id), what="its end in Prefect", seconds=60)
    finally:
        process.kill()
        process.wait()
    if how is signal.SIGKILL:
        assert "was not done by its deadline" in str(state.message)
    else:
        assert state.is_cancelled()
    lake = PlacedLakehouse([doubled], storage=str(tmp_path / "data"), lineage=f"sqlite:///{tmp_path}/facts.db")
    assert lake.table(lake.graph["bronze.numbers"]).version() is None
    # The next run mends what is missing; where nobody could give back the lease, it was given up by then.
    with script_in(tmp_path, {}):
        assert lake.materialize("bronze.numbers", "2013-01-02", engine="inline").ok


# ── nobody hears of it any more ───────────────────────────────────────────────────────────


@pytest.mark.slow
def test_it_is_lost_with_its_machine(
    real_server: str, lake: PlacedLakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_pool, "_MISSED", 1.2)
    lake_tell(tmp_path, "sleep")
    with temporary_settings({PREFECT_API_URL: real_server}), get_client(sync_client=True) as client:
        pool = make_pool(client)
        worker = start_worker(pool, tmp_path / "worker.log", PREFECT_API_URL=real_server)
        lake.elsewhere = PrefectWorkPool(WorkPool(pool))

        def lose() -> None:
            child = pid(tmp_path)
            worker.kill()
            os.kill(child, signal.SIGKILL)

        try:
            with meanwhile(lose):
                result = bad_end(lake)
        finally:
            worker.kill()
            worker.wait()
    assert isinstance(result.cause, ComputeError)
    assert "is lost: no sign of life since" in str(result.error)


def lake_tell(folder: Path, what: str) -> None:
    (folder / "script.json").write_text(f'{{"2013-01-02": "{what}"}}')


def called(folder: Path) -> int:
    """The process that the function is called in; 0: none yet."""
    file = folder / "pid"
    return int(file.read_text() or 0) if file.exists() else 0


def pid(folder: Path) -> int:
    """The process that the function is called in, once it is."""
    return eventually(lambda: called(folder), what="the function", seconds=200)


def ended(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Fails where an orchestrator ended too early; else 0."""
    assert process.poll() is None, (folder / "orchestrator.log").read_text()
    return 0


def final(client: SyncPrefectClient, run: UUID) -> State | None:
    state = client.read_flow_run(run).state
    return state if state is not None and state.is_final() else None
