"""Athena finds what is published, by the names that dbt's sources have; a catalog that fails fails no publication."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import boto3
import pandera.polars as pa
import polars as pl
import pytest
from botocore.exceptions import ClientError

from lakehouse import Lakehouse, silver
from lakehouse.definitions.asset import Asset
from lakehouse.errors import SettingsError
from lakehouse.integrations.aws.clients import GlueClient
from lakehouse.maintenance import Maintenance
from lakehouse.registries import open_catalog
from lakehouse.schemas.glue import to_glue
from lakehouse.settings import load_settings

pytestmark = pytest.mark.aws


class Flights(pa.DataFrameModel):
    n: pl.Int64 = pa.Field(description="how many")
    at: Annotated[pl.Datetime, "us", "UTC"] = pa.Field(nullable=True)


class More(Flights):
    tags: Annotated[pl.List, pl.String] = pa.Field(nullable=True)


TYPES: dict[str, Any] = {"n": pl.Int64, "at": pl.Datetime("us", "UTC"), "tags": pl.List(pl.String)}


def asset(name: str, model: Any) -> Asset:
    def function() -> pl.LazyFrame:
        names = model.to_schema().columns
        return pl.LazyFrame({column: [1 if column == "n" else None] for column in names}, schema_overrides=TYPES)

    function.__name__, function.__doc__ = name, "Flights as they were."
    function.__annotations__["return"] = Annotated[pl.LazyFrame, model]
    return silver(function)


@pytest.fixture
def calls(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of Glue, from here on."""
    found: list[str] = []
    made: Callable[[GlueClient], Any] = vars(GlueClient)["boto"].fget

    def boto(self: GlueClient) -> Any:
        client = made(self)
        client.meta.events.register("before-call.glue", lambda model, **_: found.append(model.name), unique_id="calls")
        return client

    monkeypatch.setattr(GlueClient, "boto", property(boto))
    return found


@pytest.fixture
def open_lake(tmp_path: Path, calls: list[str]) -> Callable[..., Lakehouse]:
    bucket, prefix = f"bucket-{uuid.uuid4()}", f"p{uuid.uuid4().hex}_"
    boto3.client("s3").create_bucket(Bucket=bucket)

    def made(model: Any, name: str = "flights", **settings: Any) -> Lakehouse:
        given = {"engine": "inline", "catalog": f"glue://{prefix}", "storage": f"s3://{bucket}/lake", **settings}
        return Lakehouse(
            [asset(name, model)], lineage=f"sqlite:///{tmp_path}/lineage.db", settings=load_settings(**given)
        )

    return made


def database(lake: Lakehouse) -> str:
    assert lake.settings.catalog is not None
    return lake.settings.catalog.removeprefix("glue://") + "silver"


def table(lake: Lakehouse, name: str = "flights") -> dict[str, Any] | None:
    glue: Any = boto3.client("glue")
    try:
        found: dict[str, Any] = glue.get_table(DatabaseName=database(lake), Name=name)["Table"]
    except glue.exceptions.EntityNotFoundException:
        return None
    return found


def test_a_published_table_is_told_of_as_athena_reads_it(open_lake: Callable[..., Lakehouse], calls: list[str]) -> None:
    lake = open_lake(Flights)
    lake.materialize("*")
    assert calls == ["GetTable", "CreateDatabase", "CreateTable"]
    found = table(lake)
    assert found is not None
    assert found["StorageDescriptor"]["Columns"] == [
        {"Name": "n", "Type": "bigint", "Comment": "how many"},
        {"Name": "at", "Type": "timestamp"},
    ]
    assert found["StorageDescriptor"]["Location"] == f"{lake.settings.storage}/silver/flights/"
    assert found["Description"] == "Flights as they were."
    assert found["TableType"] == "EXTERNAL_TABLE"
    assert found["Parameters"] == {
        "EXTERNAL": "TRUE",
        "table_type": "DELTA",
        "lakehouse.asset": "silver.flights",
        "lakehouse.schema_version": "1",
        "lakehouse.table_version": "0",
    }


def test_it_costs_nothing_until_the_schema_changes(open_lake: Callable[..., Lakehouse], calls: list[str]) -> None:
    open_lake(Flights).materialize("*")
    calls.clear()
    for _ in range(2):
        open_lake(Flights).materialize("*")
    assert calls == []
    lake = open_lake(More)
    lake.materialize("*")
    assert calls == ["GetTable", "CreateTable", "UpdateTable"]
    found = table(lake)
    assert found is not None
    assert found["StorageDescriptor"]["Columns"][-1] == {"Name": "tags", "Type": "array<string>"}
    assert found["Parameters"]["lakehouse.schema_version"] == "2"


