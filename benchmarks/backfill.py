"""A backfill of a year: 365 days of three assets, 1,000 rows a day, each with a schema and a check of uniqueness.

    python benchmarks/backfill.py

The bare script does the same work on the same rows, a chunk and an asset at a time: polars, pandera, `write_deltalake`
of the chunk's days, no versions, records, fence or orchestrator. Chunks are of 30 days, and of all. Prefect is its own
temporary server, started and warm before anything is timed. Dagster is measured over fewer days, and said a day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
from harness import Subject, Watch

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, gold, silver
from lakehouse.checks import unique

subject = Subject(sizes=(365,), smoke=(2,), repeats=3, peer="dagster_backfill.py")

ROWS = 1_000
CHUNK = 30
FIRST = date(2013, 1, 1)
daily = Daily("2013-01-01", end="2014-01-01", column="day")


class Events(pa.DataFrameModel):
    day: pl.Date
    id: pl.Int64
    value: pl.Int64 = pa.Field(ge=0)


class Totals(pa.DataFrameModel):
    day: pl.Date
    group: pl.Int64
    value: pl.Int64 = pa.Field(ge=0)


def extract(first: date, last: date) -> pl.LazyFrame:
    days = pl.date_range(first, last, eager=True).alias("day").to_frame().lazy()
    numbered = days.join(pl.LazyFrame({"number": range(ROWS)}), how="cross")
    id_ = pl.col("day").to_physical().cast(pl.Int64) * ROWS + pl.col("number")
    return numbered.select("day", id=id_, value=id_ * 7919 % 1000)


def cleanse(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.filter(pl.col("value") > 10)


def sum_up(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.group_by("day", group=pl.col("id") % 100).agg(pl.col("value").sum())


@bronze(partitions=daily, checks=[unique("id")])
def raw(partitions: PartitionRange) -> Annotated[pl.LazyFrame, Events]:
    return extract(partitions.start.date(), partitions.end.date() - timedelta(days=1))


@silver(partitions=daily, checks=[unique("id")])
def clean(raw: pl.LazyFrame) -> Annotated[pl.LazyFrame, Events]:
    return cleanse(raw)


@gold(partitions=daily, checks=[unique("day", "group")])
def totals(clean: pl.LazyFrame) -> Annotated[pl.LazyFrame, Totals]:
    return sum_up(clean)


def rows(table: Path) -> int:
    return pl.scan_delta(table).select(pl.len()).collect().item()


def bare(chunk: int) -> Callable[[Path, int, Watch], None]:
    """What a careful script does: each asset's rows are checked before they replace the chunk's days."""
    from deltalake import write_deltalake

    def put(folder: Path, rows: pl.LazyFrame, model: Any, key: list[str], first: date, last: date) -> None:
        frame = model.validate(rows.collect())
        if frame.select(pl.struct(key).is_duplicated().any()).item():
            raise ValueError(f"{key} is not unique")
        these = {"predicate": f"day >= '{first}' AND day <= '{last}'"} if folder.exists() else {}
        write_deltalake(folder, frame, mode="overwrite", partition_by="day", **these)

    def run(folder: Path, size: int, watch: Watch) -> None:
        with watch():
            for at in range(0, size, chunk):
                first, last = (FIRST + timedelta(days=number) for number in (at, min(at + chunk, size) - 1))
                days = pl.col("day").is_between(first, last)
                put(folder / "raw", extract(first, last), Events, ["id"], first, last)
                raw = pl.scan_delta(folder / "raw").filter(days)
                put(folder / "clean", cleanse(raw), Events, ["id"], first, last)
                clean = pl.scan_delta(folder / "clean").filter(days)
                put(folder / "totals", sum_up(clean), Totals, ["day", "group"], first, last)
        watch.note("rows of totals", rows(folder / "totals"))

    return run


def ours(engine: str, chunk: int, parallel: int = 1) -> Callable[[Path, int, Watch], None]:
    def run(folder: Path, size: int, watch: Watch) -> None:
        def backfill(where: Path, days: int) -> None:
            lake = Lakehouse([totals], storage=where, lineage=f"sqlite:///{where}/lineage.db")
            last = FIRST + timedelta(days=days - 1)
            lake.backfill("+gold.totals", f"{FIRST}...{last}", chunk=chunk, parallel=parallel, engine=engine)

        backfill(folder / "warm", 1)
        with watch():
            backfill(folder / "data", size)
        watch.note("rows of totals", rows(folder / "data" / "gold" / "totals"))

    return run


subject.case("bare script, 30 days at a time")(bare(CHUNK))
subject.case("bare script, all at once")(bare(365))
subject.case("inline, 30 days at a time")(ours("inline", CHUNK))
subject.case("inline, all at once", against="bare script, all at once")(ours("inline", 365))
subject.case("Prefect, 30 days at a time, one step at a time", smoke=False)(ours("prefect", CHUNK))
subject.case("Prefect, 30 days at a time, four steps at a time", smoke=False)(ours("prefect", CHUNK, 4))

if __name__ == "__main__":
    subject.main(__doc__)
