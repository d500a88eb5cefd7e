"""A lakehouse: assets, and where their tables and their lineage live. The verbs are its methods."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, final

from lakehouse.asset_status import AssetStatus, checks_of, last_of
from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.graph import AssetGraph
from lakehouse.definitions.selection import Targets, select
from lakehouse.engines import EngineName, open_engine
from lakehouse.errors import LakehouseError, PartitionError, PlanError, SettingsError, StorageError, shorten
from lakehouse.execution.engine import Engine, Silent, Watcher
from lakehouse.execution.home import RunInfo, load
from lakehouse.execution.run import Run, merge_checks
from lakehouse.lineage import AssetState, Fact, LineageStore, Status, new_id
from lakehouse.lineage.dynamic_partitions import dynamics, register, registered, retire
from lakehouse.lineage.leases import Leases
from lakehouse.lineage.observations import observe
from lakehouse.lineage.open import open_lineage
from lakehouse.lineage.provenance import Trace, trace
from lakehouse.lineage.table_log import unrecorded
from lakehouse.partitions import Dynamic, PartitionSet, Present
from lakehouse.planning.demand import Upstream, ready_by
from lakehouse.planning.plan import Plan, make_plan
from lakehouse.planning.staleness import Reason, stale
from lakehouse.project import assets_in
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.io import Table
    from lakehouse.io.delta import DeltaLakeTable

log = logging.getLogger("lakehouse")

T = TypeVar("T")


@final
class Lakehouse:
    """Assets and their home.

    Parameters:
        assets: the assets, or a module that holds them; what they depend on comes along
        storage: root of all tables (a path, ``file://`` or ``s3://``), or a root for each layer
        lineage: ``sqlite:///path``, ``dynamodb://table``, or a lineage store
        settings: whatever isn't said here; read from the environment and ``pyproject.toml`` by default

    Raises:
        GraphError: the assets don't fit together
        SettingsError: the configuration can't be used

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
        >>> run.frame(numbers).collect().height
        3
    """

    def __init__(
        self,
        assets: Iterable[Asset] | ModuleType | AssetGraph,
        *,
        storage: str | Path | Mapping[str, str | Path] | None = None,
        lineage: str | LineageStore | None = None,
        settings: Settings | None = None,
    ) -> None:
        if isinstance(assets, AssetGraph):
            self.graph = assets
        else:
            self.graph = AssetGraph(assets_in(assets) if isinstance(assets, ModuleType) else assets)
        self.settings = settings or load_settings()
        self._roots = _roots(storage, self.settings)
        self._lineage = lineage if lineage is not None else self.settings.lineage

    # ── homes ─────────────────────────────────────────────────────────────────────────────

    @cached_property
    def lineage_store(self) -> LineageStore:
        """Where facts are read and written."""
        return open_lineage(self._lineage) if isinstance(self._lineage, str) else self._lineage

    def table(self, asset: Asset) -> Table:
        """Where an asset's rows live."""
        return self.stored(asset.layer, asset.name, partitioned=asset.partitioned)

    def stored(self, layer: Layer, name: str, *, partitioned: bool) -> DeltaLakeTable:
        """Where the rows of an asset of that name live, be it one of ours or not."""
        from lakehouse.io.delta import DeltaLakeTable
        from lakehouse.io.storage import Location

        root, below = self._roots[layer]
        location = Location.of(root, self.settings.storage_options)
        return DeltaLakeTable(location.child(*below, name), partitioned=partitioned)

    def __getstate__(self) -> dict[str, Any]:
        from lakehouse.io.storage import Location

        # An open connection doesn't travel; the store is opened again where the copy arrives, which may be in another
        # folder: a relative path would mean another place there.
        state = {k: v for k, v in self.__dict__.items() if k != "lineage_store"}
        state["_roots"] = {layer: (Location.of(root).uri, below) for layer, (root, below) in self._roots.items()}
        state["_lineage"] = self.lineage_store.uri if isinstance(self._lineage, str) else self._lineage
        return state

    def __repr__(self) -> str:
        return f"Lakehouse({len(self.graph)} assets, lineage={self._lineage!r})"

    # ── verbs ─────────────────────────────────────────────────────────────────────────────

    def select(self, targets: Targets) -> tuple[Asset, ...]:
        """The assets that a selection names, producers first; see [lakehouse.definitions.selection][]."""
        return select(self.graph, targets)

    def plan(
        self,
        targets: Targets,
        partitions: Any = None,
        *,
        upstream: Upstream = "missing",
        refresh: bool = False,
        chunk: int | None = None,
        now: datetime | None = None,
    ) -> Plan:
        """What [Lakehouse.materialize][] would do, or with ``refresh=True`` what [Lakehouse.refresh][] would.

        Parameters:
            targets: an asset, several, or a selection such as ``"+gold.*"``
            partitions: a key, a list of keys, a range ``"a...b"`` with both ends; None: what is missing
            upstream: which inputs to build: those ``"missing"``, also those ``"stale"``, ``"all"``, or ``"none"``
            refresh: leave target partitions that are there
            chunk: partitions in a step, at most
            now: the present

        Raises:
            UnknownAsset: a name that no asset has
            PartitionError: partitions that can't be
            PlanError: a request that can't be planned
        """
        wanted = _Wanted(targets, partitions, upstream, refresh, self.settings.chunk if chunk is None else chunk)
        return self._plan(wanted, self._observe(self._involved(targets)), now)

    def materialize(
        self,
        targets: Targets,
        partitions: Any = None,
        *,
        upstream: Upstream = "missing",
        engine: EngineName | Engine | None = None,
        runner: str | None = None,
        chunk: int | None = None,
        raise_on_failure: bool = True,
        watcher: Watcher | None = None,
    ) -> Run:
        """Build what is named, and what it lacks upstream.

        It waits for no other run; of two that publish the same partition at once one wins, and the other's step fails.

        Parameters:
            targets: an asset, several, or a selection such as ``"+gold.*"``
            partitions: a key, a list of keys, a range ``"a...b"`` with both ends, built whether they are there or
                not; None: what is missing
            upstream: which inputs to build: those ``"missing"``, also those ``"stale"``, ``"all"``, or ``"none"``
            engine: ``"prefect"``, ``"inline"``, or an engine
            runner: where Prefect runs the steps: ``"threads"``, or ``"dask://host:port"``, a Dask cluster's scheduler
            chunk: partitions in a step, at most
            raise_on_failure: whether a run in which something failed raises; else it is returned
            watcher: is told what happens

        Raises:
            MaterializationFailed: something failed or was held back; carries the run
            UnknownAsset, PartitionError, PlanError: a request that can't be
            EngineError: the engine can't be reached
        """
        wanted = _Wanted(targets, partitions, upstream, False, self.settings.chunk if chunk is None else chunk)
        return self._execute(wanted, self._walker(engine, runner), raise_on_failure, watcher)

    def refresh(
        self,
        targets: Targets,
        partitions: Any = None,
        *,
        upstream: Upstream = "missing",
        engine: EngineName | Engine | None = None,
        runner: str | None = None,
        chunk: int | None = None,
        raise_on_failure: bool = True,
        watcher: Watcher | None = None,
    ) -> Run:
        """Bring what is named up to date: build what is missing or stale of it. With nothing to do it writes nothing.

        A partition is stale if its code, schema or checks changed, if an input has other rows than those that it was
        made from, if it was held back, or if it is too old. What comes out as it was isn't followed downstream. Where
        another run is building some of it, this waits for that one, and then builds what is still left.

        Takes, returns and raises what [Lakehouse.materialize][] does.
        """
        wanted = _Wanted(targets, partitions, upstream, True, self.settings.chunk if chunk is None else chunk)
        return self._execute(wanted, self._walker(engine, runner), raise_on_failure, watcher)

    def backfill(
        self,
        targets: Targets,
        partitions: Any,
        *,
        chunk: int | None = None,
        parallel: int | None = None,
        upstream: Upstream = "missing",
        engine: EngineName | Engine | None = None,
        runner: str | None = None,
        raise_on_failure: bool = True,
        watcher: Watcher | None = None,
    ) -> Run:
        """Bring a range up to date in chunks, several side by side, each through its layers before the next one.

        It can be interrupted at any moment, and called again: what was published stays, and is not built again. Where
        another run is building some of it, this waits for that one, and then builds what is still left.

        Parameters:
            targets: an asset, several, or a selection such as ``"+gold.*"``
            partitions: a range ``"a...b"`` with both ends, a key, or a list of keys
            chunk: partitions in a chunk, at most; None: the setting, 30 by default
            parallel: chunks side by side, at most; None: the setting ``workers``, 4 by default. An engine of your own
                has its own number, and ``"inline"`` does one after the other.
            upstream: which inputs to build: those ``"missing"``, also those ``"stale"``, ``"all"``, or ``"none"``
            engine: ``"prefect"``, ``"inline"``, or an engine
            runner: where Prefect runs the steps: ``"threads"``, or ``"dask://host:port"``, a Dask cluster's scheduler
            raise_on_failure: whether a run in which something failed raises; else it is returned
            watcher: is told what happens

        Raises:
            PartitionError: no partitions, or partitions that can't be
            MaterializationFailed, UnknownAsset, PlanError, EngineError: as [Lakehouse.materialize][] does

        Examples:
            >>> import tempfile
            >>> import polars as pl
            >>> from lakehouse import Daily, Lakehouse, PartitionRange, bronze
            >>> @bronze(partitions=Daily("2013-01-01", column="date"))
            ... def days(partitions: PartitionRange) -> pl.LazyFrame:
            ...     return pl.LazyFrame({"date": partitions.keys()})
            >>> folder = tempfile.mkdtemp()
            >>> lake = Lakehouse([days], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")
            >>> run = lake.backfill(days, "2013-01-01...2013-03-31", engine="inline")
            >>> len(run.plan), len(run.published(days))
            (3, 90)
        """
        if partitions is None:
            raise PartitionError(
                "a backfill needs partitions: a range a...b with both ends",
                hint="refresh builds all that is missing, without a range",
            )
        if parallel is not None and parallel < 1:
            raise PlanError(f"parallel={parallel!r} can't be: 1 chunk or more is under way at a time")
        wanted = _Wanted(targets, partitions, upstream, True, self.settings.chunk if chunk is None else chunk)
        return self._execute(wanted, self._walker(engine, runner, parallel), raise_on_failure, watcher)

    def observe(self, targets: Targets | None = None) -> dict[str, PartitionSet]:
        """Look at external assets, and write down what changed of them.

        Every other verb looks as well; this is for the events that follow, and for a schedule.

        Parameters:
            targets: which of them; None: all

        Returns:
            the partitions that are new or changed, by the asset's key

        Raises:
            PlanError: none of the targets is external
            StepError, StorageError: one can't be looked at
        """
        chosen = [a for a in (self.graph if targets is None else self.select(targets)) if a.external]
        if targets is not None and not chosen:
            raise PlanError(
                f"{_title_of(targets)} names no external asset", hint="observed are those declared with @source"
            )
        seen = self._observe(chosen)
        self.lineage_store.append([fact for one in seen.values() for fact in one.unrecorded])
        return {
            asset.key: asset.partitions.from_pairs([p for f in seen[asset.key].unrecorded for p in f.partitions])
            for asset in chosen
        }

    def present(self, now: datetime | None = None) -> Present:
        """The clock, and the dynamic keys that are registered.

        Parameters:
            now: another time than that of the clock
        """
        sources = [asset for asset in self.graph if asset.external and any(dynamics(asset.partitions))]
        return self._present(self._observe(sources), now)

    def add_partitions(self, asset: Asset | str, keys: str | Iterable[str]) -> PartitionSet:
        """Register keys of an asset's dynamic partitions, for all assets that are cut by the same name.

        Parameters:
            asset: the asset, or its key
            keys: a key, or several

        Returns:
            those that were not registered yet

        Raises:
            UnknownAsset: no such asset
            PartitionError: it has no dynamic partitions, or a key can't be one
        """
        return register(self.lineage_store, self._dynamic(asset), [keys] if isinstance(keys, str) else keys)

    def remove_partitions(self, asset: Asset | str, keys: str | Iterable[str]) -> PartitionSet:
        """Take keys of an asset's dynamic partitions out of the register; what was built of them stays.

        Takes and raises what [Lakehouse.add_partitions][] does; returns those that were registered.
        """
        return retire(self.lineage_store, self._dynamic(asset), [keys] if isinstance(keys, str) else keys)

    def load(self, asset: Asset | str, partitions: Any = None, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of an asset as they are published, lazily.

        Parameters:
            asset: the asset, or its key
            partitions: which partitions; None: all
            version: a table version; None: the newest

        Raises:
            UnknownAsset: no such asset; PartitionError: partitions that can't be
            StorageError: it was never published, or can't be reached
        """
        found = self.graph[asset]
        if found.external:
            raise StorageError(f"{found.key} is external: it has no table", hint="load what is made from it")
        chosen = None if partitions is None else self._partitions(found, partitions)
        return load(self.table(found), found, chosen, version=version)

    def status(self, targets: Targets | None = None, *, now: datetime | None = None) -> list[AssetStatus]:
        """What is known of each asset: how much of its range is there, and how its last run went.

        Parameters:
            targets: which assets; None: all
            now: the present
        """
        assets = tuple(self.graph) if targets is None else self.select(targets)
        involved = self._involved(assets)
        seen = self._observe(involved)
        moment = self._present(seen, now)
        ready = ready_by(self.graph, involved, lambda asset: seen[asset.key].state, moment)
        return self._each(assets, lambda asset: self._status(asset, seen, ready, moment))

    def trace(self, asset: Asset | str, partitions: Any = None) -> Trace:
        """What an asset's rows were made from, and what was made from them, with versions.

        Parameters:
            asset: the asset, or its key
            partitions: which partitions; None: all that are there

        Raises:
            UnknownAsset: no such asset; PartitionError: partitions that can't be
        """
        found = self.graph[asset]
        chosen = None if partitions is None else self._partitions(found, partitions)
        return trace(self.graph, self.lineage_store, found, chosen, self.present())

    # ── how ───────────────────────────────────────────────────────────────────────────────

    def _walker(self, engine: EngineName | Engine | None, runner: str | None, workers: int | None = None) -> Engine:
        return open_engine(
            engine or self.settings.engine,
            workers or self.settings.workers,
            self.settings.runner if runner is None else runner,
        )

    def _execute(self, wanted: _Wanted, engine: Engine, raise_on_failure: bool, watcher: Watcher | None) -> Run:
        began = time.perf_counter()
        watcher = watcher or Silent()
        run = new_id()
        with Leases(self.lineage_store, run) as leases:
            plan = self._observed(wanted)
            # What is planned before it is leased may have been built by another run in between.
            while plan and not leases.cover(plan):
                leases.take(plan, watcher.waiting if wanted.refresh else None)
                plan = self._observed(wanted)
            name = getattr(engine, "name", type(engine).__name__)
            info = RunInfo(run, datetime.now(UTC), name, _title(wanted.targets, plan))
            results = tuple(engine.execute(plan, self, info, watcher)) if plan else ()
        ended = Run(run, plan, results, time.perf_counter() - began, self)
        return ended.raise_on_failure() if raise_on_failure else ended

    def _observed(self, wanted: _Wanted) -> Plan:
        """The plan for what there is just now; what lineage didn't know of that is recorded."""
        seen = self._observe(self._involved(wanted.targets))
        plan = self._plan(wanted, seen, None)
        found = [fact for one in seen.values() for fact in one.unrecorded]
        if found:
            self.lineage_store.append(found)
        return plan

    def _plan(self, wanted: _Wanted, seen: Mapping[str, _Seen], now: datetime | None) -> Plan:
        return make_plan(
            self.graph,
            self.select(wanted.targets),
            lambda asset: seen[asset.key].state,
            partitions=wanted.partitions,
            upstream=wanted.upstream,
            refresh=wanted.refresh,
            chunk=wanted.chunk,
            now=self._present(seen, now),
        )

    def _involved(self, targets: Targets) -> list[Asset]:
        """The targets and all they depend on, producers first."""
        needed = {a.key for one in self.select(targets) for a in (*self.graph.ancestors(one), one)}
        return [asset for asset in self.graph if asset.key in needed]

    def _observe(self, assets: Iterable[Asset]) -> dict[str, _Seen]:
        """What lineage and the tables' own logs say of assets."""
        listed = list(assets)
        return dict(zip((a.key for a in listed), self._each(listed, self._see), strict=True))

    def _see(self, asset: Asset) -> _Seen:
        if asset.external:
            return self._look(asset)
        found = unrecorded(self.table(asset), self.lineage_store, asset.key)
        known = self.lineage_store.facts(asset.key)
        ids = {fact.id for fact in known}
        return _Seen(AssetState.fold(asset.partitions, [*known, *(f for f in found if f.id not in ids)]), tuple(found))

    def _present(self, seen: Mapping[str, _Seen], now: datetime | None) -> Present:
        """The clock, and the dynamic keys: those that are registered, and those that were seen of external assets."""
        names = {one.name: one for asset in self.graph for one in dynamics(asset.partitions)}
        keys = {name: set(registered(self.lineage_store, one)) for name, one in names.items()}
        for known in seen.values():
            partitions = known.state.partitions
            if isinstance(partitions, Dynamic) and known.external:
                keys[partitions.name] |= set(known.state.present)
        return Present(now or datetime.now(UTC), {name: tuple(sorted(found)) for name, found in keys.items()})

    def _dynamic(self, asset: Asset | str) -> Dynamic:
        found = self.graph[asset]
        one = next(dynamics(found.partitions), None)
        if one is None:
            raise PartitionError(
                f"{found.key} ({found.partitions}) has no dynamic partitions",
                hint="keys are registered for Dynamic(...) alone",
            )
        return one

    def _look(self, asset: Asset) -> _Seen:
        """An external asset as it is just now."""
        known = self.lineage_store.facts(asset.key)
        before = AssetState.fold(asset.partitions, known)
        try:
            found = observe(asset, before)
        except LakehouseError as error:
            if not before.present:
                raise
            # One source that is out of reach doesn't stop what is made from others.
            log.warning("%s; going by what was seen of it before", error.message)
            return _Seen(before, external=True)
        return _Seen(AssetState.fold(asset.partitions, [*known, *found]), tuple(found), external=True)

    def _each(self, assets: Iterable[Asset], look: Callable[[Asset], T]) -> list[T]:
        """Ask about several assets at once: each answer is a few round trips, and they don't depend on each other."""
        listed = list(assets)
        if len(listed) < 2:
            return [look(asset) for asset in listed]
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="lakehouse") as pool:
            return list(pool.map(look, listed))

    def _status(
        self, asset: Asset, seen: Mapping[str, _Seen], ready: Mapping[str, PartitionSet], now: Present
    ) -> AssetStatus:
        table = None if asset.external else self.table(asset)
        state = seen[asset.key].state
        held = state.last(Status.REJECTED)
        tried = [(part, fact) for part, fact in state.attempts if fact.status is Status.REJECTED]
        shown = [checks_of(part, fact) for part, fact in (*state.current, *tried)]
        return AssetStatus(
            asset=asset,
            expected=asset.partitions.all(now),
            present=state.present,
            held=held,
            failed=state.last(Status.FAILED),
            stale=tuple(self._stale(asset, state.present & ready[asset.key], seen, ready, now)),
            rows=None if table is None or table.version() is None else sum(table.rows().values()),
            last=last_of(state),
            checks=merge_checks(shown),
            quarantine=tuple(dict.fromkeys(fact.quarantine for _, fact in tried if fact.quarantine)),
            uri=table.uri if table else asset.key,
        )

    def _stale(
        self,
        asset: Asset,
        partitions: PartitionSet,
        seen: Mapping[str, _Seen],
        ready: Mapping[str, PartitionSet],
        now: Present,
    ) -> list[Reason]:
        if asset.external:
            return []
        return stale(self.graph, asset, partitions, lambda one: seen[one.key].state, ready, now)

    def _partitions(self, asset: Asset, wanted: Any) -> PartitionSet:
        try:
            return asset.partitions.select(wanted, now=self.present())
        except PartitionError as error:
            raise PartitionError(f"{asset.key}: {error.message}", hint=error.hint) from None


@dataclass(frozen=True)
class _Wanted:
    """What a verb was asked for: the same for the plan that is shown and the one that is done."""

    targets: Targets
    partitions: Any
    upstream: Upstream
    refresh: bool
    chunk: int


@dataclass(frozen=True)
class _Seen:
    state: AssetState
    unrecorded: tuple[Fact, ...] = field(default=())
    external: bool = False


def _title(targets: Targets, plan: Plan) -> str:
    """What a person recognizes a run by: ``+gold.* 2013-01-01...2013-01-31``."""
    named = _title_of(targets)
    cut = [asset for asset in plan.assets if asset.partitioned]
    return f"{named} {plan.partitions(cut[-1]).extent}" if cut else named


def _title_of(targets: Targets) -> str:
    listed = [targets] if isinstance(targets, Asset | str) else list(targets)
    return shorten([t if isinstance(t, str) else t.key for t in listed], 3)


def _roots(
    storage: str | Path | Mapping[str, str | Path] | None, settings: Settings
) -> dict[Layer, tuple[str | Path, tuple[str, ...]]]:
    """For each layer its root, and the folders below it."""
    common = settings.storage if storage is None or isinstance(storage, Mapping) else storage
    own: Mapping[str, Any] = storage if isinstance(storage, Mapping) else {}
    stored = [layer for layer in Layer if layer is not Layer.SOURCE]
    unknown = set(own) - set(stored)
    if unknown:
        raise SettingsError(f"storage names the layer {sorted(unknown)[0]!r}; layers are {', '.join(stored)}")
    roots: dict[Layer, tuple[str | Path, tuple[str, ...]]] = {}
    for layer in stored:
        special = own.get(layer) or (getattr(settings, layer) if storage is None else None)
        # The layer's folder is there even below a root of its own: two layers may be given the same one.
        roots[layer] = (special or common, (str(layer),))
    return roots


# ── modules of assets ─────────────────────────────────────────────────────────────────────


# ── the same verbs, without a lakehouse of one's own ──────────────────────────────────────
