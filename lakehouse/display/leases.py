"""Who builds what just now, and who waits for it: ``lakehouse leases``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType

from lakehouse.display.formatting import of_pairs, stamp
from lakehouse.display.page import columns
from lakehouse.lineage.leases import Standing


def leases(found: Sequence[Standing]) -> RenderableType:
    """A line for each lease."""
    if not found:
        return "nothing is leased: no run is at work, or waits"
    table = columns("run", "state", "where", "until", "what", wrapped=["what"])
    for one in found:
        what = [f"{asset} {of_pairs(pairs, 2)}".rstrip() for asset, pairs in one.lease.partitions.items()]
        where = f"{one.lease.host} {one.lease.process.rpartition('/')[2]}"
        table.add_row(one.lease.run, _state(one), where, stamp(one.lease.expires), "\n".join(what))
    return table


def leases_json(found: Sequence[Standing]) -> list[dict[str, Any]]:
    """The same, for programs."""
    return [{**one.lease.model_dump(mode="json"), "state": _state(one)} for one in found]


def _state(one: Standing) -> str:
    return "over" if one.over else "waits" if one.waits else "builds"
