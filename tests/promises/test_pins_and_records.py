"""Promises 3, 4 and 5: fenced, recorded once, pinned; with faults at every moment between stage and record."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse import Lakehouse, MaterializationFailed, Retry
from lakehouse.errors import LineageError, PartitionConflict, StorageError
from lakehouse.execution.home import RunInfo
from lakehouse.execution.step import run_step
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.lineage import AssetState, Fact, Status, new_id
from lakehouse.lineage.sqlite import SqliteLineage
from tests.support import toys
from tests.support.toys import ROWS, clean, events, totals

WEEK = "2013-01-01...2013-01-07"


def _current(lake: Lakehouse, asset: str) -> dict[str, list[str]]:
    """For each partition the ids of its current records: always one."""
    state = AssetState.fold(lake.graph[asset].partitions, lake.lineage_store.facts(asset))
    found: dict[str, list[str]] = {}
    for part, fact in state.current:
        for key in part:
            found.setdefault(key, []).append(fact.id)
    return found


def _consistent(lake: Lakehouse, asset: str, days: int) -> None:
    """Every published partition has one record, every recorded one its rows, and no row is there twice."""
    current = _current(lake, asset)
    assert all(len(ids) == 1 for ids in current.values())
    assert len(current) == days
    rows = lake.load(asset).collect()
    assert rows.height == days * ROWS
    assert not rows.is_duplicated().any()


# ── killed at any moment ──────────────────────────────────────────────────────────────────

KILLED = """
import os, sys
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.lineage.sqlite import SqliteLineage
from tests.support import toys

target, method, when = sys.argv[2:5]
cls = {"table": DeltaLakeTable, "lineage": SqliteLineage}[target]
real = getattr(cls, method)

def dying(self, *args, **kwargs):
    if when == "after":
        real(self, *args, **kwargs)
    os._exit(9)

setattr(cls, method, dying)
toys.lakehouse_in(sys.argv[1]).materialize("bronze.events", "2013-01-01...2013-01-07", engine="inline")
"""


@pytest.mark.parametrize(
    ("target", "method", "when", "published"),
    [
        ("table", "stage", "before", False),
        ("table", "stage", "after", False),
        ("table", "staged", "before", False),
        ("table", "publish", "before", False),
        ("table", "publish", "after", True),
        ("lineage", "append", "before", True),
        ("lineage", "append", "after", True),
        ("table", "discard", "before", True),
    ],
)
def test_the_next_run_mends_what_a_kill_left_behind(
    tmp_path: Path, lake: Lakehouse, target: str, method: str, when: str, published: bool
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    root = Path(toys.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), target, method, when],
        env={"PYTHONPATH": _importable(tmp_path, root), "TOY_WORLD": str(tmp_path / "world.json")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    # A reader sees all of it or nothing, before anything is mended.
    if published:
        assert lake.load(events).collect().height == 7 * ROWS
    else:
        with pytest.raises(StorageError):
            lake.load(events)
    run = lake.refresh(events, WEEK, engine="inline")
    assert bool(run.plan) is not published
    _consistent(lake, "bronze.events", 7)


def _importable(folder: Path, root: Path) -> str:
    """A folder from which ``tests`` can be imported: the repository's own root has an io/ that would come first."""
    link = folder / "importable"
    link.mkdir()
    (link / "tests").symlink_to(root / "tests", target_is_directory=True)
    return str(link)


def test_a_record_that_could_not_be_written_is_found_in_the_tables_log(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = SqliteLineage.append

    def down(self: SqliteLineage, facts: Sequence[Fact]) -> None:
        if any(f.status is Status.PUBLISHED for f in facts):
            raise LineageError("lineage is down")
        append(self, facts)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteLineage, "append", down)
        run = lake.materialize(clean, WEEK, engine="inline", raise_on_failure=False)
    assert not run.ok
    assert len(run.published(events)) == len(run.published(clean)) == 7, "what is published is published"
    with pytest.raises(MaterializationFailed, match="published as version 0, but not recorded: lineage is down"):
        run.raise_on_failure()
    before = lake.plan("+silver.clean", WEEK, refresh=True)
    assert not before, "a plan sees what the table's log knows"
    assert _current(lake, "bronze.events") == {}, "and writes nothing"
    lake.refresh("+silver.clean", WEEK, engine="inline")
    _consistent(lake, "bronze.events", 7)
    assert not any(s.failed for s in lake.status())


def test_an_unrecorded_publication_survives_a_later_one(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SqliteLineage, "append", lambda self, facts: None)
        lake.materialize(events, WEEK, engine="inline")
    # A run that was planned before, and so knows nothing of it, publishes another week.
    step = lake.plan(events, "2013-01-08...2013-01-14").steps[0]
    assert lake.lineage_store.latest_version("bronze.events") is None
    run_step(step, lake, RunInfo(new_id(), datetime.now(UTC), "inline"))
    _consistent(lake, "bronze.events", 14)


