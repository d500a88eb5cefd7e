"""What dbt does is in the log; what it doesn't do is said once."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse import Lakehouse
from lakehouse.integrations.dbt import DbtProject, dbt_assets
from tests.dbt.conftest import lake_in
from tests.dbt.toys import ALL, small, write

DAY = "2013-01-03"


def test_models_and_tests_are_told_with_seconds(
    lake: Lakehouse, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(negative=[DAY])
    caplog.set_level(logging.INFO, "lakehouse.dbt")
    lake.materialize("gold.every_order", DAY, engine="inline", raise_on_failure=False)
    told = [re.sub(r"\d+\.\d\d s$", "x s", m) for m in caplog.messages]
    assert told[:2] == ["model every_order: started", "model every_order: ok in x s"]
    assert set(told[2:]) == {
        "test not_negative: 1 failure in x s",
        "test not_large: pass in x s",
        "test rarely_77: pass in x s",
        "test known_status: pass in x s",
    }
    assert {r.levelname for r in caplog.records} == {"INFO"}


def test_a_warning_of_dbt_is_told_once(
    here: Path, tmp_path: Path, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    project = small()["dbt_project.yml"] + "  nowhere:\n    +materialized: table\n"
    files = small() | {"dbt_project.yml": project}
    lake = lake_in(tmp_path, dbt_assets(write(here / "warned", files), sources=ALL))
    lake.materialize("gold.one", DAY, engine="inline")
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("dbt: Configuration paths exist")
    assert warnings[0].endswith("- models.nowhere")
    assert "\n" not in warnings[0]


def test_tests_of_sources_alone_are_named(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    sources = """
sources:
  - name: silver
    tables:
      - {name: orders, columns: [{name: amount, data_tests: [not_null: {name: orders_have_amounts}]}]}
"""
    project = DbtProject(write(here / "sourced", small() | {"models/sources.yml": sources}), sources=ALL)
    assert [a.key for a in project.assets] == [a.key for a in project.assets] == ["gold.one"]
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "are about sources only and are not run: orders_have_amounts; give the assets checks" in record.getMessage()


@pytest.mark.usefixtures("shop")
def test_other_projects_are_not_warned_of(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert DbtProject(here / "shop", sources=ALL).assets
    assert not caplog.records


def test_scratch_of_killed_runs_is_removed_after_a_day(
    lake: Lakehouse, shop: DbtProject, spoil: Callable[..., None]
) -> None:
    old, young = (shop._work / f"scratch-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "lakehouse.duckdb").touch()
    os.utime(old, (0, time.time() - 25 * 3600))
    try:
        lake.materialize("gold.sums", DAY, engine="inline")
        assert not old.exists()
        assert young.exists()
    finally:
        (young / "lakehouse.duckdb").unlink()
        young.rmdir()
