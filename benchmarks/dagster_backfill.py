"""The peer's side of `backfill.py`: Dagster with DeltaLakePolarsIOManager, in one process, on its ephemeral instance.

The checks are made in the assets' functions, which costs less than asset checks that load what was written. A run for
each day builds all three assets; it is measured over 30 days and multiplied, so that what grows with the table is left
out. The range is one run of all days (`BackfillPolicy.single_run`).
"""

import logging
import time
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pandera.polars as pa
import polars as pl
from dagster_deltalake import LocalConfig
from dagster_deltalake_polars import DeltaLakePolarsIOManager
from harness import Subject, Watch

subject = Subject(sizes=(365,), smoke=(2,))

ROWS = 1_000
FIRST = date(2013, 1, 1)
SOME = 30
daily = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-01")
logging.disable(logging.ERROR)  # writing the log costs as well


class Events(pa.DataFrameModel):
    day: pl.Date
    id: pl.Int64
    value: pl.Int64 = pa.Field(ge=0)


class Totals(pa.DataFrameModel):
    day: pl.Date
    group: pl.Int64
    value: pl.Int64 = pa.Field(ge=0)


def checked(rows: pl.LazyFrame, model: type[pa.DataFrameModel], *key: str) -> pl.DataFrame:
    frame = model.validate(rows.collect())
    if frame.select(pl.struct(key).is_duplicated().any()).item():
        raise ValueError(f"{key} is not unique")
    return frame


how = {
    "partitions_def": daily,
    "backfill_policy": dg.BackfillPolicy.single_run(),
    "metadata": {"partition_expr": "day"},
    "key_prefix": "shop",
}


@dg.asset(**how)
def raw(context: dg.AssetExecutionContext) -> pl.DataFrame:
    days = pl.LazyFrame({"day": [date.fromisoformat(key) for key in context.partition_keys]})
    numbered = days.join(pl.LazyFrame({"number": range(ROWS)}), how="cross")
    id_ = pl.col("day").to_physical().cast(pl.Int64) * ROWS + pl.col("number")
    return checked(numbered.select("day", id=id_, value=id_ * 7919 % 1000), Events, "id")


@dg.asset(**how)
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return checked(raw.lazy().filter(pl.col("value") > 10), Events, "id")


@dg.asset(**how)
def totals(clean: pl.DataFrame) -> pl.DataFrame:
    found = clean.lazy().group_by("day", group=pl.col("id") % 100).agg(pl.col("value").sum())
    return checked(found, Totals, "day", "group")


def build(folder: Path, **what: object) -> None:
    tables = DeltaLakePolarsIOManager(root_uri=str(folder), storage_options=LocalConfig())
    dg.materialize([raw, clean, totals], resources={"io_manager": tables}, **what)


def rows(folder: Path) -> int:
    return pl.scan_delta(folder / "shop" / "totals").select(pl.len()).collect().item()


@subject.case(f"Dagster, a run for each day ({SOME} days, multiplied)")
def each(folder: Path, size: int, watch: Watch) -> None:
    build(folder / "warm", partition_key="2013-01-01")
    days = min(SOME, size)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(days):
        build(folder / "data", partition_key=str(FIRST + timedelta(days=number)))
    watch.took("all", (time.perf_counter() - began) / days * size, (time.process_time() - cpu) / days * size)
    watch.note("rows of totals", rows(folder / "data") / days * size)


@subject.case("Dagster, all days in one run")
def single(folder: Path, size: int, watch: Watch) -> None:
    build(folder / "warm", partition_key="2013-01-01")
    last = FIRST + timedelta(days=size - 1)
    span = {"dagster/asset_partition_range_start": str(FIRST), "dagster/asset_partition_range_end": str(last)}
    with watch():
        build(folder / "data", tags=span)
    watch.note("rows of totals", rows(folder / "data"))


if __name__ == "__main__":
    subject.main(__doc__)