# ── fenced ────────────────────────────────────────────────────────────────────────────────


def test_of_two_runs_that_publish_the_same_new_partition_one_wins(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = lake.plan(events, WEEK).steps[0]
    both = threading.Barrier(2, timeout=60)
    publish = DeltaLakeTable.publish

    def together(self: DeltaLakeTable, *args: Any, **kwargs: Any) -> int:
        both.wait()
        return publish(self, *args, **kwargs)

    monkeypatch.setattr(DeltaLakeTable, "publish", together)
    outcomes: list[Any] = []

    def one() -> None:
        try:
            outcomes.append(run_step(step, lake, RunInfo(new_id(), datetime.now(UTC), "inline")))
        except PartitionConflict as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    conflicts = [o for o in outcomes if isinstance(o, PartitionConflict)]
    assert len(conflicts) == 1
    assert "2013-01-01...2013-01-07" in conflicts[0].message
    _consistent(lake, "bronze.events", 7)
    folders = list(Path(lake.table(events).uri.removeprefix("file://")).glob("_staged-*"))
    assert len(folders) == 1, "the loser leaves no files behind"


def test_who_lost_is_not_tried_again_over_the_winner(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = DeltaLakeTable.publish
    calls: list[int] = []

    def beaten(self: DeltaLakeTable, *args: Any, **kwargs: Any) -> int:
        if not calls:
            calls.append(1)
            lake.materialize(events, WEEK, engine="inline")
        return publish(self, *args, **kwargs)

    monkeypatch.setattr(DeltaLakeTable, "publish", beaten)
    object.__setattr__(events, "retry", Retry(times=3))
    try:
        run = lake.materialize(events, WEEK, engine="inline", raise_on_failure=False)
    finally:
        object.__setattr__(events, "retry", Retry())
    assert len(run.results[0].failed) == 7
    assert "published by another run" in str(run.results[0].error)
    assert lake.table(events).version() == 0
    _consistent(lake, "bronze.events", 7)


def test_runs_over_different_partitions_never_fail_each_other(lake: Lakehouse) -> None:
    steps = lake.plan(events, "2013-01-01...2013-03-31", chunk=9).steps
    errors: list[BaseException] = []

    def one(step: Any) -> None:
        try:
            run_step(step, lake, RunInfo(new_id(), datetime.now(UTC), "inline"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    _consistent(lake, "bronze.events", 90)


# ── pinned ────────────────────────────────────────────────────────────────────────────────


def test_a_step_reads_the_version_that_its_plan_saw(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    lake.materialize(clean, WEEK, engine="inline")
    plan = lake.plan(totals, WEEK)
    spoil(add=100)
    lake.materialize("+silver.clean", WEEK, engine="inline")
    (step,) = plan.steps
    result = run_step(step, lake, RunInfo(new_id(), datetime.now(UTC), "inline"))
    sums = lake.load(totals).collect()["total"].to_list()
    assert sums == [sum(range(ROWS))] * 7, "not what was published since"
    (pin,) = result.facts[0].inputs
    seen = lake.load(clean, WEEK, version=pin.version).group_by("date").agg(pl.col("value").sum()).collect()
    assert seen["value"].to_list() == sums, "the record is enough to make it again"


def test_steps_of_one_run_read_what_it_published(lake: Lakehouse) -> None:
    run = lake.materialize(totals, WEEK, engine="inline")
    versions = {r.asset: r.version for r in run.results}
    facts = {f.asset: f for f in run.facts}
    assert facts["gold.totals"].inputs[0].version == versions["silver.clean"]
    assert facts["silver.clean"].inputs[0].version == versions["bronze.events"]
    assert facts["silver.clean"].inputs[0].partitions == (("2013-01-01", "2013-01-07"),)


def test_a_run_shows_what_it_published_even_after_others_did(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    first = lake.materialize(clean, WEEK, engine="inline")
    spoil(add=100)
    lake.materialize("+silver.clean", WEEK, engine="inline")
    assert first.frame(clean).collect()["value"].max() == ROWS - 1


# ── storage and lineage that don't belong together ────────────────────────────────────────


def test_a_table_that_is_gone_is_one_clear_error_and_not_up_to_date(lake: Lakehouse, tmp_path: Path) -> None:
    lake.materialize(events, WEEK, engine="inline")
    elsewhere = Lakehouse([events], storage=tmp_path / "elsewhere", lineage=lake.lineage_store)
    with pytest.raises(StorageError, match=r"lineage knows version 0 of bronze\.events, but there is no table"):
        elsewhere.refresh(events, WEEK, engine="inline")
