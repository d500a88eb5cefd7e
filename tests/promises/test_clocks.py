"""Clocks that disagree (ahead, behind, stepping back) change nothing: order comes from versions and sequence."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse import Daily, Freshness, Lakehouse, LakehouseError, Observed, bronze, silver, source
from lakehouse.checks import expression
from lakehouse.io import Files
from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.lineage.state import superseded
from lakehouse.maintenance import Maintenance
from lakehouse.partitions import PartitionSet, Static
from lakehouse.testing.lineage import sample_fact

YEAR = timedelta(days=365)
NOW = datetime(2024, 6, 1, tzinfo=UTC)

# ── the fold ──────────────────────────────────────────────────────────────────────────────

KEYS = Static([f"key {n}" for n in range(6)])
COMMITTED = [Status.PUBLISHED, Status.WIPED, Status.FORGOTTEN]
TRIED = [Status.REJECTED, Status.FAILED, Status.SKIPPED]

events = st.tuples(
    st.sampled_from(COMMITTED + TRIED),
    st.frozensets(st.integers(0, 5), min_size=1),
    st.integers(0, 2),  # the machine
)
skews = st.lists(
    st.sampled_from([timedelta(0), YEAR, -YEAR, timedelta(seconds=90), timedelta(seconds=-3)]), min_size=3, max_size=3
)
steps_back = st.lists(st.integers(0, 30), max_size=3)


def written(history: list[Any], skew: list[timedelta], back: list[int]) -> list[Fact]:
    """What machines write down one after the other, each seeing what there was; the clock of each is off."""
    facts: list[Fact] = []
    version: int | None = None
    for number, (status, keys, machine) in enumerate(history):
        partitions = PartitionSet(KEYS, tuple((key, key + 1) for key in keys))
        state = AssetState.fold(KEYS, facts)
        at = NOW + skew[machine] + timedelta(seconds=number - (20 if number in back else 0))
        after = -1 if version is None else version
        if status in COMMITTED:
            version = after + 1
        facts.append(
            sample_fact(
                number,
                id=f"{int(at.timestamp() * 1000):012x}{number:020x}",
                run=str(number),
                started=at,
                finished=at,
                status=status,
                partitions=partitions.to_pairs(),
                version=version if status in COMMITTED else None,
                after=after,
                sequence=state.sequence + 1,
            )
        )
    return facts


def seen(facts: list[Fact]) -> Any:
    """Of each partition the events that made it what it is."""
    state = AssetState.fold(KEYS, facts)
    parts = (state.current, state.attempts, state.changes, state.gone, state.rejected)
    return [{key: fact.run for part, fact in one for key in part} for one in parts], state.version


@given(st.lists(events, max_size=30), skews, steps_back)
@example([(Status.REJECTED, frozenset({0}), 2), (Status.REJECTED, frozenset({0}), 0)], [timedelta(0)] * 2 + [YEAR], [])
@settings(max_examples=200)
def test_the_same_history_folds_to_the_same_whatever_the_clocks_say(
    history: list[Any], skew: list[timedelta], back: list[int]
) -> None:
    right = written(history, [timedelta(0)] * 3, [])
    wrong = written(history, skew, back)
    assert seen(wrong) == seen(right)
    spare = {fact.run for fact in superseded(KEYS, wrong)}
    assert spare == {fact.run for fact in superseded(KEYS, right)}
    assert seen([fact for fact in wrong if fact.run not in spare])[0][:2] == seen(right)[0][:2]


@given(st.lists(events, max_size=30))
def test_what_an_older_release_wrote_goes_by_its_time(history: list[Any]) -> None:
    facts = written(history, [timedelta(0)] * 3, [])
    assert seen([fact.model_copy(update={"after": None, "sequence": 0}) for fact in facts]) == seen(facts)


# ── a lake ────────────────────────────────────────────────────────────────────────────────

daily = Daily("2024-01-01", end="2024-01-04", column="day")
WEEK = "2024-01-01...2024-01-03"
broken: set[str] = set()


@bronze(partitions=daily, code_version="1", checks=[expression("sound", pl.col("n") > 0)])
def raw(partitions: Any) -> pl.LazyFrame:
    days = pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True)
    return pl.LazyFrame({"day": days, "n": [-1 if str(day) in broken else 1 for day in days]})


@silver(partitions=daily, code_version="1")
def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse([raw, clean], storage=f"{tmp_path}/data", lineage=f"sqlite:///{tmp_path}/lineage.db")


@pytest.fixture(autouse=True)
def whole() -> Iterator[None]:
    yield
    broken.clear()


Clock = Callable[[timedelta], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the clock by which facts get their ids, and observations their numbers."""
    real = time.time_ns

    def off(by: timedelta) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: real() + int(by.total_seconds() * 1e9))

    return off


