"""dbt's own documentation page, for a whole lakehouse: one file that any browser opens, from Bronze to Gold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.schema import Column
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.integrations.dbt.project import DbtProject
from lakehouse.integrations.dbt.reader import key_of, model_of
from lakehouse.redaction import logger

if TYPE_CHECKING:
    from lakehouse.asset_status import AssetStatus
    from lakehouse.lake import Lakehouse

log = logger("lakehouse.dbt")

_COLORS: Final = {
    Layer.SOURCE: "#5b7083",
    Layer.BRONZE: "#b87333",
    Layer.SILVER: "#8a97a6",
    Layer.GOLD: "#d4a017",
}
_ABOUT: Final = {
    Layer.SOURCE: "What others write.",
    Layer.BRONZE: "What the sources have, as they have it.",
    Layer.SILVER: "Typed, cleaned and checked.",
    Layer.GOLD: "Answers that are made without dbt.",
}
_TYPES: Final = {
    "String": "varchar",
    "Boolean": "boolean",
    "Int8": "tinyint",
    "Int16": "smallint",
    "Int32": "integer",
    "Int64": "bigint",
    "Float32": "real",
    "Float64": "double",
    "Date": "date",
    "Time": "time",
    "Binary": "varbinary",
}
_OVERVIEW: Final = """\
### Welcome!

