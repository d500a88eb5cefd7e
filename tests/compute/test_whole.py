"""The whole reference lakehouse as it is in production, in one account that moto plays: Bronze is extracted by workers
of a pool, Silver's flights and weather are made in Glue jobs (weather on real Spark), Gold by Athena.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import polars as pl
import polars.testing
import pytest

import lakehouse.assets.spark as twins
from lakehouse import Asset, Lakehouse
from lakehouse import assets as reference
from lakehouse.assets.gold import models
from lakehouse.assets.silver import airlines, airports, flights
from lakehouse.integrations.dbt import DbtProject
from lakehouse.lineage import Status
from lakehouse.settings import load_settings
from tests.support.glue import glue_server, make_job, runs_of
from tests.support.needs import need

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.aws, pytest.mark.xdist_group("prefect")]

DAYS = "2013-05-07...2013-05-08"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with glue_server(tmp_path_factory.mktemp("glue")) as url:
        yield url


def rows_of(lake: Lakehouse, assets: list[Asset], **more: Any) -> dict[str, pl.DataFrame]:
    """What is published of the reference lakehouse's Silver and Gold."""
    lake.materialize("+gold.*", DAYS, **more).raise_on_failure()
    return {one.key: lake.load(one).collect() for one in assets}


def test_from_bronze_to_gold(account: str, pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("java", shutil.which("java") is not None, "install default-jre-headless, or another Java 17")
    bucket, plain, spark = f"lake-{uuid4().hex[:8]}", make_job(), make_job("glueetl", version="6.0")
    boto3.client("s3").create_bucket(Bucket=bucket)
    monkeypatch.setenv("LAKEHOUSE_ATHENA_SCHEMA", f"gold_{uuid4().hex[:8]}")
    gold = DbtProject(models.folder, sources=[airlines, airports, flights, twins.weather], target="athena").assets
    lake = Lakehouse(
        gold,
        storage=f"s3://{bucket}/lake",
        lineage=f"dynamodb://facts-{uuid4().hex[:8]}",
        settings=load_settings(
            registry="glue://lake",
            catalog="glue://",
            compute={
                "bronze.raw_flights": {"work_pool": pool},
                "silver.flights": {"glue_job": plain},
                "silver.weather": {"glue_job": spark},
            },
        ),
    )
    made = [flights, twins.weather, *gold]
    found = rows_of(lake, made, engine="prefect")
    laptop = Lakehouse(reference, storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/facts.db")
    wanted = rows_of(laptop, [laptop.graph[one.key] for one in made], engine="inline")
    for key, rows in wanted.items():
        assert rows.height > 0
        polars.testing.assert_frame_equal(found[key], rows, check_row_order=False)
    # Where each was made, and what stands where others look for it.
    assert [run["JobRunState"] for job in (plain, spark) for run in runs_of(job)] == ["SUCCEEDED"] * 2
    facts = [fact for key in wanted for fact in lake.lineage_store.facts(key)]
    assert {fact.status for fact in facts} == {Status.PUBLISHED}
    client = boto3.client("glue")
    tables = client.get_tables(DatabaseName="silver")["TableList"]
    assert {"flights", "weather"} <= {table["Name"] for table in tables}
    registered = client.get_schema(SchemaId={"RegistryName": "lake", "SchemaName": "silver.flights"})
    assert registered["LatestSchemaVersion"] == 1
