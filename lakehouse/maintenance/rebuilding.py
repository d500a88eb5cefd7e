"""Lineage recorded again from the tables' own logs, and made to follow tables that are not those that it tells of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.selection import Targets
from lakehouse.errors import count, shorten
from lakehouse.lineage import AssetState, Fact, Status, new_id
from lakehouse.lineage.dynamic_partitions import register, registered
from lakehouse.lineage.facts import DIGEST
from lakehouse.lineage.table_log import facts_in_log, to_payload
from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.wording import words
from lakehouse.maintenance.workspace import Workspace
from lakehouse.partitions import Dynamic, PartitionSet

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.lake import Lakehouse


def rebuild(work: Workspace, targets: Targets | None = None) -> Change:
    """See [Maintenance.rebuild][]."""
    actions: list[Action] = []
    notes: list[str] = []
    keys: dict[str, tuple[Dynamic, PartitionSet]] = {}
    destructive = False
    for asset in work.assets(targets):
        recorded = work.lake.lineage_store.facts(asset.key)
        ids = {fact.id for fact in recorded}
        found = facts_in_log(work.table(asset), asset.key)
        missing = [fact for fact in found if fact.id not in ids]
        if strange := _strange(recorded, found):
            destructive = True
            actions += _follow(work, asset, recorded, found, strange, notes)
        elif missing:
            text = f"{count(len(missing), 'fact')} from the table's log"
            do = partial(work.append, missing)
            actions.append(Action(asset.key, text, do, tuple(fact.id for fact in missing)))
        if isinstance(asset.partitions, Dynamic):
            there = AssetState.fold(asset.partitions, found).present
            _, before = keys.get(asset.partitions.name, (None, there))
            keys[asset.partitions.name] = asset.partitions, before | there
    for definition, part in keys.values():
        if part and not registered(work.lake.lineage_store, definition):
            do = partial(_register, work.lake, definition, part)
            actions.append(Action(definition.label, f"{count(len(part), 'key')} registered again", do, tuple(part)))
    if actions:
        notes.append("attempts that failed, were skipped, or were held back as a whole are in no table's log")
    return Change("rebuild lineage from the tables' logs", tuple(actions), tuple(notes), destructive=destructive)


def _strange(recorded: Sequence[Fact], found: Sequence[Fact]) -> list[Fact]:
    """The facts that tell of versions which the table doesn't have, or has otherwise.

    What lies before the beginning of the log is left out: it may have been tidied up.
    """
    ids = {fact.id for fact in found}
    first = min((fact.version for fact in found if fact.version is not None), default=0)
    return [f for f in recorded if f.version is not None and f.version >= first and f.id not in ids]


def _follow(
    work: Workspace,
    asset: Asset,
    recorded: Sequence[Fact],
    found: Sequence[Fact],
    strange: Sequence[Fact],
    notes: list[str],
) -> list[Action]:
    """Let lineage say what the table says.

    The table goes on from a version that nobody knows yet: what was made from versions that are no more is told from
    what will be made from those that get their numbers. What others read of it is stale, where it went or came back.
    """
    store = work.lake.lineage_store
    believed = AssetState.fold(asset.partitions, recorded)
    truth = AssetState.fold(asset.partitions, found)
    gone = believed.present - truth.present
    back = [
        (part - asset.partitions.union(mine for mine, same in believed.current if same.id == fact.id), fact)
        for part, fact in truth.current
    ]
    back = [(part, fact) for part, fact in back if part]
    names = {asset.key, *believed.formerly, *truth.formerly}
    pinned = [pin.version for name in names for f in store.built_from(name) for pin in f.inputs if pin.asset in names]
    known = [fact.version for fact in (*recorded, *found)]
    newest = work.table(asset).version()
    version = 1 + max(one for one in (-1, newest, *known, *pinned) if one is not None)
    whole = asset.partitions.union([gone, *(part for part, _ in back)])
    does = [f"{words(asset, gone)} as not there"] if gone else []
    does += [f"{words(asset, whole - gone)} as changed"] if back else []
    text = f"the table goes on from version {version}" + "".join(f", {one}" for one in does)
    consumers = [one.key for one in work.lake.graph.consumers(asset)]
    if whole and consumers:
        notes.append(f"{shorten(consumers)} {'becomes' if len(consumers) == 1 else 'become'} stale")
    do = partial(_go_on, work, asset, truth, gone, back, version)
    return [Action(asset.key, text, do, tuple(whole)), work.drop(asset.key, [fact.id for fact in strange])]


def _go_on(
    work: Workspace,
    asset: Asset,
    truth: AssetState,
    gone: PartitionSet,
    back: Sequence[tuple[PartitionSet, Fact]],
    version: int,
) -> None:
    table, store = work.table(asset), work.lake.lineage_store
    recorder = work.recorder(asset)
    reason = "lineage follows the table"
    wiped = recorder.fact(Status.WIPED, gone, reason=reason, finished=work.now)
    # What the table has stays as it is, be the asset declared otherwise by now.
    facts = [wiped.model_copy(update={"spec": truth.meaning.other or wiped.spec})]
    for part, fact in back:
        digests = truth.digests(part)
        again = {
            "id": new_id(),
            "run": recorder.run,
            "partitions": part.to_pairs(),
            "digests": "".join(digest[:DIGEST] for digest in digests.values()) if len(digests) == len(part) else "",
            "unchanged": (),
            "compared": None,
            "renamed": (),
            "rows": sum(table.rows(part).values()),
            "reason": reason,
        }
        facts.append(fact.model_copy(update=again))
    whole = asset.partitions.union([gone, *(part for part, _ in back)])
    staged = table.stage(_no_rows(asset), facts[0].id)
    try:
        table.restart(staged, version, whole, payload=to_payload(facts))
    finally:
        table.discard(staged)  # no version uses a file of it
    ids = {fact.id for fact in store.facts(asset.key)}
    store.append([fact for fact in facts_in_log(table, asset.key) if fact.id not in ids])


def _no_rows(asset: Asset) -> pl.LazyFrame:
    """No rows, with the columns that are known of an asset before it is built; at least one, for a table needs one."""
    import polars as pl

    from lakehouse.io import PARTITION

    promised = {c.name: c.dtype for c in asset.schema.columns if c.dtype is not None} if asset.schema else {}
    columns = promised or dict.fromkeys(asset.partitions.columns or ("empty",), pl.String())
    return pl.LazyFrame(schema={**columns, PARTITION: pl.String()} if asset.partitioned else columns)


def _register(lake: Lakehouse, definition: Dynamic, part: PartitionSet) -> None:
    register(lake.lineage_store, definition, list(part))
