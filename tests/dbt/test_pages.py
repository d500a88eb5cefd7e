"""dbt's models are assets among others on the page, with their SQL as it is written and as it was compiled."""

from __future__ import annotations

from pathlib import Path

from lakehouse import Lakehouse
from lakehouse.web.export import write_catalog
from lakehouse.web.pages import Shown
from tests.support.pages import PageText


def pages(lake: Lakehouse, folder: Path) -> dict[str, PageText]:
    write_catalog(lake, folder, Shown())
    return {
        str(file.relative_to(folder)): PageText(file.read_text(encoding="utf-8")) for file in folder.rglob("*.html")
    }


def test_models_are_drawn_from_bronze_to_gold_and_on_past_dbt(lake: Lakehouse, tmp_path: Path) -> None:
    found = pages(lake, tmp_path / "site")
    assert {tag.text for tag in found["index.html"].all("a", "key")} == {asset.key for asset in lake.graph}
    below = {"../assets/silver.orders.html", "../assets/gold.doubled.html"}
    assert below <= set(found["assets/gold.sums.html"].links)
    page = found["assets/gold.sums.html"]
    assert "ann" in page.text
    assert "dbt" in page.text


def test_a_model_shows_its_sql_as_written_and_as_it_was_compiled_last(lake: Lakehouse, tmp_path: Path) -> None:
    code = [tag.text for tag in pages(lake, tmp_path / "before")["assets/gold.every_order.html"].all("pre", "code")]
    assert any("source(" in text for text in code)
    lake.materialize(["silver.orders", "gold.every_order"], "2013-01-01...2013-01-02", engine="inline")
    page = pages(lake, tmp_path / "after")["assets/gold.every_order.html"]
    written, compiled, _ = (tag.text for tag in page.all("pre", "code"))
    assert "{{" in written
    assert "{{" not in compiled
    assert "select" in compiled
    assert "8 rows" in page.text
