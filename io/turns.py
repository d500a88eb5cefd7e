"""Whoever publishes to a table waits for its turn, as far as it can be known who else does: what waits in line needn't
race in storage, where all but one have to begin again.

Nothing depends on it: a table's log alone decides who was first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lakehouse.io.storage import Location

_PATIENCE = 10.0
"""Seconds that another process is waited for, at most: one that hangs doesn't stop the others."""

_locks: dict[str, threading.Lock] = {}
_guard = threading.Lock()


@contextmanager
def in_turn(table: Location) -> Iterator[None]:
    """Wait until no other thread of this process publishes to a table nor, on disk, another process of this host."""
    with _guard:
        lock = _locks.setdefault(table.uri, threading.Lock())
    with lock:
        folder = None if table.path is None else _lock(str(table.path))
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
