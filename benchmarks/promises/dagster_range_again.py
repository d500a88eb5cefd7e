"""With Dagster: two of four days are built again, as one range. Each should be there once, with the new amount."""

import tempfile
from datetime import date

import polars as pl
from dagster import AssetExecutionContext, BackfillPolicy, DailyPartitionsDefinition, asset
from peer import build

amount, daily = 1, DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-05")


@asset(
    partitions_def=daily,
    backfill_policy=BackfillPolicy.single_run(),
    key_prefix="bronze",
    metadata={"partition_expr": "day"},
)
def sales(context: AssetExecutionContext) -> pl.DataFrame:
    days = [date.fromisoformat(key) for key in context.partition_keys]
    return pl.DataFrame({"day": days}).with_columns(amount=amount)


def span(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


root = tempfile.mkdtemp()
print("all four:", build(root, [sales], tags=span("2024-01-01", "2024-01-04")))
amount = 2
print("January 2 to 3 again:", build(root, [sales], tags=span("2024-01-02", "2024-01-03")))
print(pl.read_delta(f"{root}/bronze/sales").sort("day"))
