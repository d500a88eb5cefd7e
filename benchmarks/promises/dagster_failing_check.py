"""With Dagster: a blocking check fails for the second version of a day. A reader should never see that one."""

import tempfile
from datetime import date

import polars as pl
from dagster import AssetCheckResult, AssetExecutionContext, DailyPartitionsDefinition, asset, asset_check
from peer import build

amount, daily = 1, DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")


@asset(partitions_def=daily, key_prefix="bronze", metadata={"partition_expr": "day"})
def sales(context: AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"day": [date.fromisoformat(context.partition_key)], "amount": [amount]})


@asset_check(asset=sales, blocking=True, partitions_def=daily)
def not_negative(sales: pl.DataFrame) -> AssetCheckResult:
    return AssetCheckResult(passed=bool((sales["amount"] >= 0).all()))


root = tempfile.mkdtemp()
for key in daily.get_partition_keys():
    print(f"{key}:", build(root, [sales, not_negative], partition_key=key))
amount = -5
print("January 2 again:", build(root, [sales, not_negative], partition_key="2024-01-02"))
print(pl.read_delta(f"{root}/bronze/sales").sort("day"))
