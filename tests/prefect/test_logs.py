"""What people's own code says and raises arrives in Prefect, with its task run, and without secrets."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from lakehouse import Lakehouse, MaterializationFailed
from lakehouse.cli import main
from lakehouse.errors import StepError
from tests.support.waiting import logs, task_runs

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]

SECRET = "TOPs3cretKx9"
SHOP = f'''
import logging
import warnings

import polars as pl

from lakehouse import Context, bronze

log = logging.getLogger(__name__)


def fetch():
    password = "{SECRET}"
    raise ConnectionError(f"postgresql://ann:{{password}}@db/orders doesn't answer")


@bronze
def good(context: Context) -> pl.LazyFrame:
    log.info("read with password=%s", "{SECRET}")
    logging.getLogger("elsewhere").warning("that is slow")
    context.logger.info("by the context")
    print("printed, api_key={SECRET}")
    return pl.LazyFrame({{"n": [1]}})


@bronze
def bad() -> pl.LazyFrame:
    return fetch()
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A module of a person's own, whose source is to be had, as tracebacks show it."""
    (tmp_path / "shop_that_logs.py").write_text(SHOP)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("shop_that_logs")
    sys.modules.pop("shop_that_logs")


def _logs(client: SyncPrefectClient, flow_run: str, steps: list[str], *texts: str) -> dict[str, list[str]]:
    """What was logged, by the name of the task run, once these texts are among it."""
    names = {str(task.id): name for name, task in task_runs(client, flow_run, steps).items()}
    found: dict[str, list[str]] = {}
    for one in logs(client, LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run])), *texts):  # type: ignore[list-item]
        found.setdefault(names.get(str(one.task_run_id), ""), []).append(one.message)
    return found


def test_what_a_function_logs_prints_and_raises_stands_in_the_log_of_its_task(
    shop: types.ModuleType, tmp_path: Path, client: SyncPrefectClient
) -> None:
    lake = Lakehouse([shop.good, shop.bad], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    with pytest.raises(MaterializationFailed) as caught:
        lake.materialize("bronze.*", engine="prefect")

    # In Python it is chained.
    step_error = caught.value.__cause__
    assert isinstance(step_error, StepError)
    assert isinstance(step_error.__cause__, ConnectionError)
    assert step_error.__cause__.__traceback__ is not None

    (flow_run,) = {fact.flow_run for fact in caught.value.run.facts} - {None}
    assert flow_run is not None
    said = _logs(client, flow_run, ["bronze.good", "bronze.bad"], "printed, ", "Traceback")
    good, bad = "\n".join(said["bronze.good"]), "\n".join(said["bronze.bad"])
    assert "read with password=***" in good
    assert "that is slow" in good
    assert "by the context" in good
    assert "printed, api_key=***" in good
    assert "Traceback" in bad
    assert "shop_that_logs.py" in bad
    assert "ConnectionError: postgresql://***@db/orders doesn't answer" in bad
    assert [text for texts in said.values() for text in texts if SECRET in text] == []

    # Nor do Prefect's states tell it.
    tasks = task_runs(client, flow_run, ["bronze.good", "bronze.bad"])
    assert [name for name, task in tasks.items() if SECRET in str(task.state)] == []


def test_a_record_is_sent_once_however_many_runs_a_process_has_had(
    shop: types.ModuleType, tmp_path: Path, client: SyncPrefectClient
) -> None:
    lake = Lakehouse([shop.good], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    for _ in range(2):
        run = lake.materialize("bronze.good", engine="prefect")
    (flow_run,) = {fact.flow_run for fact in run.facts}
    assert flow_run is not None
    said = _logs(client, flow_run, ["bronze.good"], "by the context")["bronze.good"]
    assert len([text for text in said if "by the context" in text]) == 1


def test_what_a_function_prints_is_seen_on_the_screen_as_well(
    shop: types.ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_MODULE", "shop_that_logs")
    assert main(["materialize", "bronze.good", "--engine", "prefect"]) == 0
    assert "printed, api_key=***\n" in capsys.readouterr().err
