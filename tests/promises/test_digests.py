"""What was digested in another way, by an older release or another polars, looks no more changed than it is."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, silver
from lakehouse.execution import candidate
from lakehouse.io import digests
from lakehouse.lineage import Fact

DAYS = "2013-01-01...2013-01-04"
daily = Daily("2013-01-01", end="2013-01-05", column="day")
SAID: dict[str, int] = {}
"""What the source says of days, where that isn't 1."""


@bronze(partitions=daily)
def told(partitions: PartitionRange) -> pl.LazyFrame:
    keys = [key for key in partitions if key != "2013-01-04"]  # a day without rows
    rows = pl.LazyFrame({"day": keys, "n": [SAID.get(key, 1) for key in keys]})
    kinds = rows.with_columns(kind=pl.lit("a").cast(pl.Categorical), small=pl.col("n").cast(pl.UInt8))
    return kinds.with_columns(at=pl.lit("2013-01-01 12:30").str.to_datetime(time_unit="ms", time_zone="UTC"))


@silver(partitions=daily)
def copied(told: pl.LazyFrame) -> pl.LazyFrame:
    return told


@silver
def whole(told: pl.LazyFrame) -> pl.LazyFrame:
    return told


@silver
def again(whole: pl.LazyFrame) -> pl.LazyFrame:
    return whole


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse([copied, again], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")


def newest(lake: Lakehouse, key: str) -> Fact:
    return lake.lineage_store.newest(key)[-1]


def stale(lake: Lakehouse) -> dict[str, list[str]]:
    plan = lake.plan("*", DAYS, refresh=True)
    return {asset.key: plan.partitions(asset).keys() for asset in plan.assets}


def change_polars(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(digests, "algorithm", lambda: "another")
    patch.setattr(digests, "_SEEDS", (3, 4))


def build(lake: Lakehouse) -> None:
    lake.refresh("*", DAYS, engine="inline")


def test_another_polars_makes_nothing_look_changed(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    build(lake)
    assert newest(lake, "bronze.told").digested == digests.algorithm()
    change_polars(monkeypatch)
    assert stale(lake) == {}
    lake.materialize("bronze.told", DAYS, engine="inline")
    fact = newest(lake, "bronze.told")
    assert fact.digested == "another"
    assert fact.unchanged == (("2013-01-01", "2013-01-04"),)
    assert stale(lake) == {}

    # What has changed is seen, and from now on digests are compared.
    monkeypatch.setitem(SAID, "2013-01-02", 7)
    lake.materialize("bronze.told", DAYS, engine="inline")
    assert stale(lake) == {"silver.copied": ["2013-01-02"], "silver.whole": [""], "silver.again": [""]}


def test_what_has_changed_is_told_also_where_rows_are_read_for_it(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(lake)
    change_polars(monkeypatch)
    monkeypatch.setitem(SAID, "2013-01-02", 7)
    lake.materialize("bronze.told", DAYS, engine="inline")
    assert newest(lake, "bronze.told").unchanged == (("2013-01-01", "2013-01-01"), ("2013-01-03", "2013-01-04"))
    build(lake)
    assert newest(lake, "silver.whole").unchanged == ()
    assert stale(lake) == {}


def test_a_table_without_partitions_is_compared_alike(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    build(lake)
    change_polars(monkeypatch)
    lake.materialize("silver.whole", engine="inline")
    assert newest(lake, "silver.whole").unchanged == (("", ""),)
    assert stale(lake) == {}


def test_digests_of_an_older_release_are_not_compared(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(digests, "algorithm", lambda: "")
        build(lake)
    assert "digested" not in newest(lake, "bronze.told").to_json()
    lake.materialize("bronze.told", DAYS, engine="inline")
    assert newest(lake, "bronze.told").unchanged == (("2013-01-01", "2013-01-04"),)


def test_rows_are_read_for_it_only_where_digests_cant_be_compared(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    real = candidate._digests_anew

    def count(attempt: object, made: object, partitions: object) -> dict[str, str]:
        read.append(partitions.keys())  # type: ignore[attr-defined]
        return real(attempt, made, partitions)  # type: ignore[arg-type]

    monkeypatch.setattr(candidate, "_digests_anew", count)
    build(lake)
    lake.materialize("bronze.told", DAYS, engine="inline")
    assert read == []
    with monkeypatch.context() as patch:
        change_polars(patch)
        lake.materialize("bronze.told", "2013-01-02", engine="inline")
    lake.materialize("bronze.told", DAYS, engine="inline")
    assert read == [["2013-01-02"], ["2013-01-02"]]


def test_what_cant_be_read_any_more_counts_as_changed(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build(lake)
    change_polars(monkeypatch)
    for folder in (tmp_path / "data/bronze/told").glob("_staged-*"):
        shutil.rmtree(folder)
    run = lake.materialize("bronze.told", DAYS, engine="inline")
    assert run.ok
    assert "what was there before can't be read, and counts as changed" in caplog.text
    assert newest(lake, "bronze.told").unchanged == (("2013-01-04", "2013-01-04"),)


def test_what_tells_one_way_from_another_depends_on_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = digests.algorithm()
    monkeypatch.setattr(digests, "_SEEDS", (3, 4))
    assert digests.algorithm.__wrapped__() != mine == digests.algorithm()
