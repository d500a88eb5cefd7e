"""The graph of assets: valid as a whole, or it does not exist."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from lakehouse.definitions.asset import Asset, AssetSource, Layer
from lakehouse.definitions.signature import Parameter
from lakehouse.errors import (
    AmbiguousInput,
    ContractViolation,
    CycleError,
    DefinitionError,
    DuplicateAsset,
    LayerViolation,
    PartitionMismatch,
    UnknownAsset,
    UnknownInput,
    nearest,
    shorten,
)
from lakehouse.partitions import Now, PartitionMapping, PartitionSet, Rule, Same, misfit


@final
@dataclass(frozen=True)
class Edge:
    """One input of an asset, resolved.

    Parameters:
        parameter: the parameter that it fills
        asset: the asset that fills it
    """

    parameter: Parameter
    asset: Asset

    @property
    def rule(self) -> Rule | None:
        """How its partitions become the consumer's, where that was said outright."""
        return self.parameter.source.rule if self.parameter.source is not None else None


@final
class AssetGraph:
    """Assets and what each is made from. Every fault is found here, before anything runs.

    Parameters:
        assets: the assets; those that they depend on come along

    Raises:
        DuplicateAsset: two assets with one key
        DefinitionError: what is no asset
        UnknownInput: a parameter that names no asset, or a check that names no parameter
        AmbiguousInput: a parameter that could mean several
        CycleError: assets that depend on each other in a circle
        LayerViolation: e.g. a Silver asset that reads Gold
        PartitionMismatch: partitions that can't be made from their inputs'
        ContractViolation: a column that is asked for and not promised

    Examples:
        >>> from lakehouse import bronze, silver
        >>> @bronze
        ... def raw(): ...
        >>> @silver
        ... def clean(raw): ...
        >>> [asset.key for asset in AssetGraph([clean, raw])]
        ['bronze.raw', 'silver.clean']
    """

    def __init__(self, assets: Iterable[Asset]) -> None:
        given = list(dict.fromkeys(assets))
        for asset in given:
            if not isinstance(asset, Asset):
                raise DefinitionError(
                    f"{asset!r} is no asset", hint="declare it with @bronze, @silver or @gold, and give it as it is"
                )
        found: dict[str, Asset] = {}
        edges: dict[str, tuple[Edge, ...]] = {}
        for asset in given:
            _add(found, asset)
        waiting = list(given)
        while waiting:
            asset = waiting.pop()
            edges[asset.key] = tuple(Edge(p, _resolve(asset, p, given)) for p in asset.inputs)
            for edge in edges[asset.key]:
                if _add(found, edge.asset):
                    waiting.append(edge.asset)
        order = _order(edges)
        self._assets = MappingProxyType({key: found[key] for key in order})
        self._edges = MappingProxyType({key: edges[key] for key in order})
        consumers: dict[str, list[str]] = {key: [] for key in order}
        for key in order:
            for source in dict.fromkeys(edge.asset.key for edge in edges[key]):
                consumers[source].append(key)
        self._consumers = {key: tuple(found) for key, found in consumers.items()}
        for asset in self:
            _check_comparisons(asset)
            _check_columns(asset, self._edges[asset.key])
            _check_files(asset)
            for edge in self._edges[asset.key]:
                _check_layer(asset, edge)
                _check_partitions(asset, edge)
                _check_compared(asset, edge)
                _check_reading(asset, edge)
                if not edge.asset.keeps_files:
                    _check_contract(asset, edge)

    @property
    def assets(self) -> Mapping[str, Asset]:
        """Every asset by its key, producers before consumers."""
        return self._assets

    def inputs(self, asset: Asset | str) -> tuple[Edge, ...]:
        """What an asset is made from."""
        return self._edges[self[asset].key]

    def mapping(self, asset: Asset, edge: Edge, now: Now, there: PartitionSet) -> PartitionMapping:
        """How the partitions of an input become those of the asset, of those that are there."""
        return PartitionMapping(asset.partitions, edge.asset.partitions, now, edge.rule, there)

    def consumers(self, asset: Asset | str) -> tuple[Asset, ...]:
        """What is made from an asset."""
        return tuple(self._assets[key] for key in self._consumers[self[asset].key])

    def ancestors(self, asset: Asset | str) -> tuple[Asset, ...]:
        """Everything that an asset depends on, however far, producers first."""
        return self._reach([self[asset].key], self._sources)

    def involved(self, targets: Iterable[Asset]) -> list[Asset]:
        """Some assets and everything that they depend on, producers first."""
        keys = {self[target].key for target in targets}
        needed = keys.union(asset.key for asset in self._reach(keys, self._sources))
        return [asset for key, asset in self._assets.items() if key in needed]

    def descendants(self, asset: Asset | str) -> tuple[Asset, ...]:
        """Everything that depends on an asset, however far, producers first."""
        return self._reach([self[asset].key], self._consumers.__getitem__)

    def _sources(self, key: str) -> list[str]:
        return [edge.asset.key for edge in self._edges[key]]

    def _reach(self, starts: Iterable[str], neighbours: Callable[[str], Iterable[str]]) -> tuple[Asset, ...]:
        seen: set[str] = set()
        waiting = list(starts)
        while waiting:
            new = [k for k in neighbours(waiting.pop()) if k not in seen]
            seen.update(new)
            waiting.extend(new)
        return tuple(asset for key, asset in self._assets.items() if key in seen)

    def __getitem__(self, asset: Asset | str) -> Asset:
        key = asset if isinstance(asset, str) else asset.key
        try:
            return self._assets[key]
        except KeyError:
            raise UnknownAsset(
                f"there is no asset {key!r}; there are {shorten(self._assets)}",
                hint=nearest(key, self._assets),
            ) from None

    def __contains__(self, asset: object) -> bool:
        return (asset.key if isinstance(asset, Asset) else asset) in self._assets

    def __iter__(self) -> Iterator[Asset]:
        return iter(self._assets.values())

    def __len__(self) -> int:
        return len(self._assets)


