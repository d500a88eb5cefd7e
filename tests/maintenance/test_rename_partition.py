"""A partition that has another key in code keeps its rows and its history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.errors import PartitionConflict, PartitionError, WrongFrame
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.maintenance import Maintenance
from tests.maintenance.projects import (
    REGIONS,
    Killed,
    kill,
    open_project,
    outdated,
    present,
    refresh,
    snapshot,
)

RENAMED = REGIONS.replace('"US"', '"us"')
DYNAMIC = REGIONS.replace('Static(["US", "EU"], column="region")', 'Dynamic("regions", column="region")').replace(
    "Static,", "Dynamic,"
)


@pytest.fixture
def before(tmp_path: Path) -> Lakehouse:
    lake = open_project(tmp_path, REGIONS)
    refresh(lake, None)
    return lake


def test_everything_that_shares_the_key_follows(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    assert present(lake, "bronze.sales") == "EU"
    change = Maintenance(lake).rename_partition("bronze.sales silver.checked", "US", "us")
    assert change.notes == ("what is made from them stays as it is, with the old key in it: gold.by_region",)
    change.apply()
    for key in ("bronze.sales", "silver.checked"):
        assert present(lake, key) == "us...EU"
        assert sorted(lake.load(key).collect()["region"]) == ["EU", "us"]
        assert lake.load(key, "us").collect()["region"].to_list() == ["us"]
        assert lake.table(lake.graph[key]).rows() == {"EU": 1, "us": 1}
    assert outdated(lake) == {}
    assert not lake.plan("*", refresh=True)
    assert lake.load("bronze.sales", version=0).collect().height == 2, "older versions stay"
    events = lake.lineage("silver.checked", "us").events
    assert [fact.version for fact in events] == [0, 1], "its history follows"
    assert [link.asset for link in lake.lineage("bronze.sales", "us").uses] == ["silver.checked"]
    (source,) = lake.lineage("silver.checked", "us").sources[0].links
    assert (source.asset, source.partitions) == ("bronze.sales", "us")


def test_its_rows_are_known_when_it_is_built_again(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    Maintenance(lake).rename_partition("bronze.sales silver.checked", "US", "us").apply()
    run = lake.materialize("bronze.sales", "us", engine="inline")
    assert str(run.results[0].unchanged) == "us"
    assert outdated(lake) == {}
    lake = open_project(tmp_path, RENAMED.replace("pl.lit(5)", "pl.lit(6)"))
    lake.materialize("bronze.sales", "us", engine="inline")
    assert outdated(lake)["silver.checked"] == ["bronze.sales changed"]


def test_dynamic_keys_can_be_renamed_too(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DYNAMIC)
    lake.add_partitions("bronze.sales", ["US", "EU"])
    refresh(lake, None)
    Maintenance(lake).rename_partition("bronze.sales", "US", "us").apply()
    (one,) = lake.status("bronze.sales")
    assert sorted(one.present) == sorted(one.expected) == ["EU", "us"]
    Maintenance(lake).rename_partition("bronze.sales silver.checked", "US", "us").apply()
    (one,) = lake.status("silver.checked")
    assert sorted(one.present) == sorted(one.expected) == ["EU", "us"]
    assert not Maintenance(lake).rename_partition("bronze.sales silver.checked", "US", "us")
    assert not lake.plan("silver.checked bronze.sales", refresh=True)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (DeltaLakeTable, "stage"),
        (DeltaLakeTable, "publish"),
        (DeltaLakeTable, "discard"),
        (SqliteLineage, "append"),
    ],
)
def test_killed_at_any_moment_it_is_completed_by_calling_it_again(
    before: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str
) -> None:
    lake = open_project(tmp_path, RENAMED)
    with monkeypatch.context() as patch:
        kill(patch, owner, name, when)
        with pytest.raises(Killed):
            Maintenance(lake).rename_partition("bronze.sales silver.checked", "US", "us").apply()
    assert lake.load("bronze.sales").collect().height == 2
    Maintenance(lake).rename_partition("bronze.sales silver.checked", "US", "us").apply()
    assert present(lake, "bronze.sales") == present(lake, "silver.checked") == "us...EU"
    assert sorted(lake.load("silver.checked").collect()["region"]) == ["EU", "us"]
    assert not lake.plan("*", refresh=True)
    again = Maintenance(lake).rename_partition("bronze.sales", "US", "us")
    assert not again
    assert again.notes == ("bronze.sales US was renamed already",)


def test_a_dry_run_writes_nothing(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    there = snapshot(tmp_path)
    (action,) = Maintenance(lake).rename_partition("bronze.sales", "US", "us").actions
    assert action.text == "US becomes us: 1 row written anew, in one commit"
    assert snapshot(tmp_path) == there


def test_what_was_published_meanwhile_is_not_overwritten(before: Lakehouse, tmp_path: Path) -> None:
    lake = open_project(tmp_path, RENAMED)
    change = Maintenance(lake).rename_partition("bronze.sales", "US", "us")
    lake.materialize("bronze.sales", "us", engine="inline")
    with pytest.raises(PartitionConflict):
        change.apply()
    with pytest.raises(PartitionError, match="us is published already"):
        Maintenance(lake).rename_partition("bronze.sales", "US", "us")


def test_what_cannot_be(before: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(PartitionError, match="'US' is still a key"):
        Maintenance(before).rename_partition("bronze.sales", "US", "EU")
    with pytest.raises(PartitionError, match="unpartitioned partitions: only static and dynamic keys"):
        Maintenance(before).rename_partition("gold.by_region", "US", "us")
    lake = open_project(tmp_path, RENAMED)
    with pytest.raises(PartitionError, match="'usa' is no partition key"):
        Maintenance(lake).rename_partition("bronze.sales", "US", "usa")
    with pytest.raises(PartitionError, match=r"nothing of bronze\.sales is published under 'UK'"):
        Maintenance(lake).rename_partition("bronze.sales", "UK", "us")


def test_a_column_that_cannot_hold_the_new_key(tmp_path: Path) -> None:
    years = REGIONS.replace('["US", "EU"]', "[2012, 2013]").replace(
        "partitions.keys()}", "[int(k) for k in partitions.keys()]}"
    )
    lake = open_project(tmp_path, years)
    refresh(lake, None, "bronze.sales")
    lake = open_project(tmp_path, years.replace("2012", '"twelve"'))
    there = [p for p in snapshot(tmp_path) if p.startswith("data")]
    with pytest.raises(WrongFrame, match="'region' is of type Int64, which can't hold 'twelve'"):
        Maintenance(lake).rename_partition("bronze.sales", "2012", "twelve").apply()
    assert [p for p in snapshot(tmp_path) if p.startswith("data")] == there
    lake = open_project(tmp_path, years.replace("2012", "1912"))
    Maintenance(lake).rename_partition("bronze.sales", "2012", "1912").apply()
    assert sorted(lake.load("bronze.sales").collect()["region"]) == [1912, 2013]
