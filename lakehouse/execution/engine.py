"""What an engine is, and who watches it: an engine walks a plan, and knows nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.results import StepResult
from lakehouse.planning.plan import Plan
from lakehouse.planning.steps import Step


class Watcher(Protocol):
    """Is notified of what a run does while it does it. Its methods may be called from several threads."""

    def waiting(self, what: str) -> None:
        """Something slow is awaited before the first step."""
        ...

    def started(self, step: Step) -> None:
        """A step begins."""
        ...

    def finished(self, step: Step, result: StepResult) -> None:
        """A step has ended, well or not."""
        ...


class Silent:
    """A watcher that says nothing."""

    def waiting(self, what: str) -> None:
        """Say nothing."""

    def started(self, step: Step) -> None:
        """Say nothing."""

    def finished(self, step: Step, result: StepResult) -> None:
        """Say nothing."""


class Engine(Protocol):
    """Walks a plan."""

    def execute(self, plan: Plan, home: Home, run: RunInfo, watcher: Watcher) -> Sequence[StepResult]:
        """Do every step of a plan, each after those that it comes after.

        A step that fails doesn't stop those that don't depend on it.

        Raises:
            EngineError: the engine can't be reached or started
        """
        ...
