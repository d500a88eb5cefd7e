"""dbt's docs tell of the whole lakehouse: every asset, and what is made from what, from Bronze to Gold."""

from __future__ import annotations

import io
import json
import re
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pandera.typing.polars import LazyFrame

from lakehouse import Lakehouse, bronze, gold, source
from lakehouse.checks import not_null
from lakehouse.cli import main
from lakehouse.errors import SettingsError
from lakehouse.integrations.dbt import DbtProject
from lakehouse.integrations.dbt.docs import write_docs
from tests.dbt.conftest import lake_in
from tests.dbt.toys import ALL, doubled, orders, small, write

DAYS = "2013-01-01...2013-01-02"


class Numbers(pa.DataFrameModel):
    n: pl.Int64 = pa.Field(description="A </script> number.")
    at: pl.Date = pa.Field(nullable=True)


def read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the catalog as a browser finds them in the page."""
    found = re.search(r"var n=\{manifest:(\{.*?\}),catalog:(\{.*?\})\},r=\{project", file.read_text(), re.DOTALL)
    assert found, "the page holds no data"
    return json.loads(found[1]), json.loads(found[2])


def reachable(manifest: dict[str, Any], start: str) -> set[str]:
    """What is made from a node, however far."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = [n for n in manifest["child_map"].get(waiting.pop(), []) if n not in found]
        found.update(new)
        waiting += new
    return found


def test_lineage_goes_from_bronze_to_gold_and_on_past_dbt(lake: Lakehouse, tmp_path: Path) -> None:
    manifest, _ = read(write_docs(lake, tmp_path / "site"))
    below = reachable(manifest, "source.shop.bronze.raw_orders")
    chain = ["source.shop.silver.orders", "model.shop.sums", "source.shop.gold.doubled", "model.shop.tops"]
    assert set(chain) <= below
    assert "source.shop.silver.customers" not in below
    nodes = manifest["nodes"] | manifest["sources"]
    for uid in (*chain, "source.shop.silver.customers"):
        # The page draws by the one, and lists by the other.
        assert set(nodes[uid]["depends_on"]["nodes"]) == set(manifest["parent_map"][uid]) != set()
        assert all(uid in manifest["child_map"][parent] for parent in manifest["parent_map"][uid])


def test_every_asset_is_there_with_what_it_is(lake: Lakehouse, tmp_path: Path) -> None:
    manifest, catalog = read(write_docs(lake, tmp_path))
    nodes = manifest["nodes"] | manifest["sources"]
    told = {node["meta"]["Asset"]: node for node in nodes.values() if "Asset" in node.get("meta", {})}
    assert set(told) == {asset.key for asset in lake.graph}
    assert told["bronze.raw_orders"]["description"] == "Four orders a day."
    assert told["gold.sums"]["meta"]["Owners"] == "ann"
    assert told["silver.orders"]["meta"]["Built from"] == "bronze.raw_orders"
    assert told["silver.orders"]["meta"]["Partitions"] == "daily 2013-01-01...2013-01-07 by date"
    assert len({told[key]["docs"]["node_color"] for key in ("bronze.raw_orders", "silver.orders", "gold.sums")}) == 3
    assert set(catalog["nodes"] | catalog["sources"]) == {node["unique_id"] for node in told.values()}


def test_columns_and_checks_come_from_the_assets(tmp_path: Path) -> None:
    @bronze(tags=["core"], owners=["ann"], checks=[not_null("n"), not_null("at", blocking=False)])
    def numbers() -> LazyFrame[Numbers]:
        """Some <numbers>."""
        raise AssertionError

    @gold
    def answer() -> pl.LazyFrame:
        raise AssertionError

    file = write_docs(lake_in(tmp_path, [numbers, answer]), tmp_path)
    assert file.read_text().count("</script>") == 1, "a description ended the script"
    manifest, catalog = read(file)
    node = manifest["sources"]["source.lakehouse.bronze.numbers"]
    assert node["description"].startswith("Some <numbers>.\n\n")
    assert "- `not_null(n)`: a value in n of every row\n" in node["description"]
    assert node["description"].endswith("of every row (only warns)")
    assert node["tags"] == ["core"]
    assert node["columns"]["n"]["description"] == "A </script> number."
    assert [bool(column["constraints"]) for column in node["columns"].values()] == [True, False]
    found = catalog["sources"][node["unique_id"]]
    assert {name: column["type"] for name, column in found["columns"].items()} == {"n": "bigint", "at": "date"}
    assert found["metadata"]["owner"] == "ann"
    assert not found["stats"]["has_stats"]["value"]


def test_what_is_published_is_told(lake: Lakehouse, tmp_path: Path) -> None:
    lake.materialize(["silver.orders", "gold.every_order"], DAYS, engine="inline")
    _, catalog = read(write_docs(lake, tmp_path))
    silver = catalog["sources"]["source.shop.silver.orders"]
    assert silver["stats"]["num_rows"]["value"] == 8
    assert silver["stats"]["partitions"]["value"] == "2 of 7"
    assert silver["columns"]["date"]["type"] == "date", "no schema says so, but the table does"
    assert list(catalog["nodes"]["model.shop.every_order"]["columns"]) == ["date", "customer", "amount", "status"]
    assert "num_rows" not in catalog["nodes"]["model.shop.sums"]["stats"]


