"""Lineage is rebuilt from the tables' logs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse import Lakehouse
from lakehouse.lineage import Status
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.maintenance import Maintenance
from tests.maintenance.projects import (
    DAILY,
    DAYS,
    Killed,
    kill,
    open_project,
    outdated,
    present,
    refresh,
    snapshot,
    state,
)

DAY = "2013-01-03"


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    """A lakehouse in which nearly everything happened that can."""
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    lake.materialize("bronze.readings", DAY, engine="inline")
    Maintenance(lake).forget("silver.clean", "2013-01-05").apply()
    Maintenance(lake).wipe("bronze.readings", "2013-01-01").apply()
    lake = open_project(tmp_path, DAILY.replace("readings", "trips"))
    Maintenance(lake).rename("bronze.readings", "bronze.trips").apply()
    return lake


def test_it_is_as_before(lake: Lakehouse, tmp_path: Path) -> None:
    before = {a.key: state(lake, a.key) for a in lake.graph}
    stale = outdated(lake)
    plan = [(s.id, [str(r) for r in s.reasons]) for s in lake.plan("*", DAYS, refresh=True).steps]
    (tmp_path / "lineage.db").unlink()
    Maintenance(lake).rebuild().apply()
    assert {a.key: state(lake, a.key) for a in lake.graph} == before
    assert outdated(lake) == stale == {"silver.clean": ["bronze.trips changed"]}
    assert [(s.id, [str(r) for r in s.reasons]) for s in lake.plan("*", DAYS, refresh=True).steps] == plan
    refresh(lake)
    assert outdated(lake) == {}
    assert not Maintenance(lake).rebuild()


def test_nothing_is_stale_when_nothing_was(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    (tmp_path / "lineage.db").unlink()
    Maintenance(lake).rebuild().apply()
    assert outdated(lake) == {}
    assert not lake.plan("*", DAYS, refresh=True)
    assert lake.lineage("gold.total").sources[0].links[0].links[0].asset == "bronze.readings"


def test_only_what_is_missing_is_added(lake: Lakehouse) -> None:
    facts = lake.lineage_store.facts("bronze.trips")
    lake.lineage_store.remove("bronze.trips", [facts[1].id])
    change = Maintenance(lake).rebuild("bronze")
    (action,) = change.actions
    assert (action.text, action.items) == ("1 fact from the table's log", (facts[1].id,))
    change.apply()
    assert lake.lineage_store.facts("bronze.trips") == facts


def test_attempts_that_published_nothing_are_not_in_the_log(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY.replace('BAD = ""', f'BAD = "{DAY}"'))
    lake.refresh("silver.clean", DAYS, engine="inline", raise_on_failure=False)
    lake.refresh("silver.clean", DAY, engine="inline", raise_on_failure=False)
    assert len(lake.lineage_store.facts("silver.clean")) == 3
    (tmp_path / "lineage.db").unlink()
    change = Maintenance(lake).rebuild("silver.clean")
    assert change.notes == ("attempts that failed, were skipped, or were held back as a whole are in no table's log",)
    change.apply()
    assert sorted(f.status for f in lake.lineage_store.facts("silver.clean")) == [Status.PUBLISHED, Status.REJECTED]
    (one,) = lake.status("silver.clean")
    assert str(one.held) == DAY, "what was held back beside a publication is"


def test_keys_that_were_registered_are_registered_again(tmp_path: Path) -> None:
    from tests.maintenance.test_rename_partition import DYNAMIC

    lake = open_project(tmp_path, DYNAMIC)
    lake.add_partitions("bronze.sales", ["US", "EU"])
    refresh(lake, None)
    (tmp_path / "lineage.db").unlink()
    Maintenance(lake).rebuild().apply()
    (one,) = lake.status("bronze.sales")
    assert sorted(one.expected) == sorted(one.present) == ["EU", "US"]
    assert not lake.plan("*", refresh=True)


def test_a_dry_run_writes_nothing(lake: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "lineage.db").unlink()
    there = snapshot(tmp_path)
    assert Maintenance(lake).rebuild()
    assert snapshot(tmp_path) == there


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_moment_it_is_completed_by_calling_it_again(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    before = {a.key: state(lake, a.key) for a in lake.graph}
    (tmp_path / "lineage.db").unlink()
    with monkeypatch.context() as patch:
        kill(patch, SqliteLineage, "append", when)
        with pytest.raises(Killed):
            Maintenance(lake).rebuild().apply()
    Maintenance(lake).rebuild().apply()
    assert {a.key: state(lake, a.key) for a in lake.graph} == before
    assert present(lake, "bronze.trips") == "2013-01-02...2013-01-05"
