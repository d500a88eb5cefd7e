"""Two of four days are built again, as one range. Each should be there once, with the new amount."""

import tempfile

import polars as pl

from lakehouse import Daily, Lakehouse, PartitionRange, bronze

amount = 1


@bronze(partitions=Daily("2024-01-01", end="2024-01-05", column="day"))
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
    return pl.LazyFrame({"day": days}).with_columns(amount=amount)


root = tempfile.mkdtemp()
lake = Lakehouse([sales], storage=root, lineage=f"sqlite:///{root}/lineage.db")
print("all four:", lake.materialize(sales, engine="inline"))
amount = 2
print("January 2 to 3 again:", lake.materialize(sales, "2024-01-02...2024-01-03", engine="inline"))
print(pl.read_delta(lake.table(sales).uri).select("day", "amount").sort("day"))
