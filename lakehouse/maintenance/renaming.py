"""Other names: an asset or a partition keeps its rows and its history when it is renamed."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.selection import Targets
from lakehouse.errors import (
    LakehouseError,
    PartitionConflict,
    PartitionError,
    UnknownAsset,
    WrongFrame,
    count,
    nearest,
    shorten,
)
from lakehouse.execution.home import load
from lakehouse.lineage import AssetState, CheckResult, Fact, Status, new_id
from lakehouse.lineage.dynamic_partitions import check_room, register, registered, retire
from lakehouse.lineage.table_log import from_payload, to_payload
from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.wording import rows_of
from lakehouse.maintenance.workspace import Workspace
from lakehouse.partitions import Dynamic, Partitions, Static

if TYPE_CHECKING:
    from lakehouse.lake import Lakehouse


def rename(work: Workspace, old: str, new: str) -> Change:
    """See [Maintenance.rename][]."""
    from lakehouse.io.inventory import exists, move, same
    from lakehouse.io.layout import QUARANTINE
    from lakehouse.io.storage import Location

    asset = work.lake.graph[new]
    layer, name = _old_name(work, old, asset)
    title = f"rename {old} to {asset.key}"
    facts = work.lake.lineage_store.facts(old)
    if asset.external:
        return _rename_facts(work, title, old, asset, facts)
    start = work.stored(layer, name, asset)
    end = work.table(asset)
    here = [f.id for f in facts]
    recorded = work.lake.lineage_store.facts(asset.key)
    log = [f for p in end.publications(after=None) for f in from_payload(p.payload, p.version)]
    renamed = old in {f.formerly for f in log}
    complete = old in {f.formerly for f in recorded}
    left = any(exists(Location(start.uri + s, start.location.options)) for s in ("", QUARANTINE))
    if not facts and not left and (complete or not renamed):
        if complete:
            return Change(title, (), (f"{old} was renamed already",))
        raise UnknownAsset(
            f"nothing is known of {old}: there is no table at {start.uri}, and no fact in "
            f"{work.lake.lineage_store.uri}",
            hint="see that it is spelled as it was, and that storage and lineage are those that it was built in",
        )
    ours = {*here, *(f.id for f in log if f.asset == old)}
    strange = any(f.status.committed and f.id not in ours for f in recorded)
    if log:
        # It is the old one's table, whatever was published to it since, or it is another one.
        strange = not same(start, end) if start.version() is not None else old not in {f.asset for f in log}
    if strange:
        raise LakehouseError(
            f"{asset.key} has been built already, so it can't take over what there is of {old}",
            hint=f"give it yet another name in the code: {old} can become that",
        )
    actions = []
    if facts:
        actions.append(_copy(work, old, asset, facts, end.uri))
    if left:
        actions.append(Action(asset.key, f"the table moves from {start.uri} to {end.uri}", partial(move, start, end)))
    if not complete:
        mark = partial(work.record, asset) if renamed else partial(_mark_renamed, work, old, asset)
        actions.append(Action(asset.key, f"the table's log and lineage say that it was {old}", mark))
    if work.lake.schemas.catalog is not None and actions:
        follow = partial(work.lake.schemas.recatalog, asset, end, formerly=old)
        actions.append(Action(asset.key, "the catalog tells of it by its new name", follow))
    if facts:
        actions.append(work.drop(old, here))
    return Change(title, tuple(actions), alone=work.alone({old: None, asset.key: None}))


def rename_partition(work: Workspace, targets: Targets, old: str, new: str) -> Change:
    """See [Maintenance.rename_partition][]."""
    actions, notes = [], []
    chosen = work.lake.select(targets)
    for asset in chosen:
        work.see_stored(asset)
        both = _both(asset, old, new)
        known = work.look(asset)
        state = AssetState.fold(both, known.facts)
        was, now = both.select([old]), both.select([new])
        check_room(now, (one.partitions for one in work.lake.graph))
        if not was <= state.present:
            done = any((old, new) in fact.renamed for fact in known.facts)
            if not done and len(chosen) == 1:
                raise PartitionError(
                    f"nothing of {asset.key} is published under {old!r}; there is {state.present}",
                    hint=nearest(old, state.present.keys()),
                )
            notes.append(f"{asset.key} {old} was renamed already" if done else f"{asset.key} has no {old}")
            continue
        if now <= state.present:
            raise PartitionError(
                f"{asset.key} {new} is published already, so it can't take over {old}",
                hint=f"lakehouse state wipe {asset.key} --partition {shlex.quote(new)}",
            )
        text = f"{old} becomes {new}: {rows_of(known.table, was)} written anew, in one commit"
        actions.append(Action(asset.key, text, partial(_rename_rows, work, asset, both, old, new), (old, new)))
    for definition in {asset.partitions for asset in chosen if isinstance(asset.partitions, Dynamic)}:
        if old in registered(work.lake.lineage_store, definition):
            do = partial(_register_anew, work.lake, definition, old, new)
            actions.append(Action(definition.label, f"{new} registered in place of {old}", do, (old, new)))
    keys = {asset.key for asset in chosen}
    others = {c.key for asset in chosen for c in work.lake.graph.consumers(asset)} - keys
    if actions and others:
        notes.append(f"what is made from them stays as it is, with the old key in it: {shorten(sorted(others))}")
    alone = work.alone({asset.key: _both(asset, old, new).of_keys([old, new]) for asset in chosen})
    return Change(f"rename partition {old} to {new}", tuple(actions), tuple(notes), alone=alone)


def _old_name(work: Workspace, old: str, asset: Asset) -> tuple[Layer, str]:
    if old in work.lake.graph:
        raise LakehouseError(
            f"{old} is still an asset", hint=f"rename it in the code first; then its history follows to {asset.key}"
        )
    layer, _, name = old.partition(".")
    if layer not in list(Layer) or not name.isidentifier():
        raise UnknownAsset(f"{old!r} is no asset's key", hint=f"a key looks like {asset.key}")
    if (Layer(layer) is Layer.SOURCE) != asset.external:
        raise LakehouseError(f"{old} and {asset.key} can't be the same: only one of them is external")
    return Layer(layer), name


def _rename_facts(work: Workspace, title: str, old: str, asset: Asset, facts: Sequence[Fact]) -> Change:
    """Rename an external asset: there is nothing else to it."""
    if not facts:
        if old in {fact.formerly for fact in work.lake.lineage_store.facts(asset.key)}:
            return Change(title, (), (f"{old} was renamed already",))
        raise UnknownAsset(f"nothing is known of {old}: there is no fact in {work.lake.lineage_store.uri}")
    none = asset.partitions.empty()
    renamed = work.recorder(asset).fact(Status.RENAMED, none, formerly=old, finished=work.now)
    copies = _copy(work, old, asset, [*facts, renamed], "")
    return Change(title, (copies, work.drop(old, [f.id for f in facts])))


def _copy(work: Workspace, old: str, asset: Asset, facts: Sequence[Fact], uri: str) -> Action:
    copies = [fact.moved(asset.key, uri) for fact in facts]
    text = f"{count(len(facts), 'fact')} of {old} written under {asset.key}"
    return Action(asset.key, text, partial(_write, work, old, asset, copies), tuple(f.id for f in facts))


def _write(work: Workspace, old: str, asset: Asset, copies: Sequence[Fact]) -> None:
    """Write facts under the new key, and before them the schemas that they name."""
    work.lake.schemas.rename(old, asset.key)
    work.lake.lineage_store.append(copies)


def _mark_renamed(work: Workspace, old: str, asset: Asset) -> None:
    table = work.table(asset)
    fact = work.recorder(asset).fact(
        Status.RENAMED, asset.partitions.empty(), formerly=old, reason=f"formerly {old}", finished=work.now
    )
    version = table.version()
    if version is None:
        work.lake.lineage_store.append([fact])
        return
    table.mark(asset.partitions.empty(), fact.id, payload=to_payload([fact]), since=version)
    work.record(asset)


def _rename_rows(work: Workspace, asset: Asset, both: Partitions, old: str, new: str) -> None:
    import polars as pl

    from lakehouse.io import PARTITION
    from lakehouse.io.digests import NOTHING, algorithm, partition_digests
    from lakehouse.io.frames import restore
    from lakehouse.io.tokens import token

    known = work.look(asset)
    ((_, fact),) = AssetState.fold(both, known.facts).within(both.select([old]))
    place = both.token(both.parse(new))
    frame = load(known.table, asset, both.select([old]), version=known.version)
    dtypes = dict(frame.collect_schema())
    column = both.column or ""
    try:
        value = pl.Series(column, [new]).cast(dtypes[column])
    except pl.exceptions.PolarsError as error:
        raise _unfit(asset, column, dtypes[column], new) from error
    frame = frame.with_columns(pl.lit(value.first(), dtype=dtypes[column]).alias(column))
    key = token(both, dtypes, where=asset.key).alias(PARTITION)
    needed = work.reads.all_needed(asset, both.select([old]), fact)
    attempt = new_id()
    staged = known.table.stage(frame.with_columns(key), attempt)
    try:
        if set(staged.rows) - {place}:
            raise _unfit(asset, column, dtypes[column], new)
        digests = partition_digests(restore(known.table.staged(staged), dtypes))
        part = ((new, new),)
        same = fact.model_copy(
            update={
                "id": new_id(),
                "run": new_id(),
                "attempt": 1,
                "engine": "state",
                "flow_run": None,
                "task_run": None,
                "table": known.table.uri,
                "partitions": part,
                "inputs": tuple(read.pin if read else pin for pin, read in needed),
                "renamed": ((old, new),),
                "unchanged": part,
                "compared": known.version,
                "digests": digests.get(place, NOTHING),
                "digested": algorithm(),
                "rows": staged.rows.get(place, 0),
                "bytes": staged.bytes.get(place, 0),
                "checks": tuple(_of_key(check, old, new) for check in fact.checks),
                "host": platform.node(),
                "reason": f"formerly {old}",
            }
        )
        payload = to_payload([same])
        published = both.select([old]) | both.select([new])
        known.table.publish(staged, published, payload=payload, since=known.version)
    except (PartitionConflict, PartitionError, WrongFrame):
        known.table.discard(staged)
        raise
    known.table.discard(staged, published=published)
    work.record(asset)


def _both(asset: Asset, old: str, new: str) -> Partitions:
    """How the asset is partitioned, with the old key beside the new one."""
    match asset.partitions:
        case Static() as static if old in static.keys:
            raise PartitionError(
                f"{old!r} is still a key of {asset.key}", hint="rename it in the code first; then its rows follow"
            )
        case Static() as static:
            static.parse(new)
            return static.including(((old, old),))
        case Dynamic() as dynamic:
            dynamic.parse(new)
            return dynamic
        case other:
            raise PartitionError(
                f"{asset.key} has {other.kind} partitions: only static and dynamic keys can be renamed",
                hint="build the new ones, and wipe the old ones",
            )


def _of_key(check: CheckResult, old: str, new: str) -> CheckResult:
    """What a check found of one partition, under its new key."""
    failed = any(first == old for first, _ in check.failed)
    return check.model_copy(
        update={
            "passed": not failed,
            "failed": ((new, new),) if failed else (),
            "failing_rows": check.failing_rows if failed else 0,
        }
    )


def _unfit(asset: Asset, column: str, dtype: object, key: str) -> WrongFrame:
    return WrongFrame(
        f"{asset.key}: the partition column {column!r} is of type {dtype}, which can't hold {key!r}",
        hint="build the new partition, and wipe the old one",
    )


def _register_anew(lake: Lakehouse, definition: Dynamic, old: str, new: str) -> None:
    register(lake.lineage_store, definition, [new], users=(asset.partitions for asset in lake.graph))
    retire(lake.lineage_store, definition, [old])
