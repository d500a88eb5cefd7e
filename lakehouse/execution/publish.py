"""From a candidate to what readers see, and to what lineage says of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from lakehouse.errors import (
    ColumnsChanged,
    LineageError,
    PartitionConflict,
    SchemaViolation,
    StepError,
    StorageError,
    TableMismatch,
    describe,
    panics_raised,
    shorten,
)
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.candidate import Audited, Candidate, discard, stage_nothing
from lakehouse.execution.pins import Pins
from lakehouse.lineage import CheckResult, Fact, Status
from lakehouse.lineage.state import Meaning
from lakehouse.lineage.table_log import at_version, from_payload, newest_version, to_payload, to_record
from lakehouse.partitions import PartitionSet, TimePartitions
from lakehouse.redaction import logger

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.io import TableVersion

log = logger()

_REASON = 2000
"""Characters of an error that are recorded."""


@final
@dataclass(frozen=True)
class Ready:
    """A candidate that was audited; what is not to be published of it is kept where people find it.

    Parameters:
        candidate: its rows as they are staged
        audited: what passed, and what didn't
        pins: the versions that it is made from
        held: the fact about what is held back, if something is
        apart: URI of the rows that lie in no partition at all, if there are some
    """

    candidate: Candidate
    audited: Audited
    pins: Pins
    held: tuple[Fact, ...]
    apart: str | None

    @property
    def keeps(self) -> bool:
        """Whether some of it is kept where people find it."""
        return bool(self.held) or self.apart is not None

    @property
    def remark(self) -> str:
        """What there is to say of rows that lie in no partition."""
        if self.apart is None:
            return ""
        result = self.audited.audit.passed_results[-1]
        return f"{result.name} {result.message}; kept in {self.apart}"


def hold_back(attempt: Attempt, candidate: Candidate, audited: Audited, pins: Pins) -> Ready:
    """Keep the rows that are not to be published.

    Raises:
        StorageError: they can't be written
    """
    audit, staged = audited.audit, candidate.staged
    apart = _keep(attempt, audited.apart, f"{staged.attempt}-apart")
    if not audit.held:
        return Ready(candidate, audited, pins, (), apart)
    fact = attempt.recorder.fact(
        Status.REJECTED,
        audit.held,
        inputs=pins.inputs(audit.held),
        reason=audit.reason,
        quarantine=_keep(attempt, audit.rows, staged.attempt),
        rows=0 if audit.rows is None else audit.rows.height,
        checks=audit.held_results,
    )
    return Ready(candidate, audited, pins, (fact,), apart)


def _keep(attempt: Attempt, rows: pl.DataFrame | None, name: str) -> str | None:
    return attempt.table.quarantine(rows, name) if rows is not None and rows.height else None


def begin(attempt: Attempt) -> Attempt:
    """The attempt, with the version of its table that it begins with.

    Raises:
        TableMismatch: the table is not the one that lineage tells of
        PartitioningChanged: it is partitioned otherwise
        StorageError: it can't be reached; LineageError: lineage can't be read
    """
    asset = attempt.asset.key
    newest = attempt.home.lineage_store.newest(asset)
    if (fault := Meaning.of(attempt.asset.partitions, newest).fault(asset)) is not None:
        raise fault
    return replace(attempt, began=newest_version(attempt.table, asset, newest))


def publish(attempt: Attempt, ready: Ready) -> list[Fact]:
    """Publish what passed, in one commit that carries the facts.

    Parameters:
        attempt: the step
        ready: its rows

    Returns:
        the fact about it; before it one of what had to go first, because its rows can't be read with the
        columns that are published, and the run makes it anew

    Raises:
        PartitionConflict: another run published one of the partitions since then, or it isn't the same table any more
        SchemaViolation: a column changes its type, and partitions stay that this run doesn't make anew
        StorageError: it can't be written; whether it was after all, the table's log says
    """
    from lakehouse.io.digests import algorithm

    audited, staged, since = ready.audited, ready.candidate.staged, attempt.began
    passed = audited.audit.passed
    fact = attempt.recorder.fact(
        Status.PUBLISHED,
        passed,
        inputs=ready.pins.inputs(passed),
        digests="".join(audited.digests.values()),
        digested=algorithm(),
        unchanged=audited.unchanged.to_pairs(),
        compared=attempt.step.since,
        rows=sum(staged.rows.get(t, 0) for t in audited.digests),
        bytes=sum(staged.bytes.get(t, 0) for t in audited.digests),
        checks=(
            *audited.audit.passed_results,
            *(_unexpected_columns(attempt, ready.candidate, passed) if since is not None else ()),
        ),
        quarantine=ready.apart,
    )
    gone: list[Fact] = []
    seen: TableVersion | None = None
    try:
        for tries_left in reversed(range(_TRIES)):
            try:
                version = attempt.table.publish(staged, passed, payload=to_payload([*ready.held, fact]), since=since)
                return [*gone, at_version(fact, version)]
            except ColumnsChanged as error:
                if not tries_left:
                    raise
                if seen is None:
                    # What stays is looked for once more, now that it is known what was there before: another step of
                    # this run may be publishing its part of it with the new columns.
                    seen = attempt.table.newest()
                    continue
                gone += _make_room(attempt, error, seen)
                seen = None
            except PartitionConflict:
                later = _after_own(attempt, passed, since)
                if later == since or not tries_left:
                    raise
                since = later
    except StepError:
        # The table itself refused it. Of any other error only the log knows whether the commit arrived: files stay.
        discard(attempt.table, staged, held=ready.keeps)
        raise
    raise AssertionError("unreachable: the last try returns or raises")


def _unexpected_columns(attempt: Attempt, candidate: Candidate, partitions: PartitionSet) -> list[CheckResult]:
    """A warning where rows have columns that nobody asked for: not the schema, and not what was published before."""
    schema = attempt.asset.schema
    if schema is not None and all(name in schema for name in candidate.dtypes):
        return []
    known = attempt.table.columns()
    named = {column.name for column in schema.columns} if schema is not None else set()
    new = [f"{name!r} ({dtype})" for name, dtype in candidate.dtypes.items() if name not in {*known, *named}]
    left = [repr(name) for name in known if name not in {*candidate.dtypes, *named}]
    if not known or not (new or left):
        return []
    message = f"there is a new column {shorten(new)}" if new else ""
    if left:
        message += f"{'; ' if new else ''}there is no {shorten(left)} any more"
    log.warning("%s %s: %s", attempt.asset.key, partitions, message)
    return [
        CheckResult(
            name="columns_as_before", blocking=False, passed=False, failed=partitions.to_pairs(), message=message
        )
    ]


_TRIES = 20
"""How often steps of one run that change the same table's columns side by side may get into each other's way."""


def _make_room(attempt: Attempt, error: ColumnsChanged, since: TableVersion) -> list[Fact]:
    """Take away partitions that can't be read with the new columns, if the run makes all of them anew.

    Raises:
        SchemaViolation: it doesn't
    """
    asset, table, staying = attempt.asset, attempt.table, error.staying
    if staying - (attempt.step.rest or asset.partitions.empty()):
        command = f"lakehouse materialize {asset.key} {_words(staying | attempt.step.partitions)}"
        raise SchemaViolation(
            f"{asset.key}: {error.message}",
            hint=f"build all of it anew in one run: {command}; or give the new column a new name",
        ) from error
    fact = attempt.recorder.fact(
        Status.WIPED,
        staying,
        rows=sum(table.rows(staying).values()),
        reason=f"its columns change, and this run makes it anew: {error.message}",
    )
    staged = stage_nothing(table, asset, fact.id)
    try:
        version = table.publish(staged, staying, payload=to_payload([fact]), since=since)
    except PartitionConflict:
        return []  # some of it was published meanwhile: what stays is another thing now
    finally:
        discard(table, staged)
    log.warning("%s: %s taken away until this run has made it anew: %s", asset.key, staying, error.message)
    return [at_version(fact, version)]


def _words(partitions: PartitionSet) -> str:
    """The words of a command line that name all of these partitions."""
    if isinstance(partitions.partitions, TimePartitions):
        return f"--partitions {shlex.quote(str(partitions.hull))}"
    return " ".join(f"--partition={shlex.quote(key)}" for key in partitions)


def _after_own(attempt: Attempt, partitions: PartitionSet, since: TableVersion | None) -> TableVersion | None:
    """The version up to which nothing came between but what this very run has taken away, to make it anew."""
    from lakehouse.io import TableVersion

    later, touched = since, False
    for publication in attempt.table.publications(after=since.number if since else None):
        facts = from_payload(publication.payload, publication.version)
        touching = [
            f for f in facts if f.status.committed and partitions.partitions.from_pairs(f.partitions) & partitions
        ]
        if any(f.run != attempt.run.id or f.status is not Status.WIPED for f in touching):
            return since
        later, touched = TableVersion(publication.version, publication.mark), touched or bool(touching)
    return later if touched else since


def record(attempt: Attempt, facts: Sequence[Fact]) -> str | None:
    """Write down what came of a step; says why that failed, if it did after a publication.

    What is published is published, and its record is in the table's log: the step has not failed by it.

    Raises:
        LineageError: it can't be written, and nothing was published
        TableMismatch: what was published is not there any more, or lineage tells of another table
    """
    store, asset = attempt.home.lineage_store, attempt.asset.key
    version = max((f.version for f in facts if f.version is not None), default=None)
    if version is None:
        store.append(facts)
        return None
    try:
        store.append(to_record(attempt.table, asset, store.newest(asset), facts, version=version))
    except TableMismatch:
        raise
    except (LineageError, StorageError) as error:
        return (
            f"{asset}: published as version {version}, but not recorded: {error.message}; "
            "the next run finds it in the table's log and records it"
        )
    return None


def record_failure(
    attempt: Attempt, partitions: PartitionSet, pins: Pins, error: BaseException, facts: Sequence[Fact] = ()
) -> None:
    """Write down that some partitions failed, along with what is known already; not of an interrupted step.

    Parameters:
        attempt: the step
        partitions: which ones
        pins: the versions of its inputs
        error: why
        facts: the outcomes of others
    """
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return
    try:
        attempt.home.lineage_store.append([*facts, failure(attempt, partitions, pins, error)])
    except LineageError as second:
        log.warning("%s: the failure could not be recorded either: %s", attempt.step.id, second.message)


def failure(
    attempt: Attempt, partitions: PartitionSet, pins: Pins, error: BaseException, status: Status = Status.FAILED
) -> Fact:
    """The fact that some partitions could not be made, and why."""
    inputs = pins.inputs(partitions)
    return attempt.recorder.fact(status, partitions, inputs=inputs, reason=describe(error)[:_REASON])


@contextmanager
def recording_failure(
    attempt: Attempt, partitions: PartitionSet, pins: Pins, facts: Sequence[Fact] = ()
) -> Iterator[None]:
    """Where something goes wrong, write down that some partitions failed; see [record_failure][]."""
    try:
        with panics_raised():
            yield
    except BaseException as error:
        record_failure(attempt, partitions, pins, error, facts)
        raise
