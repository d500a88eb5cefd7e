"""Lineage in one SQLite file: the embedded store."""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import time
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lakehouse.errors import LineageError
from lakehouse.lineage.facts import Fact, Status
from lakehouse.lineage.store import Lease, News, Since, leases_from_json, leases_to_json

SCHEMA = 1
"""Version of the tables below, kept in the file's ``user_version``."""

_MARK = 0x4C414B45  # "LAKE", the file's application_id: somebody else's database is not written to

_TABLES = (
    """
    CREATE TABLE facts (
        asset TEXT NOT NULL,
        id TEXT NOT NULL,
        run TEXT NOT NULL,
        version INTEGER,
        body TEXT NOT NULL,
        UNIQUE (asset, id)
    )
    """,
    "CREATE INDEX facts_by_run ON facts (run, id)",
    "CREATE INDEX facts_by_version ON facts (asset, version)",
    """
    CREATE TABLE inputs (
        input TEXT NOT NULL,
        id TEXT NOT NULL,
        asset TEXT NOT NULL,
        PRIMARY KEY (input, id, asset)
    ) WITHOUT ROWID
    """,
    f"PRAGMA application_id = {_MARK}",
    f"PRAGMA user_version = {SCHEMA}",
)

_KEPT = (
    """
    CREATE TABLE IF NOT EXISTS checkpoints (
        asset TEXT NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        body TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS arrivals (
        asset TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (asset, id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER IF NOT EXISTS fact_arrived AFTER INSERT ON facts BEGIN
        INSERT OR REPLACE INTO arrivals VALUES (NEW.asset, NEW.id);
    END
    """,
    *(
        f"""
        CREATE TRIGGER IF NOT EXISTS fact_{event}d AFTER {event} ON facts BEGIN
            INSERT INTO checkpoints VALUES (OLD.asset, 1, '')
                ON CONFLICT (asset) DO UPDATE SET version = version + 1, body = '';
            DELETE FROM arrivals WHERE asset = OLD.asset AND id = OLD.id;
        END
        """
        for event in ("delete", "update")
    ),
)
"""What is beside the facts: for each asset a checkpoint, none where its body is empty, and the facts that it doesn't
cover. Triggers see to it, whoever writes: an older lakehouse, or a person by hand. A store that was made without is
given them by the first append."""

_LEASES = """
    CREATE TABLE IF NOT EXISTS {} (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        version INTEGER NOT NULL,
        body TEXT NOT NULL
    )
"""

_LEASE_TABLES = {False: "claims", True: "waiting"}
"""Those that are held, and those that are waited for."""

# By the plus ids are sorted, and not walked through to find the version.
_NEWEST = """
    SELECT body FROM facts WHERE asset = ? AND version = (SELECT max(version) FROM facts WHERE asset = ?) ORDER BY +id
"""

_WHAT_IS_THERE = """
    SELECT (SELECT application_id FROM pragma_application_id),
           (SELECT user_version FROM pragma_user_version),
           (SELECT count(*) FROM sqlite_master)
"""

_WRITABLE = "name a file in a folder that you may write to (readers too: SQLite keeps its log beside the file)"


@dataclass
class _Connection:
    """A connection that is kept.

    Parameters:
        sqlite: the connection
        process: id of the process that made it
        file: device and inode of the file that it is open on
        known: whether the file is known to be a lineage store; writable: and to have all tables
    """

    sqlite: sqlite3.Connection
    process: int
    file: tuple[int, int]
    known: bool = False
    writable: bool = False


_MOST_IDLE = 8
_VALUES = 500
"""In one statement, at most."""

_INHERITED: list[_Connection] = []
"""Connections of a process that this one is a copy of: to close them would take its locks away."""


def _close(connections: list[_Connection]) -> None:
    while connections:
        kept = connections.pop()
        if kept.process == os.getpid():
            kept.sqlite.close()
        else:
            _INHERITED.append(kept)


