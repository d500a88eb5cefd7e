"""The one builder of facts, for steps, observations, dynamic partitions and maintenance alike."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypedDict, Unpack, final

from lakehouse.lineage.facts import CheckResult, Fact, InputPin, Status, new_id
from lakehouse.partitions import Pairs, PartitionSet


class Details(TypedDict, total=False):
    """What a fact says besides who wrote it and which partitions it is about; see [Fact][]."""

    inputs: tuple[InputPin, ...]
    version: int | None
    digests: str
    digested: str
    unchanged: Pairs
    compared: int | None
    formerly: str
    rows: int
    bytes: int
    checks: tuple[CheckResult, ...]
    reason: str
    quarantine: str | None
    columns_version: str
    registered: int | None
    columns: str


@final
@dataclass(frozen=True, kw_only=True)
class Recorder:
    """Makes facts about an asset, on behalf of one run.

    Parameters:
        asset: the asset's key, or what stands in its place
        run: id of the run; by default one of its own
        started: when it began; by default now
        attempt: 1 for the first try
        engine: what runs it
        flow_run: Prefect's flow run; task_run: Prefect's task run
        table: URI of the asset's table
        spec: how the asset's rows are partitioned; see [Fact][]
        after: the table version that it begins with; sequence: of what it is planned after; see [Fact][]
        code_version: of the asset's function; schema_version: of its schema; checks_version: of its checks

    Examples:
        >>> from lakehouse import Daily
        >>> days = Daily("2013-01-01").select("2013-01-01...2013-01-31")
        >>> fact = Recorder(asset="silver.flights", engine="inline").fact(Status.FAILED, days, reason="no such file")
        >>> fact.partitions, fact.reason
        ((('2013-01-01', '2013-01-31'),), 'no such file')
    """

    asset: str
    run: str = field(default_factory=new_id)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    attempt: int = 1
    engine: str = ""
    flow_run: str | None = None
    task_run: str | None = None
    table: str = ""
    spec: str = ""
    after: int | None = None
    sequence: int = 0
    code_version: str = ""
    schema_version: str = ""
    checks_version: str = ""

    def fact(
        self, status: Status, partitions: PartitionSet, *, finished: datetime | None = None, **details: Unpack[Details]
    ) -> Fact:
        """The outcome of some partitions, as a fact.

        Parameters:
            status: the outcome
            partitions: which ones
            finished: when it ended; by default now
            details: what else there is to say
        """
        return Fact(
            id=new_id(),
            asset=self.asset,
            status=status,
            partitions=partitions.to_pairs(),
            run=self.run,
            started=self.started,
            finished=finished or datetime.now(UTC),
            attempt=self.attempt,
            engine=self.engine,
            flow_run=self.flow_run,
            task_run=self.task_run,
            table=self.table,
            # Another name says nothing of rows, which may be partitioned otherwise by now.
            spec="" if status is Status.RENAMED else self.spec,
            after=self.after,
            sequence=self.sequence,
            code_version=self.code_version,
            schema_version=self.schema_version,
            checks_version=self.checks_version,
            host=platform.node(),
            **details,
        )
