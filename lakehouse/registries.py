"""Which schema registry and catalog settings mean, and what changes of a schema are to keep."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from lakehouse.definitions.graph import AssetGraph
from lakehouse.definitions.selection import among
from lakehouse.errors import SelectionError, SettingsError, nearest
from lakehouse.lineage import LineageStore
from lakehouse.schemas.catalog import Catalog
from lakehouse.schemas.compatibility import Compatibility
from lakehouse.schemas.contracts import SchemaContracts
from lakehouse.schemas.registry import EmbeddedRegistry, SchemaRegistry
from lakehouse.settings import Settings

EMBEDDED = "embedded"
"""The registry that needs nothing but a lineage store."""


def open_contracts(graph: AssetGraph, lineage: LineageStore, settings: Settings) -> SchemaContracts:
    """What assets owe their consumers.

    Parameters:
        graph: the assets
        lineage: where facts are
        settings: the project's

    Raises:
        SettingsError: the settings ``registry``, ``compatibility`` or ``catalog`` can't be used
    """
    catalog = None if settings.catalog is None else open_catalog(settings.catalog)
    registry = open_registry(settings.registry, lineage)
    return SchemaContracts(lineage, registry, graph, _modes(graph, settings), catalog)


def open_catalog(uri: str) -> Catalog:
    """The catalog that is meant.

    Parameters:
        uri: ``glue://``, with a prefix for the names of databases and options ``region`` and ``endpoint``

    Raises:
        SettingsError: there is no such catalog

    Examples:
        >>> open_catalog("glue://lake_?region=eu-central-1").uri
        'glue://lake_?region=eu-central-1'
    """
    prefix, options = _glue("catalog", uri, "glue://, glue://prefix_, glue://?region=eu-central-1")
    from lakehouse.integrations.aws.catalog import GlueCatalog

    return GlueCatalog(prefix, region=options.get("region"), endpoint=options.get("endpoint"))


def open_registry(uri: str, lineage: LineageStore) -> SchemaRegistry:
    """The registry that is meant.

    Parameters:
        uri: ``embedded``, or ``glue://registry``, with options ``region`` and ``endpoint``
        lineage: where facts are

    Raises:
        SettingsError: there is no such registry

    Examples:
        >>> from lakehouse.testing import MemoryLineage
        >>> open_registry("glue://lakehouse?region=eu-central-1", MemoryLineage())
        GlueSchemaRegistry('lakehouse')
    """
    if uri == EMBEDDED:
        return EmbeddedRegistry(lineage)
    allowed = f"{EMBEDDED}, glue://registry, glue://registry?region=eu-central-1"
    name, options = _glue("registry", uri, allowed)
    if not name:
        raise SettingsError(f"the setting registry = {uri!r} names no registry; allowed: {allowed}")
    from lakehouse.integrations.aws.schema_registry import GlueSchemaRegistry

    return GlueSchemaRegistry(name, region=options.get("region"), endpoint=options.get("endpoint"))


def _glue(setting: str, uri: str, allowed: str) -> tuple[str, dict[str, str]]:
    """The name that a URI of something in Glue has, and its options.

    Raises:
        SettingsError: it is none
    """
    rest = uri.removeprefix("glue://")
    name, _, query = rest.partition("?")
    if rest == uri or not re.fullmatch(r"[A-Za-z0-9_$#.-]{0,255}", name):
        raise SettingsError(f"the setting {setting} = {uri!r} can't be used; allowed: {allowed}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option, value in options.items():
        if option not in _OPTIONS or not value:
            raise SettingsError(
                f"the setting {setting} = {uri!r} gives {option} as {value!r}; allowed: {', '.join(_OPTIONS)}",
                hint=nearest(option, _OPTIONS),
            )
    return name, options


_OPTIONS = ("region", "endpoint")


def _modes(graph: AssetGraph, settings: Settings) -> dict[str, Compatibility]:
    """What is to be kept of assets, by key, where settings say so."""
    found: dict[str, Compatibility] = {}
    for selection, mode in settings.compatibility.items():
        try:
            found |= dict.fromkeys(among(graph, selection), mode)
        except SelectionError as error:
            raise SettingsError(f"the setting compatibility: {error.message}", hint=error.hint) from None
    return found
