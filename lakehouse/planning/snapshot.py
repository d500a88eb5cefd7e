"""The snapshot: all that lineage, the tables' logs and the sources say of some assets, read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import LakehouseError, LineageError, StepError, StorageError, TableMismatch
from lakehouse.lineage import AssetState, Fact, LineageReader, LineageStore
from lakehouse.lineage.dynamic_partitions import dynamics, registered
from lakehouse.lineage.kept import Kept, Late
from lakehouse.lineage.merging import merged
from lakehouse.lineage.observations import observe
from lakehouse.lineage.store import Since
from lakehouse.lineage.table_log import facts_in_log, unrecorded
from lakehouse.partitions import Dynamic, Present
from lakehouse.redaction import logger

if TYPE_CHECKING:
    from lakehouse.io import TableReader

T = TypeVar("T")
U = TypeVar("U")

log = logger()


@final
@dataclass(frozen=True)
class Known:
    """What is known of one asset.

    Parameters:
        state: what its facts come to
        facts: what lineage has, and what only the table's log or the source says; none, where only what they come to
            was asked for
        unrecorded: the latter
        fault: why its table or source can't be read, if it can't: then this is what lineage has; or that the table is
            partitioned otherwise than the asset is declared
        recorded: what lineage has, folded; None: it was not asked for
    """

    state: AssetState
    facts: tuple[Fact, ...] = field(default=(), repr=False)
    unrecorded: tuple[Fact, ...] = field(default=(), repr=False)
    fault: LakehouseError | None = None
    recorded: Recorded | None = field(default=None, repr=False)


@final
@dataclass(frozen=True)
class Recorded:
    """What lineage has of an asset.

    Parameters:
        kept: its facts, folded
        since: the checkpoint that was read, and what came since
        read: how many facts it took to fold them
    """

    kept: Kept
    since: Since
    read: int


@final
@dataclass(frozen=True)
class Snapshot:
    """What is known of assets at one moment.

    Parameters:
        known: of each asset that was asked about, by its key
        now: the moment, and the keys of dynamic partitions that there are
    """

    known: Mapping[str, Known]
    now: Present

    def state(self, asset: Asset) -> AssetState:
        """What an asset's facts come to."""
        return self.known[asset.key].state

    def facts(self, asset: str) -> Sequence[Fact]:
        """Every fact about an asset, by its key."""
        return self.known[asset].facts if asset in self.known else ()

    def fault(self, asset: Asset) -> LakehouseError | None:
        """Why an asset can't be read, if it can't."""
        return self.known[asset.key].fault

    def whole(self) -> Snapshot:
        """The same, if every asset can be read.

        Raises:
            StorageError, StepError: why one can't
        """
        for one in self.known.values():
            if one.fault is not None:
                raise one.fault
        return self

    @property
    def unrecorded(self) -> list[Fact]:
        """What lineage doesn't know yet."""
        return [fact for one in self.known.values() for fact in one.unrecorded]


def take_snapshot(
    graph: AssetGraph,
    assets: Iterable[Asset],
    lineage: LineageReader,
    table: Callable[[Asset], TableReader],
    now: datetime,
    *,
    look: bool = True,
    facts: bool = False,
) -> Snapshot:
    """Read what is known of assets. One whose table or source can't be read hides no other: see [Known][].

    Parameters:
        graph: all assets
        assets: those in question
        lineage: what is recorded
        table: says where an asset's rows live
        now: the present
        look: whether external assets are looked at; if not, they are taken as they were observed last
        facts: whether every fact is asked for, and not only what they come to

    Raises:
        LineageError: lineage can't be read
    """
    listed = list(assets)
    read = [_all_of(asset, lineage) for asset in listed] if facts else recorded(graph, listed, lineage)

    def know(given: tuple[Asset, Recorded]) -> Known:
        asset, recorded = given
        kept = recorded.kept
        try:
            if asset.external:
                found = _observed(asset, kept.state) if look else []
            else:
                found = unrecorded(table(asset), asset.key, kept.newest)
        except TableMismatch as error:
            return _of_table(asset, table(asset), lineage.facts(asset.key), error)
        except (StorageError, StepError) as error:
            return Known(kept.state, recorded.since.facts if facts else (), (), error)
        try:
            state = kept.plus(found).state
        except Late:
            state = AssetState.fold(asset.partitions, [*lineage.facts(asset.key), *found])
        if found and state.whole is not None:
            state = replace(state, whole=_whole(asset, lineage, found))
        fault = None if asset.external else state.meaning.fault(asset.key)
        if not facts:
            return Known(state, (), tuple(found), fault, recorded)
        ids = {fact.id for fact in recorded.since.facts}
        every = (*recorded.since.facts, *(fact for fact in found if fact.id not in ids))
        return Known(state, every, tuple(found), fault)

    pairs = list(zip(listed, read, strict=True))
    known = dict(zip((asset.key for asset in listed), in_parallel(know, pairs), strict=True))
    return Snapshot(known, present(graph, lineage, known, now))


