"""Small partitions share files: which, how many, and that nobody notices but by the files."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Lakehouse, PartitionRange, bronze
from lakehouse.errors import PartitionConflict, StorageError
from lakehouse.io import PARTITION
from lakehouse.io.clusters import Piece, grouped
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.staging import SHARED
from lakehouse.io.storage import Location
from lakehouse.partitions import Daily, PartitionSet
from lakehouse.testing.lineage import MemoryLineage
from lakehouse.testing.tables import publish, refused

DAYS = Daily("2000-01-01", column="day")
_FIRST = date(2000, 1, 1)


def days(numbers: Iterable[int]) -> PartitionSet:
    return DAYS.of_keys([str(_FIRST + timedelta(days=number)) for number in numbers])


def rows(numbers: Iterable[int], tag: str, *, each: int = 5, width: int = 0) -> pl.LazyFrame:
    """Some rows of each day; wide ones don't pack well."""
    found = pl.DataFrame({"number": list(numbers)}, schema={"number": pl.Int64})
    day = pl.lit(_FIRST) + pl.duration(days=pl.col("number"))
    frame = found.lazy().with_columns(day=day.cast(pl.Date), tag=pl.lit(tag), i=pl.int_ranges(0, each)).explode("i")
    if width:
        frame = frame.with_columns(
            pl.concat_str([(pl.struct("number", "i").hash(seed)).cast(pl.String) for seed in range(width)]).alias(
                "wide"
            )
        )
    return frame.with_columns(pl.col("day").cast(pl.String).alias(PARTITION))


def table_in(folder: Path | str) -> DeltaLakeTable:
    return DeltaLakeTable(Location.of(folder), partitioned=True, clustered=True)


def files(table: DeltaLakeTable) -> list[str]:
    return DeltaTable(table.location.target).file_uris()


def content(table: DeltaLakeTable, version: int | None = None) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for number, tag in table.scan(version=version).select("number", "tag").collect().iter_rows():
        found.setdefault(number, set()).add(tag)
    return found


@pytest.fixture
def table(tmp_path: Path) -> DeltaLakeTable:
    return table_in(tmp_path)


# ── files follow bytes ────────────────────────────────────────────────────────────────────


def test_small_partitions_share_a_file_and_large_ones_have_their_own(table: DeltaLakeTable) -> None:
    large = rows([100], "large", each=30_000, width=3)
    small = rows(range(100), "small", width=3)
    publish(table, pl.concat([small, large]), days(range(101)))
    assert len(files(table)) == 2
    publish(table, rows([50], "new", width=3), days([50]))
    assert len(files(table)) == 2
    assert content(table) == {n: {"new" if n == 50 else "large" if n == 100 else "small"} for n in range(101)}


def test_files_follow_bytes_and_not_publications(table: DeltaLakeTable) -> None:
    for number in range(120):
        publish(table, rows([number], "one"), days([number]))
        assert len(files(table)) <= 8
    assert table.rows() == {str(_FIRST + timedelta(days=n)): 5 for n in range(120)}


def test_one_more_partition_and_one_replaced_touch_few_files(table: DeltaLakeTable) -> None:
    publish(table, rows(range(2000), "old", each=20, width=5), days(range(2000)))
    before = set(files(table))
    assert 3 <= len(before) <= 40
    for number in (2000, 700, 1300):
        publish(table, rows([number], "new", each=20, width=5), days([number]))
        after = set(files(table))
        assert len(before - after) <= 1
        assert len(after - before) <= 2
        before = after
    assert all(Path(name.removeprefix("file://")).stat().st_size < 2 * SHARED for name in before)


@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), max_size=30))
def test_what_is_put_together_is_bounded(sizes: list[tuple[float, bool]]) -> None:
    pieces = [Piece(f"f{i:02}", f"p{i:02}", f"p{i:02}", size, brought=new) for i, (size, new) in enumerate(sizes)]
    groups = grouped(pieces)
    listed = [piece for group in groups for piece in group]
    assert len(listed) == len(set(listed))
    assert {piece for piece in pieces if piece.brought} <= set(listed)
    for group in groups:
        assert any(piece.brought for piece in group)
        assert len(group) == 1 or sum(piece.weight for piece in group) <= 1.001


# ── nobody notices ────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 40), max_size=12), st.sets(st.integers(0, 40), max_size=6), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_over_any_history_each_partition_has_its_newest_rows(history: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = table_in(folder)
        expected: dict[int, set[str]] = {}
        versions: dict[int, dict[int, set[str]]] = {}
        for at, (with_rows, without, held) in enumerate(history):
            published = with_rows | without
            if not published:
                continue
            # What is staged beside, and held back, is never seen.
            others = {n + 41 for n in with_rows} if held else set()
            tag = f"v{at}"
            version = publish(table, rows(sorted(with_rows | others, reverse=True), tag), days(sorted(published)))
            expected |= {number: {tag} for number in with_rows}
            expected = {n: tags for n, tags in expected.items() if n in with_rows or n not in published}
            versions[version] = dict(expected)
        for version, then in versions.items():
            assert content(table, version) == then
        if versions:
            seen = pl.read_delta(folder)
            assert dict(seen.group_by("number").len().iter_rows()) == dict.fromkeys(expected, 5)
            assert (seen[PARTITION] == seen["day"].cast(pl.String)).all()
            assert table.rows() == {str(_FIRST + timedelta(days=n)): 5 for n in sorted(expected)}


