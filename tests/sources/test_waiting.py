"""What waits for a file that isn't there yet is told: in plan, run, status, and by the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lakehouse import Lakehouse
from lakehouse.cli.failures import ExitCode
from tests.support.command_line import Toys

LANDING = """
import polars as pl

from lakehouse import Daily, PartitionRange, Unpartitioned, bronze, gold, silver, source
from lakehouse.io import Files
from lakehouse.lineage.observations import Observed

daily = Daily("2013-01-01", end="2013-01-06", column="date")


@source(partitions=Daily("2013-01-01", end="2013-01-06"))
def landing():
    return Files("landing/{partition:%Y%m%d}.csv")


@bronze(partitions=daily)
def raw(landing: Observed, partitions: PartitionRange) -> pl.LazyFrame:
    return pl.scan_csv(list(landing.uris), try_parse_dates=True)


@silver(partitions=daily)
def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw


@gold
def total(clean: pl.LazyFrame) -> pl.LazyFrame:
    return clean.select(pl.col("n").sum())


@bronze(partitions=daily)
def other(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"date": partitions.keys()})
"""


@pytest.fixture
def landing(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Toys:
    (home / "files_that_land.py").write_text(LANDING)
    monkeypatch.setenv("LAKEHOUSE_MODULE", "files_that_land")
    monkeypatch.syspath_prepend(str(home))
    (home / "landing").mkdir()
    return Toys(home, capsys)


def arrives(landing: Toys, *days: int) -> None:
    for day in days:
        (landing.folder / f"landing/201301{day:02}.csv").write_text(f"date,n\n2013-01-{day:02},1\n")


def open_lake() -> Lakehouse:
    from lakehouse.verbs import open_lakehouse

    return open_lakehouse()


def test_plan_run_and_status_say_what_waits_and_for_what(landing: Toys) -> None:
    arrives(landing, 1, 2, 4)
    waits = "2013-01-03, 2013-01-05: waits for source.landing 2013-01-03, 2013-01-05"
    for words in (["plan", "+silver.clean"], ["refresh", "+silver.clean"], ["refresh", "+silver.clean"], ["status"]):
        code, out, err = landing(*words)
        told = " ".join((out + err).replace(" (2 partitions)", "").split())
        assert "waiting" in told, words
        assert waits in told, words
        assert code == (ExitCode.WAITING if words[0] == "refresh" else ExitCode.WELL)
    arrives(landing, 3, 5)
    code, out, err = landing("refresh", "+silver.clean")
    assert (code, "waiting" in out + err) == (ExitCode.WELL, False)
    assert "waiting" not in landing("status").out


def test_what_was_named_and_waits_is_told_too(landing: Toys) -> None:
    arrives(landing, 1)
    code, _, err = landing("materialize", "bronze.raw", "-p", "2013-01-01...2013-01-02")
    assert code == ExitCode.WAITING
    assert "bronze.raw 2013-01-02: waits for source.landing 2013-01-02" in err
    code, _, err = landing("backfill", "bronze.raw", "-p", "2013-01-02...2013-01-03")
    assert code == ExitCode.REFUSED
    assert "waits for source.landing 2013-01-02...2013-01-03" in err


def test_what_doesn_t_read_the_files_waits_for_nothing(landing: Toys) -> None:
    assert landing("refresh", "bronze.other").code == ExitCode.WELL


def test_a_whole_waits_for_the_first_of_its_files(landing: Toys) -> None:
    code, _, err = landing("refresh", "gold.total")
    assert code == ExitCode.WAITING
    assert "gold.total: waits for source.landing 2013-01-01...2013-01-05" in " ".join(err.split())
    arrives(landing, 1)
    code, _, err = landing("refresh", "gold.total")
    assert (code, err.count("gold.total: waits")) == (ExitCode.WELL, 0)


def test_programs_are_told_as_well(landing: Toys) -> None:
    arrives(landing, 1, 2, 3, 4)
    missing = [["2013-01-05", "2013-01-05"]]
    (left,) = json.loads(landing("plan", "bronze.raw", "--json").out)["left"]
    assert left["partitions"] == missing
    assert left["awaited"] == [{"asset": "source.landing", "partitions": missing}]
    found = {one["asset"]: one["waiting"] for one in json.loads(landing("status", "--json").out)}
    assert found["silver.clean"] == [{"asset": "source.landing", "partitions": missing}]
    assert found["bronze.other"] == []


def test_in_python_the_run_is_ok_and_says_what_waits(landing: Toys) -> None:
    arrives(landing, 1)
    run = open_lake().refresh("silver.clean", engine="inline")
    assert run.ok
    assert [(one.asset.key, str(one.partitions)) for one in run.waiting] == [
        ("silver.clean", "2013-01-02...2013-01-05")
    ]
    assert {one.asset.key: one.waiting is None for one in open_lake().status("bronze.*")} == {
        "bronze.raw": False,
        "bronze.other": True,
    }


def test_what_is_there_does_not_wait_for_a_file_that_has_gone(landing: Toys) -> None:
    arrives(landing, 1, 2, 3, 4, 5)
    assert landing("refresh", "bronze.raw").code == ExitCode.WELL
    (landing.folder / "landing/20130102.csv").unlink()
    assert landing("refresh", "bronze.raw").code == ExitCode.WELL
    assert "waiting" not in landing("status", "bronze.raw").out
    code, _, err = landing("materialize", "bronze.raw", "-p", "2013-01-02...2013-01-03")
    assert (code, "bronze.raw 2013-01-02: waits for" in err) == (ExitCode.WAITING, True)
