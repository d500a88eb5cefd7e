"""With Dagster: an integer column: one partition of three is built again. The other two should stay as they were."""

import tempfile

import polars as pl
from dagster import AssetExecutionContext, StaticPartitionsDefinition, asset
from peer import build

amount, years = 1, StaticPartitionsDefinition(["2011", "2012", "2013"])


@asset(partitions_def=years, key_prefix="bronze", metadata={"partition_expr": "year"})
def sales(context: AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"year": [int(context.partition_key)], "amount": [amount]})


root = tempfile.mkdtemp()
for key in years.get_partition_keys():
    print(f"{key}:", build(root, [sales], partition_key=key))
amount = 2
print("2012 again:", build(root, [sales], partition_key="2012"))
print(pl.read_delta(f"{root}/bronze/sales").sort("year"))
