"""What a verb was asked for: one value, from the command line, from flows and from Python, all the way to the plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final, get_args

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.selection import Targets
from lakehouse.errors import PartitionError, PlanError, shorten
from lakehouse.partitions import PartitionSelection

Verb = Literal["materialize", "refresh", "backfill"]
"""What is done about partitions of the targets that are there: all three build what is missing; ``materialize`` also
builds what is named, whether it is there or not; the others also build what is out of date."""

Upstream = Literal["missing", "stale", "all", "none"]
"""What is done about a target's inputs: build what was never built, also what is out of date, all of them, or nothing.
"""

CHUNK = 30
"""Partitions in a step, where nobody says otherwise."""


@final
@dataclass(frozen=True)
class Request:
    """What a verb was asked for.

    Parameters:
        verb: the verb
        targets: an asset, several, or a selection such as ``"+gold.*"``
        partitions: which partitions of the targets; None: what is missing
        upstream: what is done about the targets' inputs
        chunk: partitions in a step, at most; None: as settings say

    Raises:
        PlanError: an option that can't be
        PartitionError: a backfill of no partitions

    Examples:
        >>> Request("refresh", "+gold.*", "2013-01").name
        '+gold.*'
    """

    verb: Verb
    targets: Targets
    partitions: PartitionSelection | None = None
    upstream: Upstream = "missing"
    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.verb not in get_args(Verb):
            raise PlanError(f"verb={self.verb!r} is not known; there are {', '.join(get_args(Verb))}")
        if self.upstream not in get_args(Upstream):
            raise PlanError(f"upstream={self.upstream!r} is not known; there are {', '.join(get_args(Upstream))}")
        if self.chunk is not None and (not isinstance(self.chunk, int) or self.chunk < 1):
            raise PlanError(f"chunk={self.chunk!r} can't be: a chunk holds 1 partition or more")
        if self.verb == "backfill" and self.partitions is None:
            raise PartitionError(
                "a backfill needs partitions: a range a...b with both ends",
                hint="refresh builds all that is missing, without a range",
            )
        for name in ("targets", "partitions"):
            if isinstance(value := getattr(self, name), Iterator):
                # It is read more than once: for each target, and for each plan.
                object.__setattr__(self, name, list(value))

    @property
    def refreshes(self) -> bool:
        """Whether target partitions that are up to date are left as they are."""
        return self.verb != "materialize"

    @property
    def name(self) -> str:
        """What a person recognizes it by."""
        return targets_name(self.targets)


def targets_name(targets: Targets) -> str:
    """Targets in a few words.

    Examples:
        >>> targets_name(["silver.flights", "gold.*"])
        'silver.flights, gold.*'
    """
    listed = [targets] if isinstance(targets, Asset | str) else list(targets)
    return shorten([t if isinstance(t, str) else t.key for t in listed], 3)
