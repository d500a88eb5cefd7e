"""What holds for Delta tables beyond what holds for every table."""

from __future__ import annotations

import os
import pickle
import resource
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from lakehouse.errors import PartitionConflict, SchemaViolation, SettingsError, StorageError
from lakehouse.io import PARTITION
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.storage import Location
from lakehouse.testing.tables import DATES, WHOLE, content, expect, publish, refused

KEYS = DATES.keys
OLD = expect(DATES, dict.fromkeys(KEYS, "old"))


@pytest.fixture(params=[True, False], ids=["clustered", "apart"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> DeltaLakeTable:
    """A table with rows in every partition."""
    table = DeltaLakeTable(Location.of(tmp_path / "lake"), partitioned=True, clustered=request.param)
    publish(table, DATES.frame(KEYS, "old"), DATES.select(*KEYS))
    return table


def _files(table: DeltaLakeTable) -> set[str]:
    assert table.location.path is not None
    return {str(p.relative_to(table.location.path)) for p in table.location.path.rglob("*.parquet")}


# ── others at the table ───────────────────────────────────────────────────────────────────


def test_other_readers_of_delta_see_the_same(table: DeltaLakeTable) -> None:
    publish(table, DATES.frame(KEYS[:2], "new"), DATES.select(*KEYS[:2]))
    tags = dict.fromkeys(KEYS, "old") | dict.fromkeys(KEYS[:2], "new")
    delta = DeltaTable(table.location.target)
    assert content(pl.scan_delta(delta)) == expect(DATES, tags)
    seen: Any = pl.from_arrow(delta.to_pyarrow_table())
    assert content(seen.lazy()) == expect(DATES, tags)


def test_maintenance_is_no_conflict(table: DeltaLakeTable) -> None:
    since = publish(table, DATES.frame(KEYS, "old").with_columns(half=pl.lit(1)), DATES.select(*KEYS))
    staged = table.stage(DATES.frame(KEYS[:1], "new"), "attempt")
    delta = DeltaTable(table.location.target)
    delta.optimize.compact()
    delta.optimize.z_order(["key"])
    delta.create_checkpoint()
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, keep_versions=[since])
    table.publish(staged, DATES.select(KEYS[0]), payload="", since=since)
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, "old") | {KEYS[0]: "new"})


def test_a_change_by_something_else_meanwhile_is_a_conflict(table: DeltaLakeTable) -> None:
    since = table.version()
    staged = table.stage(DATES.frame(KEYS[:1], "new"), "attempt")
    DeltaTable(table.location.target).delete(f"{PARTITION} = '{KEYS[-1]}'")
    with refused(PartitionConflict, table.uri, "DELETE"):
        table.publish(staged, DATES.select(KEYS[0]), payload="", since=since)
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS[:-1], "old"))


def test_vacuum_takes_what_nothing_refers_to_and_nothing_else(table: DeltaLakeTable) -> None:
    publish(table, DATES.frame(KEYS[:2], "new"), DATES.select(*KEYS[:2]))
    there = _files(table)
    staged = table.stage(DATES.frame(KEYS, "left behind"), "killed")
    leftovers = _files(table) - there
    assert len(leftovers) == (1 if table.clustered else len(staged.rows))
    assert table.location.path is not None
    (table.location.path / "strange.parquet").touch()
    delta = DeltaTable(table.location.target)
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    tags = dict.fromkeys(KEYS, "old") | dict.fromkeys(KEYS[:2], "new")
    assert content(table.scan()) == expect(DATES, tags)
    # It doesn't look where steps stage: what they have written and not published yet is in no log, and what was
    # published before may be pinned. A retention knows which of it nobody needs.
    assert _files(table) == there | leftovers


