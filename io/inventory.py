"""Looking after a table's files: which versions need them, which nobody does, and moving them all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import unquote

from lakehouse.errors import StorageError
from lakehouse.io.delta import DeltaLakeTable, info_of, is_of_others
from lakehouse.io.layout import (
    LOG,
    QUARANTINE,
    RESTART,
    checkpoint_of,
    in_log,
    landed_by,
    quarantine_of,
    staged_folder,
    staged_in,
    unfinished,
    version_of,
)
from lakehouse.io.storage import Location
from lakehouse.io.tables import PARTITION

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from lakehouse.io.tables import TableReader
    from lakehouse.partitions import PartitionSet


class Kind(StrEnum):
    """What a file holds."""

    ROWS = "rows"
    LEFTOVER = "leftover"
    QUARANTINED = "quarantined"
    LOG = "log"


@final
@dataclass(frozen=True)
class StoredFile:
    """A file of a table.

    Parameters:
        kind: published rows; what a step that was killed left behind; or rows that were held back
        uri: where it lies
        bytes: how long it is
        written: when; of a leftover, when the newest file beside it was
        first: the least token of the partitions that its rows are of, as far as the log tells
        last: the greatest one
        versions: the table versions that have it
        held_in: of what was held back, the file that holds the rows, or that lists the files
    """

    kind: Kind
    uri: str
    bytes: int
    written: datetime
    first: str = ""
    last: str = ""
    versions: range = range(0)
    held_in: str = ""


@final
@dataclass(frozen=True)
class Inventory:
    """A table's versions and files.

    Parameters:
        made: when each version was made, by its number and by the storage's clock, as of all files; one that there
            never was, when the one after it was
        files: every file but for the log; files that are none of ours are left out
        complete: whether the log still goes back to the first version; if not, files may seem to be in nobody's use
        others: the versions that something else has made
        lost: the files of rows that versions have and that are not there any more
        columns: the names of the columns, from which version on
    """

    made: tuple[datetime, ...]
    files: tuple[StoredFile, ...]
    complete: bool
    others: tuple[int, ...] = ()
    lost: tuple[StoredFile, ...] = ()
    columns: tuple[tuple[int, tuple[str, ...]], ...] = ()

    @property
    def undigested(self) -> bool:
        """Whether the table has, or had, columns that no digest tells of: those that begin with an underscore."""
        return any(name.startswith("_") for _, names in self.columns for name in names)

    def columns_at(self, version: int) -> tuple[str, ...]:
        """The names of the columns at a version."""
        return next((names for since, names in reversed(self.columns) if since <= version), ())

    def lacks(self, version: int, first: str, last: str) -> bool:
        """Whether a version lacks a file that had rows of partitions between two tokens."""
        return any(version in file.versions and file.first <= last and first <= file.last for file in self.lost)


def inventory(table: DeltaLakeTable) -> Inventory:
    """What there is of a table, by its log and by what lies there.

    Raises:
        StorageError: it can't be reached
    """
    opened = table.open()
    commits = [] if opened is None else table.actions(opened)
    newest = -1 if opened is None else int(opened.version())
    with table.location.reaching("listing"):
        listed = _list(table.location)
        there = {path: (size, at) for path, size, at in listed if not in_log(path)}
        written = {version: at for path, _, at in listed if in_log(path) and (version := version_of(path)) is not None}
        beside = Location(quarantine_of(table.uri), table.location.options)
        files = [
            StoredFile(Kind.QUARANTINED, f"{beside.uri}/{path}", size, at, held_in=path)
            for path, size, at in _list(beside)
        ]
    ever = _used(commits, newest)
    used = {path: told for path, told in ever.items() if path in there}
    lost = [
        StoredFile(Kind.ROWS, f"{table.uri}/{path}", 0, _NEVER, *tokens, versions)
        for path, (tokens, versions) in ever.items()
        if path not in there
    ]
    raw = {path: there.pop(path) for path in [*there] if landed_by(path)}
    files += _raw_files(table, raw, used, {file.held_in for file in files})
    for path, (tokens, versions) in used.items():
        files.append(StoredFile(Kind.ROWS, f"{table.uri}/{path}", *there.pop(path), *tokens, versions))
    staged = [(path, folder, size, at) for path, (size, at) in there.items() if (folder := staged_in(path))]
    newest_beside: dict[str, datetime] = {}
    for _, name, _, at in staged:
        newest_beside[name] = max(at, newest_beside.get(name, at))
    files += [
        StoredFile(Kind.LEFTOVER, f"{table.uri}/{path}", size, newest_beside[name]) for path, name, size, _ in staged
    ]
    return Inventory(
        tuple(_made(commits, written)),
        tuple(sorted(files, key=lambda file: file.uri)),
        _is_complete(commits),
        tuple(version for version, actions in commits if is_of_others(info_of(actions))),
        tuple(lost),
        tuple(_columns(commits)),
    )


def _columns(commits: Sequence[tuple[int, Sequence[Mapping[str, Any]]]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The names of the columns, from each version on that says so."""
    for version, actions in commits:
        for action in actions:
            if "metaData" in action:
                fields = json.loads(action["metaData"]["schemaString"])["fields"]
                yield version, tuple(field["name"] for field in fields if field["name"] != PARTITION)


