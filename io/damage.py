"""What is wrong with the log of a Delta table that can't be opened: which file, how, and what to do about it.

Delta's library says that something can't be read, not where. Looked for only after it has failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from lakehouse.errors import Panic, StorageError, panics_raised
from lakehouse.io.layout import LOG, RESTART, log_file
from lakehouse.io.storage import Location

POINTER = f"{LOG}/_last_checkpoint"
"""The file that says where the newest checkpoint is."""

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")
_NEEDED = {
    "add": ("path", "partitionValues", "size"),
    "remove": ("path",),
    "metaData": ("id", "schemaString"),
    "protocol": ("minReaderVersion",),
}
_REBUILD = "remove {table} and materialize the asset again"


class Damage(NamedTuple):
    """A file of a table's log that is not as it was written.

    Parameters:
        file: its path within the table
        what: what is wrong with it
        hint: what to do
    """

    file: str
    what: str
    hint: str

    def error(self, location: Location) -> StorageError:
        """It as an error."""
        table = location.target
        return StorageError(
            f"the table {location.uri} is damaged: its file {self.file} {self.what}", hint=self.hint.format(table=table)
        )


def actions_of(log: bytes, version: int, *, newest: bool) -> list[dict[str, Any]] | Damage:
    """The actions of a commit's file, or what is wrong with it."""

    def damaged(what: str) -> Damage:
        return _commit(version, what, newest=newest)

    found: list[dict[str, Any]] = []
    for number, line in enumerate(log.splitlines(), 1):
        try:
            action = json.loads(line)
        except ValueError:
            return damaged(f"is cut off or overwritten: line {number} is no JSON")
        if not isinstance(action, dict):
            return damaged(f"is no commit: line {number} is no object")
        for kind, needed in _NEEDED.items():
            content = action.get(kind, _NOTHING)
            if content is not None and not (isinstance(content, dict) and all(name in content for name in needed)):
                return damaged(f"is incomplete: {kind} in line {number} lacks {' or '.join(needed)}")
        found.append(action)
    return found or damaged("is empty")


_NOTHING: dict[str, Any] = dict.fromkeys((name for needed in _NEEDED.values() for name in needed), "")


def emptied(location: Location, version: int) -> Damage | None:
    """An empty commit among those that a version is read from. Delta's library takes it for one that changed nothing.

    It is what a crash of the machine leaves of a file. Looked for on disk alone: a store of objects puts a file there
    as a whole, or not at all.
    """
    if location.path is None:
        return None
    for v in range(version, -1, -1):
        file = location.path / log_file(v)
        if file.with_suffix(".checkpoint.parquet").exists():
            return None
        try:
            if file.stat().st_size == 0:
                return _commit(v, "is empty", newest=v == version)
        except FileNotFoundError:
            return None
    return None


def find_damage(location: Location, version: int | None) -> Damage | None:
    """What keeps a version (None: the newest) from being read; None: no file of the log is to blame.

    Raises:
        Exception: the log can't be looked at, whatever storage raises then
    """
    if location.path and location.path.joinpath(LOG).is_file():
        return Damage(LOG, "is a file, where a folder is to be", f"move it away; or {_REBUILD}")
    store = location.brisk.store()
    sizes = {str(found["path"]).rpartition("/")[2]: int(found["size"]) for page in store.list(LOG) for found in page}
    commits = {int(found[1]) for name in sizes if (found := _COMMIT.fullmatch(name))}
    checkpoints: dict[int, list[str]] = {}
    for name in sorted(sizes):
        if found := _CHECKPOINT.fullmatch(name):
            checkpoints.setdefault(int(found[1]), []).append(name)
    newest = max((*commits, *checkpoints), default=-1)
    if newest < 0 or (version is not None and version > newest):
        return None
    wanted = newest if version is None else version
    starts = sorted((v for v in checkpoints if v <= wanted), reverse=True)
    if not starts and version is not None and 0 not in commits and any(v > wanted for v in checkpoints):
        return None  # tidied up: the log has its checkpoint, and what was before is no longer kept
    if version is not None and wanted not in commits and wanted not in checkpoints:
        later = min((v for v in commits if v > wanted), default=None)
        if later is not None and RESTART.encode() in bytes(store.get(log_file(later)).bytes()):
            return None  # there never was such a version
    for start in starts[:1]:
        again = starts[1] if len(starts) > 1 else -1
        told_elsewhere = commits.issuperset(range(again + 1, start + 1))
        for name in checkpoints[start]:
            if not sizes[name] or not _is_parquet(location, f"{LOG}/{name}"):
                what = "is empty" if not sizes[name] else "is no Parquet file (any more)"
                return Damage(f"{LOG}/{name}", what, _checkpoint_hint(name, told_elsewhere))
    for v in range((starts[0] if starts else -1) + 1, wanted + 1):
        if v not in commits:
            return _commit(v, "is missing", newest=False)
        found_actions = actions_of(bytes(store.get(log_file(v)).bytes()), v, newest=v == newest)
        if isinstance(found_actions, Damage):
            return found_actions
    return _pointer(location, sizes, checkpoints, commits)


def _commit(version: int, what: str, *, newest: bool) -> Damage:
    otherwise = f"without one, {_REBUILD}"
    if newest and version:
        otherwise = (
            f"without one, move it away: the table is then as in version {version - 1}; lakehouse state rebuild lets "
            "lineage follow it, and a refresh does the rest"
        )
    return Damage(log_file(version), what, f"restore it from a backup; {otherwise}")


def _checkpoint_hint(name: str, told_elsewhere: bool) -> str:
    if told_elsewhere:
        return f"remove {{table}}/{LOG}/{name} and {{table}}/{POINTER}: the log's other files say the same"
    return f"restore it from a backup; without one, {_REBUILD}"


def _pointer(
    location: Location, sizes: Mapping[str, int], checkpoints: Mapping[int, list[str]], commits: set[int]
) -> Damage | None:
    """Whether the pointer to the newest checkpoint points to none."""
    if POINTER.rpartition("/")[2] not in sizes:
        return None
    try:
        version = int(json.loads(bytes(location.brisk.store().get(POINTER).bytes()))["version"])
    except (ValueError, KeyError, TypeError):
        return None  # Delta's library then looks for itself
    if version in checkpoints:
        return None
    start = max(checkpoints, default=-1)
    if commits.issuperset(range(start + 1, max(commits, default=-1) + 1)):
        return Damage(
            POINTER,
            f"names a checkpoint of version {version}, which is missing",
            f"remove {{table}}/{POINTER}: the log's other files say the same",
        )
    return Damage(
        f"{LOG}/{version:020}.checkpoint.parquet",
        "is missing",
        f"restore it from a backup; without one, {_REBUILD}",
    )


def _is_parquet(location: Location, path: str) -> bool:
    try:
        place = location.child(path)
        with panics_raised():
            pl.scan_parquet(place.target, **place.polars, hive_partitioning=False, glob=False).collect()
    except (pl.exceptions.PolarsError, Panic):
        return False
    return True
