"""Looking after what is there: renaming, forgetting, wiping, keeping what a retention says, rebuilding lineage."""

from __future__ import annotations

import platform
import shlex
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.selection import Targets
from lakehouse.durations import parse_duration
from lakehouse.errors import (
    LakehouseError,
    PartitionConflict,
    PartitionError,
    StorageError,
    UnknownAsset,
    WrongFrame,
    nearest,
    shorten,
)
from lakehouse.execution.candidate import stage_nothing
from lakehouse.execution.home import load
from lakehouse.lineage import AssetState, CheckResult, Fact, Status, new_id
from lakehouse.lineage.dynamic_partitions import check_room, dynamic_keys, register, registered, retire
from lakehouse.lineage.reads import Read, Reads
from lakehouse.lineage.recorder import Recorder
from lakehouse.lineage.state import superseded
from lakehouse.lineage.table_log import facts_in_log, from_payload, to_payload, unrecorded
from lakehouse.maintenance.changes import Action, Change
from lakehouse.partitions import FOREVER, WHOLE_MARK, Dynamic, Partitions, PartitionSet, Present, Static

if TYPE_CHECKING:
    from lakehouse.io.delta import DeltaLakeTable
    from lakehouse.io.inventory import Inventory, StoredFile
    from lakehouse.lake import Lakehouse

_GRACE = timedelta(days=1)
"""Nothing younger is removed: a run may be reading or writing it."""

_GONE = (Status.FORGOTTEN, Status.WIPED)


