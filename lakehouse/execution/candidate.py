"""A candidate: a step's rows, staged where no reader looks, and what the gate finds in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import RowsOutsidePartitions, WrongFrame, shorten
from lakehouse.execution.attempt import Attempt
from lakehouse.execution.compute import Computed, read_input
from lakehouse.lineage import new_id
from lakehouse.partitions import PartitionSet
from lakehouse.redaction import logger

if TYPE_CHECKING:
    from lakehouse.checks import AnyCheck
    from lakehouse.checks.gate import Audit
    from lakehouse.io import Staged, Table

log = logger()


@final
@dataclass(frozen=True)
class Candidate:
    """Rows as they are staged.

    Parameters:
        staged: where they are, and how many of each partition
        dtypes: the types that the function gave its columns, some of which storage has no word for
    """

    staged: Staged
    dtypes: Mapping[str, Any]


@final
@dataclass(frozen=True)
class Audited:
    """A candidate that was audited.

    Parameters:
        audit: what the gate found
        digests: what stands for the rows of each partition that passed, by token, in the order of the partitions
        unchanged: of those, the partitions that have the very rows that they had before
    """

    audit: Audit
    digests: Mapping[str, str]
    unchanged: PartitionSet


def stage(attempt: Attempt, computed: Computed, todo: PartitionSet) -> Candidate:
    """Compute the rows and write them to where no reader looks.

    Parameters:
        attempt: the step
        computed: its rows
        todo: the partitions that were asked for

    Raises:
        WrongFrame: a column is missing, or bears a name of the library's own
        RowsOutsidePartitions: rows of other partitions, or of none
        StepError: computing the rows raised
        StorageError: they can't be written
    """
    from lakehouse.io import PARTITION
    from lakehouse.io.tokens import token, tokens

    asset, table = attempt.asset, attempt.table
    frame = computed.frame
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
        asked = set(tokens(todo))
        outside = {t: n for t, n in staged.rows.items() if t not in asked}
        if outside and asset.partitioned:
            shown = shorten(sorted(t if t and not t.startswith("~n") else "no partition at all" for t in outside))
            raise RowsOutsidePartitions(
                f"{asset.key} was asked for {todo} and returned {sum(outside.values()):,} rows for {shown}",
                hint="filter by the range that the function is given, or keep the input's partition column as it is",
            )
    return Candidate(staged, dtypes)


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
    attempt: Attempt, candidate: Candidate, computed: Computed, todo: PartitionSet, more: Sequence[AnyCheck] = ()
) -> Audited:
    """Hold a candidate against the asset's schema and checks.

    Parameters:
        attempt: the step
        candidate: its rows as they are staged
        computed: the same before, with the versions that they are made from
        todo: the partitions that were asked for
        more: checks besides the asset's own

    Raises:
        CheckError: a check itself raised
        StorageError: what is staged, or an input to compare with, can't be read
    """
    import polars as pl

    from lakehouse.checks import Check
    from lakehouse.checks.gate import audit
    from lakehouse.io import PARTITION
    from lakehouse.io.digests import NOTHING
    from lakehouse.io.frames import restore
    from lakehouse.io.tokens import from_tokens, token, tokens

    asset = attempt.asset

    def rows(these: Collection[str] | None = None) -> pl.LazyFrame:
        frame = restore(attempt.table.staged(candidate.staged, these), candidate.dtypes)
        return frame if asset.partitioned else frame.with_columns(pl.lit("").alias(PARTITION))

    compared = {c.upstream for c in asset.checks if isinstance(c, Check) and c.upstream}
    upstream = {}
    for given in attempt.step.inputs:
        if given.parameter in compared:
            needed = attempt.step.mapping(given).upstream(todo)
            theirs = read_input(attempt, given, needed, computed.pins.version(given))
            key = token(given.asset.partitions, theirs.collect_schema(), where=given.asset.key)
            upstream[given.parameter] = theirs.with_columns(key.alias(PARTITION))
    found = audit(asset, rows(), todo, upstream, more=more, part=rows)
    passed = {t: found.digests.get(t, NOTHING) for t in tokens(found.passed)}
    before = attempt.step.digests
    same = [t for t, key in zip(passed, found.passed, strict=True) if before.get(key) == passed[t]] if before else []
    return Audited(found, passed, from_tokens(asset.partitions, same))


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
