"""The plan, step by step in this process, with no orchestrator: for notebooks, tests and debugging."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from lakehouse.execution.batch import patience, run_batch
from lakehouse.execution.engine import Watcher
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.queue import Queue
from lakehouse.execution.results import StepResult
from lakehouse.planning.batches import StepBatch
from lakehouse.planning.plan import Plan


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
        queue = Queue(plan.batches)
        while queue:
            batch = queue.pop()
            for step in batch.steps:
                watcher.started(step)
            upstream = [results[i] for step in batch.steps for i in step.after if i in results]
            for step, result in zip(batch.steps, self._do(batch, home, run, upstream), strict=True):
                results[step.id] = result
                watcher.finished(step, result)
            queue.ended(batch)
        return [results[step.id] for step in plan.steps]

    def _do(self, batch: StepBatch, home: Home, run: RunInfo, upstream: list[StepResult]) -> list[StepResult]:
        retry = patience(batch)
        for attempt in range(1, retry.times + 2):
            try:
                return run_batch(batch, home, run, upstream, attempt=attempt)
            except Exception as error:
                if attempt > retry.times or not getattr(error, "retryable", True):
                    return [StepResult.of_failure(step, error) for step in batch.steps]
                self.sleep(retry.delay)
        raise AssertionError("unreachable: the last attempt returns")