def test_it_is_off_unless_a_setting_says_so(open_lake: Callable[..., Lakehouse], calls: list[str]) -> None:
    lake = open_lake(Flights, catalog=None)
    lake.materialize("*")
    assert calls == []
    # Turned on later, the next publication is told of, whatever its schema.
    open_lake(Flights).materialize("*")
    assert table(open_lake(Flights)) is not None


def test_a_catalog_that_fails_fails_no_publication_and_is_made_up_for(
    open_lake: Callable[..., Lakehouse], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(self: GlueClient) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetTable")

    lake = open_lake(Flights)
    with monkeypatch.context() as patch:
        patch.setattr(GlueClient, "boto", property(denied))
        run = lake.materialize("*")
    assert run.ok
    (said,) = [check for fact in run.facts for check in fact.checks if not check.passed]
    assert (said.name, said.blocking) == ("in_catalog", False)
    assert "AccessDenied" in said.message
    assert "the next run tries again" in caplog.text
    assert lake.load("silver.flights").collect().height == 1
    assert table(lake) is None
    (fact,) = open_lake(Flights).materialize("*").facts
    assert [check.name for check in fact.checks if not check.passed] == []
    assert table(lake) is not None


def test_what_somebody_else_has_there_stays(open_lake: Callable[..., Lakehouse]) -> None:
    lake = open_lake(Flights)
    glue: Any = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": database(lake)})
    theirs = {"Name": "flights", "Description": "theirs", "StorageDescriptor": {"Columns": [], "Location": "s3://x/"}}
    glue.create_table(DatabaseName=database(lake), TableInput=theirs)
    run = lake.materialize("*")
    (said,) = [check.message for fact in run.facts for check in fact.checks if not check.passed]
    assert "something else than silver.flights" in said
    Maintenance(lake).wipe("silver.flights").apply()
    found = table(lake)
    assert found is not None
    assert found["Description"] == "theirs"


def test_tables_that_athena_cannot_read_are_told(open_lake: Callable[..., Lakehouse], tmp_path: Path) -> None:
    run = open_lake(Flights, storage=str(tmp_path / "data")).materialize("*")
    assert run.ok
    (said,) = [check.message for fact in run.facts for check in fact.checks if not check.passed]
    assert "where Athena can't read it" in said


def test_a_renamed_table_is_told_of_by_its_new_name(open_lake: Callable[..., Lakehouse]) -> None:
    open_lake(Flights).materialize("*")
    lake = open_lake(Flights, "trips")
    Maintenance(lake).rename("silver.flights", "silver.trips").apply()
    assert table(lake) is None
    found = table(lake, "trips")
    assert found is not None
    assert found["StorageDescriptor"]["Location"] == f"{lake.settings.storage}/silver/trips/"
    assert found["Parameters"]["lakehouse.schema_version"] == "1"


def test_a_table_that_was_wiped_is_dropped_and_comes_again(open_lake: Callable[..., Lakehouse]) -> None:
    lake = open_lake(Flights)
    lake.materialize("*")
    Maintenance(lake).wipe("silver.flights").apply()
    assert table(lake) is None
    lake.materialize("*")
    assert table(lake) is not None


def test_maintenance_makes_up_for_what_the_catalog_lacks(open_lake: Callable[..., Lakehouse], calls: list[str]) -> None:
    open_lake(Flights, catalog=None).materialize("*")
    lake = open_lake(Flights)
    change = Maintenance(lake).maintain()
    assert [action.about for action in change.actions] == ["silver.flights"]
    assert table(lake) is None, "nothing is done until it is applied"
    change.apply()
    assert table(lake) is not None
    calls.clear()
    assert not Maintenance(lake).maintain()
    assert calls == ["GetTable"]
    glue: Any = boto3.client("glue")
    glue.delete_table(DatabaseName=database(lake), Name="flights")
    Maintenance(lake).maintain().apply()
    assert table(lake) is not None


def test_maps_have_a_word_there() -> None:
    assert to_glue(pl.Map(pl.String, pl.List(pl.Int64)), where="x") == "map<string,array<bigint>>"


@pytest.mark.parametrize("uri", ["glue", "sqlite:///x", "glue://a/b", "glue://?regoin=x"])
def test_a_catalog_that_cannot_be_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match="setting catalog"):
        open_catalog(uri)
