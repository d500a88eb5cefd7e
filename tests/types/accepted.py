"""What both type checkers must accept. Nothing runs it: mypy and pyright read it (`test_types.py`, `make types`)."""

from collections.abc import Callable
from typing import Annotated, Any, assert_type

import polars as pl

from lakehouse import (
    Asset,
    Context,
    Daily,
    Freshness,
    From,
    Observed,
    PartitionRange,
    Retry,
    Window,
    bronze,
    gold,
    silver,
    source,
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
