"""One bad partition is one bad partition: a step that can't be made as a whole is divided until the bad stand alone."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, final

from lakehouse.errors import LakehouseError, PartitionConflict, RowsOutsidePartitions, StepError
from lakehouse.execution.results import StepResult
from lakehouse.partitions import PartitionSet

ALONE: Final = 8
"""So many partitions, from all over the step, are tried by themselves before it is halved. Where none of these can be
made either, all of it is taken to be bad: a mistake in the code costs eight small calls more than it did, and up to
seven bad partitions are told from the others wherever they lie."""

MOST_CALLS: Final = 128
"""So many further calls are made at most. Where ``k`` of ``n`` partitions are bad, about ``2 * k * log2(n / k)`` are
needed; what is not told apart by then fails together."""

_INFRASTRUCTURE = (MemoryError, ConnectionError, TimeoutError, socket.gaierror)


@final
@dataclass(frozen=True)
class Made:
    """Partitions of a step that could be made.

    Parameters:
        result: their outcomes
        well: whether they are what was asked for, be they published or held back by checks
    """

    result: StepResult
    well: bool


@final
@dataclass(frozen=True)
class Bad:
    """Partitions of a step that could not be made, and why."""

    partitions: PartitionSet
    error: LakehouseError


@final
@dataclass(frozen=True)
class Divided:
    """The outcome of a step.

    Parameters:
        results: the outcomes of the partitions that could be made
        bad: those that could not
        error: why it was divided; None: it was not
        calls: how often some of them were tried after the first time
    """

    results: tuple[StepResult, ...]
    bad: tuple[Bad, ...]
    error: LakehouseError | None
    calls: int


def blames_partitions(error: LakehouseError) -> bool:
    """Whether a step may have failed for some of its partitions alone.

    Not where the fault lies in what all of them share: storage and lineage, memory, the network, another run.

    Examples:
        >>> blames_partitions(StepError("there is no file for 2013-01-05"))
        True
        >>> from lakehouse.errors import StorageError
        >>> blames_partitions(StorageError("the bucket can't be reached"))
        False
    """
    causes = list(_causes(error))
    shared = any(isinstance(one, LakehouseError) and not isinstance(one, StepError) for one in causes)
    return not (shared or any(isinstance(one, (*_INFRASTRUCTURE, PartitionConflict)) for one in causes))


def divide(
    make: Callable[[PartitionSet], Made | Bad],
    todo: PartitionSet,
    *,
    may_divide: Callable[[LakehouseError], bool] = lambda _: True,
    seconds: float | None = None,
) -> Divided:
    """Make partitions: all of them together if that goes well, and if not, in parts, down to single ones.

    Parameters:
        make: makes some of them
        todo: which ones
        may_divide: whether what all of them together have failed with is a reason to try parts
        seconds: how long it may take in all; what there is no time for fails with the rest

    Raises:
        LakehouseError: what ``make`` raises for all of them together; of parts, it is what the rest fails with
    """
    search = _Search(make, seconds)
    try:
        search.run(todo, may_divide)
    except LakehouseError as error:
        if search.error is None:
            raise
        made = todo.partitions.union(r.published | r.rejected for r in search.results)
        rest = todo - made - todo.partitions.union(bad.partitions for bad in search.bad)
        if rest:
            search.bad.append(Bad(rest, error))
    return Divided(tuple(search.results), tuple(search.bad), search.error, search.calls - 1)


class _Search:
    """What is found out about a step while it is divided."""

    def __init__(self, make: Callable[[PartitionSet], Made | Bad], seconds: float | None) -> None:
        self._make = make
        self._seconds = seconds
        self._began = time.perf_counter()
        self._each = 0.0  # what a partition took when all were tried together
        self._some_well = self._probed = False
        self.results: list[StepResult] = []
        self.bad: list[Bad] = []
        self.error: LakehouseError | None = None
        self.calls = 0

    def run(self, todo: PartitionSet, may_divide: Callable[[LakehouseError], bool]) -> None:
        """Make partitions, in parts if need be."""
        parts = [todo]
        while parts:
            part = parts.pop()
            if self.error is not None and (self.calls > MOST_CALLS or self._too_late(part)):
                self.bad.append(Bad(part, self.error))
                continue
            first = not self.calls
            bad = self._try(part)
            if first:
                self._each = (time.perf_counter() - self._began) / len(part)
            if bad is None:
                continue
            if len(part) == 1 or (first and not may_divide(bad.error)):
                self.bad.append(bad)
            else:
                parts += self._parts(bad)

    def _parts(self, bad: Bad) -> list[PartitionSet]:
        """The parts that something bad is to be tried in."""
        suspects = bad.error.suspects if isinstance(bad.error, RowsOutsidePartitions) else None
        if suspects and suspects != bad.partitions:
            return [bad.partitions - suspects, suspects]
        if self._some_well or self._probed:
            return _halves(bad.partitions)
        self._probed = True
        rest = bad.partitions
        for number, one in enumerate(_spread(bad.partitions, ALONE)):
            if self._too_late(one):
                break
            rest = rest - one
            worse = self._try(one)
            if worse is not None:
                self.bad.append(worse)
            elif self._some_well:
                # Where all that were tried before it are bad, the rest may be good as a whole.
                return [rest] if number and rest else _halves(rest)
        if rest:
            self.bad.append(Bad(rest, bad.error))
        return []

    def _too_late(self, part: PartitionSet) -> bool:
        taken = time.perf_counter() - self._began
        return self._seconds is not None and taken + self._each * len(part) > self._seconds

    def _try(self, part: PartitionSet) -> Bad | None:
        self.calls += 1
        outcome = self._make(part)
        if isinstance(outcome, Bad):
            self.error = self.error or outcome.error
            return outcome
        self.results.append(outcome.result)
        self._some_well = self._some_well or outcome.well
        return None


def _halves(part: PartitionSet) -> list[PartitionSet]:
    """A set of partitions in two, the first part last."""
    middle = len(part) // 2
    ordinals = list(part.ordinals())
    halves = (ordinals[middle:], ordinals[:middle])
    return [PartitionSet(part.partitions, tuple((o, o + 1) for o in half)) for half in halves if half]


def _spread(part: PartitionSet, number: int) -> Iterator[PartitionSet]:
    """So many single partitions from all over a set, its first and its last among them; all, if there are fewer."""
    ordinals = list(part.ordinals())
    number = min(number, len(ordinals))
    for place in range(number):
        ordinal = ordinals[place * (len(ordinals) - 1) // max(number - 1, 1)]
        yield PartitionSet(part.partitions, ((ordinal, ordinal + 1),))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
