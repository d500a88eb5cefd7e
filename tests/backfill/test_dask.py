"""The same plan on a Dask cluster: a real one, of two processes on this machine."""

from __future__ import annotations

import importlib
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse import Lakehouse
from lakehouse.errors import EngineError, SettingsError
from lakehouse.execution.results import StepResult
from tests.support.calls import NAME, Toys, computed, see_one_record_for_each, see_the_same

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]

DAYS = "2013-01-01...2013-01-20"


@pytest.fixture
def toys(tmp_path: Path) -> Toys:
    return Toys(tmp_path / "dask")


@pytest.fixture
def scheduler(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URI of a cluster whose workers can import the toys."""
    from distributed import LocalCluster

    monkeypatch.syspath_prepend(str(toys.folder))
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        yield f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.started_: list[str] = []
        self.finished_: list[str] = []

    def waiting(self, what: str) -> None:
        pass

    def started(self, step: object) -> None:
        self.started_.append(step.id)  # type: ignore[attr-defined]

    def finished(self, step: object, result: StepResult) -> None:
        self.finished_.append(result.step)


def test_it_comes_to_the_same_in_other_processes(toys: Toys, scheduler: str, tmp_path: Path) -> None:
    lake, told = toys.lake, Told()
    run = lake.backfill("+gold.totals", DAYS, chunk=5, parallel=4, engine="prefect", runner=scheduler, watcher=told)
    assert run.ok
    assert len(run.results) == 12
    assert sorted(told.started_) == sorted(told.finished_) == sorted(step.id for step in run.plan.steps)
    assert os.getpid() not in {call.process for call in toys.calls}
    assert set(computed(toys.calls).values()) == {1}
    see_one_record_for_each(lake, DAYS)

    other = Toys(tmp_path / "threads").lake
    other.backfill("+gold.totals", DAYS, chunk=5, engine="prefect")
    see_the_same(lake, other)


def test_what_fails_there_is_told_and_what_depends_on_it_is_skipped(toys: Toys, scheduler: str) -> None:
    toys.fail("2013-01-07")
    run = toys.lake.backfill("+gold.totals", DAYS, chunk=5, engine="prefect", runner=scheduler, raise_on_failure=False)
    done = {one.asset.key: one for one in run.summaries()}
    assert str(done["bronze.events"].failed) == "2013-01-07"
    assert "the source is down" in done["bronze.events"].errors[0]
    for key in ("silver.clean", "gold.totals"):
        assert str(done[key].skipped) == "2013-01-07"
        assert str(done[key].published) == "2013-01-01...2013-01-06, 2013-01-08...2013-01-20"


def test_a_worker_that_is_lost_has_its_step_done_by_another(toys: Toys, scheduler: str) -> None:
    toys.die()
    lake = toys.lake
    assert lake.backfill("+gold.totals", DAYS, chunk=5, parallel=1, engine="prefect", runner=scheduler).ok
    assert Counter(computed(toys.calls).values()) == {1: 55, 2: 5}, "the one that was under way"
    see_one_record_for_each(lake, DAYS)


def test_workers_that_lack_the_assets_are_one_clear_error(
    toys: Toys, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Toys(toys.folder / "elsewhere")
    (elsewhere.folder / f"{NAME}.py").rename(elsewhere.folder / "only_here.py")
    monkeypatch.syspath_prepend(str(elsewhere.folder))  # after the workers were started
    module = importlib.import_module("only_here")
    lake = Lakehouse(module, storage=elsewhere.folder, lineage=f"sqlite:///{elsewhere.folder}/lineage.db")
    run = lake.backfill("bronze.events", "2013-01-01", engine="prefect", runner=scheduler, raise_on_failure=False)
    assert "No module named 'only_here'" in str(run.results[0].error)


def test_a_scheduler_that_does_not_answer_is_one_clear_error(toys: Toys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and doesn't listen
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=rf"no Dask scheduler answers at dask://127\.0\.0\.1:{port}"):
            toys.lake.backfill("bronze.events", DAYS, engine="prefect", runner=f"dask://127.0.0.1:{port}")
    assert toys.lake.lineage_store.leases() == (0, [])


@pytest.mark.parametrize("runner", ["dask://", "dask://host", "dask://host:port", "ray://host:1", "dask", ""])
def test_a_runner_that_can_not_be_is_refused(toys: Toys, runner: str) -> None:
    with pytest.raises(SettingsError, match=rf"runner='{runner}' can't be used"):
        toys.lake.backfill("bronze.events", DAYS, engine="prefect", runner=runner)


def test_a_deployed_backfill_runs_there_if_settings_say_so(
    toys: Toys, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse import flows

    for name, value in (toys.environment | {"LAKEHOUSE_RUNNER": scheduler}).items():
        monkeypatch.setenv(name, value)
    state = flows.backfill("+gold.totals", "2013-01-01", "2013-01-10", chunk=5, return_state=True)
    assert state.message == "60 rows of 3 assets in 6 steps"
    assert os.getpid() not in {call.process for call in toys.calls}
