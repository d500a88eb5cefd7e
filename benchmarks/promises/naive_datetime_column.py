"""A column of datetimes without a zone: one day of three is built again. The other two should stay."""

import tempfile
from datetime import datetime

import polars as pl

from lakehouse import Daily, Lakehouse, PartitionRange, bronze

amount = 1


@bronze(partitions=Daily("2024-01-01", end="2024-01-04", column="at"))
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"at": [datetime.fromisoformat(key) for key in partitions]}).with_columns(amount=amount)


root = tempfile.mkdtemp()
lake = Lakehouse([sales], storage=root, lineage=f"sqlite:///{root}/lineage.db")
print("all three:", lake.materialize(sales, engine="inline"))
amount = 2
print("January 2 again:", lake.materialize(sales, ["2024-01-02"], engine="inline"))
print(pl.read_delta(lake.table(sales).uri).select("at", "amount").sort("at"))
