"""Models become assets: what they are called, how they are cut, what they are made from and what they promise."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated, cast

import pandera.polars as pa
import polars as pl
import pytest
from pandera.typing.polars import LazyFrame

from lakehouse import Asset, AssetGraph, Daily, From, Layer, gold
from lakehouse.definitions.schema import Column
from lakehouse.errors import ContractViolation, DefinitionError
from lakehouse.integrations.dbt import dbt_assets
from tests.dbt.conftest import lake_in
from tests.dbt.toys import ALL, SHOP, Sums, doubled, orders, small, write


class Wanted(pa.DataFrameModel):
    named: pl.String


def test_every_model_and_seed_is_a_gold_asset(models: dict[str, Asset]) -> None:
    assert set(models) == {"every_order", "sums", "shares", "by_region", "tops", "regions"}
    assert {a.layer for a in models.values()} == {Layer.GOLD}
    sums = models["sums"]
    assert sums.key == "gold.sums"
    assert sums.description == "A sum for each day."
    assert sums.tags == ("core", "daily")
    assert sums.owners == ("ann",)
    assert sums.group == "money"


def test_inputs_are_what_ref_and_source_name(models: dict[str, Asset]) -> None:
    graph = AssetGraph([*models.values(), doubled])
    made_from = {name: sorted(e.asset.key for e in graph.inputs(asset)) for name, asset in models.items()}
    assert made_from == {
        "every_order": ["silver.orders"],
        "sums": ["silver.customers", "silver.orders"],  # through an ephemeral model
        "shares": ["gold.sums"],
        "by_region": ["gold.every_order", "gold.regions"],
        "tops": ["gold.doubled"],
        "regions": [],
    }
    assert graph["silver.orders"] is orders


def test_partitions_are_like_those_of_the_asset_that_meta_names(models: dict[str, Asset]) -> None:
    assert models["sums"].partitions == orders.partitions
    assert not models["by_region"].partitioned
    assert not models["regions"].partitioned


def test_a_contract_is_a_schema(models: dict[str, Asset]) -> None:
    schema = models["sums"].schema
    assert schema is not None
    assert schema.columns == (
        Column("date", pl.Date(), nullable=False, description="The day."),
        Column("n", pl.Int64(), nullable=False),
        Column("amount", pl.Int64(), nullable=False),
        Column("named", pl.String(), nullable=True),
    )
    assert models["every_order"].schema is None, "columns without a contract promise nothing"


def test_a_consumer_holds_a_model_to_its_contract(models: dict[str, Asset]) -> None:
    @gold
    def asks(sums: Annotated[LazyFrame[Wanted], From("gold.sums")]) -> pl.LazyFrame:
        return cast(pl.LazyFrame, sums)

    @gold
    def vague(every_order: Annotated[LazyFrame[Sums], From("gold.every_order")]) -> pl.LazyFrame:
        return cast(pl.LazyFrame, every_order)

    with pytest.raises(ContractViolation, match=r"column 'named' may be missing a value there"):
        AssetGraph([asks, doubled, *models.values()])
    with pytest.raises(ContractViolation, match=r"gold\.every_order promises no schema"):
        AssetGraph([vague, doubled, *models.values()])


def test_models_are_cut_as_meta_says_and_versions_follow_what_is_run(here: Path) -> None:
    yml = """
models:
  - name: one
    config: {meta: {owner: [ann, bob], lakehouse: {partitions: daily, start: 2013-01-01, end: 2014-01-01, column: day}}}
    columns:
      - name: amount
        data_type: bigint
        data_tests: [{not_null: {config: {where: "amount > 0"}}}]
      - {name: day, data_type: date}