def test_new_tables_of_a_lake_share_files_unless_its_settings_say_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @bronze(partitions=Daily("2000-01-01", column="day"))
    def readings(partitions: PartitionRange) -> pl.LazyFrame:
        first = (date.fromisoformat(partitions.keys()[0]) - _FIRST).days
        return rows(range(first, first + len(partitions.keys())), "x").drop(PARTITION)

    def built(folder: Path, days: str) -> list[str]:
        lake = Lakehouse([readings], storage=folder, lineage=MemoryLineage())
        lake.materialize(readings, days, engine="inline")
        return lake.table(readings).files()

    monkeypatch.setenv("LAKEHOUSE_SHARED_FILES", "false")
    assert len(built(tmp_path / "before", "2000-01")) == 31
    monkeypatch.delenv("LAKEHOUSE_SHARED_FILES")
    assert len(built(tmp_path / "before", "2000-02")) == 60
    assert len(built(tmp_path / "shared", "2000-01")) == 2, "one for each step"


def test_what_is_replaced_as_a_whole_need_not_be_there(table: DeltaLakeTable) -> None:
    publish(table, rows(range(10), "old"), days(range(10)))
    (lost,) = files(table)
    Path(lost.removeprefix("file://")).unlink()
    with pytest.raises(StorageError, match=r"\.parquet"):
        publish(table, rows([3], "new"), days([3]))  # the rows of the other nine would be gone
    publish(table, rows(range(9), "new"), days(range(10)))
    assert content(table) == {number: {"new"} for number in range(9)}


def test_whoever_was_ahead_is_built_upon(table: DeltaLakeTable) -> None:
    since = publish(table, rows(range(10), "old"), days(range(10)))
    mine, theirs = (table.stage(rows([number], tag), tag) for number, tag in ((3, "mine"), (4, "theirs")))
    table.publish(theirs, days([4]), payload="", since=since)
    table.publish(mine, days([3]), payload="", since=since)
    with refused(PartitionConflict, str(_FIRST + timedelta(days=4))):
        table.publish(table.stage(rows([4], "late"), "late"), days([4]), payload="", since=since)
    assert content(table) == {n: {{3: "mine", 4: "theirs"}.get(n, "old")} for n in range(10)}


def test_a_lost_race_is_merged_again_on_what_won(table: DeltaLakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    since = publish(table, rows(range(10), "old"), days(range(10)))
    other = table_in(table.location.target)
    commit = DeltaTable.create_write_transaction
    beaten = itertools.count()

    def late(self: DeltaTable, *args: Any, **options: Any) -> None:
        if next(beaten) == 0:
            staged = other.stage(rows([4], "theirs"), "theirs")
            change = other._change(other.open(), "theirs", staged.handle, days([4]), {"2000-01-05"}, {}, absorb=True)
            other._commit(other.open(), "theirs", change, days([4]), "")
        commit(self, *args, **options)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", late)
    table.publish(table.stage(rows([3], "mine"), "mine"), days([3]), payload="", since=since)
    assert content(table) == {n: {{3: "mine", 4: "theirs"}.get(n, "old")} for n in range(10)}
    there = {str(path) for path in Path(table.location.target).rglob("_staged-mine-merged/*")}
    assert len(there) == 1, "what was put together for the commit that was lost is gone"


def test_other_tools_may_put_files_together(table: DeltaLakeTable) -> None:
    for number in range(0, 60, 3):
        publish(table, rows([number], "old", each=2000, width=8), days([number]))
    delta = DeltaTable(table.location.target)
    delta.optimize.z_order(["i"])
    for number in (3, 4, 30):
        publish(table, rows([number], "new", each=10, width=8), days([number]))
    expected = {n: {"old"} for n in range(0, 60, 3)} | {n: {"new"} for n in (3, 4, 30)}
    assert content(table) == expected
    assert sum(table.rows().values()) == 18 * 2000 + 3 * 10


def test_a_column_that_left_and_comes_back_as_another_type(table: DeltaLakeTable) -> None:
    publish(table, rows(range(6), "old").with_columns(n=pl.lit(1)), days(range(6)))
    for number in range(6):
        publish(table, rows([number], "new"), days([number]))
    assert "n" not in table.scan().collect_schema()
    publish(table, rows([7], "newer").with_columns(n=pl.lit("text")), days([7]))
    found = table.scan().collect()
    assert set(found["n"]) == {None, "text"}
    assert pl.read_delta(table.location.target).height == found.height == 35


def test_files_are_handed_on_only_as_far_as_they_hold_nothing_else(table: DeltaLakeTable, tmp_path: Path) -> None:
    publish(table, rows(range(6), "old"), days(range(6)))
    with refused(StorageError, "other partitions", "apart"):
        table.files(days([2]))
    (copy,) = table.files(days([2]), apart=Location.of(tmp_path / "apart"))
    found = pl.read_parquet(copy.removeprefix("file://"))
    assert set(found["number"]) == {2}
    assert PARTITION not in found.columns
    assert len(table.files()) == 1
