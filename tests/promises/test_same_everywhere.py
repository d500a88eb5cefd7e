"""What is published depends on code and data alone: not on the time zone of the host, nor on that of the partitions."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from lakehouse import Daily, Lakehouse, PartitionRange, bronze


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])
def test_a_function_sees_the_days_that_its_keys_name(zone: str, tmp_path: Path) -> None:
    @bronze(partitions=Daily("2024-03-30", end="2024-04-02", column="day", timezone=zone))
    def orders(partitions: PartitionRange) -> pl.LazyFrame:
        days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
        return pl.LazyFrame({"day": days})

    lake = Lakehouse([orders], storage=str(tmp_path), lineage=f"sqlite:///{tmp_path}/lineage.db")
    assert lake.materialize(orders, "2024-03-30...2024-04-01", engine="inline").ok
    assert lake.load(orders).collect()["day"].sort().to_list() == [
        date(2024, 3, 30),
        date(2024, 3, 31),
        date(2024, 4, 1),
    ]


ON_A_HOST = """
import datetime as dt, json
import duckdb, polars as pl
from lakehouse import Lakehouse, gold, silver
from lakehouse.display.formatting import clock
from lakehouse.integrations.dbt import dbt_assets

NIGHT = dt.datetime(2024, 7, 1, 1, tzinfo=dt.timezone.utc)
DAY = "ts::date as day, hour(ts) as hour, ts"

@silver
def events() -> pl.LazyFrame:
    return pl.LazyFrame({"ts": [NIGHT]})

@gold
def given(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return events.project(DAY)

@gold
def returned(events: pl.DataFrame) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    return connection.from_arrow(events.to_arrow()).project(DAY)

@gold
def fetched(events: pl.DataFrame) -> pl.DataFrame:
    return duckdb.sql(f"select {DAY} from events").pl()

@gold
def told(events: pl.DataFrame) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'Asia/Kolkata'")
    return connection.from_arrow(events.to_arrow()).project(DAY)

(by_dbt,) = dbt_assets("dbt", sources=[events])
lake = Lakehouse([given, returned, fetched, told, by_dbt], storage="data", lineage="sqlite:///lineage.db")
assert lake.materialize([given, returned, fetched, told, by_dbt], engine="inline").ok
rows = {a.name: str(lake.load(a).collect().rows()[0]) for a in (given, returned, fetched, told, by_dbt)}
rows["clock"] = clock(NIGHT)
rows["duckdb"] = str(duckdb.sql("select current_setting('TimeZone')").fetchall())
print(json.dumps(rows))
"""

DBT = {
    "dbt_project.yml": "{name: shop, version: '1.0', profile: shop, models: {shop: {+schema: gold}}}",
    "models/days.sql": "select ts::date as day, hour(ts) as hour, ts from {{ source('silver', 'events') }}",
    "models/sources.yml": "{sources: [{name: silver, tables: [{name: events}]}]}",
}


def test_the_time_zone_of_the_host_changes_nothing(tmp_path: Path) -> None:
    found = []
    for zone in ("America/New_York", "Asia/Tokyo"):
        folder = tmp_path / zone
        for name, text in DBT.items():
            (folder / "dbt" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "dbt" / name).write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", ON_A_HOST],
            cwd=folder,
            env={**os.environ, "TZ": zone},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
        assert zone in found[-1].pop("duckdb")  # what is a person's own is left as it was
    first, second = found
    assert first == second
    night = "datetime.datetime(2024, 7, 1, 1, 0, tzinfo=zoneinfo.ZoneInfo(key='UTC'))"
    assert first["clock"] == "2024-07-01 01:00 UTC"
    for how in ("given", "returned", "fetched", "days"):
        assert first[how] == f"(datetime.date(2024, 7, 1), 1, {night})"
    assert first["told"].startswith("(datetime.date(2024, 7, 1), 6, ")
