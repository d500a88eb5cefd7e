"""From dbt's manifest to Gold assets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, final

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.policies import Retry
from lakehouse.definitions.schema import Column, Schema
from lakehouse.definitions.signature import From, Parameter, Signature
from lakehouse.errors import DefinitionError, LakehouseError, nearest, shorten
from lakehouse.integrations.dbt.runner import ONE_AT_A_TIME, log, said
from lakehouse.integrations.dbt.strategies import check_hooks, check_strategy
from lakehouse.partitions import Daily, Hourly, Monthly, Partitions, TimePartitions, Unpartitioned, Weekly

if TYPE_CHECKING:
    from lakehouse.integrations.dbt.project import DbtProject

_MADE = ("model", "seed")
_KEYS = ("partitions", "column", "start", "end", "timezone", "retry")
_RETRY = ("times", "delay", "timeout")


@final
@dataclass(frozen=True)
class Model:
    """What stands where other assets have their function.

    Parameters:
        id: dbt's unique id
        reads: for each input, by its parameter, the unique ids of the nodes that it fills
        tests: unique ids of the tests that are run with it
    """

    id: str
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    tests: tuple[str, ...] = ()

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise DefinitionError(f"{self.id} is made by dbt and can't be called", hint="materialize it")


def model_of(asset: Asset) -> Model:
    """The model that an asset is."""
    assert isinstance(asset.function, Model)
    return asset.function


def key_of(source: Mapping[str, Any]) -> str:
    """The key of the asset that a dbt source stands for."""
    meta = {**source.get("meta", {}), **source["config"].get("meta", {})}.get("lakehouse") or {}
    layer = source["source_name"] if source["source_name"] in set(Layer) else str(Layer.SILVER)
    return str(meta.get("asset", f"{layer}.{source['name']}"))


class Reader:
    """Reads a manifest."""

    def __init__(self, project: DbtProject, manifest: Mapping[str, Any]) -> None:
        self.project = project
        self.nodes: dict[str, Any] = manifest["nodes"]
        self.sources: dict[str, Any] = manifest["sources"]
        self.macros: dict[str, Any] = manifest["macros"]
        self.known = {asset.key: asset for asset in project.sources or ()}
        self.made: dict[str, Asset] = {}

    def assets(self) -> tuple[Asset, ...]:
        chosen = self._selected()
        snapshots = sorted(n["name"] for n in chosen if n["resource_type"] == "snapshot")
        if snapshots:
            raise DefinitionError(
                f"{self.project.folder}: the dbt snapshot {snapshots[0]} can't be an asset: it lives on between runs",
                hint="leave it out with select, or write its history as a partitioned model",
            )
        versions = sorted(n["name"] for n in chosen if n.get("version") is not None)
        if versions:
            raise DefinitionError(
                f"{self.project.folder}: the dbt model {versions[0]} has versions; an asset has one definition",
                hint="give each version a name of its own, or leave it out with select",
            )
        wanted = {n["unique_id"] for n in chosen if n["resource_type"] in _MADE and not _ephemeral(n)}
        tests = self._tests(wanted)
        self._name_untested(chosen)
        for uid in self._in_order(wanted):
            self.made[uid] = self._asset(self.nodes[uid], tests.get(uid, []))
        names = [a.name for a in self.made.values()]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise DefinitionError(f"{self.project.folder}: two dbt models are named {twice[0]}")
        return tuple(self.made.values())

    def _selected(self) -> list[Any]:
        if self.project.select is None:
            return list(self.nodes.values())
        with ONE_AT_A_TIME:
            command = ["ls", "--select", self.project.select, "--output", "json", "--output-keys", "unique_id"]
            result = self.project._invoke(None, command, None)
        if not result.success:
            raise DefinitionError(f"dbt can't select {self.project.select!r}: {said(result)}")
        found = {json.loads(line)["unique_id"] for line in result.result or []}
        return [n for uid, n in self.nodes.items() if uid in found]

    def _in_order(self, wanted: Iterable[str]) -> list[str]:
        import graphlib

        sorter = graphlib.TopologicalSorter({uid: n["depends_on"].get("nodes", []) for uid, n in self.nodes.items()})
        chosen = set(wanted)
        return [uid for uid in sorter.static_order() if uid in chosen]

    def _parents(self, uid: str) -> list[str]:
        """What a node reads; an ephemeral model is a part of what reads it."""
        found: list[str] = []
        for parent in self.nodes[uid]["depends_on"].get("nodes", []):
            node = self.nodes.get(parent)
            found += self._parents(parent) if node is not None and _ephemeral(node) else [parent]
        return list(dict.fromkeys(found))

    def _tests(self, wanted: set[str]) -> dict[str, list[str]]:
        """Which tests are run with which model: the last of those that a test looks at."""
        place = {uid: i for i, uid in enumerate(self._in_order(wanted))}
        found: dict[str, list[str]] = {}
        for uid, node in self.nodes.items():
            if node["resource_type"] == "test":
                looked_at = [p for p in self._parents(uid) if p in place]
                if looked_at:
                    found.setdefault(max(looked_at, key=place.__getitem__), []).append(uid)
        return found

    def _name_untested(self, chosen: Iterable[Any]) -> None:
        """Say which tests are not run: those of sources, which are published before dbt sees them."""
        alone = [
            n["name"]
            for n in chosen
            if n["resource_type"] == "test"
            and n["depends_on"].get("nodes")
            and set(self._parents(n["unique_id"])) <= set(self.sources)
        ]
        if alone:
            log.warning(
                "%s: these dbt tests are about sources only and are not run: %s; give the assets checks instead",
                self.project.folder,
                shorten(alone),
            )

    def _asset(self, node: Any, tests: Sequence[str]) -> Asset:
        where = f"the dbt {node['resource_type']} {node['name']}"
        # What its tests look at besides has to be there too, or they could not run.
        own = node["unique_id"]
        parents = [p for uid in (own, *tests) for p in self._parents(uid) if p != own]
        reads: dict[str, list[str]] = {}
        inputs: dict[str, From] = {}
        for parent in dict.fromkeys(parents):
            source = self._source(where, parent)
            reads.setdefault(source.key, []).append(parent)
            inputs[source.key] = source
        meta = {**node.get("meta", {}), **node["config"].get("meta", {})}
        ours = _known(f"{where}: meta.lakehouse", meta.get("lakehouse"), _KEYS)
        partitions = self._partitions(where, ours)
        if node["resource_type"] == "model":
            check_strategy(where, node["config"], partitions, athena=self.project._target.athena)
            check_hooks(where, node["config"])
        return Asset(
            layer=Layer.GOLD,
            name=node["name"],
            function=Model(node["unique_id"], {k: tuple(v) for k, v in reads.items()}, tuple(tests)),
            partitions=partitions,
            description=node.get("description", "").strip(),
            tags=tuple(dict.fromkeys(node.get("tags", []))),
            owners=tuple(_listed(meta.get("owner", meta.get("owners", [])))),
            group=node["config"].get("group") or "",
            retry=_retry(f"{where}: meta.lakehouse.retry", ours.get("retry")),
            declared_version=self.version(node, tests),
            builder=self.project,
            declared=Signature(
                tuple(Parameter(key, source, None, None) for key, source in inputs.items()),
                frozenset(),
                None,
                self._schema(node, tests),
            ),
        )

    def _source(self, where: str, parent: str) -> From:
        if parent in self.made:
            return From(self.made[parent])
        node = self.sources.get(parent)
        if node is None:
            name = parent.rpartition(".")[2]
            raise DefinitionError(
                f"{where} reads {name}, which is not among the models that were selected",
                hint="select it as well, or leave out what reads it",
            )
        key = key_of(node)
        if self.project.sources is None:
            return From(key)
        if key not in self.known:
            raise DefinitionError(
                f"{where} selects from source('{node['source_name']}', '{node['name']}'), but there is no asset {key}; "
                f"there are {shorten(self.known)}",
                hint=nearest(key, self.known),
            )
        return From(self.known[key])

    def _partitions(self, where: str, meta: Mapping[str, Any]) -> Partitions:
        if not meta.get("partitions"):
            return Unpartitioned()
        kind, column = str(meta["partitions"]), meta.get("column")
        if not column:
            raise DefinitionError(
                f"{where} is partitioned, but doesn't say which column holds the partition",
                hint="meta: {lakehouse: {partitions: ..., column: date}}",
            )
        kinds: dict[str, type[TimePartitions]] = {t.kind: t for t in (Hourly, Daily, Weekly, Monthly)}
        if kind in kinds:
            options = {k: str(meta[k]) for k in ("end", "timezone") if meta.get(k)}
            try:
                return kinds[kind](str(meta.get("start", "")), column=str(column), **options)
            except LakehouseError as error:
                raise DefinitionError(f"{where} can't be partitioned so: {error.message}", hint=error.hint) from error
        like = self.known.get(kind) or next((a for a in self.made.values() if a.key == kind), None)
        if like is None:
            raise DefinitionError(
                f"{where} is to be partitioned as {kind}, which is not known here; there are {shorten(self.known)}",
                hint=nearest(kind, self.known) or "or write partitions: daily, with start and column",
            )
        if not like.partitioned:
            raise DefinitionError(
                f"{where} is to be partitioned as {kind}, which is not partitioned",
                hint="name a partitioned asset, or leave partitions out",
            )
        return like.partitions.told_by(str(column))

    def _schema(self, node: Any, tests: Sequence[str]) -> Schema | None:
        # Without an enforced contract the columns are what somebody once wrote down.
        if not node["config"].get("contract", {}).get("enforced"):
            return None
        filled = {
            self.nodes[t].get("column_name")
            for t in tests
            if (self.nodes[t].get("test_metadata") or {}).get("name") == "not_null" and _strict(self.nodes[t]["config"])
        }
        columns = []
        for name, column in node.get("columns", {}).items():
            kinds = {c.get("type") for c in column.get("constraints", [])}
            columns.append(
                Column(
                    name,
                    _in_zone(_dtype(column.get("data_type")), column),
                    nullable=not ({"not_null", "primary_key"} & kinds or name in filled),
                    description=(column.get("description") or "").strip(),
                )
            )
        return Schema(node["name"], tuple(columns)) if columns else None

    def version(self, node: Any, tests: Sequence[str]) -> str:
        """A fingerprint of the SQL, of the project's macros that it calls, and of its tests."""
        seen: dict[str, str] = {}
        waiting = list(node["depends_on"].get("macros", []))
        while waiting:
            macro = self.macros.get(waiting.pop())
            if macro is not None and macro["unique_id"] not in seen and not macro["package_name"].startswith("dbt"):
                seen[macro["unique_id"]] = macro["macro_sql"]
                waiting += macro["depends_on"].get("macros", [])
        checks = [
            (t, self.nodes[t].get("raw_code"), self.nodes[t].get("test_metadata"), _judging(self.nodes[t]["config"]))
            for t in sorted(tests)
        ]
        text = json.dumps([node.get("raw_code") or node.get("checksum"), sorted(seen.items()), checks], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _judging(config: Mapping[str, Any]) -> list[Any]:
    """What of a test's configuration says when it fails, and what that does."""
    return [config.get(word) for word in ("severity", "error_if", "warn_if", "fail_calc", "where", "enabled")]


def _ephemeral(node: Any) -> bool:
    return bool(node["config"].get("materialized") == "ephemeral")


def _strict(config: Mapping[str, Any]) -> bool:
    """Whether a test holds back whatever has one failing row."""
    conditions = {config.get("error_if") or "!= 0", config.get("warn_if") or "!= 0"}
    return (
        str(config.get("severity", "error")).lower() == "error" and conditions == {"!= 0"} and not config.get("where")
    )


def _known(where: str, given: Any, keys: Sequence[str]) -> Mapping[str, Any]:
    """What a person wrote in a place where only some words mean anything."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DefinitionError(f"{where} is {given!r}; it takes {', '.join(keys)}")
    for key in given:
        if key not in keys:
            raise DefinitionError(
                f"{where} has {key!r}, which is not known; there are {', '.join(keys)}", hint=nearest(str(key), keys)
            )
    return given


def _retry(where: str, given: Any) -> Retry:
    options = _known(where, given, _RETRY)
    for name, value in options.items():
        kind, wanted = (int, "a whole number") if name == "times" else (int | float, "a number of seconds")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DefinitionError(
                f"{where}: {name} is {value!r}; it takes {wanted}",
                hint="for example retry: {times: 2, delay: 30, timeout: 600}",
            )
    try:
        return Retry(**options)
    except DefinitionError as error:
        raise DefinitionError(f"{where}: {error.message}") from None


def _listed(value: Any) -> list[str]:
    """A person or several, as people write them."""
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("email")
    return [] if not value else [str(v) for v in value] if isinstance(value, list) else [str(value)]


def _in_zone(dtype: Any, column: Mapping[str, Any]) -> Any:
    """A moment's type, of a column whose meta says the zone that its SQL type has no word for."""
    import polars as pl

    meta = {**column.get("meta", {}), **(column.get("config") or {}).get("meta", {})}.get("lakehouse") or {}
    zone = meta.get("timezone")
    return pl.Datetime("us", str(zone)) if zone and isinstance(dtype, pl.Datetime) else dtype


def _dtype(name: str | None) -> Any:
    """The polars type of a column that a model's contract names by its SQL type; None: any."""
    import polars as pl

    if not name:
        return None
    kinds: dict[str, Any] = {
        "varchar": pl.String(),
        "text": pl.String(),
        "string": pl.String(),
        "boolean": pl.Boolean(),
        "bool": pl.Boolean(),
        "smallint": pl.Int16(),
        "integer": pl.Int32(),
        "int": pl.Int32(),
        "bigint": pl.Int64(),
        "real": pl.Float32(),
        "float": pl.Float32(),
        "double": pl.Float64(),
        "double precision": pl.Float64(),
        "date": pl.Date(),
        "timestamp": pl.Datetime("us"),
        "timestamp with time zone": pl.Datetime("us", "UTC"),
        "timestamptz": pl.Datetime("us", "UTC"),
    }
    return kinds.get(re.sub(r"\(.*?\)", "", name.lower()).strip())
