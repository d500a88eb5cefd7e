"""What counts as never built, and rows that are removed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lakehouse.definitions.asset import Asset
from lakehouse.errors import TableMismatch, shorten
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
    try:
        known = work.look(found)
    except TableMismatch:
        # Somebody has removed all of it already.
        if work.table(found).version() is not None or partitions not in (None, WHOLE_MARK):
            raise
        return replace(rebuild(work, found), title=f"wipe {found.key}")
    there = known.stored(found)
    part = work.chosen(found, partitions, known.state.present | there)
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


_GONE = (Status.FORGOTTEN, Status.WIPED)
