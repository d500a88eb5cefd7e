"""Only what changed is built again, and what comes out as it was goes no further."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse, Run
from lakehouse.execution.engine import Watcher
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.inline import InlineEngine
from lakehouse.execution.results import StepResult
from lakehouse.planning.plan import Plan

WEEK = "2013-01-01...2013-01-07"
DAY = "2013-01-03"


def refresh(lake: Lakehouse, **options: Any) -> Run:
    return lake.refresh("+gold.totals", WEEK, engine="inline", **options)


def built(run: Run) -> dict[str, str]:
    return {one.asset.key: str(one.published) for one in run.summaries() if one.published}


def test_a_refresh_with_nothing_to_do_writes_nothing(lake: Lakehouse, tmp_path: Path) -> None:
    refresh(lake)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    facts = [len(lake.lineage_store.facts(a.key)) for a in lake.graph]
    run = refresh(lake)
    assert not run.plan
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == before
    assert [len(lake.lineage_store.facts(a.key)) for a in lake.graph] == facts


def test_a_source_restated_with_equal_rows_goes_no_further(lake: Lakehouse) -> None:
    refresh(lake)
    run = lake.materialize("bronze.events", DAY, engine="inline")
    (result,) = run.results
    assert result.published
    assert result.unchanged == result.published
    assert not refresh(lake).plan


def test_a_source_restated_with_other_rows_is_followed_down(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    refresh(lake)
    spoil(add=5)
    lake.materialize("bronze.events", DAY, engine="inline")
    plan = lake.plan("+gold.totals", WEEK, refresh=True)
    assert {s.asset.key: [str(r) for r in s.reasons] for s in plan.steps} == {
        "silver.clean": ["bronze.events changed"],
        "gold.totals": ["if silver.clean changes"],
    }
    assert built(refresh(lake)) == {"silver.clean": DAY, "gold.totals": DAY}
    assert not refresh(lake).plan


def project(tmp_path: Path, source: str) -> Lakehouse:
    """A lakehouse whose assets are read from source, as if it had been edited and started anew."""
    file = tmp_path / "project.py"
    file.write_text(source)
    linecache.checkcache(str(file))
    spec = importlib.util.spec_from_file_location("project", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["project"] = module
    spec.loader.exec_module(module)
    return Lakehouse(module, storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")


SOURCE = '''
import polars as pl
from lakehouse import Daily, PartitionRange, bronze, silver, gold
from lakehouse.checks import row_count

daily = Daily("2013-01-01", end="2014-01-01", column="date")
OFFSET = 1


def shifted(frame):
    return frame.with_columns(value=pl.col("value") + OFFSET)


@bronze(partitions=daily)
def raw(partitions: PartitionRange) -> pl.LazyFrame:
    """Days."""
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True).alias("date")
    return days.to_frame().lazy().with_columns(value=pl.lit(3))


@silver(partitions=daily, checks=[row_count(min=1)])
def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Cleansed."""
    return shifted(raw)


@gold(partitions=daily)
def total(clean: pl.LazyFrame) -> pl.LazyFrame:
    return clean.group_by("date").agg(pl.col("value").sum())
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    """Cleansed."""', '    """Cleansed, at last."""\n    # which took long'),
        ("    return shifted(raw)", "    return (\n        shifted(raw)\n    )"),
        ("OFFSET = 1\n", "OFFSET = 1  # a day\nUNUSED = 7\n"),
        ("def shifted(frame):\n", 'def shifted(frame):\n    """Moves it."""\n'),
    ],
)
def test_a_comment_makes_nothing_to_do(tmp_path: Path, old: str, new: str) -> None:
    project(tmp_path, SOURCE).refresh("*", WEEK, engine="inline")
    assert old in SOURCE
    assert not project(tmp_path, SOURCE.replace(old, new)).plan("*", WEEK, refresh=True)


@pytest.mark.parametrize(
    ("old", "new", "why", "follows"),
    [
        ("    return shifted(raw)", "    return shifted(raw.unique())", "code changed", False),
        ("    return shifted(raw)", "    return shifted(raw).with_columns(pl.col('value') * 2)", "code changed", True),
        ("OFFSET = 1", "OFFSET = 2", "code changed", True),
        ('pl.col("value") + OFFSET', 'OFFSET + pl.col("value")', "code changed", False),
        ("row_count(min=1)", "row_count(min=1, max=9)", "checks changed", False),
    ],
)
def test_changed_code_is_built_again_and_followed_as_far_as_rows_differ(
    tmp_path: Path, old: str, new: str, why: str, follows: bool
) -> None:
    project(tmp_path, SOURCE).refresh("*", WEEK, engine="inline")
    assert old in SOURCE
    lake = project(tmp_path, SOURCE.replace(old, new))
    plan = lake.plan("*", WEEK, refresh=True)
    assert {s.asset.key: [str(r) for r in s.reasons] for s in plan.steps} == {
        "silver.clean": [why],
        "gold.total": ["if silver.clean changes"],
    }
    run = lake.refresh("*", WEEK, engine="inline")
    assert built(run) == ({"silver.clean": WEEK, "gold.total": WEEK} if follows else {"silver.clean": WEEK})
    assert run.ok
    assert not lake.plan("*", WEEK, refresh=True)
    (one,) = lake.status("gold.total")
    assert not one.stale


