"""The columns of an asset as its readers find them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import SchemaRegistryError


@final
@dataclass(frozen=True)
class TableColumn:
    """A column as readers find it.

    Parameters:
        name: its name
        type: polars' word for its type; empty: any
        nullable: whether values may be missing, or the column as a whole
        promised: whether consumers may rely on it, and it didn't just come along
        description: what it means

    Examples:
        >>> TableColumn("n", "Int64", nullable=True)
        TableColumn(name='n', type='Int64', nullable=True, promised=True, description='')
    """

    name: str
    type: str
    nullable: bool = True
    promised: bool = True
    description: str = ""


@final
@dataclass(frozen=True)
class TableSchema:
    """The columns of an asset as readers find them.

    Parameters:
        columns: the columns; their order means nothing

    Examples:
        >>> schema = TableSchema((TableColumn("n", "Int64"), TableColumn("day", "Date", nullable=False)))
        >>> TableSchema.from_text(schema.text) == schema, list(schema.by_name)
        (True, ['n', 'day'])
    """

    columns: tuple[TableColumn, ...]

    @classmethod
    def of(cls, asset: Asset, dtypes: Mapping[str, Any]) -> TableSchema:
        """The columns of an asset that are to be published.

        What its schema promises, whatever rows are at hand; what else they have goes by the types that it is stored as.

        Parameters:
            asset: the asset
            dtypes: the types that its function gave its columns
        """
        promises = {} if asset.schema is None else {column.name: column for column in asset.schema.columns}
        found = []
        for name, dtype in dtypes.items():
            said = promises.pop(name, None)
            if said is None:
                found.append(TableColumn(name, _stored(dtype), promised=False))
            else:
                type_ = _word(said.dtype) or _stored(dtype)
                nullable = said.nullable or not said.required
                found.append(TableColumn(name, type_, nullable, description=said.description))
        for said in promises.values():
            if not said.pattern and (word := _word(said.dtype)):  # an optional one, that these rows do without
                found.append(TableColumn(said.name, word, description=said.description))
        return cls(tuple(found))

    @classmethod
    def promised(cls, asset: Asset) -> TableSchema:
        """The columns that an asset promises, before there are any."""
        declared = () if asset.schema is None else asset.schema.columns
        return cls(
            tuple(
                TableColumn(one.name, _word(one.dtype), one.nullable or not one.required, description=one.description)
                for one in declared
                if not one.pattern
            )
        )

    @cached_property
    def by_name(self) -> dict[str, TableColumn]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}

    @cached_property
    def text(self) -> str:
        """As one line of JSON; what is at its default is left out."""
        return json.dumps([_told(column) for column in self.columns], ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def version(self) -> str:
        """A fingerprint of all that it says, but for the order of its columns."""
        said = json.dumps(sorted((_told(column) for column in self.columns), key=lambda one: str(one["name"])))
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    @classmethod
    def from_text(cls, text: str) -> TableSchema:
        """Read back what [TableSchema.text][] wrote.

        Raises:
            SchemaRegistryError: it can't be read
        """
        try:
            return cls(tuple(TableColumn(**one) for one in json.loads(text)))
        except (ValueError, TypeError) as error:
            raise SchemaRegistryError(
                f"what is registered can't be read as a schema: {error}",
                hint="was it written by a newer lakehouse? then upgrade this one",
            ) from error


def _told(column: TableColumn) -> dict[str, Any]:
    told: dict[str, Any] = {"name": column.name, "type": column.type}
    if not column.nullable:
        told["nullable"] = False
    if not column.promised:
        told["promised"] = False
    if column.description:
        told["description"] = column.description
    return told


def _word(dtype: Any) -> str:
    """Polars' word for a type that a schema names; empty: it names none, or a family of them."""
    from lakehouse.io.frames import abstract

    return "" if dtype is None or abstract(dtype) else str(dtype)


def _stored(dtype: Any) -> str:
    """Polars' word for what a column of some type is read back as."""
    from lakehouse.io.types import as_stored, held

    return str(as_stored(held(dtype)))
