"""Lineage in one SQLite file: the embedded store."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, final

from lakehouse.errors import LineageError
from lakehouse.lineage.facts import Fact, Status
from lakehouse.lineage.store import Lease, leases_from_json, leases_to_json

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

_LEASES = """
    CREATE TABLE IF NOT EXISTS {} (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        version INTEGER NOT NULL,
        body TEXT NOT NULL
    )
"""

_LEASE_TABLES = {False: "claims", True: "waiting"}
"""Those that are held, and those that are waited for."""

_WHAT_IS_THERE = """
    SELECT (SELECT application_id FROM pragma_application_id),
           (SELECT user_version FROM pragma_user_version),
           (SELECT count(*) FROM sqlite_master)
"""

_WRITABLE = "name a file in a folder that you may write to (readers too: SQLite keeps its log beside the file)"


@final
class SqliteLineage:
    """Facts in one SQLite file, which many threads and processes of one machine may share.

    The file and its folder are made by the first append; reading makes nothing. Every call opens the
    file and closes it again (0.2 ms): nothing has to be carried over a fork, into a thread or into a
    pickle, a file that was deleted meanwhile is not written to unseen, and between calls the file
    is whole, so that it can be copied. It must lie on a local disk: SQLite's write-ahead log
    doesn't work over a network.

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
        with self._clear_errors("written"), closing(self._open_to_write()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for fact, row in rows:
                written = connection.execute(
                    "INSERT INTO facts VALUES (?, ?, ?, ?, ?) ON CONFLICT (asset, id) DO NOTHING", row
                )
                if written.rowcount and fact.status is Status.PUBLISHED:
                    connection.executemany(
                        "INSERT INTO inputs VALUES (?, ?, ?)",
                        [(name, fact.id, fact.asset) for name in sorted({pin.asset for pin in fact.inputs})],
                    )
            connection.execute("COMMIT")

    def remove(self, asset: str, ids: Collection[str]) -> None:
        """Remove facts of an asset in one transaction; ids that aren't there are passed over."""
        wanted = [fact for fact in self.facts(asset) if fact.id in set(ids)]
        if not wanted:
            return
        with self._clear_errors("written"), closing(self._open_to_write()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for fact in wanted:
                connection.executemany(
                    "DELETE FROM inputs WHERE input = ? AND id = ? AND asset = ?",
                    [(name, fact.id, asset) for name in {pin.asset for pin in fact.inputs}],
                )
                connection.execute("DELETE FROM facts WHERE asset = ? AND id = ?", (asset, fact.id))
            connection.execute("COMMIT")

    def facts(self, asset: str) -> list[Fact]:
        """Every fact about an asset, in the order of their ids."""
        return self._facts("SELECT body FROM facts WHERE asset = ? ORDER BY id", asset)

    def latest_version(self, asset: str) -> int | None:
        """The highest table version that a fact of the asset names; None: never published."""
        rows = self._select("SELECT max(version) FROM facts WHERE asset = ?", asset)
        version: int | None = rows[0][0] if rows else None
        return version

    def newest(self, asset: str) -> list[Fact]:
        """The facts of the asset that name its highest table version, in the order of their ids."""
        newest = "SELECT max(version) FROM facts WHERE asset = ?"
        return self._facts(f"SELECT body FROM facts WHERE asset = ? AND version = ({newest}) ORDER BY id", asset, asset)

    def run(self, run: str) -> list[Fact]:
        """Everything that a run did, in the order of the facts' ids."""
        return self._facts("SELECT body FROM facts WHERE run = ? ORDER BY id, asset", run)

    def built_from(self, asset: str) -> list[Fact]:
        """Every published fact that names the asset among its inputs, in the order of their ids."""
        return self._facts(
            "SELECT body FROM inputs JOIN facts USING (asset, id) WHERE input = ? ORDER BY id, asset", asset
        )

    def leases(self, *, waiting: bool = False) -> tuple[int, list[Lease]]:
        """What runs are about to build, or wait for, and which version of that this is: 0 where there never was any."""
        with self._clear_errors("read"):
            if not self.path.exists():
                return 0, []
            with closing(self._connect("rw")) as connection:
                return _leases(connection, waiting)

    def set_leases(self, leases: Sequence[Lease], *, version: int, waiting: bool = False) -> bool:
        """Put other leases in the place of those of a version; False: they are of another version by now."""
        body = leases_to_json(leases)
        with self._clear_errors("written"), closing(self._open_to_write()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_LEASES.format(_LEASE_TABLES[waiting]))
            if _leases(connection, waiting)[0] != version:
                connection.execute("ROLLBACK")
                return False
            into = f"INSERT OR REPLACE INTO {_LEASE_TABLES[waiting]} VALUES (1, ?, ?)"
            connection.execute(into, (version + 1, body))
            connection.execute("COMMIT")
            return True

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _facts(self, query: str, *values: str) -> list[Fact]:
        return [Fact.from_json(body) for (body,) in self._select(query, *values)]

    def _select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._clear_errors("read"):
            if not self.path.exists():
                return []
            with closing(self._connect("rw")) as connection:
                return connection.execute(query, values).fetchall() if self._is_ours(connection) else []

    def _open_to_write(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect("rwc")
        try:
            if not self._is_ours(connection):
                self._make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}", uri=True, timeout=self.timeout, isolation_level=None
        )
        try:
            # What a power failure can take (never a kill) is a last append: the next run mends it from
            # the table's own log.
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

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


def _leases(connection: sqlite3.Connection, waiting: bool) -> tuple[int, list[Lease]]:
    table = _LEASE_TABLES[waiting]
    # The first lease makes the table.
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        return 0, []
    row = connection.execute(f"SELECT version, body FROM {table}").fetchone()
    return (row[0], leases_from_json(row[1])) if row else (0, [])


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; the extended ones hold it in their lowest byte."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