def test_a_storage_that_does_not_answer_costs_only_the_numbers(
    lake: Lakehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data" / "silver" / "orders" / "_delta_log").mkdir(parents=True)
    (tmp_path / "data" / "silver" / "orders" / "_delta_log" / f"{0:020}.json").write_text("nonsense")
    _, catalog = read(write_docs(lake, tmp_path))
    assert "the docs don't tell what is published" in caplog.text
    assert "model.shop.sums" in catalog["nodes"]


def test_the_word_of_the_project_stands_where_the_asset_has_none(here: Path, tmp_path: Path) -> None:
    sources = """
sources:
  - name: landed
    description: What has landed.
    tables:
      - name: o
        description: Overruled.
        config: {meta: {lakehouse: {asset: silver.orders}, sla: daily}}
        columns: [{name: Amount, data_type: bigint, description: In cents.}]
"""
    files = small("select * from {{ source('landed', 'o') }}") | {"models/sources.yml": sources}
    project = DbtProject(write(here / "words", files), sources=ALL)
    manifest, catalog = read(write_docs(lake_in(tmp_path, project.assets), tmp_path))
    node = manifest["sources"]["source.shop.landed.o"]
    assert node["description"] == "The orders."
    assert node["columns"]["Amount"]["description"] == "In cents."
    assert node["meta"]["sla"] == "daily"
    assert "lakehouse" not in node["meta"]
    assert catalog["sources"]["source.shop.landed.o"]["columns"]["Amount"]["type"] == "bigint"
    assert "source.shop.silver.orders" not in manifest["sources"]
    assert manifest["child_map"]["source.shop.bronze.raw_orders"] == ["source.shop.landed.o"]


def test_two_projects_are_one_page(here: Path, tmp_path: Path) -> None:
    other = small("select * from {{ source('gold', 'one') }}") | {
        "dbt_project.yml": "name: other\nversion: '1.0'\nprofile: whatever\n",
        "models/two.sql": "select date from {{ source('gold', 'one') }}",
        "models/sources.yml": "sources: [{name: gold, tables: [{name: one}]}]",
    }
    other.pop("models/one.sql")
    first = DbtProject(write(here / "first", small()), sources=ALL)
    second = DbtProject(write(here / "second", other), sources=first.assets)
    manifest, _ = read(write_docs(lake_in(tmp_path, [*first.assets, *second.assets]), tmp_path))
    assert "model.other.two" in reachable(manifest, "source.shop.bronze.raw_orders")
    assert manifest["parent_map"]["source.other.gold.one"] == ["model.shop.one"]


def test_a_folder_that_can_not_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file")
    with pytest.raises(SettingsError, match=r"the docs can't be written to .*site") as raised:
        write_docs(lake_in(tmp_path, [orders]), tmp_path / "site")
    assert raised.value.hint


# ── the command ───────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked to show."""
    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    return seen


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Call the command line over one asset, in a folder of its own."""
    name = f"documented_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import polars as pl\nfrom lakehouse import bronze\n\n@bronze\ndef numbers() -> pl.LazyFrame: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_MODULE", name)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*words: str, stream: type[io.StringIO] = io.StringIO) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            out, err = stream(), io.StringIO()
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            return main(["docs", *words]), out.getvalue(), err.getvalue()

    return run


def test_the_command_says_where_the_page_is_and_writes_nothing_else(
    command: Callable[..., tuple[int, str, str]], opened: list[str], tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    assert command() == (0, ".lakehouse/docs/index.html\n", "")
    assert command("--output", "site", stream=Terminal)[0] == 0
    assert opened == [(tmp_path / "site" / "index.html").as_uri()], "opened where nobody looks"
    assert command("--no-open", stream=Terminal)[0] == 0
    assert len(opened) == 1
    written = {p.relative_to(tmp_path) for p in set(tmp_path.rglob("*")) - before if "__pycache__" not in p.parts}
    assert {p.parts[0] for p in written} == {".lakehouse", "site"}
    assert {p for p in written if p.parts[0] == "site"} == {Path("site"), Path("site/index.html")}


def test_the_command_s_errors_and_help(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    code, out, err = command("--output", "taken")
    assert (code, out) == (2, "")
    assert err.startswith("error: the docs can't be written to taken: ")
    assert len(err.splitlines()) == 2
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: lakehouse docs [OPTIONS]")
    assert "\n  lakehouse docs --output site" in out.partition("Examples\n")[2]


def test_doubled_is_told_once(lake: Lakehouse, tmp_path: Path) -> None:
    manifest, _ = read(write_docs(lake, tmp_path))
    assert doubled in lake.graph
    assert [uid for uid in manifest["sources"] if uid.endswith(".doubled")] == ["source.shop.gold.doubled"]


def test_what_others_write_is_drawn_as_well(tmp_path: Path) -> None:
    @source
    def outside() -> str:
        "What the shop drops."
        return "1"

    @bronze
    def raw(outside: Any) -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1]})

    lake = Lakehouse([outside, raw], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    page = write_docs(lake, tmp_path / "docs").read_text(encoding="utf-8")
    assert "What the shop drops." in page
    assert ".source.outside" in page
