"""Whether what dbt would leave of a model is what an asset has: each of its partitions, made whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lakehouse.errors import DefinitionError, shorten
from lakehouse.partitions import Partitions

_MATERIALIZATIONS = ("table", "view", "incremental", "ephemeral", "external")
_WRITES = re.compile(
    r"""\b(?:insert\s+into|delete\s+from|merge\s+into|truncate(?:\s+table)?|alter\s+table|drop\s+table(?:\s+if\s+exists)?
    |create\s+(?:or\s+replace\s+)?(?:table|view)(?:\s+if\s+not\s+exists)?|copy|update(?=\s+(?:\{\{.*?\}\}|\S+)\s+set\b))
    \s+(\{\{.*?\}\}|\S+)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_THIS = re.compile(r"\{\{-?\s*this\s*-?\}\}")


def check_strategy(where: str, config: Mapping[str, Any], partitions: Partitions, *, athena: bool) -> None:
    """See that a model is made as assets are: what is there of a partition is replaced by what is made of it.

    Parameters:
        where: the model, for messages
        config: its configuration in dbt's manifest
        partitions: how the asset is cut
        athena: whether it is built by dbt-athena, which has another strategy by default

    Raises:
        DefinitionError: dbt would keep something that is replaced here, or do what isn't done here
    """
    how = str(config.get("materialized"))
    if how not in _MATERIALIZATIONS:
        raise DefinitionError(
            f"{where} is materialized as {how!r}, which can't be done for an asset",
            hint=f"materialize it as one of {', '.join(_MATERIALIZATIONS)}, or leave it out with select",
        )
    if how != "incremental" or config.get("full_refresh") is True:
        return
    keys = _names(config.get("unique_key"))
    default = "insert_overwrite" if athena else "delete+insert" if keys else "append"
    strategy = str(config.get("incremental_strategy") or default)
    told = f"{where} is incremental ({strategy}{f', unique_key {shorten(keys)}' if keys else ''})"
    if not partitions.columns:
        raise DefinitionError(
            f"{told}, so that dbt keeps what is there; an asset without partitions is made anew every time",
            hint="partition it, meta: {lakehouse: {partitions: ..., column: ...}}, or say materialized: table",
        )
    replaced = {
        "delete+insert": keys,
        "insert_overwrite": _names(config.get("partitioned_by")),
        "microbatch": _names(config.get("event_time")),
    }.get(strategy, [])
    if sorted(column.lower() for column in replaced) != sorted(column.lower() for column in partitions.columns):
        only = partitions.columns[0]
        raise DefinitionError(
            f"{told}, so that dbt keeps rows of a partition that is made again; an asset replaces it as a whole",
            hint=f"where that is meant, say incremental_strategy: delete+insert and unique_key: {only}"
            f" (or insert_overwrite and partitioned_by: [{only}]), or materialized: table",
        )


def check_hooks(where: str, config: Mapping[str, Any]) -> None:
    """See that hooks write nowhere but to the model itself: what else they'd write is gone with the scratch database.

    Parameters:
        where: the model, for messages
        config: its configuration in dbt's manifest

    Raises:
        DefinitionError: one does
    """
    for kind in ("pre-hook", "post-hook"):
        for hook in config.get(kind) or ():
            for found in _WRITES.finditer(hook["sql"]):
                if found[0].lower().startswith("copy") or not _THIS.fullmatch(found[1]):
                    raise DefinitionError(
                        f"{where} has a {kind} that writes elsewhere: {shorten([found[0]])}",
                        hint="dbt builds in a scratch database that is removed; let what else is written be a model",
                    )


def _names(value: Any) -> list[str]:
    """A column or several, as people write them."""
    return [] if not value else [str(v) for v in value] if isinstance(value, list) else [str(value)]
