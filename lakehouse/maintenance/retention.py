"""What a retention keeps, and what is removed because nobody needs it any more."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.selection import Targets
from lakehouse.durations import format_duration, parse_duration
from lakehouse.errors import LakehouseError, StepError, StorageError, count
from lakehouse.lineage.reads import Read
from lakehouse.lineage.state import superseded
from lakehouse.lineage.table_log import facts_in_log
from lakehouse.lineage.unchanged import Asked, unchanged
from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.wording import files_of
from lakehouse.maintenance.workspace import KnownAsset, Workspace
from lakehouse.partitions import PartitionSet

if TYPE_CHECKING:
    from lakehouse.io.delta import DeltaLakeTable
    from lakehouse.io.inventory import Inventory, StoredFile
    from lakehouse.settings import Settings


def retain(
    work: Workspace, targets: Targets | None = None, *, keep: timedelta | str | None = None, versions: int | None = None
) -> Change:
    """See [Maintenance.retain][]."""
    retention = Retention.of(keep, versions, work.lake.settings)
    if not retention:
        raise LakehouseError("say what to keep", hint="--keep 90d, --versions 10, or both; or the setting retention")
    actions: list[Action] = []
    notes: list[str] = []
    assets = work.assets(targets)
    for asset in assets:
        found: list[Action] = []
        try:
            retain_asset(work, asset, retention, found, notes)
        except (StorageError, StepError) as error:
            if len(assets) == 1:
                raise
            notes.append(f"{asset.key}: left as it is: {error.message}")
        else:
            actions += found
    return Change(f"keep {retention}", tuple(actions), tuple(notes), destructive=True)


@final
@dataclass(frozen=True)
class Retention:
    """What is kept, besides what is current or pinned.

    Parameters:
        age: versions that were current within it; None: it doesn't go by age
        versions: how many of the newest versions; None: it doesn't go by number
        said: the age, as it was said
    """

    age: timedelta | None = None
    versions: int | None = None
    said: str = ""

    @classmethod
    def of(cls, keep: timedelta | str | None, versions: int | None, settings: Settings) -> Retention:
        """What is asked for; where nothing is, what settings say.

        Raises:
            LakehouseError: a retention that can't be
        """
        if versions is not None and versions < 1:
            raise LakehouseError(f"{versions} versions can't be kept; 1 is the least")
        if keep is None and versions is None:
            keep = settings.retention
        return cls(_age(keep), versions, "" if keep is None else str(keep))

    def __bool__(self) -> bool:
        return self.age is not None or self.versions is not None

    def __str__(self) -> str:
        number = "" if self.versions is None else count(self.versions, "version")
        return " and ".join(filter(None, [self.said, number]))


def delete_leftovers(work: Workspace, asset: Asset, actions: list[Action], there: Inventory | None = None) -> None:
    """What attempts that were killed left behind: not what one that may still be at work has staged."""
    from lakehouse.io.inventory import inventory

    known = work.look(asset)
    # Before it is looked at what lies there: what a run has staged then, and publishes meanwhile, is none.
    before = min([work.now - GRACE, *work.begun(asset)])
    there = there or inventory(known.table)
    if not there.complete:
        return
    left = [file for file in there.files if file.kind == "leftover" and file.written < before]
    delete(work, asset, known, "file", "that killed runs left behind", left, actions)


def retain_asset(work: Workspace, asset: Asset, retention: Retention, actions: list[Action], notes: list[str]) -> None:
    """What a retention no longer asks for of one asset."""
    from lakehouse.io.inventory import inventory

    known = work.look(asset)
    begun = work.begun(asset)
    there = inventory(known.table)
    reads = _reads(work, asset, known)
    versions = retention.versions
    oldest = None if retention.age is None else work.now - max(retention.age, GRACE)
    if there.complete:
        # A run may read what was there when it began.
        read = min([work.now - GRACE if oldest is None else oldest, *begun])
        kept = _kept(there, read, versions, work.now)
        pins = _pins(asset, known, there, reads)
        unused, pinned = _unused(asset, there, kept, pins, work.now - GRACE)
        delete(work, asset, known, "file", "of rows that no kept version needs", unused, actions)
        if pinned:
            notes.append(
                f"{asset.key}: {files_of('file', pinned)} of older versions kept, for what is published now was made "
                "from them"
            )
    else:
        notes.append(f"{asset.key}: no rows are removed, for the table's log doesn't go back to its beginning")
    delete_leftovers(work, asset, actions, there)
    if oldest is None:
        return
    telling = (*known.everything.rejected, *known.everything.current)
    held = {f.quarantine.rpartition("/")[2] for _, f in telling if f.quarantine}
    old = [f for f in there.files if f.kind == "quarantined" and f.written < oldest]
    old = [f for f in old if f.held_in not in held]
    delete(work, asset, known, "file", "of rows that were held back, and are no longer", old, actions)
    spare = superseded(known.everything.partitions, known.facts, reads)
    recorded = {f.id for f in known.facts} - {f.id for f in known.unrecorded}
    ids = [f.id for f in spare if f.finished < oldest and f.id in recorded]
    if ids:
        drop = work.drop(asset.key, ids)
        actions.append(replace(drop, do=partial(_if_old, work, known.table, drop.do)))


def delete(
    work: Workspace,
    asset: Asset,
    known: KnownAsset,
    noun: str,
    which: str,
    files: Sequence[StoredFile],
    actions: list[Action],
) -> None:
    """Have files of an asset's table deleted, if there are any; see [_if_old][]."""
    from lakehouse.io.inventory import delete as remove

    if files:
        text = f"{files_of(noun, files)} {which} removed"
        do = partial(_if_old, work, known.table, partial(remove, known.table, files))
        actions.append(Action(asset.key, text, do, tuple(f.uri for f in files)))


