"""A candidate: a step's rows, staged where no reader looks, and what the gate finds in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import LakehouseError, StorageError, WrongFrame, describe, shorten
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.compute import Rows, Sent, to_compare
from lakehouse.execution.pins import Pins
from lakehouse.lineage import new_id
from lakehouse.lineage.facts import DIGEST
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import logger

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.checks import RowCheck
    from lakehouse.checks.gate import Audit
    from lakehouse.checks.placement import Misplaced
    from lakehouse.io import Staged, Table
    from lakehouse.io.raw import Kept

log = logger()

_SMALL_ROWS, _SMALL_BYTES = 500_000, 16_000_000
"""What a candidate may have to be at hand as a whole: rows, and bytes as they are stored."""


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


def stage(attempt: Attempt, made: Rows | Sent, todo: PartitionSet) -> Candidate:
    """Compute the rows and write them to where no reader looks; of an asset that keeps files, the files before.

    Parameters:
        attempt: the step
        made: its rows, or its files
        todo: the partitions that were asked for

    Raises:
        WrongFrame: a column is missing, or bears a name of the library's own
        StepError: computing the rows raised
        StorageError: they can't be written
    """
    there = kept_before(attempt, todo)
    id = new_id()
    with discarding_on_error(attempt.table, id):
        staged, dtypes = write(attempt.asset, attempt.table, made, todo, id, run=attempt.run.id, there=there)
    return take_staged(attempt, staged, dtypes, todo)


def kept_before(attempt: Attempt, todo: PartitionSet) -> Kept:
    """The files that some partitions have in the version that a step begins with: they needn't be stored again.

    Publishing is refused where another run publishes one of these partitions meanwhile, so they stay until then.
    """
    from lakehouse.io.raw import kept

    if not attempt.asset.keeps_files or attempt.began is None:
        return {}
    try:
        return kept(attempt.table, todo, attempt.began.number, where=attempt.asset.key)
    except LakehouseError as error:
        log.warning("%s: files are stored again: %s", attempt.asset.key, error.message)
        return {}


def write(
    asset: Asset, table: Table, made: Rows | Sent, todo: PartitionSet, id: str, *, run: str, there: Kept | None = None
) -> tuple[Staged, Mapping[str, Any]]:
    """Compute the rows of an asset and write them to where no reader looks. Raises what [stage][] does.

    Parameters:
        asset: the asset
        table: where it lives
        made: its rows, or its files
        todo: the partitions that were asked for
        id: what is staged is named after
        run: the run's id
        there: of an asset that keeps files, what [kept_before][] gives

    Returns:
        what is staged, and the types that the function gave its columns
    """
    from lakehouse.io.raw import land

    files: Mapping[str, tuple[str, ...]] = {}
    if isinstance(made, Sent):
        landing = land(table, made.files, todo, id, where=asset.key, run=run, there=there)
        rows, files = [(todo, landing.rows)], landing.paths
    else:
        rows = list(made)
    with _removing_on_error(table, files):
        return _write(asset, table, rows, files, id)


def _write(
    asset: Asset, table: Table, rows: Rows, files: Mapping[str, tuple[str, ...]], id: str
) -> tuple[Staged, Mapping[str, Any]]:
    import polars as pl

    from lakehouse.checks.placement import place
    from lakehouse.io import PARTITION

    dtypes = dict(rows[0][1].collect_schema())
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
        rows = [(part, place(asset, frame, dtypes, part if len(rows) > 1 else None)) for part, frame in rows]
    frame = rows[0][1] if len(rows) == 1 else pl.concat([frame for _, frame in rows])
    return replace(table.stage(frame, id), files=files), dtypes


def take_staged(attempt: Attempt, staged: Staged, dtypes: Mapping[str, Any], todo: PartitionSet) -> Candidate:
    """What is staged, by whomever, as the candidate of a step.

    Parameters:
        attempt: the step
        staged: its rows
        dtypes: the types that the function gave its columns
        todo: the partitions that were asked for
    """
    from lakehouse.checks.placement import Misplaced

    with discarding_on_error(attempt.table, staged):
        return Candidate(staged, dtypes, Misplaced.find(attempt.asset, todo, staged.rows, attempt.step.now))


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
    more: Sequence[RowCheck] = (),
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

    if attempt.asset.keeps_files:
        more = (*more, *_of_files(attempt))
    rows = partial(_rows, attempt, candidate)
    misplaced = candidate.misplaced
    held = _blamed(attempt, misplaced, todo, divisible=divisible)
    sure = todo - held
    found = _audit(attempt, candidate, None if misplaced is None else tokens(sure), pins, sure, more)
    apart = None
    if misplaced is not None and found.passed:
        found, apart = misplaced.publish_without(found), misplaced.rows(rows)
    if misplaced is not None and held:
        found = misplaced.hold_back(found, held, rows)
    passed = {t: found.digests.get(t, NOTHING) for t in tokens(found.passed)}
    before = _digests_before(attempt, candidate, found.passed) if attempt.step.digests else {}
    same = [t for t, digest in passed.items() if before.get(t) == digest]
    return Audited(found, passed, from_tokens(todo.partitions, same), apart, well=not held)


def _digests_before(attempt: Attempt, candidate: Candidate, partitions: PartitionSet) -> dict[str, str]:
    """What stands for the rows that some partitions have had, by token: comparable with a candidate's digests.

    What an older release wrote, or another polars, can't be compared: there the rows themselves are read once more.
    """
    from lakehouse.io.digests import NOTHING, algorithm
    from lakehouse.io.tokens import token_of

    known, unknown = {}, []
    for key in partitions:
        if (digest := attempt.step.digests.get(key)) is None:
            continue
        if digest[DIGEST:] == algorithm() or digest[:DIGEST] == NOTHING:
            known[token_of(partitions.partitions, key)] = digest[:DIGEST]
        else:
            unknown.append(key)
    return known | _digests_anew(attempt, candidate, partitions.partitions.of_keys(unknown)) if unknown else known


def _digests_anew(attempt: Attempt, candidate: Candidate, partitions: PartitionSet) -> dict[str, str]:
    """The same of partitions whose rows are read for it; nothing, where they can't be: then they count as others."""
    from lakehouse.io import PARTITION
    from lakehouse.io.columns import columns as exactly
    from lakehouse.io.digests import NOTHING, partition_digests
    from lakehouse.io.frames import restore
    from lakehouse.io.tokens import token, tokens
    from lakehouse.io.types import as_stored, held

    asset, dtypes = attempt.asset, candidate.dtypes
    try:
        rows = attempt.table.scan(partitions if asset.partitioned else None, version=attempt.step.since)
        if dict(rows.collect_schema()) != {name: as_stored(held(dtype)) for name, dtype in dtypes.items()}:
            return {}
        rows = restore(rows, dtypes).select(exactly(dtypes))
        if asset.partitioned:
            rows = rows.with_columns(token(asset.partitions, dtypes, where=asset.key).alias(PARTITION))
        return dict.fromkeys(tokens(partitions), NOTHING) | partition_digests(rows)
    except Exception as error:
        log.warning("%s: what was there before can't be read, and counts as changed: %s", asset.key, describe(error))
        return {}


