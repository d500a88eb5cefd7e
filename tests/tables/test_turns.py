"""Processes that publish to a table in a bucket wait for their turn; nothing but time depends on it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from multiprocessing.context import SpawnContext
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from obstore.store import ObjectStore

from lakehouse.io import turns
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.layout import TURN
from lakehouse.io.storage import Location
from lakehouse.partitions import Daily
from tests.support.proxy import Proxy

pytestmark = pytest.mark.aws

DAYS = Daily("2024-01-01", column="day")
LONG = 600.0


@pytest.fixture
def place(bucket: str) -> Location:
    """Where there is no table yet."""
    return Location.of(f"s3://{bucket}/{uuid4().hex}")


def _publish(table: DeltaLakeTable, number: int) -> int:
    day = date(2024, 1, 1) + timedelta(days=number)
    frame = pl.LazyFrame({"day": [day], "n": [number]}).with_columns(_partition=pl.lit(str(day)))
    chosen, since = DAYS.select(str(day)), table.newest()
    return table.publish(table.stage(frame, uuid4().hex), chosen, payload=f"{number}", since=since)


def _numbers(table: DeltaLakeTable) -> list[int]:
    return sorted(table.scan().collect()["n"].to_list())


def _there(store: ObjectStore) -> bool:
    return any(str(found["path"]) == TURN for page in store.list() for found in page)


def _publish_several(place: Location, numbers: range) -> int:
    """Publish a chunk each; returns how many commits it took."""
    turns._PATIENCE = turns._LONGEST = LONG
    commit, tried = DeltaLakeTable._commit, []

    def counted(*args: Any) -> int:
        tried.append(args)
        return commit(*args)

    DeltaLakeTable._commit = counted  # type: ignore[method-assign, assignment]
    table = DeltaLakeTable(place, partitioned=True, clustered=True)
    for number in numbers:
        _publish(table, number)
    return len(tried)


def test_no_commit_is_tried_again_however_many_processes_publish(place: Location, processes: SpawnContext) -> None:
    table = DeltaLakeTable(place, partitioned=True, clustered=True)
    _publish(table, 0)
    with processes.Pool(3) as pool:
        tried = pool.starmap(_publish_several, [(place, range(1 + first, 13, 3)) for first in range(3)], chunksize=1)
    assert tried == [4, 4, 4]
    assert _numbers(table) == [*range(13)]
    assert not _there(place.store())


def _publish_and_die(place: Location) -> None:
    DeltaLakeTable._commit = lambda *_: os._exit(9)  # type: ignore[method-assign]
    _publish(DeltaLakeTable(place, partitioned=True), 1)


def test_a_holder_that_was_killed_is_waited_for_by_nobody(
    place: Location, processes: SpawnContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = DeltaLakeTable(place, partitioned=True)
    _publish(table, 0)
    worker = processes.Process(target=_publish_and_die, args=(place,))
    worker.start()
    worker.join(timeout=120)
    assert worker.exitcode == 9
    assert _there(place.store())
    monkeypatch.setattr(turns, "_PATIENCE", LONG)
    monkeypatch.setattr(turns, "_LONGEST", LONG)
    _publish(table, 2)
    assert _numbers(table) == [0, 2]
    assert not _there(place.store())


@pytest.mark.parametrize("left", [b'{"turn": "1", "host": "elsewhere", "process": "7"}', b"", b"[]"])
def test_what_a_lost_machine_left_holds_up_nobody_for_longer_than_a_bound(
    place: Location, left: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.1)
    table = DeltaLakeTable(place, partitioned=True)
    place.store().put(TURN, left)
    _publish(table, 0)
    assert _numbers(table) == [0]
    assert not _there(place.store())


def test_others_together_are_not_waited_for_longer_than_a_bound(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_LONGEST", 0.2)
    table, store = DeltaLakeTable(place, partitioned=True), place.store()
    with turns._among_processes(place):
        _publish(table, 0)
        assert _numbers(table) == [0]
        assert _there(store), "it is left to whose turn it is"
    assert not _there(store)


def test_of_several_that_take_over_a_turn_only_one_has_it_at_a_time(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_ended", lambda turn: turn == b"left behind")
    monkeypatch.setattr(turns, "_PATIENCE", LONG)
    monkeypatch.setattr(turns, "_LONGEST", LONG)
    place.store().put(TURN, b"left behind")
    inside, most, lock = [0], [0], threading.Lock()

    def publish() -> None:
        with turns._among_processes(place):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            place.store().put("rows", b"")
            with lock:
                inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(publish) for _ in range(8)]:
            done.result()
    assert most == [1]
    assert not _there(place.store())


def test_who_was_taken_for_lost_leaves_the_turn_to_whoever_has_it_now(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.0)
    store = place.store()
    with turns._among_processes(place):
        store.put(TURN, b"of another one")
    assert bytes(store.get(TURN).bytes()) == b"of another one"


@pytest.mark.parametrize("how", ["403", "503", "reset", "lose the answer"])
def test_where_no_turn_can_be_had_it_is_published_all_the_same(bucket: str, proxy: Proxy, how: str) -> None:
    options = {"aws_endpoint_url": proxy.url, "aws_allow_http": "true", "backoff_config.init_backoff": "1ms"}
    place = Location.of(f"s3://{bucket}/{uuid4().hex}", options)
    table = DeltaLakeTable(place, partitioned=True)
    proxy.fail(how, f"PUT .*/{TURN}", times=None if how != "lose the answer" else 1)
    _publish(table, 0)
    assert any(found == how for _, _, found in proxy.requests)
    proxy.forget()
    assert _numbers(table) == [0]
    assert not _there(place.store())
