"""What came of a step, partition by partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

from lakehouse.errors import LakehouseError, StepError, describe
from lakehouse.lineage import Fact, Status
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Step


@final
@dataclass(frozen=True)
class StepResult:
    """The outcome of a step, partition by partition.

    Parameters:
        step: the step's id
        asset: key of what it makes
        published: what readers see now; version: the table version that shows it
        rejected: what its checks held back
        failed: what an error kept from being made; error: that error
        skipped: what was left out because its input isn't there
        unchanged: of what is published, what has the very rows that it had before
        current: what was left as it is, because no input of it has changed after all
        apart: how many rows lie in no partition, and are kept apart
        facts: what was recorded
        seconds: how long it took
        unrecorded: whether lineage doesn't know yet what was published
        cause: the error that kept some from being made, with the traceback of who raised it
    """

    step: str
    asset: str
    published: PartitionSet
    rejected: PartitionSet
    failed: PartitionSet
    skipped: PartitionSet
    unchanged: PartitionSet
    current: PartitionSet
    version: int | None = None
    error: str | None = None
    apart: int = 0
    facts: tuple[Fact, ...] = ()
    seconds: float = 0.0
    unrecorded: bool = False
    cause: LakehouseError | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything that the step was to make is published and recorded, down to the last row."""
        return not (self.absent or self.unrecorded or self.apart)

    @property
    def absent(self) -> PartitionSet:
        """What the step was to make and did not publish."""
        return self.rejected | self.failed | self.skipped

    @property
    def rows(self) -> int:
        """How many rows were published."""
        return sum(f.rows for f in self.facts if f.status is Status.PUBLISHED)

    @property
    def changed(self) -> PartitionSet:
        """What has other rows now than before."""
        return self.published - self.unchanged

    @classmethod
    def nothing(cls, step: Step) -> StepResult:
        """The result of a step of which nothing has become anything yet."""
        none = step.asset.partitions.empty()
        return cls(step.id, step.asset.key, none, none, none, none, none, none)

    @classmethod
    def of_outlook(cls, step: Step, todo: PartitionSet, skipped: PartitionSet) -> StepResult:
        """What is known of a step before it is done: what it will make, if nothing fails, and what it can't."""
        return replace(cls.nothing(step), published=todo, skipped=skipped, current=step.partitions - todo - skipped)

    @classmethod
    def of_failure(cls, step: Step, error: BaseException | str, *, facts: tuple[Fact, ...] = ()) -> StepResult:
        """The result of a step that raised."""
        failed = replace(cls.nothing(step), failed=step.partitions, facts=facts)
        if isinstance(error, str):
            return replace(failed, error=error)
        cause = error
        if not isinstance(cause, LakehouseError):
            # Errors of ours can be sent between processes, whatever they were caused by.
            cause = StepError(f"{step.id}: {describe(error)}")
            cause.__cause__ = error
        return replace(failed, error=describe(error), cause=cause)


def merge(results: Sequence[StepResult]) -> StepResult:
    """The outcomes of parts of the same step, together; each error once."""
    first, *others = results
    merged = first
    for one in others:
        merged = replace(
            merged,
            published=merged.published | one.published,
            rejected=merged.rejected | one.rejected,
            failed=merged.failed | one.failed,
            skipped=merged.skipped | one.skipped,
            unchanged=merged.unchanged | one.unchanged,
            current=merged.current | one.current,
            version=max((v for v in (merged.version, one.version) if v is not None), default=None),
            apart=merged.apart + one.apart,
            facts=(*merged.facts, *one.facts),
            seconds=merged.seconds + one.seconds,
            unrecorded=merged.unrecorded or one.unrecorded,
            cause=merged.cause or one.cause,
        )
    errors = dict.fromkeys(one.error for one in results if one.error)
    return replace(merged, error="; ".join(errors) or None)
