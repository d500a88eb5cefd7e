"""An integer column: one partition of three is built again. The other two should stay as they were."""

import tempfile

import polars as pl

from lakehouse import Lakehouse, PartitionRange, Static, bronze

amount = 1


@bronze(partitions=Static(["2011", "2012", "2013"], column="year"))
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"year": [int(key) for key in partitions]}).with_columns(amount=amount)


root = tempfile.mkdtemp()
lake = Lakehouse([sales], storage=root, lineage=f"sqlite:///{root}/lineage.db")
print("all three:", lake.materialize(sales, engine="inline"))
amount = 2
print("2012 again:", lake.materialize(sales, ["2012"], engine="inline"))
print(pl.read_delta(lake.table(sales).uri).select("year", "amount").sort("year"))