def test_vacuum_leaves_candidates_that_may_still_be_published(table: DeltaLakeTable) -> None:
    staged = table.stage(DATES.frame(KEYS[:2], "new"), "attempt")
    DeltaTable(table.location.target).vacuum(dry_run=False, full=True)
    table.publish(staged, DATES.select(*KEYS[:2]), payload="", since=table.version())
    assert content(table.scan(DATES.select(*KEYS[:2]))) == expect(DATES, dict.fromkeys(KEYS[:2], "new"))


def test_nothing_is_left_of_a_candidate_but_what_was_published(table: DeltaLakeTable) -> None:
    staged = table.stage(DATES.frame(KEYS, "new"), "attempt")
    table.publish(staged, DATES.select(KEYS[0]), payload="", since=table.version())
    table.discard(staged, published=DATES.select(KEYS[0]))
    assert table.location.path is not None
    folders = (table.location.path / name for name in ("_staged-attempt", "_staged-attempt-merged"))
    left = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    assert len(left) == 1
    table.stage(DATES.frame(KEYS, "new"), "held")
    table.discard("held")
    assert not (table.location.path / "_staged-held").exists()


def test_old_versions_are_kept_although_checkpoints_are_made(tmp_path: Path) -> None:
    table = DeltaLakeTable(Location.of(tmp_path), partitioned=False)
    for number in range(22):
        publish(table, pl.LazyFrame({"n": [number]}), WHOLE, payload=str(number))
    assert list((tmp_path / "_delta_log").glob("*.checkpoint.parquet"))
    os.utime(tmp_path / "_delta_log" / f"{0:020}.json", (0, 0))
    delta = DeltaTable(str(tmp_path))
    delta.cleanup_metadata()
    for version in (0, 10, 19, 21):
        assert table.scan(version=version).collect().item() == version
    assert [p.payload for p in table.publications(after=None)] == [str(n) for n in range(22)]


# ── a table that is another's ─────────────────────────────────────────────────────────────


def test_a_table_that_was_not_partitioned_is_not_published_to_by_partition(tmp_path: Path) -> None:
    whole = DeltaLakeTable(Location.of(tmp_path), partitioned=False)
    version = publish(whole, DATES.frame(KEYS, "old").drop(PARTITION), WHOLE)
    cut = DeltaLakeTable(Location.of(tmp_path), partitioned=True)
    with refused(SchemaViolation, "unpartitioned", "daily"):
        publish(cut, DATES.frame(KEYS[:1], "new"), DATES.select(KEYS[0]))
    with refused(StorageError, "not partitioned"):
        cut.scan(DATES.select(KEYS[0]))
    assert whole.version() == version
    assert content(whole.scan()) == OLD


def test_a_partitioned_table_is_not_replaced_as_a_whole(table: DeltaLakeTable) -> None:
    version = table.version()
    whole = DeltaLakeTable(table.location, partitioned=False)
    with refused(SchemaViolation, "unpartitioned", "daily"):
        publish(whole, pl.LazyFrame({"n": [1]}), WHOLE)
    assert table.version() == version
    assert content(table.scan()) == OLD


def test_a_table_of_unknown_origin_is_not_replaced_as_a_whole(tmp_path: Path) -> None:
    frame = DATES.frame(KEYS, "old").collect()
    write_deltalake(str(tmp_path), frame, partition_by=[PARTITION])
    with refused(SchemaViolation, "unpartitioned"):
        publish(DeltaLakeTable(Location.of(tmp_path), partitioned=False), frame.lazy(), WHOLE)
    assert content(DeltaLakeTable(Location.of(tmp_path), partitioned=True).scan()) == OLD


