"""The snapshot: all that lineage, the tables' logs and the sources say of some assets, read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import LakehouseError, StepError, StorageError, TableMismatch
from lakehouse.lineage import AssetState, Fact, LineageReader
from lakehouse.lineage.dynamic_partitions import dynamics, registered
from lakehouse.lineage.observations import observe
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
        facts: what lineage has, and what only the table's log or the source says
        unrecorded: the latter
        fault: why its table or source can't be read, if it can't: then this is what lineage has; or that the table is
            partitioned otherwise than the asset is declared
    """

    state: AssetState
    facts: tuple[Fact, ...] = field(default=(), repr=False)
    unrecorded: tuple[Fact, ...] = field(default=(), repr=False)
    fault: LakehouseError | None = None


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
) -> Snapshot:
    """Read what is known of assets. One whose table or source can't be read hides no other: see [Known][].

    Parameters:
        graph: all assets
        assets: those in question
        lineage: what is recorded
        table: says where an asset's rows live
        now: the present
        look: whether external assets are looked at; if not, they are taken as they were observed last

    Raises:
        LineageError: lineage can't be read
    """

    def know(asset: Asset) -> Known:
        facts = lineage.facts(asset.key)
        try:
            if asset.external:
                found = _observed(asset, facts) if look else []
            else:
                found = unrecorded(table(asset), asset.key, _newest(facts))
        except TableMismatch as error:
            return _of_table(asset, table(asset), facts, error)
        except (StorageError, StepError) as error:
            return Known(AssetState.fold(asset.partitions, facts), tuple(facts), (), error)
        ids = {fact.id for fact in facts}
        facts = [*facts, *(fact for fact in found if fact.id not in ids)]
        state = AssetState.fold(asset.partitions, facts)
        return Known(state, tuple(facts), tuple(found), None if asset.external else state.meaning.fault(asset.key))

    listed = list(assets)
    known = dict(zip((asset.key for asset in listed), in_parallel(know, listed), strict=True))
    return Snapshot(known, _present(graph, lineage, known, now))


def _newest(facts: Sequence[Fact]) -> list[Fact]:
    """Those that name the highest table version."""
    version = max((fact.version for fact in facts if fact.version is not None), default=None)
    return [fact for fact in facts if version is not None and fact.version == version]


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


def _observed(asset: Asset, recorded: Sequence[Fact]) -> list[Fact]:
    """What an external asset says just now beyond what is recorded of it."""
    before = AssetState.fold(asset.partitions, recorded)
    try:
        return observe(asset, before)
    except LakehouseError as error:
        if not before.present:
            raise
        # One source that is out of reach doesn't stop what is made from others.
        log.warning("%s; going by what was seen of it before", error.message)
        return []


def _present(graph: AssetGraph, lineage: LineageReader, known: Mapping[str, Known], now: datetime) -> Present:
    """The clock, and the dynamic keys: those that are registered, and those that were seen of external assets."""
    names = {one.name: one for asset in graph for one in dynamics(asset.partitions)}
    keys = {name: set(registered(lineage, one)) for name, one in names.items()}
    for key, one in known.items():
        partitions = one.state.partitions
        if isinstance(partitions, Dynamic) and graph[key].external:
            keys[partitions.name] |= set(one.state.present)
    return Present(now, {name: tuple(sorted(found)) for name, found in keys.items()})
