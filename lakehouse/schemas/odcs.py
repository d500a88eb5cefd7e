"""An asset's schema as an Open Data Contract (ODCS, version 3), for tools that read such contracts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.policies import Freshness
from lakehouse.schemas.columns import TableColumn, TableSchema
from lakehouse.schemas.compatibility import Compatibility
from lakehouse.schemas.registry import Registered

if TYPE_CHECKING:
    from lakehouse.checks import AnyCheck

API_VERSION: Final = "v3.1.0"
"""The version of the standard."""


def to_odcs(asset: Asset, registered: Registered | None, uri: str, mode: Compatibility) -> dict[str, Any]:
    """What an asset promises, as a contract.

    Parameters:
        asset: the asset
        registered: the newest version of its schema; None: nothing was published yet, and the contract is a draft
        uri: where its table lies
        mode: what changes of it keep

    Examples:
        >>> from lakehouse import silver
        >>> from lakehouse.testing.schemas import schema_of
        >>> @silver(owners=["ops@example.org"])
        ... def flights():
        ...     "Flights as they were."
        >>> uri, newest = "s3://lake/silver/flights", Registered(1, schema_of({"n": "Int64"}))
        >>> made = to_odcs(flights, newest, uri, Compatibility.FULL)
        >>> made["version"], made["team"]["members"]
        ('1', [{'username': 'ops@example.org', 'role': 'owner'}])
        >>> made["schema"][0]["properties"]
        [{'name': 'n', 'logicalType': 'integer', 'physicalType': 'Int64', 'required': False}]
    """
    schema = TableSchema.promised(asset) if registered is None else registered.schema
    promised = [column for column in schema.columns if column.promised]
    contract: dict[str, Any] = {
        "kind": "DataContract",
        "apiVersion": API_VERSION,
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{uri}#{asset.key}")),
        "name": asset.key,
        "version": "0" if registered is None else str(registered.number),
        "status": "draft" if registered is None else "active",
        "servers": [_server(uri)],
        "schema": [
            {
                "name": asset.name,
                "logicalType": "object",
                "physicalType": "table",
                "physicalName": asset.key,
                "properties": [_property(column, asset) for column in promised or schema.columns],
            }
        ],
        "customProperties": [
            {"property": "layer", "value": str(asset.layer)},
            {"property": "partitions", "value": asset.partitions.spec},
            {"property": "compatibility", "value": str(mode)},
        ],
    }
    if asset.description:
        contract["description"] = {"purpose": asset.description}
        contract["schema"][0]["description"] = asset.description
    if asset.group:
        contract["domain"] = asset.group
    if asset.tags:
        contract["tags"] = list(asset.tags)
    if quality := [_quality(check) for check in asset.checks]:
        contract["schema"][0]["quality"] = quality
    if asset.owners:
        contract["team"] = {"members": [{"username": owner, "role": "owner"} for owner in asset.owners]}
    if asset.freshness is not None and (agreed := _agreed(asset.freshness)):
        contract["slaProperties"] = agreed
    return contract


def _server(uri: str) -> dict[str, Any]:
    scheme, _, path = uri.partition("://")
    if scheme == "s3":
        return {"server": "lakehouse", "type": "s3", "location": uri, "format": "delta"}
    return {"server": "lakehouse", "type": "local", "path": path, "format": "delta"}


def _property(column: TableColumn, asset: Asset) -> dict[str, Any]:
    from lakehouse.io.dtypes import dtype_from_word

    said: dict[str, Any] = {"name": column.name}
    if column.type:
        said |= _typed(dtype_from_word(column.type))
        said["physicalType"] = column.type
    said["required"] = not column.nullable
    if column.description:
        said["description"] = column.description
    if column.name in asset.partitions.columns:
        position = asset.partitions.columns.index(column.name) + 1
        said |= {"partitioned": True, "partitionKeyPosition": position}
    if any(getattr(check, "key", ()) == (column.name,) for check in asset.checks):
        said["unique"] = True
    if rules := _rules(column.name, asset):
        said["quality"] = rules
    return said


def _typed(dtype: Any) -> dict[str, Any]:
    """The standard's word for a type, with what is in it."""
    import polars as pl

    match dtype:
        case pl.List() | pl.Array():
            return {"logicalType": "array", "items": {**_typed(dtype.inner), "physicalType": str(dtype.inner)}}
        case pl.Struct():
            inner = [{"name": f.name, **_typed(f.dtype), "physicalType": str(f.dtype)} for f in dtype.fields]
            return {"logicalType": "object", "properties": inner}
        case pl.Map():
            return {"logicalType": "object"}
        case pl.Boolean():
            return {"logicalType": "boolean"}
        case pl.Date():
            return {"logicalType": "date"}
        case pl.Datetime():
            return {"logicalType": "timestamp"}
        case pl.Time():
            return {"logicalType": "time"}
        case pl.Decimal():
            return {"logicalType": "number"}
        case _ if dtype.is_integer() or isinstance(dtype, pl.Duration):
            return {"logicalType": "integer"}
        case _ if dtype.is_float():
            return {"logicalType": "number"}
        case _:
            return {"logicalType": "string"}


def _quality(check: AnyCheck) -> dict[str, Any]:
    """A check of an asset, as a rule that machines know, or in words."""
    said: dict[str, Any] = {"name": check.name, "severity": "error" if check.blocking else "warning"}
    wants = str(getattr(check, "wants", "") or check.name)
    if key := getattr(check, "key", ()):
        rule = {"type": "library", "metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": list(key)}}
        return {**said, **rule, "dimension": "uniqueness", "description": wants}
    return {**said, "type": "text", "description": wants}


def _rules(name: str, asset: Asset) -> list[dict[str, Any]]:
    """What the schema says of a column's values."""
    model: Any = None if asset.schema is None else asset.schema.model
    if not hasattr(model, "to_schema"):
        return []
    declared: Mapping[str, Any] = model.to_schema().columns
    found = []
    for check in declared[name].checks if name in declared else ():
        given = ", ".join(f"{key}={value!r}" for key, value in check.statistics.items())
        said = str(check.description or check.error or f"{check.name}({given})")
        found.append({"name": str(check.name or said), "type": "text", "severity": "error", "description": said})
    return found


def _agreed(freshness: Freshness) -> list[dict[str, Any]]:
    """When data comes, and how old it may be."""
    found: list[dict[str, Any]] = []
    if freshness.max_age is not None:
        found.append({"property": "freshness", **_measured(freshness.max_age)})
    if freshness.every is not None:
        found.append({"property": "frequency", **_measured(freshness.every)})
    if freshness.cron is not None:
        found.append(
            {
                "property": "frequency",
                "value": freshness.cron,
                "scheduler": "cron",
                "schedule": freshness.cron,
                "description": f"by the clock of {freshness.timezone}",
            }
        )
    if freshness.after_inputs or freshness.watched:
        said = "after its inputs" if freshness.after_inputs else "when its source changes"
        found.append({"property": "frequency", "value": said})
    return found


def _measured(duration: timedelta) -> dict[str, Any]:
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        if duration >= size and not duration % size:
            return {"value": duration // size, "unit": unit}
    return {"value": duration.total_seconds(), "unit": "s"}
