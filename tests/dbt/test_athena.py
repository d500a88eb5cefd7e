"""The production target: dbt-athena builds in a database that is nobody's, and what passed is published into Delta."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

import boto3
import polars as pl
import polars.testing
import pytest

from lakehouse import Asset, Lakehouse
from lakehouse.assets.gold import models as reference
from lakehouse.assets.silver import airlines, airports, flights, weather
from lakehouse.errors import SchemaViolation, SettingsError
from lakehouse.execution.run import Run
from lakehouse.integrations.dbt import DbtProject, dbt_assets
from lakehouse.integrations.dbt.athena import PREFIX, Athena
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.lineage import Fact, Status
from lakehouse.lineage.leases import Leases
from lakehouse.maintenance import Maintenance
from lakehouse.schemas.glue import from_glue, to_glue
from tests.dbt.toys import ALL, HOLDS, PROJECT, ROWS, SOURCES, orders, write

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws")]

WEEK = "2013-01-01...2013-01-07"
BAD = "2013-01-03"
SILVER = [airlines, airports, flights, weather]
PROFILES = """
whatever:
  target: athena
  outputs:
    athena:
      type: athena
      region_name: us-east-1
      work_group: primary
      database: awsdatacatalog
      schema: "{{ env_var('TOY_GOLD', 'gold') }}"
      s3_staging_dir: s3://elsewhere/results/
      s3_data_dir: s3://elsewhere/tables/
      threads: 2
    warehouse: {type: postgres}
"""
TOY = {
    "dbt_project.yml": PROJECT + "    +table_type: iceberg\n    +s3_data_dir: s3://elsewhere/\n",
    "profiles.yml": PROFILES,
    "macros/holds.sql": HOLDS,
    "seeds/regions.csv": "customer,region\n1,east\n2,west\n",
    "models/sources.yml": SOURCES,
    "models/models.yml": """
models:
  - name: every_order
    config: {contract: {enforced: true}}
    data_tests: [{holds: {name: not_negative, arguments: {expression: amount >= 0}}}]
    columns:
      - {name: date, data_type: date}
      - {name: at, data_type: timestamp(3), config: {meta: {lakehouse: {timezone: Europe/Berlin}}}}
      - {name: amount, data_type: bigint}
      - {name: customer, data_type: bigint}
  - name: by_region
    config: {meta: {lakehouse: null}}
""",
    "models/every_order.sql": """
        {{ config(
            materialized='incremental', on_schema_change='fail',
            partitioned_by=['date'], external_location='s3://elsewhere/here',
        ) }}
        select customer, amount, cast(timestamp '2013-01-01 12:00:00' as timestamp(3)) as at, date
        from {{ source('silver', 'orders') }}
        {% if is_incremental() %} where date > (select max(date) from {{ this }}) {% endif %}
    """,
    "models/sums.sql": "select date, sum(amount) as whole from {{ source('silver', 'orders') }} group by date",
    "models/shares.sql": "{{ config(materialized='view') }} select date, whole from {{ ref('sums') }}",
    "models/by_region.sql": "select region, sum(amount) as amount from {{ ref('every_order') }} as o "
    "join {{ ref('regions') }} as r on r.customer = o.customer group by region",
    "models/wrong.sql": "select no_such_column, date from {{ source('silver', 'orders') }}",
    "models/nothing.sql": "select date, amount from {{ source('silver', 'orders') }} where amount = 123456",
}
GOOD = ["gold.every_order", "gold.sums", "gold.shares", "gold.by_region", "gold.regions"]


class Service:
    """What Amazon's side knows."""

    def __init__(self, bucket: str) -> None:
        self.athena, self.glue, self.s3 = boto3.client("athena"), boto3.client("glue"), boto3.client("s3")
        self.bucket = bucket
        self.before = set(self._ids())

    def _ids(self) -> list[str]:
        return list(self.athena.list_query_executions()["QueryExecutionIds"])

    @property
    def statements(self) -> list[str]:
        """What was asked of Athena since."""
        ids = [id for id in self._ids() if id not in self.before]
        return [self.athena.get_query_execution(QueryExecutionId=id)["QueryExecution"]["Query"] for id in ids]

    @property
    def databases(self) -> list[str]:
        """Staging databases that are there."""
        found = [d["Name"] for d in self.glue.get_databases()["DatabaseList"]]
        return [name for name in found if name.startswith(PREFIX)]

    @property
    def staged(self) -> list[str]:
        """Objects that lie in staging."""
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [o["Key"] for o in found if "dbt-staging" in o["Key"]]