def test_what_can_not_be_read_rightly_is_refused(table: DeltaLakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = DeltaTable(table.location.target).protocol()._replace(reader_features=["deletionVectors"])
    monkeypatch.setattr(DeltaTable, "protocol", lambda self: protocol)
    with refused(StorageError, "deletionVectors"):
        table.scan()


# ── commits ───────────────────────────────────────────────────────────────────────────────


def test_a_commit_that_fails_for_itself_is_not_tried_over_and_over(
    table: DeltaLakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(self: DeltaTable, *args: Any, **kwargs: Any) -> None:
        calls.append(self)
        raise CommitFailedError("no such luck")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", fail)
    with refused(StorageError, "no such luck", table.uri):
        publish(table, DATES.frame(KEYS[:1], "new"), DATES.select(KEYS[0]))
    assert len(calls) == 1
    assert content(table.scan()) == OLD


def test_a_table_goes_to_another_process_as_it_is(table: DeltaLakeTable) -> None:
    assert content(pickle.loads(pickle.dumps(table)).scan()) == OLD
    assert content(pickle.loads(pickle.dumps(table.scan()))) == OLD


# ── a disk that takes no more ─────────────────────────────────────────────────────────────


def _with_small_files(table: DeltaLakeTable, what: str, limit: int, answers: Any) -> None:
    """Do something while no file may be longer than so many bytes, which is what a full disk looks like."""
    frame = DATES.frame(KEYS[:2], "new")
    staged = table.stage(frame, "attempt") if what == "publish" else None
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):  # files as well, while pytest reads them
        os.dup2(nowhere, output)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        if staged is None:
            table.stage(frame, "attempt")
        else:
            table.publish(staged, DATES.select(*KEYS[:2]), payload="", since=table.version())
    except Exception as error:
        answers.put((type(error).__name__, str(error)))
    else:
        answers.put(("", ""))


@pytest.mark.parametrize("limit", [0, 100])
@pytest.mark.parametrize("what", ["stage", "publish"])
def test_a_disk_that_takes_no_more_is_one_clear_error(
    table: DeltaLakeTable, what: str, limit: int, processes: SpawnContext
) -> None:
    answers = processes.SimpleQueue()
    worker = processes.Process(target=_with_small_files, args=(table, what, limit, answers))
    worker.start()
    worker.join(timeout=60)
    assert worker.exitcode == 0
    name, text = answers.get()
    assert name == "StorageError"
    assert table.uri in text
    assert "File too large" in text
    assert content(table.scan()) == OLD
    publish(table, DATES.frame(KEYS[:2], "again"), DATES.select(*KEYS[:2]))
    assert content(table.scan(DATES.select(*KEYS[:2]))) == expect(DATES, dict.fromkeys(KEYS[:2], "again"))


# ── places ────────────────────────────────────────────────────────────────────────────────


def test_a_root_may_be_written_as_a_path_or_as_its_uri(tmp_path: Path) -> None:
    home = tmp_path / "Jörg's data #1"
    assert Location.of(home) == Location.of(str(home)) == Location.of(home.as_uri()) == Location.of(f"file://{home}")
    assert Location.of(home).child("a", "b").path == home / "a" / "b"


@pytest.mark.parametrize("name", ["a[1]", "a|b", "a^b", "a\\b", "a%20b"])
def test_a_root_in_which_no_delta_table_can_live_is_refused(tmp_path: Path, name: str) -> None:
    with refused(SettingsError, name.replace("\\", "\\\\"), "hint"):
        Location.of(tmp_path / name)
    with refused(SettingsError, name.replace("\\", "\\\\")):
        Location.of(f"s3://bucket/{name}")


def _work_on(root: str) -> None:
    table = DeltaLakeTable(Location.of(root), partitioned=True)
    publish(table, DATES.frame(KEYS, "old"), DATES.select(*KEYS))
    assert content(table.scan()) == OLD
    assert table.quarantined(table.quarantine(DATES.frame(KEYS, "held").collect(), "held")).collect().height > 0


@pytest.mark.aws
def test_credentials_may_come_from_a_profile(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: SpawnContext
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text("[someone]\naws_access_key_id = x\naws_secret_access_key = y\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "someone")
    worker = processes.Process(target=_work_on, args=(f"s3://{bucket}/profile",))
    worker.start()
    worker.join(timeout=60)
    assert worker.exitcode == 0
