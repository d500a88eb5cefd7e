"""Silver's weather on Spark publishes the rows that its twin publishes: here, and in Glue jobs of both versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import polars as pl
import polars.testing
import pytest

import lakehouse.assets.silver as reference
import lakehouse.assets.spark as twins
from lakehouse import Lakehouse
from lakehouse.execution.run import Run
from lakehouse.lineage import Fact, Status
from lakehouse.settings import load_settings
from tests.support.glue import glue_server, make_job, runs_of
from tests.support.moto_glue import OLDER_SPARK
from tests.support.needs import need

pytestmark = [pytest.mark.usefixtures("java"), pytest.mark.xdist_group("spark")]

# Among these are hours without wind.
DAYS = "2013-05-07...2013-05-09"


def build(lake: Lakehouse) -> tuple[pl.DataFrame, Fact]:
    """The rows of silver.weather of some days, and what is recorded of them."""
    run: Run = lake.materialize("+silver.weather", DAYS, engine="inline").raise_on_failure()
    (fact,) = [f for f in run.facts if f.asset == "silver.weather" and f.status is Status.PUBLISHED]
    return run.frame("silver.weather").sort("date", "origin", "observed_at").collect(), fact


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Fact]:
    folder = tmp_path_factory.mktemp("polars")
    return build(Lakehouse([reference.weather], storage=folder / "data", lineage=f"sqlite:///{folder}/facts.db"))


def see_equal(found: tuple[pl.DataFrame, Fact], wanted: tuple[pl.DataFrame, Fact]) -> None:
    """See that the same rows were published, of the same types, and recorded alike."""
    assert wanted[0].height > 200
    assert "freezing_summer" in ",".join(wanted[0]["repairs"].drop_nulls())
    polars.testing.assert_frame_equal(found[0], wanted[0], check_exact=True)
    for name in ("digests", "rows", "partitions", "checks", "schema_version"):
        assert getattr(found[1], name) == getattr(wanted[1], name)


def test_here(wanted: tuple[pl.DataFrame, Fact], session: object, tmp_path: Path) -> None:
    see_equal(
        build(Lakehouse([twins.weather], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/facts.db")), wanted
    )


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with glue_server(tmp_path_factory.mktemp("glue")) as url:
        yield url


@pytest.mark.slow
@pytest.mark.aws
@pytest.mark.parametrize("version", ["5.1", "6.0"])
def test_in_a_glue_job(version: str, wanted: tuple[pl.DataFrame, Fact], account: str, tmp_path: Path) -> None:
    if version == "5.1":
        need("spark-3.5", (OLDER_SPARK / "installed").exists(), "make spark")
    job, bucket = make_job("glueetl", version=version), f"lake-{uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    lake = Lakehouse(
        [twins.weather],
        storage=f"s3://{bucket}/lake",
        lineage=f"sqlite:///{tmp_path}/facts.db",
        settings=load_settings(compute={"silver.weather": {"glue_job": job, "worker_type": "G.1X", "workers": 2}}),
    )
    see_equal(build(lake), wanted)
    assert [run["JobRunState"] for run in runs_of(job)] == ["SUCCEEDED"]
    left = [one["Key"] for one in boto3.client("s3").list_objects_v2(Bucket=bucket)["Contents"]]
    assert not [key for key in left if "-scratch" in key or key.endswith(("order.json", "manifest.json"))]
