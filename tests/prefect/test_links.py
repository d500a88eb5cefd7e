"""Prefect leads to the page, and the page to Prefect, where somebody has said where they are."""

from __future__ import annotations

import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from lakehouse import Lakehouse, bronze
from lakehouse.errors import SettingsError
from lakehouse.integrations.prefect.engine import _task
from lakehouse.integrations.prefect.links import flow_run_url
from lakehouse.settings import Settings, load_settings
from lakehouse.testing import MemoryLineage

FLOW_RUN = "2f0d7f3e-0000-4000-8000-000000000001"


@bronze
def numbers() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1]})


@pytest.mark.parametrize("page", [None, "https://lake.example.com/data", "https://lake.example.com/data/"])
def test_an_asset_of_prefect_s_leads_to_its_page(page: str | None) -> None:
    lake = Lakehouse([numbers], storage="memory://", lineage=MemoryLineage(), settings=Settings(page=page))
    (batch,) = lake.plan("*").batches
    (asset,) = _task(batch, lake, set()).assets
    assert asset.properties is not None
    assert asset.properties.url == (page and "https://lake.example.com/data/assets/bronze.numbers.html")


@pytest.mark.parametrize("page", ["lake.example.com", "javascript:alert(1)", "ftp://lake", "https://ann:pw@lake/"])
def test_a_page_that_can_be_no_address_is_refused(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_PAGE", page)
    with pytest.raises(SettingsError, match="LAKEHOUSE_PAGE"):
        load_settings()


def test_a_flow_run_has_a_page_where_prefect_has_one() -> None:
    with temporary_settings({PREFECT_UI_URL: "https://prefect.example.com", PREFECT_API_URL: None}):
        assert flow_run_url(FLOW_RUN) == f"https://prefect.example.com/runs/flow-run/{FLOW_RUN}"
    with temporary_settings(restore_defaults={PREFECT_UI_URL, PREFECT_API_URL}):
        assert flow_run_url(FLOW_RUN) is None
