"""What is tidied up again and again: what a retention no longer asks for, and what nobody needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.builder import LeavesBehind, Remnant
from lakehouse.definitions.selection import Targets
from lakehouse.errors import LakehouseError, StepError, StorageError
from lakehouse.lineage.leases import run_begun
from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.retention import GRACE, Retention, delete, delete_leftovers, retain_asset
from lakehouse.maintenance.workspace import Workspace


def maintain(
    work: Workspace, targets: Targets | None = None, *, keep: timedelta | str | None = None, versions: int | None = None
) -> Change:
    """See [Maintenance.maintain][]."""
    retention = Retention.of(keep, versions, work.lake.settings)
    actions: list[Action] = []
    notes: list[str] = []
    if not retention:
        notes.append("older versions are kept: no retention is set (--keep 90d, or the setting retention)")
    assets = work.assets(targets)
    for asset in assets:
        found: list[Action] = []
        try:
            if retention:
                retain_asset(work, asset, retention, found, notes)
            else:
                delete_leftovers(work, asset, found)
            _tidy_log(work, asset, found)
        except (StorageError, StepError) as error:
            # Of what can't be read it isn't known what is needed; the others are looked after.
            notes.append(f"{asset.key}: left as it is: {error.message}")
        else:
            actions += found
    actions += _tidy_builders(work, assets, notes)
    actions += _tell_catalog(work, assets, notes)
    title = f"maintain, and keep {retention}" if retention else "maintain"
    return Change(title, tuple(actions), tuple(notes), destructive=True)


def _tidy_log(work: Workspace, asset: Asset, actions: list[Action]) -> None:
    """What of a table's log is said elsewhere in it, or by a writer that was killed."""
    from lakehouse.io.inventory import spare_log

    known = work.look(asset)
    old = [file for file in spare_log(known.table) if file.written < work.now - GRACE]
    delete(work, asset, known, "file", "of the log that others of it make needless", old, actions)


def _tidy_builders(work: Workspace, assets: list[Asset], notes: list[str]) -> list[Action]:
    """What builders' calls that were killed left elsewhere, once their run is over."""
    builders = {id(one.builder): one for one in assets if isinstance(one.builder, LeavesBehind)}
    found: list[Action] = []
    for asset in builders.values():
        assert isinstance(asset.builder, LeavesBehind)
        try:
            remnants = asset.builder.remnants(work.lake.table(asset))
        except LakehouseError as error:
            notes.append(f"{asset.builder.name}: left as it is: {error.message}")
            continue
        for one in remnants:
            if _over(work, one):
                do = partial(_if_still_over, work, one)
                found.append(
                    Action(asset.builder.name, f"{one.what} removed, which a killed run left", do, (one.what,))
                )
    return found


def _tell_catalog(work: Workspace, assets: list[Asset], notes: list[str]) -> list[Action]:
    """What a catalog doesn't tell as it is: it was out of reach, or is new, or somebody changed it."""
    contracts = work.lake.schemas
    catalog = contracts.catalog
    found: list[Action] = []
    if catalog is None:
        return found
    for asset in assets:
        try:
            entry = contracts.entry(asset, work.table(asset)) if work.look(asset).state.present else None
            if entry is not None and not catalog.tells(entry):
                do = partial(catalog.put, entry)
                found.append(Action(asset.key, "the catalog doesn't tell of it as it is, and will", do))
        except LakehouseError as error:
            notes.append(f"{asset.key}: left as it is in the catalog: {error.message}")
    return found


def _over(work: Workspace, remnant: Remnant) -> bool:
    begun: datetime = run_begun(remnant.run)
    return begun < work.now - GRACE and remnant.run not in work.runs()


def _if_still_over(work: Workspace, remnant: Remnant) -> None:
    if remnant.run not in work.runs():
        remove: Callable[[], None] = remnant.remove
        remove()
