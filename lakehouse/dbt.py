"""A dbt project as Gold assets: its models are made by dbt, and published by the same gate as everything else.

dbt never writes where readers look. It builds in a scratch DuckDB database, which is filled with the partitions that a
chunk needs, at the versions that are pinned; its tests run there as well, and what they find is a check like any other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, final

from lakehouse.asset import Asset, AssetSource, Column, From, Layer, Parameter, Schema, Signature
from lakehouse.errors import DefinitionError, LakehouseError, SettingsError, StepError, WrongFrame, nearest, shorten
from lakehouse.maker import Made, Order
from lakehouse.partitions import Daily, Hourly, Monthly, Partitions, PartitionSet, Static, TimePartitions, Unpartitioned

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("lakehouse.dbt")

_WORK = Path(".lakehouse") / "dbt"
_DATABASE = "lakehouse"
_PROFILE = "lakehouse"
_MARK = "__lakehouse_ordered"
_ONE_AT_A_TIME = threading.RLock()
"""dbt keeps its flags, its adapter and its connections in globals."""

_MADE = ("model", "seed")
_READS = {".sql", ".yml", ".yaml", ".csv", ".md", ".py"}


@final
@dataclass(frozen=True, eq=False)
class DbtProject(AssetSource):
    """A dbt project, by its folder. Nothing is read before its assets are asked for.

    Parameters:
        folder: where ``dbt_project.yml`` is
        sources: the assets that ``source('silver', ...)`` names; None: those of the graph, by their keys
        select: which models, as ``dbt --select`` takes it; None: all

    Examples:
        >>> DbtProject("shop/dbt").name
        'dbt'
    """

    folder: Path
    sources: tuple[Asset, ...] | None = None
    select: str | None = None

    def __init__(
        self, folder: str | Path, *, sources: Iterable[Asset] | None = None, select: str | None = None
    ) -> None:
        object.__setattr__(self, "folder", Path(folder))
        object.__setattr__(self, "sources", None if sources is None else tuple(sources))
        object.__setattr__(self, "select", select)

    @property
    def name(self) -> str:
        """What people call what runs its models."""
        return "dbt"

    @property
    def assets(self) -> tuple[Asset, ...]:
        """One Gold asset for each model and seed.

        Raises:
            SettingsError: dbt is not installed, or there is no project in the folder
            DefinitionError: dbt can't parse it, or it has what can't be an asset
        """
        return self._assets

    @cached_property
    def _assets(self) -> tuple[Asset, ...]:
        return _Reader(self, self._manifest()).assets()

    # ── the manifest ──────────────────────────────────────────────────────────────────────

    @property
    def _work(self) -> Path:
        """Where dbt's own files go: never into the project, which may be installed or shared."""
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]
        return (_WORK / f"{self.folder.resolve().name}-{place}").absolute()

    def _manifest(self) -> dict[str, Any]:
        """The manifest as JSON; parsed anew where the project's files are newer."""
        if not (self.folder / "dbt_project.yml").is_file():
            raise SettingsError(
                f"there is no dbt project in {self.folder}: dbt_project.yml is missing",
                hint="name the folder that holds dbt_project.yml",
            )
        file, stamp = self._work / "manifest.json", self._work / "manifest.of"
        if not (file.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == self._stamp()):
            self._parse()
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except ValueError:
            self._parse()  # somebody was stopped while writing it
            return dict(json.loads(file.read_text(encoding="utf-8")))

    def _files(self) -> Iterator[Path]:
        for path in self.folder.rglob("*"):
            inside = path.relative_to(self.folder).parts
            if path.suffix in _READS and inside[0] not in ("target", "logs", ".venv"):
                yield path

    def _stamp(self) -> str:
        """Changes whenever a file of the project does, comes or goes."""
        found = {f.relative_to(self.folder).as_posix(): f.stat() for f in self._files()}
        files = [(name, stat.st_mtime_ns, stat.st_size) for name, stat in sorted(found.items())]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()

    def _parse(self) -> Any:
        """dbt's own manifest object, from its partial parse where nothing changed."""
        with _ONE_AT_A_TIME:
            self._work.mkdir(parents=True, exist_ok=True)
            stamp = self._stamp()
            result = self._invoke(None, ["parse"], None)
            if not result.success:
                raise DefinitionError(f"dbt can't parse {self.folder}: {_said(result)}")
            (self._work / "manifest.of").write_text(stamp, encoding="utf-8")
            return result.result

    def _fresh(self, models: Iterable[Asset]) -> Any:
        """A manifest to change and use up, parsed for this one run, from what dbt keeps of its last parse.

        It can't run rightly with one that it has run with before, nor always with a copy of one.
        """
        manifest = self._parse()
        stamp = self._stamp()
        if self._parsed.get("as of") != stamp:
            self._parsed.update({"as of": stamp, "json": self._manifest()})
        reader = _Reader(self, self._parsed["json"])
        for asset in models:
            node = reader.nodes.get(_model(asset).id)
            if node is None or reader.version(node) != asset.code_version:
                raise StepError(
                    f"{asset.key} was changed in {self.folder} since it was read",
                    hint="start anew, so that what is recorded is what is run",
                )
        return manifest

    def __getstate__(self) -> dict[str, Any]:
        # dbt's own objects don't travel; they are read again where the copy arrives.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        return {}

    def _invoke(
        self, manifest: Any, command: Sequence[str], scratch: Path | None, variables: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a dbt command in this process, on a scratch database if there is one."""
        dbtRunner = _dbt_runner()
        # The file's stem becomes the database's name, which dbt keeps from its parse.
        path = f"{_DATABASE}.duckdb" if scratch is None else str(scratch / f"{_DATABASE}.duckdb")
        output = {"type": "duckdb", "path": path, "schema": "gold", "threads": 2}
        # Ours takes the place of whatever profile the project or the environment names.
        profile = {_PROFILE: {"target": _PROFILE, "outputs": {_PROFILE: output}}}
        profiles = self._work / "parse" if scratch is None else scratch
        profiles.mkdir(parents=True, exist_ok=True)
        (profiles / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
        options = {
            "--project-dir": str(self.folder.resolve()),
            "--profiles-dir": str(profiles),
            "--target-path": str(self._work),
            "--log-path": str(self._work / "logs"),
            "--profile": _PROFILE,
            "--target": _PROFILE,
            "--vars": json.dumps(variables or _range([])),
        }
        flags = ["--log-level", "none", "--log-level-file", "none", "--no-use-colors"]
        flags += ["--no-send-anonymous-usage-stats", "--no-version-check", "--no-fail-fast"]
        arguments = [*command, *(word for pair in options.items() for word in pair), *flags]
        if command[0] == "build":
            arguments.append("--no-write-json")
        result = dbtRunner(manifest=manifest, callbacks=[_hear]).invoke(arguments)
        if isinstance(result.exception, KeyboardInterrupt | SystemExit):
            raise result.exception  # dbt keeps it to itself
        return result

    # ── making ────────────────────────────────────────────────────────────────────────────

    def make(self, orders: Sequence[Order]) -> Mapping[str, Made]:
        """Build the models of the orders and run their tests, in one dbt invocation; see [Maker.make][]."""
        models = {order.asset.key: _model(order.asset) for order in orders}
        with _ONE_AT_A_TIME:
            manifest = self._fresh(order.asset for order in orders)
            scratch = self._scratch(orders)
            scratch.mkdir(parents=True, exist_ok=True)
            tests = {i: manifest.nodes[i] for m in models.values() for i in m.tests}
            severities = {i: str(t.config.severity).lower() for i, t in tests.items()}
            for test in tests.values():
                # A failing test mustn't stop the models after it: whether it holds something back, and which
                # partitions, is judged below.
                test.config.severity = "WARN"
                test.config.store_failures = True
                test.config.store_failures_as = "table"
            for node in (*(manifest.nodes[m.id] for m in models.values()), *tests.values()):
                _at_home(node)
                node.tags = [*node.tags, _MARK]
            try:
                self._fill(manifest, orders, models, scratch)
                command = ["build", "--select", f"tag:{_MARK}", "--indirect-selection", "empty"]
                result = self._invoke(manifest, command, scratch, _range(orders))
            finally:
                _close()
            if result.result is None:
                raise StepError(f"dbt could not start: {_said(result)}")
            return self._read(orders, models, result, severities, scratch)

    def release(self, orders: Sequence[Order]) -> None:
        """Remove the scratch database; see [Maker.release][]."""
        if orders:
            shutil.rmtree(self._scratch(orders), ignore_errors=True)

    def _scratch(self, orders: Sequence[Order]) -> Path:
        return self._work / f"scratch-{orders[0].context.run_id}-{_digest(orders)}"

    def _fill(self, manifest: Any, orders: Sequence[Order], models: Mapping[str, _Model], scratch: Path) -> None:
        """Put what the models read where dbt looks for it: each partition once, whoever needs it."""
        import duckdb

        made = {order.asset.key: order.partitions for order in orders}
        with duckdb.connect(str(scratch / f"{_DATABASE}.duckdb")) as base:
            loaded: dict[str, PartitionSet] = {}
            for order in orders:
                for parameter, needed in order.needs.items():
                    here = parameter in made
                    lacking = needed - made[parameter] if here else needed
                    if here and not lacking:
                        continue
                    for uid in models[order.asset.key].reads[parameter]:
                        rest = lacking - loaded[uid] if uid in loaded else lacking
                        if rest or uid not in loaded:
                            relation = _relation(manifest, uid)
                            if here:
                                # dbt makes a part of it just now; the rest joins that as soon as it is there.
                                relation = _join(manifest.nodes[uid], relation)
                            _load(base, relation, order.load(parameter, rest))
                            loaded[uid] = loaded[uid] | rest if uid in loaded else rest

    def _read(
        self,
        orders: Sequence[Order],
        models: Mapping[str, _Model],
        result: Any,
        severities: Mapping[str, str],
        scratch: Path,
    ) -> dict[str, Made]:
        import duckdb
        import polars as pl

        outcomes = {r.node.unique_id: r for r in result.result.results}
        made: dict[str, Made] = {}
        with duckdb.connect(str(scratch / f"{_DATABASE}.duckdb")) as base:
            for order in orders:
                model = models[order.asset.key]
                mine = outcomes.get(model.id)
                error = f"dbt: {_message(mine)}" if mine is None or mine.status not in ("success", "pass") else None
                ran = {i: outcomes.get(i) for i in model.tests}
                lost = [i for i, test in ran.items() if test is None or str(test.status) in ("error", "skipped")]
                if error is None and lost:
                    error = f"the dbt test {lost[0].split('.')[2]} could not run: {_message(ran[lost[0]])}"
                if error is not None or mine is None:
                    made[order.asset.key] = Made(None, error=error)
                    continue
                beside = _alike(order, orders) - order.partitions
                try:
                    checks = [_check(base, order, beside, test, severities[i], scratch) for i, test in ran.items()]
                    file = scratch / f"{order.asset.key}.parquet"
                    _copy(base, f"{_quoted(mine.node.schema)}.{_quoted(mine.node.alias)}", file)
                except duckdb.Error as fault:
                    made[order.asset.key] = Made(None, error=f"what dbt made can't be read: {_in_a_line(fault)}")
                    continue
                made[order.asset.key] = Made(pl.scan_parquet(file), checks=tuple(checks))
        return made


def dbt_assets(
    project_dir: str | Path, *, sources: Iterable[Asset] | None = None, select: str | None = None
) -> tuple[Asset, ...]:
    """The Gold assets of a dbt project: one for each model and seed.

    Parameters:
        project_dir: the folder with ``dbt_project.yml``
        sources: the assets that ``source('silver', ...)`` names; None: those of the graph, by their keys
        select: which models, as ``dbt --select`` takes it; None: all

    Raises:
        SettingsError: dbt is not installed, or there is no project in the folder
        DefinitionError: dbt can't parse it, or it has what can't be an asset
    """
    return DbtProject(project_dir, sources=sources, select=select).assets


# ── from nodes to assets ──────────────────────────────────────────────────────────────────


@final
@dataclass(frozen=True)
class _Model:
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


def _model(asset: Asset) -> _Model:
    assert isinstance(asset.function, _Model)
    return asset.function


class _Reader:
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
        wanted = {n["unique_id"] for n in chosen if n["resource_type"] in _MADE and not _ephemeral(n)}
        tests = self._tests(wanted)
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
        with _ONE_AT_A_TIME:
            command = ["ls", "--select", self.project.select, "--output", "json", "--output-keys", "unique_id"]
            result = self.project._invoke(None, command, None)
        if not result.success:
            raise DefinitionError(f"dbt can't select {self.project.select!r}: {_said(result)}")
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
        return Asset(
            layer=Layer.GOLD,
            name=node["name"],
            function=_Model(node["unique_id"], {k: tuple(v) for k, v in reads.items()}, tuple(tests)),
            partitions=self._partitions(where, meta.get("lakehouse") or {}),
            description=node.get("description", "").strip(),
            tags=tuple(dict.fromkeys(node.get("tags", []))),
            owners=tuple(_listed(meta.get("owner", meta.get("owners", [])))),
            group=node["config"].get("group") or "",
            declared_version=self.version(node),
            maker=self.project,
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
        meta = {**node.get("meta", {}), **node["config"].get("meta", {})}.get("lakehouse") or {}
        layer = node["source_name"] if node["source_name"] in set(Layer) else str(Layer.SILVER)
        key = str(meta.get("asset", f"{layer}.{node['name']}"))
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
        kinds: dict[str, type[TimePartitions]] = {t.kind: t for t in (Daily, Hourly, Monthly)}
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
        match like.partitions:
            case TimePartitions() as cut:
                return type(cut)(cut.start, end=cut.end, column=column, timezone=cut.timezone)
            case Static() as cut:
                return Static(cut.keys, column=column)
            case Unpartitioned():
                raise DefinitionError(
                    f"{where} is to be partitioned as {kind}, which is not partitioned",
                    hint="name a partitioned asset, or leave partitions out",
                )
            case other:
                return replace(other, column=column)

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
                    _dtype(column.get("data_type")),
                    nullable=not ({"not_null", "primary_key"} & kinds or name in filled),
                    description=(column.get("description") or "").strip(),
                )
            )
        return Schema(node["name"], tuple(columns)) if columns else None

    def version(self, node: Any) -> str:
        """A fingerprint of the SQL and of the project's macros that it calls."""
        seen: dict[str, str] = {}
        waiting = list(node["depends_on"].get("macros", []))
        while waiting:
            macro = self.macros.get(waiting.pop())
            if macro is not None and macro["unique_id"] not in seen and not macro["package_name"].startswith("dbt"):
                seen[macro["unique_id"]] = macro["macro_sql"]
                waiting += macro["depends_on"].get("macros", [])
        text = json.dumps([node.get("raw_code") or node.get("checksum"), sorted(seen.items())], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _ephemeral(node: Any) -> bool:
    return bool(node["config"].get("materialized") == "ephemeral")


def _strict(config: Mapping[str, Any]) -> bool:
    """Whether a test holds back whatever has one failing row."""
    conditions = {config.get("error_if") or "!= 0", config.get("warn_if") or "!= 0"}
    return (
        str(config.get("severity", "error")).lower() == "error" and conditions == {"!= 0"} and not config.get("where")
    )


def _listed(value: Any) -> list[str]:
    """A person or several, as people write them."""
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("email")
    return [] if not value else [str(v) for v in value] if isinstance(value, list) else [str(value)]


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


# ── speaking with dbt ─────────────────────────────────────────────────────────────────────


def _hear(event: Any) -> None:
    """Pass dbt's events on to the log."""
    level = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO}.get(event.info.level, logging.DEBUG)
    if log.isEnabledFor(level) and event.info.msg:
        log.log(min(level, logging.INFO), "%s", event.info.msg.strip())


def _said(result: Any) -> str:
    """dbt's own message, once."""
    error = result.exception
    text = str(error or "it didn't say why")  # with the file, where it knows one
    return _in_a_line(text)


def _message(outcome: Any) -> str:
    return "dbt didn't come to it" if outcome is None else _in_a_line(outcome.message or outcome.status)


def _in_a_line(text: object) -> str:
    return re.sub(r"\s*\n\s*", " ", str(text).strip())[:1000]


def _dbt_runner() -> Any:
    handlers = list(logging.root.handlers)
    try:
        from dbt.cli.main import dbtRunner
    except ImportError as error:
        raise SettingsError(
            f"dbt can't be imported: {error}", hint="install it: pip install dbt-core dbt-duckdb"
        ) from error
    finally:
        # Something that dbt imports configures everybody's logging.
        logging.root.handlers[:] = handlers
    return dbtRunner


def _close() -> None:
    """Have dbt let go of the scratch database, so that we can open it."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def _range(orders: Sequence[Order]) -> dict[str, str | None]:
    """The range that a model may filter by: dates or moments on the partitions' own clock, the end exclusive."""
    cut = [o.partitions for o in orders if isinstance(o.partitions.partitions, TimePartitions)]
    if not cut:
        return {"lakehouse_start": None, "lakehouse_end": None}
    zone = cut[0].partitions.zone  # type: ignore[attr-defined]
    start = min(these.hull.start for these in cut).astimezone(zone)
    end = max(these.hull.end for these in cut).astimezone(zone)
    return {"lakehouse_start": start.isoformat(sep=" "), "lakehouse_end": end.isoformat(sep=" ")}


def _at_home(node: Any) -> None:
    """Have dbt make a node in the scratch database and nowhere else."""
    if getattr(node, "database", None) != _DATABASE:
        node.database = _DATABASE
        node.relation_name = ".".join(map(_quoted, (_DATABASE, node.schema, node.alias)))
    config = node.config
    if config.materialized == "external" or config.get("incremental_strategy") == "microbatch":
        # One writes files of its own, the other begins at the beginning of time. What there is to read is what is to
        # be made.
        config.materialized = "table"


def _relation(manifest: Any, uid: str) -> tuple[str, str]:
    """Schema and name under which dbt will look for a node; sources of other databases are looked for in ours."""
    node = manifest.sources.get(uid)
    if node is None:
        node = manifest.nodes[uid]
        _at_home(node)
        return node.schema, node.alias
    for told in (node.meta, node.source_meta, node.config.meta):
        for word in ("external_location", "plugin"):
            told.pop(word, None)
    node.database = _DATABASE
    node.relation_name = ".".join(map(_quoted, (_DATABASE, node.schema, node.identifier)))
    return node.schema, node.identifier


def _join(node: Any, relation: tuple[str, str]) -> tuple[str, str]:
    """A place for rows of a node that dbt doesn't make in this call; dbt adds them to those that it makes."""
    from dbt.artifacts.resources.v1.config import Hook

    place = (f"{relation[0]}__rest", relation[1])
    table = ".".join(map(_quoted, place))
    if not any(table in hook.sql for hook in node.config.post_hook):
        if node.config.materialized == "view":
            node.config.materialized = "table"
        node.config.post_hook.append(Hook(sql=f"insert into {{{{ this }}}} by name select * from {table}"))
    return place


def _load(base: Any, relation: tuple[str, str], frame: pl.LazyFrame) -> None:
    from lakehouse.io.frames import ArrowStream

    table = ".".join(map(_quoted, relation))
    base.execute(f"create schema if not exists {_quoted(relation[0])}")
    rows = base.from_arrow(ArrowStream(frame))  # noqa: F841  DuckDB finds it by its name
    base.execute(f"create table if not exists {table} as select * from rows limit 0")
    base.execute(f"insert into {table} by name select * from rows")


def _check(base: Any, order: Order, beside: PartitionSet, test: Any, severity: str, scratch: Path) -> Any:
    """What a test found, as a check over the model's rows: the failing rows, which say what partition they are in."""
    import polars as pl

    from lakehouse.checks import FrameCheck
    from lakehouse.io import PARTITION
    from lakehouse.io.keys import tokens

    failures = test.failures or 0
    config = test.node.config
    blocking = severity == "error" and _beyond(failures, config.error_if)
    wants = (test.node.description or test.node.name.replace("_", " ")).strip()
    rows = pl.DataFrame(schema={PARTITION: pl.String})
    if blocking or _beyond(failures, config.warn_if):
        file = scratch / f"{test.node.unique_id}.parquet"
        _copy(base, test.node.relation_name, file)
        placed = _placed(order, beside, pl.read_parquet(file))
        if placed is None:
            # Rows that don't say what day they are of could be of any.
            wants += f" ({failures:,} failures that don't say which partition they are of)"
            placed = pl.DataFrame({PARTITION: tokens(order.partitions)}, schema={PARTITION: pl.String})
        rows = placed
    return FrameCheck(name=test.node.name, function=_Found(rows), wants=wants, blocking=blocking)


@dataclass(frozen=True)
class _Found:
    rows: pl.DataFrame

    def __call__(self, _: pl.LazyFrame) -> pl.LazyFrame:
        return self.rows.lazy()


def _placed(order: Order, beside: PartitionSet, rows: pl.DataFrame) -> pl.DataFrame | None:
    """Failing rows with their partitions, without those of partitions that were made for others.

    None: some don't say which they are of.
    """
    import polars as pl

    from lakehouse.io import PARTITION
    from lakehouse.io.keys import token, tokens

    partitions = order.asset.partitions
    if not rows.height or (partitions.column is not None and partitions.column not in rows.columns):
        return None
    dtype = rows.schema[partitions.column] if partitions.column else pl.String()
    try:
        rows = rows.with_columns(token(partitions, dtype, where=order.asset.key).alias(PARTITION))
    except WrongFrame:
        return None
    rows = rows.filter(~pl.col(PARTITION).is_in(tokens(beside)))
    return rows if rows[PARTITION].is_in(tokens(order.partitions)).all() else None


def _alike(order: Order, orders: Sequence[Order]) -> PartitionSet:
    """All partitions of orders that are cut as one of them is."""
    domain = order.partitions.partitions.domain
    these = [o.partitions for o in orders if o.partitions.partitions.domain == domain]
    return PartitionSet(order.asset.partitions, tuple(span for one in these for span in one.spans))


def _beyond(failures: int, condition: str) -> bool:
    """Whether a number of failures meets dbt's ``warn_if`` or ``error_if``."""
    found = re.fullmatch(r"\s*(!=|<>|==?|>=?|<=?)\s*(\d+)\s*", condition or "!= 0")
    if found is None:
        return failures != 0
    bound = int(found[2])
    return {
        "!=": failures != bound,
        "<>": failures != bound,
        "=": failures == bound,
        "==": failures == bound,
        ">": failures > bound,
        ">=": failures >= bound,
        "<": failures < bound,
        "<=": failures <= bound,
    }[found[1]]


def _copy(base: Any, relation: str, file: Path) -> None:
    """Write a relation as Parquet. DuckDB sums integers to 128 bits, which Parquet has no type for."""
    columns = base.execute(f"describe {relation}").fetchall()
    listed = ", ".join(
        f"cast({_quoted(name)} as bigint) as {_quoted(name)}" if kind == "HUGEINT" else _quoted(name)
        for name, kind, *_ in columns
    )
    base.execute(
        f"copy (select {listed} from {relation}) to '{str(file).replace(chr(39), chr(39) * 2)}' (format parquet)"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _digest(orders: Sequence[Order]) -> str:
    text = "\n".join(f"{o.asset.key} {o.partitions.spans} {o.context.attempt}" for o in orders)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