def refresh(lake: Lakehouse, *targets: Any) -> Any:
    return lake.refresh(list(targets) or "*", WEEK, engine="inline", raise_on_failure=False)


@pytest.mark.parametrize("ahead", [YEAR, timedelta(seconds=60), -YEAR])
def test_a_rejection_does_not_outlive_its_repair(lake: Lakehouse, clock: Clock, ahead: timedelta) -> None:
    broken.add("2024-01-02")
    clock(ahead)
    assert not refresh(lake).ok
    clock(timedelta(0))
    assert str(lake.status(raw)[0].held) == "2024-01-02"
    broken.clear()
    assert refresh(lake).ok
    for status in lake.status():
        assert not status.held
        assert not status.failed
        assert not status.quarantine
    assert not lake.plan("*", WEEK, refresh=True)


@pytest.mark.parametrize("ahead", [YEAR, timedelta(seconds=60), -YEAR])
def test_a_rejection_after_a_publication_is_shown(lake: Lakehouse, clock: Clock, ahead: timedelta) -> None:
    clock(ahead)
    assert refresh(lake).ok
    clock(timedelta(0))
    broken.add("2024-01-02")
    lake.materialize(raw, "2024-01-02", engine="inline", raise_on_failure=False)
    (status,) = lake.status(raw)
    assert str(status.held) == "2024-01-02"
    assert len(status.quarantine) == 1
    assert lake.plan(raw, WEEK, refresh=True)


def test_of_two_rejections_the_later_one_is_kept_and_shown(lake: Lakehouse, clock: Clock) -> None:
    broken.add("2024-01-02")
    for ahead in (YEAR, timedelta(0)):
        clock(ahead)
        refresh(lake, raw)
    (status,) = lake.status(raw)
    facts = [fact for fact in lake.lineage_store.facts(raw.key) if fact.status is Status.REJECTED]
    later = max(facts, key=lambda fact: fact.sequence)
    assert status.quarantine == (later.quarantine,)
    assert status.last is not None
    assert status.last.id == later.id
    Maintenance(lake, now=datetime.now(UTC) + 2 * YEAR).retain(keep="1d").apply()
    assert Path(str(later.quarantine).removeprefix("file://")).exists()


