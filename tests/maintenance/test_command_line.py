"""``lakehouse state``: what it says, its exit codes, and when it asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.maintenance import Maintenance
from tests.maintenance.conftest import Project
from tests.maintenance.projects import DAILY, DAYS, REGIONS, snapshot

DAY = "2013-01-03"
COMMANDS = ["rename", "rename-partition", "forget", "wipe", "retain", "rebuild"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_by_examples(project: Project, command: str) -> None:
    code, out, err = project("state", command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: lakehouse state {command} ")
    assert f"\n  lakehouse state {command} " in out.partition("Examples\n")[2]
    assert "--dry-run" in out
    assert max(map(len, out.splitlines())) <= 90


def test_the_group_is_found(project: Project) -> None:
    assert "\n  state " in project("--help").out
    out = project("state", "--help").out
    assert all(f"\n  {command} " in out for command in COMMANDS)


def test_rename(project: Project) -> None:
    project("refresh", "*", "-p", DAYS)
    project.write(DAILY.replace("readings", "trips"))
    words = ("state", "rename", "bronze.readings", "bronze.trips")
    there = snapshot(project.folder)
    code, out, err = project(*words, "--dry-run")
    assert (code, err) == (0, "")
    assert snapshot(project.folder) == there
    assert out.splitlines()[-1] == "rename bronze.readings to bronze.trips: a dry run, nothing was done"
    done = project(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[:-1] == out.splitlines()[:-1], "exactly what was shown"
    assert done.out.splitlines()[-1] == "rename bronze.readings to bronze.trips: done"
    assert project("plan", "*", "-p", DAYS, "--refresh").out == "up to date: 3 assets, 11 partitions, nothing to do\n"
    again = project(*words)
    assert (again.code, again.out) == (
        0,
        "note  bronze.readings was renamed already\nrename bronze.readings to bronze.trips: nothing to do\n",
    )
    history = project("lineage", "bronze.trips").out
    assert "renamed" in history
    assert "formerly bronze.readings" in history


def test_rename_partition(project: Project) -> None:
    project.write(REGIONS)
    project("refresh", "*")
    project.write(REGIONS.replace('"US"', '"us"'))
    code, out, err = project("state", "rename-partition", "bronze.sales silver.checked", "US", "us")
    assert (code, err) == (0, "")
    assert "bronze.sales    US becomes us: 1 row written anew, in one commit\n" in out
    assert project("plan", "*", "--refresh").out.startswith("up to date")
    assert "us,5" in project("show", "bronze.sales", "-p", "us").out


@pytest.mark.parametrize("verb", ["forget", "wipe"])
def test_what_loses_something_is_not_done_unasked(project: Project, verb: str) -> None:
    project("refresh", "*", "-p", DAYS)
    there = snapshot(project.folder)
    code, out, err = project("state", verb, "silver.clean", "-p", DAY)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {verb} silver.clean {DAY}: not done, for nobody is there to be asked\n"
        "hint: --yes does it without asking; --dry-run shows what would be done\n"
    )
    assert project("state", verb, "silver.clean", "-p", DAY, "--dry-run").code == 0
    assert snapshot(project.folder) == there
    code, out, err = project("state", verb, "silver.clean", "-p", DAY, "--yes")
    assert (code, err) == (0, "")
    assert out.endswith(f"{verb} silver.clean {DAY}: done\n")
    assert f"silver.clean {DAY}" in project("plan", "silver.clean", "-p", DAYS, "--refresh").out.replace("  ", " ")
    assert ("forgotten" if verb == "forget" else "wiped") in project("status", "silver.clean").out


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 2), ("", 2), ("what?", 2)])
def test_on_a_terminal_it_asks(project: Project, answers: Callable[[str], None], answer: str, code: int) -> None:
    project("refresh", "*", "-p", DAYS)
    there = snapshot(project.folder)
    answers(answer)
    said = project("state", "forget", "silver.clean", "-p", DAY)
    assert said.code == code
    assert said.err == "do it? [y/N] "
    assert ("nothing was done" in said.out) is bool(code)
    assert (snapshot(project.folder) == there) is bool(code)


def test_retain(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_SHARED_FILES", "false")
    project("refresh", "*", "-p", DAYS)
    project.write(DAILY.replace("VALUE = 1", "VALUE = 2"))
    project("refresh", "*", "-p", DAYS)
    assert project("state", "retain", "--keep", "90d", "--yes").out == "keep 90d: nothing to do\n"
    real = Maintenance.__init__
    later = datetime.now(UTC) + timedelta(days=100)
    monkeypatch.setattr(Maintenance, "__init__", lambda self, lake: real(self, lake, now=later))
    code, out, err = project("state", "retain", "--keep", "90d", "--dry-run")
    assert (code, err) == (0, "")
    assert "bronze.readings  5 files (" in out
    assert "bronze.readings  1 fact removed from lineage" in out
    assert project("state", "retain", "--keep", "90d").code == 2
    assert project("state", "retain", "--keep", "90d", "--yes").out == out.replace(
        "a dry run, nothing was done", "done"
    )
    assert project("status", "gold").out.count("published") == 1


def test_rebuild(project: Project) -> None:
    project("refresh", "*", "-p", DAYS)
    before = project("status").out
    (project.folder / "lineage.db").unlink()
    code, out, err = project("state", "rebuild")
    assert (code, err) == (0, "")
    assert "silver.clean     1 fact from the table's log\n" in out
    assert "note             attempts that failed, were skipped, or were held back as a whole" in out
    assert project("status").out == before
    assert project("state", "rebuild").out.endswith(": nothing to do\n")


def test_programs_get_all_that_is_touched(project: Project) -> None:
    project("refresh", "*", "-p", DAYS)
    found = json.loads(project("state", "wipe", "silver.clean", "-p", "2013-01-03...2013-01-04", "--yes", "--json").out)
    assert found == {
        "title": "wipe silver.clean 2013-01-03...2013-01-04",
        "done": True,
        "actions": [
            {
                "about": "silver.clean",
                "text": "2 rows removed by one commit, 2013-01-03...2013-01-04 (2 partitions) count as not there",
                "items": ["2013-01-03", "2013-01-04"],
            }
        ],
        "notes": ["gold.total becomes stale"],
    }


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["rename"], "requires an argument"),
        (["rename", "bronze.x", "bronze.y"], "there is no asset 'bronze.y'"),
        (["rename", "bronze.readings", "silver.clean"], "still an asset"),
        (["rename", "bronze.reading", "bronze.readings"], "nothing is known of bronze.reading"),
        (["rename-partition", "bronze.readings", DAY, "2013-01-04"], "only static and dynamic keys"),
        (["forget", "silver.clean"], "say which partitions"),
        (["forget", "silver.cleen", "-p", DAY], "did you mean silver.clean"),
        (["wipe", "silver.clean", "-p", "yesterday"], "looks like 2013-01-31"),
        (["wipe", "gold.total", "-p", DAY], "is not partitioned"),
        (["retain"], "say what to keep"),
        (["retain", "--keep", "long"], "write 12h, 90d or 8w"),
        (["retain", "--versions", "0"], "--versions"),
        (["rebuild", "silver.cleen"], "did you mean silver.clean"),
        (["wipeout"], "wipe"),
    ],
)
def test_a_request_that_cannot_be(project: Project, words: list[str], fragment: str) -> None:
    said = project("state", *words)
    assert (said.code, said.out) == (2, "")
    assert fragment in said.err
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) <= 2
    assert not (project.folder / "data").exists()
    assert not (project.folder / "lineage.db").exists()
