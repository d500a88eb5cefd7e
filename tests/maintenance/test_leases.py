"""``lakehouse state`` keeps out of the way of runs that are at work, and keeps them out of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse import Lakehouse
from lakehouse.errors import LakehouseError
from lakehouse.lineage import new_id
from lakehouse.lineage.leases import TTL
from lakehouse.maintenance import Change, Maintenance
from lakehouse.testing.lineage import sample_lease
from tests.maintenance.conftest import Project
from tests.maintenance.projects import DAILY, REGIONS, open_project, refresh

DAY, OTHER = "2013-01-02", "2013-01-03"


def lease(lake: Lakehouse, asset: str, *days: str, run: str = "run-1", waiting: bool = False) -> None:
    """Let a run on another machine build something."""
    version, _ = lake.lineage_store.leases(waiting=waiting)
    held = sample_lease(
        run, host="elsewhere", partitions={asset: tuple((day, day) for day in days)}, expires=datetime.now(UTC) + TTL
    )
    assert lake.lineage_store.set_leases([held], version=version, waiting=waiting)


CHANGES: list[Callable[[Maintenance], Change]] = [
    lambda found: found.wipe("silver.clean", DAY),
    lambda found: found.forget("silver.clean", [DAY]),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("waiting", [False, True])
def test_what_a_run_builds_is_not_changed_under_it(
    change: Callable[[Maintenance], Change], waiting: bool, tmp_path: Path
) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    before = lake.table(lake.graph["silver.clean"]).version()
    lease(lake, "silver.clean", DAY, waiting=waiting)
    planned = change(Maintenance(lake))
    with pytest.raises(
        LakehouseError, match=r"nothing was changed: run run-1 on elsewhere, which (waits to build|builds)"
    ):
        planned.apply()
    assert lake.table(lake.graph["silver.clean"]).version() == before
    lease(lake, "silver.clean", OTHER, waiting=waiting)
    planned.apply()
    assert lake.table(lake.graph["silver.clean"]).version() != before


def test_a_run_waits_for_a_change_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    seen: list[object] = []
    change = Maintenance(lake).wipe("silver.clean", DAY)
    do = change.actions[0].do

    def look() -> None:
        seen.extend(one.partitions for one in lake.lineage_store.leases()[1])
        do()

    object.__setattr__(change.actions[0], "do", look)
    change.apply()
    assert seen == [{"silver.clean": ((DAY, DAY),)}]
    assert lake.lineage_store.leases()[1] == []


def test_renaming_waits_for_no_run_that_has_the_old_or_the_new_name(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    lake = open_project(
        tmp_path,
        DAILY.replace("def clean(", "def tidy(")
        .replace("def total(clean", "def total(tidy")
        .replace("clean.select", "tidy.select"),
    )
    for name in ("silver.clean", "silver.tidy"):
        lease(lake, name, DAY)
        with pytest.raises(LakehouseError, match="nothing was changed"):
            Maintenance(lake).rename("silver.clean", "silver.tidy").apply()
        assert (tmp_path / "data/silver/clean").exists()
    lease(lake, "gold.total")
    Maintenance(lake).rename("silver.clean", "silver.tidy").apply()
    assert not (tmp_path / "data/silver/clean").exists()


def test_renaming_a_partition_respects_both_keys(tmp_path: Path) -> None:
    refresh(open_project(tmp_path, REGIONS), None)
    lake = open_project(tmp_path, REGIONS.replace('"US"', '"us"'))
    for key in ("US", "us"):
        lease(lake, "bronze.sales", key)
        with pytest.raises(LakehouseError, match=f"which builds bronze.sales {key}"):
            Maintenance(lake).rename_partition("bronze.sales", "US", "us").apply()
    lease(lake, "bronze.sales", "EU")
    Maintenance(lake).rename_partition("bronze.sales", "US", "us").apply()


def test_what_a_run_may_read_is_retained(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    for value in (2, 3):
        refresh(open_project(tmp_path, DAILY.replace("VALUE = 1", f"VALUE = {value}")))
    lake = open_project(tmp_path, DAILY.replace("VALUE = 1", "VALUE = 3"))
    later = datetime.now(UTC) + timedelta(days=3)
    assert Maintenance(lake, now=later).retain("bronze.readings", versions=1)
    # A run that builds a consumer began when the first version was the newest.
    lease(lake, "silver.clean", DAY, run="0" * 32)
    assert not Maintenance(lake, now=later).retain("bronze.readings", versions=1)
    lease(lake, "silver.clean", DAY, run=f"{int(later.timestamp() * 1000):012x}{new_id()[12:]}")
    assert Maintenance(lake, now=later).retain("bronze.readings", versions=1)


def test_the_command_line_shows_leases_and_takes_them_away(project: Project) -> None:
    assert project("leases").out == "nothing is leased: no run is at work, or waits\n"
    lake = open_project(project.folder, DAILY, lineage="sqlite:///lineage.db")
    lease(lake, "silver.clean", DAY, run="01aa")
    lease(lake, "silver.clean", DAY, OTHER, run="01bb", waiting=True)
    said = project("leases")
    assert said.code == 0
    assert [line.split()[:3] for line in said.out.splitlines()[1:]] == [
        ["01aa", "builds", "elsewhere"],
        ["01bb", "waits", "elsewhere"],
    ]
    assert [one["state"] for one in json.loads(project("leases", "--json").out)] == ["builds", "waits"]
    unknown = project("leases", "--clear", "02")
    assert unknown.code == 2
    assert "there are 01aa, 01bb" in unknown.err
    assert "taken away" in project("leases", "--clear", "01b").out
    assert [one["run"] for one in json.loads(project("leases", "--json").out)] == ["01aa"]
