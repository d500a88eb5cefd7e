"""Lineage recorded again from the tables' own logs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lakehouse.definitions.selection import Targets
from lakehouse.errors import count
from lakehouse.lineage import AssetState
from lakehouse.lineage.dynamic_partitions import register, registered
from lakehouse.lineage.table_log import facts_in_log
from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.workspace import Workspace
from lakehouse.partitions import Dynamic, PartitionSet

if TYPE_CHECKING:
    from lakehouse.lake import Lakehouse


def rebuild(work: Workspace, targets: Targets | None = None) -> Change:
    """See [Maintenance.rebuild][]."""
    actions = []
    keys: dict[str, tuple[Dynamic, PartitionSet]] = {}
    for asset in work.assets(targets):
        table = work.table(asset)
        ids = {fact.id for fact in work.lake.lineage_store.facts(asset.key)}
        found = facts_in_log(table, asset.key)
        missing = [fact for fact in found if fact.id not in ids]
        if missing:
            text = f"{count(len(missing), 'fact')} from the table's log"
            do = partial(work.lake.lineage_store.append, missing)
            actions.append(Action(asset.key, text, do, tuple(fact.id for fact in missing)))
        if isinstance(asset.partitions, Dynamic):
            there = AssetState.fold(asset.partitions, found).present
            _, before = keys.get(asset.partitions.name, (None, there))
            keys[asset.partitions.name] = asset.partitions, before | there
    for definition, part in keys.values():
        if part and not registered(work.lake.lineage_store, definition):
            do = partial(_register, work.lake, definition, part)
            actions.append(Action(definition.label, f"{count(len(part), 'key')} registered again", do, tuple(part)))
    told_not = "attempts that failed, were skipped, or were held back as a whole are in no table's log"
    return Change("rebuild lineage from the tables' logs", tuple(actions), (told_not,) if actions else ())


def _register(lake: Lakehouse, definition: Dynamic, part: PartitionSet) -> None:
    register(lake.lineage_store, definition, list(part))
