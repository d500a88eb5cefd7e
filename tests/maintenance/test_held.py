"""Rows that are held back stay and are shown for as long as they aren't published, whatever is tried in vain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse import Lakehouse
from lakehouse.maintenance import Maintenance
from tests.maintenance.projects import DAILY, DAYS, REGIONS, open_project, outdated, refresh

DAY = "2013-01-03"
LATER = datetime.now(UTC) + timedelta(days=3)
HELD = DAILY.replace('BAD = ""', f'BAD = "{DAY}"')
BROKEN = HELD.replace("return readings.with", 'raise ValueError("a bug")\n    return readings.with')
BROKEN_UPSTREAM = HELD.replace("    return pl.LazyFrame", '    raise ValueError("a bug")\n    return pl.LazyFrame')


def _try(folder: Path, source: str, targets: str = "silver.clean") -> Lakehouse:
    lake = open_project(folder, source)
    lake.materialize(targets, DAY, engine="inline", raise_on_failure=False)
    return lake


def _files(folder: Path) -> list[str]:
    return [p.name for p in (folder / "data/silver/clean-quarantine").rglob("*.parquet")]


@pytest.mark.parametrize(("broken", "targets"), [(BROKEN, "silver.clean"), (BROKEN_UPSTREAM, "+silver.clean")])
@pytest.mark.parametrize("published_before", [False, True])
def test_rows_held_back_outlive_a_failed_or_skipped_attempt(
    tmp_path: Path, broken: str, targets: str, published_before: bool
) -> None:
    if published_before:
        refresh(open_project(tmp_path, DAILY))
    lake = open_project(tmp_path, HELD)
    lake.refresh("+silver.clean", DAY, engine="inline", raise_on_failure=False)
    (held,) = _files(tmp_path)
    lake = _try(tmp_path, broken, targets)
    (one,) = lake.status("silver.clean")
    assert str(one.held) == DAY
    assert [uri.rpartition("/")[2] for uri in one.quarantine] == [held]
    assert [check.name for check in one.checks if not check.passed] == ["good"]
    Maintenance(lake, now=LATER).retain(keep="1d", versions=1).apply()
    assert _files(tmp_path) == [held]
    assert lake.table(one.asset).quarantined(one.quarantine[0]).collect()["date"].to_list() == [DAY]
    assert lake.status("silver.clean")[0].quarantine == one.quarantine
    lake = open_project(tmp_path, DAILY)
    lake.refresh("+silver.clean", DAY, engine="inline")
    (one,) = lake.status("silver.clean")
    assert (str(one.held), str(one.failed), one.quarantine) == ("none", "none", ())
    Maintenance(lake, now=LATER).retain(keep="1d").apply()
    assert _files(tmp_path) == []


def test_of_rows_held_back_twice_the_last_ones_stay(tmp_path: Path) -> None:
    _try(tmp_path, HELD, "+silver.clean")
    (first,) = _files(tmp_path)
    _try(tmp_path, HELD)
    lake = _try(tmp_path, BROKEN)
    Maintenance(lake, now=LATER).retain(keep="1d").apply()
    (last,) = _files(tmp_path)
    assert last != first


def test_a_model_that_was_reverted_after_it_failed_does_not_stay_failed(tmp_path: Path) -> None:
    refresh(open_project(tmp_path, DAILY))
    lake = open_project(
        tmp_path, DAILY.replace("return readings.with", 'raise ValueError("a bug")\n    return readings.with')
    )
    lake.refresh("silver.clean", DAYS, engine="inline", raise_on_failure=False)
    (one,) = lake.status("silver.clean")
    assert str(one.failed) == DAYS
    assert [str(step.partitions) for step in lake.plan("silver.clean", DAYS, refresh=True).steps] == [DAYS]
    lake = open_project(tmp_path, DAILY)
    (one,) = lake.status("silver.clean")
    assert (str(one.failed), str(one.held), one.stale) == ("none", "none", ())
    assert not lake.plan("*", DAYS, refresh=True)
    lake = open_project(tmp_path, DAILY.replace("* 2", "* 3"))
    assert str(lake.status("silver.clean")[0].failed) == DAYS, "it is to be built again, and the last attempt failed"


def test_a_model_that_was_reverted_after_it_was_held_back_is_built_once_more(tmp_path: Path) -> None:
    refresh(open_project(tmp_path, DAILY))
    lake = open_project(tmp_path, HELD)
    lake.refresh("silver.clean", DAYS, engine="inline", raise_on_failure=False)
    lake = open_project(tmp_path, DAILY)
    assert str(lake.status("silver.clean")[0].held) == DAY
    refresh(lake)
    assert str(lake.status("silver.clean")[0].held) == "none"
    assert outdated(lake) == {}


def test_what_is_held_back_of_a_key_that_is_renamed_in_the_code_first(tmp_path: Path) -> None:
    source = REGIONS.replace("silver\n", "silver\nfrom lakehouse.checks import expression\n").replace(
        "@silver(partitions=regions)", '@silver(partitions=regions, checks=[expression("small", pl.col("twice") < 20)])'
    )
    refresh(open_project(tmp_path, source), None)
    lake = open_project(tmp_path, source.replace("pl.lit(5)", "pl.lit(50)"))
    lake.refresh("+silver.checked", engine="inline", raise_on_failure=False)
    lake = open_project(tmp_path, source.replace("pl.lit(5)", "pl.lit(50)").replace('"US"', '"us"'))
    Maintenance(lake, now=LATER).retain(keep="1d", versions=1).apply()
    Maintenance(lake, now=LATER).rename_partition("bronze.sales silver.checked", "US", "us").apply()
    (one,) = lake.status("silver.checked")
    assert sorted(one.held) == ["EU", "us"]
    (uri,) = one.quarantine
    assert sorted(lake.table(one.asset).quarantined(uri).collect()["region"]) == ["EU", "US"]
