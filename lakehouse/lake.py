"""A lakehouse: assets, and where their tables and their lineage live. The verbs are its methods."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lakehouse.asset_status import AssetStatus, asset_statuses
from lakehouse.compute.place import Place
from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.compute import Compute
from lakehouse.definitions.graph import AssetGraph
from lakehouse.definitions.selection import Targets, select
from lakehouse.engines import EngineName, open_engine
from lakehouse.errors import PartitionError, PlanError, SettingsError, StorageError, count
from lakehouse.execution.as_of import load_as_of
from lakehouse.execution.engine import Engine, Silent, Watcher
from lakehouse.execution.home import RunInfo, load
from lakehouse.execution.run import Run
from lakehouse.io.open import MEMORY, absolute, open_table
from lakehouse.lineage import LineageStore, new_id
from lakehouse.lineage.dynamic_partitions import dynamic_of, dynamics, register, retire
from lakehouse.lineage.leases import Leases
from lakehouse.lineage.open import open_lineage
from lakehouse.lineage.provenance import AssetLineage, asset_lineage
from lakehouse.lineage.state import Meaning
from lakehouse.partitions import PartitionSelection, PartitionSet, Present
from lakehouse.places import computes, open_place
from lakehouse.planning.plan import Plan, make_plan
from lakehouse.planning.request import Request, Upstream, targets_name
from lakehouse.planning.snapshot import Snapshot, keep, take_snapshot
from lakehouse.project import assets_in
from lakehouse.redaction import redacted
from lakehouse.registries import open_contracts
from lakehouse.schemas.contracts import SchemaContracts
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.io import Table


class Lakehouse:
    """Assets and their home.

    Parameters:
        assets: the assets, or a module that holds them; what they depend on comes along
        storage: root of all tables (a path, ``file://``, ``s3://``, or ``memory://`` for tables that end with this
            object), or a root for each layer
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
        if MEMORY in self._roots.values():
            from lakehouse.io.memory import MemoryTable

            own = MemoryTable.new_root()
            self._roots = {layer: own if root == MEMORY else root for layer, root in self._roots.items()}
            weakref.finalize(self, MemoryTable.forget, own)
        self._lineage = lineage if lineage is not None else self.settings.lineage

    # ── homes ─────────────────────────────────────────────────────────────────────────────

    @cached_property
    def lineage_store(self) -> LineageStore:
        """Where facts are read and written."""
        return open_lineage(self._lineage) if isinstance(self._lineage, str) else self._lineage

    @cached_property
    def schemas(self) -> SchemaContracts:
        """What assets owe their consumers, and what is registered of their schemas.

        Raises:
            SettingsError: the settings ``registry`` or ``compatibility`` can't be used
        """
        return open_contracts(self.graph, self.lineage_store, self.settings)

    def table(self, asset: Asset) -> Table:
        """Where an asset's rows live."""
        return self.stored(asset.layer, asset.name, partitioned=asset.partitioned)

    def stored(self, layer: Layer, name: str, *, partitioned: bool) -> Table:
        """Where the rows of an asset of that name live, be it one of ours or not."""
        # The layer's folder is there even below a root of its own: two layers may be given the same one.
        return open_table(
            self._roots[layer],
            str(layer),
            name,
            partitioned=partitioned,
            clustered=self.settings.shared_files,
            options=self.settings.storage_options,
        )

    def place(self, asset: Asset) -> Place | None:
        """Where an asset's function is called; None: here.

        Raises:
            SettingsError: the setting ``compute`` can't be used
        """
        return open_place(self.computes.get(asset.key), self.settings)

    def page(self, asset: Asset) -> str | None:
        """The address at which people look at an asset: the setting ``page`` says where pages are served.

        Parameters:
            asset: the asset

        Returns:
            the address; None: nobody has said where pages are served

        Examples:
            >>> from lakehouse import bronze
            >>> from lakehouse.settings import Settings
            >>> @bronze
            ... def numbers(): ...
            >>> Lakehouse([numbers], settings=Settings(page="https://lake.example.com/data/")).page(numbers)
            'https://lake.example.com/data/assets/bronze.numbers.html'
        """
        base = self.settings.page
        return None if base is None else f"{base.rstrip('/')}/{quote(asset_page(asset.key))}"

    @cached_property
    def computes(self) -> dict[str, Compute]:
        """Where functions are called that aren't called here, by the asset's key."""
        return computes(self.graph, self.settings)

    def __getstate__(self) -> dict[str, Any]:
        # An open connection doesn't travel; the store is opened again where the copy arrives, which may be in another
        # folder: a relative path would mean another place there.
        state = {k: v for k, v in self.__dict__.items() if k not in ("lineage_store", "schemas")}
        state["_roots"] = {layer: absolute(root) for layer, root in self._roots.items()}
        state["_lineage"] = self.lineage_store.uri if isinstance(self._lineage, str) else self._lineage
        return state

    def __repr__(self) -> str:
        return f"Lakehouse({count(len(self.graph), 'asset')}, lineage={redacted(repr(self._lineage))})"

    # ── verbs ─────────────────────────────────────────────────────────────────────────────

    def select(self, targets: Targets) -> tuple[Asset, ...]:
        """The assets that a selection names, producers first; see [lakehouse.definitions.selection][]."""
        return select(self.graph, targets)

    def plan(
        self,
        targets: Targets,
        partitions: PartitionSelection | None = None,
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
        request = Request("refresh" if refresh else "materialize", targets, partitions, upstream, chunk)
        return self.plan_for(request, now=now)

    def plan_for(self, request: Request, *, now: datetime | None = None) -> Plan:
        """What would be done about a request; takes and raises what [Lakehouse.plan][] does."""
        return self._plan(request, self.snapshot(request.targets, now=now))

    def materialize(
        self,
        targets: Targets,
        partitions: PartitionSelection | None = None,
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
            watcher: is notified of what happens

        Raises:
            MaterializationFailed: something failed or was held back; carries the run
            UnknownAsset, PartitionError, PlanError: a request that can't be
            EngineError: the engine can't be reached
        """
        request = Request("materialize", targets, partitions, upstream, chunk)
        return self.run(request, engine=engine, runner=runner, raise_on_failure=raise_on_failure, watcher=watcher)

    def refresh(
        self,
        targets: Targets,
        partitions: PartitionSelection | None = None,
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
        request = Request("refresh", targets, partitions, upstream, chunk)
        return self.run(request, engine=engine, runner=runner, raise_on_failure=raise_on_failure, watcher=watcher)

    def backfill(
        self,
        targets: Targets,
        partitions: PartitionSelection,
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
            watcher: is notified of what happens

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
        request = Request("backfill", targets, partitions, upstream, chunk)
        return self.run(
            request,
            engine=engine,
            runner=runner,
            parallel=parallel,
            raise_on_failure=raise_on_failure,
            watcher=watcher,
        )

    def run(
        self,
        request: Request,
        *,
        engine: EngineName | Engine | None = None,
        runner: str | None = None,
        parallel: int | None = None,
        raise_on_failure: bool = True,
        watcher: Watcher | None = None,
    ) -> Run:
        """Do what was asked for: what the other verbs come to.

        Parameters:
            request: what was asked for
            engine: ``"prefect"``, ``"inline"``, or an engine
            runner: where Prefect runs the steps: ``"threads"``, or ``"dask://host:port"``, a Dask cluster's scheduler
            parallel: steps at a time, at most; None: the setting ``workers``
            raise_on_failure: whether a run in which something failed raises; else it is returned
            watcher: is notified of what happens

        Raises:
            MaterializationFailed, UnknownAsset, PartitionError, PlanError, EngineError: as [Lakehouse.materialize][]
        """
        if parallel is not None and parallel < 1:
            raise PlanError(f"parallel={parallel!r} can't be: 1 chunk or more is under way at a time")
        walker = open_engine(
            engine or self.settings.engine,
            parallel or self.settings.workers,
            self.settings.runner if runner is None else runner,
        )
        began = time.perf_counter()
        watcher = watcher or Silent()
        run = new_id()
        with Leases(self.lineage_store, run) as leases:
            plan = self._plan_and_record(request)
            # What is planned before it is leased may have been built by another run in between.
            while plan and not leases.cover(plan):
                leases.take(plan, watcher.waiting if request.refreshes else None)
                plan = self._plan_and_record(request)
            name = getattr(walker, "name", type(walker).__name__)
            info = RunInfo(run, datetime.now(UTC), name, _title(request, plan))
            results = tuple(walker.execute(plan, self, info, watcher)) if plan else ()
        ended = Run(run, plan, results, time.perf_counter() - began, self)
        return ended.raise_on_failure() if raise_on_failure else ended

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
                f"{targets_name(targets)} names no external asset", hint="observed are those declared with @source"
            )
        snapshot = self.snapshot_of(chosen)
        self._record(snapshot)
        snapshot.whole()
        return {
            asset.key: asset.partitions.from_pairs(
                [pair for fact in snapshot.known[asset.key].unrecorded for pair in fact.partitions]
            )
            for asset in chosen
        }

    def snapshot(
        self, targets: Targets, *, now: datetime | None = None, look: bool = True, facts: bool = False
    ) -> Snapshot:
        """What is known of assets and of all they depend on, read and not written.

        Parameters:
            targets: which assets
            now: another time than that of the clock
            look: whether external assets are looked at; if not, they are taken as they were observed last
            facts: whether every fact is asked for, and not only what they come to

        Raises:
            UnknownAsset: no such asset; StorageError, LineageError, StepError: something can't be read
        """
        return self.snapshot_of(self.graph.involved(self.select(targets)), now=now, look=look, facts=facts)

    def snapshot_of(
        self, assets: Iterable[Asset], *, now: datetime | None = None, look: bool = True, facts: bool = False
    ) -> Snapshot:
        """What is known of just these assets; else as [Lakehouse.snapshot][]."""
        moment = now or datetime.now(UTC)
        return take_snapshot(self.graph, assets, self.lineage_store, self.table, moment, look=look, facts=facts)

    def present(self, now: datetime | None = None) -> Present:
        """The clock, and the dynamic keys that are registered.

        Parameters:
            now: another time than that of the clock
        """
        sources = [asset for asset in self.graph if asset.external and any(dynamics(asset.partitions))]
        return self.snapshot_of(sources, now=now).now

    def add_partitions(
        self, asset: Asset | str, keys: str | Iterable[str], *, dimension: str | None = None
    ) -> PartitionSet:
        """Register keys of an asset's dynamic partitions, for all assets whose partitions have the same name.

        Parameters:
            asset: the asset, or its key
            keys: a key, or several; each is taken as it is
            dimension: which of the asset's dimensions they are of, where more than one is dynamic

        Returns:
            those that were not registered yet

        Raises:
            UnknownAsset: no such asset
            PartitionError: it has no dynamic partitions, or a key can't be one
        """
        users = (one.partitions for one in self.graph)
        found = dynamic_of(self.graph[asset], dimension)
        return register(self.lineage_store, found, [keys] if isinstance(keys, str) else keys, users=users)

    def remove_partitions(
        self, asset: Asset | str, keys: str | Iterable[str], *, dimension: str | None = None
    ) -> PartitionSet:
        """Take keys of an asset's dynamic partitions out of the register; what was built of them stays.

        Takes and raises what [Lakehouse.add_partitions][] does; returns those that were registered.
        """
        found = dynamic_of(self.graph[asset], dimension)
        return retire(self.lineage_store, found, [keys] if isinstance(keys, str) else keys)

    def load(
        self, asset: Asset | str, partitions: PartitionSelection | None = None, *, version: int | None = None
    ) -> pl.LazyFrame:
        """The rows of an asset as they are published, lazily.

        Parameters:
            asset: the asset, or its key
            partitions: which partitions; None: all
            version: a table version; None: the newest. Where a retention has removed files of it, rows that are the
                same in a newer one are read from there

        Raises:
            UnknownAsset: no such asset; PartitionError: partitions that can't be
            StorageError: it was never published, or can't be reached, or a retention has removed it
            PartitioningChanged: it is stored with partitions that mean something else
        """
        found = self.graph[asset]
        if found.external:
            raise StorageError(f"{found.key} is external: it has no table", hint="load what is made from it")
        chosen = None if partitions is None else self._partitions(found, partitions)
        self._check_meaning(found, version)
        table = self.table(found)
        return load(table, found, chosen) if version is None else load_as_of(table, found, chosen, version)

    def status(self, targets: Targets | None = None, *, now: datetime | None = None) -> list[AssetStatus]:
        """What is known of each asset: how much of its range is there, and how its last run went.

        Parameters:
            targets: which assets; None: all
            now: the present
        """
        assets = tuple(self.graph) if targets is None else self.select(targets)
        return asset_statuses(self.graph, assets, self.snapshot(assets, now=now), self.table)

    def lineage(self, asset: Asset | str, partitions: PartitionSelection | None = None) -> AssetLineage:
        """What an asset's rows were made from, and what was made from them, with versions.

        Parameters:
            asset: the asset, or its key
            partitions: which partitions; None: all that are there

        Raises:
            UnknownAsset: no such asset; PartitionError: partitions that can't be
        """
        found = self.graph[asset]
        chosen = None if partitions is None else self._partitions(found, partitions)
        snapshot = self.snapshot([found, *self.graph.descendants(found)], look=False, facts=True)
        if (fault := snapshot.fault(found)) is not None:
            raise fault
        return asset_lineage(self.graph, snapshot, found, chosen, snapshot.now)

    # ── how ───────────────────────────────────────────────────────────────────────────────

    def _plan(self, request: Request, snapshot: Snapshot) -> Plan:
        chunk = self.settings.chunk if request.chunk is None else request.chunk
        return make_plan(self.graph, replace(request, chunk=chunk), snapshot)

    def _plan_and_record(self, request: Request) -> Plan:
        """The plan for what there is just now; what lineage didn't know of that is recorded."""
        snapshot = self.snapshot(request.targets)
        plan = self._plan(request, snapshot)
        self._record(snapshot)
        return plan

    def _record(self, snapshot: Snapshot) -> None:
        if found := snapshot.unrecorded:
            self.lineage_store.append(self.schemas.completed(found))
        keep(self.graph, snapshot, self.lineage_store)

    def _check_meaning(self, asset: Asset, version: int | None) -> None:
        """See that keys mean what they meant in what is stored at a version."""
        facts = self.lineage_store.newest(asset.key) if version is None else []
        if not any(fact.spec for fact in facts):
            facts = self.lineage_store.facts(asset.key)
        if (fault := Meaning.of(asset.partitions, facts, version).fault(asset.key, version)) is not None:
            raise fault

    def _partitions(self, asset: Asset, wanted: PartitionSelection) -> PartitionSet:
        try:
            return asset.partitions.select(wanted, now=self.present())
        except PartitionError as error:
            raise PartitionError(f"{asset.key}: {error.message}", hint=error.hint) from None


def asset_page(key: str) -> str:
    """The file of an asset's page, from where pages are served.

    Examples:
        >>> asset_page("silver.flights")
        'assets/silver.flights.html'
    """
    return f"assets/{key}.html"


def _title(request: Request, plan: Plan) -> str:
    """What a person recognizes a run by: ``+gold.* 2013-01-01...2013-01-31``."""
    partitioned = [asset for asset in plan.assets if asset.partitioned]
    return f"{request.name} {plan.partitions(partitioned[-1]).extent}" if partitioned else request.name


def _roots(storage: str | Path | Mapping[str, str | Path] | None, settings: Settings) -> dict[Layer, str | Path]:
    """The root of each layer."""
    common = settings.storage if storage is None or isinstance(storage, Mapping) else storage
    own: Mapping[str, str | Path] = storage if isinstance(storage, Mapping) else {}
    layers = [layer for layer in Layer if layer is not Layer.SOURCE]
    unknown = set(own) - set(layers)
    if unknown:
        raise SettingsError(f"storage names the layer {sorted(unknown)[0]!r}; layers are {', '.join(layers)}")
    return {
        layer: own.get(layer) or (getattr(settings, layer) if storage is None else None) or common for layer in layers
    }