def test_a_retention_by_a_clock_that_is_ahead_removes_nothing(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        lake.materialize(raw, WEEK, engine="inline")
    left = lake.table(raw)
    left.stage(pl.LazyFrame({"n": [1], "_partition": ["2024-01-01"]}), "being-written")
    folder = Path(left.uri.removeprefix("file://"))
    before = sorted(folder.rglob("*.parquet"))

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + YEAR

    monkeypatch.setattr("lakehouse.maintenance.workspace.datetime", Ahead)
    change = Maintenance(lake).retain(keep="1d")
    assert change
    with pytest.raises(LakehouseError, match=r"clock of this machine is .* ahead"):
        change.apply()
    assert sorted(folder.rglob("*.parquet")) == before
    assert not list(folder.glob("_staged-clock*"))


def test_versions_are_as_old_as_storage_says(lake: Lakehouse) -> None:
    """Commits of a machine whose clock is a year behind were current until just now."""
    for _ in range(2):
        lake.materialize(raw, WEEK, engine="inline")
    log = Path(lake.table(raw).uri.removeprefix("file://")) / "_delta_log"
    for file in log.glob("*.json"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["timestamp"] -= int(YEAR.total_seconds() * 1000)
        kept = file.stat()
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    Maintenance(lake, now=datetime.now(UTC) + timedelta(days=2)).retain(keep="30d").apply()
    assert lake.load(raw, version=0).collect().height == 3


def test_what_was_forgotten_is_forgotten(lake: Lakehouse, clock: Clock) -> None:
    broken.update(("2024-01-01", "2024-01-02", "2024-01-03"))
    clock(YEAR)
    refresh(lake, raw)
    clock(timedelta(0))
    Maintenance(lake).forget(raw, "*").apply()
    assert not lake.status(raw)[0].held


# ── sources ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def landing(tmp_path: Path) -> Lakehouse:
    folder = tmp_path / "landing"
    folder.mkdir()

    @source(partitions=Daily("2024-01-01", end="2024-01-04"))
    def files() -> Files:
        return Files(f"{folder}/{{partition}}.csv")

    @bronze(partitions=daily, code_version="1")
    def read(files: Observed) -> pl.LazyFrame:
        frames = [pl.read_csv(uri.removeprefix("file://"), try_parse_dates=True) for uri in files.uris]
        return pl.concat(frames).lazy()

    land(tmp_path, 1)
    return Lakehouse([files, read], storage=f"{tmp_path}/data", lineage=f"sqlite:///{tmp_path}/lineage.db")


def land(tmp_path: Path, number: int) -> None:
    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        file = tmp_path / "landing" / f"{day}.csv"
        rows = number if day == "2024-01-02" else 1
        text = "day,n\n" + f"{day},{rows}\n" * rows
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


@pytest.mark.parametrize("first", [YEAR, timedelta(0), -YEAR])
@pytest.mark.parametrize("then", [YEAR, timedelta(0), -YEAR])
def test_a_changed_file_is_seen(
    landing: Lakehouse, tmp_path: Path, clock: Clock, first: timedelta, then: timedelta
) -> None:
    clock(first)
    assert landing.refresh("bronze.read", engine="inline").ok
    for number, by in ((2, then), (3, first), (4, then)):
        land(tmp_path, number)
        clock(by)
        reasons = landing.plan("bronze.read", refresh=True).steps
        assert [str(step.partitions) for step in reasons] == ["2024-01-02"]
        assert landing.refresh("bronze.read", engine="inline").ok
        rows = landing.load("bronze.read", "2024-01-02").collect()
        assert rows["n"].to_list() == [number] * number
        assert not landing.plan("bronze.read", refresh=True)
    assert landing.observe() == {"source.files": landing.graph["source.files"].partitions.empty()}


def test_a_file_that_goes_is_gone(landing: Lakehouse, tmp_path: Path, clock: Clock) -> None:
    clock(YEAR)
    landing.refresh("bronze.read", engine="inline")
    clock(timedelta(0))
    (tmp_path / "landing" / "2024-01-02.csv").unlink()
    landing.observe()
    assert "2024-01-02" not in landing.status("source.files")[0].present


def test_two_who_look_at_once_have_two_numbers(
    landing: Lakehouse, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(YEAR)
    landing.observe()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    from lakehouse.lineage.observations import observation

    asset = landing.graph["source.files"]
    known = AssetState.fold(asset.partitions, landing.lineage_store.facts(asset.key))
    made = [observation(asset, {"2024-01-01": f"v{n}"}, {}, known.version) for n in range(20)]
    versions = [fact.version for fact in made if fact is not None and fact.version is not None]
    assert len(set(versions)) == 20
    assert min(versions) > (known.version or 0)


# ── ages ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("freshness", "made", "due"),
    [
        (Freshness(cron="0 6 * * *"), timedelta(hours=-1), False),
        (Freshness(cron="0 6 * * *"), timedelta(days=-2), True),
        (Freshness(cron="0 6 * * *"), timedelta(hours=2), False),
        (Freshness(cron="0 6 * * *"), YEAR, True),
        (Freshness(every="1h"), timedelta(minutes=-5), False),
        (Freshness(every="1h"), timedelta(minutes=-50), True),
        (Freshness(every="1h"), timedelta(minutes=5), False),
        (Freshness(every="1h"), YEAR, True),
    ],
)
def test_what_was_made_far_in_the_future_is_due(freshness: Freshness, made: timedelta, due: bool) -> None:
    noon = NOW.replace(hour=12)
    assert freshness.due(noon + made, noon) is due


def test_what_was_made_far_in_the_future_is_too_old(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    @bronze(code_version="1", freshness=Freshness(max_age="1d"))
    def fresh() -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1]})

    own = Lakehouse([fresh], storage=str(lake.table(raw).uri) + "-own", lineage=lake.lineage_store)
    own.refresh(fresh, engine="inline")
    now = datetime.now(UTC)
    for later, stale in (
        (timedelta(hours=1), False),
        (timedelta(days=2), True),
        (timedelta(hours=-1), False),
        (-YEAR, True),
    ):
        assert bool(own.plan(fresh, refresh=True, now=now + later)) is stale
