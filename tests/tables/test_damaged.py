"""A table whose log was damaged: one error that names the file and the next step, and never rows that aren't so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.errors import LakehouseError, StorageError
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.storage import Location
from lakehouse.testing.tables import DATES, content, expect, publish

KEYS = DATES.keys
NEWEST = 22
CHECKPOINT = "00000000000000000019.checkpoint.parquet"
POINTER = "_last_checkpoint"

Harm = Callable[[Path], object]
"""Does something to the folder of a log."""


def commit(version: int) -> str:
    return f"{version:020}.json"


def write(name: str, content: bytes) -> Harm:
    return lambda log: (log / name).write_bytes(content)


def halve(name: str) -> Harm:
    return lambda log: (log / name).write_bytes((log / name).read_bytes()[: (log / name).stat().st_size // 2])


def remove(*names: str) -> Harm:
    def harm(log: Path) -> None:
        for name in names:
            (log / name).unlink()

    return harm


def after(*harms: Harm) -> Harm:
    return lambda log: [harm(log) for harm in harms]


def hollow(name: str, kind: str) -> Harm:
    """Take from an action what it says."""

    def harm(log: Path) -> None:
        actions = [json.loads(line) for line in (log / name).read_text().splitlines()]
        (log / name).write_text(
            "\n".join(json.dumps({k: {} if k == kind else v for k, v in a.items()}) for a in actions)
        )

    return harm


def as_a_file(log: Path) -> None:
    shutil.rmtree(log)
    log.touch()


NO_CHECKPOINT = remove(CHECKPOINT, POINTER)
HARMS: dict[str, tuple[Harm, str]] = {
    "the newest is empty": (write(commit(NEWEST), b""), f"{commit(NEWEST)} is empty"),
    "the newest is zeros": (write(commit(NEWEST), bytes(100)), f"{commit(NEWEST)} is cut off or overwritten: line 1"),
    "the newest is text": (write(commit(NEWEST), b"hello\n"), f"{commit(NEWEST)} is cut off or overwritten: line 1"),
    "the newest is a list": (write(commit(NEWEST), b"[1]\n"), f"{commit(NEWEST)} is no commit: line 1"),
    "the newest is cut off": (halve(commit(NEWEST)), f"{commit(NEWEST)} is cut off or overwritten: line 6"),
    "an add without a path": (hollow(commit(NEWEST), "add"), f"{commit(NEWEST)} is incomplete: add in line 2"),
    "a remove without a path": (hollow(commit(NEWEST), "remove"), f"{commit(NEWEST)} is incomplete: remove in line 8"),
    "one between is cut off": (halve(commit(21)), f"{commit(21)} is cut off"),
    "one between is missing": (remove(commit(21)), f"{commit(21)} is missing"),
    "one between is empty": (write(commit(21), b""), f"{commit(21)} is empty"),
    "the checkpoint is junk": (write(CHECKPOINT, b"junk" * 9), f"{CHECKPOINT} is no Parquet file"),
    "the checkpoint is cut off": (halve(CHECKPOINT), f"{CHECKPOINT} is no Parquet file"),
    "the checkpoint is empty": (write(CHECKPOINT, b""), f"{CHECKPOINT} is empty"),
    "the checkpoint is missing": (remove(CHECKPOINT), f"{POINTER} names a checkpoint of version 19"),
    "the pointer points nowhere": (write(POINTER, b'{"version":99,"size":3}'), f"{POINTER} names a checkpoint"),
    "no checkpoint, one is missing": (after(NO_CHECKPOINT, remove(commit(10))), f"{commit(10)} is missing"),
    "no checkpoint, one is empty": (after(NO_CHECKPOINT, write(commit(10), b"")), f"{commit(10)} is empty"),
    "no checkpoint, the first has gone": (after(NO_CHECKPOINT, remove(commit(0))), f"{commit(0)} is missing"),
    "no columns any more": (after(NO_CHECKPOINT, hollow(commit(0), "metaData")), f"{commit(0)} is incomplete"),
    "the log is a file": (as_a_file, "_delta_log"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a checkpoint and commits after it."""
    folder = tmp_path_factory.mktemp("whole") / "table"
    table = DeltaLakeTable(Location.of(folder), partitioned=True, clustered=False)
    for number in range(NEWEST + 1):
        publish(table, DATES.frame(KEYS, str(number)), DATES.select(*KEYS))
    assert (folder / "_delta_log" / CHECKPOINT).exists()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "table")
    return tmp_path / "table"


@pytest.fixture
def table(folder: Path) -> DeltaLakeTable:
    return DeltaLakeTable(Location.of(folder), partitioned=True)


@pytest.mark.parametrize(("harm", "told"), HARMS.values(), ids=HARMS)
def test_one_error_names_the_table_and_the_file_and_says_what_to_do(
    table: DeltaLakeTable, folder: Path, harm: Harm, told: str
) -> None:
    staged = table.stage(DATES.frame(KEYS[:1], "new"), "attempt")
    harm(folder / "_delta_log")
    for look in (
        table.version,
        table.rows,
        table.files,
        table.scan,
        lambda: table.publications(after=None),
        lambda: table.stage(DATES.frame(KEYS[:1], "new"), "another"),
        lambda: table.publish(staged, DATES.select(KEYS[0]), payload="", since=NEWEST),
    ):
        with pytest.raises(StorageError) as caught:
            look()
        said = str(caught.value)
        assert table.uri in said
        assert told in said
        assert "hint" in said or told == "_delta_log"
        assert "<unknown>" not in said


def follow(hint: str, folder: Path) -> None:
    """Remove the files that a hint says to remove."""
    for word in hint.replace(":", " ").split():
        if word.startswith(str(folder)):
            Path(word).unlink()


@pytest.mark.parametrize(
    "name",
    [
        "the checkpoint is junk",
        "the checkpoint is cut off",
        "the checkpoint is empty",
        "the checkpoint is missing",
        "the pointer points nowhere",
    ],
)
def test_what_is_said_to_do_about_a_checkpoint_mends_it(table: DeltaLakeTable, folder: Path, name: str) -> None:
    HARMS[name][0](folder / "_delta_log")
    with pytest.raises(StorageError) as caught:
        table.version()
    assert caught.value.hint is not None
    follow(caught.value.hint, folder)
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, str(NEWEST)))


def test_without_the_newest_commit_it_is_as_it_was_before(table: DeltaLakeTable, folder: Path) -> None:
    halve(commit(NEWEST))(folder / "_delta_log")
    with pytest.raises(StorageError, match=f"as in version {NEWEST - 1}"):
        table.version()
    (folder / "_delta_log" / commit(NEWEST)).rename(folder / "moved away")
    assert table.version() == NEWEST - 1
    assert content(table.scan()) == expect(DATES, dict.fromkeys(KEYS, str(NEWEST - 1)))


def test_versions_before_the_damage_can_be_read(table: DeltaLakeTable, folder: Path) -> None:
    halve(commit(NEWEST))(folder / "_delta_log")
    assert content(table.scan(version=20)) == expect(DATES, dict.fromkeys(KEYS, "20"))


def test_a_version_that_never_was_is_no_damage(table: DeltaLakeTable) -> None:
    with pytest.raises(LakehouseError, match=r"version 99 of .* is not there"):
        table.scan(version=99)


def test_a_version_that_was_tidied_away_is_no_damage(table: DeltaLakeTable, folder: Path) -> None:
    remove(*map(commit, range(15)))(folder / "_delta_log")
    with pytest.raises(LakehouseError, match=r"version 7 of .* is not there"):
        table.scan(version=7)
    assert table.version() == NEWEST
