"""What maintenance says of assets, partitions, rows and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakehouse.definitions.asset import Asset
from lakehouse.errors import count
from lakehouse.partitions import PartitionSet

if TYPE_CHECKING:
    from lakehouse.io.delta import DeltaLakeTable
    from lakehouse.io.inventory import StoredFile


def named(asset: Asset, part: PartitionSet) -> str:
    """An asset with some of its partitions."""
    return f"{asset.key} {part}" if asset.partitioned and part else asset.key


def words(asset: Asset, part: PartitionSet) -> str:
    """What counts as something: partitions of an asset, or the whole of it."""
    if not asset.partitioned:
        return "the whole of it counts"
    return f"{part} ({count(len(part), 'partition')}) count" if len(part) > 1 else f"{part} counts"


def rows_of(table: DeltaLakeTable, part: PartitionSet) -> str:
    """How many rows some partitions have."""
    return count(sum(table.rows(part).values()), "row")


def files_of(noun: str, files: Sequence[StoredFile]) -> str:
    """How many files, and their size."""
    size = float(sum(file.bytes for file in files))
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    number = count(len(files), noun)
    return f"{number} ({size:,.0f} {unit})" if unit == "bytes" else f"{number} ({size:,.1f} {unit})"
