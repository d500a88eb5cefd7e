"""A table is opened once and brought up to date: and whatever lies in its place by now is what is read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, silver
from lakehouse.errors import StorageError
from lakehouse.io import handles
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.layout import log_file
from lakehouse.io.storage import Location
from lakehouse.io.tokens import tokens
from lakehouse.testing.tables import DATES, content, expect, publish
from tests.support.proxy import Proxy

KEYS = DATES.keys
ALL = DATES.select(*KEYS)
daily = Daily("2013-01-01", end="2014-01-01", column="date")


@bronze(partitions=daily)
def days(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"date": partitions.keys()})


@silver(partitions=daily)
def again(days: pl.LazyFrame) -> pl.LazyFrame:
    return days


@pytest.fixture
def table(tmp_path: Path) -> DeltaLakeTable:
    """A table with rows in every partition."""
    return made(tmp_path / "lake", "old")


def made(folder: Path, tag: str) -> DeltaLakeTable:
    table = DeltaLakeTable(Location.of(folder), partitioned=True)
    publish(table, DATES.frame(KEYS, tag), ALL)
    return table


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the tables that were opened anew."""
    found: list[str] = []

    class Counted(DeltaTable):
        def __init__(self, table_uri: Any, **more: Any) -> None:
            found.append(str(table_uri))
            super().__init__(table_uri, **more)

    monkeypatch.setattr(handles, "DeltaTable", Counted)
    return found


@pytest.mark.parametrize("steps", [4, 8])
def test_a_run_opens_each_table_once_however_many_steps_it_has(tmp_path: Path, opened: list[str], steps: int) -> None:
    lake = Lakehouse([days, again], storage=tmp_path, lineage=f"sqlite:///{tmp_path}/lineage.db")
    run = lake.materialize(
        ["bronze.days", "silver.again"], f"2013-01-01...2013-01-{steps:02}", chunk=1, engine="inline"
    )
    assert len(run.plan) == 2 * steps
    assert len(opened) == 2


def test_what_another_process_published_is_seen(table: DeltaLakeTable, opened: list[str]) -> None:
    assert table.version() == 0
    opened.clear()
    for number, token in enumerate(tokens(ALL)[:3], 1):
        elsewhere = DeltaTable(table.location.target)  # knows nothing of what is kept here
        elsewhere.delete(f"_partition = '{token}'")
        assert table.version() == number
    assert opened == []


def test_a_table_in_the_place_of_another_is_read_as_it_is(tmp_path: Path, table: DeltaLakeTable) -> None:
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, "old"))
    made(tmp_path / "other", "new")
    shutil.rmtree(tmp_path / "lake")
    (tmp_path / "other").rename(tmp_path / "lake")
    assert table.version() == 0, "of the same number"
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, "new"))


def test_a_table_that_went_back_is_read_as_it_is(tmp_path: Path, table: DeltaLakeTable) -> None:
    shutil.copytree(tmp_path / "lake", tmp_path / "backup")
    publish(table, DATES.frame(KEYS, "new"), ALL)
    assert table.version() == 1
    shutil.rmtree(tmp_path / "lake")
    shutil.copytree(tmp_path / "backup", tmp_path / "lake")
    assert table.version() == 0
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, "old"))


def test_a_table_that_begins_again_is_read_as_it_is(table: DeltaLakeTable) -> None:
    nothing = table.stage(DATES.frame([], "none"), "restart")
    assert table.version() == 0
    table.restart(nothing, 40, ALL, payload="")
    assert table.version() == 40


def test_a_removed_table_is_gone(tmp_path: Path, table: DeltaLakeTable) -> None:
    assert table.version() == 0
    shutil.rmtree(tmp_path / "lake")
    assert table.version() is None


def test_an_older_file_of_the_log_that_is_damaged_is_noticed(table: DeltaLakeTable) -> None:
    publish(table, DATES.frame(KEYS, "new"), ALL)
    assert table.version() == 1
    file = table.location.path / log_file(0) if table.location.path else None
    assert file is not None
    file.write_bytes(b"")
    with pytest.raises(StorageError, match="is empty"):
        table.version()


def test_two_who_have_it_open_do_not_share_it(table: DeltaLakeTable, opened: list[str]) -> None:
    mine, other = table.open(), table.open()
    assert mine is not None
    publish(table, DATES.frame(KEYS, "new"), ALL)
    newest = table.open()
    assert newest is not None
    assert (mine.version(), newest.version()) == (0, 1), "it stays where it is, for as long as it is in use"
    del mine, other, newest
    opened.clear()
    assert table.version() == 1
    assert opened == []


def test_a_pinned_version_is_not_moved_along(table: DeltaLakeTable) -> None:
    assert table.version() == 0
    publish(table, DATES.frame(KEYS, "new"), ALL)
    assert content(table.scan(version=0)) == expect(DATES, dict.fromkeys(KEYS, "old"))
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, "new"))
    assert content(table.scan(version=0)) == expect(DATES, dict.fromkeys(KEYS, "old"))


def test_in_a_bucket_an_unchanged_table_costs_one_request(bucket: str, proxy: Proxy, tmp_path: Path) -> None:
    options = {"aws_endpoint_url": proxy.url, "aws_allow_http": "true"}
    table = DeltaLakeTable(Location.of(f"s3://{bucket}/kept-{tmp_path.name}", options), partitioned=True)
    for tag in ("one", "two", "three"):
        publish(table, DATES.frame(KEYS, tag), ALL)
        assert table.version() is not None
    proxy.forget()
    assert table.version() == 2
    assert sum(proxy.counts.values()) == 1, proxy.requests
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, "three"))
