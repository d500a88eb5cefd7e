"""Athena's side of moto, which records statements but runs none: DuckDB runs them, over moto's own Glue and S3.

It speaks what dbt-athena says, and refuses what Athena refuses where that matters here: types that Hive's tables have
no word for, a table that is there already, a place that isn't empty.
"""

from __future__ import annotations

import functools
import json
import re
import tempfile
import threading
from pathlib import Path
from typing import Any

import duckdb
from moto.athena.models import AthenaBackend, QueryResults
from moto.athena.responses import AthenaResponse
from moto.glue.models import glue_backends
from moto.s3.models import s3_backends

NAME = r'(?:"awsdatacatalog"\.)?["`](\w+)["`]\.["`](\w+)["`]'
GLUE = {"INTEGER": "int", "VARCHAR": "string", "FLOAT": "float", "BLOB": "binary", "HUGEINT": "bigint"}
SAME = {"BOOLEAN", "TINYINT", "SMALLINT", "BIGINT", "DOUBLE", "DATE"}
SQL = {"string": "varchar", "binary": "blob", "float": "real"}
INPUT = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
SERDE = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"


class Refused(Exception):
    """What Athena's answer says of a statement that failed."""


class Engine:
    """One statement's run."""

    def __init__(self, backend: AthenaBackend, folder: Path) -> None:
        self.glue = glue_backends[backend.account_id][backend.region_name]
        self.s3 = s3_backends[backend.account_id]["aws"]
        self.folder = folder
        self.base = duckdb.connect()
        # As Trino has them: whole numbers divide to whole numbers, moments are UTC's.
        self.base.execute("set integer_division = true; set timezone = 'UTC'")

    def run(self, statement: str, id: str) -> QueryResults:
        sql = re.sub(r"^(\s*--[^\n]*\n|\s*/\*.*?\*/)+", "", statement, flags=re.S).strip().rstrip(";")
        if found := re.match(r"create schema if not exists `(\w+)`", sql):
            if found[1] not in self.glue.databases:
                self.glue.create_database(found[1], {"Name": found[1]})
            return QueryResults([], [])
        if found := re.match(
            rf"create external table {NAME} \((.*?)\)\s*(row format serde.*?)?location '(.*?)'", sql, re.S
        ):
            words = [column.strip().rpartition(" ") for column in found[3].split(",")]
            columns = [{"Name": name.strip().strip("`"), "Type": kind} for name, _, kind in words]
            self.create(found[1], found[2], columns, found[5], serde="OpenCSVSerde" if found[4] else SERDE)
            return QueryResults([], [])
        if found := re.match(rf"alter table {NAME} set tblproperties \('(\w+)' = '(\w+)'\)", sql):
            self.definition(found[1], found[2]).setdefault("Parameters", {})[found[3]] = found[4]
            return QueryResults([], [])
        if found := re.match(rf"create table {NAME}\s+with \((.*?)\n\s*\)\s+as\s", sql, re.S):
            place = re.search(r"external_location='(.*?)'", found[3])
            if place is None or re.search(r"partitioned_by|bucketed_by", found[3]):
                raise NotImplementedError(found[3])
            self.write(found[1], found[2], place[1].rstrip("/"), sql[found.end() :], id)
            return QueryResults([], [])
        if found := re.match(rf"insert into {NAME} \((.*?)\)\s", sql, re.S):
            self.append(found[1], found[2], found[3], sql[found.end() :], id)
            return QueryResults([], [])
        if re.match(r"(select|with)\b", sql, re.I):
            return self.select(sql)
        raise NotImplementedError(sql)

    # ── statements ────────────────────────────────────────────────────────────────────────

    def select(self, sql: str) -> QueryResults:
        found = self.base.execute(self.readable(sql))
        names = [(c[0], str(c[1])) for c in found.description or []]
        # Athena names a type by its SQL word, without its parameters, in these answers.
        words = {"FLOAT": "real", "HUGEINT": "bigint", '"NULL"': "unknown", "TIMESTAMP_MS": "timestamp"}
        info = [{"Name": n, "Type": words.get(t, re.sub(r"\(.*", "", t).lower())} for n, t in names]
        rows = [{"Data": [{"VarCharValue": n} for n, _ in names]}]
        rows += [{"Data": [{} if v is None else {"VarCharValue": _text(v)} for v in row]} for row in found.fetchall()]
        return QueryResults(rows, info)

    def write(self, database: str, name: str, place: str, sql: str, id: str) -> None:
        if name in self.glue.get_database(database).tables:
            raise Refused(f"TABLE_ALREADY_EXISTS: Table '{database}.{name}' already exists")
        if self.objects(place):
            raise Refused(f"HIVE_PATH_ALREADY_EXISTS: Target directory for table '{database}.{name}' exists: {place}")
        self.base.execute(f"create temp table made as {self.readable(sql)}")
        described = self.base.execute("describe made").fetchall()
        columns = [{"Name": c[0].lower(), "Type": _glue(c[1])} for c in described]
        self.put(place, id, columns)
        self.create(database, name, columns, place, serde=SERDE)

    def append(self, database: str, name: str, listed: str, sql: str, id: str) -> None:
        table = self.definition(database, name)["StorageDescriptor"]
        types = ", ".join(f'"{c["Name"]}" {SQL.get(c["Type"], c["Type"])}' for c in table["Columns"])
        self.base.execute(f"create temp table made ({types})")
        self.base.execute(f"insert into made ({listed}) {self.readable(sql)}")
        self.put(table["Location"].rstrip("/"), id, table["Columns"])

    # ── Glue and S3 ───────────────────────────────────────────────────────────────────────

    def definition(self, database: str, name: str) -> dict[str, Any]:
        table = self.glue.get_table(database, name)
        return table.get_version(str(table._current_version))

    def create(self, database: str, name: str, columns: list[dict[str, str]], place: str, *, serde: str) -> None:
        storage = {
            "Columns": columns,
            "Location": place,
            "InputFormat": INPUT,
            "SerdeInfo": {"SerializationLibrary": serde},
        }
        definition = {"Name": name, "TableType": "EXTERNAL_TABLE", "Parameters": {}, "StorageDescriptor": storage}
        self.glue.create_table(database, name, definition)

    def put(self, place: str, id: str, columns: list[dict[str, str]]) -> None:
        """Store what was made as a file without an ending, as Athena does; and none at all for no rows."""
        if not self.base.execute("select count(*) from made").fetchall()[0][0]:
            return
        listed = ", ".join(f'cast("{c["Name"]}" as {SQL.get(c["Type"], c["Type"])}) as "{c["Name"]}"' for c in columns)
        file = self.folder / "made"
        self.base.execute(f"copy (select {listed} from made) to '{file}' (format parquet)")
        bucket, _, key = f"{place}/{id}".removeprefix("s3://").partition("/")
        self.s3.put_object(bucket, key, file.read_bytes())

    def objects(self, place: str) -> list[str]:
        bucket, _, prefix = place.rstrip("/").removeprefix("s3://").partition("/")
        keys = self.s3.get_bucket(bucket).keys
        return [f"s3://{bucket}/{key}" for key in keys if key.startswith(f"{prefix}/")]

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found = self.s3.get_object(bucket, key)
        if found is None:
            raise Refused(f"HIVE_CANNOT_OPEN_SPLIT: {uri} does not exist")
        return bytes(found.value)

    def readable(self, sql: str) -> str:
        """The statement, over what its tables hold now."""
        for database, name in set(re.findall(NAME, sql)):
            if database not in self.glue.databases or name not in self.glue.databases[database].tables:
                raise Refused(f"TABLE_NOT_FOUND: line 1:1: Table 'awsdatacatalog.{database}.{name}' does not exist")
            self.base.execute(f'create schema if not exists "{database}"')
            self.base.execute(f'create or replace view "{database}"."{name}" as {self.rows(database, name)}')
        return sql.replace('"awsdatacatalog".', "")

    def rows(self, database: str, name: str) -> str:
        storage = self.definition(database, name)["StorageDescriptor"]
        csv = "OpenCSVSerde" in storage["SerdeInfo"]["SerializationLibrary"]
        uris = self.objects(storage["Location"])
        if storage["InputFormat"].endswith("SymlinkTextInputFormat"):
            uris = [line for uri in uris for line in self.read(uri).decode().splitlines()]
        # Columns are found by their names; one that a file lacks is null.
        columns = [(c["Name"], SQL.get(c["Type"], re.sub("<.*", "", c["Type"]))) for c in storage["Columns"]]
        empty = "select " + ", ".join(f'cast(null as {kind}) as "{n}"' for n, kind in columns) + " where false"
        parts = [empty]
        for number, uri in enumerate(uris):
            file = self.folder / f"{database}.{name}.{number}"
            file.write_bytes(self.read(uri))
            reader = f"read_csv('{file}', header = true, all_varchar = true)" if csv else f"read_parquet('{file}')"
            there = {c[0].lower() for c in self.base.execute(f"describe select * from {reader}").fetchall()}
            listed = [f'cast("{n}" as {kind}) as "{n}"' for n, kind in columns if n.lower() in there]
            parts.append(f"select {', '.join(listed)} from {reader}")
        return " union all by name ".join(parts)


