"""Runs that build the same wait for each other; those that build something else don't."""

from __future__ import annotations

import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Daily, Lakehouse, PartitionRange, Static, bronze, gold, silver
from lakehouse.errors import LakehouseError, LineageError
from lakehouse.lineage import Lease, LineageStore
from lakehouse.lineage.leases import TTL, Leases, clear, standing
from lakehouse.lineage.open import open_lineage
from lakehouse.planning.plan import Plan
from lakehouse.testing import MemoryLineage
from lakehouse.testing.lineage import sample_lease

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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads what Linux says of processes")
def test_a_process_that_ended_and_that_its_parent_has_not_asked_for_is_gone(world: World) -> None:
    """In a container whose first process reaps nobody, killed ones are listed for ever."""
    with world.leases("a") as a:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        ((mine,),) = [world.lineage.leases()[1]]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        theirs = f"{mine.process.rpartition('/')[0]}/{process.pid}".lstrip("/")
        _put(world.lineage, [mine.model_copy(update={"process": theirs, "expires": datetime.now(UTC) + TTL})])
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with Leases(world.lineage, "b") as b:
            b.take(world.plan("bronze.events", "2013-01-01"), None)
            assert world.holders == ["b"]


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

    def lossy(leases: Any, *, version: int, waiting: bool = False) -> bool:
        said.append(real(leases, version=version, waiting=waiting))
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
    def fails(leases: Any, *, version: int, waiting: bool = False) -> bool:
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


def _put(lineage: LineageStore, leases: list[Lease], *, waiting: bool = False) -> None:
    version, _ = lineage.leases(waiting=waiting)
    assert lineage.set_leases(leases, version=version, waiting=waiting)


# ── who waits stands in line ──────────────────────────────────────────────────────────────


def _line(world: World) -> list[str]:
    return [lease.run for lease in world.lineage.leases(waiting=True)[1]]


def test_a_wide_run_gets_its_turn_among_narrow_ones(world: World) -> None:
    """Single days come and go without a gap; whoever came after the year waits for it."""
    with ExitStack() as runs:
        days = [runs.enter_context(world.leases(f"day-{n}")) for n in range(4)]
        days[0].take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        days[1].take(world.plan("bronze.events", "2013-01-02"), world.told.append)
        wide = runs.enter_context(world.leases("wide"))
        late: list[str] = []

        def another_comes() -> None:
            assert _line(world) == ["wide"]
            # Nobody holds this day; the year, which came before, waits for it.
            world.meanwhile.insert(0, give_up)
            with pytest.raises(KeyboardInterrupt):
                days[2].take(world.plan("bronze.events", "2013-01-03"), late.append)
            assert world.holders == ["day-0", "day-1"]
            days[0].__exit__(None, None, None)

        world.meanwhile = [another_comes, lambda: days[1].__exit__(None, None, None)]
        wide.take(world.plan("bronze.events", "2013-01-01...2013-01-31"), world.told.append)
        assert world.holders == ["wide"]
        assert _line(world) == []
        assert late == [
            f"run wide on {platform.node()}, which waits to build bronze.events 2013-01-03",
        ]
        # What the year doesn't build was never held up.
        days[3].take(world.plan("bronze.events", "2013-02-01"), world.told.append)


def test_a_run_that_holds_what_another_waits_for_goes_behind_it(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)

        def more() -> None:
            # a wants more than it has: b came before, so a gives up what it holds, and gets all of it after b.
            world.meanwhile.insert(0, b_is_served)
            a.take(world.plan("bronze.events", "2013-01-01...2013-01-03"), world.told.append)

        def b_is_served() -> None:
            assert world.holders == []
            b.take(world.plan("bronze.events", "2013-01-01...2013-01-02"), world.told.append)
            assert world.holders == ["b"]
            b.__exit__(None, None, None)

        world.meanwhile = [more]
        with pytest.raises(IndexError):  # that is all that this world has for b to wait for
            b.take(world.plan("bronze.events", "2013-01-01...2013-01-02"), world.told.append)
        assert world.holders == ["a"]
    assert _line(world) == []


