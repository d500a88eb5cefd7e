"""What was made from a partition that has another key by now: its files stay, and its lineage is told."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Dynamic, Lakehouse, PartitionRange, bronze, silver
from lakehouse.execution.as_of import load_as_of
from lakehouse.lineage.provenance import Link
from lakehouse.maintenance import Maintenance
from lakehouse.settings import Settings
from tests.maintenance.projects import REGIONS, open_project, outdated, refresh

LATER = datetime.now(UTC) + timedelta(days=100)
DYNAMIC = REGIONS.replace('Static(["US", "EU"], column="region")', 'Dynamic("regions", column="region")').replace(
    "Static,", "Dynamic,"
)
BOTH = ["bronze.sales", "silver.checked"]


def _lake(folder: Path, source: str = DYNAMIC, **options: Any) -> Lakehouse:
    """Two partitions of each, built in one chunk."""
    lake = open_project(folder, source, **options)
    if "Dynamic" in source:
        lake.add_partitions("bronze.sales", ["US", "EU"])
    refresh(lake, None)
    return lake


def _rename(lake: Lakehouse, old: str, new: str, assets: Sequence[str] = BOTH) -> None:
    Maintenance(lake).rename_partition(assets, old, new).apply()


def _retain(lake: Lakehouse, **options: Any) -> None:
    Maintenance(lake, now=LATER).retain(**options or {"keep": "1d", "versions": 1}).apply()


def _regions(lake: Lakehouse, version: int) -> list[str]:
    return sorted(lake.load("bronze.sales", version=version).collect()["region"])


def _told(links: Sequence[Link]) -> list[tuple[str, str, int | None]]:
    return sorted((link.asset, link.partitions, link.fact.version if link.fact else None) for link in links)


def _sources(lake: Lakehouse, key: str) -> list[tuple[str, str, int | None]]:
    """What a partition of the consumer was made from."""
    return _told([below for link in lake.lineage("silver.checked", key).sources for below in link.links])


@pytest.mark.parametrize("retention", [{"keep": "1d"}, {"versions": 1}, {"keep": "1d", "versions": 1}])
@pytest.mark.parametrize(
    "renames",
    [
        [("US", "us", BOTH)],
        [("US", "us", BOTH), ("us", "usa", BOTH)],
        [("US", "us", BOTH), ("EU", "US", BOTH)],
        [("US", "us", ["bronze.sales"]), ("US", "us", ["silver.checked"])],
        [("US", "us", ["silver.checked"]), ("US", "us", ["bronze.sales"])],
        [("US", "us", ["bronze.sales"])],
        [("US", "us", ["silver.checked"])],
        [("US", "us", ["bronze.sales"]), ("EU", "US", ["bronze.sales"])],
        [("US", "us", ["bronze.sales"]), ("us", "usa", ["bronze.sales"]), ("US", "usa", ["silver.checked"])],
    ],
)
def test_what_the_current_record_pins_stays_readable(
    tmp_path: Path, renames: list[tuple[str, str, list[str]]], retention: dict[str, Any]
) -> None:
    lake = _lake(tmp_path)
    for old, new, assets in renames:
        _rename(lake, old, new, assets)
        _retain(lake, **retention)
        assert _regions(lake, 0) == ["EU", "US"]
    if all(assets is BOTH for _, _, assets in renames):
        assert not outdated(lake)


def test_lineage_is_told_by_the_keys_of_now_from_either_side(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    for old, new in (("US", "us"), ("us", "usa"), ("EU", "us")):
        _rename(lake, old, new)
        _retain(lake)
    assert _sources(lake, "usa") == [("bronze.sales", "usa", 0)]
    assert _sources(lake, "us") == [("bronze.sales", "us", 0)]
    for key in ("us", "usa"):
        assert [(a, p) for a, p, _ in _told(lake.lineage("bronze.sales", key).uses)] == [("silver.checked", key)]
        (checked,) = lake.lineage("bronze.sales", key).uses
        assert [(a, p) for a, p, _ in _told(checked.links)] == [("gold.by_region", "")]


def test_lineage_of_a_side_that_was_not_renamed(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    _rename(lake, "US", "us", ["bronze.sales"])
    lake.add_partitions("bronze.sales", "US")
    assert _sources(lake, "US") == [("bronze.sales", "us", 0)]
    assert [(a, p) for a, p, _ in _told(lake.lineage("bronze.sales", "us").uses)] == [("silver.checked", "US")]


def test_of_what_only_others_of_a_publication_needed_nothing_is_kept(tmp_path: Path) -> None:
    lake = _lake(tmp_path, settings=Settings(shared_files=False))
    _rename(lake, "US", "us")
    for asset in BOTH:
        lake.materialize(asset, "EU", engine="inline")
    _retain(lake)
    files = list((tmp_path / "data/bronze/sales").rglob("*.parquet"))
    assert len(files) == 3, "of now both, and of then the one that us was made from"
    lake.materialize("silver.checked", "us", engine="inline")
    _retain(lake)
    assert len([p for p in files if p.exists()]) == 2


def test_an_asset_and_its_partition_renamed(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    _rename(lake, "US", "us", ["bronze.sales"])
    source = (
        DYNAMIC.replace("def sales", "def orders")
        .replace("sales: pl", "orders: pl")
        .replace("return sales", "return orders")
    )
    lake = open_project(tmp_path, source)
    Maintenance(lake).rename("bronze.sales", "bronze.orders").apply()
    _rename(lake, "US", "us", ["silver.checked"])
    _rename(lake, "EU", "eu", ["bronze.orders", "silver.checked"])
    _retain(lake)
    assert sorted(lake.load("bronze.orders", version=0).collect()["region"]) == ["EU", "US"]
    assert _sources(lake, "us") == [("bronze.orders", "us", 0)]
    assert _sources(lake, "eu") == [("bronze.orders", "eu", 0)]


def test_a_static_key_is_renamed_in_the_code_and_a_retention_comes_first(tmp_path: Path) -> None:
    _lake(tmp_path, REGIONS)
    lake = open_project(tmp_path, REGIONS.replace('"US"', '"us"'))
    _retain(lake)
    _rename(lake, "US", "us", ["bronze.sales"])
    _retain(lake)
    _rename(lake, "US", "us", ["silver.checked"])
    _retain(lake)
    assert _regions(lake, 0) == ["EU", "US"]
    assert _sources(lake, "us") == [("bronze.sales", "us", 0)]
    assert _sources(lake, "EU") == [("bronze.sales", "EU", 0)]
    assert not outdated(lake)


def test_a_partition_whose_key_another_one_took(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    Maintenance(lake).wipe("bronze.sales", "EU").apply()
    lake.add_partitions("bronze.sales", "EU")
    _rename(lake, "US", "EU", ["bronze.sales"])
    assert outdated(lake)["silver.checked"] == ["bronze.sales changed"]
    assert _sources(lake, "EU") == [("bronze.sales", "EU", None)], "it was made from one that is no more"
    _retain(lake)
    assert _regions(lake, 0) == ["EU", "US"]
    (use,) = lake.lineage("bronze.sales", "EU").uses
    assert use.partitions == "US"


def test_partitions_of_several_dimensions_made_from_one_that_was_renamed(tmp_path: Path) -> None:
    source = """
