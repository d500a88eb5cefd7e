"""A backfill of a year that is killed, and called again: the result is that of one that was left in peace."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.calls import ASSETS, Toys, computed, see_one_record_for_each, see_the_same

YEAR = "2013-01-01...2013-12-31"
CHUNK = 15
STEPS = 3 * 25
A_STEP = 0.05  # seconds that one takes, about
MAIN = "import sys; from lakehouse.cli import main; sys.exit(main())"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes")


def backfill(toys: Toys, *words: str, partitions: str = YEAR) -> subprocess.Popen[str]:
    command = ["backfill", "+gold.totals", "--partitions", partitions, "--chunk", str(CHUNK), *words]
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *command],
        cwd=toys.folder,
        env=os.environ | toys.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def steps_told(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of its progress that tell of a step's end, as they come."""
    assert process.stderr is not None
    return (line for line in process.stderr if line.startswith("["))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Toys:
    toys = Toys(tmp_path_factory.mktemp("undisturbed"))
    assert toys.lake.backfill("+gold.totals", YEAR, chunk=CHUNK, engine="inline").ok
    assert len(toys.calls) == STEPS
    return toys


def kill_three_times_and_see(toys: Toys, undisturbed: Toys, chance: random.Random, *words: str) -> None:
    """Kill three runs, each at some moment of some step, let the fourth one end, and look at what came of it."""
    moments = [(chance.randint(1, STEPS // 4), chance.uniform(0, A_STEP)) for _ in range(3)]
    known: set[tuple[str, str]] = set()
    before = 0
    for step, within in [*moments, (None, 0.0)]:
        with backfill(toys, *words) as process:
            for number, _ in enumerate(steps_told(process), start=1):
                if number == step:
                    select.select([process.stderr], [], [], within)
                    process.kill()
                    break
            process.communicate(timeout=300)
        assert process.returncode == (0 if step is None else -signal.SIGKILL)
        calls = toys.calls[before:]
        before += len(calls)
        again = known & set(computed(calls))
        assert not again, "it was computed again after it was recorded"
        recorded = toys.recorded()
        assert known <= recorded
        assert len(recorded) > len(known)
        known = recorded
    assert known == {(key, day) for key, day in computed(undisturbed.calls)}
    see_one_record_for_each(toys.lake, YEAR)
    see_the_same(toys.lake, undisturbed.lake)
    assert not toys.lake.plan("+gold.totals", YEAR, refresh=True)
    assert toys.lake.lineage_store.leases()[1] == []


def test_killed_three_times_it_comes_to_the_same(tmp_path: Path, undisturbed: Toys) -> None:
    kill_three_times_and_see(Toys(tmp_path / "killed"), undisturbed, random.Random(2013))


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
def test_killed_three_times_with_prefect_it_comes_to_the_same(
    tmp_path: Path, undisturbed: Toys, prefect_server: str
) -> None:
    chance = random.Random(2014)
    kill_three_times_and_see(Toys(tmp_path / "killed"), undisturbed, chance, "--engine", "prefect", "--parallel", "4")


def test_two_at_once_over_ranges_that_overlap_build_each_day_once(tmp_path: Path) -> None:
    toys = Toys(tmp_path / "two")
    ranges = ["2013-01-01...2013-03-31", "2013-03-01...2013-06-30"]
    both = [backfill(toys, partitions=days) for days in ranges]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert set(computed(toys.calls).values()) == {1}
    assert {key for key, _ in computed(toys.calls)} == set(ASSETS)
    assert len({call.process for call in toys.calls}) == 2, "each did its part"
    see_one_record_for_each(toys.lake, "2013-01-01...2013-06-30")
