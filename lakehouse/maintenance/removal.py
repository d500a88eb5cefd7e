"""What counts as never built, and rows that are removed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lakehouse.definitions.asset import Asset
from lakehouse.errors import PartitionConflict, TableMismatch, count, shorten
from lakehouse.execution.candidate import stage_nothing
from lakehouse.lineage import Status
from lakehouse.lineage.table_log import to_payload
from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.rebuilding import rebuild
from lakehouse.maintenance.wording import named, rows_of, words
from lakehouse.maintenance.workspace import KnownAsset, Workspace
from lakehouse.partitions import WHOLE_MARK, PartitionSelection, PartitionSet


def forget(work: Workspace, asset: Asset | str, partitions: PartitionSelection | None = None) -> Change:
    """See [Maintenance.forget][]."""
    found = work.see_stored(work.lake.graph[asset])
    known = work.look(found)
    tried = [part for part, fact in known.state.attempts if fact.status not in _GONE]
    part = work.chosen(found, partitions, found.partitions.union([known.state.present, *tried]))
    title = f"forget {named(found, part)}"
    if not part:
        return Change(title, (), (f"nothing of it is recorded of {found.key}",))
    text = f"{words(found, part)} as never built; its rows stay readable"
    action = Action(found.key, text, partial(_forget, work, found, known, part), tuple(part))
    return Change(title, (action,), destructive=True, alone=work.alone({found.key: part}))


def wipe(work: Workspace, asset: Asset | str, partitions: PartitionSelection | None = None) -> Change:
    """See [Maintenance.wipe][]."""
    found = work.see_stored(work.lake.graph[asset])
    every = partitions == WHOLE_MARK or not found.partitioned
    try:
        known = work.look(found, otherwise=every)
    except TableMismatch:
        # Somebody has removed all of it already.
        if work.table(found).version() is not None or partitions not in (None, WHOLE_MARK):
            raise
        return replace(rebuild(work, found), title=f"wipe {found.key}")
    kept = known.state.meaning.other or known.table.kept_otherwise(found.partitions) if every else ""
    if kept and known.version is not None:
        return _anew(work, found, known, kept)
    part = work.chosen(found, partitions, known.everything.present | known.stored)
    title = f"wipe {named(found, part)}"
    if not part or known.version is None:
        return Change(title, (), (f"nothing of it is there of {found.key}",))
    stale = [consumer.key for consumer in work.lake.graph.consumers(found)]
    action = Action(
        found.key,
        f"{rows_of(known.table, part)} removed by one commit, {words(found, part)} as not there",
        partial(_wipe, work, found, known, part),
        tuple(part),
    )
    notes = [f"{shorten(stale)} becomes stale" if len(stale) == 1 else f"{shorten(stale)} become stale"]
    alone = work.alone({found.key: part})
    return Change(title, (action,), tuple(notes if stale else ()), destructive=True, alone=alone)


def _anew(work: Workspace, asset: Asset, known: KnownAsset, kept: str) -> Change:
    """Begin a table anew that is partitioned otherwise than its asset is declared."""
    rows = sum(replace(known.table, partitioned=False).rows(version=known.version).values())
    action = Action(
        asset.key,
        f"{count(rows, 'row')} removed by one commit; the table, which has been {kept}, begins anew as "
        f"{asset.partitions.spec}",
        partial(_begin_anew, work, asset, known, kept, rows),
    )
    stale = [consumer.key for consumer in work.lake.graph.consumers(asset)]
    notes = [f"{shorten(stale)} {'becomes' if len(stale) == 1 else 'become'} stale"] if stale else []
    return Change(f"wipe {asset.key}", (action,), tuple(notes), destructive=True, alone=work.alone({asset.key: None}))


def _begin_anew(work: Workspace, asset: Asset, known: KnownAsset, kept: str, rows: int) -> None:
    import polars as pl

    from lakehouse.io import PARTITION

    table, newest = known.table, known.table.newest()
    if newest is None or newest.number != known.version:
        raise PartitionConflict(f"{table.uri} was published to meanwhile; nothing was done", hint="call it again")
    reason = f"stored as {kept} until then"
    fact = work.recorder(asset, known).fact(
        Status.WIPED, known.state.present, rows=rows, reason=reason, finished=work.now
    )
    # It keeps its columns, so that those who publish next see what is new.
    columns = {**table.columns(), **({PARTITION: pl.String()} if asset.partitioned else {})}
    staged = table.stage(pl.LazyFrame(schema=columns), fact.id)
    try:
        table.renew(staged, known.state.present, payload=to_payload([fact]), since=newest)
    finally:
        table.discard(staged)  # no version uses a file of it
    work.record(asset)


def _forget(work: Workspace, asset: Asset, known: KnownAsset, part: PartitionSet) -> None:
    fact = work.recorder(asset, known).fact(Status.FORGOTTEN, part, finished=work.now)
    if known.version is None:
        work.lake.lineage_store.append([fact])
        return
    known.table.mark(part, fact.id, payload=to_payload([fact]), since=known.version)
    work.record(asset)


def _wipe(work: Workspace, asset: Asset, known: KnownAsset, part: PartitionSet) -> None:
    rows = sum(known.table.rows(part, version=known.version).values())
    fact = work.recorder(asset, known).fact(Status.WIPED, part, rows=rows, finished=work.now)
    staged = stage_nothing(known.table, asset, fact.id)
    try:
        known.table.publish(staged, part, payload=to_payload([fact]), since=known.version)
    finally:
        known.table.discard(staged)  # no version uses a file of it
    work.record(asset)
    catalog = work.lake.schemas.catalog
    if catalog is not None and not known.state.present - part:
        catalog.drop(asset.key)  # the next publication has it tell of the table again


_GONE = (Status.FORGOTTEN, Status.WIPED)
