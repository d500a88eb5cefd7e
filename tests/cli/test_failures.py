"""Runs that go wrong: what was held back, why, and the one command that mends it."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import Said, Toys
from tests.support.spoil import spoil

DAYS = "2013-01-01...2013-01-06"


def _mending(err: str) -> list[list[str]]:
    """The commands that are offered, as words."""
    return [shlex.split(line)[1:] for line in err.splitlines() if line.startswith("  lakehouse ")]


def test_a_day_that_is_held_back_is_told_and_mended(toys: Toys) -> None:
    toys.world(negative=["2013-01-03"])
    code, out, err = toys("refresh", "+gold.totals", "--partitions", DAYS)
    assert code == 1
    row = next(line for line in out.splitlines() if line.startswith("silver.clean"))
    assert "2013-01-01...2013-01-02, 2013-01-04...2013-01-06" in row
    assert "held back  silver.clean 2013-01-03 (2 rows): positive" in err
    assert "skipped    gold.totals 2013-01-03: its input silver.clean 2013-01-03 was not published" in err
    assert "Traceback" not in err

    # Status, lineage and the rows themselves tell the story.
    status = toys("status").out
    assert "held back  silver.clean 2013-01-03: positive" in status
    assert "held back 2013-01-03  2 rows" in toys("lineage", "silver.clean", "-p", "2013-01-03").out
    held = list(csv.DictReader(io.StringIO(toys("show", "silver.clean", "--quarantined").out)))
    assert [(row["date"], row["value"], row["_reasons"]) for row in held] == [
        ("2013-01-03", "0", ""),
        ("2013-01-03", "-1", "positive"),
    ]
    assert toys("show", "silver.clean", "--quarantined", "-p", "2013-01-04").out == ""

    # The source is repaired: one of the commands offered mends it all, and a refresh finds nothing more.
    toys.world()
    _, again = _mending(err)
    assert again == ["materialize", "bronze.events+", "--partitions", "2013-01-03"]
    assert toys(*again).code == 0
    assert toys("refresh", "+gold.totals", "--partitions", DAYS).out.startswith("up to date")
    assert "held back" not in toys("status").out


def test_a_failed_function_is_mended_by_a_refresh(toys: Toys) -> None:
    toys.world(raises=["2013-01-05"])
    code, out, err = toys("refresh", "+gold.totals", "--partitions", DAYS, "--chunk", "3")
    assert code == 1
    assert "2013-01-01...2013-01-03" in out
    assert "failed   bronze.events 2013-01-05: the function raised ValueError: the source is down" in err
    assert "skipped  silver.clean" in err
    assert "failed" in toys("status").out
    toys.world()
    ((*mend,),) = _mending(err)
    assert mend == ["refresh", "+gold.totals", "--partitions", DAYS, "--chunk", "3"]
    code, out, _ = toys(*mend)
    assert code == 0
    assert "2013-01-05" in out
    assert "2013-01-04" not in out


def test_a_row_without_a_date_is_kept_apart_until_its_day_is_built_again(toys: Toys) -> None:
    toys.world(dateless=["2013-01-05"])
    code, out, err = toys("refresh", "silver.clean", "--partitions", DAYS, "--upstream", "missing")
    assert code == 1
    assert DAYS in next(line for line in out.splitlines() if line.startswith("silver.clean")), "all is published"
    assert "warning  bronze.events: in_a_partition: 1 row in 2013-01-01...2013-01-06" in out
    assert "kept apart  bronze.events: 1 row in no partition" in err
    assert "kept apart  bronze.events" in toys("status").out
    (row,) = csv.DictReader(io.StringIO(toys("show", "bronze.events", "--quarantined").out))
    assert (row["date"], row["value"]) == ("", "1")
    assert row["_reasons"] == "in_a_partition: lies in no partition"
    assert toys("show", "silver.clean", "--quarantined").out == ""

    # A refresh finds nothing to do: the command that is offered builds it again.
    assert toys("refresh", "silver.clean", "--partitions", DAYS).out.startswith("up to date")
    assert "kept apart" in toys("status").out
    toys.world()
    (again,) = _mending(err)
    assert again == ["materialize", "bronze.events+", "--partitions", DAYS]
    assert toys(*again).code == 0
    assert "kept apart" not in toys("status").out


def test_when_nothing_could_be_published_it_says_so(toys: Toys) -> None:
    toys.world(raises=["2013-01-01"])
    code, out, err = toys("materialize", "bronze.events", "--partitions", "2013-01-01")
    assert (code, out) == (1, "nothing was published\n")
    assert "the source is down" in err


def test_what_is_still_there_in_its_old_form_is_built_again_by_name(toys: Toys) -> None:
    toys("refresh", "+gold.totals", "--partitions", DAYS)
    toys.world(raises=["2013-01-02"])
    code, _, err = toys("materialize", "bronze.events", "--partitions", "2013-01-02")
    assert code == 1
    assert _mending(err) == [["materialize", "bronze.events", "--partitions", "2013-01-02"]]


def test_flights_with_a_spoiled_day(says: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days, bad = "2013-01-14...2013-01-16", "2013-01-15"
    source = tmp_path / "source"
    monkeypatch.setenv("LAKEHOUSE_MODULE", "lakehouse.assets")
    monkeypatch.setenv("LAKEHOUSE_FLIGHTS_SOURCE", str(source))
    spoil(source, bad, fault="impossible", first="2013-01-14", last="2013-01-16")
    code, out, err = says("refresh", "+gold.*", "--partitions", days)
    assert code == 1
    assert "12 assets" in out
    assert f"held back  silver.flights {bad} (894 rows): schema" in err
    skipped = next(line for line in err.splitlines() if line.startswith("skipped    gold.carrier_daily"))
    for asset in ("gold.carrier_daily", "gold.departures", "gold.route_delays", "gold.weather_delays"):
        assert asset in skipped or f"{asset} {bad}" in err
    assert len(says("show", "silver.flights", "--quarantined").out.splitlines()) == 895

    spoil(source, bad, fault="none", first="2013-01-14", last="2013-01-16")
    assert says(*_mending(err)[1]).code == 0
    assert says("refresh", "+gold.*", "--partitions", days).out.startswith("up to date: 12 assets")
