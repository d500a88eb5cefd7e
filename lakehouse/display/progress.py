"""What a run does while it does it: lines that move on a terminal, lines that stay anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, Self, final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lakehouse.display.formatting import FAILED, HELD, PUBLISHED, QUIET, count, left, named, seconds
from lakehouse.display.page import Page
from lakehouse.errors import shorten
from lakehouse.execution.engine import Watcher
from lakehouse.execution.results import StepResult
from lakehouse.planning.plan import Plan
from lakehouse.planning.steps import Step

NOWHERE_ELSE: Final[Mapping[str, object]] = MappingProxyType({})
"""All is made here."""

_BAR = 20
_WORTH_SAYING = 10.0  # seconds that are left


class Progress(Watcher, Protocol):
    """A watcher that shows what it is notified of, from `with` to its end, and knows the plan."""

    published: int
    """Partitions that were published so far."""

    def planned(self, plan: Plan, places: Mapping[str, object] = NOWHERE_ELSE) -> None:
        """This is what will be done, and where: by key, the places of assets that aren't made here."""
        ...

    def stopping(self) -> None:
        """The run was interrupted, and waits for the steps that are under way."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@final
class Estimate:
    """How long a run will still take, going by the steps that have ended.

    A partition of an asset takes as long as others of it did; one of an asset of which none has ended counts as the
    average step. So many steps are done side by side as were so far. Between two ends it counts down: a step that
    is still under way says nothing new.

    Parameters:
        plan: what is to be done
        clock: says how late it is, in seconds
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._enough = max(3, len(plan.assets))
        self._ended = 0
        self._end: tuple[float, float | None] = (0.0, None)
        """When the last step ended, and what was left then."""
        self._costs = {asset.key: _Cost() for asset in plan.assets}
        for step in plan.steps:
            self._costs[step.asset.key].steps += 1
            self._costs[step.asset.key].partitions += len(step.partitions)

    def started(self) -> None:
        """A step has begun."""
        if self._began is None:
            self._began = self._clock()

    def ended(self, step: Step, result: StepResult) -> None:
        """A step has ended. One that published nothing says nothing of how long others take."""
        cost = self._costs[step.asset.key]
        cost.steps -= 1
        cost.partitions -= len(step.partitions)
        if result.published:
            cost.spent += result.seconds
            cost.done += len(step.partitions)
            self._ended += 1
        now = self._clock()
        self._end = (now, self._rest(now))

    def left(self) -> float | None:
        """Seconds; None: too little is known, or nothing is left."""
        when, rest = self._end
        return None if rest is None else max(rest - (self._clock() - when), 0.0)

    def _rest(self, now: float) -> float | None:
        costs = self._costs.values()
        spent = sum(cost.spent for cost in costs)
        if self._began is None or self._ended < self._enough or not spent or not any(cost.steps for cost in costs):
            return None
        average = spent / self._ended
        rest = sum(c.spent / c.done * c.partitions if c.done else average * c.steps for c in costs)
        return (now - self._began) * rest / spent


@dataclass
class _Cost:
    """What an asset has cost, and how much of it is to come."""

    steps: int = 0
    partitions: int = 0
    done: int = 0
    spent: float = 0.0


def progress(page: Page) -> Progress:
    """What suits the page.

    Parameters:
        page: where to show it
    """
    return LiveProgress(page) if page.live else PlainProgress(page)