@pytest.fixture
def bucket(aws_server: str) -> str:
    """An empty bucket."""
    name = f"athena-{uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def service(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Amazon's side. However a test ends, nothing of staging is left there."""
    monkeypatch.setenv("TOY_GOLD", f"gold_{uuid4().hex}")
    found = Service(bucket)
    yield found
    assert found.databases == []
    assert found.staged == []


@pytest.fixture(scope="module")
def toy(here: Path) -> tuple[Asset, ...]:
    return dbt_assets(write(here / "toy", TOY), sources=ALL, target="athena")


@pytest.fixture
def lake(toy: tuple[Asset, ...], service: Service, tmp_path: Path, spoil: Callable[..., None]) -> Lakehouse:
    return Lakehouse(toy, storage=f"s3://{service.bucket}/lake", lineage=f"sqlite:///{tmp_path}/lineage.db")


def build(lake: Lakehouse, what: Any, days: str = WEEK, **options: Any) -> Run:
    return lake.materialize(what, days, engine="inline", raise_on_failure=False, **options)


def facts_by_status(run: Run, key: str) -> dict[Status, Fact]:
    return {f.status: f for f in run.facts if f.asset == key}


# ── without an account ────────────────────────────────────────────────────────────────────


def test_it_parses_compiles_and_lists_without_an_account(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)

    def connect(self: Any, address: Any) -> None:
        raise AssertionError(f"something connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("LAKEHOUSE_DBT_TARGET", "athena")
    project = DbtProject(reference.folder, sources=SILVER)
    assert {a.key for a in project.assets} == {"gold.departures", "gold.carrier_daily", "gold.route_delays"}
    compiled = project._invoke(None, ["compile", "--no-introspect", "--no-populate-cache"], None)
    assert compiled.success, compiled.exception
    sql = {r.node.name: r.node.compiled_code for r in compiled.result.results}
    assert 'from "awsdatacatalog"."silver"."flights"' in sql["departures"]
    assert "cast(flights.time_hour as timestamp(3))" in sql["departures"]
    listed = project._invoke(None, ["ls", "--resource-type", "model"], None)
    assert sorted(listed.result) == ["flights.carrier_daily", "flights.departures", "flights.route_delays"]


def test_assets_promise_the_same_wherever_they_are_made(here: Path) -> None:
    by_target = [DbtProject(reference.folder, sources=SILVER, target=t).assets for t in ("athena", "embedded")]
    for there, embedded in zip(*by_target, strict=True):
        assert there.schema is not None
        assert embedded.schema is not None
        nullable = {c.name: c.nullable for c in there.schema.columns}
        assert nullable == {c.name: c.nullable for c in embedded.schema.columns}
        assert [(c.name, c.dtype) for c in there.schema.columns] == [(c.name, c.dtype) for c in embedded.schema.columns]
        assert there.partitions == embedded.partitions


# ── the reference lakehouse ───────────────────────────────────────────────────────────────


def test_the_reference_lakehouse_comes_out_the_same(
    here: Path, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakes = {}
    for target in ("embedded", "athena"):
        made = DbtProject(reference.folder, sources=SILVER, target=target).assets
        lakes[target] = Lakehouse(made, storage=f"s3://{service.bucket}/lake", lineage=f"sqlite:///{tmp_path}/l.db")
        monkeypatch.setenv("LAKEHOUSE_ATHENA_SCHEMA", f"gold_{uuid4().hex}")
        run = build(lakes[target], "+gold.*", "2013-01-05")
        assert run.ok, [r.error for r in run.results]
        lakes[target] = cast(Any, {a.key: run.frame(a).collect() for a in made})
    assert len(lakes["embedded"]) == 3  # type: ignore[arg-type]
    for key, rows in lakes["embedded"].items():  # type: ignore[attr-defined]
        assert rows.height > 0
        polars.testing.assert_frame_equal(lakes["athena"][key], rows, check_row_order=False)  # type: ignore[index]


# ── statements, places and their order ────────────────────────────────────────────────────


def test_everything_is_staged_before_anything_is_published(
    lake: Lakehouse, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    real = DeltaLakeTable.publish

    def publish(self: Any, *args: Any, **options: Any) -> Any:
        if "/gold/" in self.uri:
            seen.append((len(service.statements), len(service.databases)))
        return real(self, *args, **options)

    monkeypatch.setattr(DeltaLakeTable, "publish", publish)
    run = build(lake, GOOD[:3])
    assert run.ok, [r.error for r in run.results]
    statements = service.statements
    assert seen == [(len(statements), 1)] * 3, "published at the end, while the staging database was still there"
    made = [s for s in statements if "create table" in s]
    places = [re.search(r"external_location='(.*?)'", s) for s in made]
    assert len(made) == 4, "three models, and the failing rows of a test"
    for statement, place in zip(made, places, strict=True):
        assert place is not None
        assert re.match(rf"s3://{service.bucket}/lake/gold/dbt-staging/{PREFIX}\w+/tables/\w+/[-\w]+$", place[1])
        assert "table_type='hive'" in statement
        assert "partitioned_by" not in statement
    named = {db for s in statements for db in re.findall(r'["`](\w+)["`]\.["`]\w+["`]', s)} - {"awsdatacatalog"}
    assert len(named) == 1, "no statement names a database but that of staging"
    assert named.pop().startswith(PREFIX)
    assert "elsewhere" not in "".join(statements)


def test_gold_can_be_read_from_athena_afterwards(
    lake: Lakehouse, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(lake, "gold.every_order", "2013-01-01...2013-01-02")
    names = [d["Name"] for d in service.glue.get_databases()["DatabaseList"] if d["Name"].startswith("gold_")]
    found = {t["Name"]: t for name in names for t in service.glue.get_tables(DatabaseName=name)["TableList"]}
    table = found["every_order"]
    assert table["Parameters"]["table_type"] == "DELTA"
    assert table["StorageDescriptor"]["Location"] == f"s3://{service.bucket}/lake/gold/every_order/"
    assert {c["Name"]: c["Type"] for c in table["StorageDescriptor"]["Columns"]} == {
        "date": "date", "at": "timestamp", "amount": "bigint", "customer": "bigint",
    }  # fmt: skip
    version = table["VersionId"]
    build(lake, "gold.every_order", BAD)
    again = service.glue.get_table(DatabaseName=table["DatabaseName"], Name="every_order")["Table"]
    assert again["VersionId"] == version, "what is right is left alone"


def test_a_table_that_is_somebody_else_s_is_left_alone(
    lake: Lakehouse, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"gold_{uuid4().hex}"
    monkeypatch.setenv("TOY_GOLD", name)
    service.glue.create_database(DatabaseInput={"Name": name})
    theirs: Any = {
        "Name": "sums",
        "TableType": "EXTERNAL_TABLE",
        "StorageDescriptor": {"Location": "s3://theirs/sums/"},
    }
    service.glue.create_table(DatabaseName=name, TableInput=theirs)
    fresh = dbt_assets(lake.graph["gold.sums"].builder.folder, sources=ALL, select="sums", target="athena")  # type: ignore[union-attr]
    own = Lakehouse(fresh, storage=f"s3://{service.bucket}/lake", lineage=lake.lineage_store)
    assert build(own, "gold.sums").ok, "published all the same"
    assert f"Glue has a table {name}.sums already" in caplog.text
    there = service.glue.get_table(DatabaseName=name, Name="sums")["Table"]
    assert there["StorageDescriptor"]["Location"] == "s3://theirs/sums/"


# ── the gate, pins, parts ─────────────────────────────────────────────────────────────────


def test_a_bad_day_is_held_back_alone_and_nobody_ever_sees_it(
    lake: Lakehouse, spoil: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(negative=[BAD])
    seen: list[bool] = []
    real = DeltaLakeTable.publish

    def publish(self: Any, *args: Any, **options: Any) -> Any:
        version = real(self, *args, **options)
        if self.uri.endswith("gold/every_order"):
            seen.append(bool((lake.load("gold.every_order").collect()["amount"] < 0).any()))
        return version

    monkeypatch.setattr(DeltaLakeTable, "publish", publish)
    run = build(lake, GOOD)
    assert seen == [False]
    facts = facts_by_status(run, "gold.every_order")
    assert facts[Status.PUBLISHED].rows == 6 * ROWS
    assert facts[Status.REJECTED].partitions == ((BAD, BAD),)
    assert "not_negative" in facts[Status.REJECTED].reason
    assert len(run.published("gold.sums")) == 7, "another branch of the same call goes on"
    assert facts_by_status(run, "gold.by_region").keys() == {Status.SKIPPED}
    published = lake.load("gold.every_order").collect()
    assert published["at"].unique().to_list() == [datetime(2013, 1, 1, 13, tzinfo=ZoneInfo("Europe/Berlin"))]


def test_models_seeds_and_empty_tables_are_right(lake: Lakehouse) -> None:
    run = build(lake, [*GOOD, "gold.nothing"])
    assert run.ok, [r.error for r in run.results]
    regions = dict(lake.load("gold.by_region").collect().select("region", "amount").iter_rows())
    assert regions == {"east": 7 * 20, "west": 7 * 40}
    nothing = lake.load("gold.nothing").collect()
    assert nothing.schema == {"date": pl.Date, "amount": pl.Int64}
    assert nothing.is_empty()


def test_it_reads_the_version_that_the_plan_saw(
    lake: Lakehouse, spoil: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(lake, orders)
    real = DbtProject.make
    busy: list[int] = []

    def make(self: DbtProject, given: Any) -> Any:
        if not busy:
            busy.append(1)
            spoil(large=[BAD])
            build(lake, "+silver.orders")
        return real(self, given)

    monkeypatch.setattr(DbtProject, "make", make)
    run = build(lake, "gold.sums", "2013-01-02...2013-01-04")
    assert run.frame("gold.sums").collect()["whole"].to_list() == [60] * 3
    assert lake.load(orders).collect()["amount"].max() == 5000


def test_a_model_that_is_made_in_part_is_whole_for_those_that_read_it(
    lake: Lakehouse, spoil: Callable[..., None]
) -> None:
    build(lake, "gold.sums", "2013-01-01...2013-01-03")
    spoil(large=["2013-01-01", "2013-01-05"])
    build(lake, "+silver.orders")
    build(lake, "gold.sums", "2013-01-05")
    run = build(lake, "gold.shares")
    assert run.ok, [r.error for r in run.results]
    assert str(run.published("gold.sums")) == "2013-01-04, 2013-01-06...2013-01-07"
    found = dict(run.frame("gold.shares").collect().select("date", "whole").iter_rows())
    assert {str(day): whole for day, whole in found.items()} == {
        f"2013-01-0{d}": 20_000 if d == 5 else 60 for d in range(1, 8)
    }


# ── what goes wrong ───────────────────────────────────────────────────────────────────────


def test_a_query_that_fails_is_one_error_and_nothing_is_published(lake: Lakehouse) -> None:
    run = build(lake, ["gold.wrong", "gold.sums"])
    errors = {r.asset: r.error for r in run.results if not r.ok}
    assert list(errors) == ["gold.wrong"]
    assert str(errors["gold.wrong"]).count("no_such_column") >= 1
    assert "\n" not in str(errors["gold.wrong"])
    assert lake.table(lake.graph["gold.wrong"]).version() is None
    assert len(run.published("gold.sums")) == 7


def test_an_interrupt_leaves_nothing_behind(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from dbt.task.build import BuildTask

    def interrupt(self: Any) -> Any:
        raise KeyboardInterrupt

    build(lake, orders)
    monkeypatch.setattr(BuildTask, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(lake, "gold.sums")
    assert lake.table(lake.graph["gold.sums"]).version() is None


def test_what_a_killed_run_left_in_glue_goes_once_it_is_over(
    lake: Lakehouse, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Athena, "remove", lambda _: None)
        run = build(lake, "gold.sums", BAD)
    (left,) = service.databases
    # Another lakehouse's, in the same catalog: nobody here knows whether its run is over.
    others = f"{PREFIX}{'0' * 32}_theirs"
    service.glue.create_database(DatabaseInput={"Name": others})

    def told(now: datetime | None) -> list[str]:
        found = Maintenance(lake, now=now).maintain("gold.sums").actions
        return [action.text for action in found if "Glue" in action.text]

    later = datetime.now(UTC) + timedelta(days=2)
    assert told(None) == []
    with Leases(lake.lineage_store, run.id) as leases:
        leases.take_parts({"gold.sums": None}, None)
        assert told(later) == []
    assert told(later) == [f"the Glue database {left} removed, which a killed run left"]
    Maintenance(lake, now=later).maintain("gold.sums").apply()
    assert service.databases == [others]
    assert service.staged == []
    assert told(later) == []
    service.glue.delete_database(Name=others)


def test_glue_out_of_reach_is_one_error(lake: Lakehouse, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    build(lake, orders)
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    run = build(lake, "gold.sums")
    assert re.search(
        rf"making the Glue database {PREFIX}\w+ failed: EndpointConnectionError", str(run.results[-1].error)
    )
    assert service.statements == []


def test_gold_on_disk_is_refused(toy: tuple[Asset, ...], service: Service, tmp_path: Path) -> None:
    lake = Lakehouse(toy, storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    run = build(lake, "gold.sums")
    assert "the dbt target athena needs Gold in S3; gold.sums lies at file://" in str(run.results[-1].error)
    assert service.statements == []


def test_inputs_on_disk_are_refused(toy: tuple[Asset, ...], service: Service, tmp_path: Path) -> None:
    roots: dict[str, str | Path] = {"bronze": tmp_path, "silver": tmp_path, "gold": f"s3://{service.bucket}/lake"}
    lake = Lakehouse(toy, storage=roots, lineage=f"sqlite:///{tmp_path}/lineage.db")
    run = build(lake, "gold.sums")
    assert "reads its inputs in S3; silver.orders lies at file://" in str(run.results[-1].error)
    assert service.statements == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("athens", r"has no target 'athens'; there are embedded, athena, warehouse\n.*did you mean athena"),
        ("warehouse", r"'warehouse' is of type 'postgres', which models can't be built with\n.*embedded"),
    ],
)
def test_a_target_that_can_not_be_is_refused(here: Path, target: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        dbt_assets(write(here / "toy", TOY), sources=ALL, target=target)
    assert re.search(said, str(caught.value)), str(caught.value)


def test_without_dbt_athena_it_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "dbt.adapters.athena" else real(name))
    with pytest.raises(SettingsError, match=r"lakehouse\[aws\]"):
        dbt_assets(write(here / "toy", TOY), sources=ALL, target="athena")


def test_without_profiles_it_says_where_it_looked(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DBT_PROFILES_DIR", raising=False)
    files = {name: text for name, text in TOY.items() if name != "profiles.yml"}
    with pytest.raises(SettingsError, match=r"no profiles\.yml in .*bare"):
        dbt_assets(write(here / "bare", files), sources=ALL, target="athena")


# ── types ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(),
        pl.Binary(), pl.Date(), pl.Datetime("us"), pl.Decimal(38, 4), pl.List(pl.Struct({"a": pl.Decimal(10, 2)})),
        pl.Struct({"a": pl.List(pl.List(pl.Int64())), "b": pl.Struct({"c": pl.String()})}),
    ],
    ids=str,
)  # fmt: skip
def test_every_type_that_a_table_holds_has_a_word(dtype: Any) -> None:
    assert from_glue(to_glue(dtype, where="x")) == dtype


def test_a_type_without_a_word_is_one_error() -> None:
    assert to_glue(pl.Datetime("us", "UTC"), where="x") == "timestamp"
    with pytest.raises(SchemaViolation, match=r"silver\.orders: 'at' is of type Time, which Athena has no word for"):
        to_glue(pl.Time(), where="silver.orders: 'at'")
    with pytest.raises(SchemaViolation, match=r"map<int,int>, which can't be read back"):
        from_glue("map<int,int>")
