"""``lakehouse schemas``: what is registered of an asset's schema, and what is let through."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from lakehouse.cli.commands import AssetKey, Json
from lakehouse.cli.failures import ExitCode
from lakehouse.display.page import Page
from lakehouse.errors import LakehouseError


def schemas(asset: AssetKey, /, *, json: Json = False) -> ExitCode:
    """List the versions of an asset's schema, and how they differ.

    A schema is registered when it is published first. One that breaks what is
    registered is stopped before: a column that is gone, renamed, of another type,
    or must have values where it could lack them. It is shown here until it is let
    through, or something else is published.

    Examples:

      lakehouse schemas silver.flights
      lakehouse schemas silver.flights --json
      lakehouse schemas approve silver.flights
    """
    from lakehouse.display.schemas import schemas as shown
    from lakehouse.display.schemas import schemas_json
    from lakehouse.verbs import open_lakehouse

    lake = open_lakehouse()
    found, contracts = lake.graph[asset], lake.schemas
    told = found, contracts.registry.versions(found.key), contracts.refused(found), contracts.mode(found)
    page = Page(sys.stdout)
    if json:
        page.json(schemas_json(*told))
    else:
        page.print(shown(*told))
    return ExitCode.WELL


def approve(asset: AssetKey, /, *, json: Json = False) -> ExitCode:
    """Let the schema of an asset through that was stopped last, and no other.

    The next run publishes it. A declared version, code_version="2" in place of
    "1", says the same in code.

    Examples:

      lakehouse schemas approve silver.flights
    """
    from lakehouse.display.schemas import schemas_json
    from lakehouse.verbs import open_lakehouse

    lake = open_lakehouse()
    found, contracts = lake.graph[asset], lake.schemas
    approved = contracts.approve(found)
    page = Page(sys.stdout)
    if json:
        page.json(schemas_json(found, contracts.registry.versions(found.key), approved, contracts.mode(found)))
    else:
        page.print(f"{found.key}: let through: {'; '.join(map(str, approved.breaking))}")
    return ExitCode.WELL


def export(asset: AssetKey, /, *, json: Json = False) -> ExitCode:
    """Write what an asset promises as an Open Data Contract (ODCS), for other tools.

    That is its newest registered schema with descriptions, owners, checks and
    freshness; before the first publication a draft. YAML, or JSON.

    Examples:

      lakehouse schemas export silver.flights > flights.odcs.yaml
      lakehouse schemas export silver.flights --json
    """
    import yaml  # type: ignore[import-untyped]

    from lakehouse.schemas.odcs import to_odcs
    from lakehouse.verbs import open_lakehouse

    lake = open_lakehouse()
    found, contracts = lake.graph[asset], lake.schemas
    if found.external:
        raise LakehouseError(f"{found.key} is external: what it holds is said by others")
    contract = to_odcs(found, contracts.registry.latest(found.key), lake.table(found).uri, contracts.mode(found))
    page = Page(sys.stdout)
    if json:
        page.json(contract)
    else:
        page.write(yaml.safe_dump(contract, sort_keys=False, allow_unicode=True, width=120))
    return ExitCode.WELL


COMMANDS: Final[dict[Callable[..., ExitCode], str]] = {approve: "ASSET", export: "ASSET"}
"""The commands below it, each with the pattern of what it takes."""
