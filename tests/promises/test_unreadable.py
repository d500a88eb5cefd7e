"""One table or source that can't be read hides no other: in status, plan, run and docs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lakehouse import Lakehouse, MaterializationFailed, bronze, silver, source
from lakehouse.errors import StepError, StorageError
from lakehouse.lineage.observations import Observed


@bronze
def orders() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1, 2, 3]})


@bronze
def payments() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1, 2, 3]})


@silver
def paid(orders: pl.LazyFrame, payments: pl.LazyFrame) -> pl.LazyFrame:
    return orders.join(payments, on="n")


@silver
def ordered(orders: pl.LazyFrame) -> pl.LazyFrame:
    return orders


@source
def exchange() -> str:
    raise OSError("no route to it")


@bronze
def rates(exchange: Observed) -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def lake(folder: Path) -> Lakehouse:
    """A lakehouse in which payments were damaged after all was built."""
    lake = Lakehouse([paid, ordered], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")
    lake.materialize("*", engine="inline")
    damage(folder)
    return lake


def damage(folder: Path) -> None:
    for log in (folder / "data/bronze/payments/_delta_log").glob("*.json"):
        log.write_bytes(b"\x00 no JSON at all")


def test_status_shows_the_others_and_names_the_broken_one(lake: Lakehouse) -> None:
    found = {one.asset.key: one for one in lake.status()}
    assert {key: one.rows for key, one in found.items()} == {
        "bronze.orders": 3,
        "bronze.payments": None,
        "silver.paid": 3,
        "silver.ordered": 3,
    }
    (fault,) = [one.fault for one in found.values() if one.fault]
    assert "bronze/payments" in str(fault)
    assert "is damaged" in str(fault)


def test_a_run_builds_what_does_not_depend_on_it_and_is_not_ok(lake: Lakehouse, folder: Path) -> None:
    plan = lake.plan("*")
    assert [step.asset.key for step in plan.steps] == ["bronze.orders", "silver.ordered"]
    assert [one.asset.key for one in plan.faults] == ["bronze.payments", "silver.paid"]
    with pytest.raises(MaterializationFailed, match=r"bronze\.payments, silver\.paid left as they are") as caught:
        lake.materialize("*", engine="inline")
    run = caught.value.run
    assert not run.ok
    assert "bronze/payments is damaged" in str(caught.value)
    assert {one.asset.key: one.rows for one in run.summaries()} == {"bronze.orders": 3, "silver.ordered": 3}
    # Nothing to do is no success either, as long as something can't be read.
    assert not lake.refresh("*", engine="inline", raise_on_failure=False).ok


@pytest.mark.parametrize("targets", ["bronze.payments", "silver.paid", "bronze.payments silver.paid"])
def test_where_nothing_else_was_asked_for_it_is_the_error_itself(lake: Lakehouse, targets: str) -> None:
    for ask in (lake.plan, lambda what: lake.refresh(what, engine="inline")):
        with pytest.raises(StorageError, match="bronze/payments is damaged"):
            ask(targets)


def test_its_own_lineage_is_the_error_and_that_of_others_is_told(lake: Lakehouse) -> None:
    with pytest.raises(StorageError, match="is damaged"):
        lake.lineage("bronze.payments")
    assert [link.asset for link in lake.lineage("silver.ordered").sources[0].links] == ["bronze.orders"]


def test_a_lineage_that_is_ahead_of_one_table_stops_no_other(tmp_path: Path) -> None:
    lake = Lakehouse([paid, ordered], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    for _ in range(2):
        lake.materialize("*", engine="inline")
    (tmp_path / "data/bronze/payments/_delta_log/00000000000000000001.json").unlink()
    assert [one.asset.key for one in lake.plan("*").faults] == ["bronze.payments", "silver.paid"]
    assert [one.asset.key for one in lake.status() if one.fault] == ["bronze.payments"]


def test_a_source_that_can_not_be_looked_at_stops_no_other(tmp_path: Path) -> None:
    lake = Lakehouse([rates, ordered], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    with pytest.raises(MaterializationFailed, match=r"no route to it") as caught:
        lake.refresh("*", engine="inline")
    assert {one.asset.key for one in caught.value.run.summaries()} == {"bronze.orders", "silver.ordered"}
    assert [one.asset.key for one in lake.status() if one.fault] == ["source.exchange"]
    with pytest.raises(StepError, match="no route to it"):
        lake.observe()


def test_the_page_tells_of_all_as_lineage_has_them(lake: Lakehouse, folder: Path) -> None:
    from lakehouse.web.export import write_catalog
    from lakehouse.web.pages import Shown

    index, *_ = write_catalog(lake, folder / "docs", Shown())
    assert "3<i> rows</i>" in index.read_text()
    assert {f"{asset.key}.html" for asset in lake.graph} == {file.name for file in (folder / "docs/assets").iterdir()}
