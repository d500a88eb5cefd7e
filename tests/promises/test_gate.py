"""Promises 1 and 2: a reader never sees a row of a partition that failed, and only that partition is held back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import polars as pl
import pytest

from lakehouse import Lakehouse, MaterializationFailed
from lakehouse.io.delta import DeltaLakeTable
from lakehouse.lineage import Status
from tests.support.toys import ROWS, clean, events, totals

JANUARY = "2013-01-01...2013-01-31"
BAD = date(2013, 1, 5)


@pytest.fixture(autouse=True, params=["true", "false"], ids=["shared files", "files apart"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether small partitions share files."""
    monkeypatch.setenv("LAKEHOUSE_SHARED_FILES", request.param)


def test_one_bad_day_is_held_back_and_the_others_are_published(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    spoil(negative=["2013-01-05"])
    with pytest.raises(MaterializationFailed, match=r"silver\.clean 2013-01-05 held back") as caught:
        lake.materialize(totals, JANUARY, engine="inline")
    run = caught.value.run
    assert len(run.published(events)) == 31
    assert len(run.published(clean)) == len(run.published(totals)) == 30
    assert BAD not in set(lake.load(clean).select("date").collect()["date"])
    assert "skipped" in str(caught.value)
    assert [s.skipped.keys() for s in run.summaries() if s.skipped] == [["2013-01-05"]]


def test_held_rows_are_kept_with_their_reasons(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    spoil(negative=["2013-01-05"])
    run = lake.materialize(clean, JANUARY, engine="inline", raise_on_failure=False)
    (rejected,) = [f for f in run.facts if f.status is Status.REJECTED]
    assert rejected.quarantine is not None
    assert rejected.partitions == (("2013-01-05", "2013-01-05"),)
    kept = lake.table(clean).quarantined(rejected.quarantine).collect()
    assert kept.height == ROWS
    blamed = kept.filter(pl.col("_reasons").list.len() > 0)
    assert blamed["value"].to_list() == [-1]
    assert "value: greater_than_or_equal_to(0)" in blamed["_reasons"][0].to_list()


def test_after_the_repair_a_refresh_builds_exactly_what_is_missing(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    spoil(negative=["2013-01-05"])
    lake.materialize(totals, JANUARY, engine="inline", raise_on_failure=False)
    spoil()
    # Bronze keeps what the source said; the source was wrong, so its day is taken anew.
    lake.materialize(events, "2013-01-05", engine="inline")
    run = lake.refresh("+gold.totals", JANUARY, engine="inline")
    assert {s.asset.key: s.published.keys() for s in run.summaries()} == {
        "silver.clean": ["2013-01-05"],
        "gold.totals": ["2013-01-05"],
    }
    again = lake.refresh("+gold.totals", JANUARY, engine="inline")
    assert not again.plan
    assert again.results == ()
    assert not any(s.held for s in lake.status())


def test_a_rejected_rebuild_leaves_the_old_rows_in_sight(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    lake.materialize(clean, JANUARY, engine="inline")
    spoil(negative=["2013-01-05"], add=100)
    lake.materialize("+silver.clean", JANUARY, engine="inline", raise_on_failure=False)
    day = lake.load(clean, "2013-01-05").collect()
    assert day["value"].sort().to_list() == list(range(ROWS))
    assert lake.load(clean, "2013-01-06").collect()["value"].min() == 100
    status = {s.asset.key: s for s in lake.status()}
    assert status["silver.clean"].held.keys() == ["2013-01-05"]
    assert len(status["silver.clean"].present) == 31


def test_a_warning_publishes_and_is_told(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    spoil(add=5000)
    run = lake.materialize(clean, "2013-01-01...2013-01-03", engine="inline")
    (summary,) = [s for s in run.summaries() if s.asset is clean]
    found = {c.name: c for c in summary.checks}
    assert not found["small"].passed
    assert not found["small"].blocking
    assert found["small"].failing_rows == 3 * ROWS
    assert len(run.published(clean)) == 3


def test_an_empty_day_is_published_empty_or_held_back_by_its_row_count(
    lake: Lakehouse, spoil: Callable[..., None]
) -> None:
    spoil(empty=["2013-01-02"])
    run = lake.materialize(events, "2013-01-01...2013-01-03", engine="inline", raise_on_failure=False)
    assert run.published(events).keys() == ["2013-01-01", "2013-01-03"]
    (rejected,) = [f for f in run.facts if f.status is Status.REJECTED]
    assert "row_count" in rejected.reason
    assert rejected.quarantine is None


def test_a_failed_day_publishes_nothing_and_other_branches_go_on(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    lake.materialize(events, "2013-01-01...2013-12-31", engine="inline", chunk=100)
    spoil(raises=["2013-01-05"])
    run = lake.materialize(
        ["bronze.events", "gold.totals"],
        "2013-01-01...2013-01-20",
        engine="inline",
        chunk=10,
        raise_on_failure=False,
    )
    by_asset = {s.asset.key: s for s in run.summaries()}
    assert by_asset["bronze.events"].failed.keys() == ["2013-01-05"]
    assert "ValueError: the source is down" in by_asset["bronze.events"].errors[0]
    assert len(by_asset["gold.totals"].published) == 19
    assert len(by_asset["gold.totals"].skipped) == 1
    assert lake.load(events, "2013-01-05").collect().height == ROWS, "what was there before stays"


def test_unpartitioned_assets_are_skipped_when_a_day_is_missing(lake: Lakehouse, spoil: Callable[..., None]) -> None:
    spoil(negative=["2013-06-01"])
    run = lake.materialize("gold.grand_total", engine="inline", raise_on_failure=False)
    by_asset = {s.asset.key: s for s in run.summaries()}
    assert by_asset["gold.grand_total"].skipped
    assert "gold.totals 2013-06-01 was not published" in by_asset["gold.grand_total"].errors[0]
    spoil()
    lake.materialize(events, "2013-06-01", engine="inline")
    run = lake.refresh("gold.grand_total", engine="inline")
    assert run.frame("gold.grand_total").collect()["days"].item() == 365


def test_a_small_candidate_is_read_once(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = DeltaLakeTable.staged

    def staged(self: DeltaLakeTable, *given: object) -> pl.LazyFrame:
        asked.append(self.uri)
        return real(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(DeltaLakeTable, "staged", staged)
    run = lake.materialize(clean, JANUARY, engine="inline")
    assert len(asked) == len(run.results) == 4


def test_a_candidate_that_was_removed_before_its_audit_is_an_error_of_storage(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeltaLakeTable, "staged", lambda self, *_: pl.scan_parquet(f"{self.location.target}/gone"))
    with pytest.raises(MaterializationFailed, match=r"what is staged for bronze\.events/.* can't be read"):
        lake.materialize(events, JANUARY, engine="inline")
    assert lake.table(events).version() is None
