"""Which process somebody is, so that others can tell whether it is still there."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def host() -> str:
    """The name of this machine, or container."""
    return platform.node()


def this_process() -> str:
    """What tells this process from all others of the machine, also from those in containers that bear its name."""
    space = Path("/proc/self/ns/pid")
    return f"{space.stat().st_ino}/{os.getpid()}" if space.exists() else str(os.getpid())


def has_ended(on: str, process: str) -> bool:
    """Whether a process is known to have ended: one of this very machine.

    Parameters:
        on: its [host][]
        process: what [this_process][] said there

    Examples:
        >>> has_ended(host(), this_process()), has_ended("elsewhere", "7")
        (False, False)
    """
    space, _, number = process.rpartition("/")
    if on != host() or space != this_process().rpartition("/")[0] or os.name != "posix":
        return False
    try:
        os.kill(int(number), 0)
        # One that was killed is listed until its parent asks for it, which in a container may be never.
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except ProcessLookupError:
        return True
    except OSError:
        return False
