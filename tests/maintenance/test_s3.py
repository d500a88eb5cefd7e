"""The same in a bucket, where a table is moved object by object."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from obstore.store import S3Store

from lakehouse import Lakehouse, LakehouseError
from lakehouse.io.storage import Location
from lakehouse.maintenance import Maintenance
from tests.maintenance.projects import DAILY, DAYS, Killed, open_project, outdated, present, refresh

pytestmark = pytest.mark.aws

RENAMED = DAILY.replace("readings", "trips")
OLD, NEW = "bronze.readings", "bronze.trips"


@pytest.fixture
def bucket(aws_server: str) -> str:
    name = f"upkeep-{uuid4().hex}"
    urllib.request.urlopen(urllib.request.Request(f"{aws_server}/{name}", method="PUT")).close()
    return name


def _open(folder: Path, source: str, bucket: str) -> Lakehouse:
    return open_project(folder, source, storage=f"s3://{bucket}/lake")


def _objects(bucket: str, folder: str) -> dict[str, int]:
    found = Location.of(f"s3://{bucket}/lake/{folder}").store().list()
    return {str(one["path"]): int(one["size"]) for page in found for one in page}


def _built(folder: Path, bucket: str) -> Lakehouse:
    lake = _open(folder, DAILY, bucket)
    refresh(lake)
    lake.materialize(OLD, "2013-01-02", engine="inline")
    return _open(folder, RENAMED, bucket)


def _die_at(patch: pytest.MonkeyPatch, name: str, call: int) -> None:
    real, calls = getattr(S3Store, name), iter(range(1000))

    def dying(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return real(*args, **options)

    patch.setattr(S3Store, name, dying)


@pytest.mark.parametrize(
    ("name", "call"), [("copy", 0), ("copy", 3), ("copy", 6), ("copy", 7), ("delete", 0), ("delete", 1), ("none", 0)]
)
def test_a_move_that_was_killed_is_completed(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    monkeypatch.setenv("LAKEHOUSE_SHARED_FILES", "false")
    lake = _built(tmp_path, bucket)
    there = _objects(bucket, "bronze/readings")
    assert len(there) == 8, "six files of rows and two of the log"
    if name != "none":
        with monkeypatch.context() as patch:
            _die_at(patch, name, call)
            with pytest.raises(Killed):
                Maintenance(lake).rename(OLD, NEW).apply()
        left, moved = _objects(bucket, "bronze/readings"), _objects(bucket, "bronze/trips")
        assert {**left, **moved} == there, "nothing is lost"
    Maintenance(lake).rename(OLD, NEW).apply()
    assert _objects(bucket, "bronze/readings") == {}
    moved = _objects(bucket, "bronze/trips")
    assert {path: moved[path] for path in there} == there
    assert lake.load(NEW).collect().height == 5
    assert present(lake, NEW) == DAYS
    assert outdated(lake) == {}
    assert not lake.plan("*", DAYS, refresh=True)
    assert not Maintenance(lake).rename(OLD, NEW)


def test_another_table_is_not_overwritten(tmp_path: Path, bucket: str) -> None:
    lake = _built(tmp_path, bucket)
    lake.materialize(NEW, DAYS, engine="inline")
    there = _objects(bucket, "")
    with pytest.raises(LakehouseError, match="has been built already"):
        Maintenance(lake).rename(OLD, NEW)
    assert _objects(bucket, "") == there


def test_a_retention_and_a_wipe(tmp_path: Path, bucket: str) -> None:
    lake = _open(tmp_path, DAILY, bucket)
    refresh(lake)
    Maintenance(lake).wipe("silver.clean", "2013-01-03").apply()
    refresh(lake)
    later = datetime.now(UTC) + timedelta(days=50)
    before = _objects(bucket, "")
    change = Maintenance(lake, now=later).retain(keep="30d")
    gone = {
        uri.removeprefix(f"s3://{bucket}/lake/") for action in change.actions for uri in action.items if "//" in uri
    }
    assert gone < set(before)
    assert any(path.startswith("silver/clean/") for path in gone)
    change.apply()
    assert set(before) - set(_objects(bucket, "")) == gone
    assert lake.load("silver.clean").collect().height == 5
    assert not Maintenance(lake, now=later).retain(keep="30d")


def test_a_table_that_was_removed_goes_on_from_a_later_version(tmp_path: Path, bucket: str) -> None:
    lake = _open(tmp_path, DAILY, bucket)
    refresh(lake)
    store = Location.of(f"s3://{bucket}/lake/bronze/readings").store()
    store.delete([str(one["path"]) for page in store.list() for one in page])
    with pytest.raises(LakehouseError, match="there is no table at"):
        refresh(lake)
    assert not lake.status(OLD)[0].present
    Maintenance(lake).wipe(OLD, "*").apply()
    assert not lake.status(OLD)[0].fault
    assert lake.load(OLD).collect().height == 0
    refresh(lake)
    assert present(lake, OLD) == present(lake, "silver.clean") == DAYS
    assert outdated(lake) == {}
    assert min(path for path in _objects(bucket, "bronze/readings/_delta_log")) > f"{1:020}"
    lake = _open(tmp_path, RENAMED, bucket)
    Maintenance(lake).rename(OLD, NEW).apply()
    assert present(lake, NEW) == DAYS
    Maintenance(lake).retain(versions=1).apply()
    assert lake.load(NEW).collect().height == 5


def test_a_table_that_went_back_goes_on_from_a_later_version(tmp_path: Path, bucket: str) -> None:
    lake = _open(tmp_path, DAILY, bucket)
    refresh(lake)
    lake.materialize(OLD, "2013-01-02", engine="inline")
    store = Location.of(f"s3://{bucket}/lake/bronze/readings").store()
    store.delete([max(path for path in _objects(bucket, "bronze/readings") if path.startswith("_delta_log/000"))])
    Maintenance(lake).rebuild(OLD).apply()
    assert present(lake, OLD) == DAYS
    assert lake.table(lake.graph[OLD]).version() == 2
    refresh(lake)
    assert outdated(lake) == {}
