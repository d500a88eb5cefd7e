"""The scratch of production: a database in AWS Glue of one call's own, in which dbt-athena builds.

Inputs are external tables over exactly the files of the versions that are pinned, so that no byte is copied: Athena
can't read a Delta table as it was, but a table of links to files (Hive's symlinks) it can. What dbt makes of them lies
in S3 beside Gold, where nobody looks, is read back from there, and is gone after publication.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import polars as pl

from lakehouse.definitions.builder import BuildRequest, Remnant
from lakehouse.errors import SettingsError, StepError
from lakehouse.integrations.dbt.scratch import Load, digest
from lakehouse.integrations.dbt.targets import Target
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.storage import Location
from lakehouse.redaction import logger
from lakehouse.schemas.glue import CATALOG, Glue, columns_of, from_glue

if TYPE_CHECKING:
    from lakehouse.io import TableReader

log = logger("lakehouse.dbt")

PREFIX = "lakehouse_staging_"
"""How the databases' names begin; a run that was killed leaves its own behind."""
FOLDER = "dbt-staging"
"""Where their files lie, below Gold's root. No asset can be named so."""

_ELSEWHERE = (
    "bucket_count",
    "bucketed_by",
    "catalog_name",
    "external_location",
    "field_delimiter",
    "force_batch",
    "format",
    "ha",
    "lf_grants",
    "lf_tags_config",
    "native_drop",
    "partitioned_by",
    "s3_data_dir",
    "s3_data_naming",
    "s3_tmp_table_dir",
    "table_properties",
    "table_type",
    "temp_schema",
    "write_compression",
)
"""What a model may say about how and where dbt-athena stores it. Here it is a plain table of Parquet files."""
_PARQUET = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
_LINKS = "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat"
_TEXT = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"


