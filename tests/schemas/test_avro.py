"""What is registered as Avro holds what is published, and tells exactly what it was."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from lakehouse.errors import SchemaRegistryError
from lakehouse.schemas.avro import avro_name, from_avro, to_avro
from lakehouse.schemas.columns import TableColumn, TableSchema
from lakehouse.schemas.compatibility import Compatibility, breaking

PLAIN: list[pl.DataType] = [
    pl.Boolean(),
    pl.Int8(),
    pl.Int16(),
    pl.Int32(),
    pl.Int64(),
    pl.UInt8(),
    pl.UInt16(),
    pl.UInt32(),
    pl.UInt64(),
    pl.Float32(),
    pl.Float64(),
    pl.String(),
    pl.Binary(),
    pl.Date(),
    pl.Datetime("us"),
    pl.Datetime("us", "UTC"),
    pl.Decimal(20, 3),
]
dtypes: st.SearchStrategy[pl.DataType] = st.recursive(
    st.sampled_from(PLAIN),
    lambda inner: st.one_of(
        inner.map(pl.List),
        st.dictionaries(st.text(min_size=1, max_size=3), inner, min_size=1, max_size=3).map(pl.Struct),
    ),
    max_leaves=4,
)
columns = st.builds(
    lambda name, dtype, *flags: TableColumn(name, str(dtype), *flags),
    st.text(max_size=4),
    dtypes,
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", 'said "so"']),
)
schemas = st.lists(columns, unique_by=lambda column: column.name, max_size=5).map(
    lambda found: TableSchema(tuple(found))
)


@settings(max_examples=100, deadline=None)
@given(schemas)
def test_what_is_said_in_avro_is_avro_and_comes_back_as_it_was(schema: TableSchema) -> None:
    said = to_avro("silver.flights", schema)
    fastavro.parse_schema(json.loads(json.dumps(said)))
    assert from_avro(json.dumps(said)).by_name == schema.by_name


names = st.text(alphabet="ab_x20 5fé", max_size=8)


@given(names, names)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (avro_name(one) == avro_name(other)) == (one == other)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_all_values_that_are_published_have_room(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(PLAIN) | st.sampled_from(PLAIN).map(pl.List))
    frame = data.draw(dataframes(cols=1, allowed_dtypes=[dtype], max_size=5, allow_null=True))
    (name,) = frame.columns
    schema = TableSchema((TableColumn(name, str(frame.schema[name])),))
    said = fastavro.parse_schema(to_avro("silver.flights", schema))
    rows = [{avro_name(name): _as_avro(value, str(dtype))} for value in frame[name].to_list()]
    written = io.BytesIO()
    fastavro.writer(written, said, rows)
    written.seek(0)
    again = [row[avro_name(name)] for row in fastavro.reader(written) if isinstance(row, dict)]
    assert pl.DataFrame({name: again}, schema=frame.schema, strict=False).equals(frame)


def _as_avro(value: Any, word: str) -> Any:
    """A value as fastavro takes it: a number that is stored as a decimal is one."""
    if isinstance(value, list):
        return [_as_avro(one, word) for one in value]
    return Decimal(value) if "UInt64" in word and value is not None else value


def readable(old: dict[str, Any], new: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether Avro can read by one schema what was written by the other."""
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(old), row)
    written.seek(0)
    try:
        fastavro.schemaless_reader(written, fastavro.parse_schema(old), fastavro.parse_schema(new))
    except Exception:
        return False
    return True


simple = st.lists(
    st.builds(TableColumn, st.sampled_from("abc"), st.sampled_from(["Int64", "String"]), st.booleans()),
    unique_by=lambda column: column.name,
    max_size=3,
).map(lambda found: TableSchema(tuple(found)))


@settings(max_examples=200, deadline=None)
@given(simple, simple)
def test_whatever_passes_here_passes_avro_too(old: TableSchema, new: TableSchema) -> None:
    old_said, new_said = to_avro("a.b", old), to_avro("a.b", new)

    def rows(schema: TableSchema) -> list[dict[str, Any]]:
        full = {c.name: 1 if c.type == "Int64" else "x" for c in schema.columns}
        return [full, {c.name: None if c.nullable else full[c.name] for c in schema.columns}]

    if not breaking(old, new, Compatibility.BACKWARD, unpromised=True):
        assert all(readable(old_said, new_said, row) for row in rows(old)), "AWS would refuse it"
    if not breaking(old, new, Compatibility.FORWARD, unpromised=True):
        assert all(readable(new_said, old_said, row) for row in rows(new))


def test_what_others_registered_is_told_as_well_as_that_goes() -> None:
    fields = [
        {"name": "n", "type": "long", "doc": "a number"},
        {"name": "m", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
        {"name": "k", "type": {"type": "map", "values": "long"}},
    ]
    found = from_avro(json.dumps({"type": "record", "name": "x", "fields": fields}))
    assert [(c.name, c.type, c.nullable) for c in found.columns] == [
        ("n", "Int64", False),
        ("m", "Date", True),
        ("k", "", False),
    ]
    with pytest.raises(SchemaRegistryError, match="no Avro record"):
        from_avro('{"type": "enum"}')