@final
class SqliteLineage:
    """Facts in one SQLite file, which many threads and processes of one machine may share.

    The file and its folder are made by the first append; reading makes nothing. Connections are kept from call
    to call, each used by one thread at a time and never carried over a fork or into a pickle; a file that was
    deleted or replaced meanwhile is not written to unseen. After each append all is in the file itself, so that it
    can be copied, unless another connection reads just then. It must lie on a local disk: SQLite's write-ahead
    log doesn't work over a network.

    Parameters:
        path: the file; a relative one is taken from the folder that is current now
        timeout: seconds to wait for another process that is writing

    Raises:
        LineageError: (by every method) the file can't be opened, read or written, is locked for longer
            than ``timeout``, is no lineage store, or was written by a newer version of lakehouse

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lineage = SqliteLineage(f"{folder}/lineage.db")
        ...     lineage.facts("silver.flights")
        []
    """

    def __init__(self, path: str | Path, *, timeout: float = 30.0) -> None:
        self.path = Path(path).expanduser().absolute()
        self.timeout = timeout
        self._idle: list[_Connection] = []
        weakref.finalize(self, _close, self._idle)

    @property
    def uri(self) -> str:
        """What `open_lineage` opens this very store with."""
        return f"sqlite:///{self.path}"

    def append(self, facts: Sequence[Fact]) -> None:
        """Write facts in one transaction; a fact whose id the asset has already is left as it is.

        Examples:
            >>> import tempfile
            >>> from lakehouse.testing.lineage import sample_fact
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     lineage = SqliteLineage(f"{folder}/lineage.db")
            ...     lineage.append([sample_fact(rows=842)])
            ...     lineage.facts("silver.flights")[0].rows
            842
        """
        rows = [(f, (f.asset, f.id, f.run, f.version, f.to_json())) for f in facts]
        if not rows:
            return
        with self._writing() as connection:
            for fact, row in rows:
                written = connection.execute(
                    "INSERT INTO facts VALUES (?, ?, ?, ?, ?) ON CONFLICT (asset, id) DO NOTHING", row
                )
                if written.rowcount and fact.status is Status.PUBLISHED:
                    connection.executemany(
                        "INSERT INTO inputs VALUES (?, ?, ?)",
                        [(name, fact.id, fact.asset) for name in sorted({pin.asset for pin in fact.inputs})],
                    )

    def remove(self, asset: str, ids: Collection[str]) -> None:
        """Remove facts of an asset in one transaction; ids that aren't there are passed over."""
        wanted = [fact for fact in self.facts(asset) if fact.id in set(ids)]
        if not wanted:
            return
        with self._writing() as connection:
            for fact in wanted:
                connection.executemany(
                    "DELETE FROM inputs WHERE input = ? AND id = ? AND asset = ?",
                    [(name, fact.id, asset) for name in {pin.asset for pin in fact.inputs}],
                )
                connection.execute("DELETE FROM facts WHERE asset = ? AND id = ?", (asset, fact.id))

    def facts(self, asset: str) -> list[Fact]:
        """Every fact about an asset, in the order of their ids."""
        return self._facts("SELECT body FROM facts WHERE asset = ? ORDER BY id", asset)

    def since(self, asset: str) -> Since:
        """The asset's checkpoint and what came since, or all facts."""
        version, checkpoint = 0, ""
        query = "SELECT body FROM facts WHERE asset = ? ORDER BY id"
        with self._reading() as connection:
            if connection is None:
                return Since(version, checkpoint, ())
            connection.execute("BEGIN")
            if _has(connection, "checkpoints"):
                row = connection.execute("SELECT version, body FROM checkpoints WHERE asset = ?", (asset,)).fetchone()
                version, checkpoint = row or (version, checkpoint)
            if checkpoint:
                query = "SELECT body FROM arrivals JOIN facts USING (asset, id) WHERE arrivals.asset = ? ORDER BY id"
            rows = connection.execute(query, (asset,)).fetchall()
            connection.execute("COMMIT")
        return Since(version, checkpoint, tuple(Fact.from_json(body) for (body,) in rows))

    def keep(self, asset: str, checkpoint: str, since: Since) -> bool:
        """Put a checkpoint in the place of the one that was read; False: that one isn't there any more."""
        with self._writing() as connection:
            row = connection.execute("SELECT version FROM checkpoints WHERE asset = ?", (asset,)).fetchone()
            if (row[0] if row else 0) != since.version:
                return False
            into = "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)"
            connection.execute(into, (asset, since.version + 1, checkpoint))
            covered = [(asset, fact.id) for fact in since.facts]
            connection.executemany("DELETE FROM arrivals WHERE asset = ? AND id = ?", covered)
            return True

    def latest_version(self, asset: str) -> int | None:
        """The highest table version that a fact of the asset names; None: never published."""
        rows = self._select("SELECT max(version) FROM facts WHERE asset = ?", asset)
        version: int | None = rows[0][0] if rows else None
        return version

    def newest(self, asset: str) -> list[Fact]:
        """The facts of the asset that name its highest table version, in the order of their ids."""
        return self._facts(_NEWEST, asset, asset)

    def at(self, asset: str, versions: Collection[int]) -> list[Fact]:
        """The facts of the asset that name one of some table versions, in the order of their ids."""
        found: list[Fact] = []
        wanted = sorted(set(versions))
        for start in range(0, len(wanted), _VALUES):
            some = wanted[start : start + _VALUES]
            marks = ", ".join("?" * len(some))
            found += self._facts(f"SELECT body FROM facts WHERE asset = ? AND version IN ({marks})", asset, *some)
        return sorted(found, key=lambda fact: fact.id)

    def run(self, run: str) -> list[Fact]:
        """Everything that a run did, in the order of the facts' ids."""
        return self._facts("SELECT body FROM facts WHERE run = ? ORDER BY id, asset", run)

    def built_from(self, asset: str) -> list[Fact]:
        """Every published fact that names the asset among its inputs, in the order of their ids."""
        return self._facts(
            "SELECT body FROM inputs JOIN facts USING (asset, id) WHERE input = ? ORDER BY id, asset", asset
        )

    def recent(self, asset: str, limit: int) -> list[Fact]:
        """The newest facts about an asset, newest first."""
        rows = self._select("SELECT body FROM facts WHERE asset = ? ORDER BY id DESC LIMIT ?", asset, limit)
        return [Fact.from_json(body) for (body,) in rows]

    def runs(self, limit: int, *, before: str | None = None) -> list[str]:
        """Ids of the newest runs that left a fact, newest first."""
        older, values = ("", ()) if before is None else ("AND run < ?", (before,))
        rows = self._select(
            f"SELECT run FROM facts WHERE run > '' {older} GROUP BY run ORDER BY run DESC LIMIT ?", *values, limit
        )
        return [run for (run,) in rows]

    def news(self, mark: str) -> News:
        """What was written since a mark: rows come in order, and what is removed changes a checkpoint's version."""
        with self._reading() as connection:
            if connection is None:
                return News("", (), None)
            connection.execute("BEGIN")
            newest = connection.execute("SELECT rowid, id FROM facts ORDER BY rowid DESC LIMIT 1").fetchone() or (0, "")
            kept = {}
            if _has(connection, "checkpoints"):
                kept = dict(connection.execute("SELECT asset, version FROM checkpoints").fetchall())
            known = json.loads(mark) if mark else None
            rows = []
            if known is not None:
                row, id, before = known
                found = connection.execute("SELECT id FROM facts WHERE rowid = ?", (row,)).fetchone()
                if row and (found is None or found[0] != id):
                    known = None  # the newest were removed, and their places may have been taken
                else:
                    rows = connection.execute("SELECT body FROM facts WHERE rowid > ?", (row,)).fetchall()
            connection.execute("COMMIT")
        mark = json.dumps([*newest, kept], separators=(",", ":"))
        if known is None:
            return News(mark, (), None)
        anew = frozenset(asset for asset in kept.keys() | before.keys() if kept.get(asset) != before.get(asset))
        facts = (fact for fact in map(Fact.from_json, (body for (body,) in rows)) if fact.asset not in anew)
        return News(mark, tuple(sorted(facts, key=lambda fact: (fact.id, fact.asset))), anew)

    def leases(self, *, waiting: bool = False) -> tuple[int, list[Lease]]:
        """What runs are about to build, or wait for, and which version of that this is: 0 where there never was any."""
        with self._reading() as connection:
            return (0, []) if connection is None else _leases(connection, waiting)

    def set_leases(self, leases: Sequence[Lease], *, version: int, waiting: bool = False) -> bool:
        """Put other leases in the place of those of a version; False: they are of another version by now."""
        body = leases_to_json(leases)
        with self._writing() as connection:
            connection.execute(_LEASES.format(_LEASE_TABLES[waiting]))
            if _leases(connection, waiting)[0] != version:
                return False
            into = f"INSERT OR REPLACE INTO {_LEASE_TABLES[waiting]} VALUES (1, ?, ?)"
            connection.execute(into, (version + 1, body))
            return True

    def close(self) -> None:
        """Let go of connections; the next call makes a new one."""
        _close(self._idle)

    def _facts(self, query: str, *values: str | int) -> list[Fact]:
        return [Fact.from_json(body) for (body,) in self._select(query, *values)]

    def _select(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        with self._reading() as connection:
            return [] if connection is None else connection.execute(query, values).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection, for one thread; None: there is nothing yet."""
        with self._clear_errors("read"):
            if not self.path.exists():
                yield None
                return
            kept = self._take("rw")
            with self._give_back(kept):
                kept.known = kept.known or self._is_ours(kept.sqlite)
                yield kept.sqlite if kept.known else None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection, for one thread and one transaction: it is committed, or nothing is written."""
        with self._clear_errors("written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = self._take("rwc")
            with self._give_back(kept):
                if not kept.writable:
                    if not self._is_ours(kept.sqlite):
                        self._make_tables(kept.sqlite)
                    kept.known = True
                kept.sqlite.execute("BEGIN IMMEDIATE")
                if not kept.writable:
                    for statement in _KEPT:
                        kept.sqlite.execute(statement)
                    kept.writable = True
                yield kept.sqlite
                kept.sqlite.execute("COMMIT")
                # A log that is left over would be taken for that of a file that is put in the place of this one.
                kept.sqlite.execute("PRAGMA busy_timeout = 0")
                kept.sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                kept.sqlite.execute(f"PRAGMA busy_timeout = {round(self.timeout * 1000)}")

    def _take(self, mode: str) -> _Connection:
        """A connection that nobody uses, to the file that is there now."""
        while True:
            try:
                kept = self._idle.pop()
            except IndexError:
                return self._connect(mode)
            try:
                found = self.path.stat()
                if kept.process == os.getpid() and kept.file == (found.st_dev, found.st_ino):
                    return kept
            except FileNotFoundError:
                pass
            _close([kept])

    @contextmanager
    def _give_back(self, kept: _Connection) -> Iterator[None]:
        """Keep a connection when it has been used; not if something went wrong, or it is of no use to others."""
        try:
            yield
        except BaseException:
            kept.sqlite.close()
            raise
        if kept.sqlite.in_transaction:
            kept.sqlite.execute("ROLLBACK")
        # What a file holds is asked of the file: also what somebody else has done to it, past SQLite.
        kept.sqlite.execute("PRAGMA shrink_memory")
        if kept.known and len(self._idle) < _MOST_IDLE:
            self._idle.append(kept)
        else:
            kept.sqlite.close()

    def _connect(self, mode: str) -> _Connection:
        sqlite = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=self.timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # What a power failure can take (never a kill) is a last append: the next run mends it from
            # the table's own log.
            sqlite.execute("PRAGMA synchronous = NORMAL")
            found = self.path.stat()
        except BaseException:
            sqlite.close()
            raise
        return _Connection(sqlite, os.getpid(), (found.st_dev, found.st_ino))

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        """Whether the tables are there; False: the file is empty."""
        mark, schema, tables = connection.execute(_WHAT_IS_THERE).fetchone()
        if (mark, schema, tables) == (0, 0, 0):
            return False
        if mark != _MARK:
            raise LineageError(
                f"{self.path} is a SQLite database of something else, not a lineage store",
                hint="name another file; it is made by the first append",
            )
        if schema > SCHEMA:
            raise LineageError(
                f"{self.path} was written by a newer lakehouse: schema {schema}; this one knows {SCHEMA}",
                hint="upgrade lakehouse, or name another file",
            )
        return True

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        self._use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        if not self._is_ours(connection):  # another process may have been faster
            for statement in _TABLES:
                connection.execute(statement)
        connection.execute("COMMIT")

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # Two processes that switch a new file at once: SQLite refuses one of them without waiting.
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.005)

    @contextmanager
    def _clear_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason, hint = self._explain(error)
            raise LineageError(f"the lineage store {self.path} can't be {what}: {reason}", hint=hint) from error
        except OSError as error:
            raise LineageError(
                f"the lineage store {self.path} can't be {what}: {error.strerror or error}", hint=_WRITABLE
            ) from error

    def _explain(self, error: sqlite3.Error) -> tuple[str, str | None]:
        """Why, and what to do about it."""
        match _code(error):
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return (
                    f"another process has locked it for longer than {self.timeout:g} s",
                    "wait until that one is done, or end it, and run again: what was recorded stays",
                )
            case sqlite3.SQLITE_NOTADB:
                return "it is no SQLite database", "name another file; it is made by the first append"
            case sqlite3.SQLITE_CORRUPT:
                return (
                    f"it is damaged ({error})",
                    "put a copy of it back, or move it away: the next run mends what was published since",
                )
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return f"{error}", _WRITABLE
            case sqlite3.SQLITE_FULL:
                return "the disk is full", "make room, and run again: what was recorded stays"
            case _:
                return f"{error}", None

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(SqliteLineage, timeout=self.timeout), (str(self.path),)

    def __repr__(self) -> str:
        return f"SqliteLineage({str(self.path)!r})"


def _has(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _leases(connection: sqlite3.Connection, waiting: bool) -> tuple[int, list[Lease]]:
    table = _LEASE_TABLES[waiting]
    if not _has(connection, table):  # the first lease makes it
        return 0, []
    row = connection.execute(f"SELECT version, body FROM {table}").fetchone()
    return (row[0], leases_from_json(row[1])) if row else (0, [])


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; the extended ones hold it in their lowest byte."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
