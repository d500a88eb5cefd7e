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
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, final

from lakehouse.asset import Asset, AssetSource, Column, From, Layer, Parameter, Schema, Signature
from lakehouse.errors import DefinitionError, SettingsError, StepError, nearest, shorten
from lakehouse.maker import Made, Order
from lakehouse.partitions import Daily, Hourly, Monthly, Partitions, PartitionSet, Static, TimePartitions, Unpartitioned

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("lakehouse.dbt")

_WORK = Path(".lakehouse") / "dbt"
_DATABASE = "lakehouse"
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
        file = self._work / "manifest.json"
        if not file.is_file() or file.stat().st_mtime < max(f.stat().st_mtime for f in self._files()):
            self._parse()
        return dict(json.loads(file.read_text(encoding="utf-8")))

    def _files(self) -> Iterator[Path]:
        for path in self.folder.rglob("*"):
            inside = path.relative_to(self.folder).parts
            if path.suffix in _READS and inside[0] not in ("target", "logs", ".venv"):
                yield path

    def _parse(self) -> Any:
        """dbt's own manifest object, from its partial parse where nothing changed."""
        with _ONE_AT_A_TIME:
            self._work.mkdir(parents=True, exist_ok=True)
            result = self._invoke(None, ["parse"], None)
            if not result.success:
                raise DefinitionError(f"dbt can't parse {self.folder}: {_said(result)}")
            return result.result

    def _ready(self) -> tuple[Any, Mapping[str, str]]:
        """The manifest to run with, and how severe each test is by itself.

        One for all runs of this process, parsed anew where files changed: dbt can't run with a copy of one that it
        has run with before.
        """
        newest = max(f.stat().st_mtime for f in self._files())
        if self._parsed.get("as of") != newest:
            manifest = self._parse()
            tests = {i: n for i, n in manifest.nodes.items() if n.resource_type == "test"}
            severities = {i: str(t.config.severity).lower() for i, t in tests.items()}
            for test in tests.values():
                # A failing test mustn't stop the models after it: whether it holds something back, and which
                # partitions, is judged here.
                test.config.severity = "WARN"
                test.config.store_failures = True
                test.config.store_failures_as = "table"
            self._parsed.update({"as of": newest, "manifest": manifest, "severities": severities})
        return self._parsed["manifest"], self._parsed["severities"]

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        return {}

    def _invoke(self, manifest: Any, command: Sequence[str], scratch: Path | None, *more: str) -> Any:
        """Run a dbt command in this process, on a scratch database if there is one."""
        dbtRunner = _dbt_runner()
        # The file's stem becomes the database's name, which dbt keeps from its parse.
        path = f"{_DATABASE}.duckdb" if scratch is None else str(scratch / f"{_DATABASE}.duckdb")
        output = {"type": "duckdb", "path": path, "schema": "gold", "threads": 2}
        profile = {self._profile: {"target": "lakehouse", "outputs": {"lakehouse": output}}}
        profiles = self._work / "parse" if scratch is None else scratch
        profiles.mkdir(parents=True, exist_ok=True)
        (profiles / "profiles.yml").write_text(json.dumps(profile), encoding="utf-8")
        options = {
            "--project-dir": str(self.folder.resolve()),
            "--profiles-dir": str(profiles),
            "--target-path": str(self._work),
            "--log-path": str(self._work / "logs"),
        }
        flags = ["--log-level", "none", "--log-level-file", "none", "--no-use-colors"]
        flags += ["--no-send-anonymous-usage-stats", "--no-version-check"]
        arguments = [*command, *(word for pair in options.items() for word in pair), *flags, *more]
        return dbtRunner(manifest=manifest, callbacks=[_hear]).invoke(arguments)

    @cached_property
    def _profile(self) -> str:
        """The profile that the project asks for; ours takes its place."""
        text = (self.folder / "dbt_project.yml").read_text(encoding="utf-8")
        found = re.search(r"^profile:\s*[\"']?([\w.-]+)", text, re.MULTILINE)
        return found[1] if found else "default"

    # ── making ────────────────────────────────────────────────────────────────────────────

    def make(self, orders: Sequence[Order]) -> Mapping[str, Made]:
        """Build the models of the orders and run their tests, in one dbt invocation; see [Maker.make][]."""
        models = {order.asset.key: _model(order.asset) for order in orders}
        with _ONE_AT_A_TIME:
            scratch = self._scratch(orders)
            scratch.mkdir(parents=True, exist_ok=True)
            manifest, severities = self._ready()
            tests = [i for model in models.values() for i in self._runnable(manifest, model, models)]
            self._fill(manifest, orders, models, scratch)
            names = [_selector(manifest.nodes[i]) for i in (*(m.id for m in models.values()), *tests)]
            result = self._invoke(
                manifest,
                ["build", "--select", *names, "--indirect-selection", "empty"],
                scratch,
                "--no-write-json",
                "--vars",
                json.dumps(_range(orders)),
            )
            _close()
            if result.result is None:
                raise StepError(f"dbt could not start: {_said(result)}")
            return self._read(orders, models, result, {i: severities[i] for i in tests}, scratch)

    def release(self, orders: Sequence[Order]) -> None:
        """Remove the scratch database; see [Maker.release][]."""
        if orders:
            shutil.rmtree(self._scratch(orders), ignore_errors=True)

    def _scratch(self, orders: Sequence[Order]) -> Path:
        return self._work / f"scratch-{orders[0].context.run_id}-{_digest(orders)}"

    def _runnable(self, manifest: Any, model: _Model, models: Mapping[str, _Model]) -> list[str]:
        """The tests of a model whose other tables are there too: read by the model, or made by the same call."""
        there = {m.id for m in models.values()} | {i for ids in model.reads.values() for i in ids}
        found = []
        for i in model.tests:
            beside = [p for p in manifest.nodes[i].depends_on_nodes if p not in there]
            if beside:
                log.warning("%s is not run: %s is not built along with it", i, shorten(beside))
            else:
                found.append(i)
        return found

    def _fill(self, manifest: Any, orders: Sequence[Order], models: Mapping[str, _Model], scratch: Path) -> None:
        """Put what the models read where dbt looks for it: each partition once, whoever needs it."""
        import duckdb

        from lakehouse.io.frames import ArrowStream

        with duckdb.connect(str(scratch / f"{_DATABASE}.duckdb")) as base:
            loaded: dict[str, PartitionSet] = {}
            for order in orders:
                for parameter, needed in order.needs.items():
                    if parameter in order.made:
                        continue
                    rest = needed - loaded[parameter] if parameter in loaded else needed
                    if parameter in loaded and not rest:
                        continue
                    rows = ArrowStream(order.load(parameter, rest)).reader()
                    for relation in _relations(manifest, models[order.asset.key].reads[parameter]):
                        base.execute(f"create schema if not exists {_quoted(relation[0])}")
                        table = ".".join(map(_quoted, relation))
                        base.register("rows", rows)
                        base.execute(f"create table if not exists {table} as select * from rows limit 0")
                        base.execute(f"insert into {table} select * from rows")
                        base.unregister("rows")
                    loaded[parameter] = loaded[parameter] | rest if parameter in loaded else rest

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
                errors = [f"dbt: {_message(mine)}"] if mine is None or mine.status not in ("success", "pass") else []
                checks = []
                for i in (i for i in model.tests if i in severities):
                    test = outcomes.get(i)
                    if test is None or str(test.status) in ("error", "skipped"):
                        if not errors:
                            errors.append(f"the dbt test {i.split('.')[2]} could not run: {_message(test)}")
                    else:
                        checks.append(_check(base, order, test, severities[i]))
                if errors:
                    made[order.asset.key] = Made(None, error="; ".join(errors))
                    continue
                assert mine is not None
                file = scratch / f"{order.asset.key}.parquet"
                _copy(base, f"{_quoted(mine.node.schema)}.{_quoted(mine.node.alias)}", file)
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
        parents = self._parents(node["unique_id"])
        reads: dict[str, list[str]] = {}
        inputs: dict[str, From] = {}
        for parent in parents:
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
            declared_version=self._version(node),
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
            options = {k: meta[k] for k in ("end", "timezone") if k in meta}
            return kinds[kind](str(meta.get("start", "")), column=column, **options)
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
            case other:
                return replace(other, column=column)

    def _schema(self, node: Any, tests: Sequence[str]) -> Schema | None:
        # Without an enforced contract the columns are what somebody once wrote down.
        if not node["config"].get("contract", {}).get("enforced"):
            return None
        filled = {
            self.nodes[t].get("column_name")
            for t in tests
            if (self.nodes[t].get("test_metadata") or {}).get("name") == "not_null"
            and str(self.nodes[t]["config"].get("severity", "error")).lower() == "error"
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

    def _version(self, node: Any) -> str:
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


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value]


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
    text = str(getattr(error, "msg", None) or error or "it didn't say why").strip()
    return re.sub(r"\s*\n\s*", " ", text)[:1000]


