"""Tidying up: what nobody needs goes, beside whatever runs; what anybody may need stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from lakehouse import Lakehouse
from lakehouse.io import inventory
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.layout import checkpoint_file, checkpoint_of
from lakehouse.lineage import new_id
from lakehouse.lineage.leases import Leases, standing
from lakehouse.maintenance import Change, Maintenance
from lakehouse.partitions import PartitionSet
from lakehouse.settings import Settings
from tests.maintenance.conftest import Project
from tests.maintenance.projects import DAILY, DAYS, Killed, kill, open_project, outdated, refresh

LATER = datetime.now(UTC) + timedelta(days=100)


def _maintain(lake: Lakehouse, *, now: datetime | None = LATER, **options: Any) -> Change:
    return Maintenance(lake, now=now).maintain(**options)


def _texts(change: Change) -> list[str]:
    return [f"{action.about} {action.text}" for action in change.actions]


def _table(lake: Lakehouse, key: str) -> DeltaLakeTable:
    found = lake.table(lake.graph[key])
    assert isinstance(found, DeltaLakeTable)
    return found


def _staged(lake: Lakehouse, key: str) -> list[str]:
    """What lies in staging and is not published."""
    return [file.uri for file in inventory.inventory(_table(lake, key)).files if file.kind == "leftover"]


def _leave_staged(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    with monkeypatch.context() as patch:
        kill(patch, DeltaLakeTable, "publish", "before")
        kill(patch, DeltaLakeTable, "discard", "before")
        with pytest.raises(Killed):
            lake.materialize("bronze.readings", "2013-01-02", engine="inline")
    left = _staged(lake, "bronze.readings")
    assert left
    return left


# ── what goes, and what stays ─────────────────────────────────────────────────────────────


def test_of_what_is_in_order_nothing_goes(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY)
    assert not _maintain(lake)
    refresh(lake)
    change = _maintain(lake)
    assert not change
    assert change.notes[0].startswith("older versions are kept: no retention is set")
    assert not _maintain(lake, keep="1d")


def test_what_a_killed_attempt_had_staged_goes_when_it_is_a_day_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    left = _leave_staged(lake, monkeypatch)
    assert not _maintain(lake, now=None)
    change = _maintain(lake)
    assert [text.split(" (")[0] for text in _texts(change)] == [f"bronze.readings {len(left)} files"]
    change.apply()
    assert not _staged(lake, "bronze.readings")
    assert not _maintain(lake)
    assert lake.load("bronze.readings").collect().height == 5


def test_what_a_run_at_work_has_staged_stays_however_old_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    plan = lake.plan("bronze.readings", "2013-01-02")
    with Leases(lake.lineage_store, new_id()) as leases:
        leases.take(plan, None)
        left = _leave_staged(lake, monkeypatch)
        assert not _maintain(lake)
    assert sorted(_maintain(lake).actions[0].items) == sorted(left)


def test_a_retention_may_be_a_setting(tmp_path: Path) -> None:
    settings = Settings(retention="2d")
    for value in (1, 2):
        refresh(open_project(tmp_path, DAILY.replace("VALUE = 1", f"VALUE = {value}")))
    lake = open_project(tmp_path, DAILY.replace("VALUE = 1", "VALUE = 2"), settings=settings)
    assert _maintain(lake).title == Maintenance(lake, now=LATER).retain().title.replace("keep", "maintain, and keep")
    assert _texts(_maintain(lake)) == _texts(Maintenance(lake, now=LATER).retain())
    assert _maintain(lake, keep="200d").title == "maintain, and keep 200d"
    assert not _maintain(lake, keep="200d")
    _maintain(lake).apply()
    assert lake.load("silver.clean").collect()["value"].unique().to_list() == [2]
    assert outdated(lake) == {}


def test_checkpoints_are_thinned_and_every_version_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_APART", 5)
    lake = open_project(tmp_path, DAILY)
    refresh(lake, targets="bronze.readings")
    table, nothing = _table(lake, "bronze.readings"), lake.graph["bronze.readings"].partitions.empty()
    for version in range(12):
        DeltaTable(table.location.target).create_checkpoint()
        table.mark(nothing, new_id(), payload="[]", since=version)
    begun = table.location.path
    assert begun is not None
    (begun / "_delta_log" / "_commit_0a.json.tmp").write_text("{")

    def checkpoints() -> list[int]:
        return sorted(v for path in (begun / "_delta_log").iterdir() if (v := checkpoint_of(str(path))) is not None)

    assert checkpoints() == list(range(12))
    change = _maintain(lake)
    assert len(change.actions[0].items) == 12 - 4 + 1
    change.apply()
    assert checkpoints() == [4, 9, 10, 11]
    assert {table.open(version).version() for version in range(13)} == set(range(13))  # type: ignore[union-attr]
    assert all(lake.load("bronze.readings", version=version).collect().height == 5 for version in range(13))
    assert not _maintain(lake)


def test_a_checkpoint_that_no_commits_lead_up_to_stays(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake, targets="bronze.readings")
    folder = _table(lake, "bronze.readings").location.path
    assert folder is not None
    shutil.rmtree(folder)
    Maintenance(lake).rebuild("bronze.readings").apply()
    refresh(lake, targets="bronze.readings")
    table, nothing = _table(lake, "bronze.readings"), lake.graph["bronze.readings"].partitions.empty()
    (restarted,) = (v for path in (folder / "_delta_log").iterdir() if (v := checkpoint_of(str(path))) is not None)
    for version in range(restarted + 1, restarted + 5):
        table.mark(nothing, new_id(), payload="[]", since=version)
        DeltaTable(table.location.target).create_checkpoint()
    assert len(_maintain(lake).actions[0].items) == 2
    _maintain(lake).apply()
    assert (folder / checkpoint_file(restarted)).exists()
    assert [lake.load("bronze.readings", version=restarted + n).collect().height for n in (0, 1, 2)] == [0, 5, 5]


def test_what_cannot_be_read_is_noted_and_the_rest_is_looked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    left = _leave_staged(lake, monkeypatch)
    log = _table(lake, "silver.clean").location.path
    assert log is not None
    (log / "_delta_log" / f"{0:020}.json").write_text("")
    change = _maintain(lake)
    assert sorted(change.actions[0].items) == sorted(left)
    assert any(note.startswith("silver.clean: left as it is: ") for note in change.notes)


# ── beside others ─────────────────────────────────────────────────────────────────────────


def test_beside_a_backfill_nothing_is_taken_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every commit of it everything is tidied up, as if all were a hundred days old."""
    for value in (1, 2):
        refresh(open_project(tmp_path, DAILY.replace("VALUE = 1", f"VALUE = {value}")))
    lake = open_project(tmp_path, DAILY.replace("VALUE = 1", "VALUE = 3"))
    publish: Callable[..., int] = DeltaLakeTable.publish
    tidied: list[int] = []

    def publishing(table: DeltaLakeTable, *args: Any, **options: Any) -> int:
        errors: list[BaseException] = []

        def tidy() -> None:
            try:
                change = _maintain(open_project(tmp_path, DAILY.replace("VALUE = 1", "VALUE = 3")), keep="1d")
                change.apply()
                tidied.append(len(change.actions))
            except BaseException as error:
                errors.append(error)

        other = threading.Thread(target=tidy)
        other.start()
        other.join()
        assert not errors
        return publish(table, *args, **options)

    monkeypatch.setattr(DeltaLakeTable, "publish", publishing)
    run = lake.backfill("*", DAYS, chunk=2, engine="inline")
    assert run.ok
    assert len(tidied) == 7
    assert lake.load("silver.clean").collect()["value"].to_list() == [3] * 5
    assert outdated(lake) == {}