import polars as pl
from lakehouse import Daily, Dynamic, Multi, PartitionRange, bronze, silver

regions = Dynamic("regions", column="region")
by_day = Multi({"region": regions, "date": Daily("2013-01-01", end="2013-01-03", column="date")})


@bronze(partitions=regions)
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"region": partitions.keys()})


@silver(partitions=by_day)
def daily(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.join(pl.LazyFrame({"date": ["2013-01-01", "2013-01-02"]}), how="cross")
"""
    lake = open_project(tmp_path, source)
    lake.add_partitions("bronze.sales", ["US", "EU"])
    refresh(lake, None)
    _rename(lake, "US", "us", ["bronze.sales"])
    lake.materialize("bronze.sales", ["us", "EU"], engine="inline")
    _retain(lake)
    assert _regions(lake, 0) == ["EU", "US"]
    lake.materialize("silver.daily", "EU|*", engine="inline")
    _retain(lake)
    assert [(a, p) for a, p, _ in _told(lake.lineage("bronze.sales", "EU").uses)] == [
        ("silver.daily", "EU|2013-01-01...2013-01-02")
    ]
    assert lake.table(lake.graph["bronze.sales"]).scan(Dynamic("regions").select("US"), version=0).collect().height == 1


def test_what_no_longer_reads_an_asset_keeps_what_it_was_made_from(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    source = DYNAMIC.replace("def checked(sales: pl.LazyFrame)", "def checked(other: pl.LazyFrame)").replace(
        "return sales.with", "return other.with"
    )
    other = "\n@bronze(partitions=regions)\ndef other() -> pl.LazyFrame:\n    return pl.LazyFrame()\n\n\n@silver"
    lake = open_project(tmp_path, source.replace("\n@silver", other, 1))
    lake.materialize("bronze.sales", ["US", "EU"], engine="inline")
    _retain(lake)
    assert _regions(lake, 0) == ["EU", "US"]


def test_what_was_published_again_before_it_was_renamed_makes_nothing_stale(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    changed = DYNAMIC.replace("pl.lit(5)", "pl.lit(6)")
    lake = open_project(tmp_path, changed)
    lake.refresh("+gold.by_region", engine="inline")
    _rename(lake, "US", "us")
    assert not outdated(lake)


# ── over random histories ─────────────────────────────────────────────────────────────────

KEYS = "abc"
ROUND = itertools.count()
LETTERS = Dynamic("letters", column="letter")


@bronze(partitions=LETTERS)
def noted(partitions: PartitionRange) -> pl.LazyFrame:
    """Other rows each time."""
    return pl.LazyFrame({"letter": partitions.keys()}).with_columns(round=pl.lit(next(ROUND)))


@silver(partitions=LETTERS)
def copied(noted: pl.LazyFrame) -> pl.LazyFrame:
    return noted


_some = st.frozensets(st.sampled_from(KEYS), min_size=1)
_asset = st.sampled_from([noted, copied])
_letter = st.sampled_from(KEYS)
_events = st.lists(
    st.one_of(
        st.tuples(st.just("build"), _asset, _some),
        st.tuples(st.just("rename"), st.sampled_from([[noted], [copied], [noted, copied]]), _letter, _letter),
        st.tuples(st.just("wipe"), _asset, _letter),
        st.tuples(st.just("retain")),
    ),
    min_size=4,
    max_size=10,
)


class _History:
    """A lakehouse, and of each partition of the consumer what it was made from: a version and a key, with its row."""

    def __init__(self, folder: str) -> None:
        self.lake = Lakehouse([copied], storage=folder, lineage=f"sqlite:///{folder}/lineage.db")
        self.made: dict[str, tuple[int, str, int]] = {}
        self.present: dict[str, set[str]] = {"noted": set(), "copied": set()}

    def build(self, asset: Any, keys: frozenset[str]) -> None:
        chosen = sorted(keys if asset is noted else keys & self.present["noted"])
        if not chosen:
            return
        self.lake.add_partitions(noted, list(KEYS))
        self.lake.materialize(asset, chosen, engine="inline")
        self.present[asset.name] |= set(chosen)
        if asset is copied:
            version = self.lake.table(noted).version()
            assert version is not None
            rows = dict(self.lake.load(copied).select("letter", "round").collect().iter_rows())
            self.made |= {key: (version, key, rows[key]) for key in chosen}

    def rename(self, assets: list[Any], old: str, new: str) -> None:
        able = [one for one in assets if old in self.present[one.name] and new not in self.present[one.name]]
        if not able:
            return
        Maintenance(self.lake).rename_partition(able, old, new).apply()
        for one in able:
            self.present[one.name] = self.present[one.name] - {old} | {new}
        if copied in able:
            self.made[new] = self.made.pop(old)

    def wipe(self, asset: Any, key: str) -> None:
        if key in self.present[asset.name]:
            self.lake.add_partitions(noted, list(KEYS))
            Maintenance(self.lake).wipe(asset, [key]).apply()
            self.present[asset.name].discard(key)
            if asset is copied:
                del self.made[key]

    def retain(self) -> None:
        _retain(self.lake)
        for version, key, row in self.made.values():
            found = load_as_of(self.lake.table(noted), noted, LETTERS.select(key), version).collect()
            assert found.select("letter", "round").rows() == [(key, row)]


@settings(max_examples=6)
@given(_events)
def test_over_any_history_what_is_current_can_be_made_again_from_what_it_was_made_from(
    events: list[tuple[Any, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = _History(folder)
        for name, *values in (("build", noted, frozenset(KEYS)), ("build", copied, frozenset(KEYS)), *events):
            getattr(history, name)(*values)
        history.retain()
