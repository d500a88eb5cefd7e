"""With Dagster: one range of three days of which one has no data and raises. The other two should be published."""

import tempfile
from datetime import date

import polars as pl
from dagster import AssetExecutionContext, BackfillPolicy, DailyPartitionsDefinition, asset
from deltalake import DeltaTable
from peer import build

amount, daily = 1, DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")


@asset(
    partitions_def=daily,
    backfill_policy=BackfillPolicy.single_run(),
    key_prefix="bronze",
    metadata={"partition_expr": "day"},
)
def sales(context: AssetExecutionContext) -> pl.DataFrame:
    days = [date.fromisoformat(key) for key in context.partition_keys]
    if "2024-01-02" in context.partition_keys:
        raise ValueError("there is no file for 2024-01-02")
    return pl.DataFrame({"day": days}).with_columns(amount=amount)


def span(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


root = tempfile.mkdtemp()
print("all three:", build(root, [sales], tags=span("2024-01-01", "2024-01-03")))
there = DeltaTable.is_deltatable(f"{root}/bronze/sales")
print(pl.read_delta(f"{root}/bronze/sales").sort("day") if there else "there is no table")
