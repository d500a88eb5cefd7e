"""What people get wrong: one clear error each, in dbt's own words where it has some, and nothing half-done."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.errors import DefinitionError, LakehouseError, SettingsError, UnknownInput
from lakehouse.integrations.dbt import DbtProject, dbt_assets
from lakehouse.verbs import open_lakehouse
from tests.dbt.toys import ALL, PROJECT, doubled, orders, small, write

META = "models: [{name: one, config: {meta: {lakehouse: %s}}}]"


def test_a_folder_without_a_project(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"dbt_project\.yml is missing"):
        dbt_assets(tmp_path)


def test_without_dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "dbt.cli.main", None)
    with pytest.raises(SettingsError, match="dbt can't be imported"):
        dbt_assets(write(tmp_path / "project", small()))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param({"dbt_project.yml": "name: [broken"}, r"name: \[broken", id="YAML"),
        pytest.param({"models/one.sql": "select {{ ref('x' }}"}, "models/one.sql", id="Jinja"),
        pytest.param({"models/one.sql": "select * from {{ source('silver', 'ordres') }}"}, "ordres", id="source"),
        pytest.param({"models/one.sql": "select * from {{ ref('tow') }}"}, "'tow'", id="ref"),
    ],
)
def test_what_dbt_can_not_parse_is_told_in_its_words_once(here: Path, files: dict[str, str], said: str) -> None:
    folder = write(here / "bad", small() | files)
    with pytest.raises(DefinitionError, match=said) as caught:
        dbt_assets(folder, sources=ALL)
    assert caught.value.message.startswith(f"dbt can't parse {folder}: ")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600


@pytest.fixture(scope="module")
def folder(here: Path) -> Path:
    return here / "small"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            {"models/sources.yml": "sources: [{name: silver, tables: [{name: orders}, {name: ordres}]}]",
             "models/one.sql": "select * from {{ source('silver', 'ordres') }}"},
            r"there is no asset silver\.ordres; .*\n.*did you mean silver\.orders",
            id="a source that is no asset",
        ),
        pytest.param(
            {"models/models.yml": META % "{partitions: silver.ordesr, column: date}"},
            r"partitioned as silver\.ordesr, which is not known.*\n.*silver\.orders",
            id="like an unknown asset",
        ),
        pytest.param(
            {"models/models.yml": META % "{partitions: silver.customers, column: date}"},
            r"as silver\.customers, which is not partitioned",
            id="like an unpartitioned asset",
        ),
        pytest.param(
            {"models/models.yml": META % "{partitions: silver.orders}",
             "dbt_project.yml": PROJECT.replace(", column: date", "")},
            "doesn't say which column holds the partition",
            id="without a column",
        ),
        pytest.param(
            {"models/models.yml": META % "{partitions: daily, column: date, start: soon}"},
            r"the dbt model one can't be partitioned so: .*soon",
            id="from when",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_an_asset_is_one_error(folder: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        dbt_assets(write(folder, small(yml="models: []") | files), sources=ALL)
    assert re.search(said, str(caught.value)), str(caught.value)


def test_a_source_that_the_lakehouse_lacks_is_told_when_it_is_put_together(tmp_path: Path) -> None:
    files = {
        "models/sources.yml": "sources: [{name: silver, tables: [{name: ordres}]}]",
        "models/one.sql": "select * from {{ source('silver', 'ordres') }}",
        "dbt_project.yml": "name: shop\nversion: '1.0'\n",
    }
    models = dbt_assets(write(tmp_path / "lacks", small(yml="models: []") | files))
    with pytest.raises(UnknownInput, match=r"gold\.one reads silver\.ordres, which is no asset.*\n.*silver\.orders"):
        Lakehouse([orders, *models])


# ── modules and settings ──────────────────────────────────────────────────────────────────


def test_a_module_may_hold_a_project(shop: DbtProject) -> None:
    module = ModuleType("shop_module")
    vars(module).update({a.name: a for a in ALL}, models=shop)
    assert {"gold.sums", "gold.tops", "gold.doubled"} <= set(Lakehouse(module).graph.assets)
    space: dict[str, Any] = vars(module)
    exec("from lakehouse import gold\n@gold\ndef report(sums, every_order): ...", space)
    assert [p.name for p in space["report"].inputs] == ["sums", "every_order"]
    graph = Lakehouse(module).graph
    assert [e.asset.key for e in graph.inputs("gold.report")] == ["gold.sums", "gold.every_order"]


@pytest.mark.parametrize("how", ["environment", "file"])
def test_a_project_is_named_in_settings(
    shop: DbtProject, here: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shop.assets
    module = ModuleType("shop_settings")
    vars(module).update({a.name: a for a in ALL})
    monkeypatch.setitem(sys.modules, "shop_settings", module)
    file = here / "pyproject.toml"
    monkeypatch.setenv("LAKEHOUSE_MODULE", "shop_settings")
    if how == "environment":
        monkeypatch.setenv("LAKEHOUSE_DBT", "shop")
    else:
        file.write_text("[tool.lakehouse]\ndbt = 'shop'\n")
    try:
        assert "gold.sums" in open_lakehouse("gold.*").graph
        with pytest.raises(LakehouseError):
            open_lakehouse([doubled]).graph["gold.tops"]
    finally:
        file.unlink(missing_ok=True)


def test_a_manifest_that_is_fresh_is_read_without_dbt(shop: DbtProject, here: Path) -> None:
    assert shop.assets
    code = """
import sys, lakehouse, lakehouse.integrations.dbt
from tests.dbt.toys import ALL
assert len(lakehouse.integrations.dbt.dbt_assets("shop", sources=ALL)) == 6
found = {m for m in sys.modules if m.partition(".")[0] in ("dbt", "duckdb")}
assert not found, sorted(found)[:9]
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.append({str(root)!r})\n{code}"],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
