"""From a candidate to what readers see, and to what lineage says of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import (
    ColumnsChanged,
    LakehouseError,
    LineageError,
    PartitionConflict,
    SchemaBreak,
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
from lakehouse.schemas.compatibility import Kind
from lakehouse.schemas.contracts import Compared

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
    apart = _keep(attempt, audited.apart, f"{staged.attempt}-apart", staged.attempt)
    if not audit.held:
        return Ready(candidate, audited, pins, (), apart)
    fact = attempt.recorder.fact(
        Status.REJECTED,
        audit.held,
        inputs=pins.inputs(audit.held),
        reason=audit.reason,
        quarantine=_keep(attempt, audit.rows, staged.attempt, staged.attempt),
        rows=0 if audit.rows is None else audit.rows.height,
        checks=audit.held_results,
    )
    return Ready(candidate, audited, pins, (fact,), apart)


def _keep(attempt: Attempt, rows: pl.DataFrame | None, name: str, staged: str) -> str | None:
    if rows is None or not rows.height:
        return None
    if attempt.asset.keeps_files:
        from lakehouse.io.raw import with_own_files

        rows = with_own_files(attempt.table, rows, staged)
    return attempt.table.quarantine(rows, name)


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
    return replace(attempt, began=newest_version(attempt.table, asset, newest), newest=tuple(newest))


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
        SchemaBreak: its columns break what is registered, and nobody let that through
        SchemaViolation: a column changes its type, and partitions stay that this run doesn't make anew
        StorageError: it can't be written; whether it was after all, the table's log says
    """
    from lakehouse.io.digests import algorithm

    audited, staged, since = ready.audited, ready.candidate.staged, attempt.began
    passed = audited.audit.passed
    contracts = attempt.home.schemas
    with _discarding(attempt, ready, LakehouseError):
        compared = contracts.compare(attempt.asset, ready.candidate.dtypes, attempt.newest)
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
            *_unexpected_columns(attempt.asset, compared, passed),
        ),
        quarantine=ready.apart,
        columns_version=compared.schema.version,
        registered=compared.number,
        columns=compared.schema.text if compared.new else "",
    )
    gone: list[Fact] = []
    seen: TableVersion | None = None
    # The table itself refused it. Of any other error only the log knows whether the commit arrived: files stay.
    with _discarding(attempt, ready, StepError):
        for tries_left in reversed(range(_TRIES)):
            try:
                version = attempt.table.publish(staged, passed, payload=to_payload([*ready.held, fact]), since=since)
                done = contracts.registered(attempt.asset, compared, at_version(fact, version))
                return [*gone, contracts.cataloged(attempt.asset, compared, attempt.table, done)]
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
    raise AssertionError("unreachable: the last try returns or raises")


@contextmanager
def _discarding(attempt: Attempt, ready: Ready, refused: type[LakehouseError]) -> Iterator[None]:
    """Where a candidate is refused, by an error of some kind, remove it."""
    try:
        yield
    except refused:
        discard(attempt.table, ready.candidate.staged, held=ready.keeps)
        raise


def _unexpected_columns(asset: Asset, compared: Compared, partitions: PartitionSet) -> list[CheckResult]:
    """A warning where rows have other columns than before, and the schema has nothing to say of them."""
    named = asset.schema or ()
    types = compared.schema.by_name
    found = [one for one in compared.differences if one.column not in named]
    new = [f"{one.column!r} ({types[one.column].type})" for one in found if one.kind.adds]
    left = [repr(one.column) for one in found if one.kind is Kind.DROPPED]
    others = [str(one) for one in found if one.kind in (Kind.RETYPED, Kind.RENAMED)]
    said = [f"there is a new column {shorten(new)}"] if new else []
    said += [f"there is no {shorten(left)} any more"] if left else []
    said += [shorten(others)] if others else []
    if not said:
        return []
    message = "; ".join(said)
    log.warning("%s %s: %s", asset.key, partitions, message)
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
    if staying - attempt.step.rest:
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
        found = to_record(attempt.table, asset, store.newest(asset), facts, version=version)
        store.append(attempt.home.schemas.completed(found))
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
    refused = error.refused if isinstance(error, SchemaBreak) else ""
    return attempt.recorder.fact(status, partitions, inputs=inputs, reason=describe(error)[:_REASON], columns=refused)


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
