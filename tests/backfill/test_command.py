"""``lakehouse backfill``: progress, what failed, and the one command that does it again."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace

import pytest

from lakehouse import Lakehouse
from lakehouse.display.page import Page
from lakehouse.display.progress import Estimate, LiveProgress, PlainProgress
from lakehouse.execution.results import StepResult
from lakehouse.planning.plan import Plan
from lakehouse.planning.steps import Step
from lakehouse.testing import MemoryLineage
from tests.backfill.test_verb import total
from tests.support.command_line import Toys

DAYS = "2013-01-01...2013-01-20"


def mending(err: str) -> list[list[str]]:
    """The commands that are offered, as words."""
    return [shlex.split(line)[1:] for line in err.splitlines() if line.startswith("  lakehouse ")]


def test_chunks_are_built_and_again_there_is_nothing_to_do(toys: Toys) -> None:
    words = ["backfill", "+gold.totals", "--partitions", DAYS, "--chunk", "5", "--parallel", "2"]
    code, out, err = toys(*words)
    assert code == 0
    assert "building 60 partitions of 3 assets in 12 steps" in err
    assert "[ 3/12] gold.totals 2013-01-01...2013-01-05: published 5 rows" in err
    assert DAYS in out
    code, out, err = toys(*words)
    assert (code, err) == (0, "")
    assert out.startswith("up to date")


def test_failed_chunks_are_summed_up_and_one_command_does_them_again(toys: Toys) -> None:
    toys.world(raises=["2013-01-02", "2013-01-12"])
    code, out, err = toys("backfill", "+gold.totals", "-p", DAYS, "--chunk", "5", "--parallel", "2")
    assert code == 1
    failed = "2013-01-02, 2013-01-12"
    told = err.partition("20 rows")[2] or err
    assert f"failed   bronze.events {failed}: the function raised ValueError: the source is down" in told
    assert f"skipped  silver.clean, gold.totals {failed}: what it is made from was not published" in told
    assert told.count("failed   ") == told.count("skipped  ") == 1
    assert "2013-01-03...2013-01-11" in out

    toys.world()
    ((*again,),) = mending(err)
    ranges = "2013-01-02,2013-01-12"
    assert again == ["backfill", "+gold.totals", "--partitions", ranges, "--chunk", "5", "--parallel", "2"]
    code, out, err = toys(*again)
    assert code == 0
    assert "in 6 steps" in err
    assert toys("backfill", "+gold.totals", "-p", DAYS).out.startswith("up to date")


def test_different_errors_are_told_one_by_one(toys: Toys) -> None:
    toys.world(raises=["2013-01-02"], negative=["2013-01-12"])
    _, _, err = toys("backfill", "+gold.totals", "-p", DAYS, "--chunk", "5")
    assert "failed     bronze.events 2013-01-02: the function raised" in err
    assert "held back  silver.clean 2013-01-12 (2 rows): positive" in err
    assert "skipped    silver.clean 2013-01-02: its input bronze.events" in err
    assert "skipped    gold.totals 2013-01-02, 2013-01-12: what it is made from was not published" in err
    assert mending(err)[0][:4] == ["backfill", "+gold.totals", "--partitions", "2013-01-02,2013-01-12"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backfill", "gold.totals"], "a backfill needs partitions"),
        (["backfill"], "name the assets to build"),
        (["backfill", "gold.totals", "-p", DAYS, "--parallel", "0"], "--parallel"),
        (["backfill", "gold.totals", "-p", "2013-01-05...2013-01-01"], "2013-01-05"),
        (["backfill", "gold.totals", "-p", DAYS, "--engine", "prefect", "--runner", "ray://x:1"], "dask://host:port"),
    ],
)
def test_what_can_not_be_is_refused(toys: Toys, words: list[str], told: str) -> None:
    code, out, err = toys(*words)
    assert (code, out) == (2, "")
    assert told in err
    assert toys.written in ([], ["lineage.db"])


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def plan() -> Plan:
    """Six chunks of two assets, and then the whole."""
    lake = Lakehouse([total], storage="nowhere", lineage=MemoryLineage())
    return lake.plan("*", "2013-01-01...2013-01-06", refresh=True, chunk=1)


def done(step: Step, seconds: float) -> StepResult:
    """What a step comes to that published all in so many seconds."""
    nothing = step.partitions - step.partitions
    return replace(StepResult.of_outlook(step, step.partitions, nothing), seconds=seconds)


def test_the_time_that_is_left_follows_from_what_each_layer_took(plan: Plan) -> None:
    clock = Clock()
    estimate = Estimate(plan, clock)
    bronze, silver = plan.of("bronze.events"), plan.of("silver.clean")
    estimate.started()
    assert estimate.left() is None
    # Two side by side: 16 s of work in 8 s.
    for step, seconds in ((bronze[0], 2.0), (silver[0], 6.0), (bronze[1], 2.0)):
        estimate.ended(step, done(step, seconds))
    clock.now += 8.0
    estimate.ended(silver[1], done(silver[1], 6.0))
    # To come: 4 of 2 s, 4 of 6 s, and one of which nothing is known: 4 s, the average.
    assert estimate.left() == pytest.approx((4 * 2 + 4 * 6 + 4) * 8 / 16)
    for step in (*bronze[2:], *silver[2:]):
        estimate.ended(step, done(step, 4.0))
    assert estimate.left() is not None
    (last,) = plan.of("gold.total")
    estimate.ended(last, done(last, 1.0))
    assert estimate.left() is None


def test_while_a_step_is_under_way_the_time_that_is_left_counts_down(plan: Plan) -> None:
    clock = Clock()
    estimate = Estimate(plan, clock)
    estimate.started()
    for step in (*plan.of("bronze.events")[:3], *plan.of("silver.clean")[:3]):
        clock.now += 10
        estimate.ended(step, done(step, 10.0))
    first = estimate.left()
    assert first is not None
    for passed in (1, 10, 30, 600):
        clock.now += passed
        now = estimate.left()
        assert now is not None
        assert now == max(first - passed, 0)
        first = now


def test_nothing_is_foretold_from_steps_that_came_to_nothing(plan: Plan) -> None:
    clock = Clock()
    estimate = Estimate(plan, clock)
    estimate.started()
    for step in plan.of("bronze.events"):
        clock.now += 1
        estimate.ended(step, StepResult.of_failure(step, "the source is down"))
    assert estimate.left() is None


def test_a_long_run_says_now_and_then_how_long_it_will_take(plan: Plan) -> None:
    clock, stream = Clock(), io.StringIO()
    shown = PlainProgress(Page(stream), clock)
    shown.planned(plan)
    for step in plan.steps:
        shown.started(step)
        clock.now += 120
        shown.finished(step, done(step, 120.0))
    said = [line for line in stream.getvalue().splitlines() if "% done" in line]
    assert said == [
        "23% done, about 20 min left",
        "30% done, about 18 min left",
        "46% done, about 14 min left",
        "53% done, about 12 min left",
        "61% done, about 10 min left",
        "76% done, about 6 min left",
        "84% done, about 4 min left",
        "92% done, about 2 min left",
    ]


def test_a_short_run_says_nothing_of_it(plan: Plan) -> None:
    clock, stream = Clock(), io.StringIO()
    shown = PlainProgress(Page(stream), clock)
    shown.planned(plan)
    for step in plan.steps:
        shown.started(step)
        clock.now += 0.5
        shown.finished(step, done(step, 0.5))
    assert "left" not in stream.getvalue()


def test_on_a_terminal_it_stands_beside_the_clock(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = LiveProgress(Page(io.StringIO()))
    shown.planned(plan)
    assert shown.estimate is not None
    shown.estimate = Estimate(plan, clock := Clock())
    for step in plan.steps[:4]:
        shown.started(step)
        clock.now += 300
        shown.finished(step, done(step, 300.0))
    with shown.console.capture() as captured:
        shown.console.print(shown)
    assert "4 of 13 partitions" in captured.get()
    assert "about 45 min left" in captured.get()
