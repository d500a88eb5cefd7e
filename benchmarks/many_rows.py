"""Many rows in chunks: a partition of 5 million rows a step, 20 and 100 million rows of six columns in all.

    python benchmarks/many_rows.py

The bare script makes a partition after the other, validates it with pandera, looks for nulls and writes it with
`write_deltalake`; another one writes with `sink_delta` and checks nothing. What is looked at is the speed (at least 0.9
of the bare script's) and the memory, which should be as much for 100 million rows as for 20.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import pandera.polars as pa
import polars as pl
from deltalake import write_deltalake
from harness import Subject, Watch

from lakehouse import Lakehouse, PartitionRange, Static, bronze
from lakehouse.checks import not_null

subject = Subject(sizes=(20_000_000, 100_000_000), smoke=(2_000,), repeats=1)

CHUNK = 1_000 if "--smoke" in sys.argv else 5_000_000


class Rows(pa.DataFrameModel):
    i: int
    b: float = pa.Field(ge=0, lt=997)
    c: str = pa.Field(str_startswith="user-")


def rows(part: int) -> pl.LazyFrame:
    i = pl.col("i")
    made = pl.LazyFrame().select(i=pl.int_range(part * CHUNK, (part + 1) * CHUNK, dtype=pl.Int64))
    return made.with_columns(
        a=i * 7919 % 1000003, b=(i % 997).cast(pl.Float64), c=pl.format("user-{}", i % 100003), d=i % 365, part=part
    )


@subject.case("bare script")
def bare(folder: Path, size: int, watch: Watch) -> None:
    with watch():
        for part in range(size // CHUNK):
            made = rows(part).collect()
            Rows.validate(made, lazy=True)
            assert not made["c"].null_count()
            write_deltalake(folder / "table", made, mode="append", partition_by=["part"])


@subject.case("sink_delta, no checks")
def sink(folder: Path, size: int, watch: Watch) -> None:
    with watch():
        for part in range(size // CHUNK):
            rows(part).sink_delta(folder / "table", mode="append", delta_write_options={"partition_by": ["part"]})


@subject.case("inline, a step for each partition")
def ours(folder: Path, size: int, watch: Watch) -> None:
    @bronze(partitions=Static([str(part) for part in range(size // CHUNK)], column="part"), checks=[not_null("c")])
    def many(partitions: PartitionRange) -> Annotated[pl.LazyFrame, Rows]:
        return pl.concat(rows(int(key)) for key in partitions)

    lake = Lakehouse([many], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")
    with watch():
        lake.materialize(many, engine="inline", chunk=1)


if __name__ == "__main__":
    subject.main(__doc__)
