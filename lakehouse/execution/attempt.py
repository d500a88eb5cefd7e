"""One try at a step: what is done, where, and on behalf of which run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset, Context
from lakehouse.errors import LakehouseError
from lakehouse.execution.home import Home, RunInfo
from lakehouse.lineage import Fact
from lakehouse.lineage.recorder import Recorder
from lakehouse.partitions import PartitionSet
from lakehouse.planning.steps import Step
from lakehouse.redaction import logger

if TYPE_CHECKING:
    from lakehouse.io import Table, TableVersion


@final
@dataclass(frozen=True)
class Attempt:
    """One try at a step.

    Parameters:
        step: what to do
        home: where tables and lineage are
        run: the run that it belongs to
        number: 1 for the first try
        task_run: Prefect's id of the task run
        began: the version of its table that it begins with; None: there was none, or it hasn't been looked at yet
        newest: what was recorded then of its table's newest version
        started: when it began (UTC); clock: the same by a clock that measures time
    """

    step: Step
    home: Home
    run: RunInfo
    number: int = 1
    task_run: str | None = None
    began: TableVersion | None = None
    newest: tuple[Fact, ...] = field(default=(), repr=False)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)

    @property
    def asset(self) -> Asset:
        """What the step makes."""
        return self.step.asset

    @property
    def table(self) -> Table:
        """Where it is published."""
        return self.home.table(self.step.asset)

    def is_last(self, error: LakehouseError) -> bool:
        """Whether the step isn't tried once more after this error."""
        return self.number > self.asset.retry.times or not error.retryable

    def context(self, partitions: PartitionSet) -> Context:
        """What the asset's function may know, where it makes some partitions."""
        return Context(
            run_id=self.run.id,
            asset=self.asset.key,
            partitions=partitions,
            attempt=self.number,
            started_at=self.run.started,
            logger=logger(f"lakehouse.{self.asset.key}"),
        )

    @property
    def recorder(self) -> Recorder:
        """Makes the facts about it."""
        return Recorder(
            asset=self.asset.key,
            run=self.run.id,
            started=self.started,
            attempt=self.number,
            engine=self.run.engine,
            flow_run=self.run.flow_run,
            task_run=self.task_run,
            table=self.table.uri,
            spec=self.asset.partitions.spec,
            after=max(-1 if known is None else known for known in (self.began and self.began.number, self.step.since)),
            sequence=self.step.sequence,
            code_version=self.asset.code_version,
            schema_version=self.asset.schema_version,
            checks_version=self.asset.checks_version,
        )