@final
class PlainProgress(Progress):
    """A line for each step that has ended, and in a long run now and then one that says how long it will still take.

    Parameters:
        page: where to write
        clock: says how late it is, in seconds
    """

    def __init__(self, page: Page, clock: Callable[[], float] = time.monotonic) -> None:
        self.page = page
        self.published = 0
        self.total = 0
        self.ended = 0
        self.tenth = 0
        self.clock = clock
        self.places = NOWHERE_ELSE
        self.estimate: Estimate | None = None
        self._lock = threading.RLock()

    def planned(self, plan: Plan, places: Mapping[str, object] = NOWHERE_ELSE) -> None:
        self.places = places
        self.total = len(plan)
        self.estimate = Estimate(plan, self.clock)
        partitions = sum(len(step.partitions) for step in plan.steps)
        self._say(
            f"building {count(partitions, 'partition')} of {count(len(plan.assets), 'asset')} "
            f"in {count(len(plan), 'step')}"
        )
        for place in dict.fromkeys(str(places[asset.key]) for asset in plan.assets if asset.key in places):
            there = [asset.key for asset in plan.assets if str(places.get(asset.key)) == place]
            self._say(f"in {place}: {shorten(there)}")

    def waiting(self, what: str) -> None:
        self._say(f"waiting for {what}")

    def started(self, step: Step) -> None:
        """Say nothing: what counts is how it ends."""
        if self.estimate:
            self.estimate.started()

    def finished(self, step: Step, result: StepResult) -> None:
        with self._lock:
            self.ended += 1
            self.published += len(result.published)
            width = len(str(self.total))
            what = named(step.asset.key, step.partitions)
            place = self.places.get(step.asset.key)
            where = "" if place is None else f" (in {place})"
            self.page.write(f"[{self.ended:>{width}}/{self.total}] {what}: {outcome(result)}{where}\n")
            self._look_ahead(step, result)

    def _look_ahead(self, step: Step, result: StepResult) -> None:
        if self.estimate is None:
            return
        self.estimate.ended(step, result)
        tenth, rest = 10 * self.ended // self.total, self.estimate.left()
        if rest is not None and rest >= _WORTH_SAYING and tenth > self.tenth:
            self.tenth = tenth
            self._say(f"{100 * self.ended // self.total}% done, {left(rest)}")

    def stopping(self) -> None:
        self._say("stopping: waiting for the steps that are under way")

    def _say(self, text: str) -> None:
        with self._lock:
            self.page.write(f"{text}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@dataclass
class _Line:
    """What an asset's line shows."""

    key: str
    total: int
    where: str = ""
    done: int = 0
    running: int = 0
    rows: int = 0
    bad: dict[str, int] = field(default_factory=dict)


@final
class LiveProgress(Progress):
    """A line for each asset with a bar of its partitions, drawn over until the run has ended."""

    def __init__(self, page: Page) -> None:
        self.console = page.console
        self.published = 0
        self.lines: dict[str, _Line] = {}
        self.estimate: Estimate | None = None
        self.awaited: str | None = "looking at what is there"
        self.began = time.monotonic()
        self.spinner = Spinner("dots")
        self._lock = threading.RLock()
        self._live = Live(self, console=self.console, refresh_per_second=8, transient=True)

    def planned(self, plan: Plan, places: Mapping[str, object] = NOWHERE_ELSE) -> None:
        with self._lock:
            self.estimate = Estimate(plan)
            for asset in plan.assets:
                where = str(places.get(asset.key, ""))
                self.lines[asset.key] = _Line(asset.key, len(plan.partitions(asset)), where)

    def waiting(self, what: str) -> None:
        with self._lock:
            self.awaited = f"waiting for {what}"
            self.began = time.monotonic()

    def started(self, step: Step) -> None:
        with self._lock:
            if self.awaited:
                self.awaited = None
                self.began = time.monotonic()
            self.lines[step.asset.key].running += 1
            if self.estimate:
                self.estimate.started()

    def finished(self, step: Step, result: StepResult) -> None:
        with self._lock:
            line = self.lines[step.asset.key]
            line.running -= 1
            line.done += len(step.partitions)
            line.rows += result.rows
            self.published += len(result.published)
            if self.estimate:
                self.estimate.ended(step, result)
            for word, part in (("held back", result.rejected), ("failed", result.failed), ("skipped", result.skipped)):
                if part:
                    line.bad[word] = line.bad.get(word, 0) + len(part)

    def stopping(self) -> None:
        self.waiting("the steps that are under way, then stopping (Ctrl-C again: at once)")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        with self._lock:
            lines = list(self.lines.values())
            shown, hidden = _fitting(lines, console.height - 5)
            table = Table.grid(padding=(0, 2, 0, 0))
            for _ in range(2):
                table.add_column(no_wrap=True)
            table.add_column(justify="right", no_wrap=True)
            table.add_column(justify="right", no_wrap=True)
            table.add_column(no_wrap=True, overflow="ellipsis")
            for line in shown:
                table.add_row(*_cells(line))
            passed = time.monotonic() - self.began
            done, total = sum(line.done for line in lines), sum(line.total for line in lines)
            what = self.awaited or f"{done:,} of {count(total, 'partition')}"
            rest = None if self.awaited or self.estimate is None else self.estimate.left()
        if lines:
            yield table
        if hidden:
            yield Text(f"and {count(hidden, 'more asset')}", QUIET)
        clock = f"{passed:.0f} s" if passed < 60 else seconds(passed)
        self.spinner.update(
            text=Text(
                f"{what}  {clock}" + (f"  {left(rest)}" if rest is not None else ""), "" if self.awaited else QUIET
            )
        )
        yield self.spinner


def _fitting(lines: list[_Line], room: int) -> tuple[list[_Line], int]:
    """The lines that there is room for: those that are at work or in trouble before all others."""
    if len(lines) <= room:
        return lines, 0
    chosen = sorted(lines, key=lambda line: (not line.running, not line.bad, line.done >= line.total))[: max(room, 1)]
    return [line for line in lines if line in chosen], len(lines) - len(chosen)


def _cells(line: _Line) -> tuple[RenderableType, ...]:
    colour = FAILED if "failed" in line.bad else HELD if line.bad else PUBLISHED
    ended = line.done >= line.total
    words = ", ".join(f"{number:,} {word}" for word, number in line.bad.items())
    where = f"in {line.where}" if line.where and line.running else ""
    return (
        Text(line.key, "" if line.running or ended else QUIET),
        ProgressBar(
            total=line.total,
            completed=line.done,
            width=_BAR,
            pulse=bool(line.running) and not line.done,
            complete_style=colour,
            finished_style=colour,
        ),
        Text(f"{line.done:,}/{line.total:,}", QUIET if not line.done else ""),
        Text(count(line.rows, "row") if line.done else ""),
        Text(words, colour) if line.bad else Text(where, QUIET),
    )


def outcome(result: StepResult) -> str:
    """The outcome of a step, in a line."""
    found = []
    if result.published:
        same = ", the same as before" if result.unchanged == result.published else ""
        found.append(f"published {count(result.rows, 'row')} in {seconds(result.seconds)}{same}")
    if result.current:
        found.append(f"left {count(len(result.current), 'partition')} as before: no input has changed")
    for word, part in (("held back", result.rejected), ("failed", result.failed), ("skipped", result.skipped)):
        if part:
            found.append(f"{word} {count(len(part), 'partition')}")
    why = f" ({_line(result.error)})" if result.error else ""
    return "; ".join(found) + why


def _line(text: str) -> str:
    return " ".join(text.split())
