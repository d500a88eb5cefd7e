"""A publication replaces what was asked for, and never more: dagster-io/dagster#34064, where others fail in silence."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from lakehouse import Dynamic, Lakehouse, PartitionRange, bronze
from lakehouse.errors import StorageError
from lakehouse.io import PARTITION
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.storage import Location
from lakehouse.testing.lineage import MemoryLineage
from lakehouse.testing.tables import (
    DATES,
    PartitionCase,
    content,
    expect,
    partition_cases,
    publish,
    refused,
    selections,
)
from tests.support.proxy import Proxy

IMPATIENT = {
    "max_retries": "1",
    "retry_timeout": "30s",
    "backoff_config.init_backoff": "1ms",
    "backoff_config.max_backoff": "2ms",
}
HASTY = {"timeout": "400ms", "connect_timeout": "400ms"}
"""Only where the proxy never answers: a busy machine takes longer than that to answer at all."""
OPENING = r"^(GET|HEAD|LIST).*_delta_log"
KEYS = DATES.keys
OLD = expect(DATES, dict.fromkeys(KEYS, "old"))


# ── through the whole library ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", partition_cases(), ids=lambda case: case.name)
@pytest.mark.parametrize("place", ["disk", pytest.param("s3", marks=[pytest.mark.aws, pytest.mark.slow])])
def test_materializing_some_partitions_leaves_their_neighbours(
    case: PartitionCase, place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tag = "old"

    @bronze(partitions=case.partitions)
    def source(partitions: PartitionRange) -> pl.LazyFrame:
        return case.frame(partitions.keys(), tag).drop(PARTITION)

    root = tmp_path / "data" if place == "disk" else f"s3://{request.getfixturevalue('bucket')}/{uuid4().hex}"
    lake = Lakehouse([source], storage=root, lineage=MemoryLineage())
    if isinstance(case.partitions, Dynamic):
        lake.add_partitions(source, case.keys)
    lake.materialize(source, case.keys, engine="inline")
    tags = dict.fromkeys(case.keys, "old")
    for name, chosen in selections(case).items():
        tag = name
        run = lake.materialize(source, chosen, engine="inline")
        tags |= dict.fromkeys(chosen, name)
        assert content(lake.load(source)) == expect(case, tags)
        assert run.published(source).keys() == case.select(*chosen).keys()


# ── while storage fails ───────────────────────────────────────────────────────────────────


@pytest.fixture
def table(proxy: Proxy, bucket: str) -> DeltaLakeTable:
    """A table with rows in every partition, reached through the proxy, by a client without patience."""
    options = {**IMPATIENT, "aws_endpoint_url": proxy.url}
    table = DeltaLakeTable(Location.of(f"s3://{bucket}/{uuid4().hex}", options), partitioned=True)
    publish(table, DATES.frame(KEYS, "old"), DATES.select(*KEYS))
    return table


def _client(table: DeltaLakeTable, fault: str) -> DeltaLakeTable:
    """The table for a client that soon gives up waiting, if it is to wait in vain."""
    if fault != "never answer":
        return table
    location = table.location
    return DeltaLakeTable(Location(location.uri, {**location.options, **HASTY}), partitioned=True)


def _empty(table: DeltaLakeTable) -> DeltaLakeTable:
    """A table of the same place that was never published to."""
    return DeltaLakeTable(table.location.child(uuid4().hex), partitioned=True)


def _calm(proxy: Proxy, table: DeltaLakeTable) -> dict[str, list[str]]:
    """What is there once storage answers again."""
    proxy.forget()
    return content(table.scan()) if table.version() is not None else {}


FAULTS = ["503", "500", "403", "404", "reset", "never answer", "lose the answer"]


@pytest.mark.aws
@pytest.mark.parametrize("times", [1, None], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_while_the_table_is_opened_wipes_nothing(
    table: DeltaLakeTable, proxy: Proxy, fault: str, times: int | None
) -> None:
    staged = table.stage(DATES.frame(KEYS[:2], "new"), "attempt")
    since = table.version()
    client = _client(table, fault)
    proxy.fail(fault, OPENING, times=times)
    try:
        client.publish(staged, DATES.select(*KEYS[:2]), payload="", since=since)
        published = True
    except StorageError:
        published = False
    assert any(how for _, _, how in proxy.requests)
    tags = dict.fromkeys(KEYS, "old")
    if published:
        tags |= dict.fromkeys(KEYS[:2], "new")
    assert _calm(proxy, table) == expect(DATES, tags)


@pytest.mark.aws
def test_one_hiccup_while_the_table_is_opened_is_not_even_noticed(table: DeltaLakeTable, proxy: Proxy) -> None:
    for fault in ("503", "reset", "never answer"):
        client = _client(table, fault)
        proxy.fail(fault, OPENING, times=1)
        publish(client, DATES.frame(KEYS[:1], fault), DATES.select(KEYS[0]))
        assert _calm(proxy, table) == OLD | {KEYS[0]: [fault] * 2}


@pytest.mark.aws
@pytest.mark.parametrize("there", [True, False], ids=["again", "for the first time"])
@pytest.mark.parametrize(
    ("fault", "times"),
    [
        pytest.param("503", None, id="down from then on"),
        pytest.param("lose the answer", 1, id="one answer lost"),
        pytest.param("503", 2, id="unavailable", marks=pytest.mark.slow),
        pytest.param("reset", 2, id="reset", marks=pytest.mark.slow),
        pytest.param("lose the answer", None, id="all answers lost", marks=pytest.mark.slow),
    ],
)
def test_whichever_request_of_a_publication_fails_it_is_made_wholly_or_not_at_all(
    table: DeltaLakeTable, proxy: Proxy, there: bool, fault: str, times: int | None
) -> None:
    chosen = KEYS[:2]
    tags = dict.fromkeys(KEYS, "old") if there else {}
    before, after = expect(DATES, tags), expect(DATES, tags | dict.fromkeys(chosen, "new"))
    seen = set()
    k = 0
    while True:
        target = _empty(table)
        since = publish(target, DATES.frame(KEYS, "old"), DATES.select(*KEYS)) if there else None
        staged = target.stage(DATES.frame(chosen, "new"), f"mine-{k}")

        def work(target: DeltaLakeTable = target, staged: Any = staged, since: int | None = since) -> None:
            target.publish(staged, DATES.select(*chosen), payload="mine", since=since)

        proxy.fail(fault, after=k, times=times)
        try:
            work()
            raised = False
        except StorageError:
            raised = True
        failed = any(how for _, _, how in proxy.requests)
        found = _calm(proxy, target)
        assert found in ((before, after) if raised else (after,)), f"request {k}"
        seen.add((raised, found == after))
        # Whoever doesn't know tries again: it is made once.
        work()
        assert _calm(proxy, target) == after
        assert [p.payload for p in target.publications(after=since)] == ["mine"]
        if not failed:
            break
        k += 1
    assert k > 3
    assert (False, True) in seen
    if times is None:
        assert (True, False) in seen


@pytest.mark.aws
def test_whichever_request_of_staging_fails_nothing_is_seen(table: DeltaLakeTable, proxy: Proxy) -> None:
    k = 0
    while True:
        proxy.fail("503", after=k)
        with suppress(StorageError):
            table.stage(DATES.frame(KEYS, "new"), f"mine-{k}")
        failed = any(how for _, _, how in proxy.requests)
        assert _calm(proxy, table) == OLD
        table.discard(f"mine-{k}")
        if not failed:
            break
        k += 1
    assert k > 3


@pytest.mark.aws
def test_a_fault_while_cleaning_up_leaves_what_is_published(table: DeltaLakeTable, proxy: Proxy) -> None:
    staged = table.stage(DATES.frame(KEYS, "new"), "attempt")
    table.publish(staged, DATES.select(*KEYS), payload="", since=table.version())
    for fault in ("503", "reset"):
        proxy.fail(fault)
        with refused(StorageError, table.uri):
            table.discard(staged, published=DATES.select(*KEYS))
        assert _calm(proxy, table) == expect(DATES, dict.fromkeys(KEYS, "new"))
    table.discard(staged, published=DATES.select(*KEYS))
    assert _calm(proxy, table) == expect(DATES, dict.fromkeys(KEYS, "new"))


@pytest.mark.aws
def test_a_table_that_can_not_be_seen_is_not_taken_for_one_that_is_not_there(
    table: DeltaLakeTable, proxy: Proxy
) -> None:
    for fault in ("503", "500", "403", "reset", "never answer"):
        client = _client(table, fault)
        proxy.fail(fault)
        for look in (client.version, client.rows, client.scan, partial(client.publications, after=None)):
            with refused(StorageError, table.uri, "hint"):
                look()


# ── where nothing answers, or nothing may be written ──────────────────────────────────────


@pytest.mark.aws
def test_a_bucket_that_is_not_there_is_one_clear_error(aws_server: str) -> None:
    table = DeltaLakeTable(Location.of("s3://no-such-bucket-here/lake", IMPATIENT), partitioned=True)
    for look in (table.version, lambda: table.stage(DATES.frame(KEYS, "new"), "attempt")):
        with refused(StorageError, "s3://no-such-bucket-here/lake", "create the bucket"):
            look()


def test_an_endpoint_that_does_not_answer_is_one_clear_error() -> None:
    options = {**IMPATIENT, "aws_endpoint_url": "http://127.0.0.1:9", "aws_allow_http": "true"}
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "aws_region": "us-east-1"}
    table = DeltaLakeTable(Location.of("s3://bucket/lake", {**options, **keys}), partitioned=True)
    for look in (table.version, lambda: table.stage(DATES.frame(KEYS, "new"), "attempt")):
        with refused(StorageError, "s3://bucket/lake", "http://127.0.0.1:9"):
            look()


def test_a_folder_that_can_not_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    table = DeltaLakeTable(Location.of(tmp_path / "file" / "lake"), partitioned=True)
    with refused(StorageError, table.uri):
        table.stage(DATES.frame(KEYS, "new"), "attempt")
    table.discard("attempt")
    with refused(StorageError, f"{table.uri}"):
        table.quarantine(DATES.frame(KEYS, "new").collect(), "attempt")
    assert os.listdir(tmp_path) == ["file"]