def test_who_gives_up_or_is_lost_stands_in_nobodys_way(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b, world.leases("c") as c, world.leases("d", gone=True) as d:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        world.meanwhile = [give_up]
        with pytest.raises(KeyboardInterrupt):
            b.take(world.plan("bronze.events", "2013-01-01...2013-01-05"), world.told.append)
        assert _line(world) == []
        _put(
            world.lineage,
            [sample_lease("lost", partitions={"bronze.events": ()}, expires=world.now + TTL)],
            waiting=True,
        )
        d.take(world.plan("bronze.events", "2013-01-03"), world.told.append)
        _put(
            world.lineage,
            [sample_lease("lost", partitions={"bronze.events": ()}, expires=world.now + TTL)],
            waiting=True,
        )

        def later() -> None:
            world.now += TTL

        world.meanwhile = [later]
        c.take(world.plan("bronze.events", "2013-01-04"), world.told.append)


def test_who_waits_for_long_is_seen_to_be_there(world: World) -> None:
    with world.leases("a") as a, world.leases("b") as b:
        a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)

        def later() -> None:
            assert _line(world) == ["b"]
            world.now += TTL / 2
            a.renew()

        world.meanwhile = [later, later, later, lambda: a.__exit__(None, None, None)]
        b.take(world.plan("bronze.events", "2013-01-01...2013-01-02"), world.told.append)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 7)), min_size=2, max_size=7), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_everybody_gets_a_turn_and_nobody_overlaps(wanted: list[tuple[int, int]], seed: int) -> None:
    """Runs that wait are threads that take turns; each is served, those that clash in the order in which they came."""
    world, chance = World(), random.Random(seed)
    days = list(daily.select("2013-01-01...2013-01-31"))
    came: list[int] = []
    served: list[int] = []
    held: set[int] = set()
    lock = threading.RLock()

    def overlap(one: int, other: int) -> bool:
        (first, length), (begin, size) = wanted[one], wanted[other]
        return first < begin + size and begin < first + length

    def work(number: int) -> None:
        plan = plans[number]

        def waits(_: float) -> None:
            if number not in came:
                came.append(number)
            lock.release()
            time.sleep(0.0005)
            lock.acquire()

        with lock:
            leases = Leases(world.lineage, f"run-{number}", clock=lambda: world.now, wait=waits, gone=lambda _: False)
            leases.take(plan, lambda _: None)
            assert not any(overlap(number, other) for other in held)
            served.append(number)
            held.add(number)
        time.sleep(chance.uniform(0, 0.003))
        with lock:
            held.discard(number)
            leases.__exit__(None, None, None)

    plans = [world.plan("bronze.events", f"{days[first]}...{days[first + length - 1]}") for first, length in wanted]
    with ThreadPoolExecutor(len(wanted)) as pool:
        for done in [pool.submit(work, number) for number in range(len(wanted))]:
            done.result(timeout=60)
    assert sorted(served) == list(range(len(wanted)))
    for place, one in enumerate(came):
        for other in came[place + 1 :]:
            assert not overlap(one, other) or served.index(one) < served.index(other)
    assert world.holders == _line(world) == []


# ── clocks ────────────────────────────────────────────────────────────────────────────────


def test_a_lease_far_in_the_future_counts_for_no_longer_than_one_may(world: World) -> None:
    ahead = sample_lease("ahead", partitions={"bronze.events": ()}, expires=world.now + timedelta(days=365))
    _put(world.lineage, [ahead])
    passed = [0.0]

    def wait(seconds: float) -> None:
        passed[0] += seconds

    with Leases(
        world.lineage, "b", clock=lambda: world.now, wait=wait, gone=lambda _: False, elapsed=lambda: passed[0]
    ) as b:
        b.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
        assert TTL.total_seconds() <= passed[0] < TTL.total_seconds() + 5
        assert world.holders == ["b"]
    assert len(world.told) == 1


def test_a_run_whose_clock_is_ahead_is_respected_while_it_renews(world: World) -> None:
    passed = [0.0]
    a = Leases(world.lineage, "a", clock=lambda: world.now + timedelta(days=365), gone=lambda _: False)
    a.take(world.plan("bronze.events", "2013-01-01"), world.told.append)

    def wait(seconds: float) -> None:
        passed[0] += seconds
        world.now += timedelta(seconds=seconds)
        if passed[0] < 300:
            a.renew()
        elif a.held:
            a.__exit__(None, None, None)

    b = Leases(world.lineage, "b", clock=lambda: world.now, wait=wait, gone=lambda _: False, elapsed=lambda: passed[0])
    b.take(world.plan("bronze.events", "2013-01-01"), world.told.append)
    assert passed[0] >= 300
    b.__exit__(None, None, None)


# ── seen, and taken away ──────────────────────────────────────────────────────────────────


def test_leases_are_seen_and_taken_away(world: World) -> None:
    now = datetime.now(UTC)
    _put(
        world.lineage,
        [sample_lease("01aa-1", host="elsewhere", expires=now + TTL), sample_lease("01ab-2", expires=now)],
    )
    _put(world.lineage, [sample_lease("01ac-3", host="elsewhere", expires=now + TTL)], waiting=True)
    assert [(one.lease.run, one.waits, one.over) for one in standing(world.lineage)] == [
        ("01aa-1", False, False),
        ("01ab-2", False, True),
        ("01ac-3", True, False),
    ]
    for unclear, says in (("01a", "3 runs that"), ("02", "no run that"), ("", "no run that")):
        with pytest.raises(LakehouseError, match=says):
            clear(world.lineage, unclear)
    assert [one.lease.run for one in clear(world.lineage, "01ac")] == ["01ac-3"]
    assert [one.lease.run for one in clear(world.lineage, "01aa-1")] == ["01aa-1"]
    assert [one.lease.run for one in standing(world.lineage)] == []


# ── told to end ───────────────────────────────────────────────────────────────────────────

TERMINATED = """
import signal, sys, time
import polars as pl
from lakehouse import Context, Daily, Lakehouse, bronze

@bronze(partitions=Daily("2013-01-01", end="2013-01-03", column="date"))
def slow(context: Context) -> pl.LazyFrame:
    print("at work", flush=True)
    time.sleep(60)
    return pl.LazyFrame({"date": list(context.partitions.keys())})

lake = Lakehouse([slow], storage="data", lineage="sqlite:///lineage.db")
lake.refresh(slow, engine="inline")
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_process_that_is_told_to_end_gives_back_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "told_to_end.py").write_text(TERMINATED)
    with subprocess.Popen(
        [sys.executable, "told_to_end.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        lineage = open_lineage(f"sqlite:///{tmp_path}/lineage.db")
        assert len(lineage.leases()[1]) == 1
        process.terminate()
        process.wait(30)
    assert process.returncode == 128 + signal.SIGTERM
    assert lineage.leases()[1] == []


def test_a_handler_of_ones_own_stays(world: World) -> None:
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        before = signal.getsignal(signal.SIGTERM)
        with world.leases("a"):
            assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, mine)
    with world.leases("a"):
        assert signal.getsignal(signal.SIGTERM) is not mine or mine is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is mine