def _if_old(work: Workspace, table: DeltaLakeTable, remove: Callable[[], None]) -> None:
    """Remove what is old by this machine's clock, if that isn't ahead of the one that files are dated by.

    Raises:
        LakehouseError: it is
    """
    from lakehouse.io.inventory import clock

    if work.by_clock and (ahead := work.now - clock(table)) > _SKEW:
        raise LakehouseError(
            f"the clock of this machine is {format_duration(ahead)} ahead of the one that the files of {table.uri} are "
            "dated by: what seems to be old may be in use; nothing of it was removed",
            hint="set the clock, and call this again",
        )
    remove()


def _reads(work: Workspace, asset: Asset, known: KnownAsset) -> dict[int, list[Read]]:
    """What others' current publications were made from, by version, be they made from it still or not."""
    names = {asset.key, *known.state.formerly}
    readers = {fact.asset for name in names for fact in work.lake.lineage_store.built_from(name)}
    readers |= {consumer.key for consumer in work.lake.graph.consumers(asset)}
    found: dict[int, list[Read]] = {}
    for consumer in work.lake.graph:
        if consumer.key in readers:
            for part, fact in work.look(consumer).everything.current:
                for read in work.reads.needed(consumer, part, fact, asset):
                    if read.version is not None:
                        found.setdefault(read.version, []).append(read)
    return found


def _pins(asset: Asset, known: KnownAsset, there: Inventory, reads: Mapping[int, Sequence[Read]]) -> list[_Pin]:
    """The rows that are kept for what was made from them: in the newest version in which they are what was read.

    So an older file is not kept for rows that lie in a newer one too, be it that they were published again as they
    were, or that a partition beside them was, in the file that they share.
    """
    from lakehouse.io.tokens import spans

    before, log = known.state.meaning.before, facts_in_log(known.table, asset.key)
    every = tuple(pair for some in reads.values() for read in some for pair in read.then)
    partitions = known.everything.partitions.including(every)
    pins: list[_Pin] = []
    asked: list[Asked] = []
    for version, some in reads.items():
        pairs = [pair for read in some for pair in read.then]
        if (before is not None and version <= before) or not all(partitions.from_pairs([pair]) for pair in pairs):
            # It isn't known which of its files hold what was read.
            pins.append(_Pin(version, None))
            continue
        asked.append(Asked(version, partitions.from_pairs(pairs)))
    until_when = unchanged(partitions, log, asked, there.others, exact=there.undigested)
    for one, found in zip(asked, until_when, strict=True):
        for part, until in found:
            if until is not None:
                # A release that kept no other version than that which was read may have removed this one.
                lacks = any(there.lacks(until, first, last) for first, last in spans(part))
                pins.append(_Pin(one.version if lacks else until, part))
    return pins


GRACE = timedelta(days=1)
"""Nothing that is younger is removed: somebody may be at work on it."""
_SKEW = timedelta(hours=1)


def _kept(there: Inventory, oldest: datetime, versions: int | None, now: datetime) -> list[int]:
    """The versions that were current after a moment, and the newest ones."""
    newest = len(there.made) - 1
    few = newest if versions is None else newest - versions
    return [v for v in range(newest + 1) if v == newest or v > few or there.made[v + 1] >= oldest]


def _unused(
    asset: Asset, there: Inventory, kept: Sequence[int], pins: Sequence[_Pin], oldest: datetime
) -> tuple[list[StoredFile], list[StoredFile]]:
    """The files that are not needed, and those that are for the sake of pins alone."""
    from lakehouse.io.tokens import spans

    read: dict[int, list[tuple[str, str]]] = {}
    for pin in pins:
        read.setdefault(pin.version, []).extend(_WHOLE if pin.partitions is None else spans(pin.partitions))
    unused: list[StoredFile] = []
    pinned: list[StoredFile] = []
    for file in there.files:
        if file.kind != "rows" or _meets(file.versions, kept) or file.written >= oldest:
            continue
        wanted = any(
            version in file.versions and any(first <= file.last and file.first <= last for first, last in bounds)
            for version, bounds in read.items()
        )
        (pinned if wanted else unused).append(file)
    return unused, pinned


@dataclass(frozen=True)
class _Pin:
    """A version that something published was made from, and the partitions of it that were read; None: all."""

    version: int
    partitions: PartitionSet | None


_WHOLE = [("", chr(0x10FFFF))]


def _meets(versions: range, kept: Sequence[int]) -> bool:
    at = bisect_left(kept, versions.start)
    return at < len(kept) and kept[at] < versions.stop


def _age(keep: timedelta | str | None) -> timedelta | None:
    if keep is None:
        return None
    try:
        return parse_duration(keep)
    except ValueError as error:
        raise LakehouseError(f"{keep!r:.100} can't be kept: {error}", hint="write 12h, 90d or 8w") from None
