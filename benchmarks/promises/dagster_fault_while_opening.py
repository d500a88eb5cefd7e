"""With Dagster: storage fails once, while a table of three days is opened to replace one. No other should be lost."""

import tempfile
from datetime import date

import polars as pl
from dagster import AssetExecutionContext, DailyPartitionsDefinition, asset
from deltalake import DeltaTable
from peer import build

amount, daily = 1, DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")


@asset(partitions_def=daily, key_prefix="bronze", metadata={"partition_expr": "day"})
def sales(context: AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"day": [date.fromisoformat(context.partition_key)], "amount": [amount]})


def fail_once(*given: object, **options: object) -> None:
    """What takes the place of opening a table: the first time it fails, and then the real one is put back."""
    DeltaTable.__init__ = opened
    raise OSError("the storage does not answer")


root = tempfile.mkdtemp()
for key in daily.get_partition_keys():
    print(f"{key}:", build(root, [sales], partition_key=key))
amount, opened, DeltaTable.__init__ = 2, DeltaTable.__init__, fail_once
print("January 2 again:", build(root, [sales], partition_key="2024-01-02"))
print(pl.read_delta(f"{root}/bronze/sales").sort("day"))
