"""One step that isn't partitioned: 10 and 30 million rows of six columns, with a schema and three checks.

    python benchmarks/large_step.py

Held against polars' own `sink_delta` of the same rows, which checks nothing. Peak memory is what to look at: it should
be near the bare sink's, and the same at both sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandera.polars as pa
import polars as pl
from harness import Subject, Watch

from lakehouse import Lakehouse, bronze
from lakehouse.checks import not_null, row_count, unique

subject = Subject(sizes=(10_000_000, 30_000_000), smoke=(1_000,))


SOURCE = "source.parquet"


def prepare(shared: Path, rows: int) -> None:
    """A file to begin from."""
    number = pl.col("i")
    made = pl.LazyFrame().select(i=pl.int_range(rows, dtype=pl.Int64))
    made.with_columns(
        a=number * 7919 % 1000003,
        b=(number % 997).cast(pl.Float64),
        c=pl.format("user-{}", number % 100003),
        d=number % 365,
    ).sink_parquet(shared / SOURCE)


subject.prepare = prepare


def rows(shared: Path) -> pl.LazyFrame:
    return pl.scan_parquet(shared / SOURCE).filter(pl.col("b") >= 0).with_columns(e=pl.col("a") * 2)


class Big(pa.DataFrameModel):
    i: int
    b: float = pa.Field(ge=0, lt=997)
    c: str = pa.Field(str_startswith="user-")


@subject.case("sink_delta")
def bare(folder: Path, size: int, watch: Watch) -> None:
    with watch():
        rows(watch.shared).sink_delta(folder / "table")


@subject.case("lakehouse, inline")
def ours(folder: Path, size: int, watch: Watch) -> None:
    @bronze(checks=[row_count(min=1), not_null("c"), unique("i")])
    def big() -> Annotated[pl.LazyFrame, Big]:
        return rows(watch.shared)

    lake = Lakehouse([big], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")
    with watch():
        lake.materialize(big, engine="inline")


if __name__ == "__main__":
    subject.main(__doc__)
