"""Schemas as Avro says them, for registries that know Avro; polars' own words and names go along as properties."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lakehouse.errors import SchemaRegistryError
from lakehouse.schemas.columns import TableColumn, TableSchema

_ESCAPED = re.compile(r"_x[0-9a-f]*_")


def to_avro(asset: str, schema: TableSchema, *, described: bool = True) -> dict[str, Any]:
    """A schema as an Avro record, its columns in the order of their names.

    Parameters:
        asset: the asset's key
        schema: the schema
        described: whether descriptions go along

    Raises:
        SchemaRegistryError: a type that isn't polars'

    Examples:
        >>> from lakehouse.testing.schemas import schema_of
        >>> to_avro("silver.flights", schema_of({"dep time": "Int8"}))["fields"]
        [{'name': 'dep_x20_time', 'type': ['null', 'int'], 'polars': 'Int8', 'default': None, 'column': 'dep time'}]
    """
    space, _, name = asset.rpartition(".")
    path = (*(avro_name(part) for part in space.split(".") if part), avro_name(name))
    fields = [
        _field(column, path, described=described) for column in sorted(schema.columns, key=lambda column: column.name)
    ]
    return {"type": "record", "name": path[-1], "namespace": ".".join(path[:-1]), "fields": fields}


def from_avro(definition: str) -> TableSchema:
    """Read back what [to_avro][] made; of what others made types are told as well as that goes.

    Parameters:
        definition: the record, as JSON

    Raises:
        SchemaRegistryError: it is no Avro record
    """
    try:
        found = [
            TableColumn(
                field.get("column", field["name"]),
                field.get("polars", _word_of(field["type"])),
                nullable=isinstance(field["type"], list) and "null" in field["type"],
                promised=field.get("promised", True),
                description=field.get("doc", ""),
            )
            for field in json.loads(definition)["fields"]
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SchemaRegistryError(f"what is registered is no Avro record: {error!r}") from error
    return TableSchema(tuple(found))


def avro_name(name: str) -> str:
    """A name as Avro allows it; different ones stay different.

    Examples:
        >>> avro_name("dep_time"), avro_name("1 a"), avro_name("_x20_")
        ('dep_time', '_x31__x20_a', '_x5f_x20_')
    """
    if not name:
        return "_x_"
    name = _ESCAPED.sub(lambda found: "_x5f" + found[0], name) if _ESCAPED.search(name) else name
    kept = re.compile(r"[A-Za-z0-9_]")
    letters = [letter if kept.match(letter) else f"_x{ord(letter):x}_" for letter in name]
    if name[0].isascii() and name[0].isdigit():
        letters[0] = f"_x{ord(name[0]):x}_"
    return "".join(letters)


def _field(column: TableColumn, path: tuple[str, ...], *, described: bool) -> dict[str, Any]:
    from lakehouse.io.dtypes import dtype_from_word

    name = avro_name(column.name)
    try:
        kind = _avro(dtype_from_word(column.type) if column.type else None, (*path, name))
    except ValueError as error:
        raise SchemaRegistryError(f"the column {column.name!r}: {error}") from error
    field: dict[str, Any] = {"name": name, "type": ["null", kind] if column.nullable else kind, "polars": column.type}
    if column.nullable:
        field["default"] = None
    if name != column.name:
        field["column"] = column.name
    if not column.promised:
        field["promised"] = False
    if column.description and described:
        field["doc"] = column.description
    return field


def _avro(dtype: Any, path: tuple[str, ...]) -> Any:
    """Avro's type for one of polars, such that all values that tables hold of it have room."""
    import polars as pl

    match dtype:
        case None | pl.String() | pl.Categorical() | pl.Enum():
            return "string"
        case pl.Boolean():
            return "boolean"
        case pl.Int8() | pl.Int16() | pl.Int32() | pl.UInt8() | pl.UInt16():
            return "int"
        case pl.Int64() | pl.UInt32() | pl.Duration():
            return "long"
        case pl.UInt64() | pl.Int128() | pl.UInt128():
            return {"type": "bytes", "logicalType": "decimal", "precision": 39, "scale": 0}
        case pl.Decimal():
            return {"type": "bytes", "logicalType": "decimal", "precision": dtype.precision, "scale": dtype.scale}
        case pl.Float16() | pl.Float32():
            return "float"
        case pl.Float64():
            return "double"
        case pl.Binary():
            return "bytes"
        case pl.Date():
            return {"type": "int", "logicalType": "date"}
        case pl.Time():
            return {"type": "long", "logicalType": "time-micros"}
        case pl.Datetime():
            # Tables hold microseconds.
            clock = "timestamp-micros" if dtype.time_zone else "local-timestamp-micros"
            return {"type": "long", "logicalType": clock}
        case pl.List():
            return {"type": "array", "items": ["null", _avro(dtype.inner, (*path, "item"))]}
        case pl.Array():
            inner = dtype.inner
            for _ in dtype.shape[1:]:
                assert isinstance(inner, pl.Array)
                inner = inner.inner
            made: Any = _avro(inner, (*path, *("item" for _ in dtype.shape)))
            for _ in dtype.shape:
                made = {"type": "array", "items": ["null", made]}
            return made
        case pl.Struct():
            return _record({field.name: field.dtype for field in dtype.fields}, path)
        case pl.Map():
            return {"type": "array", "items": _record({"key": dtype.key, "value": dtype.value}, (*path, "item"))}
        case _:
            raise ValueError(f"{dtype} has no word in Avro")


def _record(fields: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A record inside of another one, named after where it is."""
    names = {name: avro_name(name) for name in fields}
    made = [
        {"name": names[name], "type": ["null", _avro(dtype, (*path, names[name]))], "default": None}
        for name, dtype in fields.items()
    ]
    return {"type": "record", "name": path[-1], "namespace": ".".join(path[:-1]), "fields": made}


_WORDS = {
    "boolean": "Boolean",
    "int": "Int32",
    "long": "Int64",
    "float": "Float32",
    "double": "Float64",
    "bytes": "Binary",
    "string": "String",
    "date": "Date",
    "time-micros": "Time",
    "timestamp-micros": "Datetime(time_unit='us', time_zone='UTC')",
    "local-timestamp-micros": "Datetime(time_unit='us', time_zone=None)",
}


def _word_of(kind: Any) -> str:
    """Polars' word for a type that others declared; empty: there is none that is certain."""
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        return _word_of(others[0]) if len(others) == 1 else ""
    if isinstance(kind, dict):
        logical = kind.get("logicalType")
        if logical == "decimal":
            return f"Decimal(precision={kind.get('precision')}, scale={kind.get('scale', 0)})"
        return _WORDS.get(logical or kind.get("type", ""), "")
    return _WORDS.get(kind, "") if isinstance(kind, str) else ""


__all__ = ["avro_name", "from_avro", "to_avro"]
