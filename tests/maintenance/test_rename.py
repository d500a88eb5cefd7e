"""An asset that was renamed in code keeps its history, its table and what is held back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse, LakehouseError
from lakehouse.errors import UnknownAsset
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.lineage import Status
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.maintenance import Maintenance
from lakehouse.maintenance.workspace import Workspace
from tests.maintenance.projects import DAILY, DAYS, Killed, kill, open_project, outdated, present, refresh, snapshot

RENAMED = DAILY.replace("readings", "trips")
OLD, NEW = "bronze.readings", "bronze.trips"


@pytest.fixture
def before(tmp_path: Path) -> Lakehouse:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    lake.materialize(OLD, "2013-01-02", engine="inline")
    return lake


def _is_renamed(lake: Lakehouse, ids: list[str], rows: list[Any], folder: Path) -> None:
    assert sorted(lake.load(NEW).collect().rows()) == rows
    facts = lake.lineage_store.facts(NEW)
    assert [f.id for f in facts if f.status is not Status.RENAMED] == ids
    assert [f.formerly for f in facts if f.status is Status.RENAMED] == [OLD]
    assert {f.table for f in facts} == {f"file://{folder}/data/bronze/trips"}
    assert lake.lineage_store.facts(OLD) == []
    assert not (folder / "data/bronze/readings").exists()
    assert present(lake, NEW) == DAYS
    assert outdated(lake) == {}
    assert not lake.plan("*", DAYS, refresh=True)


def test_history_table_and_consumers_follow(before: Lakehouse, tmp_path: Path) -> None:
    ids = [f.id for f in before.lineage_store.facts(OLD)]
    rows = sorted(before.load(OLD).collect().rows())
    files = {p.name: p.stat().st_ino for p in (tmp_path / "data/bronze/readings").rglob("*.parquet")}
    lake = open_project(tmp_path, RENAMED)
    assert lake.plan(NEW, DAYS, refresh=True), "without it all is to be built again"
    Maintenance(lake).rename(OLD, NEW).apply()
    _is_renamed(lake, ids, rows, tmp_path)
    moved = {p.name: p.stat().st_ino for p in (tmp_path / "data/bronze/trips").rglob("*.parquet")}
    assert moved == files, "no byte was copied"
    (use,) = {link.asset for link in lake.lineage(NEW).uses}
    assert use == "silver.clean"
    assert lake.lineage("silver.clean", "2013-01-03").sources[0].links[0].asset == NEW


def test_what_changes_later_is_seen_by_consumers(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    Maintenance(lake).rename(OLD, NEW).apply()
    lake = open_project(tmp_path, RENAMED.replace("VALUE = 1", "VALUE = 7"))
    lake.materialize(NEW, "2013-01-03", engine="inline")
    assert outdated(lake)["silver.clean"] == ["bronze.trips changed"]
    refresh(lake)
    assert outdated(lake) == {}


def test_a_consumer_that_changed_its_code_as_well_is_stale_by_that_alone(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED.replace("* 2", "* 3"))
    Maintenance(lake).rename(OLD, NEW).apply()
    assert outdated(lake) == {"silver.clean": ["code changed"]}


def test_twice_renamed_and_the_old_name_used_again(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    Maintenance(lake).rename(OLD, NEW).apply()
    lake = open_project(tmp_path, DAILY.replace("readings", "rides"))
    Maintenance(lake).rename(NEW, "bronze.rides").apply()
    assert outdated(lake) == {}
    assert not lake.plan("*", DAYS, refresh=True)
    again = "\n@bronze(partitions=daily)\ndef readings(partitions: PartitionRange) -> pl.LazyFrame:\n    return None\n"
    lake = open_project(tmp_path, DAILY.replace("readings", "rides") + again)
    assert present(lake, OLD) == "none"
    assert not lake.plan("silver.clean", DAYS, refresh=True)


def test_what_is_held_back_stays_to_be_looked_at(tmp_path: Path) -> None:
    bad = DAILY.replace('BAD = ""', 'BAD = "2013-01-03"')
    lake = open_project(tmp_path, bad)
    lake.refresh("*", DAYS, engine="inline", raise_on_failure=False)
    lake = open_project(tmp_path, bad.replace("def clean", "def tidy").replace("clean", "tidy"))
    Maintenance(lake).rename("silver.clean", "silver.tidy").apply()
    (one,) = lake.status("silver.tidy")
    assert str(one.held) == "2013-01-03"
    (uri,) = one.quarantine
    assert "silver/tidy-quarantine/" in uri
    assert lake.table(lake.graph["silver.tidy"]).quarantined(uri).collect().height == 1


def test_a_dry_run_writes_nothing(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    there = snapshot(tmp_path)
    change = Maintenance(lake).rename(OLD, NEW)
    assert len(change.actions) == 4
    assert snapshot(tmp_path) == there


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (SqliteLineage, "append"),
        (os, "rename"),
        (DeltaLakeTable, "mark"),
        (Workspace, "record"),
        (SqliteLineage, "remove"),
    ],
)
def test_killed_at_any_moment_it_is_completed_by_calling_it_again(
    before: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str
) -> None:
    ids = [f.id for f in before.lineage_store.facts(OLD)]
    rows = sorted(before.load(OLD).collect().rows())
    lake = open_project(tmp_path, RENAMED)
    with monkeypatch.context() as patch:
        kill(patch, owner, name, when)
        with pytest.raises(Killed):
            Maintenance(lake).rename(OLD, NEW).apply()
    if (tmp_path / "data/bronze/readings").exists() and lake.lineage_store.facts(NEW):
        with pytest.raises(LakehouseError, match=r"lineage knows version \d of bronze\.trips, but there is no table"):
            lake.refresh("*", DAYS, engine="inline")  # so that nothing is built beside it
    Maintenance(lake).rename(OLD, NEW).apply()
    _is_renamed(lake, ids, rows, tmp_path)
    again = Maintenance(lake).rename(OLD, NEW)
    assert not again
    assert again.notes == ("bronze.readings was renamed already",)


def test_an_interrupted_one_is_completed_after_a_refresh_and_with_a_record_that_is_missing(
    before: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = before.lineage_store.facts(OLD)[-1]
    before.lineage_store.remove(OLD, [last.id])
    lake = open_project(tmp_path, RENAMED)
    with monkeypatch.context() as patch:
        kill(patch, os, "rename", "after")
        with pytest.raises(Killed):
            Maintenance(lake).rename(OLD, NEW).apply()
    assert Maintenance(lake).rename(OLD, NEW)
    lake.materialize(NEW, "2013-01-04", engine="inline")
    Maintenance(lake).rename(OLD, NEW).apply()
    assert last in [f.model_copy(update={"asset": OLD, "table": last.table}) for f in lake.lineage_store.facts(NEW)]
    assert lake.lineage_store.facts(OLD) == []
    assert outdated(lake) == {}
    assert not lake.plan("*", DAYS, refresh=True)


def test_what_cannot_be(before: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match=r"bronze\.readings is still an asset"):
        Maintenance(before).rename(OLD, "silver.clean")
    with pytest.raises(UnknownAsset, match=r"there is no asset 'bronze\.trips'"):
        Maintenance(before).rename(OLD, NEW)
    lake = open_project(tmp_path, RENAMED)
    with pytest.raises(UnknownAsset, match=r"nothing is known of bronze\.reading:"):
        Maintenance(lake).rename("bronze.reading", NEW)
    with pytest.raises(UnknownAsset, match="'readings' is no asset's key"):
        Maintenance(lake).rename("readings", NEW)
    with pytest.raises(LakehouseError, match="only one of them is external"):
        Maintenance(lake).rename("source.readings", NEW)


def test_what_was_built_under_the_new_name_is_not_overwritten(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    refresh(lake)
    there = snapshot(tmp_path)
    with pytest.raises(LakehouseError, match=r"bronze\.trips has been built already"):
        Maintenance(lake).rename(OLD, NEW)
    assert snapshot(tmp_path) == there


EXTERNAL = """
import polars as pl
from lakehouse import bronze, source


@source
def landing() -> str:
    return "etag"


@bronze
def copied(landing) -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1]})
"""


def test_an_external_asset_has_facts_alone(tmp_path: Path) -> None:
    lake = open_project(tmp_path, EXTERNAL)
    refresh(lake, None)
    lake = open_project(tmp_path, EXTERNAL.replace("landing", "inbox"))
    Maintenance(lake).rename("source.landing", "source.inbox").apply()
    assert not lake.plan("*", refresh=True)
    assert lake.lineage_store.facts("source.landing") == []
    assert not Maintenance(lake).rename("source.landing", "source.inbox")
    lake = open_project(tmp_path, EXTERNAL.replace("landing", "inbox").replace("etag", "another"))
    refresh(lake, None)
    assert len(lake.lineage_store.facts("bronze.copied")) == 2
    with pytest.raises(LakehouseError, match="external"):
        Maintenance(lake).wipe("source.inbox")
