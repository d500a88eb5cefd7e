"""AWS Glue's catalog: the words it has for types, and the tables that Athena finds there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import polars as pl

from lakehouse.errors import LakehouseError, SchemaViolation, StepError
from lakehouse.io.storage import cause

CATALOG = "awsdatacatalog"
"""Athena's name for Glue's catalog of the account."""

_PLAIN: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "tinyint": pl.Int8(),
    "smallint": pl.Int16(),
    "int": pl.Int32(),
    "bigint": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "binary": pl.Binary(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us"),
}
_WORDS = {dtype: word for word, dtype in _PLAIN.items()}


def to_glue(dtype: Any, *, where: str) -> str:
    """Glue's word for a type. A moment becomes a ``timestamp`` by UTC's clock: tables there hold no zones.

    Parameters:
        dtype: a polars type
        where: the column, for messages

    Raises:
        SchemaViolation: there is none

    Examples:
        >>> to_glue(pl.List(pl.Int64()), where="silver.requests.items")
        'array<bigint>'
    """
    match dtype:
        case pl.Datetime():
            return "timestamp"
        case pl.Decimal():
            return f"decimal({dtype.precision},{dtype.scale})"
        case pl.List():
            return f"array<{to_glue(dtype.inner, where=where)}>"
        case pl.Struct():
            inner = (f"{f.name}:{to_glue(f.dtype, where=where)}" for f in dtype.fields)
            return f"struct<{','.join(inner)}>"
        case pl.Map():
            return f"map<{to_glue(dtype.key, where=where)},{to_glue(dtype.value, where=where)}>"
        case _ if dtype in _WORDS:
            return _WORDS[dtype]
    raise SchemaViolation(
        f"{where} is of type {dtype}, which Athena has no word for",
        hint="cast it to a type that it has, for example a string",
    )


def from_glue(word: str) -> pl.DataType:
    """The polars type that Glue's word stands for.

    Raises:
        SchemaViolation: it is not known

    Examples:
        >>> from_glue("struct<name:string,amounts:array<bigint>>")
        Struct({'name': String, 'amounts': List(Int64)})
    """
    name, _, inner = word.strip().lower().partition("<")
    if inner:
        parts = list(_split(inner.removesuffix(">")))
        if name == "array" and len(parts) == 1:
            return pl.List(from_glue(parts[0]))
        if name == "struct":
            pairs = [part.partition(":") for part in parts]
            return pl.Struct({label.strip(): from_glue(kind) for label, _, kind in pairs})
    elif name in _PLAIN:
        return _PLAIN[name]
    elif found := re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", name):
        return pl.Decimal(int(found[1]), int(found[2]))
    elif re.fullmatch(r"(var)?char(\(\d+\))?", name):
        return pl.String()
    raise SchemaViolation(f"Athena made a column of type {word}, which can't be read back", hint="cast it in the model")


def _split(text: str) -> Iterator[str]:
    """The parts between commas that are in no bracket."""
    depth, start = 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and not depth:
            yield text[start:i]
            start = i + 1
    yield text[start:]


@final
@dataclass(frozen=True)
class Glue:
    """One database of the catalog.

    Parameters:
        database: its name
        client: boto3's, for Glue
    """

    database: str
    client: Any = field(repr=False, compare=False)

    def create(self, description: str) -> None:
        """Make the database, unless it is there."""
        with self.reaching("making"), self._unless("AlreadyExistsException"):
            self.client.create_database(DatabaseInput={"Name": self.database, "Description": description})

    def drop(self) -> None:
        """Remove the database with its tables, if it is there."""
        with self.reaching("removing"), self._unless("EntityNotFoundException"):
            self.client.delete_database(Name=self.database)

    def table(self, name: str) -> dict[str, Any] | None:
        """A table as Glue has it; None: there is none."""
        found: dict[str, Any] | None = None
        with self.reaching("looking into"), self._unless("EntityNotFoundException"):
            found = self.client.get_table(DatabaseName=self.database, Name=name)["Table"]
        return found

    def drop_table(self, name: str) -> None:
        """Remove a table, if it is there; what it tells of stays."""
        with self.reaching("removing a table of"), self._unless("EntityNotFoundException"):
            self.client.delete_table(DatabaseName=self.database, Name=name)

    def databases(self) -> list[str]:
        """The names of all databases of the catalog."""
        found: list[str] = []
        with self.reaching("looking for others than"):
            for page in self.client.get_paginator("get_databases").paginate():
                found += [one["Name"] for one in page["DatabaseList"]]
        return found

    def tables(self) -> list[dict[str, Any]]:
        """Every table, if the database is there."""
        found: list[dict[str, Any]] = []
        with self.reaching("looking into"), self._unless("EntityNotFoundException"):
            for page in self.client.get_paginator("get_tables").paginate(DatabaseName=self.database):
                found += page["TableList"]
        return found

    def put(self, table: Mapping[str, Any]) -> None:
        """Make a table, or give it this definition."""
        with self.reaching("writing to"):
            try:
                self.client.create_table(DatabaseName=self.database, TableInput=table)
            except self.client.exceptions.AlreadyExistsException:
                self.client.update_table(DatabaseName=self.database, TableInput=table)

    @contextmanager
    def _unless(self, code: str) -> Iterator[None]:
        try:
            yield
        except getattr(self.client.exceptions, code):
            return

    @contextmanager
    def reaching(self, doing: str) -> Iterator[None]:
        """Turn whatever boto3 raises inside into one clear StepError."""
        try:
            yield
        except LakehouseError:
            raise
        except Exception as error:
            raise StepError(
                f"{doing} the Glue database {self.database} failed: {cause(error)}",
                hint="see that the credentials may use Glue, and the region is right",
            ) from error


def columns_of(schema: Mapping[str, Any], *, where: str) -> list[dict[str, str]]:
    """Columns as Glue takes them.

    Parameters:
        schema: polars types by name
        where: the asset, for messages

    Raises:
        SchemaViolation: a type that there is no word for
    """
    return [
        {"Name": name, "Type": to_glue(dtype, where=f"{where}: the column {name!r}")} for name, dtype in schema.items()
    ]
