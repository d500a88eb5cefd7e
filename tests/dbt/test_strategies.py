"""What dbt keeps of a model and an asset would replace is refused by name, in the model's own words."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse import Daily, silver
from lakehouse.errors import DefinitionError
from lakehouse.integrations.dbt import DbtProject
from lakehouse.integrations.dbt.strategies import check_hooks, check_strategy
from lakehouse.partitions import Multi, Partitions, Static, Unpartitioned

WHERE = "the dbt model seen"
WHOLE, DAILY = Unpartitioned(), Daily("2013-01-01", column="date")
BOTH = Multi({"date": DAILY, "region": Static(["us"], column="region")})


def incremental(strategy: str | None = None, **more: Any) -> dict[str, Any]:
    return {"materialized": "incremental", "incremental_strategy": strategy, **more}


@pytest.mark.parametrize(
    ("config", "partitions", "athena"),
    [
        ({"materialized": "table"}, WHOLE, False),
        ({"materialized": "view"}, DAILY, False),
        (incremental("delete+insert", unique_key="date"), DAILY, False),
        (incremental("delete+insert", unique_key=["DATE"]), DAILY, False),
        (incremental(unique_key="date"), DAILY, False),
        (incremental("delete+insert", unique_key=["region", "date"]), BOTH, False),
        (incremental("microbatch", event_time="date", unique_key="id"), DAILY, False),
        (incremental("insert_overwrite", partitioned_by=["date"]), DAILY, True),
        (incremental(partitioned_by=["date"], unique_key="date"), DAILY, True),
        (incremental("append", full_refresh=True), WHOLE, False),
    ],
)
def test_what_is_made_as_assets_are_is_fine(config: dict[str, Any], partitions: Partitions, athena: bool) -> None:
    check_strategy(WHERE, config, partitions, athena=athena)


@pytest.mark.parametrize(
    ("config", "partitions", "says", "hint"),
    [
        (incremental("append"), WHOLE, "is incremental (append), so that dbt keeps what is there", "partition it"),
        (incremental(), WHOLE, "is incremental (append)", "materialized: table"),
        (incremental("merge", unique_key="id"), WHOLE, "is incremental (merge, unique_key id)", "partition it"),
        (incremental("delete+insert", unique_key="date"), WHOLE, "(delete+insert, unique_key date)", "partition it"),
        (incremental("microbatch", event_time="date"), WHOLE, "is incremental (microbatch)", "partition it"),
        (incremental("insert_overwrite"), WHOLE, "is incremental (insert_overwrite)", "partition it"),
        (incremental("append"), DAILY, "keeps rows of a partition that is made again", "unique_key: date"),
        (incremental("merge", unique_key="date"), DAILY, "(merge, unique_key date)", "delete+insert"),
        (incremental("delete+insert", unique_key="id"), DAILY, "(delete+insert, unique_key id)", "unique_key: date"),
        (incremental("delete+insert", unique_key=["date", "id"]), DAILY, "unique_key date, id", "unique_key: date"),
        (incremental("microbatch", event_time="seen_at"), DAILY, "(microbatch)", "unique_key: date"),
        (incremental("insert_overwrite", partitioned_by=["month"]), DAILY, "(insert_overwrite)", "[date]"),
        (incremental("delete+insert", unique_key="date"), BOTH, "is incremental", "unique_key: date"),
        (incremental("my_own"), DAILY, "is incremental (my_own)", "delete+insert"),
        ({"materialized": "materialized_view"}, WHOLE, "is materialized as 'materialized_view'", "table, view"),
        ({"materialized": "my_ledger"}, DAILY, "is materialized as 'my_ledger', which can't be done", "select"),
    ],
)
def test_what_dbt_would_keep_is_refused(config: dict[str, Any], partitions: Partitions, says: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_strategy(WHERE, config, partitions, athena=False)
    assert caught.value.message.startswith(WHERE)
    assert says in caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("sql", "fine"),
    [
        ("insert into {{ this }} by name select * from rest", True),
        ("update {{this}} set a = 1", True),
        ("create or replace temp table lookup as select 1", True),
        ("create schema if not exists gold", True),
        ("set threads = 2", True),
        ("grant update on {{ this }} to reader", True),
        ("insert into audit.runs select '{{ this }}'", False),
        ("INSERT  INTO {{ source('a', 'b') }} values (1)", False),
        ("update runs set done = true", False),
        ("create table if not exists audit (n int)", False),
        ("delete from {{ ref('other') }}", False),
        ("copy {{ this }} to 'out.parquet'", False),
        ("merge into ledger using {{ this }} on true", False),
        ("drop table if exists old", False),
    ],
)
def test_a_hook_that_writes_elsewhere_is_refused(sql: str, fine: bool) -> None:
    config = {"pre-hook": [], "post-hook": [{"sql": sql, "transaction": True}]}
    if fine:
        check_hooks(WHERE, config)
        return
    with pytest.raises(DefinitionError, match="the dbt model seen has a post-hook that writes elsewhere"):
        check_hooks(WHERE, config)


def project(folder: Path, name: str, text: str) -> DbtProject:
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("{name: shop, version: '1.0', profile: shop}")
    (folder / "models/sources.yml").write_text("{sources: [{name: silver, tables: [{name: customers}]}]}")
    (folder / "models" / name).write_text(text)
    return DbtProject(folder, sources=[customers])


@silver
def customers() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1]})


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("materialized='incremental', incremental_strategy='merge', unique_key='id'", r"incremental \(merge"),
        ("post_hook='insert into audit select 1'", "post-hook that writes elsewhere"),
    ],
)
def test_it_is_told_when_the_project_is_read(config: str, says: str, tmp_path: Path) -> None:
    text = "{{ config(" + config + ") }} select id from {{ source('silver', 'customers') }}"
    with pytest.raises(DefinitionError, match=f"the dbt model seen .*{says}"):
        _ = project(tmp_path, "seen.sql", text).assets


IN_PYTHON = """
import polars as pl
from lakehouse import Lakehouse, silver
from lakehouse.integrations.dbt import DbtProject

@silver
def customers() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [2**53 + 1, None]})

assets = DbtProject("dbt", sources=[customers]).assets
lake = Lakehouse([customers, *assets], storage="data", lineage="sqlite:///lineage.db")
assert lake.materialize([customers, *assets], engine="inline").ok
assert lake.load("gold.seen").collect()["id"].to_list() == [2**53 + 1, None]
"""


@pytest.mark.slow
def test_a_model_in_python_is_made_like_any_other(tmp_path: Path) -> None:
    # In a process of its own: dbt-duckdb leaves an event loop open after it.
    text = (
        "def model(dbt, session):\n    dbt.config(materialized='table')\n    return dbt.source('silver', 'customers')\n"
    )
    project(tmp_path / "dbt", "seen.py", text)
    done = subprocess.run([sys.executable, "-c", IN_PYTHON], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
