"""What a retention says is kept, with all that is current or pinned; the rest goes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse, LakehouseError
from lakehouse.errors import StorageError
from lakehouse.io import inventory
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.maintenance import Change, Maintenance
from lakehouse.settings import Settings
from tests.maintenance.projects import DAILY, DAYS, Killed, kill, open_project, outdated, refresh, snapshot, state

DAY = "2013-01-03"
LATER = datetime.now(UTC) + timedelta(days=100)


def _rebuilt(folder: Path, *, times: int = 2, downstream: bool = True) -> Lakehouse:
    """Five days, and one of them built again and again with other rows."""
    lake = open_project(folder, DAILY)
    refresh(lake)
    for value in range(2, 2 + times):
        lake = open_project(folder, DAILY.replace("VALUE = 1", f"VALUE = {value}"))
        lake.materialize("bronze.readings", DAY, engine="inline")
        if downstream:
            lake.refresh("silver.clean", DAY, engine="inline")
    return lake


def _texts(change: Change) -> list[str]:
    return [f"{action.about} {action.text}" for action in change.actions]


def _items(change: Change) -> list[str]:
    return [item for action in change.actions for item in action.items]


def test_files_that_no_kept_version_needs_are_removed(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path)
    rows = lake.load("bronze.readings").collect()
    files = set(lake.table(lake.graph["bronze.readings"]).files())
    change = Maintenance(lake, now=LATER).retain("bronze", versions=1)
    gone = _items(change)
    assert len(gone) == 2
    assert not files & set(gone)
    assert "bronze.readings 2 files (" in _texts(change)[0]
    change.apply()
    assert all(not Path(uri.removeprefix("file://")).exists() for uri in gone)
    assert lake.load("bronze.readings").collect().equals(rows)
    assert not Maintenance(lake, now=LATER).retain("bronze", versions=1)
    assert [p for p in (tmp_path / "data/bronze/readings").iterdir() if p.is_dir() and not any(p.iterdir())] == []


@pytest.mark.parametrize(("versions", "files"), [(1, 3), (2, 2), (3, 1), (4, 0), (9, 0)])
def test_the_newest_versions_are_kept_whole(tmp_path: Path, versions: int, files: int) -> None:
    lake = _rebuilt(tmp_path, times=3)
    change = Maintenance(lake, now=LATER).retain("bronze", versions=versions)
    assert len(_items(change)) == files
    change.apply()
    for version in range(4 - min(versions, 4), 4):
        assert lake.load("bronze.readings", version=version).collect().height == 5


def test_a_version_that_was_current_within_the_time_is_kept(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path)
    assert not Maintenance(lake, now=datetime.now(UTC) + timedelta(days=89)).retain(keep="90d")
    assert len(_items(Maintenance(lake, now=LATER).retain("bronze", keep="90d"))) >= 2
    assert not [
        a for a in Maintenance(lake, now=LATER).retain("bronze", keep="90d", versions=3).actions if "file" in a.text
    ]


def test_nothing_younger_than_a_day_goes(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path)
    assert not Maintenance(lake).retain(versions=1)
    assert not Maintenance(lake, now=datetime.now(UTC) + timedelta(hours=23)).retain(keep="1h")
    assert Maintenance(lake, now=datetime.now(UTC) + timedelta(hours=25)).retain(keep="1h")


def test_what_a_current_publication_was_made_from_is_kept(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path, downstream=False)
    change = Maintenance(lake, now=LATER).retain("bronze", versions=1)
    assert len(_items(change)) == 1, "the one in between; the first one went into silver"
    (note,) = change.notes
    assert note.startswith("bronze.readings: 1 file (")
    assert note.endswith("of older versions kept, for what is published now was made from them")
    change.apply()
    (pin,) = state(lake, "silver.clean").within(lake.graph["silver.clean"].partitions.select(DAY))[0][1].inputs
    assert lake.load("bronze.readings", DAY, version=pin.version).collect()["value"].to_list() == [1]
    lake.refresh("silver.clean", DAYS, engine="inline")
    assert len(_items(Maintenance(lake, now=LATER).retain("bronze", versions=1))) == 1, "and now it may go"


@pytest.mark.parametrize("shared", [False, True])
def test_pins_are_raised_to_the_newest_version_that_has_what_was_read(tmp_path: Path, shared: bool) -> None:
    options = {"settings": Settings(shared_files=shared)}
    lake = open_project(tmp_path, DAILY, **options)
    refresh(lake)  # silver reads version 0
    lake.materialize("bronze.readings", DAYS, engine="inline")  # 1: the same rows again
    source = DAILY.replace("VALUE = 1", "VALUE = 2")
    for day in (DAY, "2013-01-04"):  # 2 and 3: others
        lake = open_project(tmp_path, source, **options)
        lake.materialize("bronze.readings", day, engine="inline")
    before = {day: lake.load("bronze.readings", day, version=0).collect() for day in (DAYS, DAY)}
    change = Maintenance(lake, now=LATER).retain("bronze", versions=1)
    change.apply()
    assert len(_items(change)) == (1 if shared else 5), "of version 0, whose rows are in version 1"
    files = list((tmp_path / "data/bronze/readings").rglob("*.parquet"))
    assert len(files) == (3 if shared else 7), "1 for DAY, 2 for the day after; and the newest"
    for chosen, rows in before.items():
        assert lake.load("bronze.readings", chosen, version=0).sort("date").collect().equals(rows.sort("date"))
    assert lake.load("bronze.readings", version=0).collect()["value"].to_list() == [1] * 5
    assert lake.load("bronze.readings", version=1).collect()["value"].to_list() == [1] * 5
    # Restated once more, and retained again: what silver was made from is still there.
    lake = open_project(tmp_path, DAILY.replace("VALUE = 1", "VALUE = 3"), **options)
    lake.materialize("bronze.readings", "2013-01-02", engine="inline")
    Maintenance(lake, now=LATER).retain("bronze", versions=1).apply()
    assert lake.load("bronze.readings", version=0).sort("date").collect().equals(before[DAYS].sort("date"))
    # Once it is made from what there is now, nothing of before is kept, and it is told.
    lake.refresh("silver.clean", DAYS, engine="inline")
    Maintenance(lake, now=LATER).retain("bronze", versions=1).apply()
    assert len(list((tmp_path / "data/bronze/readings").rglob("*.parquet"))) == (1 if shared else 5)
    with pytest.raises(StorageError, match=r"version 0 of .* lacks files of 2013-01-02"):
        lake.load("bronze.readings", version=0)
    assert lake.load("bronze.readings", "2013-01-01", version=0).collect()["value"].to_list() == [1]


def test_what_something_else_did_to_a_table_raises_no_pin(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    lake = _rebuilt(tmp_path, downstream=False)
    DeltaTable(str(tmp_path / "data/bronze/readings")).delete("value = 1")
    Maintenance(lake, now=LATER).retain("bronze", versions=1).apply()
    rows = lake.load("bronze.readings", version=0).collect()
    assert rows["value"].to_list() == [1] * 5, "what silver was made from; the newest version lacks four of them"


def test_what_a_killed_run_left_behind_goes_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.io.delta import DeltaLakeTable

    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    with monkeypatch.context() as patch:
        kill(patch, DeltaLakeTable, "stage", "after")
        patch.setattr(DeltaLakeTable, "discard", lambda *_, **__: None)
        with pytest.raises(Killed):
            lake.materialize("bronze.readings", DAY, engine="inline")
    assert not Maintenance(lake).retain("bronze", keep="90d")
    change = Maintenance(lake, now=datetime.now(UTC) + timedelta(days=2)).retain("bronze", keep="90d")
    (text,) = _texts(change)
    assert "that killed runs left behind removed" in text
    assert len(_items(change)) == 2, "rows, and the log of the candidate"
    change.apply()
    folders = [p.name for p in (tmp_path / "data/bronze/readings").iterdir() if p.name != "_delta_log"]
    assert len(folders) == 1
    assert lake.load("bronze.readings").collect().height == 5


def test_rows_that_are_held_back_now_are_kept(tmp_path: Path) -> None:
    bad = DAILY.replace('BAD = ""', f'BAD = "{DAY}"')
    lake = open_project(tmp_path, bad)
    for _ in range(2):
        lake.refresh("silver.clean", DAYS, engine="inline", raise_on_failure=False)
    (one,) = lake.status("silver.clean")
    change = Maintenance(lake, now=LATER).retain("silver", keep="30d")
    (gone,) = [i for i in _items(change) if i.startswith("file:")]
    assert gone not in one.quarantine
    change.apply()
    (held,) = one.quarantine
    assert lake.table(one.asset).quarantined(held).collect().height == 1
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    Maintenance(lake, now=LATER).retain("silver", keep="30d").apply()
    assert list((tmp_path / "data/silver/clean-quarantine").iterdir()) == []


def test_superseded_facts_go_and_nothing_changes_by_it(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path, times=4)
    Maintenance(lake).forget("silver.clean", "2013-01-01").apply()
    lake.refresh("silver.clean", DAYS, engine="inline")
    before = {a.key: (state(lake, a.key), lake.lineage(a.key).sources) for a in lake.graph}
    numbers = {key: len(lake.lineage_store.facts(key)) for key in before}
    stale = outdated(lake)
    Maintenance(lake, now=LATER).retain(keep="30d").apply()
    assert {a.key: (state(lake, a.key), lake.lineage(a.key).sources) for a in lake.graph} == before
    assert len(lake.lineage_store.facts("bronze.readings")) < numbers["bronze.readings"]
    assert outdated(lake) == stale
    assert not Maintenance(lake, now=LATER).retain(keep="30d")


def test_facts_are_kept_as_long_as_they_are_young(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path, times=4)
    assert not [a for a in Maintenance(lake, now=LATER).retain(keep="200d").actions if "fact" in a.text]
    assert not [a for a in Maintenance(lake, now=LATER).retain(versions=1).actions if "fact" in a.text]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path)
    there = snapshot(tmp_path)
    assert Maintenance(lake, now=LATER).retain(keep="30d")
    assert snapshot(tmp_path) == there


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"), [(inventory, "delete"), (inventory, "_delete"), (Path, "unlink"), (SqliteLineage, "remove")]
)
def test_killed_at_any_moment_it_is_completed_by_calling_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str
) -> None:
    lake = _rebuilt(tmp_path, times=3)
    wanted = _items(Maintenance(lake, now=LATER).retain(keep="30d"))
    rows = {asset.key: lake.load(asset).collect() for asset in lake.graph}
    with monkeypatch.context() as patch:
        kill(patch, owner, name, when)
        with pytest.raises(Killed):
            Maintenance(lake, now=LATER).retain(keep="30d").apply()
    rest = Maintenance(lake, now=LATER).retain(keep="30d")
    assert set(_items(rest)) <= set(wanted)
    rest.apply()
    assert not Maintenance(lake, now=LATER).retain(keep="30d")
    assert all(lake.load(key).collect().equals(frame) for key, frame in rows.items())
    assert not [uri for uri in wanted if uri.startswith("file:") and Path(uri.removeprefix("file://")).exists()]


def test_files_of_others_and_a_log_that_lacks_its_beginning_are_left_alone(tmp_path: Path) -> None:
    lake = _rebuilt(tmp_path)
    table = tmp_path / "data/bronze/readings"
    (table / "notes.txt").write_text("somebody's")
    os.utime(table / "notes.txt", (0, 0))
    assert not [i for i in _items(Maintenance(lake, now=LATER).retain("bronze", versions=1)) if "notes" in i]
    for key in ("bronze.readings",):
        from deltalake import DeltaTable

        DeltaTable(str(tmp_path / "data" / key.replace(".", "/"))).create_checkpoint()
    (table / "_delta_log" / f"{0:020}.json").unlink()
    change = Maintenance(lake, now=LATER).retain("bronze", versions=1)
    assert not change
    assert "doesn't go back to its beginning" in change.notes[0]


def test_what_cannot_be(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY)
    with pytest.raises(LakehouseError, match="say what to keep"):
        Maintenance(lake).retain()
    for keep in ("90", "d", "-1d", "0d", "90 days", timedelta(0)):
        with pytest.raises(LakehouseError, match="no length of time"):
            Maintenance(lake).retain(keep=keep)
    with pytest.raises(LakehouseError, match="1 is the least"):
        Maintenance(lake).retain(versions=0)
    assert not Maintenance(lake).retain(versions=1)
