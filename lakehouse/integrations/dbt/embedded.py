"""The scratch of every machine: a DuckDB database in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lakehouse.errors import StepError
from lakehouse.integrations.dbt.runner import in_a_line
from lakehouse.integrations.dbt.scratch import Load
from lakehouse.io.relations import connect, exactly, quoted

if TYPE_CHECKING:
    import polars as pl

DATABASE = "lakehouse"


@final
@dataclass(frozen=True)
class Embedded:
    """A DuckDB database in a folder.

    Parameters:
        folder: made when it is filled
    """

    folder: Path

    @property
    def output(self) -> Mapping[str, Any]:
        """What dbt's profile says of it."""
        return output(str(self._file))

    @property
    def _file(self) -> Path:
        # The file's stem becomes the database's name, which dbt keeps from its parse.
        return self.folder / f"{DATABASE}.duckdb"

    def settle(self, node: Any) -> None:
        """Have dbt make a node in the scratch database and nowhere else."""
        if getattr(node, "database", None) != DATABASE:
            node.database = DATABASE
            node.relation_name = ".".join(map(quoted, (DATABASE, node.schema, node.alias)))
        config = node.config
        if config.materialized == "external" or config.get("incremental_strategy") == "microbatch":
            # One writes files of its own, the other begins at the beginning of time. What there is to read is what is
            # to be made.
            config.materialized = "table"

    def fill(self, manifest: Any, loads: Iterable[Load]) -> None:
        """Put inputs where dbt looks for them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with connect(str(self._file)) as base:
            for one in loads:
                relation = self._relation(manifest, one.node)
                if one.beside:
                    # dbt makes a part of it just now; the rest joins that as soon as it is there.
                    relation = _join(manifest.nodes[one.node], relation)
                _load(base, relation, one.request.load(one.parameter, one.partitions))

    def _relation(self, manifest: Any, uid: str) -> tuple[str, str]:
        """Schema and name under which dbt will look for a node; sources of other databases are looked for in ours."""
        node = manifest.sources.get(uid)
        if node is None:
            node = manifest.nodes[uid]
            self.settle(node)
            return node.schema, node.alias
        for meta in (node.meta, node.source_meta, node.config.meta):
            for word in ("external_location", "plugin"):
                meta.pop(word, None)
        node.database = DATABASE
        node.relation_name = ".".join(map(quoted, (DATABASE, node.schema, node.identifier)))
        return node.schema, node.identifier

    def close(self) -> None:
        """Have dbt let go of the database, so that it can be opened here."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]

    def rows(self, node: Any, promised: Mapping[str, Any]) -> pl.LazyFrame:
        """What dbt made of a node, by way of a Parquet file.

        Raises:
            StepError: it can't be read
            SchemaViolation: a column of a type that can't be held
        """
        import duckdb
        import polars as pl

        file = self.folder / f"{node.unique_id}.parquet"
        try:
            with connect(str(self._file)) as base:
                made = base.sql(f"from {quoted(node.schema)}.{quoted(node.alias)}")
                # DuckDB sums integers to 128 bits, which Parquet has no type for.
                exactly(made, lambda kept: kept.write_parquet(str(file)), where=node.name, whole="BIGINT")
        except duckdb.Error as fault:
            raise StepError(f"what dbt made can't be read: {in_a_line(fault)}") from fault
        return pl.scan_parquet(file)

    def announce(self) -> None:
        """Other engines read Delta tables by their folders."""

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def output(path: str = f"{DATABASE}.duckdb") -> dict[str, Any]:
    """A profile's output for such a database; by default for one that is never opened."""
    settings = {"TimeZone": "UTC"}  # by itself, DuckDB goes by that of the host
    return {"type": "duckdb", "path": path, "schema": "gold", "threads": 2, "settings": settings}


def _join(node: Any, relation: tuple[str, str]) -> tuple[str, str]:
    """A place for rows of a node that dbt doesn't make in this call; dbt adds them to those that it makes."""
    from dbt.artifacts.resources.v1.config import Hook

    place = (f"{relation[0]}__rest", relation[1])
    table = ".".join(map(quoted, place))
    if not any(table in hook.sql for hook in node.config.post_hook):
        if node.config.materialized == "view":
            node.config.materialized = "table"
        node.config.post_hook.append(Hook(sql=f"insert into {{{{ this }}}} by name select * from {table}"))
    return place


def _load(base: Any, relation: tuple[str, str], frame: pl.LazyFrame) -> None:
    from lakehouse.io.frames import ArrowStream

    table = ".".join(map(quoted, relation))
    base.execute(f"create schema if not exists {quoted(relation[0])}")
    rows = base.from_arrow(ArrowStream(frame))  # noqa: F841  DuckDB finds it by its name
    base.execute(f"create table if not exists {table} as select * from rows limit 0")
    base.execute(f"insert into {table} by name select * from rows")
