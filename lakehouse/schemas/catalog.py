"""What a catalog tells other engines of tables: where they lie, and what columns they have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

from lakehouse.definitions.asset import Asset
from lakehouse.schemas.columns import TableSchema

if TYPE_CHECKING:
    from lakehouse.io import TableReader


@final
@dataclass(frozen=True)
class CatalogTable:
    """A table as a catalog has it.

    Parameters:
        asset: the asset's key
        uri: where it lies
        columns: polars types by name, as they are stored
        comments: what columns mean, by name
        description: what the asset is
        schema_number: of the version of its schema that is registered; None: none is
        table_version: of the table, when this was said
    """

    asset: str
    uri: str
    columns: Mapping[str, Any]
    comments: Mapping[str, str]
    description: str = ""
    schema_number: int | None = None
    table_version: int | None = None

    @classmethod
    def of(
        cls, asset: Asset, table: TableReader, schema: TableSchema, number: int | None, version: int | None
    ) -> CatalogTable:
        """What there is to say of an asset's table.

        Parameters:
            asset: the asset
            table: its table
            schema: what was published last
            number: of that schema, as it is registered
            version: of the table
        """
        comments = {column.name: column.description for column in schema.columns if column.description}
        return cls(asset.key, table.uri, table.columns(), comments, asset.description, number, version)


class Catalog(Protocol):
    """Tells other engines of tables."""

    @property
    def uri(self) -> str:
        """What is written in settings for it."""
        ...

    def tells(self, table: CatalogTable) -> bool:
        """Whether it tells of a table as it is, but for the number of its version.

        Raises:
            CatalogError: it can't be reached, or has something else by that name
        """
        ...

    def put(self, table: CatalogTable) -> None:
        """Have it tell of a table; one that is told of as it is stays.

        Raises:
            CatalogError: it can't be reached or written, or has something else by that name
        """
        ...

    def drop(self, asset: str) -> None:
        """Have it tell no longer of a table, if it does.

        Parameters:
            asset: the asset's key

        Raises:
            CatalogError: it can't be reached or written
        """
        ...


def mark(catalog: Catalog, asset: Asset, uri: str, schema: TableSchema) -> str:
    """What stands for all that a catalog tells of an asset's table, but for numbers of versions."""
    said = "\n".join((catalog.uri, uri, schema.version, asset.description))
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
