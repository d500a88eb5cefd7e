"""One range of three days of which one has no data and raises. The other two should be published."""

import tempfile

import polars as pl

from lakehouse import Daily, Lakehouse, PartitionRange, bronze


@bronze(partitions=Daily("2024-01-01", end="2024-01-04", column="day"))
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    days = partitions.keys()
    if "2024-01-02" in days:
        raise ValueError("there is no file for 2024-01-02")
    return pl.LazyFrame({"day": days}).with_columns(pl.col("day").str.to_date(), amount=1)


root = tempfile.mkdtemp()
lake = Lakehouse([sales], storage=root, lineage=f"sqlite:///{root}/lineage.db")
print("all three:", lake.materialize(sales, engine="inline", raise_on_failure=False))
print(pl.read_delta(lake.table(sales).uri).select("day", "amount").sort("day"))
