"""What was made from a partition that has another key by now: its files stay, and its lineage is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lakehouse import Lakehouse
from lakehouse.maintenance import Maintenance
from tests.maintenance.projects import REGIONS, open_project, outdated, refresh

LATER = datetime.now(UTC) + timedelta(days=100)
DYNAMIC = REGIONS.replace('Static(["US", "EU"], column="region")', 'Dynamic("regions", column="region")').replace(
    "Static,", "Dynamic,"
)
BOTH = ["bronze.sales", "silver.checked"]


def _lake(folder: Path, keys: Sequence[str] = ("US", "EU")) -> Lakehouse:
    lake = open_project(folder, DYNAMIC)
    lake.add_partitions("bronze.sales", keys)
    refresh(lake, None)
    return lake


def _rename(lake: Lakehouse, old: str, new: str, assets: Sequence[str] = BOTH) -> None:
    Maintenance(lake).rename_partition(assets, old, new).apply()


def _retain(lake: Lakehouse) -> None:
    Maintenance(lake, now=LATER).retain(keep="1d", versions=1).apply()


def test_a_key_renamed_on_both_sides(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    (pin,) = lake.lineage_store.facts("silver.checked")[-1].inputs
    _rename(lake, "US", "us")
    _retain(lake)
    assert sorted(lake.load("bronze.sales", version=pin.version).collect()["region"]) == ["EU", "US"]
    assert not outdated(lake)
