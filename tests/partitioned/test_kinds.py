"""Partitions of every kind, through plans, real tables and lineage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest

from lakehouse import (
    Asset,
    Cron,
    Daily,
    Dynamic,
    Every,
    From,
    Lakehouse,
    Last,
    Monthly,
    Multi,
    PartitionRange,
    Run,
    Same,
    Static,
    Weekly,
    Window,
    bronze,
    gold,
    silver,
    source,
)
from lakehouse.errors import PartitionError
from lakehouse.partitions import PerDimension, TimePartitions

START = datetime(2013, 1, 1, tzinfo=UTC)


def lakehouse(folder: Path, *assets: Asset) -> Lakehouse:
    return Lakehouse(assets, storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")


def built(run: Run) -> dict[str, str]:
    return {one.asset.key: str(one.published) for one in run.summaries() if one.published}


# ── time ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cut", "wanted", "number"),
    [
        (Weekly("2012-12-31", end="2013-03-04", column="at"), "2013-01-07...2013-01-21", 3),
        (Every(minutes=5, start=START, end=START + timedelta(days=1), column="at"), None, 288),
        (Cron("0 6 * * 1-5", start="2013-01-01T06:00", end="2013-01-15T06:00", column="at"), None, 10),
        (Monthly("2013-01", end="2013-05", column="at"), "2013-02...2013-03", 2),
    ],
)
def test_pieces_of_time(tmp_path: Path, cut: TimePartitions, wanted: Any, number: int) -> None:
    @bronze(partitions=cut)
    def raw(partitions: PartitionRange) -> pl.LazyFrame:
        ordinals = range(partitions.low, partitions.high)
        return pl.LazyFrame({"at": [cut.instant(o) for o in ordinals]}, schema={"at": pl.Datetime("us", "UTC")})

    @silver(partitions=cut)
    def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(n=1)

    lake = lakehouse(tmp_path, raw, clean)
    run = lake.refresh("*", wanted, engine="inline", chunk=100)
    assert len(run.published("silver.clean")) == number
    assert lake.load("silver.clean").collect().height == number
    first = run.published("silver.clean").hull.first
    assert lake.load("silver.clean", first).collect().height == 1
    assert not lake.refresh("*", wanted, engine="inline").plan


def test_a_window_reads_the_days_before_and_follows_their_changes(tmp_path: Path) -> None:
    daily = Daily("2013-01-01", end="2013-02-01", column="date")
    add = {"2013-01-03": 0}

    @bronze(partitions=daily)
    def raw(partitions: PartitionRange) -> pl.LazyFrame:
        keys = partitions.keys()
        return pl.LazyFrame({"date": keys, "n": [1 + add.get(k, 0) for k in keys]}).with_columns(
            pl.col("date").str.to_date()
        )

    @silver(partitions=daily)
    def week(
        raw: Annotated[pl.LazyFrame, From("bronze.raw", Window(before=6))], partitions: PartitionRange
    ) -> pl.LazyFrame:
        days = pl.LazyFrame({"date": partitions.keys()}).with_columns(pl.col("date").str.to_date())
        pairs = days.join_where(
            raw.rename({"date": "day"}),
            pl.col("day") <= pl.col("date"),
            pl.col("day") > pl.col("date").dt.offset_by("-7d"),
        )
        return pairs.group_by("date").agg(pl.col("n").sum())

    lake = lakehouse(tmp_path, raw, week)
    lake.refresh("*", "2013-01-01...2013-01-20", engine="inline", chunk=7)
    sums = dict(lake.load("silver.week").collect().sort("date").iter_rows())
    assert [sums[daily_date] for daily_date in sorted(sums)] == [1, 2, 3, 4, 5, 6, *[7] * 14]
    add["2013-01-03"] = 100
    lake.materialize("bronze.raw", "2013-01-03", engine="inline")
    run = lake.refresh("*", "2013-01-01...2013-01-20", engine="inline")
    assert built(run) == {"silver.week": "2013-01-03...2013-01-09"}
    assert lake.load("silver.week", "2013-01-09").collect()["n"].item() == 107


def test_last_reads_the_newest_that_is_there(tmp_path: Path) -> None:
    daily = Daily("2013-01-01", end="2013-01-11", column="date")

    @bronze(partitions=daily)
    def raw(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"date": partitions.keys()})

    @silver
    def newest(raw: Annotated[pl.LazyFrame, From("bronze.raw", Last())]) -> pl.LazyFrame:
        return raw

    lake = lakehouse(tmp_path, raw, newest)
    run = lake.refresh("silver.newest", engine="inline")
    assert built(run) == {"bronze.raw": "2013-01-10", "silver.newest": ""}
    assert lake.load("silver.newest").collect()["date"].to_list() == ["2013-01-10"]


# ── keys that come at run time ────────────────────────────────────────────────────────────


def customers(folder: Path) -> Lakehouse:
    cut = Dynamic("customers", column="customer")

    @bronze(partitions=cut)
    def orders(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"customer": partitions.keys()}).with_columns(amount=pl.col("customer").str.len_chars())

    @silver(partitions=cut)
    def paid(orders: pl.LazyFrame) -> pl.LazyFrame:
        return orders

    @gold
    def turnover(paid: pl.LazyFrame) -> pl.LazyFrame:
        return paid.select(pl.col("amount").sum())

    return lakehouse(folder, orders, paid, turnover)


def test_a_key_that_is_registered_is_missing_until_it_is_built(tmp_path: Path) -> None:
    lake = customers(tmp_path)
    assert not lake.plan("*", refresh=True)
    assert str(lake.add_partitions("bronze.orders", ["acme", "globex & sons/é"])) == "acme, globex & sons/é"
    assert not lake.add_partitions("silver.paid", "acme")
    assert len(lake.refresh("*", engine="inline").published("silver.paid")) == 2
    lake.add_partitions("bronze.orders", "umbrella")
    assert built(customers(tmp_path).refresh("*", engine="inline")) == {
        "bronze.orders": "umbrella",
        "silver.paid": "umbrella",
        "gold.turnover": "",
    }
    assert lake.load("gold.turnover").collect().item() == len("acmeglobex & sons/éumbrella")
    assert lake.load("silver.paid", "globex & sons/é").collect()["amount"].to_list() == [15]
    assert not lake.plan("*", refresh=True)


def test_a_key_that_is_not_registered_is_an_error_that_says_so(tmp_path: Path) -> None:
    lake = customers(tmp_path)
    lake.add_partitions("bronze.orders", "acme")
    with pytest.raises(PartitionError, match="once its key is registered"):
        lake.materialize("bronze.orders", "globex", engine="inline")
    with pytest.raises(PartitionError, match="has no dynamic partitions"):
        lake.add_partitions("gold.turnover", "acme")


def test_a_key_that_is_taken_out_is_not_asked_for_any_more(tmp_path: Path) -> None:
    lake = customers(tmp_path)
    lake.add_partitions("bronze.orders", ["acme", "globex"])
    lake.refresh("*", engine="inline")
    assert str(lake.remove_partitions("bronze.orders", "globex")) == "globex"
    (status,) = lake.status("bronze.orders")
    assert (str(status.expected), len(status.present)) == ("acme", 2)


def test_what_an_external_asset_has_registers_itself(tmp_path: Path) -> None:
    there = {"acme": "1"}
    cut = Dynamic("customers", column="customer")

    @source(partitions=Dynamic("customers"))
    def outside() -> dict[str, str]:
        return there

    @bronze(partitions=cut)
    def orders(outside: Any, partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"customer": partitions.keys()})

    lake = lakehouse(tmp_path, outside, orders)
    assert built(lake.refresh("*", engine="inline")) == {"bronze.orders": "acme"}
    there["globex"] = "1"
    assert built(lake.refresh("*", engine="inline")) == {"bronze.orders": "globex"}


# ── several dimensions ────────────────────────────────────────────────────────────────────

REGIONS = Static(["eu", "us"], column="region")
DAYS = Daily("2013-01-01", end="2013-01-11", column="date")
EACH_WITH_THE_DAY_BEFORE = PerDimension({"region": Same(), "date": Window(before=1)})
BOTH = Multi({"region": REGIONS, "date": DAYS})


def sales_in(folder: Path, seen: list[str]) -> Lakehouse:
    @bronze(partitions=BOTH)
    def sales(partitions: PartitionRange) -> pl.LazyFrame:
        seen.append(str(partitions))
        pairs = [key.split("|") for key in partitions]
        return pl.LazyFrame(
            {"region": [region for region, _ in pairs], "date": [day for _, day in pairs]}
        ).with_columns(pl.col("date").str.to_date(), n=1)

    @silver(partitions=BOTH)
    def clean(sales: pl.LazyFrame) -> pl.LazyFrame:
        return sales

    @gold(partitions=DAYS)
    def by_day(clean: pl.LazyFrame) -> pl.LazyFrame:
        return clean.group_by("date").agg(pl.col("n").sum())

    @gold(partitions=BOTH)
    def rolling(
        clean: Annotated[
            pl.LazyFrame, From("silver.clean", PerDimension({"region": Same(), "date": Window(before=1)}))
        ],
        partitions: PartitionRange,
    ) -> pl.LazyFrame:
        days = pl.LazyFrame({"date": [key.split("|")[1] for key in partitions]})
        wanted = days.with_columns(pl.col("date").str.to_date())
        two = pl.concat([clean, clean.with_columns(pl.col("date").dt.offset_by("1d"))])
        return two.join(wanted, on="date").group_by("region", "date").agg(pl.col("n").sum())

    return lakehouse(folder, sales, clean, by_day, rolling)


def test_several_dimensions(tmp_path: Path) -> None:
    seen: list[str] = []
    lake = sales_in(tmp_path, seen)
    run = lake.refresh("silver.clean", "us|2013-01-01...2013-01-04", engine="inline")
    assert seen == ["us|2013-01-01...2013-01-04"]
    assert str(run.published("silver.clean")) == "us|2013-01-01...2013-01-04"
    run = lake.refresh("*", engine="inline")
    assert len(run.published("bronze.sales")) == 16
    assert lake.load("gold.by_day").collect()["n"].to_list() == [2] * 10
    assert lake.load("silver.clean", {"region": "eu", "date": "2013-01-03"}).collect().height == 1
    rolling = lake.load("gold.rolling").collect().sort("region", "date")
    assert rolling["n"].to_list() == [1, *[2] * 9] * 2
    assert not lake.plan("*", refresh=True)


def test_a_change_of_one_combination_is_followed_where_it_leads(tmp_path: Path) -> None:
    lake = sales_in(tmp_path, [])
    lake.refresh("*", engine="inline")
    # As if other rows of one region and day had been published.
    facts = lake.lineage_store.facts("silver.clean")
    changed = facts[-1].model_copy(
        update={
            "id": "f" * 32,
            "partitions": (("eu|2013-01-05", "eu|2013-01-05"),),
            "version": 99,
            "contents": "",
            "unchanged": (),
        }
    )
    lake.lineage_store.append([changed])
    state = {one.asset.key: one for one in _stale_without_tables(lake)}
    assert {str(r.partitions) for r in state["gold.by_day"].reasons} == {"2013-01-05"}
    assert {str(r.partitions) for r in state["gold.rolling"].reasons} == {"eu|2013-01-05...2013-01-06"}


def _stale_without_tables(lake: Lakehouse) -> list[Any]:
    from dataclasses import dataclass

    from lakehouse.lineage import AssetState
    from lakehouse.planning.demand import ready_by
    from lakehouse.planning.staleness import Reason, stale

    @dataclass
    class Told:
        asset: Asset
        reasons: list[Reason]

    states = {a.key: AssetState.fold(a.partitions, lake.lineage_store.facts(a.key)) for a in lake.graph}
    now = lake.present()
    ready = ready_by(lake.graph, list(lake.graph), lambda one: states[one.key], now)
    return [
        Told(a, stale(lake.graph, a, states[a.key].present, lambda one: states[one.key], ready, now))
        for a in lake.graph
    ]
