"""Partitions that count as never built, and partitions whose rows are removed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from lakehouse import Lakehouse
from lakehouse.errors import PartitionConflict, PartitionError
from lakehouse.io.delta import DeltaLakeTable
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
REST = "2013-01-01...2013-01-02, 2013-01-04...2013-01-05"


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    lake = open_project(tmp_path, DAILY)
    refresh(lake)
    return lake


def _rows(lake: Lakehouse, key: str) -> list[str]:
    return sorted(lake.load(key).collect()["date"])


def test_what_is_forgotten_counts_as_never_built_and_stays_readable(lake: Lakehouse) -> None:
    Maintenance(lake).forget("silver.clean", DAY).apply()
    assert present(lake, "silver.clean") == REST
    assert len(_rows(lake, "silver.clean")) == 5
    assert outdated(lake) == {}
    (step,) = [s for s in lake.plan("silver.clean", DAYS, refresh=True).steps if s.asset.key == "silver.clean"]
    assert (str(step.partitions), [str(r) for r in step.reasons]) == (DAY, ["missing"])
    refresh(lake)
    assert present(lake, "silver.clean") == DAYS
    assert not lake.plan("*", DAYS, refresh=True)


def test_what_is_wiped_is_gone_and_known_downstream(lake: Lakehouse) -> None:
    change = Maintenance(lake).wipe("bronze.readings", DAY)
    assert change.notes == ("silver.clean becomes stale",)
    assert change.actions[0].text == "1 row removed by one commit, 2013-01-03 counts as not there"
    change.apply()
    assert DAY not in _rows(lake, "bronze.readings")
    assert len(_rows(lake, "bronze.readings")) == 4
    assert present(lake, "bronze.readings") == REST
    assert outdated(lake) == {"silver.clean": ["bronze.readings changed"]}
    assert lake.load("bronze.readings", version=0).collect().height == 5, "older versions stay"
    (fact,) = [f for f in lake.lineage_store.facts("bronze.readings") if f.status is Status.WIPED]
    assert (fact.rows, fact.version) == (1, 1)
    refresh(lake)
    assert len(_rows(lake, "bronze.readings")) == 5
    assert outdated(lake) == {}


def test_what_was_forgotten_can_be_wiped(lake: Lakehouse) -> None:
    Maintenance(lake).forget("bronze.readings", DAY).apply()
    Maintenance(lake).wipe("bronze.readings", DAY).apply()
    assert len(_rows(lake, "bronze.readings")) == 4
    assert not Maintenance(lake).wipe("bronze.readings", DAY)
    assert not Maintenance(lake).forget("bronze.readings", DAY)


def test_an_asset_without_partitions(lake: Lakehouse) -> None:
    Maintenance(lake).forget("gold.total").apply()
    assert present(lake, "gold.total") == "none"
    refresh(lake)
    Maintenance(lake).wipe("gold.total").apply()
    assert lake.load("gold.total").collect().height == 0
    refresh(lake)
    assert lake.load("gold.total").collect()["double"].to_list() == [10]


def test_all_of_it(lake: Lakehouse) -> None:
    Maintenance(lake).wipe("silver.clean", "*").apply()
    assert _rows(lake, "silver.clean") == []
    assert present(lake, "silver.clean") == "none"
    with pytest.raises(PartitionError, match="say which partitions"):
        Maintenance(lake).wipe("bronze.readings")
    with pytest.raises(PartitionError, match=r"bronze\.readings: .*outside the range"):
        Maintenance(lake).forget("bronze.readings", "2014-01-01")


def test_what_was_only_held_back_can_be_forgotten(tmp_path: Path) -> None:
    lake = open_project(tmp_path, DAILY.replace('BAD = ""', f'BAD = "{DAY}"'))
    lake.refresh("silver.clean", DAY, engine="inline", raise_on_failure=False)
    (one,) = lake.status("silver.clean")
    assert str(one.held) == DAY
    Maintenance(lake).forget("silver.clean", DAY).apply()
    (one,) = lake.status("silver.clean")
    assert not one.held
    assert not Maintenance(lake).forget("silver.clean", DAY)
    assert not Maintenance(lake).wipe("silver.clean", DAY)


@pytest.mark.parametrize("verb", ["forget", "wipe"])
def test_a_dry_run_writes_nothing(lake: Lakehouse, tmp_path: Path, verb: str) -> None:
    there = snapshot(tmp_path)
    assert getattr(Maintenance(lake), verb)("silver.clean", DAY)
    assert snapshot(tmp_path) == there


@pytest.mark.parametrize("verb", ["forget", "wipe"])
def test_what_was_published_meanwhile_is_left_alone(lake: Lakehouse, verb: str) -> None:
    change = getattr(Maintenance(lake), verb)("silver.clean", DAY)
    other = getattr(Maintenance(lake), verb)("silver.clean", "2013-01-05")
    lake.materialize("silver.clean", DAY, engine="inline")
    with pytest.raises(PartitionConflict):
        change.apply()
    assert present(lake, "silver.clean") == DAYS
    other.apply()
    assert present(lake, "silver.clean") == "2013-01-01...2013-01-04"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("verb", "owner", "name"),
    [
        ("forget", DeltaLakeTable, "mark"),
        ("forget", SqliteLineage, "append"),
        ("wipe", DeltaLakeTable, "stage"),
        ("wipe", DeltaLakeTable, "publish"),
        ("wipe", SqliteLineage, "append"),
    ],
)
def test_killed_at_any_moment_it_is_completed_by_calling_it_again(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch, verb: str, owner: Any, name: str, when: str
) -> None:
    with monkeypatch.context() as patch:
        kill(patch, owner, name, when)
        with pytest.raises(Killed):
            getattr(Maintenance(lake), verb)("silver.clean", DAY).apply()
    getattr(Maintenance(lake), verb)("silver.clean", DAY).apply()
    assert present(lake, "silver.clean") == REST
    assert (DAY in _rows(lake, "silver.clean")) is (verb == "forget")
    refresh(lake)
    assert present(lake, "silver.clean") == DAYS
    assert _rows(lake, "silver.clean") == [f"2013-01-0{n}" for n in range(1, 6)]
    assert not lake.plan("*", DAYS, refresh=True)


@settings(max_examples=6)
@given(
    forgotten=st.dictionaries(
        st.sampled_from(["bronze.readings", "silver.clean"]), st.sets(st.integers(1, 5), min_size=1), min_size=1
    )
)
def test_forgotten_and_refreshed_is_as_if_it_was_never_built_before(forgotten: dict[str, set[int]]) -> None:
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        lake, fresh = open_project(Path(here), DAILY), open_project(Path(there), DAILY)
        refresh(lake)
        for asset, days in forgotten.items():
            Maintenance(lake).forget(asset, [f"2013-01-0{n}" for n in sorted(days)]).apply()
            rest = sorted(set(range(1, 6)) - days)
            assert list(state(lake, asset).present) == [f"2013-01-0{n}" for n in rest]
        refresh(lake)
        refresh(fresh)
        for built in lake.graph:
            ours, theirs = state(lake, built.key), state(fresh, built.key)
            assert ours.present == theirs.present
            assert ours.digests(ours.present) == theirs.digests(theirs.present)
            assert_frame_equal(lake.load(built), fresh.load(built), check_row_order=False)
        assert outdated(lake) == outdated(fresh) == {}
        assert not lake.plan("*", DAYS, refresh=True)
