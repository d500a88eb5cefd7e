"""With Dagster: a column of datetimes without a zone: one day of three is built again. The other two should stay."""

import tempfile
from datetime import datetime

import polars as pl
from dagster import AssetExecutionContext, DailyPartitionsDefinition, asset
from peer import build

amount, daily = 1, DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")


@asset(partitions_def=daily, key_prefix="bronze", metadata={"partition_expr": "at"})
def sales(context: AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"at": [datetime.fromisoformat(context.partition_key)], "amount": [amount]})


root = tempfile.mkdtemp()
for key in daily.get_partition_keys():
    print(f"{key}:", build(root, [sales], partition_key=key))
amount = 2
print("January 2 again:", build(root, [sales], partition_key="2024-01-02"))
print(pl.read_delta(f"{root}/bronze/sales").sort("at"))