def _add(found: dict[str, Asset], asset: Asset) -> bool:
    other = found.get(asset.key)
    if other is None:
        found[asset.key] = asset
        return True
    if other is not asset:
        raise DuplicateAsset(
            f"two assets are named {asset.key}: in {_place(other)} and in {_place(asset)}",
            hint="rename one of them",
        )
    return False


def _place(asset: Asset) -> str:
    code = getattr(asset.function, "__code__", None)
    return f"{asset.function.__module__}, line {code.co_firstlineno}" if code else asset.function.__module__


def _resolve(asset: Asset, parameter: Parameter, given: list[Asset]) -> Asset:
    """Which asset a parameter means: what its annotation says, or what its name means in the function's module."""
    module: dict[str, Any] = getattr(asset.function, "__globals__", {})
    known = list(dict.fromkeys([*assets_among(module.values()), *given]))
    if parameter.source is not None:
        if isinstance(parameter.source.asset, Asset):
            return parameter.source.asset
        wanted = parameter.source.asset
        named = [a for a in known if a.key == wanted]
    else:
        wanted = parameter.name
        here = module.get(wanted)
        if isinstance(here, Asset) and here is not asset:
            return here
        named = [a for a in known if a.name == wanted and a is not asset]
    if len(named) == 1:
        return named[0]
    if named:
        raise AmbiguousInput(
            f"the parameter {parameter.name!r} of {asset.key} could be {' or '.join(sorted(a.key for a in named))}",
            hint=f'say which: {parameter.name}: Annotated[..., From("{named[0].key}")]',
        )
    if asset.declared is not None:
        raise UnknownInput(
            f"{asset.key} reads {wanted}, which is no asset of the lakehouse; there are "
            f"{shorten(sorted(a.key for a in known if a is not asset)) or 'none'}",
            hint=nearest(wanted, [a.key for a in known if a is not asset]),
        )
    raise UnknownInput(
        f"{asset.key} has the parameter {parameter.name!r}, but {asset.function.__module__} holds no asset "
        f"{wanted!r}; assets there: {shorten(sorted(a.key for a in known)) or 'none'}",
        hint=nearest(wanted, [a.key if "." in wanted else a.name for a in known if a is not asset])
        or f"import the asset there, or write {parameter.name}: Annotated[..., From(asset)]",
    )


def assets_among(values: Iterable[Any]) -> list[Asset]:
    """The assets among what a module holds, and those of the asset sources among it."""
    listed = list(values)
    own = [v for v in listed if isinstance(v, Asset)]
    return list(dict.fromkeys([*own, *(a for v in listed if isinstance(v, AssetSource) for a in v.assets)]))


def _order(edges: Mapping[str, tuple[Edge, ...]]) -> list[str]:
    sorter = graphlib.TopologicalSorter({k: [e.asset.key for e in edges[k]] for k in sorted(edges)})
    try:
        return list(sorter.static_order())
    except graphlib.CycleError as error:
        circle = list(reversed(error.args[1]))
        raise CycleError(
            f"these assets depend on each other in a circle: {' <- '.join(circle)}",
            hint="one of them has to be made without the next",
        ) from None


def _check_comparisons(asset: Asset) -> None:
    names = [p.name for p in asset.inputs]
    for check in asset.checks:
        upstream = getattr(check, "upstream", None)
        if upstream is not None and upstream not in names:
            raise UnknownInput(
                f"the check {check.name!r} of {asset.key} compares with {upstream!r}, which is no parameter of it; "
                f"there are {shorten(names) or 'none'}",
                hint=nearest(upstream, names),
            )


