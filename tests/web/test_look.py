"""A look after another one sees the same as a first one, and reads only what was written in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse import Daily, Freshness, Lakehouse, PartitionRange, bronze
from lakehouse.drawing.state import State, counts
from lakehouse.lineage import Lease, new_id
from lakehouse.testing import MemoryLineage
from lakehouse.testing.lineage import sample_fact
from lakehouse.web.look import Look, Looking
from lakehouse.web.pages import Pages
from tests.support.toys import lakehouse_in

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Assets of which everything was read."""
    found: list[str] = []
    for name in ("since", "facts"):
        plain: Callable[[MemoryLineage, str], Any] = getattr(MemoryLineage, name)

        def counting(self: MemoryLineage, asset: str, plain: Callable[[MemoryLineage, str], Any] = plain) -> Any:
            found.append(asset)
            return plain(self, asset)

        monkeypatch.setattr(MemoryLineage, name, counting)
    return found


def toys(folder: Path) -> Lakehouse:
    plain = lakehouse_in(folder)
    return Lakehouse(plain.graph, storage=folder / "data", lineage=MemoryLineage())


def seen(look: Look) -> Any:
    return {key: [(p.state, p.partitions.spans, p.why) for p in pieces] for key, pieces in look.pieces.items()}


def test_a_look_reads_what_came_since_and_nothing_else(tmp_path: Path, reads: list[str]) -> None:
    lake = toys(tmp_path)
    looking = Looking(lake)
    looking.look()
    lake.materialize("+gold.totals", "2013-01-01...2013-01-05", engine="inline")
    reads.clear()
    second = looking.look()
    assert reads == []
    assert counts(second.pieces["gold.totals"])[State.PUBLISHED] == 5
    assert looking.look() is second


@pytest.mark.parametrize("days", [["2013-01-01"], ["2013-01-02", "2013-01-01"], ["2013-01-01", "2013-01-01"]])
def test_looks_in_between_change_nothing_of_what_is_seen(days: list[str], tmp_path: Path, spoil: Any) -> None:
    lake = toys(tmp_path)
    looking = Looking(lake)
    for number, day in enumerate(days):
        spoil(negative=[day] if number % 2 else [], add=number)
        lake.materialize("+gold.totals", day, upstream="all", engine="inline", raise_on_failure=False)
        assert seen(looking.look()) == seen(Looking(lake).look())


def test_a_fact_that_comes_late_is_seen_in_its_place(tmp_path: Path) -> None:
    lake = toys(tmp_path)
    looking = Looking(lake)
    lake.materialize("bronze.events", "2013-01-01...2013-01-03", engine="inline")
    looking.look()
    store = lake.lineage_store
    late = sample_fact(1, asset="bronze.events", version=0, partitions=(("2013-01-01", "2013-01-09"),), inputs=())
    store.append([late])
    assert seen(looking.look()) == seen(Looking(lake).look())
    store.remove("bronze.events", [late.id])
    assert seen(looking.look()) == seen(Looking(lake).look())


def test_history_that_was_kept_meanwhile_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.planning.snapshot.ENOUGH", 1)
    lake = toys(tmp_path)
    looking = Looking(lake)
    for day in range(1, 6):
        lake.materialize("+gold.totals", f"2013-01-0{day}", engine="inline")
        assert seen(looking.look()) == seen(Looking(lake).look())


def test_the_stamp_is_that_of_facts_leases_definitions_and_the_clock(tmp_path: Path) -> None:
    lake = toys(tmp_path)
    looking = Looking(lake)
    first = looking.look(NOON).stamp
    assert looking.look(NOON + timedelta(seconds=30)).stamp == first
    assert looking.look(NOON + timedelta(hours=3)).stamp == first
    lake.materialize("bronze.events", "2013-01-01", engine="inline")
    facts = looking.look(NOON).stamp
    store = lake.lineage_store
    lease = Lease(
        run=new_id(), partitions={"bronze.events": ()}, host="h", process="1", expires=datetime.now(UTC) + timedelta(1)
    )
    store.set_leases([lease], version=store.leases()[0])
    leased = looking.look(NOON).stamp
    store.set_leases([lease.model_copy(update={"expires": lease.expires + timedelta(1)})], version=store.leases()[0])
    assert looking.look(NOON).stamp == leased, "a lease that was renewed is nothing new"
    assert len({first, facts, leased}) == 3


def test_the_stamp_changes_when_the_clock_brings_a_day_or_makes_one_old(tmp_path: Path) -> None:
    @bronze(partitions=Daily("2013-01-01", column="date"), freshness=Freshness(max_age="36h"))
    def days(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"date": partitions.keys()})

    looking = Looking(Lakehouse([days], storage=tmp_path, lineage=MemoryLineage()))
    assert looking.look(NOON).stamp == looking.look(NOON + timedelta(hours=11)).stamp
    assert looking.look(NOON).stamp != looking.look(NOON + timedelta(hours=12)).stamp

    @bronze(freshness=Freshness(max_age="36h"))
    def whole() -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1]})

    lake = Lakehouse([whole], storage=tmp_path, lineage=MemoryLineage())
    lake.materialize("*", engine="inline")
    looking, now = Looking(lake), datetime.now(UTC)
    fresh = looking.look(now).stamp
    assert looking.look(now + timedelta(hours=35)).stamp == fresh
    old = looking.look(now + timedelta(hours=37))
    assert old.stamp != fresh
    assert counts(old.pieces["bronze.whole"]) == {State.STALE: 1}


def test_other_code_has_another_stamp(tmp_path: Path) -> None:
    def one() -> pl.LazyFrame:
        return pl.LazyFrame()

    assets = [bronze(code_version=version)(one) for version in ("1", "2")]
    stamps = [
        Looking(Lakehouse([asset], storage=tmp_path, lineage=MemoryLineage())).look(NOON).stamp for asset in assets
    ]
    assert len(set(stamps)) == 2


def test_no_table_is_opened_for_overview_runs_and_plan(
    troubled: Lakehouse, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse.io.delta import DeltaLakeTable

    for name in ("version", "rows", "newest", "publications"):
        monkeypatch.setattr(DeltaLakeTable, name, lambda *_, **__: pytest.fail("a table was opened"))
    look = Looking(troubled).look()
    pages.overview(look)
    pages.runs(look)
    pages.plan(look)
    pages.asset(look, troubled.graph["silver.clean"])


def test_rows_are_as_many_as_lineage_tells(troubled: Lakehouse) -> None:
    look = Looking(troubled).look()
    for one in troubled.status():
        assert look.statuses[one.asset.key].rows == one.rows
        assert look.statuses[one.asset.key].present == one.present
