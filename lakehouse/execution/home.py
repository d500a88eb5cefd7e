"""What a step is given to work with: where tables and lineage are, and the run that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, final

from lakehouse.compute.place import Place, Stop
from lakehouse.definitions.asset import Asset
from lakehouse.lineage import LineageStore
from lakehouse.partitions import PartitionSet
from lakehouse.schemas.contracts import SchemaContracts

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.io import Table, TableReader


class Home(Protocol):
    """What a step has to know of the lakehouse it works for."""

    @property
    def lineage_store(self) -> LineageStore:
        """Where facts are written."""
        ...

    @property
    def schemas(self) -> SchemaContracts:
        """What assets owe their consumers."""
        ...

    def table(self, asset: Asset) -> Table:
        """Where an asset's rows live."""
        ...

    def place(self, asset: Asset) -> Place | None:
        """Where an asset's function is called; None: here."""
        ...

    def page(self, asset: Asset) -> str | None:
        """The address at which people look at an asset; None: nobody has said where pages are served."""
        ...


@final
@dataclass(frozen=True)
class RunInfo:
    """The run that a step belongs to.

    Parameters:
        id: the run
        started: when it started (UTC)
        engine: what runs it
        title: what was asked for, in words
        flow_run: Prefect's id of the flow run
        stop: tells what is under way elsewhere that the run is over before its end
    """

    id: str
    started: datetime
    engine: str
    title: str = ""
    flow_run: str | None = None
    stop: Stop = field(default_factory=Stop, compare=False, repr=False)


def load(
    table: TableReader, asset: Asset, partitions: PartitionSet | None, *, version: int | None = None
) -> pl.LazyFrame:
    """Read an asset's rows lazily, with the types that its schema promises.

    Parameters:
        table: where they live
        asset: what is read
        partitions: which partitions; None: all within the bounds of its definition
        version: the table version; None: the newest

    Raises:
        StorageError: the table or the version is not there
    """
    from lakehouse.io.tokens import bounded

    if partitions is None and asset.partitioned:
        partitions = bounded(asset.partitions, table.rows(version=version))
    return as_promised(asset, table.scan(partitions if asset.partitioned else None, version=version))


def as_promised(asset: Asset, frame: pl.LazyFrame) -> pl.LazyFrame:
    """An asset's rows as they are stored, with the types that its schema promises."""
    from lakehouse.io.frames import restore

    return restore(frame, {c.name: c.dtype for c in asset.schema.columns} if asset.schema else {})
