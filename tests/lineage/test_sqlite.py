from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lakehouse.errors import LineageError
from lakehouse.lineage.open import open_lineage
from lakehouse.lineage.sqlite import _NEWEST, _TABLES, SCHEMA, SqliteLineage
from lakehouse.testing.lineage import sample_fact


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lineage.db"


def test_reading_makes_nothing(tmp_path: Path) -> None:
    lineage = SqliteLineage(tmp_path / "folder" / "lineage.db")
    assert lineage.facts("silver.flights") == []
    lineage.append([])
    assert os.listdir(tmp_path) == []


def test_between_calls_the_file_is_all_there_is(path: Path, tmp_path: Path) -> None:
    SqliteLineage(path).append([sample_fact()])
    assert os.listdir(tmp_path) == ["lineage.db"]
    copy = path.rename(tmp_path / "copy.db")
    assert SqliteLineage(copy).facts("silver.flights") == [sample_fact()]


def test_the_log_is_written_ahead(path: Path) -> None:
    SqliteLineage(path).append([sample_fact()])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT body FROM facts WHERE asset = ? ORDER BY id",
        "SELECT max(version) FROM facts WHERE asset = ?",
        "SELECT body FROM facts WHERE run = ? ORDER BY id, asset",
        "SELECT body FROM inputs JOIN facts USING (asset, id) WHERE input = ? ORDER BY id, asset",
    ],
)
def test_every_access_path_has_an_index(path: Path, query: str) -> None:
    SqliteLineage(path).append([sample_fact()])
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ("x",))]
    assert any("SEARCH" in step for step in plan)
    assert not any("SCAN" in step for step in plan)


def test_the_newest_facts_are_found_by_their_version(path: Path) -> None:
    SqliteLineage(path).append([sample_fact(1)])
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {_NEWEST}", ("silver.flights", "silver.flights")).fetchall()
    assert [step[3] for step in plan if "facts_by_version (asset=? AND version=?)" in step[3]], plan


def test_a_process_that_is_killed_in_an_append_leaves_nothing_of_it(path: Path) -> None:
    lineage = SqliteLineage(path)
    lineage.append([sample_fact(1)])
    # The facts are larger than SQLite's cache, so that some are in the log when the process ends.
    script = """
        import functools, os, sqlite3, sys
        from lakehouse.lineage.sqlite import SqliteLineage
        from lakehouse.testing.lineage import sample_fact

        class Dying(sqlite3.Connection):
            left = 180

            def execute(self, statement, *values):
                self.left -= statement.startswith("INSERT INTO facts")
                if self.left < 0:
                    os._exit(9)
                return super().execute(statement, *values)

        sqlite3.connect = functools.partial(sqlite3.connect, factory=Dying)
        SqliteLineage(sys.argv[1]).append([sample_fact(n, reason="x" * 40_000) for n in range(2, 202)])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)])
    assert done.returncode == 9
    assert path.with_name("lineage.db-wal").stat().st_size > 1_000_000

    assert lineage.facts("silver.flights") == [sample_fact(1)]
    assert lineage.built_from("bronze.raw_flights") == [sample_fact(1)]
    lineage.append([sample_fact(2)])
    assert lineage.facts("silver.flights") == [sample_fact(1), sample_fact(2)]


def test_a_file_that_was_deleted_is_made_anew(path: Path) -> None:
    lineage = SqliteLineage(path)
    lineage.append([sample_fact(1)])
    path.unlink()
    assert lineage.facts("silver.flights") == []
    lineage.append([sample_fact(2)])
    assert SqliteLineage(path).facts("silver.flights") == [sample_fact(2)]


def test_an_empty_file_is_an_empty_store(path: Path) -> None:
    path.touch()
    lineage = SqliteLineage(path)
    assert lineage.facts("silver.flights") == []
    lineage.append([sample_fact()])
    assert lineage.facts("silver.flights") == [sample_fact()]


def test_it_is_pickled_as_its_path(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(SqliteLineage("lineage.db", timeout=3))
    monkeypatch.chdir("/")
    lineage = pickle.loads(pickled)
    assert (lineage.path, lineage.timeout) == (path, 3)
    assert open_lineage(lineage.uri).uri == lineage.uri == f"sqlite:///{path}"


# ── what goes wrong ───────────────────────────────────────────────────────────────────────


def _both_fail(lineage: SqliteLineage, match: str) -> None:
    with pytest.raises(LineageError, match=match) as caught:
        lineage.append([sample_fact()])
    assert str(lineage.path) in str(caught.value)
    with pytest.raises(LineageError, match=match):
        lineage.facts("silver.flights")


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("asset,run\n" * 1000)
    _both_fail(SqliteLineage(path), "no SQLite database")
    assert path.read_text() == "asset,run\n" * 1000


def test_a_database_of_something_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE facts (x)")
    before = path.read_bytes()
    _both_fail(SqliteLineage(path), "of something else")
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version(path: Path) -> None:
    SqliteLineage(path).append([sample_fact()])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    _both_fail(SqliteLineage(path), f"schema {SCHEMA + 1}; this one knows {SCHEMA}\n  hint: upgrade")


def test_a_damaged_file(path: Path) -> None:
    lineage = SqliteLineage(path)
    lineage.append([sample_fact(n) for n in range(500)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 20)
    with pytest.raises(LineageError, match="damaged"):
        lineage.facts("silver.flights")
    with pytest.raises(LineageError, match="damaged"):
        lineage.append([sample_fact(1000)])


def test_a_truncated_file(path: Path) -> None:
    lineage = SqliteLineage(path)
    lineage.append([sample_fact(n) for n in range(500)])
    os.truncate(path, 4096 * 10)
    with pytest.raises(LineageError, match="damaged"):
        lineage.facts("silver.flights")


def test_a_locked_file(path: Path) -> None:
    lineage = SqliteLineage(path, timeout=0)
    lineage.append([sample_fact(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LineageError, match="another process has locked it for longer than 0 s"):
            lineage.append([sample_fact(2)])
        assert lineage.facts("silver.flights") == [sample_fact(1)]  # who writes doesn't keep readers out
    lineage.append([sample_fact(2)])
    assert lineage.facts("silver.flights") == [sample_fact(1), sample_fact(2)]


def test_a_new_file_that_another_process_has_locked(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LineageError, match="locked"):
            SqliteLineage(path, timeout=0).append([sample_fact()])


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    _both_fail(SqliteLineage(tmp_path), "unable to open")


def test_a_file_in_place_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LineageError, match="hint: name a file in a folder that you may write to"):
        SqliteLineage(tmp_path / "file" / "lineage.db").append([sample_fact()])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unwritable to root")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        for path in (tmp_path / "lineage.db", tmp_path / "folder" / "lineage.db"):
            with pytest.raises(LineageError, match="hint: name a file in a folder that you may write to"):
                SqliteLineage(path).append([sample_fact()])
    finally:
        tmp_path.chmod(0o755)


def test_a_fact_of_an_unknown_form(path: Path) -> None:
    lineage = SqliteLineage(path)
    lineage.append([sample_fact()])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""UPDATE facts SET body = replace(body, '"published"', '"evaporated"')""")
    with pytest.raises(LineageError, match="a fact can't be read: status"):
        lineage.facts("silver.flights")


