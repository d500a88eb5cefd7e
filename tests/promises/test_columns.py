"""A schema may change: by a run that builds all anew, whatever its chunks; never under rows that stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
import pytest

from lakehouse import Daily, From, Lakehouse, MaterializationFailed, PartitionRange, bronze, silver
from lakehouse.definitions.asset import Asset
from lakehouse.errors import StepError
from lakehouse.execution.home import RunInfo
from lakehouse.execution.step import run_step
from lakehouse.lineage import Status, new_id

daily = Daily("2024-01-01", end="2024-01-11", column="day")
ALL = "2024-01-01...2024-01-10"
OLD: dict[str, Any] = {"n": pl.lit("x")}
CHANGES: dict[str, dict[str, Any]] = {
    "wider": {"n": pl.lit(1, dtype=pl.Int64)},
    "another type": {"n": pl.lit(True)},
    "nested": {"n": pl.struct(a=pl.struct(b=pl.lit(1)))},
    "deeper": {"s": pl.struct(a=pl.struct(b=pl.lit(1)))},
    "another case": {"N": pl.lit("x")},
    "gone": {},
}
FROM: dict[str, dict[str, Any]] = {
    "wider": {"n": pl.lit(1, dtype=pl.Int32)},
    "deeper": {"s": pl.struct(a=pl.lit(1))},
}


def declared(**columns: Any) -> Asset:
    def raw(partitions: PartitionRange) -> pl.LazyFrame:
        days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
        return pl.LazyFrame({"day": days}).with_columns(**columns)

    return bronze(partitions=daily, code_version=str(sorted(map(str, columns.values())) + sorted(columns)))(raw)


def lake_of(folder: Path, asset: Asset) -> Lakehouse:
    """A lakehouse of the asset, and one that is made from it."""

    def clean(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows

    clean.__annotations__.update({"rows": Annotated[pl.LazyFrame, From(asset)], "return": pl.LazyFrame})
    assets = [asset, silver(partitions=daily)(clean)]
    return Lakehouse(assets, storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_builds_all_anew_may_change_columns_over_several_chunks(tmp_path: Path, change: str) -> None:
    before, after = FROM.get(change, OLD), CHANGES[change]
    lake_of(tmp_path, declared(**before)).materialize("*", ALL, engine="inline")
    lake = lake_of(tmp_path, declared(**after))
    run = lake.materialize("*", ALL, engine="inline", chunk=3)
    assert run.ok
    for key in ("bronze.raw", "silver.clean"):
        found = lake.load(key).collect()
        assert found.height == 10
        assert found.drop("day").schema == pl.select(day=1, **after).drop("day").schema
        assert lake.status(key)[0].present == daily.select(ALL)
        assert lake.status(key)[0].stale == ()
    # The version before is as it was.
    first = min(f.version for f in lake.lineage_store.facts("bronze.raw") if f.version is not None)
    assert lake.table(lake.graph["bronze.raw"]).scan(version=first).collect_schema().names()[1:] == list(before)


def test_where_rows_stay_the_error_names_column_partitions_and_command(tmp_path: Path) -> None:
    lake_of(tmp_path, declared(**OLD)).materialize("bronze.raw", ALL, engine="inline")
    lake = lake_of(tmp_path, declared(n=pl.lit(1)))
    with pytest.raises(MaterializationFailed) as caught:
        lake.materialize("bronze.raw", "2024-01-09...2024-01-10", engine="inline")
    cause = caught.value.__cause__
    assert isinstance(cause, StepError)
    assert "'n' as String; this step writes it as Int32" in cause.message
    assert "2024-01-01...2024-01-08" in cause.message
    assert cause.hint is not None
    assert "lakehouse materialize bronze.raw --partitions 2024-01-01...2024-01-10" in cause.hint
    assert lake.load("bronze.raw").collect()["n"].to_list() == ["x"] * 10, "nothing was taken away"


def test_a_run_that_ends_halfway_leaves_what_it_took_away_as_missing(tmp_path: Path) -> None:
    lake_of(tmp_path, declared(**OLD)).materialize("bronze.raw", ALL, engine="inline")
    calls: list[PartitionRange] = []

    def raw(partitions: PartitionRange) -> pl.LazyFrame:
        calls.append(partitions)
        if len(calls) == 3:
            raise KeyboardInterrupt
        days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
        return pl.LazyFrame({"day": days}).with_columns(n=pl.lit(1))

    lake = lake_of(tmp_path, bronze(partitions=daily)(raw))
    with pytest.raises(KeyboardInterrupt):
        lake.materialize("bronze.raw", ALL, engine="inline", chunk=3)
    assert lake.load("bronze.raw").collect()["n"].to_list() == [1] * 6, "no old row beside the new ones"
    status = lake.status("bronze.raw")[0]
    assert status.present == daily.select("2024-01-01...2024-01-06")
    (wiped,) = [f for f in lake.lineage_store.facts("bronze.raw") if f.status is Status.WIPED]
    assert "'n' as String; this step writes it as Int32" in wiped.reason
    # A refresh makes what is missing.
    assert lake.refresh("bronze.raw", ALL, engine="inline").ok
    assert lake.load("bronze.raw").collect()["n"].to_list() == [1] * 10


def test_what_another_run_publishes_meanwhile_is_no_obstacle(tmp_path: Path) -> None:
    lake_of(tmp_path, declared(**OLD)).materialize("bronze.raw", ALL, engine="inline")
    other = lake_of(tmp_path, declared(**OLD))
    calls: list[PartitionRange] = []

    def raw(partitions: PartitionRange) -> pl.LazyFrame:
        calls.append(partitions)
        if len(calls) == 1:
            other.materialize("bronze.raw", "2024-01-10", engine="inline")
        days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
        return pl.LazyFrame({"day": days}).with_columns(n=pl.lit(1))

    lake = lake_of(tmp_path, bronze(partitions=daily)(raw))
    assert lake.materialize("bronze.raw", ALL, engine="inline", chunk=5).ok
    assert lake.load("bronze.raw").collect()["n"].to_list() == [1] * 10


def test_chunks_side_by_side_make_room_for_each_other(tmp_path: Path) -> None:
    lake_of(tmp_path, declared(**OLD)).materialize("bronze.raw", ALL, engine="inline")
    lake = lake_of(tmp_path, declared(n=pl.lit(1)))
    plan = lake.plan("bronze.raw", ALL, chunk=1)
    run = RunInfo(new_id(), datetime.now(UTC), "threads")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda step: run_step(step, lake, run), plan.steps))
    assert [result.step for result in results if not result.ok] == []
    assert lake.load("bronze.raw").collect()["n"].to_list() == [1] * 10
    assert lake.status("bronze.raw")[0].present == daily.select(ALL)


def test_a_column_that_nobody_asked_for_is_told_in_the_run_and_in_the_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = lake_of(tmp_path, declared(n=pl.lit(1)))
    first = lake.materialize("bronze.raw", "2024-01-01...2024-01-05", engine="inline")
    assert [c.name for one in first.summaries() for c in one.checks if not c.passed] == []
    lake = lake_of(tmp_path, declared(n=pl.lit(1), extra=pl.lit("x")))
    run = lake.materialize("bronze.raw", "2024-01-06", engine="inline")
    (said,) = [c for one in run.summaries() for c in one.checks if not c.passed]
    assert (said.blocking, said.message) == (False, "there is a new column 'extra' (String)")
    assert "bronze.raw 2024-01-06: there is a new column 'extra' (String)" in caplog.text
    (same,) = [c for c in lake.status("bronze.raw")[0].checks if not c.passed]
    assert same == said
    # The next day brings it as well: then it is known.
    again = lake.materialize("bronze.raw", "2024-01-07", engine="inline")
    assert [c.name for one in again.summaries() for c in one.checks if not c.passed] == []
    without = lake_of(tmp_path, declared(n=pl.lit(1))).materialize("bronze.raw", "2024-01-08", engine="inline")
    (gone,) = [c for one in without.summaries() for c in one.checks if not c.passed]
    assert gone.message == "there is no 'extra' any more"


def test_a_column_that_the_schema_names_is_no_surprise(tmp_path: Path) -> None:
    class Old(pa.DataFrameModel):
        day: pl.Date

    class New(Old):
        extra: str

    def lake(model: type[pa.DataFrameModel], **columns: Any) -> Lakehouse:
        asset = declared(**columns)
        asset.function.__annotations__["return"] = Annotated[pl.LazyFrame, model]
        return Lakehouse([asset], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")

    lake(Old).materialize("bronze.raw", "2024-01-01", engine="inline")
    run = lake(New, extra=pl.lit("x")).materialize("bronze.raw", "2024-01-02", engine="inline")
    assert [c.name for one in run.summaries() for c in one.checks if not c.passed] == []
    # What a source brings besides, where the schema isn't strict, is one.
    run = lake(New, extra=pl.lit("x"), more=pl.lit(1)).materialize("bronze.raw", "2024-01-03", engine="inline")
    (said,) = [c for one in run.summaries() for c in one.checks if not c.passed]
    assert said.message == "there is a new column 'more' (Int32)"