@final
@dataclass(frozen=True)
class Athena:
    """A Glue database and a folder in S3, for one call.

    Parameters:
        target: where dbt builds
        root: Gold's root
        database: the database's name
        folder: on disk, for dbt's profile
        requests: what is to be made
    """

    target: Target
    root: Location
    database: str
    folder: Path
    requests: tuple[BuildRequest, ...]

    @classmethod
    def of(cls, target: Target, work: Path, requests: Sequence[BuildRequest]) -> Athena:
        """The scratch for some requests.

        Raises:
            SettingsError: Gold isn't in S3
        """
        name = f"{requests[0].context.run_id}_{digest(requests)}".lower()
        root = _root(target, requests[0].table, requests[0].asset.key)
        return cls(target, root, f"{PREFIX}{name}", work / f"scratch-{name}", tuple(requests))

    @property
    def output(self) -> Mapping[str, Any]:
        """What dbt's profile says of it: the target's, with the staging database in the place of its own."""
        return {
            **self.target.output,
            "schema": self.database,
            "s3_data_dir": f"{self.place.uri}/tables/",
            "s3_data_naming": "table_unique",
            "s3_staging_dir": f"{self.place.uri}/results/",
            "s3_tmp_table_dir": None,
        }

    @property
    def place(self) -> Location:
        """Its folder in S3."""
        return self.root.child(FOLDER, self.database)

    @cached_property
    def _credentials(self) -> Any:
        found = self.target.credentials()
        if found.database.lower() != CATALOG:
            raise SettingsError(
                f"the dbt target {self.target.name} names the catalog {found.database!r}",
                hint=f"models are staged in Glue's own: write database: {CATALOG}",
            )
        return found

    def _glue(self, database: str) -> Glue:
        return Glue(database, self._client)

    @cached_property
    def _client(self) -> Any:
        from dbt.adapters.athena.session import get_boto3_session_from_credentials

        session = get_boto3_session_from_credentials(self._credentials)
        return session.client("glue", region_name=self._credentials.region_name)

    # ── before dbt ────────────────────────────────────────────────────────────────────────

    def settle(self, node: Any) -> None:
        """Have dbt make a node as a table in the staging database and nowhere else."""
        # Names are one project's, schemas many: the staging database holds what would lie in several.
        self._move(node, f"test__{node.alias}" if node.resource_type == "test" else node.name)
        config = node.config
        for word in _ELSEWHERE:
            if word in config._extra:
                del config[word]
        if node.resource_type == "model":
            config.materialized = "table"
            config.persist_docs = {}

    def _move(self, node: Any, name: str) -> None:
        node.database, node.schema = CATALOG, self.database
        if node.resource_type == "source":
            node.identifier = name.lower()
        else:
            node.alias = name.lower()
        node.relation_name = f'"{CATALOG}"."{self.database}"."{name.lower()}"'

    def fill(self, manifest: Any, loads: Iterable[Load]) -> None:
        """Put inputs where dbt looks for them, as links to the files that hold them."""
        files: dict[str, list[str]] = {}
        columns: dict[str, list[dict[str, str]]] = {}
        for one in loads:
            table, version = one.request.sources[one.parameter]
            if not table.uri.startswith("s3://"):
                raise SettingsError(
                    f"the dbt target {self.target.name} reads its inputs in S3; {one.parameter} lies at {table.uri}",
                    hint="set LAKEHOUSE_STORAGE to s3://bucket/prefix, or LAKEHOUSE_DBT_TARGET to embedded",
                )
            found = table.files(one.partitions, version=version, apart=self.place)
            schema = table.scan(version=version).collect_schema()
            node = manifest.sources.get(one.node) or manifest.nodes[one.node]
            name = self._input(node, one, list(schema))
            columns[name] = columns_of(schema, where=one.parameter)
            files.setdefault(name, []).extend(found)
        self.folder.mkdir(parents=True, exist_ok=True)
        glue = self._glue(self.database)
        glue.create(f"What dbt makes in {self.requests[0].context.run_id}; can be removed when that run is over")
        for name, listed in files.items():
            self._link(glue, name, columns[name], listed)

    def _input(self, node: Any, load: Load, columns: Sequence[str]) -> str:
        """The name under which dbt will look for an input."""
        if node.resource_type == "source":
            self._move(node, f"source__{node.source_name}__{node.name}")
            return str(node.identifier)
        self.settle(node)
        if not load.beside:
            return str(node.alias)
        # dbt makes a part of it just now; the rest joins that as soon as it is there.
        from dbt.artifacts.resources.v1.config import Hook

        rest = f"rest__{node.alias}"
        listed = ", ".join(f'"{column}"' for column in columns)
        sql = f'insert into {{{{ this }}}} ({listed}) select {listed} from "{CATALOG}"."{self.database}"."{rest}"'
        if not any(rest in hook.sql for hook in node.config.post_hook):
            node.config.post_hook.append(Hook(sql=sql))
        return rest

    def _link(self, glue: Glue, name: str, columns: list[dict[str, str]], files: Sequence[str]) -> None:
        folder = self.place.child("inputs", name)
        if files:  # a table over an empty folder has no rows
            with self.place.reaching("writing to"):
                folder.store().put("files", "\n".join(files).encode())
        glue.put(
            {
                "Name": name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
                "StorageDescriptor": {
                    "Columns": columns,
                    "Location": f"{folder.uri}/",
                    "InputFormat": _LINKS,
                    "OutputFormat": _TEXT,
                    "SerdeInfo": {"SerializationLibrary": _PARQUET, "Parameters": {"serialization.format": "1"}},
                },
            }
        )

    # ── after dbt ─────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Nothing is kept open."""

    def rows(self, node: Any, promised: Mapping[str, Any]) -> pl.LazyFrame:
        """What dbt made of a node, from the files that Glue names.

        Raises:
            StepError: it can't be read
        """
        table = self._glue(self.database).table(node.alias)
        if table is None:
            raise StepError(f"dbt made {node.name}, but Glue has no table {node.alias} in {self.database}")
        made = table["StorageDescriptor"]
        location = Location(str(made["Location"]).rstrip("/"), self.root.options)
        with location.reaching("reading"):
            listed = [found for page in location.store().list() for found in page if found["size"]]
        files = sorted(f"{location.target}/{found['path']}" for found in listed)
        if files:
            frame = pl.scan_parquet(files, glob=False, hive_partitioning=False, **location.polars)
        else:
            frame = pl.LazyFrame(schema={c["Name"]: from_glue(c["Type"]) for c in made["Columns"]})
        schema = frame.collect_schema()
        # A contract's request is its table's; DuckDB's adapter sees to that by itself.
        ordered = [name for name in promised if name in schema]
        return frame.with_columns(_moments(schema, promised)).select(list(dict.fromkeys([*ordered, *schema])))

    def announce(self) -> None:
        """Have Athena find the Delta tables that are published by now. What fails here fails no step."""
        for request in self.requests:
            try:
                self._register(request)
            except Exception as error:
                log.warning("%s can't be seen from Athena as it is: %s", request.asset.key, error)

    def remove(self) -> None:
        """Remove the database and its files. What fails here fails no step."""
        try:
            glue = self._glue(self.database)
            # Of a work group that enforces its own place for results, that is where tables lie.
            for location in {str(t["StorageDescriptor"]["Location"]).rstrip("/") for t in glue.tables()}:
                if not location.startswith(f"{self.place.uri}/"):
                    _empty(Location(location, self.root.options))
            _empty(self.place)
            glue.drop()
        except Exception as error:
            log.warning("%s and %s were left behind: %s", self.database, self.place.uri, error)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _register(self, request: BuildRequest) -> None:
        """Have Athena find the published Delta table, in the database that the target names."""
        table = request.table
        if table is None or table.version() is None:
            return
        glue = self._glue(self._credentials.schema)
        columns = columns_of(table.scan().collect_schema(), where=request.asset.key)
        there = glue.table(request.asset.name)
        if there is not None:
            parameters = there.get("Parameters") or {}
            stored = there.get("StorageDescriptor") or {}
            if parameters.get("lakehouse.asset") != request.asset.key:
                raise StepError(
                    f"Glue has a table {glue.database}.{request.asset.name} already, which is something else",
                    hint="remove it there, or name another schema in the dbt target",
                )
            same = [{"Name": c["Name"], "Type": c["Type"]} for c in stored.get("Columns", [])] == columns
            if same and str(stored.get("Location", "")).rstrip("/") == table.uri:
                return
        glue.create("Gold, as it is published")
        glue.put(
            {
                "Name": request.asset.name,
                "Description": request.asset.description[:2048],
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {
                    "EXTERNAL": "TRUE",
                    "table_type": "DELTA",
                    "lakehouse.asset": request.asset.key,
                },
                "StorageDescriptor": {"Columns": columns, "Location": f"{table.uri}/"},
            }
        )


