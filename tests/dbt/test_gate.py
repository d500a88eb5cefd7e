"""Write, audit, publish for what dbt makes: one call a chunk, failing tests hold back days, readers never see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakehouse.integrations.dbt.embedded
from lakehouse import Asset, Lakehouse
from lakehouse.execution.run import Run
from lakehouse.integrations.dbt import DbtProject, dbt_assets
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.lineage import Fact, Status
from tests.dbt.conftest import lake_in
from tests.dbt.toys import ALL, ROWS, orders, small, write

WEEK = "2013-01-01...2013-01-07"
BAD = "2013-01-03"
Spoil = Callable[..., None]


def build(lake: Lakehouse, what: Any = "gold.*", days: str = WEEK, **options: Any) -> Run:
    return lake.materialize(what, days, engine="inline", raise_on_failure=False, **options)


def days_of(lake: Lakehouse, key: str) -> set[str]:
    return set(lake.load(key).collect()["date"].cast(str).to_list())


def facts_by_status(run: Run, key: str) -> dict[Status, Fact]:
    return {f.status: f for f in run.facts if f.asset == key}


def test_neighbours_are_one_call_for_each_chunk_and_polars_lies_between(
    lake: Lakehouse, calls: list[dict[str, Any]]
) -> None:
    plan = lake.plan("gold.*", WEEK, chunk=4)
    made = [sorted({s.asset.name for s in u.steps}) for u in plan.batches if u.steps[0].asset.builder is not None]
    early, late, whole = ["every_order", "shares", "sums"], ["tops"], ["by_region", "regions"]
    assert sorted(made) == sorted([early, early, late, late, whole])
    run = build(lake, chunk=4)
    assert run.ok, [r.error for r in run.results]
    assert len(calls) == 5
    assert {(c["lakehouse_start"], c["lakehouse_end"]) for c in calls} == {
        ("2013-01-01 00:00:00+00:00", "2013-01-05 00:00:00+00:00"),
        ("2013-01-05 00:00:00+00:00", "2013-01-08 00:00:00+00:00"),
        (None, None),
    }


def test_every_kind_of_model_is_right(lake: Lakehouse) -> None:
    assert build(lake, chunk=3).ok
    sums = lake.load("gold.sums").sort("date").collect()
    assert sums.rows()[0][1:] == (ROWS, 60, "Bob")
    assert sums.height == 7
    assert lake.load("gold.shares").collect()["mean"].to_list() == [15.0] * 7
    assert lake.load("gold.shares").collect()["whole"].to_list() == [60] * 7
    assert lake.load("gold.tops").collect()["twice"].to_list() == [120] * 7
    regions = dict(lake.load("gold.by_region").collect().select("region", "amount").iter_rows())
    assert regions == {"east": 7 * 20, "west": 7 * 40}


def test_a_model_that_takes_everything_is_given_its_chunk_alone(lake: Lakehouse) -> None:
    build(lake, orders)
    run = build(lake, "gold.every_order", "2013-01-02...2013-01-03")
    assert [f.rows for f in run.facts] == [2 * ROWS]
    run = build(lake, "gold.every_order", "2013-01-05...2013-01-06")
    assert days_of(lake, "gold.every_order") == {f"2013-01-0{d}" for d in (2, 3, 5, 6)}
    (pin,) = run.facts[0].inputs
    assert (pin.asset, pin.version) == ("silver.orders", lake.table(orders).version())
    assert pin.partitions == (("2013-01-05", "2013-01-06"),)


def test_it_reads_the_version_that_the_plan_saw(lake: Lakehouse, spoil: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
    build(lake, orders)
    real = DbtProject.make
    busy: list[int] = []

    def make(self: DbtProject, given: Any) -> Any:
        if not busy:
            busy.append(1)
            spoil(large=[BAD])
            build(lake, "+silver.orders")
        return real(self, given)

    monkeypatch.setattr(DbtProject, "make", make)
    run = build(lake, "gold.sums")
    assert run.frame("gold.sums").collect()["amount"].to_list() == [60] * 7
    assert lake.load(orders).collect()["amount"].max() == 5000


def test_a_bad_day_is_held_back_alone_and_nobody_ever_sees_it(
    lake: Lakehouse, spoil: Spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(negative=[BAD])
    seen: list[bool] = []
    real = DeltaLakeTable.publish

    def publish(self: Any, *args: Any, **options: Any) -> Any:
        version = real(self, *args, **options)
        if self.uri.endswith("gold/every_order"):
            seen.append(bool((lake.load("gold.every_order").collect()["amount"] < 0).any()))
        return version

    monkeypatch.setattr(DeltaLakeTable, "publish", publish)
    run = build(lake)
    assert seen == [False]
    facts = facts_by_status(run, "gold.every_order")
    assert facts[Status.PUBLISHED].rows == 6 * ROWS
    rejected = facts[Status.REJECTED]
    assert rejected.partitions == ((BAD, BAD),)
    assert "not_negative" in rejected.reason
    assert rejected.quarantine is not None
    kept = lake.table(lake.graph["gold.every_order"]).quarantined(rejected.quarantine).collect()
    assert kept.height == ROWS
    assert {(a, tuple(r)) for a, r in kept.select("amount", "_reasons").iter_rows()} == {
        (0, ()),
        (10, ()),
        (20, ()),
        (-1, ("not_negative",)),
    }
    assert len(run.published("gold.sums")) == 7, "another branch of the same call goes on"
    assert facts_by_status(run, "gold.by_region").keys() == {Status.SKIPPED}
    status = {s.asset.name: s for s in lake.status()}["every_order"]
    assert status.held.keys() == [BAD]
    assert {c.name: c.passed for c in status.checks} == {
        "not_negative": False,
        "not_large": True,
        "rarely_77": True,
        "known_status": True,
    }


def test_after_the_repair_a_refresh_makes_what_is_missing(
    lake: Lakehouse, spoil: Spoil, calls: list[dict[str, Any]]
) -> None:
    spoil(negative=[BAD])
    build(lake)
    spoil()
    build(lake, ["silver.orders", "bronze.raw_orders"], BAD)
    calls.clear()
    run = lake.refresh("gold.*", WEEK, engine="inline")
    assert {s.asset.name: str(s.published) for s in run.summaries()} == {
        "by_region": "",
        # They are there, but made from the orders that were mended since.
        **dict.fromkeys(["every_order", "sums", "shares", "doubled", "tops"], BAD),
    }
    assert len(calls) == 3
    assert len(days_of(lake, "gold.every_order")) == 7
    assert not lake.refresh("gold.*", WEEK, engine="inline").plan


def test_a_day_that_is_held_back_is_skipped_where_it_is_read(here: Path, tmp_path: Path, spoil: Spoil) -> None:
    yml = "models: [{name: one, data_tests: [{holds: {name: not_negative, arguments: {expression: amount >= 0}}}]}]"
    folder = write(here / "chain", small(yml=yml) | {"models/two.sql": "select * from {{ ref('one') }}"})
    lake = lake_in(tmp_path, dbt_assets(folder, sources=ALL))
    spoil(negative=[BAD])
    run = build(lake)
    skipped = facts_by_status(run, "gold.two")[Status.SKIPPED]
    assert skipped.partitions == ((BAD, BAD),)
    assert "gold.one 2013-01-03 was not published" in skipped.reason
    assert days_of(lake, "gold.two") == days_of(lake, "gold.one") == {f"2013-01-0{d}" for d in (1, 2, 4, 5, 6, 7)}


def test_a_warning_publishes_and_is_told(lake: Lakehouse, spoil: Spoil) -> None:
    spoil(large=[BAD])
    run = build(lake, "gold.every_order")
    assert run.ok
    (fact,) = run.facts[-1:]
    found = {c.name: c for c in fact.checks}
    assert not found["not_large"].passed
    assert not found["not_large"].blocking
    assert found["not_large"].failed == ((BAD, BAD),)
    assert found["not_large"].failing_rows == ROWS


def test_thresholds_decide_between_a_warning_and_an_error(lake: Lakehouse, spoil: Spoil) -> None:
    spoil(odd_once=[BAD])
    run = build(lake, "gold.every_order")
    assert run.ok, "one is more than warn_if, not more than error_if"
    found = {c.name: c for c in run.facts[-1].checks}
    assert (found["rarely_77"].passed, found["rarely_77"].blocking) == (False, False)
    spoil(odd=[BAD])
    run = build(lake, "+gold.every_order")
    assert facts_by_status(run, "gold.every_order")[Status.REJECTED].partitions == ((BAD, BAD),)


def test_a_model_that_is_made_in_part_is_whole_for_those_that_read_it(lake: Lakehouse, spoil: Spoil) -> None:
    """Some days of an input are published, some are made by the same call: a consumer needs both, once."""
    build(lake, "gold.sums", "2013-01-01...2013-01-03")
    spoil(large=["2013-01-01", "2013-01-05"])
    build(lake, "+silver.orders")
    build(lake, "gold.sums", "2013-01-05")
    run = build(lake, ["gold.shares"], WEEK)
    assert run.ok, [r.error for r in run.results]
    assert str(run.published("gold.sums")) == "2013-01-04, 2013-01-06...2013-01-07"
    found = dict(run.frame("gold.shares").collect().select("date", "whole").iter_rows())
    assert {str(day): whole for day, whole in found.items()} == {
        f"2013-01-0{d}": 20_000 if d == 5 else 60 for d in range(1, 8)
    }, "the first as it was published, though its orders changed since"


def test_each_model_has_its_own_record(lake: Lakehouse, models: dict[str, Asset]) -> None:
    run = build(lake)
    facts = {f.asset: f for f in run.facts}
    assert facts["gold.sums"].rows == 7
    assert facts["gold.every_order"].rows == 7 * ROWS
    assert facts["gold.sums"].code_version == models["sums"].code_version
    assert facts["gold.shares"].inputs[0].version == facts["gold.sums"].version
    assert {p.asset for p in facts["gold.sums"].inputs} == {"silver.orders", "silver.customers"}
    assert facts["gold.sums"].schema_version == models["sums"].schema.fingerprint  # type: ignore[union-attr]


@pytest.mark.parametrize("flag", ["warn_error: true", "warn_error_options: {error: all}"])
def test_a_project_that_takes_warnings_for_errors_is_gated_alike(
    here: Path, tmp_path: Path, spoil: Spoil, flag: str
) -> None:
    yml = "models: [{name: one, data_tests: [{holds: {name: not_negative, arguments: {expression: amount >= 0}}}]}]"
    files = small(yml=yml) | {"models/two.sql": "select * from {{ ref('one') }}"}
    files["dbt_project.yml"] += f"flags: {{{flag}}}\n"
    lake = lake_in(tmp_path, dbt_assets(write(here / "strict", files), sources=ALL))
    spoil(negative=[BAD])
    run = build(lake)
    assert (
        str(run.published("gold.one"))
        == str(run.published("gold.two"))
        == ("2013-01-01...2013-01-02, 2013-01-04...2013-01-07")
    )


# ── models and tests that break ───────────────────────────────────────────────────────────

BROKEN = small() | {
    "models/models.yml": """
