"""What its inputs allow of a step, known before anything of it is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from lakehouse.execution.results import StepResult
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Input, Step

Results = Mapping[str, StepResult]
"""The outcomes of a run's steps so far, by their ids."""


def makers(given: Input, results: Results) -> list[StepResult]:
    """The outcomes of the steps that make an input in this run."""
    return [results[step] for step in given.steps if step in results]


@final
@dataclass(frozen=True)
class Outlook:
    """What is to be done of a step, after the steps before it have ended.

    Parameters:
        todo: what is to be made
        blocked: what can't be, because an input of it was to be made in this run and was not; why: which input
        current: what stays as it is: it was to be made if an input of it changed, and none did
    """

    todo: PartitionSet
    blocked: PartitionSet
    current: PartitionSet
    why: str = ""

    @classmethod
    def of(cls, step: Step, results: Results) -> Outlook:
        """The outlook for a step.

        Parameters:
            step: the step
            results: the outcomes of the steps that it comes after
        """
        blocked, why = _blocked(step, results)
        maybe = step.maybe - blocked
        current = maybe - _touched(step, results) if maybe else maybe
        return cls(step.partitions - blocked - current, blocked, current, why)


def _blocked(step: Step, results: Results) -> tuple[PartitionSet, str]:
    """The partitions whose inputs were to be made in this run and were not, and why."""
    blocked = step.asset.partitions.empty()
    reasons = []
    for given in step.inputs:
        absent = given.asset.partitions.union(made.absent & given.partitions for made in makers(given, results))
        hit = step.mapping(given).downstream(absent) & step.partitions if absent else None
        if hit:
            blocked = blocked | hit
            reasons.append(f"its input {given.asset.key} {absent}".rstrip() + " was not published")
    return blocked, "; ".join(reasons)


def _touched(step: Step, results: Results) -> PartitionSet:
    """The partitions of which an input has other rows now than before the run."""
    touched = step.asset.partitions.empty()
    for given in step.inputs:
        changed = given.asset.partitions.union(made.changed & given.partitions for made in makers(given, results))
        touched = touched | step.mapping(given).downstream(changed)
    return touched
