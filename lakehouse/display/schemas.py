"""What is registered of an asset's schema, and how its versions differ: ``lakehouse schemas``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lakehouse.definitions.asset import Asset
from lakehouse.display.formatting import FAILED, QUIET, stamp
from lakehouse.display.page import columns
from lakehouse.schemas.columns import TableSchema
from lakehouse.schemas.compatibility import Compatibility, Difference, differences
from lakehouse.schemas.contracts import Refused
from lakehouse.schemas.registry import Registered


def schemas(
    asset: Asset, versions: Sequence[Registered], refused: Refused | None, mode: Compatibility
) -> RenderableType:
    """The columns of the newest version, how the versions differ, and what was stopped.

    Parameters:
        asset: the asset
        versions: what is registered, oldest first
        refused: what was stopped, if that still stands
        mode: what changes are to keep
    """
    if not versions:
        return f"no schema of {asset.key} is registered: that is done when it is published"
    newest = versions[-1]
    parts: list[RenderableType] = [Text(f"{asset.key}: version {newest.number}, compatibility {mode}"), _table(newest)]
    for one, changed in zip(reversed(versions), reversed(changes(versions)), strict=True):
        said = Text(f"\nversion {one.number}")
        if one.since is not None:
            said.append(f"  {stamp(one.since)}", QUIET)
        parts.append(said)
        parts += [Text(f"  {change}") for change in changed] or [Text("  the first", QUIET)]
    if refused is not None:
        parts.append(Text(f"\nstopped  {stamp(refused.fact.finished)}", FAILED))
        parts += [
            Text(f"  {one}{', which breaks what is registered' if one in refused.breaking else ''}")
            for one in refused.differences
        ]
        parts.append(Text(f"  lakehouse schemas approve {asset.key} lets it through", QUIET))
    return Group(*parts)


def schemas_json(
    asset: Asset, versions: Sequence[Registered], refused: Refused | None, mode: Compatibility
) -> dict[str, Any]:
    """The same, for programs."""
    told: dict[str, Any] = {"asset": asset.key, "compatibility": str(mode), "versions": [], "stopped": None}
    for one, changed in zip(versions, changes(versions), strict=True):
        told["versions"].append(
            {
                "number": one.number,
                "since": one.since,
                "columns": _columns(one.schema),
                "differences": [_difference(change, mode) for change in changed],
            }
        )
    if refused is not None:
        told["stopped"] = {
            "at": refused.fact.finished,
            "run": refused.fact.run,
            "columns": _columns(refused.schema),
            "differences": [
                {**_difference(one, mode), "breaks": one in refused.breaking} for one in refused.differences
            ],
        }
    return told


def changes(versions: Sequence[Registered]) -> list[list[Difference]]:
    """How each version differs from the one before it."""
    return [[], *(differences(old.schema, new.schema) for old, new in pairwise(versions))]


def _table(newest: Registered) -> RenderableType:
    table = columns("column", "type", "", "description", wrapped=["description"])
    for one in newest.schema.columns:
        said = [] if one.nullable else ["required"]
        said += [] if one.promised else ["not promised"]
        table.add_row(one.name, one.type or "any", Text(", ".join(said), QUIET), one.description)
    return table


def _columns(schema: TableSchema) -> list[dict[str, Any]]:
    return [asdict(column) for column in schema.columns]


def _difference(one: Difference, mode: Compatibility) -> dict[str, Any]:
    return {"column": one.column, "kind": str(one.kind), "text": one.text, "breaks": one.held and one.breaks(mode)}