def _of_files(attempt: Attempt) -> list[RowCheck]:
    """The checks that look into files, as checks of the rows that list them."""
    from lakehouse.checks.files import FileCheck, as_sent, with_files

    asset = attempt.asset
    looking = [check for check in asset.checks if isinstance(check, FileCheck)]
    bound = [with_files(check, attempt.table, asset.partitions, where=asset.key) for check in looking]
    return [as_sent(), *bound]


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
    candidate: Candidate,
    these: Collection[str] | None,
    pins: Pins,
    partitions: PartitionSet,
    more: Sequence[RowCheck],
) -> Audit:
    """What the gate finds in some partitions: in these, by token; None: they are all that there is."""
    from lakehouse.checks import Check
    from lakehouse.checks.gate import Audit, audit

    if not partitions:
        return Audit(partitions, partitions, (), (), None, "")
    compared = {c.upstream for c in attempt.asset.checks if isinstance(c, Check) and c.upstream}
    upstream = {}
    for given in attempt.step.inputs:
        if given.parameter in compared:
            needed = attempt.step.mapping(given).upstream(partitions)
            upstream[given.parameter] = to_compare(
                attempt.home.table, attempt.asset, given, needed, pins.version(given)
            )
    if not _is_small(candidate.staged):
        part = partial(_rows, attempt, candidate)
        return audit(attempt.asset, part(these), partitions, upstream, more=more, part=part)
    try:
        frame = _rows(attempt, candidate, these).collect(engine="streaming").lazy()
    except Exception as error:
        raise StorageError(
            f"what is staged for {attempt.step.id} can't be read: {describe(error)}",
            hint="see who cleans up in that folder, and run it again",
        ) from error
    return audit(attempt.asset, frame, partitions, upstream, more=more)


def _is_small(staged: Staged) -> bool:
    """Whether a candidate may be read once and kept at hand while it is audited, rather than read for each pass."""
    return sum(staged.rows.values()) <= _SMALL_ROWS and sum(staged.bytes.values()) <= _SMALL_BYTES


def _rows(attempt: Attempt, candidate: Candidate, these: Collection[str] | None) -> pl.LazyFrame:
    """The rows of some partitions of a candidate, by token; None: all."""
    import polars as pl

    from lakehouse.io import PARTITION
    from lakehouse.io.frames import restore

    frame = restore(attempt.table.staged(candidate.staged, these), candidate.dtypes)
    return frame if attempt.asset.partitioned else frame.with_columns(pl.lit("").alias(PARTITION))


@contextmanager
def _removing_on_error(table: Table, files: Mapping[str, tuple[str, ...]]) -> Iterator[None]:
    """Where something goes wrong with a candidate before it is one, remove its files."""
    try:
        yield
    except BaseException:
        _remove(table, files, [])
        raise


def _remove(table: Table, files: Mapping[str, tuple[str, ...]], kept: Collection[str]) -> None:
    """Remove a candidate's files, but for those of some partitions, by token."""
    if not files:
        return
    from lakehouse.io.raw import remove

    try:
        remove(table, [path for token, paths in files.items() if token not in kept for path in paths])
    except Exception as error:
        log.warning("%s: files were left behind: %s", table.uri, error)


@contextmanager
def discarding_on_error(table: Table, staged: Staged | str) -> Iterator[None]:
    """Where something goes wrong with a candidate, remove what is staged of it."""
    try:
        yield
    except BaseException:
        discard(table, staged)
        raise


def discard(table: Table, staged: Staged | str, *, published: PartitionSet | None = None, held: bool = False) -> None:
    """Remove what no version uses. What can't be removed takes space and harms nobody, so it fails no step.

    Parameters:
        table: where it is staged
        staged: the candidate; or its id, where it was never finished
        published: the partitions that a version uses by now
        held: whether rows of it were held back: what these tell of, the files of a raw asset, is kept with them
    """
    from lakehouse.io.tokens import tokens

    if not isinstance(staged, str) and not held:
        _remove(table, staged.files, tokens(published) if published is not None else [])
    try:
        table.discard(staged, published=published)
    except Exception as error:
        log.warning("%s: staged files were left behind: %s", table.uri, error)