_NEVER = datetime.fromtimestamp(0, UTC)


def inventory_of(table: TableReader) -> Inventory:
    """The same of any table that lacks files; see [lacks_files][]."""
    assert isinstance(table, DeltaLakeTable)
    return inventory(table)


def lacks_files(table: TableReader, partitions: PartitionSet | None, *, version: int) -> bool:
    """Whether files with rows of some partitions (None: all) at a version were removed.

    Raises:
        StorageError: the version is not there, or can't be reached
    """
    return isinstance(table, DeltaLakeTable) and table.lacks_files(partitions, version=version)


def _raw_files(
    table: DeltaLakeTable,
    there: Mapping[str, tuple[int, datetime]],
    used: Mapping[str, tuple[tuple[str, str], range]],
    held: Collection[str],
) -> list[StoredFile]:
    """The files that a raw asset keeps: published for as long as a version has the row that tells of them."""
    if not there:
        return []
    with table.location.reaching("reading"):
        told = table.raw_files([*used])
    versions: dict[str, tuple[tuple[str, str], range]] = {}
    for path, lists in told:
        tokens, those = used[lists]
        before = versions.get(path, (tokens, those))[1]
        versions[path] = (tokens, range(min(before.start, those.start), max(before.stop, those.stop)))
    found = []
    for path, (size, at) in there.items():
        attempt = landed_by(path)
        uri = f"{table.uri}/{path}"
        lists = next((name for name in (f"{attempt}.parquet", f"{attempt}-apart.parquet") if name in held), "")
        if path in versions:
            tokens, those = versions[path]
            found.append(StoredFile(Kind.ROWS, uri, size, at, *tokens, those))
        elif lists:
            found.append(StoredFile(Kind.QUARANTINED, uri, size, at, held_in=lists))
        else:
            found.append(StoredFile(Kind.LEFTOVER, uri, size, at))
    return found


