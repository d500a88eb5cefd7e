"""Several processes at one table, and processes that are killed at it."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.context import SpawnContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import create_table_with_add_actions

from lakehouse.errors import PartitionConflict
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.storage import Location
from lakehouse.testing.tables import DATES, content, expect, publish

KEYS = DATES.keys
SHARED, OWN = KEYS[:4], KEYS[4:6]


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.aws)])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> DeltaLakeTable:
    """A table that isn't there yet."""
    root = tmp_path / "lake" if request.param == "disk" else f"s3://{request.getfixturevalue('bucket')}/{uuid4().hex}"
    return DeltaLakeTable(Location.of(root), partitioned=True)


# ── at once ───────────────────────────────────────────────────────────────────────────────


def _race(table: DeltaLakeTable, number: int, start: Barrier, answers: Queue[Any]) -> None:
    """Publish a partition that the other publishes too, several times over, then one of its own."""
    me = f"by {number}"
    for key in SHARED:
        staged = table.stage(DATES.frame([key], me), f"{number}-{key}")
        since = table.version()
        start.wait(timeout=60)
        try:
            version = table.publish(staged, DATES.select(key), payload=f"{me} {key}", since=since)
        except PartitionConflict:
            version = None
        answers.put((key, me, version))
        start.wait(timeout=60)
    key = OWN[number]
    staged = table.stage(DATES.frame([key], me), f"{number}-{key}")
    start.wait(timeout=60)
    answers.put((key, me, table.publish(staged, DATES.select(key), payload=f"{me} {key}", since=table.version())))


def test_of_processes_that_publish_the_same_new_partition_one_wins(
    table: DeltaLakeTable, processes: SpawnContext
) -> None:
    start, answers = processes.Barrier(2), processes.Queue()
    workers = [processes.Process(target=_race, args=(table, number, start, answers)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    said = [answers.get(timeout=10) for _ in range(2 * len(SHARED) + 2)]
    won = {key: (me, version) for key, me, version in said if version is not None}
    assert sorted(won) == sorted([*SHARED, *OWN])
    assert len([version for _, _, version in said if version is None]) == len(SHARED)
    assert content(table.scan()) == expect(DATES, {key: me for key, (me, _) in won.items()})
    published = {p.version: p.payload for p in table.publications(after=None)}
    assert published == {version: f"{me} {key}" for key, (me, version) in won.items()}


# ── killed ────────────────────────────────────────────────────────────────────────────────


def _die_after(owner: Any, name: str) -> None:
    """Let a method do its work, and the process end before it can say so."""
    method = getattr(owner, name)

    def fatal(*args: Any, **kwargs: Any) -> None:
        method(*args, **kwargs)
        os._exit(9)

    setattr(owner, name, fatal)


def _die_before(owner: Any, name: str) -> None:
    setattr(owner, name, lambda *args, **kwargs: os._exit(9))


def _publish_and_die(table: DeltaLakeTable, where: str, since: int | None) -> None:
    match where:
        case "before the commit":
            _die_before(DeltaLakeTable, "_commit")
        case "within the commit":
            _die_after(DeltaTable, "create_write_transaction")
        case "after the commit":
            _die_before(DeltaLakeTable, "discard")
    publish(table, DATES.frame(KEYS[:2], "new"), DATES.select(*KEYS[:2]), payload="new", since=since)


@pytest.mark.parametrize("where", ["before the commit", "within the commit", "after the commit"])
def test_a_process_that_is_killed_leaves_all_or_nothing(
    table: DeltaLakeTable, where: str, processes: SpawnContext
) -> None:
    since = publish(table, DATES.frame(KEYS, "old"), DATES.select(*KEYS), payload="old")
    worker = processes.Process(target=_publish_and_die, args=(table, where, since))
    worker.start()
    worker.join(timeout=120)
    assert worker.exitcode == 9
    tags = dict.fromkeys(KEYS, "old")
    arrived = where != "before the commit"
    if arrived:
        tags |= dict.fromkeys(KEYS[:2], "new")
    assert content(table.scan()) == expect(DATES, tags)
    assert [p.payload for p in table.publications(after=since)] == ["new"] * arrived
    publish(table, DATES.frame(KEYS[1:3], "again"), DATES.select(*KEYS[1:3]))
    assert content(table.scan()) == expect(DATES, tags | dict.fromkeys(KEYS[1:3], "again"))


# ── an answer that was lost ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("there", [True, False], ids=["again", "for the first time"])
@pytest.mark.parametrize("error", [OSError("the line went dead"), RuntimeError("hook"), None], ids=repr)
def test_a_commit_whose_answer_was_lost_is_made_once(
    table: DeltaLakeTable, monkeypatch: pytest.MonkeyPatch, error: Exception | None, there: bool
) -> None:
    if there:
        publish(table, DATES.frame(KEYS, "old"), DATES.select(*KEYS), payload="old")
    calls = []

    def lose(method: Callable[..., Any]) -> Callable[..., Any]:
        def lost(*args: Any, **kwargs: Any) -> None:
            method(*args, **kwargs)
            calls.append(method)
            raise error or CommitFailedError("a concurrent transaction")

        return lost

    monkeypatch.setattr(DeltaTable, "create_write_transaction", lose(DeltaTable.create_write_transaction))
    monkeypatch.setattr("lakehouse.io.delta.create_table_with_add_actions", lose(create_table_with_add_actions))
    version = publish(table, DATES.frame(KEYS[:2], "new"), DATES.select(*KEYS[:2]), payload="new")
    assert len(calls) == 1
    assert version == table.version()
    tags = dict.fromkeys(KEYS, "old") if there else {}
    assert content(table.scan()) == expect(DATES, tags | dict.fromkeys(KEYS[:2], "new"))
    assert [p.payload for p in table.publications(after=None)] == ["old"] * there + ["new"]
