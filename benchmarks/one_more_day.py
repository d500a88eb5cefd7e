"""One more day, from end to end: a refresh of three assets when there are 30, 1,000 and 5,000 days of them.

    python benchmarks/one_more_day.py

What is there was built 250 days at a time, and lies in Delta tables on disk. A process that finds it refreshes all days
up to the next one, which is then built (`first`), and once more when there is nothing to do; then another day (`next`),
as a process does that stays. It should cost the same however many days there are. The bare script appends the day to
each table, checked with pandera, and looks at nothing else.
"""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
from deltalake import write_deltalake
from harness import Subject, Watch

from lakehouse import Daily, Lakehouse, PartitionRange, Run, bronze, gold, silver
from lakehouse.checks import not_null

subject = Subject(sizes=(30, 1_000, 5_000), smoke=(3,), repeats=3)

FIRST, ROWS = date(2000, 1, 1), 100
daily = Daily("2000-01-01", end="2030-01-01", column="day")


class Events(pa.DataFrameModel):
    day: pl.Date
    value: pl.Int64 = pa.Field(ge=0)


def extract(first: date, last: date) -> pl.LazyFrame:
    days = pl.date_range(first, last, eager=True).alias("day").to_frame().lazy()
    return days.join(pl.LazyFrame({"value": range(ROWS)}, schema={"value": pl.Int64}), how="cross")


def cleanse(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.filter(pl.col("value") > 10)


def sum_up(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.group_by("day").agg(pl.col("value").sum())


@bronze(partitions=daily, checks=[not_null("day")])
def raw(partitions: PartitionRange) -> Annotated[pl.LazyFrame, Events]:
    return extract(partitions.start.date(), partitions.end.date() - timedelta(days=1))


@silver(partitions=daily, checks=[not_null("day")])
def clean(raw: pl.LazyFrame) -> Annotated[pl.LazyFrame, Events]:
    return cleanse(raw)


@gold(partitions=daily, checks=[not_null("day")])
def totals(clean: pl.LazyFrame) -> Annotated[pl.LazyFrame, Events]:
    return sum_up(clean)


def refresh(where: Path, days: int, *, chunk: int = 250) -> Run:
    lake = Lakehouse([totals], storage=where, lineage=f"sqlite:///{where}/lineage.db")
    return lake.refresh("+gold.totals", f"{FIRST}...{FIRST + timedelta(days=days - 1)}", chunk=chunk, engine="inline")


def prepare(shared: Path, size: int) -> None:
    refresh(shared / "lake", size)
    for name, frame in zip(("raw", "clean", "totals"), made(FIRST, FIRST + timedelta(days=size - 1)), strict=True):
        write_deltalake(shared / "bare" / name, frame, partition_by="day")


def made(first: date, last: date) -> list[pl.DataFrame]:
    raw = extract(first, last)
    return [Events.validate(frame.collect()) for frame in (raw, cleanse(raw), sum_up(cleanse(raw)))]


subject.prepare = prepare


@subject.case("bare script")
def bare(folder: Path, size: int, watch: Watch) -> None:
    shutil.copytree(watch.shared / "bare", folder / "bare")
    for number, name in enumerate(("first", "next")):
        day = FIRST + timedelta(days=size + number)
        with watch(name):
            frames: Any = zip(("raw", "clean", "totals"), made(day, day), strict=True)
            for table, frame in frames:
                write_deltalake(folder / "bare" / table, frame, mode="append")


@subject.case("inline")
def ours(folder: Path, size: int, watch: Watch) -> None:
    shutil.copytree(watch.shared / "lake", folder / "lake")
    with watch("first"):
        refresh(folder / "lake", size + 1)
    for _ in range(3):
        with watch("nothing to do"):
            assert not refresh(folder / "lake", size + 1).results
    with watch("next"):
        run = refresh(folder / "lake", size + 2)
    assert len(run.results) == 3, run


if __name__ == "__main__":
    subject.main(__doc__)
