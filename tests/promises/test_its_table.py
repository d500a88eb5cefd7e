"""The fence knows its table: one that vanishes, goes back or is replaced is a conflict, and found by whoever looks."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse import (
    Daily,
    Lakehouse,
    LakehouseError,
    MaterializationFailed,
    PartitionRange,
    Run,
    bronze,
    silver,
)
from lakehouse.errors import TableMismatch
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.inventory import inventory
from lakehouse.lineage import Status
from lakehouse.maintenance import Maintenance

daily = Daily("2024-01-01", end="2024-01-13", column="day")
WEEK, ALL = "2024-01-01...2024-01-07", "2024-01-01...2024-01-12"
amount = 1
happens: Callable[[], object] = lambda: None  # noqa: E731  what happens while the function runs


@bronze(partitions=daily, code_version="1")
def raw(partitions: PartitionRange) -> pl.LazyFrame:
    happens()
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
    return pl.LazyFrame({"day": days, "n": [amount] * len(days)})


@silver(partitions=daily, code_version="1")
def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw


@silver(code_version="1")
def whole(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw.select(pl.col("n").sum())


@pytest.fixture(autouse=True)
def ordinary() -> Iterator[None]:
    yield
    become(1)
    meanwhile(lambda: None)


def become(number: int) -> None:
    """What the rows that are made from now on say."""
    global amount
    amount = number


def meanwhile(do: Callable[[], object]) -> None:
    """What happens while functions run."""
    global happens
    happens = do


def once(do: Callable[[], object], *, call: int = 2) -> None:
    """Something happens during one call of the function."""
    calls: list[None] = []

    def count() -> None:
        calls.append(None)
        if len(calls) == call:
            do()

    meanwhile(count)


def open_lake(folder: Path) -> Lakehouse:
    return Lakehouse([raw, clean, whole], storage=f"{folder}/data", lineage=f"sqlite:///{folder}/lineage.db")


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return open_lake(tmp_path)


def folder_of(lake: Lakehouse, asset: Any = raw) -> Path:
    return Path(lake.table(asset).uri.removeprefix("file://"))


def stored(lake: Lakehouse, asset: Any = raw) -> set[str]:
    try:
        return {str(day) for day in lake.load(asset).collect()["day"]}
    except LakehouseError:
        return set()


def claimed(lake: Lakehouse, asset: Any = raw) -> set[str]:
    return set(lake.status(asset)[0].present)


def materialize(lake: Lakehouse, *args: Any, **options: Any) -> Run:
    return lake.materialize(*args, engine="inline", raise_on_failure=False, **options)


def refresh(lake: Lakehouse, targets: Any = "*", partitions: Any = ALL) -> Run:
    return lake.refresh(targets, partitions, engine="inline")


def days(*numbers: int) -> set[str]:
    return {str(date(2024, 1, number)) for number in numbers}


# ── while a step runs ─────────────────────────────────────────────────────────────────────


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def emptied(folder: Path) -> None:
    for file in [one for one in folder.rglob("*") if one.is_file()]:
        file.unlink()


def replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    other = open_lake(folder.parents[1] / "other")
    meanwhile(lambda: None)
    for day in ("2024-01-10", "2024-01-11", "2024-01-12"):
        materialize(other, raw, day)
    shutil.copytree(folder_of(other), folder)


@pytest.mark.parametrize("do", [removed, emptied, replaced])
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_a_table_that_vanishes_is_a_conflict_and_nothing_is_claimed_that_is_not_there(
    lake: Lakehouse, do: Callable[[Path], None], chunk: int
) -> None:
    materialize(lake, raw, "2024-01-08")
    once(lambda: do(folder_of(lake)), call=1 if chunk == 7 else 2)
    run = materialize(lake, raw, WEEK, chunk=chunk)
    assert not run.ok
    with pytest.raises(MaterializationFailed, match=r"removed|replaced|no table|another one|went back"):
        run.raise_on_failure()
    assert claimed(lake) <= stored(lake)
    failed = [fact for fact in lake.lineage_store.facts(raw.key) if fact.status is Status.FAILED]
    assert "while this step ran; nothing was published" in failed[0].reason


def test_a_table_that_goes_back_is_a_conflict(lake: Lakehouse, tmp_path: Path) -> None:
    materialize(lake, raw, "2024-01-08")
    shutil.copytree(folder_of(lake), tmp_path / "backup")

    def put_back() -> None:
        shutil.rmtree(folder_of(lake))
        shutil.copytree(tmp_path / "backup", folder_of(lake))

    once(put_back)
    run = materialize(lake, raw, WEEK, chunk=2)
    assert not run.ok
    assert claimed(lake) <= stored(lake) == days(8)


def test_what_is_published_and_removed_at_once_is_not_recorded(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = DeltaLakeTable.publish

    def and_gone(self: DeltaLakeTable, *args: Any, **options: Any) -> int:
        version = publish(self, *args, **options)
        shutil.rmtree(folder_of(lake))
        return version

    monkeypatch.setattr(DeltaLakeTable, "publish", and_gone)
    run = materialize(lake, raw, WEEK)
    assert not run.ok
    assert {fact.status for fact in lake.lineage_store.facts(raw.key)} == {Status.FAILED}
    assert claimed(lake) == set()


def test_a_first_publication_whose_files_are_gone_is_none(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = DeltaLakeTable.publish

    def without_files(self: DeltaLakeTable, *args: Any, **options: Any) -> int:
        shutil.rmtree(folder_of(lake))
        return publish(self, *args, **options)

    monkeypatch.setattr(DeltaLakeTable, "publish", without_files)
    run = materialize(lake, raw, WEEK)
    assert not run.ok
    (fact,) = lake.lineage_store.facts(raw.key)
    assert "was removed before it was published" in fact.reason
    assert lake.table(raw).version() is None


# ── whoever looks finds it ────────────────────────────────────────────────────────────────


def truncate_the_newest(lake: Lakehouse) -> None:
    newest = max((folder_of(lake) / "_delta_log").glob("*.json"))
    newest.unlink()


def another_lakes_lineage(lake: Lakehouse) -> None:
    other = open_lake(folder_of(lake).parents[2] / "other")
    materialize(other, raw, "2024-01-10...2024-01-12")
    for file in folder_of(lake).parents[2].glob("lineage.db*"):
        file.unlink()
    shutil.copy(folder_of(other).parents[2] / "lineage.db", folder_of(lake).parents[2] / "lineage.db")


def made_anew(lake: Lakehouse) -> None:
    replaced(folder_of(lake))


MIXED_UP: dict[str, Callable[[Lakehouse], object]] = {
    "removed": lambda lake: removed(folder_of(lake)),
    "emptied": lambda lake: emptied(folder_of(lake)),
    "made anew": made_anew,
    "without its newest commit": truncate_the_newest,
    "beside another lake's lineage": another_lakes_lineage,
}


@pytest.fixture(params=list(MIXED_UP.values()), ids=list(MIXED_UP))
def mixed_up(lake: Lakehouse, tmp_path: Path, request: pytest.FixtureRequest) -> Lakehouse:
    """A lake in which the table of raw is not the one that lineage tells of; the consumers are built."""
    materialize(lake, raw, ALL)
    become(2)
    materialize(lake, raw, "2024-01-03...2024-01-05")
    assert materialize(lake, [clean, whole], ALL, upstream="none").ok
    become(3)
    request.param(lake)
    return open_lake(tmp_path)


def test_it_is_told_with_what_to_do(mixed_up: Lakehouse) -> None:
    status = {one.asset.key: one for one in mixed_up.status()}
    fault = status["bronze.raw"].fault
    assert isinstance(fault, TableMismatch)
    assert "lineage knows version" in fault.message
    assert fault.hint is not None
    assert "lakehouse state rebuild bronze.raw" in fault.hint
    assert set(status["bronze.raw"].present) == stored(mixed_up)
    assert status["silver.clean"].fault is None or "another" in str(status["silver.clean"].fault), (
        "the others are shown"
    )


def test_nothing_is_published_from_it_or_to_it(mixed_up: Lakehouse) -> None:
    before = {key: mixed_up.table(mixed_up.graph[key]).version() for key in ("bronze.raw", "silver.clean")}
    facts = mixed_up.lineage_store.facts("silver.clean")
    for target in (clean, raw, whole):
        with pytest.raises(LakehouseError, match="lineage knows version"):
            refresh(mixed_up, target)
        with pytest.raises(LakehouseError, match="lineage knows version"):
            mixed_up.plan(target, ALL)
    assert {key: mixed_up.table(mixed_up.graph[key]).version() for key in before} == before
    assert mixed_up.lineage_store.facts("silver.clean") == facts


def test_lineage_follows_the_table_when_it_is_told_to(mixed_up: Lakehouse) -> None:
    others = mixed_up.lineage_store.facts("silver.clean")
    there = stored(mixed_up)
    change = Maintenance(mixed_up).rebuild("bronze.raw")
    assert change.destructive
    change.apply()
    assert mixed_up.status(raw)[0].fault is None
    assert claimed(mixed_up) == stored(mixed_up) == there
    assert mixed_up.lineage_store.facts("silver.clean") == others, "it costs nobody else's history"
    assert not Maintenance(mixed_up).rebuild("bronze.raw")


def test_after_that_all_is_brought_up_to_date(mixed_up: Lakehouse) -> None:
    Maintenance(mixed_up).rebuild().apply()
    refresh(mixed_up)
    refresh(mixed_up)
    for asset in (raw, clean):
        assert claimed(mixed_up, asset) == stored(mixed_up, asset) == days(*range(1, 13))
    rows = mixed_up.load(raw).collect().sort("day")
    assert mixed_up.load(clean).collect().sort("day").equals(rows)
    assert mixed_up.load(whole).collect().item() == rows["n"].sum()
    assert not mixed_up.plan("*", ALL, refresh=True)


def test_a_version_that_was_read_is_never_taken_for_one_that_came_later(lake: Lakehouse) -> None:
    """Versions that consumers have read get new rows in the new table before the consumers are looked at."""
    for _ in range(4):
        materialize(lake, raw, "2024-01-01")
    materialize(lake, clean, "2024-01-01", upstream="none")
    removed(folder_of(lake))
    Maintenance(lake).wipe(raw, "*").apply()
    become(7)
    for _ in range(4):
        materialize(lake, raw, "2024-01-01")
    assert lake.plan(clean, "2024-01-01", refresh=True)
    refresh(lake, clean, "2024-01-01")
    assert lake.load(clean).collect()["n"].to_list() == [7]


def test_a_rebuild_that_was_interrupted_is_done_again(mixed_up: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.lineage.sqlite import SqliteLineage

    there = stored(mixed_up)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteLineage, "append", lambda self, facts: (_ for _ in ()).throw(LakehouseError("killed")))
        with pytest.raises(LakehouseError, match="killed"):
            Maintenance(mixed_up).rebuild("bronze.raw").apply()
    with monkeypatch.context() as patch:
        patch.setattr(SqliteLineage, "remove", lambda self, asset, ids: (_ for _ in ()).throw(LakehouseError("killed")))
        with suppress(LakehouseError):  # the facts of a table that is gone don't have to go
            Maintenance(mixed_up).rebuild("bronze.raw").apply()
    assert claimed(mixed_up) == there
    Maintenance(mixed_up).rebuild("bronze.raw").apply()
    assert claimed(mixed_up) == stored(mixed_up) == there


def test_what_others_publish_meanwhile_is_no_other_table(lake: Lakehouse) -> None:
    def beside() -> None:
        meanwhile(lambda: None)
        materialize(open_lake(folder_of(lake).parents[2]), raw, "2024-01-10...2024-01-12", chunk=1)

    materialize(lake, raw, "2024-01-08")
    once(beside)
    assert materialize(lake, raw, WEEK, chunk=2).ok
    assert claimed(lake) == stored(lake) == days(*range(1, 9), 10, 11, 12)


# ── a table that goes on from a later version ─────────────────────────────────────────────


def test_what_is_removed_can_be_wiped_and_read_on(lake: Lakehouse) -> None:
    refresh(lake)
    removed(folder_of(lake))
    with pytest.raises(TableMismatch):
        Maintenance(lake).wipe(raw, "2024-01-01")
    change = Maintenance(lake).wipe(raw, "*")
    assert change.title == "wipe bronze.raw"
    assert "goes on from version" in change.actions[0].text
    change.apply()
    assert lake.load(raw).collect().height == 0
    assert claimed(lake) == set()
    refresh(lake)
    assert claimed(lake) == stored(lake) == days(*range(1, 13))


def test_an_unpartitioned_table_goes_on_too(lake: Lakehouse) -> None:
    refresh(lake)
    removed(folder_of(lake, whole))
    Maintenance(lake).wipe(whole).apply()
    assert not lake.status(whole)[0].present
    refresh(lake)
    assert lake.load(whole).collect().item() == 12


def test_older_versions_stay_readable_and_retention_knows_its_files(lake: Lakehouse, tmp_path: Path) -> None:
    materialize(lake, raw, "2024-01-01")
    become(2)
    materialize(lake, raw, "2024-01-01")
    become(3)
    materialize(lake, raw, "2024-01-01")
    truncate_the_newest(lake)
    Maintenance(lake).rebuild(raw.key).apply()
    table = lake.table(raw)
    assert isinstance(table, DeltaLakeTable)
    newest = table.version()
    assert newest == 3
    assert [lake.load(raw, version=version).collect()["n"].to_list() for version in (0, 1, 3)] == [[1], [2], [2]]
    with pytest.raises(LakehouseError, match="version 2"):
        lake.load(raw, version=2).collect()
    become(4)
    materialize(lake, raw, "2024-01-01")
    there = inventory(table)
    assert there.complete
    assert len(there.made) == 5
    rows = [file for file in there.files if file.kind == "rows"]
    assert sorted((file.versions.start, file.versions.stop) for file in rows) == [(0, 1), (1, 4), (4, 5)]
    later = datetime(2100, 1, 1, tzinfo=UTC)
    Maintenance(lake, now=later).retain(raw, versions=1).apply()
    assert lake.load(raw).collect()["n"].to_list() == [4]
    assert not list(folder_of(lake).glob(f"_staged-*/**/*{rows[0].uri.rpartition('/')[2]}"))


def test_a_table_that_went_on_is_one_that_others_can_read(lake: Lakehouse) -> None:
    refresh(lake)
    removed(folder_of(lake))
    Maintenance(lake).wipe(raw, "*").apply()
    refresh(lake)
    for _ in range(25):  # beyond a checkpoint
        materialize(lake, raw, "2024-01-01")
    assert pl.read_delta(str(folder_of(lake))).height == 12
    log = sorted((folder_of(lake) / "_delta_log").glob("*.json"))
    info = next(json.loads(line)["commitInfo"] for line in log[0].read_text().splitlines() if "commitInfo" in line)
    assert info["lakehouse.restart"] == "null"


def test_a_table_that_went_on_can_be_moved(lake: Lakehouse, tmp_path: Path) -> None:
    refresh(lake)
    removed(folder_of(lake))
    Maintenance(lake).wipe(raw, "*").apply()
    refresh(lake)

    @bronze(partitions=daily, code_version="1")
    def renamed(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame()

    other = Lakehouse([renamed], storage=f"{tmp_path}/data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    Maintenance(other).rename("bronze.raw", "bronze.renamed").apply()
    assert set(other.status(renamed)[0].present) == days(*range(1, 13))