def _check_columns(asset: Asset, edges: Iterable[Edge]) -> None:
    """See that the columns that checks look at are promised, where it is said which are."""
    compared = {edge.parameter.name: edge.asset for edge in edges}
    for check in asset.checks:
        looks = [(asset, getattr(check, "columns", ()))]
        if (upstream := getattr(check, "upstream", None)) is not None:
            looks.append((compared[upstream], getattr(check, "upstream_columns", ())))
        for whose, columns in looks:
            schema = whose.schema
            absent = [] if schema is None else [c for c in columns if not schema.allows(c)]
            absent = [c for c in absent if c not in whose.partitions.columns]
            if schema is not None and schema.columns and absent:
                raise ContractViolation(
                    f"the check {check.name!r} of {asset.key} looks at the column {absent[0]!r}, which "
                    f"{schema.name} of {whose.key} doesn't have",
                    hint=nearest(absent[0], [c.name for c in schema.columns])
                    or f"it has {shorten([c.name for c in schema.columns], 8)}; declare the column there",
                )


def _check_compared(asset: Asset, edge: Edge) -> None:
    compared = any(getattr(check, "upstream", None) == edge.parameter.name for check in asset.checks)
    alike = asset.partitions.domain == edge.asset.partitions.domain and isinstance(edge.rule, Same | None)
    if compared and not alike:
        raise PartitionMismatch(
            f"{asset.key} ({asset.partitions}) can't be reconciled with {edge.asset.key} ({edge.asset.partitions}), "
            "partition by partition: they are partitioned otherwise",
            hint="reconcile with an input that is partitioned alike, or use a custom check",
        )


def _check_files(asset: Asset) -> None:
    """See that files are kept where they may be, and that checks look at files only where there are some."""
    if asset.keeps_files and asset.layer is not Layer.BRONZE:
        raise LayerViolation(
            f"{asset.key} keeps files as they were sent, which Bronze alone does",
            hint=f"declare {asset.name} with @bronze, or return a frame",
        )
    looking = [check.name for check in asset.checks if getattr(check, "looks_at_files", False)]
    if looking and not asset.keeps_files:
        raise ContractViolation(
            f"the check {looking[0]!r} of {asset.key} looks at files, and the asset keeps none",
            hint="what keeps files returns RawFiles",
        )
    own = sorted({"name", "size", "sha256"} & set(asset.partitions.columns)) if asset.keeps_files else []
    if own:
        raise DefinitionError(
            f"{asset.key} keeps files, whose list has a column {own[0]!r} already",
            hint="give the partitions' column another name",
        )


def _check_reading(asset: Asset, edge: Edge) -> None:
    """See that it is said how files are read, and that what is read so are files."""
    given = edge.parameter
    if edge.asset.keeps_files:
        if asset.builder is None and (given.files or given.reader is not None):
            return
        raise ContractViolation(
            f"{asset.key} reads {edge.asset.key}, which keeps files, and doesn't say how they are read",
            hint=f"{given.name}: Annotated[pl.LazyFrame, Model, Csv()], or RawFiles to be given the files themselves"
            if asset.builder is None
            else "read them in an asset that is made in Python",
        )
    if given.reader is not None or (given.files and not edge.asset.external):
        raise ContractViolation(
            f"{asset.key} reads {edge.asset.key} as files, and it keeps none",
            hint=f"what keeps files returns RawFiles; annotate {given.name} with a type of frame",
        )


def _check_layer(asset: Asset, edge: Edge) -> None:
    bronze = asset.layer is Layer.BRONZE
    # Files as they were sent are what a source is: Bronze may have them as rows too.
    sent = bronze and edge.asset.layer is Layer.BRONZE and edge.asset.keeps_files
    if edge.asset.layer not in asset.layer.reads and not sent:
        allowed = "sources alone, and files that Bronze keeps" if bronze else " and ".join(sorted(asset.layer.reads))
        raise LayerViolation(
            f"{asset.key} reads {edge.asset.key}, but {asset.layer} may read {allowed}",
            hint=f"move {asset.name} or {edge.asset.name} to another layer",
        )


def _check_partitions(asset: Asset, edge: Edge) -> None:
    fault = misfit(asset.partitions, edge.asset.partitions, edge.rule)
    if fault:
        raise PartitionMismatch(
            f"{asset.key} ({asset.partitions}) can't be made from {edge.asset.key} ({edge.asset.partitions}): {fault}"
        )


def _check_contract(asset: Asset, edge: Edge) -> None:
    asked = edge.parameter.schema
    if asked is None:
        return
    promised = edge.asset.schema
    if promised is None:
        raise ContractViolation(
            f"{asset.key} asks {edge.asset.key} for {asked.name}, but {edge.asset.key} promises no schema",
            hint=f"give {edge.asset.name} a return annotation such as Annotated[pl.LazyFrame, {asked.name}]",
        )
    faults = promised.lacks(asked)
    if faults:
        listed = "; ".join(f"column {column!r} {why}" for column, why in faults[:5])
        raise ContractViolation(
            f"{asset.key} asks {edge.asset.key} for {asked.name}: {listed}",
            hint=f"{promised.name} promises {shorten([c.name for c in promised.columns], 8)}",
        )