The datasets of this lakehouse are on the left, below *Sources*, by layer. The button at the lower right draws what is
made from what.
"""


def write_docs(lake: Lakehouse, folder: str | Path) -> Path:
    """Write dbt's documentation of a lakehouse as one file, ``index.html``.

    Assets that no dbt model makes appear as dbt sources, so that lineage goes from Bronze to Gold. What is published
    by now is shown as well, but nothing has to be.

    Parameters:
        lake: the lakehouse; one without a dbt project is shown by its assets alone
        folder: where to write; made where it isn't there

    Returns:
        the file

    Raises:
        SettingsError: the folder can't be written to, or dbt is not installed
        DefinitionError: dbt can't parse a project

    Examples:
        >>> import tempfile
        >>> from lakehouse import Lakehouse, bronze
        >>> @bronze
        ... def numbers(): ...
        >>> folder = tempfile.mkdtemp()
        >>> lake = Lakehouse([numbers], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")
        >>> write_docs(lake, folder).name
        'index.html'
    """
    site = _Site(lake)
    page = _template().read_text(encoding="utf-8")
    for name, content in (("MANIFEST", site.manifest), ("CATALOG", site.catalog)):
        # Escaped, so that no description ends the script that it stands in.
        page = page.replace(f'"{name}.JSON INLINE DATA"', json.dumps(content).replace("<", "\\u003c"))
    file = Path(folder) / "index.html"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"the docs can't be written to {folder}: {error.strerror or error}",
            hint="name a folder that can be written to",
        ) from error
    return file


def _template() -> Path:
    try:
        from dbt.task.docs import DOCS_INDEX_FILE_PATH
    except ImportError as error:
        raise SettingsError(
            f"dbt can't be imported: {error}", hint="install it: pip install dbt-core dbt-duckdb"
        ) from error
    return Path(DOCS_INDEX_FILE_PATH)


@final
class _Site:
    """What the page shows: one manifest with every asset in it, and the catalog of their tables.

    Parameters:
        lake: the lakehouse
    """

    def __init__(self, lake: Lakehouse) -> None:
        self.graph = lake.graph
        projects = dict.fromkeys(a.builder for a in lake.graph if isinstance(a.builder, DbtProject))
        self.manifest = _merged([project._manifest() for project in projects])
        self.catalog: dict[str, Any] = {"metadata": {}, "nodes": {}, "sources": {}, "errors": None}
        # The node that stands for an asset; what dbt calls the same asset besides is made from that.
        self.ids = {a.key: model_of(a).id for a in self.graph if isinstance(a.builder, DbtProject)}
        besides = {
            uid: key
            for uid, source in self.manifest["sources"].items()
            if (key := key_of(source)) in self.graph and self.ids.setdefault(key, uid) != uid
        }
        for asset in self.graph:
            if asset.key not in self.ids:
                self.ids[asset.key] = self._add(asset)
        known = _published(lake)
        for asset in self.graph:
            self._tell(asset, *known.get(asset.key, (None, {})))
        for uid, key in besides.items():
            self._link(uid, [self.ids[key]])

    def _add(self, asset: Asset) -> str:
        """A source for an asset that dbt doesn't know of."""
        layer, project = str(asset.layer), self.manifest["metadata"]["project_name"]
        like: Mapping[str, Any] = next((s for s in self.manifest["sources"].values() if s["source_name"] == layer), {})
        uid = f"source.{project}.{layer}.{asset.name}"
        self.manifest["sources"][uid] = {
            "unique_id": uid,
            "resource_type": "source",
            "package_name": project,
            "source_name": layer,
            "source_description": like.get("source_description") or _ABOUT[asset.layer],
            "source_meta": {},
            "name": asset.name,
            "identifier": asset.name,
            "database": like.get("database", "lakehouse"),
            "schema": like.get("schema", layer),
            "loader": "lakehouse",
            "fqn": [project, layer, asset.name],
            "path": "",
            "original_file_path": "",
            "config": {"enabled": True},
        }
        return uid

    def _tell(self, asset: Asset, status: AssetStatus | None, types: Mapping[str, str]) -> None:
        """Say of an asset's node what is known of the asset. The asset's own word counts before that of a source."""
        uid = self.ids[asset.key]
        inputs = [edge.asset for edge in self.graph.inputs(asset)]
        source = self.manifest["sources"].get(uid)
        node = source or self.manifest["nodes"][uid]
        docs = node.get("docs") or {}
        node |= {
            "description": _description(asset) or node.get("description", ""),
            "tags": list(dict.fromkeys([*node.get("tags", []), *asset.tags])),
            "meta": _meta(asset, inputs) | _without(node.get("meta", {}), "lakehouse", "owner", "owners"),
            "docs": {"show": docs.get("show", True), "node_color": docs.get("node_color") or _COLORS[asset.layer]},
            "columns": _columns(asset, node.get("columns", {})),
        }
        there = {name.lower() for name in types}
        described = {n: c.get("data_type") or "" for n, c in node["columns"].items() if n.lower() not in there}
        self.catalog["nodes" if source is None else "sources"][uid] = {
            "unique_id": uid,
            "metadata": {
                "type": "table",
                "database": node["database"],
                "schema": node["schema"],
                "name": node["alias"] if source is None else node["identifier"],
                "owner": ", ".join(asset.owners) or None,
            },
            "columns": {
                name: {"type": dtype, "index": i, "name": name}
                for i, (name, dtype) in enumerate([*types.items(), *described.items()], 1)
            },
            "stats": _stats(status),
        }
        if source is not None:
            self._link(uid, [self.ids[one.key] for one in inputs])

    def _link(self, uid: str, parents: list[str]) -> None:
        """Have a source be made from something; dbt's own never are."""
        self.manifest["sources"][uid]["depends_on"] = {"macros": [], "nodes": parents}
        self.manifest["parent_map"][uid] = parents
        for parent in parents:
            self.manifest["child_map"].setdefault(parent, []).append(uid)


def _merged(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One manifest of several; of none, that of a project in which there is nothing."""
    overview = {"name": "__overview__", "package_name": "lakehouse", "block_contents": _OVERVIEW}
    nothing: dict[str, Any] = {
        "metadata": {"project_name": "lakehouse", "adapter_type": "duckdb"},
        "docs": {"doc.lakehouse.__overview__": overview},
        **{kind: {} for kind in ("nodes", "sources", "macros", "exposures", "groups", "parent_map", "child_map")},
    }
    whole, *rest = manifests or [nothing]
    for one in rest:
        for kind, found in one.items():
            if kind != "metadata" and isinstance(found, dict):
                whole[kind] = {**found, **whole[kind]}
    return whole


def _published(lake: Lakehouse) -> dict[str, tuple[AssetStatus, dict[str, str]]]:
    """What is published, by the asset's key: its status, and the types of its columns."""
    try:
        found = lake.status()
        for one in found:
            if one.fault is not None:
                log.warning("the docs don't tell what is published of %s: %s", one.asset.key, one.fault.message)
        return {
            one.asset.key: (
                one,
                {n: _type(t) for n, t in lake.load(one.asset).collect_schema().items()} if one.rows is not None else {},
            )
            for one in found
        }
    except LakehouseError as error:
        log.warning("the docs don't tell what is published: %s", error.message)
        return {}


# ── what is said of an asset ──────────────────────────────────────────────────────────────


def _description(asset: Asset) -> str:
    checks = [f"- `{c.name}`: {c.wants or 'its own'}{'' if c.blocking else ' (only warns)'}" for c in asset.checks]
    described = [asset.description, "**Checked before it is published:**\n\n" + "\n".join(checks) if checks else ""]
    return "\n\n".join(filter(None, described))


def _meta(asset: Asset, inputs: Sequence[Asset]) -> dict[str, str]:
    """What dbt has no word for."""
    columns = ", ".join(asset.partitions.columns)
    described = {
        "Asset": asset.key,
        "Partitions": f"{asset.partitions} by {columns}" if columns else str(asset.partitions),
        "Built from": ", ".join(one.key for one in inputs),
        "Group": asset.group,
        "Owners": ", ".join(asset.owners),
    }
    return {word: text for word, text in described.items() if text}


def _columns(asset: Asset, declared: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that an asset promises, with what a dbt project says of them besides; then those it says more of."""
    said = {name.lower(): column for name, column in declared.items()}
    columns: dict[str, Any] = {}
    for column in asset.schema.columns if asset.schema else ():
        described = said.pop(column.name.lower(), {})
        columns[column.name] = described | _column(column, described)
    return columns | {column["name"]: column for column in said.values()}


def _column(column: Column, described: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": column.name,
        "description": column.description or described.get("description", ""),
        "data_type": described.get("data_type") if column.dtype is None else _type(column.dtype),
        "constraints": described.get("constraints") or ([] if column.nullable else [{"type": "not_null"}]),
    }


def _type(dtype: Any) -> str:
    """A polars data type, by its name in SQL where it has one."""
    name = str(dtype)
    if name.startswith("Datetime"):
        return "timestamp with time zone" if getattr(dtype, "time_zone", None) else "timestamp"
    return _TYPES.get(name, name)


def _stats(status: AssetStatus | None) -> dict[str, Any]:
    """What is published, where dbt tells the size of a table."""
    described: dict[str, tuple[str, Any]] = {}
    if status is not None and status.rows is not None:
        described["num_rows"] = ("Rows", status.rows)
        if status.asset.partitioned:
            described["partitions"] = ("Partitions", f"{len(status.present):,} of {len(status.expected):,}")
        if status.last is not None:
            described["run"] = ("Last run", f"{status.last.finished:%Y-%m-%d %H:%M} UTC")
        described["table"] = ("Table", status.uri)
    if status is not None and status.fault is not None:
        described["fault"] = ("Unreadable", status.fault.message)
    if status is not None and status.held:
        described["held"] = ("Held back", str(status.held))
    stats = {
        name: {"id": name, "label": label, "value": value, "include": True, "description": label}
        for name, (label, value) in described.items()
    }
    has = {"id": "has_stats", "label": "Has Stats?", "value": bool(described), "include": False, "description": ""}
    return {**stats, "has_stats": has}


def _without(found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in found.items() if k not in names}
