"""An asset tried out in memory: for the unit tests of people's own assets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph, Edge
from lakehouse.definitions.policies import Retry
from lakehouse.errors import PartitionError, StepError, UnknownInput, nearest, shorten
from lakehouse.execution.batch import run_batch
from lakehouse.execution.home import RunInfo, load
from lakehouse.io.frames import take
from lakehouse.io.memory import MemoryTable
from lakehouse.io.scratch import Scratch
from lakehouse.lake import Lakehouse
from lakehouse.lineage import new_id
from lakehouse.partitions import PartitionMapping, PartitionSet
from lakehouse.planning.batches import StepBatch
from lakehouse.planning.steps import Input, Step
from lakehouse.schemas.contracts import SchemaContracts
from lakehouse.schemas.registry import EmbeddedRegistry
from lakehouse.settings import load_settings
from lakehouse.testing.lineage import MemoryLineage

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.io import Table


def run_asset(asset: Asset, inputs: Mapping[str, Any] | None = None, partitions: Any = None) -> pl.DataFrame:
    """Make an asset from frames at hand, with all that stands before publication, and publish nothing.

    Parameters:
        asset: what to make
        inputs: a frame of any kind for each of its inputs, by parameter; of one that keeps files, a list of files. Each
            is given as the function asks for it
        partitions: which partitions: a key, a list of keys, a range ``"a...b"``; None: it has none

    Returns:
        the rows that would be published

    Raises:
        UnknownInput: a frame that is missing, or that fills no parameter
        PartitionError: partitions that can't be, or none for an asset that has them
        StepError: what a step would raise; or what its checks would hold back, and why

    Examples:
        >>> import polars as pl
        >>> from lakehouse import bronze, silver
        >>> from lakehouse.checks import not_null
        >>> @bronze
        ... def raw() -> pl.DataFrame: ...
        >>> @silver(checks=[not_null("n")])
        ... def doubled(raw: pl.DataFrame) -> pl.DataFrame:
        ...     return raw.with_columns(pl.col("n") * 2)
        >>> run_asset(doubled, {"raw": pl.DataFrame({"n": [1, 2]})})["n"].to_list()
        [2, 4]
    """
    edges = AssetGraph([asset]).inputs(asset)
    given = dict(inputs or {})
    wanted = [edge.parameter.name for edge in edges if not edge.asset.external]
    for name in (*given, *wanted):
        if name not in wanted or name not in given:
            what = "lacks a frame for its input" if name in wanted else "has no input"
            raise UnknownInput(
                f"{asset.key} {what} {name!r}; its inputs are {shorten(wanted) or 'none'}",
                hint=None if name in wanted else nearest(name, wanted),
            )
    now = datetime.now(UTC)
    if partitions is None and asset.partitioned:
        raise PartitionError(f"{asset.key} is partitioned ({asset.partitions})", hint="say which partitions to make")
    if partitions is not None and not asset.partitioned:
        raise PartitionError(f"partitions {partitions!r} were given, but {asset.key} is not partitioned")
    chosen = asset.partitions.all(now) if partitions is None else asset.partitions.select(partitions)
    with Scratch() as scratch:
        return _made(asset, edges, given, chosen, now, scratch)


def _made(
    asset: Asset,
    edges: Sequence[Edge],
    given: Mapping[str, Any],
    chosen: PartitionSet,
    now: datetime,
    scratch: Scratch,
) -> pl.DataFrame:
    """The rows that would be published."""
    home = _Home({asset.key: MemoryTable(asset.key, partitioned=asset.partitioned)})
    needs = []
    for edge in edges:
        needed = PartitionMapping(asset.partitions, edge.asset.partitions, now, edge.rule).upstream(chosen)
        needs.append(Input(edge.parameter.name, edge.asset, needed, 0, (), edge.rule))
        if edge.asset.external:
            continue
        if edge.asset.keeps_files:
            home.tables[edge.asset.key] = _kept(edge.asset, given[edge.parameter.name], needed)
            continue
        frame = take(given[edge.parameter.name], where=f"the frame for {edge.parameter.name!r}", scratch=scratch)
        home.tables[edge.asset.key] = cast("Table", _Given(edge.asset.key, frame))
    # What is tried out is called once, with what it is asked for, and shows its own error.
    whole = replace(asset, retry=Retry(split=False))
    step = Step(asset.key, whole, chosen, tuple(needs), (), now)
    (result,) = run_batch(StepBatch(step.id, (step,), ()), home, RunInfo(new_id(), now, "run_asset"))
    if not result.ok:
        which = f" {result.absent}" if asset.partitioned else ""
        raise StepError(f"{asset.key}{which} would be held back: {result.error}", hint="see what its checks want")
    return load(home.table(asset), asset, None).collect()


def _kept(asset: Asset, files: Any, needed: PartitionSet) -> Table:
    """Files as an asset that keeps them would have published them."""
    from lakehouse.io import PARTITION
    from lakehouse.io.raw import each, land
    from lakehouse.io.tokens import token

    table = MemoryTable(asset.key, partitioned=asset.partitioned)
    listed = land(
        table,
        ((needed, file) for file in each(files, where=asset.key)),
        needed,
        "given",
        where=asset.key,
        run="run_asset",
    ).rows
    if asset.partitioned:
        listed = listed.with_columns(token(asset.partitions, listed.collect_schema(), where=asset.key).alias(PARTITION))
    table.publish(table.stage(listed, "given"), needed, payload="", since=None)
    return table


@final
@dataclass(frozen=True)
class _Given:
    """A frame as a table that was published once: all of it, whatever partitions are asked for."""

    name: str
    frame: pl.LazyFrame

    @property
    def uri(self) -> str:
        return f"memory://{self.name}"

    def version(self) -> int | None:
        return 0

    def scan(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> pl.LazyFrame:
        return self.frame

    def pinned(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> None:
        """Where its rows lie: in no files."""


@dataclass(frozen=True)
class _Home:
    tables: dict[str, Table] = field(default_factory=dict)
    lineage_store: MemoryLineage = field(default_factory=MemoryLineage)

    @property
    def schemas(self) -> SchemaContracts:
        return SchemaContracts(self.lineage_store, EmbeddedRegistry(self.lineage_store))

    def table(self, asset: Asset) -> Table:
        return self.tables[asset.key]

    def place(self, asset: Asset) -> None:
        """Here, wherever it is to run in earnest."""

    def page(self, asset: Asset) -> None:
        """Nobody looks at it."""


class MemoryLakehouse(Lakehouse):
    """Assets whose tables and lineage live in the memory of this process, built with no orchestrator.

    Parameters:
        assets: the assets; what they depend on comes along

    Examples:
        >>> import polars as pl
        >>> from lakehouse import bronze
        >>> @bronze
        ... def numbers() -> pl.DataFrame:
        ...     return pl.DataFrame({"n": [1, 2, 3]})
        >>> lake = MemoryLakehouse([numbers])
        >>> lake.materialize(numbers).ok
        True
        >>> lake.load(numbers).collect()["n"].to_list()
        [1, 2, 3]
    """

    def __init__(self, assets: Iterable[Asset]) -> None:
        super().__init__(assets, storage="memory://", lineage=MemoryLineage(), settings=load_settings(engine="inline"))

    def place(self, asset: Asset) -> None:
        """Here, wherever its function is called in earnest: nobody elsewhere sees what is in memory."""


__all__ = ["MemoryLakehouse", "run_asset"]
