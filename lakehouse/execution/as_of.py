"""Rows as they were at a version, also where a retention has removed its files: then from a newer one that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.definitions.asset import Asset
from lakehouse.errors import StorageError
from lakehouse.execution.home import load
from lakehouse.lineage import AssetState, Status
from lakehouse.lineage.table_log import facts_in_log
from lakehouse.lineage.unchanged import Asked, unchanged
from lakehouse.partitions import PartitionSet

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.io import TableReader


def load_as_of(table: TableReader, asset: Asset, partitions: PartitionSet | None, version: int) -> pl.LazyFrame:
    """Read an asset's rows as they were at a version.

    A retention keeps what was read in the newest version in which it is the same, and removes it from others.

    Parameters:
        table: where they live
        asset: what is read
        partitions: which partitions, by the keys that they had then; None: all
        version: the table version

    Raises:
        StorageError: the table or the version is not there, or what has changed since was removed
    """
    import polars as pl

    from lakehouse.io.columns import columns
    from lakehouse.io.inventory import inventory_of, lacks_files
    from lakehouse.io.tokens import spans

    if not lacks_files(table, partitions, version=version):
        return load(table, asset, partitions, version=version)
    there, log = inventory_of(table), facts_in_log(table, asset.key)
    if partitions is None:
        then = AssetState.fold(asset.partitions, [f for f in log if f.version is not None and f.version <= version])
        forgotten = asset.partitions.union(part for part, fact in then.gone if fact.status is Status.FORGOTTEN)
        partitions = asset.partitions.possible(then.present | forgotten)
    known = partitions.partitions
    (found,) = unchanged(known, log, [Asked(version, partitions)], there.others, exact=there.undigested)
    lies: dict[int, list[PartitionSet]] = {}
    for part, until in found:
        for span in part.spans:
            piece = PartitionSet(known, (span,))
            ends = [(first, last) for first, last in spans(piece)]
            newest = len(there.made) - 1 if until is None else until
            where = next(
                (at for at in (version, newest) if not any(there.lacks(at, first, last) for first, last in ends)), None
            )
            if where is None or not there.complete:
                raise StorageError(
                    f"version {version} of {table.uri} lacks files of {piece}: a retention, or something else, has "
                    "removed them",
                    hint="load the newest version; what is to stay is said by the setting retention",
                )
            lies.setdefault(where, []).append(piece)
    frames = [load(table, asset, known.union(pieces), version=at) for at, pieces in sorted(lies.items())]
    if not frames:
        return load(table, asset, known.empty())
    rows = pl.concat(frames, how="diagonal")
    # A newer version may have more columns; their names at that one, in their order, are what was asked for.
    has = set(rows.collect_schema().names())
    return rows.select(columns(name for name in there.columns_at(version) if name in has))
