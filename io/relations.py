"""DuckDB's connections and relations, which are the same on every host: by themselves they go by its time zone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def connect(database: str = ":memory:") -> Any:
    """A DuckDB connection whose clock shows UTC."""
    import duckdb

    connection = duckdb.connect(database)
    connection.execute("set TimeZone = 'UTC'")
    return connection


_here = threading.local()


def own_connection() -> Any:
    """A thread's own DuckDB connection: steps run in threads, and only relations of one connection can be joined."""
    if not hasattr(_here, "connection"):
        _here.connection = connect()
    return _here.connection


def arrow_table(relation: Any) -> Any:
    """A relation's rows, whosever connection it is of. Where a person set a time zone, it is theirs; if not, UTC's."""
    ((scope,),) = relation.query("found", "select scope from duckdb_settings() where name = 'TimeZone'").fetchall()
    if scope != "LOCAL":
        relation.query("found", "set TimeZone = 'UTC'")
    try:
        return relation.to_arrow_table()
    finally:
        if scope != "LOCAL":
            relation.query("found", "reset TimeZone")


class _Default:
    """The connection that ``duckdb.sql`` uses, in UTC for as long as anybody needs it so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._zone = ""

    @contextmanager
    def in_utc(self) -> Iterator[None]:
        duckdb = sys.modules.get("duckdb")
        if duckdb is None:
            yield
            return
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._zone = self._set("UTC", duckdb)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._set(self._zone, duckdb)

    def _set(self, zone: str, duckdb: Any) -> str:
        """By a cursor, and for all: the connection itself may be at something, and keeps a zone that it was told."""
        with duckdb.default_connection().cursor() as cursor:
            (before,) = cursor.execute("select current_setting('TimeZone')").fetchone()
            cursor.execute(f"set global TimeZone = '{zone}'")
        return str(before)


default_in_utc = _Default().in_utc
