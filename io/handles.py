"""Tables that were opened before, kept and brought up to date: read anew, a table costs what all of its files cost.

A handle is lent to one user at a time, who may publish with it, and comes back by itself when nobody refers to it any
more. Each time it is lent, the files of the log that it was read from are looked at: where one of them isn't the same
any more, the table has been removed, replaced, put back or begun again, and is opened anew.
"""

from __future__ import annotations

import copy
import os
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from deltalake import DeltaTable

from lakehouse.io.damage import POINTER, emptied
from lakehouse.io.layout import LOG, checkpoint_file, log_file, version_of
from lakehouse.io.storage import Location

_MOST = 16
"""Handles that are kept at most: one that isn't in use takes memory for each of the table's files."""

_LONG = 200
"""Commits without a checkpoint, at most, that are looked at one by one."""


@dataclass(frozen=True)
class _Origin:
    """What a version is read from.

    Parameters:
        files: the files of the log, each with what tells it from another of its name
        newer: whether there are commits after it
    """

    files: tuple[tuple[str, object], ...]
    newer: bool


@dataclass(frozen=True)
class _Kept:
    place: tuple[object, ...]
    table: DeltaTable
    version: int
    files: tuple[tuple[str, object], ...]


_idle: deque[_Kept] = deque(maxlen=_MOST)
_lock = threading.Lock()
_returned: SimpleQueue[_Kept] = SimpleQueue()
"""What came back since. Put there by finalizers, which run at any moment, also in a thread that holds the lock."""


def handle(location: Location, version: int | None = None) -> DeltaTable:
    """A table at a version (None: the newest), for one user.

    Raises:
        StorageError: a file that it is read from is empty
        Exception: what Delta's library raises where it can't be opened
    """
    place = (os.getpid(), location.uri, *sorted(location.options.items()))
    if (kept := _take(place, version)) is not None:
        origin = _origin(location, kept.version)
        if origin is not None and origin.files == kept.files:
            if version is not None or not origin.newer:
                return _lent(kept)
            if _updated(kept.table):
                return _keeping(location, place, kept.table)
    began = _folder(location)
    table = DeltaTable(location.target, version=version, storage_options=location.delta)
    if damaged := emptied(location, int(table.version())):
        raise damaged.error(location)
    # Where something was written meanwhile, it isn't known whether what lies there is what was read.
    return _keeping(location, place, table) if _folder(location) == began else table


def _take(place: tuple[object, ...], version: int | None) -> _Kept | None:
    """The newest handle of a table that can be had; of a certain version, one of just that."""
    with _lock:
        while True:
            try:
                _idle.append(_returned.get_nowait())
            except Empty:
                break
        fitting = [one for one in _idle if one.place == place and version in (None, one.version)]
        if not fitting:
            return None
        found = max(fitting, key=lambda one: one.version)
        _idle.remove(found)
        return found


def _keeping(location: Location, place: tuple[object, ...], table: DeltaTable) -> DeltaTable:
    version = int(table.version())
    origin = _origin(location, version)
    return table if origin is None else _lent(_Kept(place, table, version, origin.files))


def _lent(kept: _Kept) -> DeltaTable:
    lent = copy.copy(kept.table)  # another face of the same handle: when it goes, the handle comes back
    weakref.finalize(lent, _give_back, kept)
    return lent


def _give_back(kept: _Kept) -> None:
    if int(kept.table.version()) == kept.version:
        _returned.put(kept)


def _updated(table: DeltaTable) -> bool:
    try:
        table.update_incremental()
    except Exception:
        return False  # opened anew, it says what is wrong
    return True


def _origin(location: Location, version: int) -> _Origin | None:
    """What a version is read from, as it lies there now; None: it isn't there, or is damaged."""
    return _origin_in_store(location, version) if location.path is None else _origin_on_disk(location.target, version)


def _origin_on_disk(folder: str, version: int) -> _Origin | None:
    files: list[tuple[str, object]] = []

    def there(name: str) -> bool:
        try:
            found = os.stat(f"{folder}/{name}")
        except OSError:
            return False
        files.append((name, (found.st_ino, found.st_mtime_ns, found.st_size)))
        return found.st_size > 0  # an empty file is what a crash of the machine leaves of one

    there(POINTER)
    for v in range(version, max(version - _LONG, -1), -1):
        written = there(log_file(v))
        if there(checkpoint_file(v)) or (written and v == 0):
            return _Origin(tuple(files), newer=os.path.exists(f"{folder}/{log_file(version + 1)}"))
        if not written:
            return None
    return None


def _origin_in_store(location: Location, version: int) -> _Origin | None:
    # After the checkpoint of the version before it, if there is one: so the version's own files, what is newer, and the
    # pointer, in one request. A store of objects never overwrites a part of a file, so what is older needs no look.
    start = f"{LOG}/{version:020}"
    files: list[tuple[str, object]] = []
    newer = False
    for page in location.store().list(LOG, offset=start):
        for found in page:
            name = str(found["path"])
            number = version_of(name)
            newer = newer or (number is not None and number > version)
            if name == POINTER or name.startswith(start):
                files.append((name, (found["e_tag"], found["last_modified"], found["size"])))
    return _Origin(tuple(files), newer) if any(name == log_file(version) for name, _ in files) else None


def _folder(location: Location) -> object:
    """Changes whenever a file of the log comes or goes; in a store of objects, where nothing does: always the same."""
    if location.path is None:
        return None
    try:
        found = os.stat(f"{location.target}/{LOG}")
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