_KILLED = """
import os, signal, sys
sys.path.append(sys.argv[3])  # last: the project's io is not Python's
from lakehouse.io.delta import DeltaLakeTable
from tests.maintenance.projects import open_project
from pathlib import Path

lake, publish, left = open_project(Path(sys.argv[1]), sys.argv[2]), DeltaLakeTable.publish, [3]

def dying(*args, **options):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return publish(*args, **options)

DeltaLakeTable.publish = dying
lake.backfill("*", "2013-01-01...2013-01-05", chunk=2, engine="inline")
"""


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
def test_after_a_backfill_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", _KILLED, str(tmp_path), DAILY, str(Path(__file__).parents[2])]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    lake = open_project(tmp_path, DAILY)
    assert standing(lake.lineage_store)[0].over
    left = [uri for key in ("bronze.readings", "silver.clean") for uri in _staged(lake, key)]
    assert left
    assert not _maintain(lake, now=None), "for a day nobody knows whether it comes back"
    change = _maintain(lake)
    assert sorted(item for action in change.actions for item in action.items) == sorted(left)
    change.apply()
    assert lake.backfill("*", DAYS, chunk=2, engine="inline").ok
    assert lake.load("silver.clean").collect().height == 5
    assert not _maintain(lake)


@pytest.mark.parametrize("moment", ["publish", "staged"])
def test_a_full_vacuum_by_somebody_else_takes_nothing_from_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    real: Callable[..., Any] = getattr(DeltaLakeTable, moment)
    removed: list[list[str]] = []

    def vacuuming(table: DeltaLakeTable, *args: Any, **options: Any) -> Any:
        (tmp_path / "data/bronze/readings/somebodys.parquet").write_text("")
        there = DeltaTable(table.location.target)
        removed.append(there.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True))
        return real(table, *args, **options)

    monkeypatch.setattr(DeltaLakeTable, moment, vacuuming)
    lake = open_project(tmp_path, DAILY.replace("VALUE = 1", "VALUE = 2"))
    assert lake.materialize("bronze.readings", DAYS, engine="inline").ok
    assert removed[0] == ["somebodys.parquet"]
    assert lake.load("bronze.readings").collect()["value"].to_list() == [2] * 5
    assert lake.load("bronze.readings", version=0).collect()["value"].to_list() == [1] * 5, "older versions stay too"


def test_staged_files_that_are_taken_away_all_the_same_are_one_clear_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    publish: Callable[..., int] = DeltaLakeTable.publish

    def robbed(table: DeltaLakeTable, staged: Any, partitions: PartitionSet, **options: Any) -> int:
        table.discard(staged)
        return publish(table, staged, partitions, **options)

    monkeypatch.setattr(DeltaLakeTable, "publish", robbed)
    run = lake.materialize("bronze.readings", DAYS, engine="inline", raise_on_failure=False)
    assert not run.ok
    assert "was removed before it was published" in (run.results[0].error or "")
    assert lake.load("bronze.readings").collect().height == 5


# ── the command ───────────────────────────────────────────────────────────────────────────


def test_the_command_shows_and_does(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project("refresh", "*").code == 0
    assert '"actions": []' in project("maintain", "--dry-run", "--json").out
    monkeypatch.setenv("LAKEHOUSE_RETENTION", "30d")
    assert project("maintain", "silver.*").out.startswith("maintain, and keep 30d")
    assert "can't be kept" in project("maintain", "--keep", "soon").err
    monkeypatch.setenv("LAKEHOUSE_RETENTION", "soon")
    assert "LAKEHOUSE_RETENTION" in project("maintain").err
