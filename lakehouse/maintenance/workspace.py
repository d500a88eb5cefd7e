"""What the maintenance verbs have in common: the lake, what is known of its assets, and how changes are recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.selection import Targets
from lakehouse.errors import (
    PartitionError,
    PartitioningChanged,
    StorageError,
)
from lakehouse.lineage import AssetState, Fact
from lakehouse.lineage.dynamic_partitions import dynamic_keys
from lakehouse.lineage.leases import Parts, Standing, leased, standing
from lakehouse.lineage.reads import Reads
from lakehouse.lineage.recorder import Recorder
from lakehouse.lineage.table_log import unrecorded
from lakehouse.maintenance.changes import Action
from lakehouse.partitions import FOREVER, WHOLE_MARK, PartitionSelection, PartitionSet, Present

if TYPE_CHECKING:
    from lakehouse.io.delta import DeltaLakeTable
    from lakehouse.lake import Lakehouse


@final
class Workspace:
    """The lake that is looked after, and what is known of its assets, looked up once.

    Parameters:
        lake: the assets and their homes
        now: the present; by default the clock's
    """

    def __init__(self, lake: Lakehouse, *, now: datetime | None = None) -> None:
        self.lake = lake
        self.now = now or datetime.now(UTC)
        self.by_clock = now is None
        self._known: dict[str, KnownAsset] = {}

    def table(self, asset: Asset) -> DeltaLakeTable:
        return self.stored(asset.layer, asset.name, asset)

    def stored(self, layer: Layer, name: str, asset: Asset) -> DeltaLakeTable:
        from lakehouse.io.delta import DeltaLakeTable

        table = self.lake.stored(layer, name, partitioned=asset.partitioned)
        if not isinstance(table, DeltaLakeTable):
            raise StorageError(f"{table.uri} is no Delta table, and only those are looked after")
        return table

    def look(self, asset: Asset, *, otherwise: bool = False) -> KnownAsset:
        """What is known of an asset, looked up once.

        Parameters:
            asset: the asset
            otherwise: whether it may be partitioned otherwise than it is declared

        Raises:
            StorageError, StepError: it can't be read
        """
        if asset.key not in self._known:
            table = self.table(asset)
            version = table.version()
            known = self.lake.snapshot_of([asset], now=self.now, look=False, facts=True).known[asset.key]
            if known.fault is not None and not (otherwise and isinstance(known.fault, PartitioningChanged)):
                raise known.fault
            self._known[asset.key] = KnownAsset(table, version, known.facts, known.unrecorded, known.state)
        found = self._known[asset.key]
        if not otherwise and (fault := found.state.meaning.fault(asset.key)) is not None:
            raise fault
        return found

    def record(self, asset: Asset) -> None:
        """Write down what a commit says; if a kill comes first, the next run does."""
        self.append(unrecorded(self.table(asset), asset.key, self.lake.lineage_store.newest(asset.key)))

    def append(self, found: Sequence[Fact]) -> None:
        """Write down what tables' logs say, and what of their schemas isn't registered."""
        self.lake.lineage_store.append(self.lake.schemas.completed(found))

    def recorder(self, asset: Asset, known: KnownAsset | None = None) -> Recorder:
        """Makes the facts of a change of an asset, after all that is known of it."""
        table = "" if asset.external else self.table(asset).uri
        after = -1 if known is None or known.version is None else known.version
        sequence = known.state.sequence + 1 if known is not None else 0
        return Recorder(
            asset=asset.key,
            started=self.now,
            engine="state",
            table=table,
            spec=asset.partitions.spec,
            after=after,
            sequence=sequence,
        )

    def assets(self, targets: Targets | None) -> list[Asset]:
        chosen = self.lake.graph if targets is None else self.lake.select(targets)
        return [asset for asset in chosen if not asset.external]

    def see_stored(self, asset: Asset) -> Asset:
        if asset.external:
            raise StorageError(f"{asset.key} is external: nothing of it is stored here")
        return asset

    def chosen(self, asset: Asset, wanted: PartitionSelection | None, known: PartitionSet) -> PartitionSet:
        """The partitions that are named, as far as anything is known of them."""
        if wanted is None and asset.partitioned:
            raise PartitionError(
                f"{asset.key} is partitioned ({asset.partitions}): say which partitions", hint="-p '*': all of them"
            )
        if wanted is None:
            return known
        # Whatever anything is known of can be named: also keys that left the register or the definition, what isn't
        # over yet, and what lies outside of bounds that were moved.
        partitions = known.partitions
        facts = (partitions.from_pairs(fact.partitions) for fact in self.look(asset).facts)
        every = partitions.union([known, *facts])
        if wanted == WHOLE_MARK and WHOLE_MARK not in every:
            return known
        keys: dict[str, set[str]] = {}
        for name, part in dynamic_keys(every):
            keys.setdefault(name, {*self.present.keys.get(name, ())}).update(part)
        try:
            present = Present(self.now if WHOLE_MARK in str(wanted) else FOREVER, keys)
            chosen = partitions.named(wanted, now=present)
            partitions.check_range(chosen - every, present)
            return chosen & known
        except PartitionError as error:
            raise PartitionError(f"{asset.key}: {error.message}", hint=error.hint) from None

    @cached_property
    def present(self) -> Present:
        return self.lake.present(self.now)

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.lake.graph, self.state, self.present)

    def state(self, asset: Asset) -> AssetState:
        if asset.external:
            return AssetState.fold(asset.partitions, self.lake.lineage_store.facts(asset.key))
        return self.look(asset).state

    def alone(self, parts: Parts) -> Callable[[], AbstractContextManager[None]]:
        """Keeps runs away from partitions, for as long as a change takes."""
        return partial(leased, self.lake.lineage_store, parts)

    def begun(self, asset: Asset) -> list[datetime]:
        """When the runs began that build an asset just now, or something that is made from it."""
        keys = {asset.key, *(consumer.key for consumer in self.lake.graph.consumers(asset))}
        return [one.begun for one in self._leases if not one.over and keys & one.lease.partitions.keys()]

    @cached_property
    def _leases(self) -> list[Standing]:
        return standing(self.lake.lineage_store)

    def runs(self) -> set[str]:
        """The runs that are at work just now, looked up anew."""
        return {one.lease.run for one in standing(self.lake.lineage_store) if not one.over}

    def drop(self, asset: str, ids: Sequence[str]) -> Action:
        text = f"{len(ids):,} fact{'' if len(ids) == 1 else 's'} removed from lineage"
        return Action(asset, text, partial(self.lake.lineage_store.remove, asset, ids), tuple(ids))


@dataclass(frozen=True)
class KnownAsset:
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

    @property
    def stored(self) -> PartitionSet:
        """The partitions that have rows, those too that the definition doesn't have any more."""
        from lakehouse.io.tokens import from_tokens

        return from_tokens(self.everything.partitions, list(self.table.rows(version=self.version)))