"""
    files = small("select {{ word() }} as amount", yml) | {
        "macros/word.sql": "{% macro word() %}{{ inner() }}{% endmacro %}",
        "macros/inner.sql": "{% macro inner() %}1{% endmacro %}",
        "models/twin.sql": "select 1 as n",
    }
    folder = here / "versions"

    def version() -> str:
        (one,) = [a for a in dbt_assets(write(folder, files), sources=ALL) if a.name == "one"]
        assert one.partitions == Daily("2013-01-01", end="2014-01-01", column="day")
        assert one.owners == ("ann", "bob")
        return one.code_version

    first = version()
    files["models/models.yml"] = yml.replace("name: amount", "name: amount\n        description: What it costs")
    assert version() == first
    files["macros/inner.sql"] = "{% macro inner() %}2{% endmacro %}"
    second = version()
    assert second != first
    files["models/one.sql"] = "select {{ word() }} + 1 as amount"
    assert version() not in (first, second)
    # A file that went counts as well, though no other became younger.
    (folder / "models/twin.sql").unlink()
    assert [a.name for a in dbt_assets(folder, sources=ALL)] == ["one"]


def test_a_test_that_lets_some_rows_pass_promises_nothing(here: Path) -> None:
    yml = """
models:
  - name: one
    config: {contract: {enforced: true}}
    columns:
      - {name: date, data_type: date, data_tests: [{not_null: {config: {where: "true"}}}]}
      - {name: amount, data_type: bigint, data_tests: [{not_null: {config: {error_if: ">5"}}}]}
      - {name: customer, data_type: bigint, data_tests: [{not_null: {config: {severity: warn}}}]}
"""
    (one,) = dbt_assets(write(here / "nullable", small(yml=yml)), sources=ALL)
    assert one.schema is not None
    assert [c.nullable for c in one.schema.columns] == [True, True, True]


def test_what_can_not_be_an_asset_is_refused_by_name_and_can_be_left_out(here: Path) -> None:
    snapshot = """
snapshots:
  - {name: history, relation: ref('one'), config: {unique_key: date, strategy: check, check_cols: all}}
"""
    folder = write(here / "snapshots", small() | {"snapshots/history.yml": snapshot})
    with pytest.raises(DefinitionError, match="the dbt snapshot history can't be an asset"):
        dbt_assets(folder, sources=ALL)
    assert [a.key for a in dbt_assets(folder, sources=ALL, select="one")] == ["gold.one"]


def test_versioned_models_are_refused_by_name(here: Path) -> None:
    yml = "models: [{name: one, latest_version: 2, versions: [{v: 1}, {v: 2}]}]"
    files = small(yml=yml) | {f"models/one_v{v}.sql": "select 1 as n" for v in (1, 2)} | {"models/two.sql": "select 1"}
    del files["models/one.sql"]
    folder = write(here / "versioned", files)
    with pytest.raises(DefinitionError, match="the dbt model one has versions"):
        dbt_assets(folder, sources=ALL)
    assert [a.key for a in dbt_assets(folder, sources=ALL, select="two")] == ["gold.two"]


@pytest.mark.usefixtures("shop")
def test_select_leaves_models_out_but_not_what_the_rest_reads(here: Path) -> None:
    chosen = dbt_assets(here / "shop", sources=ALL, select="sums every_order")
    assert {a.name for a in chosen} == {"sums", "every_order"}
    with pytest.raises(DefinitionError, match=r"the dbt model shares reads sums, which is not among the models"):
        dbt_assets(here / "shop", sources=ALL, select="shares")


def test_assets_travel(models: dict[str, Asset], tmp_path: Path) -> None:
    copy = pickle.loads(pickle.dumps(models["every_order"]))
    run = lake_in(tmp_path, [copy]).materialize(copy, "2013-01-01", engine="inline")
    assert run.frame(copy).collect().height == 4


def test_the_project_s_files_stay_as_they_were(models: dict[str, Asset], here: Path) -> None:
    found = {str(f.relative_to(here / "shop")) for f in (here / "shop").rglob("*") if f.is_file()}
    assert found == set(SHOP)
