"""Storage fails once, while a table of three days is opened to replace one. No other should be lost."""

import subprocess
import sys
import tempfile

import polars as pl
from deltalake import DeltaTable

from lakehouse import Daily, Lakehouse, PartitionRange, bronze

amount = 1


@bronze(partitions=Daily("2024-01-01", end="2024-01-04", column="day"))
def sales(partitions: PartitionRange) -> pl.LazyFrame:
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
    return pl.LazyFrame({"day": days}).with_columns(amount=amount)


def fail_once(*given: object, **options: object) -> None:
    """What takes the place of opening a table: the first time it fails, and then the real one is put back."""
    DeltaTable.__init__ = opened
    raise OSError("the storage does not answer")


root = sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp()
lake = Lakehouse([sales], storage=root, lineage=f"sqlite:///{root}/lineage.db")
if sys.argv[1:]:
    sys.exit(print("all three:", lake.materialize(sales, engine="inline")))
subprocess.run([sys.executable, __file__, root], check=True)  # another process: this one has no table open yet
amount, opened, DeltaTable.__init__ = 2, DeltaTable.__init__, fail_once
try:
    print("January 2 again:", lake.materialize(sales, ["2024-01-02"], engine="inline"))
except Exception as error:
    print("January 2 again:", type(error).__name__, error)
print(pl.read_delta(lake.table(sales).uri).select("day", "amount").sort("day"))
