"""Step batches: the steps that one builder computes in one go, such as dbt's models of a chunk."""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from lakehouse.planning.steps import Step


@final
@dataclass(frozen=True)
class StepBatch:
    """Steps that are done in one go, producers first: one step, or several that share a builder and a chunk.

    Parameters:
        id: unique in its plan
        steps: the steps
        after: ids of the batches that have to come first
    """

    id: str
    steps: tuple[Step, ...]
    after: tuple[str, ...]


def make_batches(steps: Sequence[Step]) -> tuple[StepBatch, ...]:
    """Group what one builder makes of one chunk, as far as nothing in between has to be done by another."""
    try:
        return _grouped(steps, _turns(steps))
    except graphlib.CycleError:
        # Makers that feed each other to and fro: by depth there are more groups, but never a circle of them.
        return _grouped(steps, _depths(steps))


def _turns(steps: Sequence[Step]) -> dict[str, int]:
    """How often a step's own kind was left and entered again on the way to it."""
    known = {step.id: step for step in steps}
    rounds: dict[str, dict[Any, int]] = {}
    turns: dict[str, int] = {}
    for step in steps:
        kind = _kind(step)
        seen: dict[Any, int] = {}
        turn = 0
        for source in step.after:
            for other, count in rounds[source].items():
                seen[other] = max(seen.get(other, 0), count)
            back = rounds[source].get(kind)
            if back is not None:
                turn = max(turn, back if _kind(known[source]) == kind else back + 1)
        if step.asset.builder is not None:
            seen[kind] = max(seen.get(kind, 0), turn)
        rounds[step.id] = seen
        turns[step.id] = turn
    return turns


def _depths(steps: Sequence[Step]) -> dict[str, int]:
    """How many changes of kind there are at most on the way to a step: more with every arrow between two kinds."""
    known = {step.id: step for step in steps}
    depths: dict[str, int] = {}
    for step in steps:
        kind = _kind(step)
        depths[step.id] = max((depths[i] + (_kind(known[i]) != kind) for i in step.after), default=0)
    return depths


def _grouped(steps: Sequence[Step], turns: Mapping[str, int]) -> tuple[StepBatch, ...]:
    groups: dict[Any, list[Step]] = {}
    batch_of = {step.id: (_kind(step), turns[step.id] if step.asset.builder else 0) for step in steps}
    for step in steps:
        groups.setdefault(batch_of[step.id], []).append(step)
    names: dict[Any, str] = {}
    taken: set[str] = set()
    for key, members in groups.items():
        name = _batch_id(members, key[1])
        # Two builders may bear one name.
        numbered = itertools.chain([name], (f"{name} #{i}" for i in itertools.count(2)))
        names[key] = next(one for one in numbered if one not in taken)
        taken.add(names[key])
    batches = [
        StepBatch(
            names[key],
            tuple(members),
            tuple(dict.fromkeys(names[batch_of[i]] for s in members for i in s.after if batch_of[i] != key)),
        )
        for key, members in groups.items()
    ]
    by_id = {batch.id: batch for batch in batches}
    order = graphlib.TopologicalSorter({batch.id: batch.after for batch in batches}).static_order()
    return tuple(by_id[i] for i in order)


def _kind(step: Step) -> Any:
    """What a step shares with those that it can be done together with."""
    if step.asset.builder is None:
        return step.id
    return step.asset.builder, step.partitions.partitions.domain, step.chunk


def _batch_id(steps: Sequence[Step], turn: int) -> str:
    first = steps[0]
    if first.asset.builder is None:
        return first.id
    every = first.partitions.partitions.union(step.partitions for step in steps)
    hull = every.extent if first.asset.partitioned else ""
    again = f" ({turn + 1})" if turn else ""
    return f"{first.asset.builder.name}/{hull}".rstrip("/") + again