def spare_log(table: DeltaLakeTable) -> list[StoredFile]:
    """Files of a table's log that say what others of it say too, or nothing.

    Commits stay: they hold the facts, and by them any version can be opened. Of checkpoints, by which that is quick,
    the newest two stay, one of each so many versions, and those that no commits lead up to. What a writer that was
    killed left of a commit is read by nobody.

    Raises:
        StorageError: it can't be reached
    """
    with table.location.reaching("listing"):
        listed = [found for found in _list(table.location) if in_log(found[0])]
    commits = {version for path, _, _ in listed if (version := version_of(path)) is not None}
    checkpoints = {path: version for path, _, _ in listed if (version := checkpoint_of(path)) is not None}
    versions = sorted(set(checkpoints.values()))
    kept = {*versions[-2:], *({version // _APART: version for version in versions}.values())}
    kept |= {version for version in versions if not _led_up_to(version, versions, commits)}
    spare = {path for path, version in checkpoints.items() if version not in kept}
    spare |= {path for path, _, _ in listed if unfinished(path)}
    return [
        StoredFile(Kind.LOG, f"{table.uri}/{path}", size, written) for path, size, written in listed if path in spare
    ]


_APART = 200
"""Versions between checkpoints that stay: so many commits are read at most to open an old one."""


def _led_up_to(version: int, checkpoints: Sequence[int], commits: Collection[int]) -> bool:
    """Whether commits alone lead to a version, from the beginning or from the checkpoint before it."""
    before = max((one for one in checkpoints if one < version), default=-1)
    return all(one in commits for one in range(before + 1, version + 1))


def clock(table: DeltaLakeTable) -> datetime:
    """What time it is by the clock that the table's files are dated by. It writes a file to know, and removes it.

    Raises:
        StorageError: nothing can be written there
    """
    name = f"{staged_folder(f'clock-{secrets.token_hex(8)}')}/now"
    with table.location.reaching("writing to"):
        store = table.location.store()
        store.put(name, b"")
        try:
            now: datetime = store.head(name)["last_modified"]
        finally:
            _delete(table.location, [name])
    return now


def delete(table: DeltaLakeTable, files: Iterable[StoredFile]) -> None:
    """Delete files of a table; those that are gone already are passed over.

    Raises:
        StorageError: one can't be deleted; those before it are
    """
    for suffix in ("", QUARANTINE):
        home = Location(table.uri + suffix, table.location.options)
        with home.reaching("deleting from"):
            names = [f.uri.removeprefix(f"{home.uri}/") for f in files if f.uri.startswith(f"{home.uri}/")]
            _delete(home, names)


def move(table: DeltaLakeTable, to: DeltaLakeTable) -> None:
    """Move a table, with what it holds back, to where none is; after an interruption it is called again.

    On disk that is one renaming of the folder. In a bucket each object is copied, the log last, and then deleted, the
    first version's log last of all: while anything is left to be done, both ends show whose it is.

    Raises:
        StorageError: another table is there, or the two don't lie on the same disk or in the same bucket
    """
    for suffix in (QUARANTINE, ""):
        start, end = (Location(one.uri + suffix, one.location.options) for one in (table, to))
        with start.reaching("moving"):
            if start.path is not None and end.path is not None:
                _rename(start.path, end.path)
            elif start.path is None and end.path is None and _bucket(start) == _bucket(end):
                _copy_and_delete(start, end)
            elif exists(Location(start.uri, start.options)):
                raise _elsewhere(start, end)


def same(table: DeltaLakeTable, other: DeltaLakeTable) -> bool:
    """Whether two places hold one and the same table, in the midst of being moved from one to the other."""
    with table.location.reaching("reading"):
        return _first_log(table.location) == _first_log(other.location) is not None


def exists(location: Location) -> bool:
    """Whether there is anything at all."""
    with location.reaching("looking at"):
        if location.path is not None:
            return location.path.exists()
        return next(iter(location.store().list(chunk_size=1)), None) is not None


def _is_complete(commits: Sequence[tuple[int, list[dict[str, Any]]]]) -> bool:
    """Whether the log goes back to the first version; versions that there never were are none that it lacks."""
    before = -1
    for version, actions in commits:
        if version != before + 1 and info_of(actions).get(RESTART) != ("null" if before < 0 else str(before)):
            return False
        before = version
    return True


def _made(commits: Sequence[tuple[int, list[dict[str, Any]]]], written: Mapping[int, datetime]) -> Iterator[datetime]:
    # What a commit itself says of its time is by the clock of whoever made it.
    last, number = _NEVER, 0
    for version, _ in commits:
        last = written.get(version, last)
        yield from [last] * (version + 1 - number)
        number = version + 1


def _used(commits: Sequence[tuple[int, list[dict[str, Any]]]], newest: int) -> dict[str, tuple[tuple[str, str], range]]:
    """For each file that a version ever had: the tokens that its rows lie between, and the versions that have it."""
    used: dict[str, tuple[tuple[str, str], range]] = {}
    for version, actions in commits:
        for action in actions:
            if removed := action.get("remove"):
                path = unquote(removed["path"])
                tokens, versions = used.get(path, (_ANY, range(version)))
                used[path] = (tokens, range(versions.start, min(version, versions.stop)))
        for action in actions:
            if added := action.get("add"):
                path = unquote(added["path"])
                # Brought back by a restore, it counts as if it had been there all the while.
                first = used[path][1].start if path in used else version
                used[path] = (_tokens(added), range(first, newest + 1))
    return used


_ANY = ("", chr(0x10FFFF))


def _tokens(added: Mapping[str, Any]) -> tuple[str, str]:
    """The tokens that the rows of a file lie between; those of a table without partitions have none."""
    if PARTITION in added["partitionValues"]:
        token = added["partitionValues"][PARTITION] or ""
        return token, token
    stats = json.loads(added.get("stats") or "{}")
    low, high = (stats.get(name, {}).get(PARTITION) for name in ("minValues", "maxValues"))
    return _ANY[0] if low is None else low, _ANY[1] if high is None else high


def _list(location: Location) -> list[tuple[str, int, datetime]]:
    """Path, size and time of each file."""
    if location.path is not None and not location.path.exists():
        return []
    return [
        (str(one["path"]), int(one["size"]), one["last_modified"]) for page in location.store().list() for one in page
    ]


def _delete(location: Location, names: Sequence[str]) -> None:
    if location.path is None:
        if names:
            location.store().delete(list(names))
        return
    folders: set[Path] = set()
    for name in names:
        file = location.path / name
        file.unlink(missing_ok=True)
        folders.update(p for p in file.parents if p.is_relative_to(location.path) and p != location.path)
    for folder in sorted(folders, key=lambda p: len(p.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _rename(start: Path, end: Path) -> None:
    if not start.exists():
        return
    if end.exists():
        raise StorageError(f"{end} is there already; {start} was not moved over it", hint=f"move {end} away")
    end.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(start, end)
    except OSError as error:
        if error.errno != 18:  # EXDEV
            raise
        raise _elsewhere(Location.of(start), Location.of(end)) from error


def _copy_and_delete(start: Location, end: Location) -> None:
    listed = {path: size for path, size, _ in _list(start)}
    if not listed:
        return
    there = {path: size for path, size, _ in _list(end)}
    bucket, source, target = _whole(start), _prefix(start), _prefix(end)
    # Rows before the log, and the log from its beginning on: what readers find is whole at any moment.
    for path in sorted(listed, key=lambda p: (in_log(p), p)):
        if there.get(path) != listed[path]:
            bucket.copy(f"{source}/{path}", f"{target}/{path}")
    first = _first_commit(listed)
    start.store().delete([path for path in sorted(listed) if path != first])
    if first is not None:
        start.store().delete([first])


def _first_log(location: Location) -> bytes | None:
    if location.path is not None and not location.path.exists():
        return None
    first = _first_commit(str(one["path"]) for page in location.store().list(LOG) for one in page)
    if first is None:
        return None
    try:
        return bytes(location.store().get(first).bytes())
    except FileNotFoundError:
        return None


def _first_commit(paths: Iterable[str]) -> str | None:
    """The file of the log's first version."""
    return min((path for path in paths if in_log(path) and version_of(path) is not None), default=None)


def _bucket(location: Location) -> str:
    return location.uri.removeprefix("s3://").partition("/")[0]


def _prefix(location: Location) -> str:
    return location.uri.removeprefix("s3://").partition("/")[2]


def _whole(location: Location) -> ObjectStore:
    """The bucket that a folder is in."""
    return Location(f"s3://{_bucket(location)}", location.options).store()


def _elsewhere(start: Location, end: Location) -> StorageError:
    return StorageError(
        f"{start.uri} can't be moved to {end.uri}: they don't lie on the same disk or in the same bucket",
        hint="copy the folder there yourself, and then call this again",
    )


__all__ = [
    "Inventory",
    "Kind",
    "StoredFile",
    "clock",
    "delete",
    "exists",
    "inventory",
    "inventory_of",
    "lacks_files",
    "move",
    "same",
    "spare_log",
]