def _all_of(asset: Asset, lineage: LineageReader) -> Recorded:
    facts = tuple(lineage.facts(asset.key))
    return Recorded(Kept.of(asset.partitions, facts), Since(0, "", facts), len(facts))


def recorded(
    graph: AssetGraph, assets: Sequence[Asset], lineage: LineageReader, beside: Mapping[str, Recorded] | None = None
) -> list[Recorded]:
    """What facts come to, from checkpoints and what came since; from all facts, where that isn't enough.

    Parameters:
        graph: all assets
        assets: those in question
        lineage: what is recorded
        beside: what is known of others, by key

    Raises:
        LineageError: lineage can't be read
    """
    found: dict[str, Recorded] = dict(beside or {})
    read = in_parallel(lambda asset: lineage.since(asset.key), assets)
    given = {asset.key: since for asset, since in zip(assets, read, strict=True)}
    for asset in (one for one in graph if one.key in given):  # producers first
        since = given[asset.key]
        kept = Kept.from_json(since.checkpoint, asset, graph) if since.checkpoint else None
        # What is kept of an asset relies on what was kept of its inputs.
        if kept is not None and all(
            key in found and found[key].kept.epoch == epoch for key, epoch in kept.sources.items()
        ):
            try:
                kept = kept.plus(since.facts)
                at = partial(lineage.at, asset.key)
                kept = replace(kept, state=replace(kept.state, whole=_whole(asset, lineage), at=at))
                found[asset.key] = Recorded(kept, since, len(since.facts))
                continue
            except Late:
                pass
        facts = lineage.facts(asset.key) if since.checkpoint else since.facts
        found[asset.key] = Recorded(Kept.of(asset.partitions, facts), replace(since, facts=tuple(facts)), len(facts))
    return [found[asset.key] for asset in assets]


def _whole(asset: Asset, lineage: LineageReader, found: Sequence[Fact] = ()) -> Callable[[], AssetState]:
    return lambda: AssetState.fold(asset.partitions, [*lineage.facts(asset.key), *found])


ENOUGH = 64
"""So many facts are read one by one before what they come to is kept."""


def keep(graph: AssetGraph, snapshot: Snapshot, lineage: LineageStore) -> None:
    """Keep what facts come to, where reading them has become long: a cache, which others may have renewed meanwhile."""
    recorded = {key: one.recorded for key, one in snapshot.known.items() if one.recorded is not None}
    long = [graph[key] for key, one in recorded.items() if one.read > ENOUGH]
    # What is kept of an asset relies on what is kept of its inputs.
    needed = {asset.key for asset in graph.involved(long)} if long else set()
    if not needed <= recorded.keys():
        return
    new = {key for key in needed if recorded[key].read > ENOUGH or not recorded[key].since.checkpoint}
    kept = merged(graph, {key: one.kept for key, one in recorded.items()}, snapshot.now) if new else {}
    with suppress(LineageError):  # what reads it next does without
        for asset in graph:
            if asset.key in new:
                lineage.keep(asset.key, kept[asset.key].to_json(asset, graph), recorded[asset.key].since)


def _of_table(asset: Asset, table: TableReader, recorded: Sequence[Fact], fault: TableMismatch) -> Known:
    """What is known of an asset if lineage tells of another table: what the table itself says, and what failed."""
    try:
        facts = facts_in_log(table, asset.key)
    except StorageError as error:
        return Known(AssetState.fold(asset.partitions, ()), (), (), error)
    ids = {fact.id for fact in facts}
    facts += [fact for fact in recorded if not fact.status.committed and fact.id not in ids]
    return Known(AssetState.fold(asset.partitions, facts), tuple(facts), (), fault)


def in_parallel(ask: Callable[[T], U], about: Sequence[T]) -> list[U]:
    """Ask about several things at once: each answer is a few round trips, and they don't depend on each other."""
    if len(about) < 2:
        return [ask(one) for one in about]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="lakehouse") as pool:
        return list(pool.map(ask, about))


def _observed(asset: Asset, before: AssetState) -> list[Fact]:
    """What an external asset says just now beyond what is recorded of it."""
    try:
        return observe(asset, before)
    except LakehouseError as error:
        if not before.present:
            raise
        # One source that is out of reach doesn't stop what is made from others.
        log.warning("%s; going by what was seen of it before", error.message)
        return []


def present(graph: AssetGraph, lineage: LineageReader, known: Mapping[str, Known], now: datetime) -> Present:
    """The clock, and the dynamic keys: those that are registered, and those that were seen of external assets."""
    names = {one.name: one for asset in graph for one in dynamics(asset.partitions)}
    keys = {name: set(registered(lineage, one)) for name, one in names.items()}
    for key, one in known.items():
        partitions = one.state.partitions
        if isinstance(partitions, Dynamic) and graph[key].external:
            keys[partitions.name] |= set(one.state.present)
    return Present(now, {name: tuple(sorted(found)) for name, found in keys.items()})
