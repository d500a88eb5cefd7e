"""Whoever publishes to a table waits for its turn, as far as it can be known who else does: what waits in line needn't
race in storage, where all but one have to begin again.

Nothing depends on it: a table's log alone decides who was first. So a turn may be lost, taken twice or passed over
without harm, and nobody waits long for one that doesn't end.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from lakehouse.io.layout import TURN
from lakehouse.io.storage import Location
from lakehouse.processes import has_ended, host, this_process

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PATIENCE = 10.0
"""Seconds that another process is waited for, at most: one that hangs doesn't stop the others."""

_LONGEST = 60.0
"""Seconds that all the others together are waited for, at most: in a bucket nobody says who came first."""

_locks: dict[str, threading.Lock] = {}
_guard = threading.Lock()


@contextmanager
def in_turn(table: Location) -> Iterator[None]:
    """Wait until nobody else publishes to a table: no other thread of this process, on disk no other process of this
    host, in a bucket no other process.
    """
    with _guard:
        lock = _locks.setdefault(table.uri, threading.Lock())
    with lock, _among_processes(table):
        yield


def _among_processes(table: Location) -> AbstractContextManager[None]:
    return _in_bucket(table) if table.path is None else _on_disk(str(table.path))


# ── on disk: the folder is locked ─────────────────────────────────────────────────────────


@contextmanager
def _on_disk(path: str) -> Iterator[None]:
    folder = _lock(path)
    try:
        yield
    finally:
        if folder is not None:
            _unlock(folder)


def _lock(path: str) -> int | None:
    """Lock a folder by itself, so that nothing is left of it whatever becomes of the process; None: it can't be."""
    try:
        import fcntl

        folder = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    until, pause = time.monotonic() + _PATIENCE, 0.001
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(pause)
                pause = min(2 * pause, 0.02)
                continue
        except OSError:
            pass  # a file system that knows no locks
        else:
            return folder
        os.close(folder)
        return None


def _unlock(folder: int) -> None:
    import fcntl

    with suppress(OSError):
        # Said outright: a process that was forked meanwhile has the folder open as well.
        fcntl.flock(folder, fcntl.LOCK_UN)
    os.close(folder)


# ── in a bucket: an object says whose turn it is ──────────────────────────────────────────


@contextmanager
def _in_bucket(table: Location) -> Iterator[None]:
    # Where it can't be had, publishing itself is to say so, or does well without.
    store = Location(table.uri, {**table.brisk.options, "max_retries": "1"}).store()
    mine = json.dumps({"turn": uuid4().hex, "host": host(), "process": this_process()}).encode()
    began: float | None = None
    try:
        with suppress(Exception):
            began = _take(store, mine)
        yield
    finally:
        with suppress(Exception):
            # Nobody has taken it over before the others' patience ends. If it wasn't taken, that may be for an answer
            # which was lost.
            brief = began is not None and time.monotonic() - began < _PATIENCE / 2
            if brief or bytes(store.get(TURN).bytes()) == mine:
                store.delete(TURN)


def _take(store: ObjectStore, mine: bytes) -> float | None:
    """Take the turn, once it is nobody's; or from whoever doesn't end.

    Returns:
        when it was taken, by a clock that nobody sets; None: it wasn't
    """
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    until, pause = time.monotonic() + _LONGEST, 0.02
    seen, since = "", 0.0
    while (now := time.monotonic()) < until:
        try:
            store.put(TURN, mine, mode="create")
        except AlreadyExistsError:
            pass
        else:
            return now
        try:
            found = store.get(TURN)
            theirs = bytes(found.bytes())
        except FileNotFoundError:
            continue
        if theirs == mine:
            return now  # it had been put, and the answer was lost
        tag = found.meta["e_tag"] or ""
        if tag != seen:
            seen, since = tag, now
        if _ended(theirs) or now - since > _PATIENCE:
            with suppress(FileNotFoundError, PreconditionError):
                store.put(TURN, mine, mode={"e_tag": tag})
                return now
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(2 * pause, 0.25)
    return None


def _ended(turn: bytes) -> bool:
    """Whether the process whose turn it is is known to be gone."""
    try:
        told = json.loads(turn)
        return has_ended(told["host"], told["process"])
    except (ValueError, KeyError, TypeError):
        return False