def _glue(kind: str) -> str:
    """Hive's word for a column that a statement makes."""
    if kind.startswith("DECIMAL"):
        return kind.lower()
    if kind in ("TIMESTAMP", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMP_NS"):
        return "timestamp"
    if kind not in GLUE and kind not in SAME:
        raise Refused(f"NOT_SUPPORTED: Unsupported Hive type: {kind.lower()}")
    return GLUE.get(kind, kind.lower())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def install() -> None:
    """Have moto's Athena run what it is given."""
    one_at_a_time = threading.Lock()
    start, answer = AthenaBackend.start_query_execution, AthenaResponse.get_query_execution

    @functools.wraps(start)
    def run(self: AthenaBackend, *args: Any, **options: Any) -> str:
        id = start(self, *args, **options)
        execution = self.executions[id]
        with one_at_a_time, tempfile.TemporaryDirectory() as folder:
            try:
                self.query_results[id] = Engine(self, Path(folder)).run(execution.query, id)
                self._store_query_result_in_s3(id)
            except Exception as error:
                execution.status = "FAILED"
                execution.reason = str(error)  # type: ignore[attr-defined]
        return id

    @functools.wraps(answer)
    def tell(self: AthenaResponse) -> str:
        told = json.loads(answer(self))
        execution = self.athena_backend.executions[told["QueryExecution"]["QueryExecutionId"]]
        if reason := getattr(execution, "reason", None):
            told["QueryExecution"]["Status"] |= {"StateChangeReason": reason, "AthenaError": {"ErrorMessage": reason}}
        return json.dumps(told)

    AthenaBackend.start_query_execution = run  # type: ignore[method-assign]
    AthenaResponse.get_query_execution = tell  # type: ignore[method-assign]
