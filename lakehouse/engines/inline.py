"""The plan, step by step in this process, with no orchestrator: for notebooks, tests and debugging."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from lakehouse.plan import Plan, Step
from lakehouse.run import Watcher
from lakehouse.step import Home, RunInfo, StepResult, run_step


@final
@dataclass(frozen=True)
class InlineEngine:
    """Does one step after the other. Retries as assets say; timeouts need an orchestrator and don't count here.

    Parameters:
        sleep: how to wait between attempts, in seconds
    """

    sleep: Callable[[float], None] = time.sleep
    name: str = "inline"

    def execute(self, plan: Plan, home: Home, run: RunInfo, watcher: Watcher) -> Sequence[StepResult]:
        """Do every step; see [Engine.execute][]."""
        results: dict[str, StepResult] = {}
        for step in plan.steps:
            watcher.started(step)
            results[step.id] = self._do(step, home, run, [results[i] for i in step.after])
            watcher.finished(step, results[step.id])
        return list(results.values())

    def _do(self, step: Step, home: Home, run: RunInfo, upstream: list[StepResult]) -> StepResult:
        tries = step.asset.retry.times + 1
        for attempt in range(1, tries + 1):
            try:
                return run_step(step, home, run, upstream, attempt=attempt)
            except Exception as error:
                if attempt == tries:
                    return StepResult.of_failure(step, error)
                self.sleep(step.asset.retry.delay)
        raise AssertionError("unreachable: the last attempt returns")
