"""The verbs without a lakehouse of one's own: in the one that settings describe."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, Unpack

from lakehouse.asset_status import AssetStatus
from lakehouse.definitions.asset import Asset
from lakehouse.definitions.selection import Targets
from lakehouse.engines import EngineName
from lakehouse.errors import SettingsError
from lakehouse.execution.engine import Engine, Watcher
from lakehouse.execution.run import Run
from lakehouse.lake import Lakehouse
from lakehouse.partitions import PartitionSelection, PartitionSet
from lakehouse.planning.plan import Plan
from lakehouse.planning.request import Upstream
from lakehouse.project import assets_in
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    import polars as pl


def open_lakehouse(targets: Targets | None = None) -> Lakehouse:
    """The lakehouse that settings describe: over the targets' ancestors, or over the module that they name."""
    settings = load_settings()
    listed = [targets] if isinstance(targets, Asset | str) else list(targets or [])
    assets = [target for target in listed if isinstance(target, Asset)]
    if not assets or len(assets) < len(listed):
        if settings.module is not None:
            assets += assets_in(settings.module)
        elif settings.dbt is None:
            raise SettingsError(
                "no module of assets is configured",
                hint="name yours: LAKEHOUSE_MODULE, or module below [tool.lakehouse] in pyproject.toml "
                "(lakehouse.assets is the reference lakehouse)",
            )
        if settings.dbt is not None:
            from lakehouse.integrations.dbt import dbt_assets

            known = {asset.key for asset in assets}
            models = dbt_assets(settings.dbt, sources=assets, target=settings.dbt_target)
            assets += [model for model in models if model.key not in known]
    return Lakehouse(assets, settings=settings)


class RunOptions(TypedDict, total=False):
    """What may be said of how a request is done; see [Lakehouse.materialize][]."""

    upstream: Upstream
    chunk: int | None
    engine: EngineName | Engine | None
    runner: str | None
    raise_on_failure: bool
    watcher: Watcher | None


class BackfillOptions(RunOptions, total=False):
    """What may be said of a backfill; see [Lakehouse.backfill][]."""

    parallel: int | None


class PlanOptions(TypedDict, total=False):
    """What may be said of a plan; see [Lakehouse.plan][]."""

    upstream: Upstream
    refresh: bool
    chunk: int | None
    now: datetime | None


def materialize(targets: Targets, partitions: PartitionSelection | None = None, **options: Unpack[RunOptions]) -> Run:
    """Build what is named, in the lakehouse that settings describe; see [Lakehouse.materialize][]."""
    return open_lakehouse(targets).materialize(targets, partitions, **options)


def refresh(targets: Targets, partitions: PartitionSelection | None = None, **options: Unpack[RunOptions]) -> Run:
    """Build what is missing or stale, in the lakehouse that settings describe; see [Lakehouse.refresh][]."""
    return open_lakehouse(targets).refresh(targets, partitions, **options)


def backfill(targets: Targets, partitions: PartitionSelection, **options: Unpack[BackfillOptions]) -> Run:
    """Bring a range up to date in chunks, in the lakehouse that settings describe; see [Lakehouse.backfill][]."""
    return open_lakehouse(targets).backfill(targets, partitions, **options)


def plan(targets: Targets, partitions: PartitionSelection | None = None, **options: Unpack[PlanOptions]) -> Plan:
    """What would be done, in the lakehouse that settings describe; see [Lakehouse.plan][]."""
    return open_lakehouse(targets).plan(targets, partitions, **options)


def status(targets: Targets | None = None, *, now: datetime | None = None) -> list[AssetStatus]:
    """What is known of assets, in the lakehouse that settings describe; see [Lakehouse.status][]."""
    return open_lakehouse(targets).status(targets, now=now)


def load(
    asset: Asset | str, partitions: PartitionSelection | None = None, *, version: int | None = None
) -> pl.LazyFrame:
    """The rows of an asset, in the lakehouse that settings describe; see [Lakehouse.load][]."""
    return open_lakehouse(asset).load(asset, partitions, version=version)


def observe(targets: Targets | None = None) -> dict[str, PartitionSet]:
    """Look at external assets, in the lakehouse that settings describe; see [Lakehouse.observe][]."""
    return open_lakehouse(targets).observe(targets)
