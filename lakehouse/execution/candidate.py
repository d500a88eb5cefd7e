"""A candidate: a step's rows, staged where no reader looks, and what the gate finds in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import WrongFrame, shorten
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.compute import read_input
from lakehouse.execution.pins import Pins
from lakehouse.lineage import new_id
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import logger

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.checks import AnyCheck
    from lakehouse.checks.gate import Audit
    from lakehouse.checks.placement import Misplaced
    from lakehouse.io import Staged, Table

log = logger()


@final
@dataclass(frozen=True)
class Candidate:
    """Rows as they are staged.

    Parameters:
        staged: where they are, and how many of each partition
        dtypes: the types that the function gave its columns, some of which storage has no word for
        misplaced: those that lie in none of the partitions that were asked for; None: there are none
    """

    staged: Staged
    dtypes: Mapping[str, Any]
    misplaced: Misplaced | None


@final
@dataclass(frozen=True)
class Audited:
    """A candidate that was audited.

    Parameters:
        audit: what the gate found
        digests: what stands for the rows of each partition that passed, by token, in the order of the partitions
        unchanged: of those, the partitions that have the very rows that they had before
        apart: rows that lie in no partition at all, and are kept apart from those that passed; None: there are none
        well: whether what was made is what was asked for, be it held back by a check
    """

    audit: Audit
    digests: Mapping[str, str]
    unchanged: PartitionSet
    apart: pl.DataFrame | None
    well: bool


def stage(attempt: Attempt, frame: pl.LazyFrame, todo: PartitionSet) -> Candidate:
    """Compute the rows and write them to where no reader looks.

    Parameters:
        attempt: the step
        frame: its rows
        todo: the partitions that were asked for

    Raises:
        WrongFrame: a column is missing, or bears a name of the library's own
        StepError: computing the rows raised
        StorageError: they can't be written
    """
    from lakehouse.checks.placement import Misplaced
    from lakehouse.io import PARTITION
    from lakehouse.io.tokens import token

    asset, table = attempt.asset, attempt.table
    dtypes = dict(frame.collect_schema())
    if PARTITION in dtypes:
        raise WrongFrame(f"{asset.key} returned a column {PARTITION!r}, which is the library's own")
    if asset.partitioned:
        for column in asset.partitions.columns:
            if column not in dtypes:
                raise WrongFrame(
                    f"{asset.key} returned no column {column!r}, which holds its partition; "
                    f"it has {shorten(dtypes, 10)}",
                    hint=f"keep {column!r} in what the function returns",
                )
        key = token(asset.partitions, dtypes, where=asset.key)
        frame = frame.with_columns(key.alias(PARTITION))
    id = new_id()
    with discarding_on_error(table, id):
        staged = table.stage(frame, id)
    return Candidate(staged, dtypes, Misplaced.find(asset, todo, staged.rows, attempt.step.now))


def stage_nothing(table: Table, asset: Asset, id: str) -> Staged:
    """A candidate without rows, with the columns that the table has: published, it takes partitions away.

    Parameters:
        table: the asset's table
        asset: the asset
        id: names the candidate
    """
    import polars as pl

    from lakehouse.io import PARTITION

    nothing = table.scan(asset.partitions.empty()).head(0)
    return table.stage(nothing.with_columns(pl.lit("").alias(PARTITION)) if asset.partitioned else nothing, id)


def audit_candidate(
    attempt: Attempt,
    candidate: Candidate,
    pins: Pins,
    todo: PartitionSet,
    more: Sequence[AnyCheck] = (),
    *,
    divisible: bool = False,
) -> Audited:
    """Hold a candidate against the asset's partitions, its schema and its checks.

    Parameters:
        attempt: the step
        candidate: its rows as they are staged
        pins: the versions that they are made from
        todo: the partitions that were asked for
        more: checks besides the asset's own
        divisible: whether the rows of fewer partitions could be computed by themselves

    Raises:
        RowsOutsidePartitions: which of the partitions is to blame for rows that lie elsewhere can't be told
        CheckError: a check itself raised
        StorageError: what is staged, or an input to compare with, can't be read
    """
    from lakehouse.io.digests import NOTHING
    from lakehouse.io.tokens import from_tokens, tokens

    rows = partial(_rows, attempt, candidate)
    misplaced = candidate.misplaced
    held = _blamed(attempt, misplaced, todo, divisible=divisible)
    sure = todo - held
    found = _audit(attempt, rows, None if misplaced is None else tokens(sure), pins, sure, more)
    apart = None
    if misplaced is not None and found.passed:
        found, apart = misplaced.publish_without(found), misplaced.rows(rows)
    if misplaced is not None and held:
        found = misplaced.hold_back(found, held, rows)
    passed = {t: found.digests.get(t, NOTHING) for t in tokens(found.passed)}
    before = attempt.step.digests
    same = [t for t, key in zip(passed, found.passed, strict=True) if before.get(key) == passed[t]] if before else []
    return Audited(found, passed, from_tokens(todo.partitions, same), apart, well=not held)


def _blamed(attempt: Attempt, misplaced: Misplaced | None, todo: PartitionSet, *, divisible: bool) -> PartitionSet:
    """The partitions that are held back for misplaced rows.

    Rows of another partition say that the function doesn't do what it is asked to, whatever else it returns. Rows of
    no partition are none of those that lie where they should; but a partition that has no rows may have lost them so.
    """
    if misplaced is None:
        return attempt.asset.partitions.empty()
    if not attempt.asset.retry.split or (misplaced.elsewhere and not divisible):
        raise misplaced.error
    if not divisible or not (misplaced.elsewhere or misplaced.empty):
        return misplaced.empty
    if len(todo) > 1:
        raise misplaced.error
    return todo


def _audit(
    attempt: Attempt,
    rows: Callable[[Collection[str] | None], pl.LazyFrame],
    these: Collection[str] | None,
    pins: Pins,
    partitions: PartitionSet,
    more: Sequence[AnyCheck],
) -> Audit:
    """What the gate finds in some partitions: in these, by token; None: they are all that there is."""
    from lakehouse.checks import Check
    from lakehouse.checks.gate import Audit, audit
    from lakehouse.io import PARTITION
    from lakehouse.io.tokens import token

    if not partitions:
        return Audit(partitions, partitions, (), (), None, "")
    compared = {c.upstream for c in attempt.asset.checks if isinstance(c, Check) and c.upstream}
    upstream = {}
    for given in attempt.step.inputs:
        if given.parameter in compared:
            needed = attempt.step.mapping(given).upstream(partitions)
            theirs = read_input(attempt, given, needed, pins.version(given))
            key = token(given.asset.partitions, theirs.collect_schema(), where=given.asset.key)
            upstream[given.parameter] = theirs.with_columns(key.alias(PARTITION))
    return audit(attempt.asset, rows(these), partitions, upstream, more=more, part=rows)


def _rows(attempt: Attempt, candidate: Candidate, these: Collection[str] | None) -> pl.LazyFrame:
    """The rows of some partitions of a candidate, by token; None: all."""
    import polars as pl

    from lakehouse.io import PARTITION
    from lakehouse.io.frames import restore

    frame = restore(attempt.table.staged(candidate.staged, these), candidate.dtypes)
    return frame if attempt.asset.partitioned else frame.with_columns(pl.lit("").alias(PARTITION))


@contextmanager
def discarding_on_error(table: Table, staged: Staged | str) -> Iterator[None]:
    """Where something goes wrong with a candidate, remove what is staged of it."""
    try:
        yield
    except BaseException:
        discard(table, staged)
        raise


def discard(table: Table, staged: Staged | str, *, published: PartitionSet | None = None) -> None:
    """Remove what no version uses. What can't be removed takes space and harms nobody, so it fails no step.

    Parameters:
        table: where it is staged
        staged: the candidate; or its id, where it was never finished
        published: the partitions that a version uses by now
    """
    try:
        table.discard(staged, published=published)
    except Exception as error:
        log.warning("%s: staged files were left behind: %s", table.uri, error)
