"""Waiting for what somebody else writes down: a server, a worker, a child process."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter
from prefect.client.schemas.objects import Log, TaskRun
from prefect.logging.handlers import APILogWorker

T = TypeVar("T")


def eventually(
    look: Callable[[], T | None],
    holds: Callable[[T], object] = bool,
    what: str = "it",
    *,
    seconds: float = 180,
    every: float = 0.1,
    told: Callable[[], str] = str,
) -> T:
    """What a look finds, once it holds; the test fails where it never does.

    Parameters:
        look: Asked again and again.
        holds: Whether what was found will do, if it is not None: by default, whether there is something.
        what: What is waited for, for the failure.
        seconds: How long; far more than an idle machine needs, for a busy one is no fault.
        every: Seconds between two looks.
        told: What else the failure says, such as the end of a log.
    """
    end = time.monotonic() + seconds
    while (found := look()) is None or not holds(found):
        if time.monotonic() > end:
            pytest.fail(f"waited in vain for {what}; last found {found!r}\n{told()}")
        time.sleep(every)
    return found


def end(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Ask a process to end, and end it where it doesn't in time: the next test is not to find it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def task_runs(client: SyncPrefectClient, flow_run: object, names: Iterable[str]) -> dict[str, TaskRun]:
    """The task runs of a flow run by name, once the server has written down how each of these ended.

    It is told of them by events, which it takes in when it gets to it.
    """
    only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))  # type: ignore[list-item]
    wanted = set(names)

    def look() -> dict[str, TaskRun]:
        return {run.name: run for run in client.read_task_runs(flow_run_filter=only)}

    def ended(found: dict[str, TaskRun]) -> bool:
        known = (found[name].state for name in wanted & found.keys())
        return wanted <= found.keys() and all(state is not None and state.is_final() for state in known)

    return eventually(look, ended, f"the task runs {sorted(wanted)}")


def logs(client: SyncPrefectClient, which: LogFilter, *texts: str) -> list[Log]:
    """What was logged, once each of these texts stands in it: processes send what they log in batches."""
    APILogWorker.drain_all()

    def holds(found: list[Log]) -> bool:
        whole = "\n".join(log.message for log in found)
        return all(text in whole for text in texts)

    return eventually(lambda: client.read_logs(which, limit=200), holds, f"{texts} in the log")