models:
  - name: one
    data_tests: [{holds: {name: compared, arguments: {expression: amount >= 0}}}]
  - name: judged
    data_tests: [{holds: {name: nonsense, arguments: {expression: no_such_column > 1}}}]
  - {name: cut_wrong, config: {meta: {lakehouse: {partitions: silver.orders, column: day}}}}
""",
    "models/wrong.sql": "select no_such_column from {{ source('silver', 'orders') }}",
    "models/jinja.sql": "select 1 as a {% if execute %}{{ exceptions.raise_compiler_error('I give up') }}{% endif %}",
    "models/judged.sql": "select * from {{ source('silver', 'orders') }}",
    "models/after.sql": "select * from {{ ref('wrong') }}",
    "models/cut_wrong.sql": "select date, amount from {{ source('silver', 'orders') }}",
    "models/promised.sql": "{{ config(contract={'enforced': true}) }} select date, 'x' as amount "
    "from {{ source('silver', 'orders') }}",
    "models/promised.yml": "models: [{name: promised, columns: "
    "[{name: date, data_type: date}, {name: amount, data_type: bigint}]}]",
    "models/one/inner.sql": "select * from {{ ref('one') }}",
}


@pytest.fixture(scope="module")
def broken(here: Path) -> tuple[Asset, ...]:
    return dbt_assets(write(here / "broken", BROKEN), sources=ALL)


def test_a_model_that_breaks_fails_alone_with_dbt_s_own_message(
    broken: tuple[Asset, ...], tmp_path: Path, spoil: Spoil, calls: list[dict[str, Any]]
) -> None:
    lake = lake_in(tmp_path, broken)
    run = build(lake)
    assert len(calls) == 1
    errors = {r.asset.removeprefix("gold."): r.error for r in run.results if not r.ok}
    assert set(errors) == {"wrong", "jinja", "judged", "after", "cut_wrong", "promised"}
    assert str(errors["wrong"]).count("no_such_column") == 1
    assert "Binder Error" in str(errors["wrong"])
    assert "I give up" in str(errors["jinja"])
    assert "the dbt test nonsense could not run" in str(errors["judged"])
    assert "gold.wrong 2013-01-01...2013-01-07 was not published" in str(errors["after"])
    assert "no column 'day'" in str(errors["cut_wrong"])
    assert "contract" in str(errors["promised"])
    for name in errors:
        assert lake.table(lake.graph[f"gold.{name}"]).version() is None
    assert len(run.published("gold.one")) == len(run.published("gold.inner")) == 7


def test_only_what_is_ordered_is_run(broken: tuple[Asset, ...], tmp_path: Path, spoil: Spoil) -> None:
    """A folder that is named as a model is no part of it."""
    lake = lake_in(tmp_path, broken)
    run = build(lake, "gold.one")
    assert run.ok
    assert {f.asset for f in run.facts} == {"bronze.raw_orders", "silver.orders", "gold.one"}
    run = build(lake, "gold.inner")
    assert [f.asset for f in run.facts] == ["gold.inner"], "it is made from the published table"
    assert lake.load("gold.inner").collect().height == 7 * ROWS


def test_an_interrupted_call_leaves_nothing(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    build(lake, orders)
    scratch: list[Path] = []

    def interrupt(base: Any, relation: Any, frame: Any) -> None:
        scratch.extend(here.glob(".lakehouse/dbt/*/scratch-*"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lakehouse.integrations.dbt.embedded, "_load", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(lake, "gold.sums")
    assert len(scratch) == 1
    assert not scratch[0].exists()
    assert lake.table(lake.graph["gold.sums"]).version() is None
    assert build(lake, "gold.sums").ok


def test_what_dbt_keeps_to_itself_is_raised(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt turns an interrupt within it into a result."""
    from dbt.task.build import BuildTask

    def interrupt(self: Any) -> Any:
        raise KeyboardInterrupt

    build(lake, orders)
    monkeypatch.setattr(BuildTask, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(lake, "gold.sums")


def test_a_project_that_changed_since_it_was_read_is_not_run(here: Path, tmp_path: Path, spoil: Spoil) -> None:
    folder = write(here / "changing", small())
    lake = lake_in(tmp_path, dbt_assets(folder, sources=ALL))
    write(folder, {"models/one.sql": "select date, 1 as other from {{ source('silver', 'orders') }}"})
    run = build(lake)
    assert "gold.one was changed in" in str(run.results[-1].error)
    assert lake.table(lake.graph["gold.one"]).version() is None
