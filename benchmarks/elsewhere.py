"""What a step in a Prefect work pool costs beyond Prefect's own start of a process: a real server, a real worker.

    python benchmarks/elsewhere.py

One step of one row, several times. Its time is cut where Prefect's part begins and ends, by what both ends write down:
until the flow run is created (ours), until the process reads its order (Prefect, and the process' start), until the
manifest is written (ours), until Prefect knows that the run has ended (Prefect), and until the step is published
(ours). What is ours, less what the same step takes here, and less what a new process needs to import what the function
uses, is the overhead. `--smoke` calls the function in this process.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from lakehouse.compute.order import Order, read_manifest
from lakehouse.definitions.compute import WorkPool
from lakehouse.execution.carry_out import InThisProcess
from lakehouse.io.layout import MANIFEST, staged_folder
from lakehouse.testing.places import PlacedLakehouse, numbers, script_in

PARTS = (
    "order and submission",
    "Prefect and the process start",
    "the other end",
    "Prefect ends it",
    "noticing, taking over",
)
OURS = (0, 2, 4)

IMPORTS = """
import lakehouse.integrations.prefect.orders
import time
began = time.perf_counter()
import lakehouse.testing.places, lakehouse.io.delta, lakehouse.checks.placement, lakehouse.execution.candidate
print(time.perf_counter() - began)
"""
"""What the other end imports once it has read its order: the assets' module, and what computes and stages rows."""


@dataclass
class Timed:
    """A place that takes the time of each order, by the clock of the machine."""

    place: Any
    ended: Callable[[str], tuple[float, float]]
    shared: bool = False
    seconds: float = 600.0
    pending: float = 300.0
    moments: list[float] = field(default_factory=list)

    def carry_out(self, order: Order, stop: Any) -> None:
        """Have it done, and see what both ends have written down of it."""
        self.place.carry_out(order, stop)
        file = Path(order.asset.table.removeprefix("file://"), staged_folder(order.attempt), MANIFEST)
        begun = read_manifest(file.read_bytes(), str(file)).begun.timestamp()
        written = file.stat().st_mtime
        created, ended = self.ended(order.title)
        self.moments = [created or begun, begun, written, ended or written]


def measured(folder: Path, place: Any, number: int) -> list[list[float]]:
    """Seconds of each part of a step, so many times; where it is made here, of the whole."""
    found = []
    for i in range(number + 1):
        lake = PlacedLakehouse([numbers], storage=str(folder / f"{i}"), lineage=f"sqlite:///{folder}/{i}.db")
        lake.elsewhere = place
        with script_in(folder, {}):
            began = time.time()
            lake.materialize("bronze.numbers", "2013-01-02", engine="inline")
            done = time.time()
        if i:  # the first one opens what is opened once
            moments = [began, *place.moments, done] if place else [began, done]
            found.append([later - earlier for earlier, later in pairwise(moments)])
    return found


@contextmanager
def pool(folder: Path) -> Iterator[str]:
    """The name of a pool with a worker, at a server of its own."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.workers.process import ProcessWorker

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    database = {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db"}
    os.environ |= {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-P", "-m", "prefect"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "server", "start", "--port", str(port)], stdout=log, stderr=log, env=os.environ | database
        )
        worker = None
        try:
            with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
                deadline = time.monotonic() + 300
                while client.api_healthcheck() is not None:
                    if time.monotonic() > deadline:
                        raise TimeoutError((folder / "log").read_text()[-2000:])
                    time.sleep(0.5)
                template = ProcessWorker.get_default_base_job_template()
                client.create_work_pool(WorkPoolCreate(name="here", type="process", base_job_template=template))
                worker = subprocess.Popen(
                    [*command, "worker", "start", "--pool", "here"], stdout=log, stderr=log, env=os.environ
                )
                yield "here"
        finally:
            for process in (worker, server):
                if process is not None:
                    process.terminate()
                    process.wait(60)


def from_prefect(title: str) -> tuple[float, float]:
    """When the newest flow run of a name was created, and when Prefect knew that it had ended."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    def seconds(moment: datetime | None) -> float:
        return moment.timestamp() if moment else 0.0

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=5)
        run = next(one for one in runs if one.name == title)
        return seconds(run.created), seconds(run.end_time)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="once, without a server")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, imports = Path(name), 0.0
        for one in ("here", "there", "prefect"):
            (folder / one).mkdir()
        repeats = 1 if given.smoke else given.repeats
        here = median(sum(parts) for parts in measured(folder / "here", None, repeats))
        if given.smoke:
            runs = measured(folder / "there", Timed(InThisProcess(), lambda _: (0.0, 0.0)), repeats)
        else:
            from lakehouse.integrations.prefect.work_pool import PrefectWorkPool

            with pool(folder / "prefect") as its:
                runs = measured(folder / "there", Timed(PrefectWorkPool(WorkPool(its)), from_prefect), repeats)
                started = [subprocess.check_output([sys.executable, "-P", "-c", IMPORTS]) for _ in range(repeats)]
                imports = median(map(float, started))
    print("| part of a step in a work pool, seconds | median | least | most |\n| --- | --: | --: | --: |")
    for i, part in enumerate(PARTS):
        taken = [parts[i] for parts in runs]
        print(f"| {part} | {median(taken):.2f} | {min(taken):.2f} | {max(taken):.2f} |")
    ours = [sum(parts[i] for i in OURS) - here - imports for parts in runs]
    print(f"| the same step here | {here:.2f} | | |\n| imports of a new process | {imports:.2f} | | |")
    print(f"| **overhead**: ours, less these two | {median(ours):.2f} | {min(ours):.2f} | {max(ours):.2f} |")


if __name__ == "__main__":
    main()
