"""Which kind of table a root means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lakehouse.io.tables import Table

MEMORY = "memory://"
"""Begins the roots of tables that live in the memory of this process."""


def open_table(
    root: str | Path,
    *below: str,
    partitioned: bool,
    clustered: bool = False,
    options: Mapping[str, str] | None = None,
) -> Table:
    """The table at a place. Nothing is read, written or connected to before it is first used.

    Parameters:
        root: a path, ``file://``, ``s3://``, or ``memory://`` and a name of your choice
        below: folders below it, and the table's own name
        partitioned: whether its rows are kept by partition
        clustered: whether small partitions share files, if the table is yet to be made
        options: more for the storage libraries, by object_store's names

    Raises:
        SettingsError: the root means no storage

    Examples:
        >>> open_table("memory://example", "silver", "flights", partitioned=True).uri
        'memory://example/silver/flights'
    """
    if str(root).startswith(MEMORY):
        from lakehouse.io.memory import MemoryTable

        return MemoryTable.at("/".join([str(root).rstrip("/"), *below]), partitioned=partitioned)
    from lakehouse.io.delta import DeltaLakeTable
    from lakehouse.io.storage import Location

    return DeltaLakeTable(Location.of(root, options).child(*below), partitioned=partitioned, clustered=clustered)


def absolute(root: str | Path) -> str:
    """A root as it is called from every folder."""
    if str(root).startswith(MEMORY):
        return str(root)
    from lakehouse.io.storage import Location

    return Location.of(root).uri
