"""DuckDB's connections and relations, which are the same on every host: by themselves they go by its time zone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lakehouse.errors import SchemaViolation

T = TypeVar("T")


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


def arrow_table(relation: Any, *, where: str) -> Any:
    """A relation's rows, whosever connection it is of. Where a person set a time zone, it is theirs; if not, UTC's.

    Parameters:
        relation: the relation
        where: the asset, for messages

    Raises:
        SchemaViolation: see [exactly][]
    """
    ((scope,),) = relation.query("found", "select scope from duckdb_settings() where name = 'TimeZone'").fetchall()
    if scope != "LOCAL":
        relation.query("found", "set TimeZone = 'UTC'")
    try:
        return exactly(relation, lambda kept: kept.to_arrow_table(), where=where)
    finally:
        if scope != "LOCAL":
            relation.query("found", "reset TimeZone")


_AS_TEXT = {"uuid", "bit", "bignum"}
_NESTED = {"list", "array", "map", "struct"}
_KNOWN = {
    *_AS_TEXT,
    *_NESTED,
    *("boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "float", "double", "decimal"),
    *("utinyint", "usmallint", "uinteger", "ubigint", "uhugeint", "varchar", "blob", "enum", "null"),
    *("date", "time", "time_ns", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"),
    *("timestamp with time zone", "timestamptz_ns"),
}


def exactly(relation: Any, use: Callable[[Any], T], *, where: str, whole: str = "DECIMAL(38,0)") -> T:
    """Use a relation with every value as it is: Arrow and Parquet have no word for some of DuckDB's types.

    UUIDs, JSON, bits and numbers of any length are text.

    Parameters:
        relation: the relation
        use: what is done with it
        where: the asset, for messages
        whole: what integers of 128 bits are to be

    Returns:
        what ``use`` does

    Raises:
        SchemaViolation: a column of a type that can't be held, or a number or a time that is too large
    """
    import duckdb

    casts: dict[str, str] = {}
    for name, kind in zip(relation.columns, relation.types, strict=True):
        if not _known(kind):
            raise SchemaViolation(
                f"the column {name!r} of {where} is of DuckDB's type {kind}, which can't be held",
                hint=f"cast it: {name}::varchar keeps it as text",
            )
        if _changed(kind):
            casts[name] = _kept(kind, whole)
    changed = ", ".join(f"cast({quoted(name)} as {to}) as {quoted(name)}" for name, to in casts.items())
    try:
        return use(relation.project(f"* replace ({changed})") if casts else relation)
    except duckdb.Error:
        for name, to in casts.items():
            column = relation.project(quoted(name))
            column.to_arrow_table()  # if this raises, it isn't the type
            try:
                column.project(f"cast({quoted(name)} as {to})").to_arrow_table()
            except duckdb.Error as error:
                raise SchemaViolation(
                    f"the column {name!r} of {where} has a number that is too large for {to}: "
                    + str(error).partition("\n")[0],
                    hint=f"{name}::varchar keeps it as text",
                ) from error
        for name, kind in zip(relation.columns, relation.types, strict=True):
            if "TIMESTAMP" not in str(kind):
                continue
            try:
                relation.project(quoted(name)).to_arrow_table()
            except duckdb.ConversionException as error:
                raise SchemaViolation(
                    f"the column {name!r} of {where} has a time that DuckDB can't hold: "
                    + str(error).partition("\n")[0],
                    hint="its times go as far as the year 294246; take another kind of frame, or mend the value",
                ) from error
        raise


def _inner(kind: Any) -> dict[str, Any]:
    return {name: one for name, one in kind.children if name != "size"} if kind.id in _NESTED else {}


def _known(kind: Any) -> bool:
    return kind.id in _KNOWN and all(map(_known, _inner(kind).values()))


def _changed(kind: Any) -> bool:
    """Whether Arrow or Parquet would have another value for some of a type."""
    odd = kind.id in {*_AS_TEXT, "hugeint", "uhugeint"} or str(kind) == "JSON"
    return odd or any(map(_changed, _inner(kind).values()))


def _kept(kind: Any, whole: str) -> str:
    """The type as which values are kept."""
    inner = {name: _kept(one, whole) for name, one in _inner(kind).items()}
    match kind.id:
        case "hugeint":
            return whole
        case "uhugeint":
            return "DECIMAL(38,0)"
        case "uuid" | "bit" | "bignum" | "varchar" | "enum":
            return "VARCHAR"
        case "list":
            return f"{inner['child']}[]"
        case "array":
            return f"{inner['child']}[{dict(kind.children)['size']}]"
        case "map":
            return f"MAP({inner['key']}, {inner['value']})"
        case "struct":
            return f"STRUCT({', '.join(f'{quoted(name)} {to}' for name, to in inner.items())})"
        case _:
            return str(kind)


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


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
