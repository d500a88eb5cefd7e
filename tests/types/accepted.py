"""What both type checkers must accept. Nothing runs it: mypy and pyright read it (`test_types.py`, `make types`)."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, assert_type

import polars as pl

from lakehouse import (
    Asset,
    Context,
    Daily,
    Freshness,
    From,
    Lakehouse,
    Observed,
    PartitionRange,
    Retry,
    Run,
    Window,
    backfill,
    bronze,
    gold,
    load,
    materialize,
    observe,
    plan,
    refresh,
    silver,
    source,
    status,
)
from lakehouse.checks import row_count, unique
from lakehouse.io import Files

daily = Daily("2013-01-01", column="date")


# ── decorators: bare, with no keyword, with every keyword that their docstring names ──────


@source
def version() -> str:
    return "1"


@source()
def versions() -> dict[str, str]:
    return {"2013-01-01": "1"}


@source(partitions=daily, tags=["daily"], owners=("shop",), group="orders", freshness=Freshness(every="1h"))
def landing() -> Files:
    return Files("landing/{partition}.csv")


@bronze
def register() -> pl.LazyFrame:
    return pl.LazyFrame()


@silver()
def registered(register: pl.DataFrame) -> pl.DataFrame:
    return register


@bronze(
    partitions=daily,
    checks=[unique("order"), row_count(min=1)],
    tags=["daily"],
    owners=["shop"],
    group="orders",
    retry=Retry(times=3),
    freshness=Freshness(max_age="1d"),
    code_version="2",
)
def raw_orders(landing: Observed, partitions: PartitionRange, context: Context) -> pl.LazyFrame:
    context.logger.info("%s to %s", partitions.start.date(), partitions.end.date())
    return pl.scan_csv(list(landing.uris))


@silver(
    partitions=daily,
    checks=(unique("order"),),
    tags=("daily",),
    owners=("shop",),
    group="orders",
    retry=Retry(times=3),
    freshness=Freshness(after_inputs=True),
    code_version=None,
)
def orders(raw_orders: pl.LazyFrame) -> pl.LazyFrame:
    return raw_orders.drop_nulls("amount")


@gold(
    partitions=daily,
    checks=[],
    tags=[],
    owners=[],
    group="",
    retry=None,
    freshness=None,
    code_version="1",
)
def week(orders: Annotated[pl.LazyFrame, From(orders, Window(before=6))]) -> pl.LazyFrame:
    return orders.group_by("date").len()


assert_type(version, Asset)
assert_type(versions, Asset)
assert_type(landing, Asset)
assert_type(register, Asset)
assert_type(registered, Asset)
assert_type(week, Asset)
assert_type(silver(tags=["daily"]), Callable[[Callable[..., Any]], Asset])


# ── verbs: targets and partitions in every form, every option ─────────────────────────────


def verbs(lake: Lakehouse) -> None:
    assert_type(lake.materialize(orders), Run)
    lake.materialize("+gold.*", "2013-01-01...2013-01-31", upstream="all", engine="inline", chunk=7)
    lake.materialize([orders, "gold.*"], [date(2013, 1, 1), "2013-01-02"], runner="threads", raise_on_failure=False)
    lake.materialize(orders, partitions=daily.select("2013-01"))
    lake.refresh(orders, datetime(2013, 1, 1, tzinfo=UTC), upstream="stale")
    lake.backfill(orders, "2013-01-01...2013-01-31", parallel=8, chunk=30)
    lake.plan(orders, refresh=True, now=datetime.now(UTC))
    lake.lineage("silver.orders", "2013-01-01")
    assert_type(lake.load(orders, version=3), pl.LazyFrame)
    lake.status("silver.*")
    lake.observe()


def module_level_verbs() -> None:
    assert_type(materialize(orders, partitions="2013-01-01", engine="inline", upstream="none"), Run)
    refresh("+gold.*", chunk=7, raise_on_failure=False)
    backfill(orders, "2013-01-01...2013-01-31", parallel=8)
    plan(orders, refresh=True)
    status("silver.*")
    assert_type(load("silver.orders", "2013-01-01"), pl.LazyFrame)
    observe("source.landing")
