"""Runs that build the same wait for each other; those that build something else don't."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Daily, Lakehouse, PartitionRange, Static, bronze, gold, silver
from lakehouse.errors import LineageError
from lakehouse.lineage import Lease, LineageStore
from lakehouse.lineage.leases import TTL, Leases
from lakehouse.planning.plan import Plan
from lakehouse.testing import MemoryLineage

daily = Daily("2013-01-01", end="2014-01-01", column="date")


@bronze(partitions=daily)
def events(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"date": partitions.keys()})


@silver(partitions=daily)
def clean(events: pl.LazyFrame) -> pl.LazyFrame:
    return events


@gold
def total(clean: pl.LazyFrame) -> pl.LazyFrame:
    return clean.select(pl.len())


@bronze(partitions=Static([f"k{n}" for n in range(600)], column="key"))
def keyed(partitions: PartitionRange) -> pl.LazyFrame:
    return pl.LazyFrame({"key": partitions.keys()})


class World:
    """One store, a clock that stands still, and runs that wait by doing what is to happen meanwhile."""

    def __init__(self) -> None:
        self.lineage: LineageStore = MemoryLineage()
        self.now = datetime(2013, 1, 1, tzinfo=UTC)
        self.meanwhile: list[Callable[[], Any]] = []
        self.waits: list[float] = []
        self.told: list[str] = []
        self.lake = Lakehouse([total, keyed], storage="nowhere", lineage=self.lineage)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.meanwhile.pop(0)()

    def leases(self, run: str, *, gone: bool = False) -> Leases:
        return Leases(self.lineage, run, clock=lambda: self.now, wait=self.wait, gone=lambda _: gone)

    def plan(self, targets: str, partitions: str | None = None) -> Plan:
        return self.lake.plan(targets, partitions, refresh=True, upstream="missing")

    @property
    def holders(self) -> list[str]:
        return [lease.run for lease in self.lineage.leases()[1]]


@pytest.fixture
def world() -> World:
    return World()


def test_runs_over_different_partitions_do_not_wait(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b, world.leases("c") as c:
        a.take(world.plan("+silver.clean", "2013-01-01...2013-01-10"), world.told.append)
        b.take(world.plan("+silver.clean", "2013-01-11...2013-01-20"), world.told.append)
        c.take(world.plan("bronze.keyed", "k1"), world.told.append)
        assert world.holders == ["a", "b", "c"]
    assert world.told == []
    assert world.holders == []


def test_a_run_waits_until_the_other_one_has_ended_and_says_for_whom(world: World) -> None:
    with world.leases("a") as a:
        a.take(world.plan("bronze.events", "2013-01-01...2013-01-10"), world.told.append)

        def nothing() -> None:
            assert world.holders == ["a"], "one that waits holds nothing"

        world.meanwhile = [nothing, nothing, lambda: a.__exit__(None, None, None)]
        with world.leases("b") as b:
            b.take(world.plan("+silver.clean", "2013-01-10...2013-01-12"), world.told.append)
            assert world.holders == ["b"]
            assert {key: str(part) for key, part in b.held.items()} == {
                "bronze.events": "2013-01-10...2013-01-12",
                "silver.clean": "2013-01-10...2013-01-12",
            }
    assert world.told == [f"run a on {platform.node()}, which builds bronze.events 2013-01-10"]
    assert world.waits == sorted(world.waits)


def test_all_or_nothing_is_held_so_that_no_two_wait_for_each_other(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        b.take(world.plan("bronze.events", "2013-01-02"), world.told.append)
        # Each wants what the other holds: by asking for it, it gives up what it has.
        world.meanwhile = [lambda: b.take(world.plan("bronze.events", "2013-01-01"), world.told.append)]
        a.take(world.plan("bronze.events", "2013-01-02"), world.told.append)
        assert {c.run: c.partitions for c in world.lineage.leases()[1]} == {
            "a": {"bronze.events": (("2013-01-02", "2013-01-02"),)},
            "b": {"bronze.events": (("2013-01-01", "2013-01-01"),)},
        }


def test_unpartitioned_assets_are_held_whole(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b:
        a.take(world.plan("+gold.total"), world.told.append)
        world.meanwhile = [lambda: a.__exit__(None, None, None)]
        b.take(world.plan("+gold.total"), world.told.append)
    assert "bronze.events 2013-01-01...2013-12-31" in world.told[0]


def test_a_run_that_takes_no_heed_does_not_wait_and_is_seen_by_others(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b, world.leases("c") as c:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        b.take(world.plan("bronze.events", "2013-01-01...2013-01-02"), None)
        assert world.holders == ["a", "b"]
        world.meanwhile = [lambda: b.__exit__(None, None, None)]
        c.take(world.plan("bronze.events", "2013-01-02"), world.told.append)
    assert [told.partition(" on ")[0] for told in world.told] == ["run b"]


def test_a_claim_that_is_not_renewed_expires(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b:
        plan = world.plan("bronze.events", "2013-01-01")
        a.take(plan, world.told.append)

        def later() -> None:
            world.now += TTL - timedelta(seconds=1)

        world.meanwhile = [later, a.renew, later, later]
        b.take(plan, world.told.append)
        assert world.meanwhile == []
        assert world.holders == ["b"]
        # It turns out to be at work after all: then it is seen again, and harms nobody.
        a.renew()
        assert world.holders == ["b", "a"]


def test_a_claim_of_a_process_that_is_gone_holds_up_nobody(world: World) -> None:
    with world.leases("a") as a, world.leases("b", gone=True) as b:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        b.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        assert world.holders == ["b"]
    assert world.told == []


@pytest.mark.skipif(os.name != "posix", reason="asks the system after a process")
def test_that_a_process_is_gone_is_known_of_this_machine_alone(world: World) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with world.leases("a") as a:
            a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
            ((mine,),) = [world.lineage.leases()[1]]
        space = mine.process.rpartition("/")[0]
        theirs = mine.model_copy(
            update={"process": f"{space}/{process.pid}".lstrip("/"), "expires": datetime.now(UTC) + TTL}
        )
        elsewhere = theirs.model_copy(update={"run": "elsewhere", "host": "another machine"})
        contained = theirs.model_copy(update={"run": "contained", "process": f"1/{process.pid}"})
        _put(world.lineage, [theirs, elsewhere, contained])

        def taken() -> list[str]:
            with Leases(world.lineage, "b") as b:
                b.take(world.plan("bronze.keyed", "k1"), None)
                return world.holders

        assert taken() == ["a", "elsewhere", "contained", "b"]
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        assert taken() == ["elsewhere", "contained", "b"]


def test_of_many_intervals_the_whole_is_claimed(world: World) -> None:
    every_other = ",".join(f"k{n}" for n in range(0, 600, 2))
    with world.leases("a") as a, world.leases("b") as b:
        a.take(world.plan("bronze.keyed", every_other), world.told.append)
        (lease,) = world.lineage.leases()[1]
        assert lease.partitions == {"bronze.keyed": ()}
        world.meanwhile = [lambda: a.__exit__(None, None, None)]
        b.take(world.plan("bronze.keyed", "k1"), world.told.append)
    assert "bronze.keyed k1" in world.told[0]


def test_a_store_that_says_no_although_it_wrote_is_asked_again(world: World) -> None:
    real = world.lineage.set_leases
    said: list[bool] = []

    def lossy(leases: Any, *, version: int) -> bool:
        said.append(real(leases, version=version))
        return False if len(said) == 1 else said[-1]

    world.lineage.set_leases = lossy  # type: ignore[method-assign]
    world.meanwhile = [lambda: None]
    with world.leases("a") as a:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        assert world.holders == ["a"]
    assert world.holders == []


def test_a_store_that_can_not_be_reached_at_the_end_is_a_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(leases: Any, *, version: int) -> bool:
        raise LineageError("the store is away")

    with world.leases("a") as a:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        world.lineage.set_leases = fails  # type: ignore[method-assign]
    assert "stays leased for 90 s: the store is away" in caplog.text


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8)), min_size=1, max_size=6))
def test_what_is_held_by_those_that_wait_never_overlaps(wanted: list[tuple[int, int]]) -> None:
    world = World()
    held: dict[str, tuple[int, int]] = {}
    with ExitStack() as runs:
        for number, (first, length) in enumerate(wanted):
            days = list(daily.select("2013-01-01...2013-02-28"))[first : first + length]
            clashes = any(first < f + n and f < first + length for f, n in held.values())
            leases = runs.enter_context(world.leases(f"run-{number}"))
            world.told, world.meanwhile = [], [give_up]
            with pytest.raises(KeyboardInterrupt) if clashes else nullcontext():
                leases.take(world.plan("bronze.events", f"{days[0]}...{days[-1]}"), world.told.append)
                held[f"run-{number}"] = (first, length)
            assert bool(world.told) == clashes
        assert sorted(world.holders) == sorted(held)


def give_up() -> None:
    raise KeyboardInterrupt


def test_nothing_is_claimed_where_nothing_is_to_do(tmp_path: Path) -> None:
    lake = Lakehouse([clean], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")
    lake.refresh(clean, "2013-01-01", engine="inline")
    version, leases = lake.lineage_store.leases()
    assert leases == []
    before = (tmp_path / "lineage.db").read_bytes()
    lake.backfill(clean, "2013-01-01", engine="inline")
    lake.refresh(clean, "2013-01-01", engine="inline")
    assert lake.lineage_store.leases() == (version, [])
    assert (tmp_path / "lineage.db").read_bytes() == before


def _put(lineage: LineageStore, leases: list[Lease]) -> None:
    version, _ = lineage.leases()
    assert lineage.set_leases(leases, version=version)