def remnants(target: Target, work: Path, table: TableReader) -> list[Remnant]:
    """The staging databases whose files lie below Gold's root, and such files without a database.

    Others in the same catalog may be another lakehouse's, whose runs aren't known here.

    Parameters:
        target: where dbt builds
        work: the folder on disk that calls have theirs in
        table: where an asset of Gold is published

    Raises:
        SettingsError: Gold isn't in S3
        StepError, StorageError: Glue or S3 can't be reached
    """
    root = _root(target, table, table.uri)
    here = f"{root.uri}/{FOLDER}/"
    every = Athena(target, root, PREFIX, work, ())
    with root.reaching("listing"):
        listed = root.store().list_with_delimiter(FOLDER)["common_prefixes"]
    found = {str(path).rstrip("/").rpartition("/")[2] for path in listed}
    for name in every._glue(PREFIX).databases():
        tables = every._glue(name).tables() if name.startswith(PREFIX) and name not in found else []
        if any(str(one["StorageDescriptor"]["Location"]).startswith(here) for one in tables):
            found.add(name)
    runs = {name: name.removeprefix(PREFIX) for name in sorted(found) if name.startswith(PREFIX)}
    return [
        Remnant(
            f"the Glue database {name}",
            run.rpartition("_")[0],
            replace(every, database=name, folder=work / f"scratch-{run}").remove,
        )
        for name, run in runs.items()
    ]


def _root(target: Target, table: TableReader | None, asset: str) -> Location:
    """Gold's root, in S3."""
    if not isinstance(table, DeltaLakeTable) or table.location.path is not None:
        place = "nowhere that lasts" if table is None else table.uri
        raise SettingsError(
            f"the dbt target {target.name} needs Gold in S3; {asset} lies at {place}",
            hint="set LAKEHOUSE_STORAGE to s3://bucket/prefix, or LAKEHOUSE_DBT_TARGET to embedded",
        )
    return Location(table.uri.rpartition("/")[0], table.location.options)


def _moments(schema: Mapping[str, Any], promised: Mapping[str, Any]) -> list[pl.Expr]:
    """Give moments back the batch and the zone that Athena's tables have no word for; they are by UTC's clock."""
    found = []
    for name, dtype in schema.items():
        wanted = promised.get(name)
        if isinstance(dtype, pl.Datetime):
            zone = wanted.time_zone if isinstance(wanted, pl.Datetime) else dtype.time_zone
            column = pl.col(name).dt.cast_time_unit("us")
            if zone and not dtype.time_zone:
                column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
            found.append(column)
    return found


def _empty(place: Location) -> None:
    with place.reaching("cleaning up in"):
        store = place.store()
        paths = [str(found["path"]) for page in store.list() for found in page]
        if paths:
            store.delete(paths)
