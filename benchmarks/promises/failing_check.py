"""A blocking check fails for the second version of a day. A reader should never see that one."""

import tempfile

import polars as pl

from lakehouse import Daily, Lakehouse, PartitionRange, bronze
from lakehouse.checks import expression

amount = 1


@bronze(
    partitions=Daily("2024-01-01", end="2024-01-04", column="day"),
    checks=[expression("not negative", pl.col("amount") >= 0)],
)
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
    return pl.LazyFrame({"day": days}).with_columns(amount=amount)


root = tempfile.mkdtemp()
lake = Lakehouse([sales], storage=root, lineage=f"sqlite:///{root}/lineage.db")
print("all three:", lake.materialize(sales, engine="inline"))
amount = -5
print("January 2 again:", lake.materialize(sales, ["2024-01-02"], engine="inline", raise_on_failure=False))
print(pl.read_delta(lake.table(sales).uri).select("day", "amount").sort("day"))