def test_status_tells_what_is_stale_and_why(tmp_path: Path) -> None:
    project(tmp_path, SOURCE).refresh("*", WEEK, engine="inline")
    lake = project(tmp_path, SOURCE.replace("OFFSET = 1", "OFFSET = 2"))
    told = {one.asset.key: [(str(r), str(r.partitions)) for r in one.stale] for one in lake.status()}
    assert told == {"bronze.raw": [], "silver.clean": [("code changed", WEEK)], "gold.total": []}


# ── what only shows when runs meet, or definitions change ─────────────────────────────────


class Meanwhile:
    """An engine before whose first step something else happens."""

    name = "meanwhile"

    def __init__(self, happens: Callable[[], object]) -> None:
        self.happens = happens

    def execute(self, plan: Plan, home: Home, run: RunInfo, watcher: Watcher) -> Sequence[StepResult]:
        self.happens()
        return InlineEngine().execute(plan, home, run, watcher)


def test_the_same_rows_as_planned_are_other_rows_if_another_run_came_between(
    lake: Lakehouse, spoil: Callable[..., None]
) -> None:
    refresh(lake)

    def another_run() -> None:
        spoil(add=5)
        lake.materialize(["bronze.events", "silver.clean"], DAY, engine="inline")
        spoil()

    run = lake.materialize("bronze.events", DAY, engine=Meanwhile(another_run))
    assert run.results[0].unchanged, "by what the plan knew"
    assert built(refresh(lake))["silver.clean"] == DAY
    assert not refresh(lake).plan


def test_what_was_held_back_is_tried_again_even_after_a_failure(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    refresh(lake)
    spoil(negative=[DAY])
    lake.materialize("bronze.events+", DAY, engine="inline", raise_on_failure=False)
    spoil(raises=[DAY])
    lake.materialize("bronze.events+", DAY, engine="inline", raise_on_failure=False)
    spoil()
    lake.materialize("bronze.events", DAY, engine="inline")
    reasons = [str(r) for s in lake.plan("silver.clean", WEEK, refresh=True).steps for r in s.reasons]
    assert reasons in (["bronze.events changed"], ["held back last time"])


PAIR = """
import polars as pl
from typing import Annotated
from lakehouse import Daily, From, PartitionRange, Static, Window, bronze, silver

daily = Daily("2013-01-01", end="2014-01-01", column="date")
keys = Static(["a", "b"], column="k")


@bronze
def sales() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [10]})


@bronze
def refunds() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [3]})


@silver
def net(
    plus: Annotated[pl.LazyFrame, From("bronze.refunds")], minus: Annotated[pl.LazyFrame, From("bronze.sales")]
) -> pl.LazyFrame:
    return pl.concat([plus, minus.select(m="n")], how="horizontal").select(pl.col("n") - pl.col("m"))


@bronze(partitions=daily)
def raw(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"date": partitions.keys(), "n": 1})


@silver(partitions=daily)
def difference(
    today: Annotated[pl.LazyFrame, From("bronze.raw")],
    before: Annotated[pl.LazyFrame, From("bronze.raw", Window(before=1))],
) -> pl.LazyFrame:
    return today


@bronze(partitions=keys)
def parts(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"k": partitions.keys()})


@silver
def whole(parts: pl.LazyFrame) -> pl.LazyFrame:
    return parts
"""


def test_inputs_that_change_places_are_another_code(tmp_path: Path) -> None:
    project(tmp_path, PAIR).refresh("silver.net", engine="inline")
    swapped = PAIR.replace('"bronze.refunds"', '"x"').replace('"bronze.sales"', '"bronze.refunds"')
    lake = project(tmp_path, swapped.replace('"x"', '"bronze.sales"'))
    assert [str(r) for r in lake.plan("silver.net", refresh=True).steps[0].reasons] == ["code changed"]
    lake.refresh("silver.net", engine="inline")
    assert lake.load("silver.net").collect().item() == 7


def test_an_asset_that_is_two_inputs_is_built_once(tmp_path: Path) -> None:
    lake = project(tmp_path, PAIR)
    for day in ("2013-01-01", "2013-01-02", "2013-01-03"):
        lake.refresh("+silver.difference", day, engine="inline")
        assert not lake.plan("+silver.difference", day, refresh=True)


def test_a_key_that_is_taken_out_of_a_definition_leaves_what_was_made_of_all(tmp_path: Path) -> None:
    project(tmp_path, PAIR).refresh("+silver.whole", engine="inline")
    lake = project(tmp_path, PAIR.replace('Static(["a", "b"]', 'Static(["a"]'))
    assert [s.id for s in lake.plan("+silver.whole", refresh=True).steps] == ["silver.whole"]
