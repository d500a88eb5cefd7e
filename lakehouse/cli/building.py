"""Commands that build: what was asked for, the run with its progress, and what is said at the end."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, final

from lakehouse.cli.failures import ExitCode, complain, wants_traceback, write_traceback
from lakehouse.definitions.asset import Layer
from lakehouse.display.formatting import command, count, options
from lakehouse.display.page import Page
from lakehouse.display.plans import not_planned, up_to_date
from lakehouse.display.progress import Progress, progress
from lakehouse.display.runs import mending, published, unpublished
from lakehouse.execution.engine import Engine, Watcher
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.results import StepResult
from lakehouse.execution.run import Run
from lakehouse.partitions import PartitionSet, Unpartitioned
from lakehouse.planning.plan import Plan
from lakehouse.planning.request import Request

if TYPE_CHECKING:
    from lakehouse.engines import EngineName
    from lakehouse.lake import Lakehouse

_RANGES = 6
_FAREWELL = 2.0
"""Seconds for a temporary server to be asked to stop: the first thing that happens at an exit."""


@final
@dataclass(frozen=True)
class Command:
    """A command that builds: what was asked for, and how it is done.

    Parameters:
        request: what was asked for
        engine: what runs it
        runner: where Prefect runs the steps
        parallel: chunks side by side, in a backfill
    """

    request: Request
    engine: EngineName | None = None
    runner: str | None = None
    parallel: int | None = None

    def text(self) -> str:
        """The command line that asks for it."""
        request = self.request
        words = ["lakehouse", request.verb, str(request.targets)]
        if request.partitions is not None:
            words += options(request.partitions)
        if request.upstream != "missing":
            words += ["--upstream", request.upstream]
        if request.chunk is not None:
            words += ["--chunk", str(request.chunk)]
        if self.engine is not None:
            words += ["--engine", self.engine]
        if self.runner is not None:
            words += ["--runner", self.runner]
        if self.parallel is not None:
            words += ["--parallel", str(self.parallel)]
        return command(*words)


def build(lake: Lakehouse, asked: Command) -> ExitCode:
    """Do what was asked for, and report it: progress and failures on standard error, results on standard output."""
    out, err = Page(sys.stdout), Page(sys.stderr)
    shown = progress(err)

    def interrupted() -> None:
        kept = f"published so far, and kept: {count(shown.published, 'partition')}"
        complain(err, f"interrupted; {kept}; nothing is half done", word="")
        err.print(mending([("this goes on with the rest", _again(asked).text())]))

    engine = _Engine(
        asked.engine or lake.settings.engine,
        asked.parallel or lake.settings.workers,
        lake.settings.runner if asked.runner is None else asked.runner,
        shown,
        lake.computes,
    )
    try:
        with _Interrupts(shown, interrupted), shown:
            run = lake.run(asked.request, engine=engine, raise_on_failure=False, watcher=shown)
    except KeyboardInterrupt:
        interrupted()
        return ExitCode.INTERRUPTED
    out.print(published(run, lake.lineage_store.uri, wide=out.wide) if run.plan else up_to_date(run.plan))
    for part in not_planned(run.plan):
        err.print(part)
    if run.ok:
        return ExitCode.WAITING if run.waiting else ExitCode.WELL
    if run.cause is not None and wants_traceback():
        write_traceback(err, run.cause)
    if not all(result.ok for result in run.results):
        err.print(unpublished(run, mend(lake, asked, run)))
    return ExitCode.FAILED


def mend(lake: Lakehouse, asked: Command, run: Run) -> list[tuple[str, str]]:
    """The commands that mend a run once its cause is repaired, each with the case that it is for.

    A repaired function, check or connection needs no more than a refresh. A repaired source is read again only if
    its Bronze is: that was published, so a refresh would leave it.
    """
    request = asked.request
    again = _again(asked)
    if request.verb == "backfill":
        again = replace(again, request=replace(request, partitions=_absent(run) or request.partitions))
    left = lake.plan_for(again.request)
    absent = {one.asset.key: one.failed | one.rejected | one.skipped for one in run.summaries()}
    planned = {asset.key: left.partitions(asset) for asset in left.assets}
    if any(part - planned.get(key, part.partitions.empty()) for key, part in absent.items()):
        # It was built before and is still there in its old form, which a refresh takes for well.
        again = replace(asked, request=replace(request, verb="materialize"), parallel=None)
    apart = [one for one in run.summaries() if one.apart]
    commands = []
    if any(absent.values()) or not apart:
        commands.append(("after the repair, this builds what is missing", again.text()))
    sources = _sources(lake, run)
    if sources:
        when = "or, if the source itself was repaired, this reads it again and builds what is made from it"
        commands.append((when, _downstream(asked, *sources)))
    for one in apart:
        # It is published without these rows, which a refresh takes for well.
        when = f"after the repair of {one.asset.key}, this builds it again, with what is made from it"
        commands.append((when, _downstream(asked, [one.asset.key], one.published)))
    return commands


def _downstream(asked: Command, keys: Sequence[str], part: PartitionSet) -> str:
    """The command that builds some partitions of assets again, and what is made from them."""
    which = part if _few(part) else asked.request.partitions
    request = replace(
        asked.request,
        verb="materialize",
        targets=" ".join(f"{key}+" for key in keys),
        partitions=None if isinstance(part.partitions, Unpartitioned) else which,
        upstream="missing",
    )
    return replace(asked, request=request, parallel=None).text()


def _again(asked: Command) -> Command:
    """What goes on with a request: it builds what is missing, and leaves what is there."""
    goes_on = asked.request.verb == "materialize"
    return replace(asked, request=replace(asked.request, verb="refresh")) if goes_on else asked


def _few(part: PartitionSet) -> bool:
    """Whether a command line has room for some partitions."""
    return 0 < len(part.ranges) <= _RANGES and len(options(part)) <= 2 * _RANGES


def _absent(run: Run) -> PartitionSet | None:
    """The partitions of the targets that are not published; None: there are none, or more than a few ranges."""
    known = [one for one in run.summaries() if one.asset in run.plan.targets and one.asset.partitioned]
    if len({one.asset.partitions.domain for one in known}) != 1:
        return None
    absent = known[0].asset.partitions.union(part for one in known for part in (one.failed, one.rejected, one.skipped))
    return absent if _few(absent) else None


def _sources(lake: Lakehouse, run: Run) -> tuple[list[str], PartitionSet] | None:
    """The Bronze behind what was held back above it, and which partitions, if any of it is partitioned alike."""
    for one in run.summaries():
        if not one.rejected or one.asset.layer is Layer.BRONZE:
            continue
        behind = [a for a in lake.graph.ancestors(one.asset) if a.layer is Layer.BRONZE]
        alike = [a for a in behind if a.partitions.domain == one.asset.partitions.domain]
        if alike:
            return [asset.key for asset in alike], one.rejected
    return None


@final
class _Engine:
    """The engine that was chosen, opened once there is something to do: Prefect takes seconds to load."""

    def __init__(
        self, name: EngineName, workers: int, runner: str, shown: Progress, places: Mapping[str, object]
    ) -> None:
        self.places = places
        self.name = name
        self.workers = workers
        self.runner = runner
        self.shown = shown

    def execute(self, plan: Plan, home: Home, run: RunInfo, watcher: Watcher) -> Sequence[StepResult]:
        """Show the plan, then walk it."""
        self.shown.planned(plan, self.places)
        return self._open().execute(plan, home, run, watcher)

    def _open(self) -> Engine:
        from lakehouse.engines import open_engine

        if self.name == "prefect":
            self.shown.waiting("Prefect to load")
            # Its log goes to its API; on the screen it would tear up the progress, which tells the same.
            os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
            from lakehouse.integrations.prefect.logs import show_prints

            show_prints()
        return open_engine(self.name, self.workers, self.runner)


@final
class _Interrupts:
    """Ctrl-C stops a run after the steps that are under way; a second one doesn't wait for them.

    Parameters:
        shown: is notified that the run stops
        last_words: what is said before the process ends at once
    """

    def __init__(self, shown: Progress, last_words: Callable[[], None]) -> None:
        self.shown = shown
        self.last_words = last_words
        self.number = 0
        self._ours = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._ours:
            self._before = signal.signal(signal.SIGINT, self._stop)

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.number += 1
        if self.number > 1:
            self._leave()
        # It may have interrupted a write to the very stream that this writes to.
        with contextlib.suppress(RuntimeError):
            self.shown.stopping()
        raise KeyboardInterrupt

    def _leave(self) -> NoReturn:
        """End the process without waiting for its threads, but not without stopping a server that it started."""
        try:
            self.shown.__exit__(None, None, None)
            self.last_words()
            farewell = threading.Thread(target=atexit._run_exitfuncs, daemon=True)
            farewell.start()
            farewell.join(_FAREWELL)
        finally:
            os._exit(ExitCode.INTERRUPTED)
