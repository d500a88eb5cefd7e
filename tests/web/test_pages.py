"""What each page tells, and the command that it gives for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from lakehouse import Asset, Daily, Freshness, Lakehouse, PartitionRange, bronze, gold, silver, source
from lakehouse.checks import row_count
from lakehouse.lineage import Lease, new_id
from lakehouse.testing import MemoryLineage
from lakehouse.web.look import Look, Looking
from lakehouse.web.pages import Pages, Shown
from tests.support.pages import PageText

Read = Callable[[str], PageText]


def test_what_needs_attention_comes_first_with_the_command_that_repairs_it(
    look: Look, pages: Pages, read: Read
) -> None:
    page = read(pages.overview(look))
    words = [tag.text for tag in page.all("span", "pill")]
    assert words == ["failed", "held back", "warning"]
    assert "lakehouse refresh +bronze.events --partitions 2013-01-09" in page.commands
    assert "lakehouse show silver.clean --quarantined --partitions 2013-01-03" in page.commands
    assert "lakehouse refresh +silver.clean --partitions 2013-01-03" in page.commands
    assert "lakehouse materialize silver.clean+ --partitions 2013-01-08" in page.commands
    assert "the source is down" in page.text
    assert page.html.index("Needs attention") < page.html.index('class="graph"') < page.html.index('class="assets"')


def test_every_asset_has_a_line_with_its_states_and_a_box_in_the_graph(look: Look, pages: Pages, read: Read) -> None:
    page = read(pages.overview(look))
    keys = {asset.key for asset in look.lake.graph}
    assert {tag.text for tag in page.all("a", "key")} == keys
    assert {f"assets/{key}.html" for key in keys} <= set(page.links)
    assert len(page.all("a", "node")) == len(keys)
    clean = next(tag for tag in page.all("tr") if "silver.clean" in tag.text)
    assert "6 of 365" in clean.text
    assert "60 rows" in clean.text
    strips = [tag.attributes["aria-label"] for tag in page.all("svg", "strip")]
    assert "1 held back, 358 missing, 6 published" in strips


def test_an_asset_is_told_with_its_partitions_checks_columns_history_and_code(
    look: Look, pages: Pages, read: Read
) -> None:
    page = read(pages.asset(look, look.lake.graph["silver.clean"]))
    assert "The events that make sense." in page.text
    assert "daily 2013-01-01...2013-12-31" in page.text
    ranges = [tag.text for tag in page.all("tr") if "held back" in tag.text]
    assert any("2013-01-03" in text and "schema" in text for text in ranges)
    assert "../partitions/silver.clean/2013-01-03.html" in page.links
    assert {"../assets/bronze.events.html", "../assets/gold.totals.html"} <= set(page.links)
    small = next(tag for tag in page.all("tr") if tag.text.startswith("small"))
    assert "warns" in small.text
    assert "2013-01-08" in small.text
    assert "greater than or equal to 0" in page.text
    assert "bronze.events v0" in page.text
    assert "def clean(events: LazyFrame[Events])" in page.text
    assert 'frame = load("silver.clean").collect()' in page.text
    assert "lakehouse show silver.clean --quarantined" in page.commands


def test_code_and_rows_are_shown_only_where_they_may_be(look: Look, read: Read) -> None:
    asset = look.lake.graph["silver.clean"]
    held, there = asset.partitions.parse("2013-01-03"), asset.partitions.parse("2013-01-04")
    shown, hidden = Pages("toys", Shown()), Pages("toys", Shown(source=False, rows=False))
    assert "def clean" not in read(hidden.asset(look, asset)).text
    page = read(shown.partition(look, asset, held))
    assert "Rows that are held back" in page.text
    assert "_reasons" in page.text
    assert [tag.text for tag in page.all("td") if tag.text == "-1"] == ["-1"]
    assert len(read(shown.partition(look, asset, there)).all("table", "cells")) == 1
    for ordinal in (held, there):
        assert not read(hidden.partition(look, asset, ordinal)).all("table", "cells")
        assert not read(Pages("toys", Shown(exported=True), set()).partition(look, asset, ordinal)).all(
            "table", "cells"
        )


def test_a_partition_says_what_it_was_made_from_and_went_into(look: Look, pages: Pages, read: Read) -> None:
    asset = look.lake.graph["silver.clean"]
    page = read(pages.partition(look, asset, asset.partitions.parse("2013-01-04")))
    assert "../../partitions/bronze.events/2013-01-04.html" in page.links
    assert "../../partitions/gold.totals/2013-01-04.html" in page.links
    assert "at version 0" in page.text
    assert "../../partitions/silver.clean/2013-01-03.html" in page.links
    assert "../../partitions/silver.clean/2013-01-05.html" in page.links
    assert [tag.text for tag in page.all("span", "word") if tag.text == "passed"] == ["passed"] * 2
    page = read(pages.partition(look, asset, asset.partitions.parse("2013-01-03")))
    assert "Nothing that is there" in page.text
    assert "lakehouse refresh +silver.clean --partitions 2013-01-03" in page.commands


def test_a_partition_whose_input_has_changed_says_so(lake: Lakehouse, spoil: Any, pages: Pages, read: Read) -> None:
    lake.materialize("+silver.clean", "2013-01-01", engine="inline")
    spoil(add=1)
    lake.materialize("bronze.events", "2013-01-01", engine="inline")
    look = Looking(lake).look()
    asset = lake.graph["silver.clean"]
    page = read(pages.partition(look, asset, asset.partitions.parse("2013-01-01")))
    assert "has changed since" in page.text
    assert "bronze.events changed" in page.text
    assert "lakehouse refresh silver.clean --partitions 2013-01-01" in read(pages.overview(look)).commands


def test_runs_are_listed_newest_first_and_lead_to_what_they_did(look: Look, pages: Pages, read: Read) -> None:
    store = look.lake.lineage_store
    newest, oldest = store.runs(5)
    page = read(pages.runs(look))
    assert [link for link in page.links if link.startswith("runs/")] == [f"runs/{newest}.html", f"runs/{oldest}.html"]
    assert "1 failed" in page.text
    page = read(pages.run(look, newest, store.run(newest)))
    lines = [tag.text for tag in page.all("tr")]
    assert any("bronze.events" in line and "failed" in line and "the source is down" in line for line in lines)
    assert any("gold.totals" in line and "skipped" in line for line in lines)


def test_older_runs_are_a_page_further(lake: Lakehouse, pages: Pages, read: Read, monkeypatch: Any) -> None:
    monkeypatch.setattr("lakehouse.web.pages._RUNS", 1)
    for day in ("2013-01-01", "2013-01-02"):
        lake.materialize("bronze.events", day, engine="inline")
    newest, oldest = lake.lineage_store.runs(5)
    look = Looking(lake).look()
    page = read(pages.runs(look))
    assert f"?before={newest}" in page.links
    page = read(pages.runs(look, before=newest))
    assert [link for link in page.links if "runs/" in link] == [f"runs/{oldest}.html"]
    assert not [link for link in page.links if "before" in link]


def test_what_only_looked_is_no_run(tmp_path: Path, pages: Pages, read: Read) -> None:
    @source
    def outside() -> str:
        return "1"

    @bronze
    def raw(outside: Any) -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1]})

    lake = Lakehouse([outside, raw], storage=tmp_path, lineage=MemoryLineage())
    lake.observe()
    assert "There was none yet" in read(pages.runs(Looking(lake).look())).text
    lake.materialize("*", engine="inline")
    assert len(read(pages.runs(Looking(lake).look())).all("table", "runs")[0].text.split("published")) == 3


def numbers_of(frame: pl.DataFrame) -> Asset:
    @bronze(code_version=str(frame.columns))
    def numbers() -> pl.DataFrame:
        return frame

    return numbers


def test_a_schema_that_changed_says_how(tmp_path: Path, pages: Pages, read: Read) -> None:
    store = MemoryLineage()
    for frame in (pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [1], "wider": ["a"]})):
        numbers = numbers_of(frame)
        lake = Lakehouse([numbers], storage=tmp_path, lineage=store)
        lake.materialize("*", engine="inline")
    page = read(pages.asset(Looking(lake).look(), numbers))
    assert "Versions of its schema" in page.text
    assert "wider" in page.text


def test_a_flow_run_is_linked_where_prefect_shows_it(look: Look, read: Read) -> None:
    store = look.lake.lineage_store
    run = store.runs(1)[0]
    facts = [fact.model_copy(update={"flow_run": "f-1"}) for fact in store.run(run)]
    shown = Shown(flow_run=lambda id: f"https://prefect.example.com/runs/flow-run/{id}")
    page = read(Pages("toys", shown).run(look, run, facts))
    assert "https://prefect.example.com/runs/flow-run/f-1" in page.links
    assert "https" not in " ".join(read(Pages("toys", Shown()).run(look, run, facts)).links)


def test_the_plan_says_what_a_refresh_would_do_and_why(look: Look, pages: Pages, read: Read) -> None:
    page = read(pages.plan(look))
    clean = next(tag for tag in page.all("tr") if tag.text.startswith("silver.clean"))
    assert "held back last time" in clean.text
    assert "missing" in clean.text
    assert "lakehouse refresh '*'" in page.commands
    planned = look.lake.plan(list(look.lake.graph), refresh=True)
    lines = [tag for tag in page.all("tr") if tag.text.startswith(("bronze.", "silver.", "gold."))]
    assert len(lines) == len(planned.assets)
    assert f"{len(planned):,} step" in page.text


def test_what_is_up_to_date_has_nothing_to_do(tmp_path: Path, pages: Pages, read: Read) -> None:
    @bronze
    def one() -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1]})

    lake = Lakehouse([one], storage=tmp_path, lineage=MemoryLineage())
    lake.materialize("*", engine="inline")
    look = Looking(lake).look()
    page = read(pages.overview(look))
    assert "1 up to date" in page.text
    assert "Needs attention" not in page.text
    assert "Everything is up to date" in read(pages.plan(look)).text


def test_who_builds_what_is_running_and_who_waits_is_in_line(troubled: Lakehouse, pages: Pages, read: Read) -> None:
    store = troubled.lineage_store
    until = datetime.now(UTC) + timedelta(minutes=5)
    at_work, waits = new_id(), new_id()
    days = (("2013-02-01", "2013-02-10"),)
    lease = Lease(run=at_work, partitions={"bronze.events": days}, host="worker-7", process="1", expires=until)
    store.set_leases([lease], version=store.leases()[0])
    store.set_leases([lease.model_copy(update={"run": waits})], version=store.leases(waiting=True)[0], waiting=True)
    look = Looking(troubled).look()
    page = read(pages.overview(look))
    assert [tag.text for tag in page.all("span", "pill")][-2:] == ["running", "in line"]
    assert "worker-7" in page.text
    strips = [tag.attributes["aria-label"] for tag in page.all("svg", "strip")]
    assert "1 failed, 10 running, 347 missing, 7 published" in strips


def test_what_waits_for_its_source_says_for_what(tmp_path: Path, pages: Pages, read: Read) -> None:
    days = Daily("2013-01-01", end="2013-01-04", column="date")

    @source(partitions=days)
    def landing() -> dict[str, str]:
        return {"2013-01-01": "a"}

    @bronze(partitions=days)
    def raw(landing: Any, partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"date": partitions.keys()})

    lake = Lakehouse([raw, landing], storage=tmp_path, lineage=MemoryLineage())
    lake.refresh("*", engine="inline")
    page = read(pages.overview(Looking(lake).look()))
    assert [tag.text for tag in page.all("span", "pill")] == ["waiting"]
    assert "waits for source.landing 2013-01-02...2013-01-03" in page.text
    assert "lakehouse observe source.landing" in page.commands


def test_an_asset_says_when_it_is_refreshed_who_owns_it_and_what_it_promises(
    tmp_path: Path, pages: Pages, read: Read
) -> None:
    class Numbers(pa.DataFrameModel):
        n: pl.Int64 = pa.Field(description="A number.", isin=[1, 2])

    @bronze(
        owners=["ann"],
        tags=["core"],
        group="sums",
        freshness=Freshness(cron="0 6 * * *", max_age="26h"),
        checks=[row_count(min=1)],
    )
    def numbers() -> pl.LazyFrame:
        """Some **numbers**.

        - first
        - second
        """
        return pl.LazyFrame({"n": [1]})

    lake = Lakehouse([numbers], storage=tmp_path, lineage=MemoryLineage())
    page = read(pages.asset(Looking(lake).look(), numbers))
    assert [tag.text for tag in page.all("strong")] == ["numbers"]
    assert {"first", "second"} <= {tag.text for tag in page.all("li")}
    assert "cron 0 6 * * *, no older than 1d2h" in page.text or "cron 0 6 * * *, no older than 26h" in page.text
    for word in ("ann", "core", "sums", "row_count", "not run yet", "Nothing was ever tried"):
        assert word in page.text, word


def test_layers_are_lanes_from_left_to_right(tmp_path: Path, pages: Pages, read: Read) -> None:
    @source
    def outside() -> str:
        "What the shop drops."
        return "1"

    @bronze
    def raw(outside: Any) -> pl.LazyFrame:
        return pl.LazyFrame()

    @silver
    def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
        return pl.LazyFrame()

    @gold
    def total(clean: pl.LazyFrame) -> pl.LazyFrame:
        return pl.LazyFrame()

    lake = Lakehouse([total, clean, raw, outside], storage=tmp_path, lineage=MemoryLineage())
    page = read(pages.overview(Looking(lake).look()))
    lanes = [tag.text for tag in page.all("g", "lane")]
    assert lanes == ["source", "bronze", "silver", "gold"]
    assert "What the shop drops." in read(pages.asset(Looking(lake).look(), outside)).text


@pytest.mark.parametrize("named", ["overview", "runs", "plan"])
def test_an_empty_lakehouse_has_pages_too(tmp_path: Path, pages: Pages, read: Read, named: str) -> None:
    look = Looking(Lakehouse([], storage=tmp_path, lineage=MemoryLineage())).look()
    assert read(getattr(pages, named)(look)).all("h1")
