"""A process of its own on this machine: its memory goes with it, and what kills it kills nobody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Final, final

from lakehouse.compute.order import Order
from lakehouse.compute.place import Stop
from lakehouse.errors import ComputeCancelled, ComputeError
from lakehouse.redaction import logger

_GRACE = 10.0
"""Seconds after the deadline, by which the process has to have ended by itself."""

_PATIENCE = 5.0
"""Seconds that it is given to end when it is told to."""

_POLL = 0.05

_START: Final = (
    "import json, sys; given = json.load(sys.stdin); sys.path[:] = given['path']; "
    "from lakehouse.execution.carry_out import carry_out_alone; carry_out_alone(given['order'], given['options'])"
)
"""It finds the modules that this process finds."""


@final
@dataclass(frozen=True)
class OwnProcess:
    """Carries out each order in a process of its own.

    Parameters:
        options: more for the storage libraries, by object_store's names
        env: more variables of its environment
        seconds: how long an order may take
    """

    options: Mapping[str, str] | None = field(default=None, repr=False)
    env: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 6 * 3600.0
    shared: bool = False
    pending: float = 0.0

    def carry_out(self, order: Order, stop: Stop) -> None:
        """See [lakehouse.compute.place.Place][]."""
        # Options may be secrets, and others see a process' arguments: these go through its standard input.
        given = {"order": order.uri, "options": dict(self.options or {}), "path": sys.path}
        with tempfile.TemporaryFile() as said:
            with _running(given, os.environ | self.env, said) as process:
                self._await(order, process, stop)
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
        for line in lines:
            logger(f"lakehouse.{order.asset.key}").info("%s", line)
        if process.returncode:
            raise ComputeError(f"{order.title}: its process {_ended(process.returncode)}{_last(lines)}")

    def _await(self, order: Order, process: subprocess.Popen[bytes], stop: Stop) -> None:
        while process.poll() is None:
            why = stop.wait(_POLL)
            if why is not None:
                raise ComputeCancelled(f"{order.title}: its process was ended: {why}")
            if (datetime.now(UTC) - order.deadline).total_seconds() > _GRACE:
                raise ComputeError(f"{order.title}: its process was ended: it was not done by its deadline")

    def __str__(self) -> str:
        return "a process of its own"


@contextmanager
def _running(
    given: Mapping[str, object], environment: Mapping[str, str], said: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries out an order; it is ended where nobody waits for it any more."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # Ctrl-C is for this process, which tells that one
    )
    try:
        assert process.stdin is not None
        with process.stdin, suppress(BrokenPipeError):
            process.stdin.write(json.dumps(given).encode())
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        end = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < end:
            time.sleep(_POLL)
    if process.poll() is None:
        process.kill()
        process.wait()


def _ended(status: int) -> str:
    """How a process ended, in words."""
    if status > 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (", as a system does that is out of memory" if name == "SIGKILL" else "")


def _last(lines: list[str]) -> str:
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; it said last: {said:.300}" if said else ""
