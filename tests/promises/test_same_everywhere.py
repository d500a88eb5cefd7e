"""What is published depends on code and data alone: not on the time zone of the host, nor on that of the partitions."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from lakehouse import Daily, Lakehouse, PartitionRange, bronze


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])
def test_a_function_sees_the_days_that_its_keys_name(zone: str, tmp_path: Path) -> None:
    @bronze(partitions=Daily("2024-03-30", end="2024-04-02", column="day", timezone=zone))
    def orders(partitions: PartitionRange) -> pl.LazyFrame:
        days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
        return pl.LazyFrame({"day": days})

    lake = Lakehouse([orders], storage=str(tmp_path), lineage=f"sqlite:///{tmp_path}/lineage.db")
    assert lake.materialize(orders, "2024-03-30...2024-04-01", engine="inline").ok
    assert lake.load(orders).collect()["day"].sort().to_list() == [
        date(2024, 3, 30),
        date(2024, 3, 31),
        date(2024, 4, 1),
    ]
