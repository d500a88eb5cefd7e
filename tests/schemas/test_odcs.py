"""An exported contract is one by the standard's own JSON schema, and says what the asset promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import jsonschema  # type: ignore[import-untyped]
import pandera.polars as pa
import polars as pl
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given, settings

from lakehouse import Daily, Freshness, Lakehouse, PartitionRange, silver
from lakehouse.checks import expression, unique
from lakehouse.schemas.compatibility import Compatibility
from lakehouse.schemas.odcs import to_odcs
from lakehouse.schemas.registry import Registered
from tests.schemas.test_avro import schemas
from tests.support.command_line import Said, Toys
from tests.support.command_line import home as home
from tests.support.command_line import plain as plain
from tests.support.command_line import toys as toys

STANDARD = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text())
VALIDATOR = jsonschema.validators.validator_for(STANDARD)(STANDARD)


class Flights(pa.DataFrameModel):
    date: pl.Date
    flight: pl.Int64 = pa.Field(unique=False, ge=1, description="its number")
    delay: pl.Float64 = pa.Field(nullable=True)
    note: str | None


@silver(
    partitions=Daily("2024-01-01", end="2024-02-01", column="date"),
    checks=[unique("flight"), expression("sane", pl.col("delay") < 3000, blocking=False)],
    owners=["ops@example.org"],
    tags=["daily"],
    group="traffic",
    freshness=Freshness(cron="0 6 * * *", timezone="Europe/Berlin", max_age="26h"),
)
def flights(partitions: PartitionRange) -> Annotated[pl.LazyFrame, Flights]:
    """Flights as they were."""
    days = pl.LazyFrame({"date": partitions.keys()}).with_columns(pl.col("date").str.to_date())
    return days.with_columns(flight=pl.lit(1, dtype=pl.Int64), delay=pl.lit(1.5), came_along=pl.lit("x"))


def contract_of(lake: Lakehouse) -> dict[str, Any]:
    asset = lake.graph["silver.flights"]
    newest = lake.schemas.registry.latest(asset.key)
    return to_odcs(asset, newest, lake.table(asset).uri, lake.schemas.mode(asset))


def test_a_contract_says_what_an_asset_promises(tmp_path: Path) -> None:
    lake = Lakehouse([flights], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    draft = contract_of(lake)
    VALIDATOR.validate(draft)
    assert (draft["status"], draft["version"]) == ("draft", "0")
    assert [one["name"] for one in draft["schema"][0]["properties"]] == ["date", "flight", "delay", "note"]
    lake.materialize("*", "2024-01-01", engine="inline")
    made = contract_of(lake)
    VALIDATOR.validate(made)
    assert (made["status"], made["version"], made["id"]) == ("active", "1", draft["id"])
    assert made["description"] == {"purpose": "Flights as they were."}
    assert (made["domain"], made["tags"]) == ("traffic", ["daily"])
    assert made["team"] == {"members": [{"username": "ops@example.org", "role": "owner"}]}
    assert made["slaProperties"] == [
        {"property": "freshness", "value": 26, "unit": "h"},
        {
            "property": "frequency",
            "value": "0 6 * * *",
            "scheduler": "cron",
            "schedule": "0 6 * * *",
            "description": "by the clock of Europe/Berlin",
        },
    ]
    (table,) = made["schema"]
    columns = {one["name"]: one for one in table["properties"]}
    assert list(columns) == ["date", "flight", "delay", "note"], "what came along is no promise"
    assert columns["date"] == {
        "name": "date",
        "logicalType": "date",
        "physicalType": "Date",
        "required": True,
        "partitioned": True,
        "partitionKeyPosition": 1,
    }
    assert columns["flight"]["unique"]
    assert columns["flight"]["description"] == "its number"
    assert [rule["severity"] for rule in columns["flight"]["quality"]] == ["error"]
    assert (columns["delay"]["required"], columns["note"]["required"]) == (False, False)
    assert [(rule["name"], rule["severity"], rule["type"]) for rule in table["quality"]] == [
        (flights.checks[0].name, "error", "library"),
        ("sane", "warning", "text"),
    ]


@settings(max_examples=15, deadline=None)
@given(schemas)
def test_columns_of_all_types_make_a_contract(schema: Any) -> None:
    VALIDATOR.validate(to_odcs(flights, Registered(3, schema), "s3://lake/silver/flights", Compatibility.FULL))


def test_the_command_writes_yaml_or_json(toys: Toys) -> None:
    assert toys("materialize", "silver.clean", "-p", "2013-01-01").code == 0
    said: Callable[..., Said] = toys
    written = yaml.safe_load(said("schemas", "export", "silver.clean").out)
    VALIDATOR.validate(written)
    assert written == json.loads(said("schemas", "export", "silver.clean", "--json").out)
    assert [one["name"] for one in written["schema"][0]["properties"]] == ["date", "value", "tags"]
    assert said("schemas", "export", "silver.nothing").code == 2
    VALIDATOR.validate(yaml.safe_load(said("schemas", "export", "gold.totals").out))


@pytest.mark.parametrize("broken", [{"kind": "Other"}, {"schema": [{}]}, {"more": 1}])
def test_what_is_no_contract_would_be_found(broken: dict[str, Any]) -> None:
    made = to_odcs(flights, None, "s3://lake/silver/flights", Compatibility.FULL)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**made, **broken})
