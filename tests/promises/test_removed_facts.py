"""A fact that was removed by hand: nothing breaks by it, nothing is claimed, and it is told what to do."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lakehouse import Daily, Lakehouse, PartitionRange, bronze, silver
from lakehouse.display.page import Page
from lakehouse.display.statuses import flat_states
from lakehouse.lineage import Status
from lakehouse.maintenance import Maintenance

daily = Daily("2024-01-01", end="2024-01-05", column="day")
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]


@bronze(partitions=daily, code_version="1")
def raw(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"day": list(partitions.keys())})


@silver(partitions=daily, code_version="1")
def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw


@silver(code_version="1")
def whole(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    lake = Lakehouse([raw, clean, whole], storage=f"{tmp_path}/data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    for day in DAYS:
        lake.materialize([raw, clean], day, engine="inline")
    lake.materialize(whole, engine="inline")
    return lake


def remove(lake: Lakehouse, asset: str, *numbers: int) -> None:
    facts = sorted(lake.lineage_store.facts(asset), key=lambda fact: fact.version or 0)
    lake.lineage_store.remove(asset, [facts[number].id for number in numbers])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_of_several_is_told_with_what_to_do(lake: Lakehouse, number: int) -> None:
    remove(lake, "bronze.raw", number)
    (status,) = lake.status(raw)
    assert status.unrecorded is not None
    assert list(status.unrecorded) == [DAYS[number]]
    assert DAYS[number] not in status.present
    Maintenance(lake).rebuild("bronze.raw").apply()
    (status,) = lake.status(raw)
    assert status.unrecorded is None
    assert list(status.present) == DAYS
    assert not lake.plan([raw, clean], DAYS, refresh=True)


def test_what_the_end_of_the_log_says_needs_nobody(lake: Lakehouse) -> None:
    for asset, numbers in {"bronze.raw": (3,), "silver.clean": (0, 1, 2, 3), "silver.whole": (0,)}.items():
        remove(lake, asset, *numbers)
    assert [(list(one.present) != [], one.unrecorded) for one in lake.status()] == [(True, None)] * 3
    assert not lake.plan("*", DAYS, refresh=True)
    for made in (raw, clean, whole):
        lake.lineage(made)


def test_it_may_as_well_be_made_anew(lake: Lakehouse) -> None:
    remove(lake, "bronze.raw", 1)
    assert [str(step.partitions) for step in lake.plan(raw, DAYS, refresh=True).steps] == [DAYS[1]]
    lake.refresh([raw, clean], DAYS, engine="inline")
    assert [one.unrecorded for one in lake.status()] == [None] * 3
    assert lake.load(clean).collect().height == 4


def test_what_was_forgotten_is_on_record(lake: Lakehouse) -> None:
    Maintenance(lake).forget(raw, DAYS[1]).apply()
    assert lake.status(raw)[0].unrecorded is None
    assert Status.FORGOTTEN in {fact.status for fact in lake.lineage_store.facts("bronze.raw")}


def test_the_screen_says_it(lake: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    remove(lake, "bronze.raw", 1)
    page = Page(sys.stdout)
    page.print(flat_states(lake.status()))
    said = " ".join(capsys.readouterr().out.split())
    assert "no record tells of them" in said
    assert "lakehouse state rebuild bronze.raw" in said