def _message(outcome: Any) -> str:
    if outcome is None:
        return "dbt didn't come to it"
    return re.sub(r"\s*\n\s*", " ", str(outcome.message or outcome.status).strip())[:1000]


def _selector(node: Any) -> str:
    return f"fqn:{'.'.join(node.fqn)}"


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


def _relations(manifest: Any, ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Schema and name under which dbt will look for nodes; sources of other databases are looked for in ours."""
    for uid in ids:
        node = manifest.sources.get(uid)
        if node is None:
            node = manifest.nodes[uid]
            yield node.schema, node.alias
            continue
        node.database = _DATABASE
        node.relation_name = ".".join(map(_quoted, (_DATABASE, node.schema, node.identifier)))
        yield node.schema, node.identifier


def _check(base: Any, order: Order, test: Any, severity: str) -> Any:
    """What a test found, as a check over the model's rows: the failing rows, which say what partition they are in."""
    from lakehouse.checks import FrameCheck

    rows = _failing_rows(base, order, test)
    blocking = severity == "error" and _beyond(test.failures or 0, test.node.config.error_if)
    wants = (test.node.description or test.node.name.replace("_", " ")).strip()
    return FrameCheck(name=test.node.name, function=_Found(rows), wants=wants, blocking=blocking)


@dataclass(frozen=True)
class _Found:
    rows: pl.DataFrame

    def __call__(self, _: pl.LazyFrame) -> pl.LazyFrame:
        return self.rows.lazy()


def _failing_rows(base: Any, order: Order, test: Any) -> pl.DataFrame:
    import polars as pl

    from lakehouse.io import PARTITION
    from lakehouse.io.keys import tokens

    column = order.asset.partitions.column
    failures = test.failures or 0
    if not failures or not _beyond(failures, test.node.config.warn_if):
        return pl.DataFrame(schema={PARTITION: pl.String})
    rows = pl.DataFrame(base.sql(f"select * from {test.node.relation_name}").to_arrow_table())
    if column is None or column in rows.columns:
        return rows
    # Rows that don't say what day they are of could be of any.
    return pl.DataFrame({PARTITION: tokens(order.partitions)}, schema={PARTITION: pl.String})


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