@final
class Maintenance:
    """Changes of what is stored and recorded. Each method only looks, and returns a [Change][] to be applied.

    Parameters:
        lake: the assets and their homes
        now: the present; by default the clock's

    Examples:
        >>> import tempfile
        >>> import polars as pl
        >>> from lakehouse import Lakehouse, bronze
        >>> @bronze
        ... def numbers() -> pl.LazyFrame:
        ...     return pl.LazyFrame({"n": [1, 2, 3]})
        >>> folder = tempfile.mkdtemp()
        >>> lake = Lakehouse([numbers], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")
        >>> run = lake.materialize(numbers, engine="inline")
        >>> change = Maintenance(lake).forget(numbers)
        >>> [action.text for action in change.actions]
        ['the whole of it counts as never built; its rows stay readable']
        >>> change.apply()
        >>> bool(lake.status()[0].present)
        False
    """

    def __init__(self, lake: Lakehouse, *, now: datetime | None = None) -> None:
        self.lake = lake
        self.now = now or datetime.now(UTC)
        self._known: dict[str, _Known] = {}

    # ── other names ───────────────────────────────────────────────────────────────────────

    def rename(self, old: str, new: str) -> Change:
        """Let an asset that was renamed in code keep its history, its table and what is held back of it.

        Its facts are written under the new key, the table is moved, the table's log is told, and then the facts
        under the old key are removed. Consumers stay as they are: what they read under the old name is known
        to be this asset.

        Parameters:
            old: the key that it had, which no asset has any more
            new: the key that it has now

        Raises:
            UnknownAsset: there is no asset of the new name, or nothing is known of the old one
            LakehouseError: the old name is still an asset's, or the new one has a history of its own
            StorageError: the two can't lie in the same place
        """
        from lakehouse.io.inventory import exists, move, same
        from lakehouse.io.layout import QUARANTINE
        from lakehouse.io.storage import Location

        asset = self.lake.graph[new]
        layer, name = self._old_name(old, asset)
        title = f"rename {old} to {asset.key}"
        facts = self.lake.lineage_store.facts(old)
        if asset.external:
            return self._rename_facts(title, old, asset, facts)
        start = self._stored(layer, name, asset)
        end = self._table(asset)
        here = [f.id for f in facts]
        recorded = self.lake.lineage_store.facts(asset.key)
        log = [f for p in end.publications(after=None) for f in from_payload(p.payload, p.version)]
        renamed = old in {f.formerly for f in log}
        complete = old in {f.formerly for f in recorded}
        left = any(exists(Location(start.uri + s, start.location.options)) for s in ("", QUARANTINE))
        if not facts and not left and (complete or not renamed):
            if complete:
                return Change(title, (), (f"{old} was renamed already",))
            raise UnknownAsset(
                f"nothing is known of {old}: there is no table at {start.uri}, and no fact in "
                f"{self.lake.lineage_store.uri}",
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
            actions.append(self._copy(old, asset, facts, end.uri))
        if left:
            actions.append(
                Action(asset.key, f"the table moves from {start.uri} to {end.uri}", partial(move, start, end))
            )
        if not complete:
            mark = partial(self._record, asset) if renamed else partial(self._mark_renamed, old, asset)
            actions.append(Action(asset.key, f"the table's log and lineage say that it was {old}", mark))
        if facts:
            actions.append(self._drop(old, here))
        return Change(title, tuple(actions))

    def rename_partition(self, targets: Targets, old: str, new: str) -> Change:
        """Let a static or dynamic partition that is to have another key keep its rows and its history.

        The rows are the same data: the partition column takes the new value, in one commit, and nothing that was made
        from them becomes stale. A static key is renamed in the code first; a dynamic one is registered anew by this.

        Parameters:
            targets: the asset, or all that are to follow
            old: the key that it had
            new: the key that it has now

        Raises:
            PartitionError: partitions that have no names, the old key is still one, or the new one isn't or is built
            WrongFrame: the partition column can't hold the new key
        """
        actions, notes = [], []
        chosen = self.lake.select(targets)
        for asset in chosen:
            self._see_stored(asset)
            both = _both(asset, old, new)
            known = self._look(asset)
            state = AssetState.fold(both, known.facts)
            was, now = both.select([old]), both.select([new])
            check_room(now, (one.partitions for one in self.lake.graph))
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
            text = f"{old} becomes {new}: {_rows(known.table, was)} written anew, in one commit"
            actions.append(Action(asset.key, text, partial(self._rename_rows, asset, both, old, new), (old, new)))
        for definition in {asset.partitions for asset in chosen if isinstance(asset.partitions, Dynamic)}:
            if old in registered(self.lake.lineage_store, definition):
                do = partial(_register_anew, self.lake, definition, old, new)
                actions.append(Action(definition.label, f"{new} registered in place of {old}", do, (old, new)))
        keys = {asset.key for asset in chosen}
        others = {c.key for asset in chosen for c in self.lake.graph.consumers(asset)} - keys
        if actions and others:
            notes.append(f"what is made from them stays as it is, with the old key in it: {shorten(sorted(others))}")
        return Change(f"rename partition {old} to {new}", tuple(actions), tuple(notes))

    # ── gone ──────────────────────────────────────────────────────────────────────────────

    def forget(self, asset: Asset | str, partitions: Any = None) -> Change:
        """Let partitions count as never built: a refresh builds them again. Until then their rows stay readable.

        Parameters:
            asset: the asset, or its key
            partitions: which partitions; ``"*"``: all; None: the asset has none

        Raises:
            UnknownAsset: no such asset; PartitionError: partitions that can't be
        """
        found = self._see_stored(self.lake.graph[asset])
        known = self._look(found)
        tried = [part for part, fact in known.state.attempts if fact.status not in _GONE]
        part = self._chosen(found, partitions, found.partitions.union([known.state.present, *tried]))
        title = f"forget {_named(found, part)}"
        if not part:
            return Change(title, (), (f"nothing of it is recorded of {found.key}",))
        text = f"{_words(found, part)} as never built; its rows stay readable"
        action = Action(found.key, text, partial(self._forget, found, known, part), tuple(part))
        return Change(title, (action,), destructive=True)

    def wipe(self, asset: Asset | str, partitions: Any = None) -> Change:
        """Remove the rows of partitions in one commit; what was made from them becomes stale.

        Versions before the commit keep the rows until a retention removes them ([Maintenance.retain][]).

        Takes and raises what [Maintenance.forget][] does.
        """
        found = self._see_stored(self.lake.graph[asset])
        known = self._look(found)
        there = known.stored(found)
        part = self._chosen(found, partitions, known.state.present | there)
        title = f"wipe {_named(found, part)}"
        if not part or known.version is None:
            return Change(title, (), (f"nothing of it is there of {found.key}",))
        stale = [consumer.key for consumer in self.lake.graph.consumers(found)]
        action = Action(
            found.key,
            f"{_rows(known.table, part)} removed by one commit, {_words(found, part)} as not there",
            partial(self._wipe, found, known, part),
            tuple(part),
        )
        notes = [f"{shorten(stale)} becomes stale" if len(stale) == 1 else f"{shorten(stale)} become stale"]
        return Change(title, (action,), tuple(notes if stale else ()), destructive=True)

    # ── kept ──────────────────────────────────────────────────────────────────────────────

    def retain(
        self, targets: Targets | None = None, *, keep: timedelta | str | None = None, versions: int | None = None
    ) -> Change:
        """Remove what a retention no longer asks for, and what killed runs left behind.

        Files stay that belong to a version that was current within the retention (``keep``) or is one of the newest
        (``versions``), or that a current publication of a consumer was made from. Rows that were held back, but those
        held back now, and facts that were superseded go by ``keep`` alone. Nothing younger than a day is removed.

        Parameters:
            targets: which assets; None: all
            keep: how far back; a ``timedelta``, or text such as ``"90d"``, ``"12h"``, ``"8w"``
            versions: how many versions

        Raises:
            LakehouseError: neither is said, or a retention that can't be
        """
        age = _age(keep)
        if age is None and versions is None:
            raise LakehouseError("say what to keep", hint="--keep 90d, --versions 10, or both")
        if versions is not None and versions < 1:
            raise LakehouseError(f"{versions} versions can't be kept; 1 is the least")
        actions: list[Action] = []
        notes: list[str] = []
        for asset in self._assets(targets):
            self._retain(asset, age, versions, actions, notes)
        said = [str(keep)] if age else []
        if versions is not None:
            said.append("1 version" if versions == 1 else f"{versions} versions")
        return Change(f"keep {' and '.join(said)}", tuple(actions), tuple(notes), destructive=True)

    def rebuild(self, targets: Targets | None = None) -> Change:
        """Record again what the tables' own logs tell, as far as lineage doesn't know it.

        Parameters:
            targets: which assets; None: all
        """
        actions = []
        keys: dict[str, tuple[Dynamic, PartitionSet]] = {}
        for asset in self._assets(targets):
            table = self._table(asset)
            ids = {fact.id for fact in self.lake.lineage_store.facts(asset.key)}
            found = facts_in_log(table, asset.key)
            missing = [fact for fact in found if fact.id not in ids]
            if missing:
                text = f"{_count(missing)} from the table's log"
                do = partial(self.lake.lineage_store.append, missing)
                actions.append(Action(asset.key, text, do, tuple(fact.id for fact in missing)))
            if isinstance(asset.partitions, Dynamic):
                there = AssetState.fold(asset.partitions, found).present
                _, before = keys.get(asset.partitions.name, (None, there))
                keys[asset.partitions.name] = asset.partitions, before | there
        for definition, part in keys.values():
            if part and not registered(self.lake.lineage_store, definition):
                do = partial(_register, self.lake, definition, part)
                actions.append(Action(definition.label, f"{_words_of_keys(part)} registered again", do, tuple(part)))
        told_not = "attempts that failed, were skipped, or were held back as a whole are in no table's log"
        return Change("rebuild lineage from the tables' logs", tuple(actions), (told_not,) if actions else ())

    # ── how: other names ──────────────────────────────────────────────────────────────────

    def _old_name(self, old: str, asset: Asset) -> tuple[Layer, str]:
        if old in self.lake.graph:
            raise LakehouseError(
                f"{old} is still an asset", hint=f"rename it in the code first; then its history follows to {asset.key}"
            )
        layer, _, name = old.partition(".")
        if layer not in list(Layer) or not name.isidentifier():
            raise UnknownAsset(f"{old!r} is no asset's key", hint=f"a key looks like {asset.key}")
        if (Layer(layer) is Layer.SOURCE) != asset.external:
            raise LakehouseError(f"{old} and {asset.key} can't be the same: only one of them is external")
        return Layer(layer), name

    def _rename_facts(self, title: str, old: str, asset: Asset, facts: Sequence[Fact]) -> Change:
        """Rename an external asset: there is nothing else to it."""
        if not facts:
            if old in {fact.formerly for fact in self.lake.lineage_store.facts(asset.key)}:
                return Change(title, (), (f"{old} was renamed already",))
            raise UnknownAsset(f"nothing is known of {old}: there is no fact in {self.lake.lineage_store.uri}")
        none = asset.partitions.empty()
        renamed = self._recorder(asset).fact(Status.RENAMED, none, formerly=old, finished=self.now)
        copies = self._copy(old, asset, [*facts, renamed], "")
        return Change(title, (copies, self._drop(old, [f.id for f in facts])))

    def _copy(self, old: str, asset: Asset, facts: Sequence[Fact], uri: str) -> Action:
        copies = [fact.moved(asset.key, uri) for fact in facts]
        text = f"{_count(facts)} of {old} written under {asset.key}"
        return Action(asset.key, text, partial(self.lake.lineage_store.append, copies), tuple(f.id for f in facts))

    def _drop(self, asset: str, ids: Sequence[str]) -> Action:
        text = f"{len(ids):,} fact{'' if len(ids) == 1 else 's'} removed from lineage"
        return Action(asset, text, partial(self.lake.lineage_store.remove, asset, ids), tuple(ids))

    def _mark_renamed(self, old: str, asset: Asset) -> None:
        table = self._table(asset)
        fact = self._recorder(asset).fact(
            Status.RENAMED, asset.partitions.empty(), formerly=old, reason=f"formerly {old}", finished=self.now
        )
        version = table.version()
        if version is None:
            self.lake.lineage_store.append([fact])
            return
        table.mark(asset.partitions.empty(), fact.id, payload=to_payload([fact]), since=version)
        self._record(asset)

    def _rename_rows(self, asset: Asset, both: Partitions, old: str, new: str) -> None:
        import polars as pl

        from lakehouse.io import PARTITION
        from lakehouse.io.digests import NOTHING, partition_digests
        from lakehouse.io.frames import restore
        from lakehouse.io.tokens import token

        known = self._look(asset)
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
        needed = self._reads.all_needed(asset, both.select([old]), fact)
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
        self._record(asset)

    # ── how: gone ─────────────────────────────────────────────────────────────────────────

    def _forget(self, asset: Asset, known: _Known, part: PartitionSet) -> None:
        fact = self._recorder(asset).fact(Status.FORGOTTEN, part, finished=self.now)
        if known.version is None:
            self.lake.lineage_store.append([fact])
            return
        known.table.mark(part, fact.id, payload=to_payload([fact]), since=known.version)
        self._record(asset)

    def _wipe(self, asset: Asset, known: _Known, part: PartitionSet) -> None:
        rows = sum(known.table.rows(part, version=known.version).values())
        fact = self._recorder(asset).fact(Status.WIPED, part, rows=rows, finished=self.now)
        staged = stage_nothing(known.table, asset, fact.id)
        try:
            known.table.publish(staged, part, payload=to_payload([fact]), since=known.version)
        finally:
            known.table.discard(staged)  # no version uses a file of it
        self._record(asset)

    # ── how: kept ─────────────────────────────────────────────────────────────────────────

    def _retain(
        self, asset: Asset, age: timedelta | None, versions: int | None, actions: list[Action], notes: list[str]
    ) -> None:
        from lakehouse.io.inventory import inventory

        known = self._look(asset)
        there = inventory(known.table)
        pins = self._pins(asset, known)
        oldest = None if age is None else self.now - max(age, _GRACE)
        if there.complete:
            kept = _kept(there, self.now - _GRACE if oldest is None else oldest, versions, self.now)
            unused, pinned = _unused(asset, there, kept, pins, self.now - _GRACE)
            self._delete(asset, known, "file", "of rows that no kept version needs", unused, actions)
            if pinned:
                notes.append(
                    f"{asset.key}: {_files('file', pinned)} of older versions kept, for what is published now was made "
                    "from them"
                )
        else:
            notes.append(f"{asset.key}: no rows are removed, for the table's log doesn't go back to its beginning")
        left = [f for f in there.files if there.complete and f.kind == "leftover" and f.written < self.now - _GRACE]
        self._delete(asset, known, "file", "that killed runs left behind", left, actions)
        if oldest is None:
            return
        held = {f.quarantine.rpartition("/")[2] for _, f in known.everything.rejected if f.quarantine}
        old = [f for f in there.files if f.kind == "quarantined" and f.written < oldest]
        old = [f for f in old if f.uri.rpartition("/")[2] not in held]
        self._delete(asset, known, "file", "of rows that were held back, and are no longer", old, actions)
        spare = superseded(known.everything.partitions, known.facts, [pin.version for pin in pins])
        recorded = {f.id for f in known.facts} - {f.id for f in known.unrecorded}
        ids = [f.id for f in spare if f.finished < oldest and f.id in recorded]
        if ids:
            actions.append(self._drop(asset.key, ids))

    def _delete(
        self, asset: Asset, known: _Known, noun: str, which: str, files: Sequence[StoredFile], actions: list[Action]
    ) -> None:
        from lakehouse.io.inventory import delete

        if files:
            text = f"{_files(noun, files)} {which} removed"
            actions.append(Action(asset.key, text, partial(delete, known.table, files), tuple(f.uri for f in files)))

    def _pins(self, asset: Asset, known: _Known) -> list[_Pin]:
        """The versions that others' current publications were made from, be they made from it still or not."""
        names = {asset.key, *known.state.formerly}
        told = {fact.asset for name in names for fact in self.lake.lineage_store.built_from(name)}
        told |= {consumer.key for consumer in self.lake.graph.consumers(asset)}
        return [
            _pin(read.version, read)
            for consumer in self.lake.graph
            if consumer.key in told
            for part, fact in self._look(consumer).everything.current
            for read in self._reads.needed(consumer, part, fact, asset)
            if read.version is not None
        ]

    @cached_property
    def _reads(self) -> Reads:
        return Reads(self.lake.graph, self._state, self._present)

    def _state(self, asset: Asset) -> AssetState:
        if asset.external:
            return AssetState.fold(asset.partitions, self.lake.lineage_store.facts(asset.key))
        return self._look(asset).state

    @cached_property
    def _present(self) -> Present:
        return self.lake.present(self.now)

    # ── how: in common ────────────────────────────────────────────────────────────────────

    def _table(self, asset: Asset) -> DeltaLakeTable:
        return self._stored(asset.layer, asset.name, asset)

    def _stored(self, layer: Layer, name: str, asset: Asset) -> DeltaLakeTable:
        from lakehouse.io.delta import DeltaLakeTable

        table = self.lake.stored(layer, name, partitioned=asset.partitioned)
        if not isinstance(table, DeltaLakeTable):
            raise StorageError(f"{table.uri} is no Delta table, and only those are looked after")
        return table

    def _look(self, asset: Asset) -> _Known:
        """What is known of an asset, looked up once."""
        if asset.key not in self._known:
            table = self._table(asset)
            version = table.version()
            known = self.lake.snapshot_of([asset], now=self.now, look=False).whole().known[asset.key]
            self._known[asset.key] = _Known(table, version, known.facts, known.unrecorded, known.state)
        return self._known[asset.key]

    def _record(self, asset: Asset) -> None:
        """Write down what a commit told of; if a kill comes first, the next run does."""
        self.lake.lineage_store.append(unrecorded(self._table(asset), self.lake.lineage_store, asset.key))

    def _recorder(self, asset: Asset) -> Recorder:
        table = "" if asset.external else self._table(asset).uri
        return Recorder(asset=asset.key, started=self.now, engine="state", table=table)

    def _assets(self, targets: Targets | None) -> list[Asset]:
        chosen = self.lake.graph if targets is None else self.lake.select(targets)
        return [asset for asset in chosen if not asset.external]

    def _see_stored(self, asset: Asset) -> Asset:
        if asset.external:
            raise StorageError(f"{asset.key} is external: nothing of it is stored here")
        return asset

    def _chosen(self, asset: Asset, wanted: Any, known: PartitionSet) -> PartitionSet:
        """The partitions that are named, as far as anything is known of them."""
        if wanted is None and asset.partitioned:
            raise PartitionError(
                f"{asset.key} is partitioned ({asset.partitions}): say which partitions", hint="-p '*': all of them"
            )
        if wanted is None:
            return known
        # Whatever anything is known of can be named: also keys that left the register, and what isn't over yet.
        facts = (asset.partitions.from_pairs(fact.partitions) for fact in self._look(asset).facts)
        every = asset.partitions.union([known, *facts])
        if wanted == WHOLE_MARK and WHOLE_MARK not in every:
            return known
        keys: dict[str, set[str]] = {}
        for name, part in dynamic_keys(every):
            keys.setdefault(name, {*self._present.keys.get(name, ())}).update(part)
        try:
            present = Present(self.now if WHOLE_MARK in str(wanted) else FOREVER, keys)
            return asset.partitions.select(wanted, now=present) & known
        except PartitionError as error:
            raise PartitionError(f"{asset.key}: {error.message}", hint=error.hint) from None


@dataclass(frozen=True)
class _Known:
    """What is known of an asset.

    Parameters:
        table: its table
        version: the table's version that it is known at
        facts: those recorded and those in the table's log alone
        unrecorded: the latter
        state: what they come to
    """

    table: DeltaLakeTable
    version: int | None
    facts: tuple[Fact, ...]
    unrecorded: tuple[Fact, ...]
    state: AssetState

    @cached_property
    def everything(self) -> AssetState:
        """What they come to with the keys too that the definition doesn't have any more: they may be renamed yet."""
        named = tuple(pair for fact in self.facts for pair in (*fact.partitions, *fact.renamed))
        wide = self.state.partitions.including(named)
        return self.state if wide is self.state.partitions else AssetState.fold(wide, self.facts)

    def stored(self, asset: Asset) -> PartitionSet:
        """The partitions that have rows."""
        from lakehouse.io.tokens import from_tokens

        return from_tokens(asset.partitions, list(self.table.rows(version=self.version)))


def _both(asset: Asset, old: str, new: str) -> Partitions:
    """How the asset is cut, with the old key beside the new one."""
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
            version in file.versions and any(first <= file.token <= last for first, last in bounds)
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
"""First and last of all tokens."""


def _pin(version: int, read: Read) -> _Pin:
    then = read.partitioning
    known = all(then.from_pairs([pair]) for pair in read.then)
    return _Pin(version, then.from_pairs(read.then) if known else None)


def _meets(versions: range, kept: Sequence[int]) -> bool:
    at = bisect_left(kept, versions.start)
    return at < len(kept) and kept[at] < versions.stop


def _register(lake: Lakehouse, definition: Dynamic, part: PartitionSet) -> None:
    register(lake.lineage_store, definition, list(part))


def _register_anew(lake: Lakehouse, definition: Dynamic, old: str, new: str) -> None:
    register(lake.lineage_store, definition, [new], users=(asset.partitions for asset in lake.graph))
    retire(lake.lineage_store, definition, [old])


def _age(keep: timedelta | str | None) -> timedelta | None:
    if keep is None:
        return None
    try:
        return parse_duration(keep)
    except ValueError as error:
        raise LakehouseError(f"{keep!r:.100} can't be kept: {error}", hint="write 12h, 90d or 8w") from None


# ── in words ──────────────────────────────────────────────────────────────────────────────


def _named(asset: Asset, part: PartitionSet) -> str:
    return f"{asset.key} {part}" if asset.partitioned and part else asset.key


def _words(asset: Asset, part: PartitionSet) -> str:
    if not asset.partitioned:
        return "the whole of it counts"
    return f"{part} ({len(part):,} partitions) count" if len(part) > 1 else f"{part} counts"


def _words_of_keys(part: PartitionSet) -> str:
    return f"{len(part):,} keys" if len(part) > 1 else "1 key"


def _rows(table: DeltaLakeTable, part: PartitionSet) -> str:
    rows = sum(table.rows(part).values())
    return "1 row" if rows == 1 else f"{rows:,} rows"


def _count(facts: Sequence[Fact]) -> str:
    return "1 fact" if len(facts) == 1 else f"{len(facts):,} facts"


def _files(noun: str, files: Sequence[StoredFile]) -> str:
    size = float(sum(file.bytes for file in files))
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    number = f"1 {noun}" if len(files) == 1 else f"{len(files):,} {noun}s"
    return f"{number} ({size:,.0f} {unit})" if unit == "bytes" else f"{number} ({size:,.1f} {unit})"


__all__ = ["Action", "Change", "Maintenance"]
