"""The verbs without a lakehouse of one's own: in the one that settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.asset_status import AssetStatus
from lakehouse.definitions.asset import Asset
from lakehouse.definitions.selection import Targets
from lakehouse.execution.run import Run
from lakehouse.lake import Lakehouse
from lakehouse.planning.plan import Plan
from lakehouse.project import assets_in
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    pass


def open_lakehouse(targets: Targets | None = None) -> Lakehouse:
    """The lakehouse that settings describe: over the targets' ancestors, or over the module that they name."""
    settings = load_settings()
    listed = [targets] if isinstance(targets, Asset | str) else list(targets or [])
    assets = [target for target in listed if isinstance(target, Asset)]
    if not assets or len(assets) < len(listed):
        assets += assets_in(settings.module)
        if settings.dbt is not None:
            from lakehouse.integrations.dbt import dbt_assets

            known = {asset.key for asset in assets}
            models = dbt_assets(settings.dbt, sources=assets, target=settings.dbt_target)
            assets += [model for model in models if model.key not in known]
    return Lakehouse(assets, settings=settings)


def materialize(targets: Targets, partitions: Any = None, **options: Any) -> Run:
    """Build what is named, in the lakehouse that settings describe; see [Lakehouse.materialize][]."""
    return open_lakehouse(targets).materialize(targets, partitions, **options)


def refresh(targets: Targets, partitions: Any = None, **options: Any) -> Run:
    """Build what is missing, in the lakehouse that settings describe; see [Lakehouse.refresh][]."""
    return open_lakehouse(targets).refresh(targets, partitions, **options)


def backfill(targets: Targets, partitions: Any, **options: Any) -> Run:
    """Bring a range up to date in chunks, in the lakehouse that settings describe; see [Lakehouse.backfill][]."""
    return open_lakehouse(targets).backfill(targets, partitions, **options)


def plan(targets: Targets, partitions: Any = None, **options: Any) -> Plan:
    """What would be done, in the lakehouse that settings describe; see [Lakehouse.plan][]."""
    return open_lakehouse(targets).plan(targets, partitions, **options)


def status(targets: Targets | None = None) -> list[AssetStatus]:
    """What is known of assets, in the lakehouse that settings describe; see [Lakehouse.status][]."""
    return open_lakehouse(targets).status(targets)
