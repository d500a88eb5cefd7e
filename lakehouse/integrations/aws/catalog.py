"""Tables in the AWS Glue Data Catalog, as Athena reads Delta tables.

Databases are named after layers and tables after assets, as dbt's sources name them: ``silver.flights``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, final

from lakehouse.errors import CatalogError, LakehouseError
from lakehouse.integrations.aws.clients import GlueClient, glue_uri
from lakehouse.schemas.catalog import CatalogTable
from lakehouse.schemas.glue import Glue, columns_of

_OURS: Final = "lakehouse.asset"
"""The parameter by which a table is known to be an asset's."""

_COMMENT, _DESCRIPTION = 255, 2048
"""Characters that Glue takes."""


@final
class GlueCatalog:
    """The catalog of an account.

    Parameters:
        prefix: what the names of databases begin with
        region: AWS region; by default what boto3 finds
        endpoint: URL of another endpoint; by default what boto3 finds

    Examples:
        >>> GlueCatalog("lake_", region="eu-central-1").uri
        'glue://lake_?region=eu-central-1'
    """

    def __init__(self, prefix: str = "", *, region: str | None = None, endpoint: str | None = None) -> None:
        self.prefix = prefix
        self._client = GlueClient(region, endpoint)

    @property
    def uri(self) -> str:
        """What is written in settings for it."""
        return glue_uri(self.prefix, self._client)

    def tells(self, table: CatalogTable) -> bool:
        """Whether it tells of a table as it is, but for the number of its version."""
        with self._reaching(table.asset):
            return self._look(table)[1]

    def put(self, table: CatalogTable) -> None:
        """Have it tell of a table; one that is told of as it is stays."""
        with self._reaching(table.asset):
            there, same = self._look(table)
            database, name = self._place(table.asset)
            if not there:
                database.create(f"{database.database}, as lakehouse publishes it")
            if not same:
                database.put(_definition(name, table))

    def drop(self, asset: str) -> None:
        """Have it tell no longer of a table, if it does."""
        with self._reaching(asset):
            database, name = self._place(asset)
            there = database.table(name)
            if there is not None and _asset(there) == asset:
                database.drop_table(name)

    def _look(self, table: CatalogTable) -> tuple[bool, bool]:
        """Whether it is told of, and whether that is as it is."""
        if not table.uri.startswith("s3://"):
            raise CatalogError(
                f"{table.asset} lies at {table.uri}, where Athena can't read it",
                hint="set LAKEHOUSE_STORAGE to s3://bucket/prefix, or leave the setting catalog out",
            )
        database, name = self._place(table.asset)
        there = database.table(name)
        if there is not None and _asset(there) != table.asset:
            raise CatalogError(
                f"Glue has a table {database.database}.{name} already, which is something else than {table.asset}",
                hint='remove it there, or name other databases: LAKEHOUSE_CATALOG="glue://prefix_"',
            )
        return there is not None, there is not None and _said(there) == _said(_definition(name, table))

    def _place(self, asset: str) -> tuple[Glue, str]:
        layer, _, name = asset.partition(".")
        # Athena knows lower case alone.
        return Glue(f"{self.prefix}{layer}".lower(), self._client.boto), name.lower()

    @contextmanager
    def _reaching(self, asset: str) -> Iterator[None]:
        try:
            with self._client.reaching(f"telling Glue's catalog of {asset}", CatalogError, {}):
                yield
        except CatalogError:
            raise
        except LakehouseError as error:
            raise CatalogError(
                error.message,
                hint="allow glue:GetTable, CreateDatabase, CreateTable, UpdateTable and DeleteTable; the region may be "
                "said: glue://?region=eu-central-1",
            ) from error


def _definition(name: str, table: CatalogTable) -> dict[str, Any]:
    columns: list[dict[str, str]] = columns_of(table.columns, where=table.asset)
    for column in columns:
        if comment := table.comments.get(column["Name"]):
            column["Comment"] = comment[:_COMMENT]
    parameters = {
        "EXTERNAL": "TRUE",
        "table_type": "DELTA",
        _OURS: table.asset,
        "lakehouse.table_version": "" if table.table_version is None else str(table.table_version),
        "lakehouse.schema_version": "" if table.schema_number is None else str(table.schema_number),
    }
    return {
        "Name": name,
        "Description": table.description[:_DESCRIPTION],
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {key: value for key, value in parameters.items() if value},
        "StorageDescriptor": {"Columns": columns, "Location": f"{table.uri}/"},
    }


def _asset(there: dict[str, Any]) -> str | None:
    found: str | None = (there.get("Parameters") or {}).get(_OURS)
    return found


def _said(table: dict[str, Any]) -> Any:
    """What a definition says, but for the version that the table had."""
    stored = table.get("StorageDescriptor") or {}
    columns = [(c["Name"], c["Type"], c.get("Comment", "")) for c in stored.get("Columns", ())]
    parameters = {k: v for k, v in (table.get("Parameters") or {}).items() if k.startswith("lakehouse.")}
    parameters.pop("lakehouse.table_version", None)
    return table.get("Description", ""), columns, str(stored.get("Location", "")).rstrip("/"), parameters