# ── what is kept ──────────────────────────────────────────────────────────────────────────


def test_a_store_of_before_there_were_checkpoints(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in _TABLES:
            connection.execute(statement)
        old = sample_fact(1)
        row = (old.asset, old.id, old.run, old.version, old.to_json())
        connection.execute("INSERT INTO facts VALUES (?, ?, ?, ?, ?)", row)
    lineage = SqliteLineage(path)
    read = lineage.since("silver.flights")
    assert (read.version, read.checkpoint, read.facts) == (0, "", (old,))
    assert lineage.keep("silver.flights", "kept", read)
    assert lineage.since("silver.flights").facts == ()
    # An older lakehouse still writes to it, and what it writes came since.
    with closing(sqlite3.connect(path)) as connection, connection:
        new = sample_fact(2)
        connection.execute("INSERT INTO facts VALUES (?, ?, ?, ?, ?)", (new.asset, new.id, new.run, 2, new.to_json()))
    assert lineage.since("silver.flights").facts == (new,)


@pytest.mark.parametrize("change", ["DELETE FROM facts WHERE version = 1", "UPDATE facts SET version = 9"])
def test_what_is_changed_by_hand_takes_the_checkpoint_along(path: Path, change: str) -> None:
    lineage = SqliteLineage(path)
    lineage.append([sample_fact(1), sample_fact(2)])
    read = lineage.since("silver.flights")
    assert lineage.keep("silver.flights", "kept", read)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    assert lineage.since("silver.flights").checkpoint == ""
    assert not lineage.keep("silver.flights", "kept", read)


def test_a_checkpoint_and_what_came_since_are_found_by_an_index(path: Path) -> None:
    SqliteLineage(path).append([sample_fact()])
    queries = [
        "SELECT version, body FROM checkpoints WHERE asset = ?",
        "SELECT body FROM arrivals JOIN facts USING (asset, id) WHERE arrivals.asset = ? ORDER BY id",
    ]
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for query in queries for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ("x",))]
    assert not any("SCAN" in step for step in plan)


# ── connections that are kept ─────────────────────────────────────────────────────────────


def test_a_connection_is_kept_from_call_to_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, connect = [], sqlite3.connect

    def counted(*given: Any, **options: Any) -> sqlite3.Connection:
        made.append(given)
        found: sqlite3.Connection = connect(*given, **options)
        return found

    monkeypatch.setattr(sqlite3, "connect", counted)
    lineage = SqliteLineage(path)
    for number in range(1, 6):
        lineage.append([sample_fact(number)])
        assert len(lineage.facts("silver.flights")) == number
        assert lineage.newest("silver.flights")
    assert len(made) == 1
    lineage.close()
    assert os.listdir(path.parent) == ["lineage.db"]
    assert len(lineage.facts("silver.flights")) == 5


def test_a_file_that_was_replaced_is_read_and_written_anew(path: Path, tmp_path: Path) -> None:
    lineage, other = SqliteLineage(path), SqliteLineage(tmp_path / "other.db")
    lineage.append([sample_fact(1)])
    other.append([sample_fact(7)])
    other.close()
    (tmp_path / "other.db").rename(path)
    assert lineage.facts("silver.flights") == [sample_fact(7)]
    lineage.append([sample_fact(8)])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (2,)


def test_a_copy_of_the_process_uses_a_connection_of_its_own(path: Path) -> None:
    lineage = SqliteLineage(path)
    lineage.append([sample_fact(1)])
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            lineage.append([sample_fact(2)])
            status = 0 if len(lineage.facts("silver.flights")) == 2 else 2
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    lineage.append([sample_fact(3)])
    assert lineage.facts("silver.flights") == [sample_fact(n) for n in (1, 2, 3)]
