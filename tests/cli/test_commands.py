"""What the commands say when all is well."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from importlib.metadata import version

import pytest

from tests.support.command_line import Said, Toys

DAYS = "2013-01-01...2013-01-10"


def test_ls_lists_every_asset_by_layer(toys: Toys) -> None:
    code, out, err = toys("ls")
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split() == ["asset", "partitions", "inputs", "checks", "tags", "description"]
    assert [line.split()[0] for line in lines] == [
        "bronze.airports",
        "bronze.events",
        "silver.clean",
        "gold.totals",
        "gold.grand_total",
    ]
    assert "static EWR, JFK, LGA" in lines[0]
    assert "daily 2013-01-01...2013-01-31" in lines[1]
    assert lines[1].endswith("Two events a day.")
    assert "bronze.events" in lines[2]


def test_ls_takes_a_selection_of_several_words(toys: Toys) -> None:
    assert [line.split()[0] for line in toys("ls", "+gold.totals", "and", "not", "bronze").out.splitlines()[1:]] == [
        "silver.clean",
        "gold.totals",
    ]


def test_ls_answers_programs(toys: Toys) -> None:
    (found,) = json.loads(toys("ls", "silver", "--json").out)
    assert found["asset"] == "silver.clean"
    assert found["inputs"] == ["bronze.events"]
    assert found["checks"] == ["positive"]
    assert found["partitions"] == {
        "kind": "daily",
        "count": 31,
        "first": "2013-01-01",
        "last": "2013-01-31",
        "columns": ["date"],
    }


def test_plan_says_why_and_how_and_writes_nothing(toys: Toys) -> None:
    code, out, err = toys("plan", "gold.totals", "--partitions", DAYS, "--chunk", "4")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if "." in line.split(" ")[0]}
    assert lines["gold.totals"].split()[1:] == [DAYS, "10", "3", "asked", "for"]
    assert lines["bronze.events"].endswith("needed by silver.clean")
    assert "3 assets, 30 partitions, 9 steps" in out
    assert f"lakehouse materialize gold.totals --partitions {DAYS} --chunk 4" in out
    assert toys.written == []


def test_plan_is_what_is_then_done(toys: Toys) -> None:
    planned = json.loads(toys("plan", "+gold.totals", "-p", DAYS, "--refresh", "--json").out)
    assert planned["command"] == f"lakehouse refresh +gold.totals --partitions {DAYS}"
    assert {step["asset"]: step["partitions"] for step in planned["steps"]} == {
        "bronze.events": [["2013-01-01", "2013-01-10"]],
        "silver.clean": [["2013-01-01", "2013-01-10"]],
        "gold.totals": [["2013-01-01", "2013-01-10"]],
    }
    assert {reason["cause"] for step in planned["steps"] for reason in step["reasons"]} == {"missing"}
    code, _, err = toys("refresh", "+gold.totals", "-p", DAYS)
    assert code == 0
    assert [line.partition("] ")[2].partition(":")[0] for line in err.splitlines()[1:]] == [
        f"{step['asset']} {DAYS}" for step in planned["steps"]
    ]


def test_refresh_tells_what_it_published_and_where_it_lies(toys: Toys) -> None:
    code, out, err = toys("refresh", "+gold.totals", "--partitions", DAYS)
    assert code == 0
    assert "building 30 partitions of 3 assets in 3 steps" in err
    row = next(line for line in out.splitlines() if line.startswith("silver.clean")).split()
    assert row[1:5] == [DAYS, "10", "20", "1/1"]
    assert "tables   data" in out
    assert "lineage  lineage.db" in out
    assert toys.written == ["data", "lineage.db"]


def test_refresh_twice_does_nothing_the_second_time(toys: Toys) -> None:
    toys("refresh", "+gold.totals", "--partitions", DAYS)
    before = sorted((p, p.stat().st_mtime_ns) for p in (toys.folder / "data").rglob("*"))
    code, out, err = toys("refresh", "+gold.totals", "--partitions", DAYS)
    assert (code, err) == (0, "")
    assert out == "up to date: 3 assets, 30 partitions, nothing to do\n"
    assert sorted((p, p.stat().st_mtime_ns) for p in (toys.folder / "data").rglob("*")) == before


def test_materialize_builds_what_is_there_already(toys: Toys) -> None:
    toys("refresh", "+gold.totals", "--partitions", DAYS)
    code, out, _ = toys("materialize", "gold.totals", "--partitions", "2013-01-02", "--upstream", "all")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        ["bronze.events", "2013-01-02"],
        ["silver.clean", "2013-01-02"],
        ["gold.totals", "2013-01-02"],
    ]


def test_warnings_are_told_and_harm_nothing(toys: Toys) -> None:
    code, out, _ = toys("refresh", "+gold.totals", "--partitions", "2013-01-01")
    assert code == 0
    assert "warning  gold.totals: small: 1 row in 2013-01-01" in out
    assert "warning  gold.totals: small: 1 row in 2013-01-01" in toys("status").out


def test_status_tells_how_much_is_there(toys: Toys) -> None:
    toys("refresh", "bronze.events", "--partitions", "2013-01-01...2013-01-03,2013-01-05")
    code, out, err = toys("status")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert lines["bronze.events"].split()[1:7] == ["4", "31", "8", "0", "0", "published"]
    assert lines["bronze.events"].endswith("2013-01-01...2013-01-03, 2013-01-05")
    assert lines["gold.totals"].split()[1:7] == ["0", "31", "-", "0", "0", "never"]
    found = {one["asset"]: one for one in json.loads(toys("status", "--json").out)}
    assert found["bronze.events"]["partitions"] == [["2013-01-01", "2013-01-03"], ["2013-01-05", "2013-01-05"]]
    assert found["bronze.events"]["last"]["status"] == "published"
    assert found["gold.totals"]["last"] is None


def test_lineage_shows_both_sides_with_versions(toys: Toys) -> None:
    toys("refresh", "+gold.totals", "--partitions", DAYS)
    code, out, err = toys("lineage", "silver.clean", "--partition", "2013-01-02")
    assert (code, err) == (0, "")
    made, _, rest = out.partition("went into")
    went, _, history = rest.partition("history")
    assert made.index("silver.clean 2013-01-02  v0") < made.index("bronze.events 2013-01-02  v0")
    assert "gold.totals 2013-01-02  v0" in went
    assert f"published v0 {DAYS}  20 rows" in history
    found = json.loads(toys("lineage", "gold.totals", "-p", "2013-01-02", "--json").out)
    assert found["made_from"][0]["links"][0]["links"][0]["asset"] == "bronze.events"


def test_lineage_of_what_was_never_built(toys: Toys) -> None:
    code, out, _ = toys("lineage", "gold.totals")
    assert code == 0
    assert "nothing of it is published" in out
    assert "nothing was ever tried" in out


def test_lineage_of_much_stays_short(toys: Toys) -> None:
    toys("refresh", "+silver.clean", "--partitions", DAYS, "--chunk", "1")
    everything = toys("lineage", "silver.clean", "--limit", "4").out
    assert len(everything.splitlines()) < 20
    assert "6 older events not shown" in everything
    assert "silver.clean  10 publications, v0 to v9, 20 rows, 1 run" in everything
    assert "bronze.events  10 publications" in everything
    assert "and 1 more line" in toys("lineage", "silver.clean", "--limit", "1").out


def test_show_writes_csv_that_programs_can_read(toys: Toys) -> None:
    toys("refresh", "+silver.clean", "--partitions", DAYS)
    code, out, err = toys("show", "silver.clean", "--partition", "2013-01-02")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows == [{"date": "2013-01-02", "value": str(n), "tags": "a; b"} for n in (0, 1)]
    assert len(toys("show", "silver.clean").out.splitlines()) == 21
    assert len(toys("show", "silver.clean", "--limit", "3").out.splitlines()) == 4


def test_show_says_which_partitions_are_not_there(toys: Toys) -> None:
    toys("refresh", "+silver.clean", "--partitions", DAYS)
    code, out, err = toys("show", "silver.clean", "--partition", "2013-01-30")
    assert code == 0
    assert out == "date,value,tags\n"
    assert err == "note: silver.clean 2013-01-30 is not there\n"


def test_show_of_held_back_rows_when_there_are_none(toys: Toys) -> None:
    code, out, err = toys("show", "silver.clean", "--quarantined")
    assert (code, out) == (0, "")
    assert err == "nothing of silver.clean is held back\n"


def test_static_partitions_are_named_one_by_one(toys: Toys) -> None:
    code, out, _ = toys("refresh", "bronze.airports", "--partitions", "JFK,EWR")
    assert code == 0
    assert "EWR, JFK" in out
    assert "JFK" not in toys("plan", "bronze.airports").out.partition("\n")[2].splitlines()[0]


@pytest.mark.parametrize("command", ["ls", "plan", "refresh", "backfill", "materialize", "status", "lineage", "show"])
def test_each_command_explains_itself_by_examples(toys: Toys, command: str) -> None:
    code, out, err = toys(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: lakehouse {command} ")
    assert f"\n  lakehouse {command} " in out.partition("Examples\n")[2] or command in ("ls", "status")
    assert max(map(len, out.splitlines())) <= 90


def test_the_overview_teaches(says: Callable[..., Said]) -> None:
    code, out, err = says("--help")
    assert (code, err) == (0, "")
    for taught in ("Start with", "'+gold.*'", "2013-01-01...2013-01-31", "Exit codes", "130", "--traceback"):
        assert taught in out
    assert says() == (code, out, err)
    assert says("--version").out == f"lakehouse {version('lakehouse')}\n"
