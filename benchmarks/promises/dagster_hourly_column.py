"""With Dagster: hours in UTC: one of three is built again. The other two should stay as they were."""

import tempfile
from datetime import UTC

import polars as pl
from dagster import AssetExecutionContext, HourlyPartitionsDefinition, asset
from peer import build

amount, hourly = 1, HourlyPartitionsDefinition(start_date="2024-01-01-00:00", end_date="2024-01-01-03:00")


@asset(partitions_def=hourly, key_prefix="bronze", metadata={"partition_expr": "at"})
def sales(context: AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"at": [context.partition_time_window.start.astimezone(UTC)], "amount": [amount]})


root = tempfile.mkdtemp()
for key in hourly.get_partition_keys():
    print(f"{key}:", build(root, [sales], partition_key=key))
amount = 2
print("01:00 again:", build(root, [sales], partition_key="2024-01-01-01:00"))
print(pl.read_delta(f"{root}/bronze/sales").sort("at"))
