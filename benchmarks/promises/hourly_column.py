"""Hours in UTC: one of three is built again. The other two should stay as they were."""

import tempfile

import polars as pl

from lakehouse import Hourly, Lakehouse, PartitionRange, bronze

amount = 1


@bronze(partitions=Hourly("2024-01-01T00", end="2024-01-01T03", column="at"))
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    hours = pl.datetime_range(partitions.start, partitions.end, "1h", closed="left", time_zone="UTC", eager=True)
    return pl.LazyFrame({"at": hours}).with_columns(amount=amount)


root = tempfile.mkdtemp()
lake = Lakehouse([sales], storage=root, lineage=f"sqlite:///{root}/lineage.db")
print("all three:", lake.materialize(sales, engine="inline"))
amount = 2
print("01:00 again:", lake.materialize(sales, "2024-01-01T01...2024-01-01T01", engine="inline"))
print(pl.read_delta(lake.table(sales).uri).select("at", "amount").sort("at"))
