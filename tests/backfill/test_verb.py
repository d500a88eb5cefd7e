"""A backfill: chunk by chunk, side by side, and again until all is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse import Daily, Lakehouse, PartitionRange, backfill, bronze, gold, silver
from lakehouse.errors import MaterializationFailed, PartitionError, PlanError
from lakehouse.execution.results import StepResult
from lakehouse.planning.steps import Step

daily = Daily("2013-01-01", end="2013-01-07", column="date")
DAYS = "2013-01-01...2013-01-06"
PATIENCE = 60  # seconds until a test that hangs has failed

meanwhile: dict[str, Callable[[list[str]], Any]] = {}
"""What the functions do besides, by asset."""


@pytest.fixture(autouse=True)
def nothing_besides() -> Iterator[None]:
    yield
    meanwhile.clear()


@bronze(partitions=daily)
def events(partitions: PartitionRange) -> pl.LazyFrame:
    meanwhile.get("events", list)(partitions.keys())
    return pl.LazyFrame({"date": partitions.keys()})


@silver(partitions=daily)
def clean(events: pl.LazyFrame, partitions: PartitionRange) -> pl.LazyFrame:
    meanwhile.get("clean", list)(partitions.keys())
    return events


@gold
def total(clean: pl.LazyFrame) -> pl.LazyFrame:
    return clean.select(pl.len())


class Told:
    """A watcher that keeps what it is told, and does something after so many steps."""

    def __init__(self, then: Callable[[], None] = lambda: None, *, after: int = 0) -> None:
        self.then = then
        self.after = after
        self.waited: list[str] = []
        self.ended: list[str] = []

    def waiting(self, what: str) -> None:
        self.waited.append(what)

    def started(self, step: Step) -> None:
        pass

    def finished(self, step: Step, result: StepResult) -> None:
        self.ended.append(step.id)
        if len(self.ended) == self.after:
            self.then()


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse([total], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")


def test_each_chunk_goes_through_its_layers_before_the_next_one_begins(lake: Lakehouse) -> None:
    told = Told()
    run = lake.backfill("*", DAYS, chunk=3, engine="inline", watcher=told)
    assert told.ended == [
        "bronze.events/2013-01-01...2013-01-03",
        "silver.clean/2013-01-01...2013-01-03",
        "bronze.events/2013-01-04...2013-01-06",
        "silver.clean/2013-01-04...2013-01-06",
        "gold.total",
    ]
    assert run.frame("gold.total").collect().item() == 6


def test_it_goes_on_where_it_was_interrupted(lake: Lakehouse) -> None:
    with pytest.raises(KeyboardInterrupt):
        lake.backfill("*", DAYS, chunk=1, engine="inline", watcher=Told(interrupt, after=5))
    assert lake.lineage_store.leases()[1] == []
    run = lake.backfill("*", DAYS, chunk=1, engine="inline")
    assert str(run.published("bronze.events")) == "2013-01-04...2013-01-06"
    assert str(run.published("silver.clean")) == "2013-01-03...2013-01-06"
    assert not lake.backfill("*", DAYS, chunk=1, engine="inline").plan


def test_a_failed_chunk_does_not_stop_the_others_and_is_all_that_is_done_again(lake: Lakehouse) -> None:
    def fail(keys: list[str]) -> None:
        if "2013-01-03" in keys:
            raise ValueError("the source is down")

    meanwhile["events"] = fail
    with pytest.raises(MaterializationFailed) as caught:
        lake.backfill("+silver.clean", DAYS, chunk=2, engine="inline")
    assert str(caught.value.run.published("silver.clean")) == "2013-01-01...2013-01-02, 2013-01-04...2013-01-06"
    assert lake.lineage_store.leases()[1] == []
    meanwhile.clear()
    again = lake.backfill("+silver.clean", DAYS, chunk=2, engine="inline")
    assert [step.id for step in again.plan.steps] == [
        "bronze.events/2013-01-03",
        "silver.clean/2013-01-03",
    ]


@pytest.mark.parametrize("verb", ["backfill", "refresh"])
def test_it_waits_for_another_run_over_the_same_and_builds_what_that_one_leaves(lake: Lakehouse, verb: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def block(keys: list[str]) -> None:
        if keys == ["2013-01-04"]:
            begun.set()
            assert go_on.wait(PATIENCE)

    class Impatient(Told):
        def waiting(self, what: str) -> None:
            super().waiting(what)
            go_on.set()

    meanwhile["events"] = block
    first = threading.Thread(
        target=lake.backfill, args=("+silver.clean", "2013-01-01...2013-01-04"), kwargs={"chunk": 1, "engine": "inline"}
    )
    first.start()
    try:
        assert begun.wait(PATIENCE)
        told = Impatient()
        run = getattr(lake, verb)("+silver.clean", "2013-01-03...2013-01-06", chunk=1, engine="inline", watcher=told)
    finally:
        go_on.set()
        first.join()
    assert len(told.waited) == 1
    assert "which builds bronze.events 2013-01-04, silver.clean 2013-01-04" in told.waited[0]
    assert str(run.published("bronze.events")) == "2013-01-05...2013-01-06"
    assert str(run.published("silver.clean")) == "2013-01-05...2013-01-06"


def test_to_materialize_waits_for_nobody_and_doubles_nothing(lake: Lakehouse) -> None:
    def another(keys: list[str]) -> None:
        meanwhile.clear()
        lake.materialize("bronze.events", "2013-01-06", engine="inline")  # if it waited, it would wait for ever

    meanwhile["clean"] = another
    assert lake.backfill("+silver.clean", DAYS, chunk=2, engine="inline").ok
    assert lake.load("bronze.events").collect().height == lake.load("silver.clean").collect().height == 6
    assert len(lake.lineage_store.facts("bronze.events")) == 4


def test_a_backfill_without_partitions_is_refused(lake: Lakehouse) -> None:
    with pytest.raises(PartitionError, match="a backfill needs partitions"):
        lake.backfill("*", None)  # type: ignore[arg-type]
    with pytest.raises(PartitionError, match="not partitioned"):
        lake.backfill("gold.total", DAYS)


def test_no_chunk_at_a_time_is_refused(lake: Lakehouse) -> None:
    with pytest.raises(PlanError, match="parallel=0 can't be"):
        lake.backfill("*", DAYS, parallel=0)
    with pytest.raises(PlanError, match="chunk=0 can't be"):
        lake.backfill("*", DAYS, chunk=0, engine="inline")


def test_the_verb_works_on_the_lakehouse_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(backfill(clean, DAYS, chunk=4, engine="inline").published(clean)) == DAYS
    assert (tmp_path / ".lakehouse" / "lineage.db").exists()


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
class TestSideBySide:
    """With Prefect's threads."""

    def test_so_many_chunks_are_under_way_at_a_time(self, lake: Lakehouse) -> None:
        met = threading.Barrier(3)
        meanwhile["events"] = lambda _: met.wait(PATIENCE)
        run = lake.backfill("bronze.events", DAYS, chunk=2, parallel=3, engine="prefect")
        assert str(run.published("bronze.events")) == DAYS

    def test_silver_does_not_wait_for_the_last_of_bronze(self, lake: Lakehouse) -> None:
        first_is_clean = threading.Event()

        def last_waits(keys: list[str]) -> None:
            if "2013-01-06" in keys:
                assert first_is_clean.wait(PATIENCE)

        meanwhile["events"] = last_waits
        meanwhile["clean"] = lambda _: first_is_clean.set()
        assert lake.backfill("+silver.clean", DAYS, chunk=3, parallel=2, engine="prefect").ok

    def test_what_is_under_way_is_awaited_and_told_when_it_is_interrupted(self, lake: Lakehouse) -> None:
        both, go_on = threading.Barrier(2), threading.Event()

        def block(keys: list[str]) -> None:
            if keys != ["2013-01-01"]:
                both.wait(PATIENCE)
                assert go_on.wait(PATIENCE)

        class Interrupting(Told):
            def started(self, step: Step) -> None:
                if step.id == "bronze.events/2013-01-03":
                    go_on.set()
                    interrupt()

        meanwhile["events"] = block
        told = Interrupting()
        with pytest.raises(KeyboardInterrupt):
            lake.backfill("bronze.events", DAYS, chunk=1, parallel=2, engine="prefect", watcher=told)
        assert sorted(told.ended) == [f"bronze.events/2013-01-0{n}" for n in (1, 2, 3)]
        assert lake.lineage_store.leases()[1] == []
        meanwhile.clear()
        run = lake.backfill("bronze.events", DAYS, chunk=1, engine="inline")
        assert str(run.published("bronze.events")) == "2013-01-04...2013-01-06"
