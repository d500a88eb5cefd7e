"""Promise 2: one bad partition is one bad partition, whatever else is made along with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Annotated, Any, cast

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse import (
    Context,
    Daily,
    Dynamic,
    MaterializationFailed,
    Multi,
    PartitionRange,
    PartitionSet,
    Retry,
    Static,
    bronze,
    silver,
)
from lakehouse.checks import FrameCheck
from lakehouse.definitions.asset import Asset
from lakehouse.definitions.builder import BuildRequest, Built
from lakehouse.errors import StepError, StorageError
from lakehouse.execution.divide import ALONE, MOST_CALLS, Bad, Made, divide
from lakehouse.execution.results import StepResult
from lakehouse.io.memory import MemoryTable
from lakehouse.lineage import AssetState, Status
from lakehouse.testing import MemoryLakehouse

daily = Daily("2024-01-01", end="2024-03-01", column="day")
JANUARY = "2024-01-01...2024-01-30"
LATER = date(2024, 2, 29)
"""A day of the asset that is never asked for."""


class Numbered(pa.DataFrameModel):
    """Rows with a number."""

    n: pl.Int64


def days(partitions: PartitionRange) -> list[date]:
    return pl.date_range(partitions.start.date(), partitions.end.date(), closed="left", eager=True).to_list()


def key(number: int) -> str:
    return f"2024-01-{number:02d}" if number < 32 else f"2024-02-{number - 31:02d}"


class World:
    """What is wrong with which day, by its number, and how often the function was called."""

    def __init__(self, faults: Mapping[int, str]) -> None:
        self.faults = {date.fromisoformat(key(number)): fault for number, fault in faults.items()}
        self.calls = 0

    def rows(self, partitions: PartitionRange) -> pl.LazyFrame:
        self.calls += 1
        rows: list[tuple[date | None, int]] = []
        for day in days(partitions):
            match self.faults.get(day):
                case "raises":
                    raise ValueError(f"there is no file for {day}")
                case "raises late":
                    rows += [(day, 1 << 40)]
                case "lost":
                    rows += [(None, 1), (None, 2)]
                case "stray":
                    rows += [(day, 1), (day, 2), (None, 3)]
                case "long ago":
                    rows += [(day, 1), (day, 2), (date(1970, 1, 1), 3)]
                case "elsewhere":
                    rows += [(day, 1), (day, 2), (LATER, 3)]
                case "empty":
                    pass
                case _:
                    rows += [(day, 1), (day, 2)]
        frame = pl.LazyFrame(rows, schema={"day": pl.Date, "n": pl.Int64}, orient="row")
        # What raises only when the rows are computed is as bad.
        return frame.with_columns(pl.col("n").cast(pl.Int32, strict=True))

    def asset(self, **options: Any) -> Asset:
        @bronze(partitions=daily, **options)
        def events(partitions: PartitionRange) -> pl.LazyFrame:
            return self.rows(partitions)

        return events


def raised(number: int) -> str:
    """How the error of a day begins that has no file."""
    return f"the function raised ValueError: there is no file for {key(number)}"


def outcome(asset: Asset, count: int, chunk: int) -> dict[str, Any]:
    """What is published, recorded and kept of each day."""
    lake = MemoryLakehouse([asset])
    run = lake.materialize(asset, f"{key(1)}...{key(count)}", chunk=chunk, raise_on_failure=False)
    (summary,), (status,) = run.summaries(), lake.status(asset)
    attempts = AssetState.fold(asset.partitions, lake.lineage_store.facts(asset.key)).attempts
    kept = [lake.table(asset).quarantined(uri).collect() for uri in status.quarantine]
    return {
        "rows": lake.load(asset).sort("day", "n").collect().rows() if status.present else [],
        "present": status.present.keys(),
        "recorded": {k: fact.status for part, fact in attempts for k in part},
        "reasons": {k: fact.reason for part, fact in attempts if fact.status is Status.FAILED for k in part},
        "ok": run.ok,
        "not published": (summary.failed.keys(), summary.rejected.keys()),
        "kept": sorted(n for frame in kept for n in frame.filter(pl.col("_reasons").list.len() > 0)["n"].to_list()),
    }


FAULTS = ["raises", "raises late", "lost", "stray", "long ago", "elsewhere", "empty"]
BAD = {"raises": Status.FAILED, "raises late": Status.FAILED, "lost": Status.REJECTED, "elsewhere": Status.REJECTED}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[int, dict[int, str], list[int]]:
    """Some days, what is wrong with which, and two sizes of chunks."""
    count = draw(st.integers(1, 14))
    faults = draw(st.dictionaries(st.integers(1, count), st.sampled_from(FAULTS), max_size=ALONE - 1))
    return count, faults, [draw(st.integers(1, count)), draw(st.integers(1, count))]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_what_is_published_and_recorded_is_the_same_for_every_chunk(
    world: tuple[int, dict[int, str], list[int]],
) -> None:
    count, faults, chunks = world
    asset = World(faults).asset()
    first, other = (outcome(asset, count, chunk) for chunk in chunks)
    assert first == other
    bad = {key(n): BAD[fault] for n, fault in faults.items() if fault in BAD}
    assert first["present"] == [key(n) for n in range(1, count + 1) if key(n) not in bad]
    assert {k: status for k, status in first["recorded"].items() if status is not Status.PUBLISHED} == bad
    assert first["ok"] is not any(fault != "empty" for fault in faults.values())
    assert all(row[0] in {date.fromisoformat(k) for k in first["present"]} for row in first["rows"])


# ── how it is found out ───────────────────────────────────────────────────────────────────

LONG = Daily("2000-01-01", column="day")


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=n))))
def test_bad_partitions_are_told_from_good_ones_in_few_calls(found: tuple[int, set[int]]) -> None:
    count, numbers = found
    todo = PartitionSet(LONG, ((LONG.low, LONG.low + count),))
    bad = PartitionSet(LONG, tuple((LONG.low + n, LONG.low + n + 1) for n in numbers))
    nothing = StepResult.nothing(cast(Any, SimpleNamespace(id="x", asset=World({}).asset())))

    def make(part: PartitionSet) -> Made | Bad:
        if part & bad:
            return Bad(part, StepError("no"))
        return Made(replace(nothing, published=part), well=True)

    divided = divide(make, todo)
    made = LONG.union(result.published for result in divided.results)
    failed = LONG.union(one.partitions for one in divided.bad)
    assert made | failed == todo
    assert not made & failed
    assert divided.calls <= MOST_CALLS + ALONE
    assert (divided.error is None) is not bool(bad)
    if len(bad) < ALONE:
        assert failed == bad
        assert divided.calls <= ALONE + 2 * len(bad) * math.ceil(math.log2(count) + 1)


def test_a_fault_of_all_partitions_costs_few_calls_and_is_one_error() -> None:
    world = World(dict.fromkeys(range(1, 31), "raises"))
    run = MemoryLakehouse([asset := world.asset()]).materialize(asset, JANUARY, chunk=30, raise_on_failure=False)
    assert world.calls == 1 + ALONE
    (result,) = run.results
    assert len(result.failed) == 30
    assert str(result.error).startswith(f"bronze.events {JANUARY}: {raised(1)}")


def test_an_asset_may_stand_or_fall_as_a_whole() -> None:
    for fault, says in (("raises", raised(5)), ("stray", "1 row for no partition at all")):
        world = World({5: fault})
        lake = MemoryLakehouse([asset := world.asset(retry=Retry(split=False))])
        run = lake.materialize(asset, JANUARY, raise_on_failure=False)
        assert world.calls == 1
        assert len(run.results[0].failed) == 30
        assert says in str(run.results[0].error)


@pytest.mark.parametrize(
    "error",
    [ConnectionError("refused"), TimeoutError("slow"), MemoryError(), StorageError("the bucket is gone")],
    ids=lambda error: type(error).__name__,
)
def test_what_all_partitions_share_is_no_fault_of_one(error: Exception) -> None:
    calls = []

    @bronze(partitions=daily)
    def events(partitions: PartitionRange) -> pl.LazyFrame:
        calls.append(partitions)
        try:
            raise error
        except ConnectionError as inner:
            raise RuntimeError("the source can't be read") from inner

    lake = MemoryLakehouse([events])
    run = lake.materialize(events, JANUARY, raise_on_failure=False)
    assert len(calls) == 1
    assert len(run.results[0].failed) == 30


def test_what_is_tried_again_is_not_divided_before_the_last_time() -> None:
    sizes: list[int] = []
    once: list[int] = []

    @bronze(partitions=daily, retry=Retry(times=1))
    def flaky(partitions: PartitionRange) -> pl.LazyFrame:
        sizes.append(len(partitions))
        if not once or (len(once) > 1 and key(5) in list(partitions)):
            once.append(1)
            raise ValueError("not now")
        return World({}).rows(partitions)

    lake = MemoryLakehouse([flaky])
    assert lake.materialize(flaky, JANUARY).ok
    assert sizes == [30, 30]
    once.append(1)
    sizes.clear()
    run = lake.materialize(flaky, JANUARY, raise_on_failure=False)
    assert run.results[0].failed.keys() == [key(5)]
    assert sizes[:3] == [30, 30, 1], "a second time as a whole, then in parts"


def test_storage_that_goes_away_meanwhile_fails_the_rest_and_keeps_what_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World({5: "raises"})
    lake = MemoryLakehouse([asset := world.asset()])
    publish = MemoryTable.publish
    published: list[int] = []

    def failing(self: MemoryTable, *args: Any, **options: Any) -> int:
        if len(published) == 2:
            raise StorageError("the disk is full")
        published.append(1)
        return publish(self, *args, **options)

    monkeypatch.setattr(MemoryTable, "publish", failing)
    run = lake.materialize(asset, JANUARY, raise_on_failure=False)
    (result,) = run.results
    (status,) = lake.status(asset)
    assert len(status.present) > 1
    assert status.present == result.published
    assert result.failed.keys() == [key(n) for n in range(1, 31) if key(n) not in result.published]
    assert "the disk is full" in str(result.error)


# ── what else there is to it ──────────────────────────────────────────────────────────────


def test_only_what_depends_on_a_bad_day_is_skipped() -> None:
    asset = World({5: "raises", 9: "lost"}).asset()

    @silver(partitions=daily)
    def counted(events: pl.LazyFrame) -> pl.LazyFrame:
        return events.group_by("day").len()

    run = MemoryLakehouse([asset, counted]).materialize("+silver.counted", JANUARY, raise_on_failure=False)
    assert len(run.published(counted)) == 28
    assert [one.skipped.keys() for one in run.summaries() if one.skipped] == [[key(5), key(9)]]
    with pytest.raises(MaterializationFailed, match=r"bronze\.events 2024-01-05 failed"):
        run.raise_on_failure()


def test_a_bad_day_of_one_input_stands_alone_in_the_layers_above() -> None:
    asset = World({}).asset()

    @silver(partitions=daily)
    def checked(events: pl.DataFrame) -> pl.DataFrame:
        if date(2024, 1, 5) in events["day"]:
            raise ValueError("a day that can't be")
        return events

    run = MemoryLakehouse([asset, checked]).materialize("+silver.checked", JANUARY, raise_on_failure=False)
    assert run.results[-1].failed.keys() == [key(5)]
    assert len(run.published(checked)) == 29


def test_a_held_back_day_keeps_all_its_rows_with_their_reasons() -> None:
    lake = MemoryLakehouse([asset := World({5: "elsewhere"}).asset()])
    run = lake.materialize(asset, JANUARY, chunk=10, raise_on_failure=False)
    (fact,) = [f for f in run.facts if f.status is Status.REJECTED]
    assert (fact.partitions, fact.rows) == (((key(5), key(5)),), 3)
    assert "1 row in 2024-02-29" in fact.reason
    assert fact.quarantine is not None
    kept = lake.table(asset).quarantined(fact.quarantine).sort("n").collect()
    assert kept["day"].to_list() == [date(2024, 1, 5)] * 2 + [LATER]
    assert kept["_reasons"].to_list() == [[], [], ["in_a_partition: lies in 2024-02-29"]]


def test_rows_of_no_partition_are_kept_apart_and_told_until_the_day_is_made_anew() -> None:
    world = World({5: "stray"})
    lake = MemoryLakehouse([asset := world.asset()])
    run = lake.materialize(asset, JANUARY, raise_on_failure=False)
    assert not run.ok
    assert world.calls == 1, "nothing is to be found out"
    with pytest.raises(MaterializationFailed, match="without what lies in no partition: 1 row"):
        run.raise_on_failure()
    (status,) = lake.status(asset)
    assert len(status.present) == 30
    assert [(check.name, check.failing_rows) for check in status.checks] == [("in_a_partition", 1)]
    (uri,) = status.quarantine
    kept = lake.table(asset).quarantined(uri).collect()
    assert kept.select("day", "n").rows() == [(None, 3)]
    assert kept["_reasons"].to_list() == [["in_a_partition: lies in no partition"]]
    world.faults.clear()
    assert lake.materialize(asset, JANUARY).ok
    (status,) = lake.status(asset)
    assert (status.quarantine, status.checks) == ((), ())


@pytest.mark.parametrize(
    ("partitions", "column", "stray"),
    [
        (Static(["eu", "us"], column="at"), ["eu", "us"], "xx"),
        (Multi({"at": Static(["eu", "us"], column="at"), "day": daily}), ["eu", "us"], None),
        (Dynamic("regions", column="at"), ["eu", "us"], "not registered"),
    ],
    ids=["static", "multi", "dynamic"],
)
def test_rows_of_no_partition_are_kept_apart_whatever_the_partitions(
    partitions: Any, column: list[str], stray: str | None
) -> None:
    @bronze(partitions=partitions)
    def events(context: Context) -> pl.LazyFrame:
        rows = [(at, date(2024, 1, 1)) for at in column if any(k.startswith(at) for k in context.partitions)]
        return pl.LazyFrame([*rows, (stray, date(2024, 1, 1))], schema={"at": pl.String, "day": pl.Date}, orient="row")

    lake = MemoryLakehouse([events])
    if isinstance(partitions, Dynamic):
        lake.add_partitions(events, column)
    wanted = [f"{at}|2024-01-01" for at in column] if isinstance(partitions, Multi) else column
    run = lake.materialize(events, wanted, raise_on_failure=False)
    assert len(run.published(events)) == 2
    assert run.results[0].apart == 1
    assert lake.load(events).collect()["at"].sort().to_list() == column


def test_a_function_that_gives_everything_whatever_it_is_asked_for_is_held_back_in_few_calls() -> None:
    calls = []

    @bronze(partitions=daily)
    def events(partitions: PartitionRange) -> pl.LazyFrame:
        calls.append(partitions)
        everything = pl.date_range(date(2024, 1, 1), LATER, eager=True).alias("day")
        return everything.to_frame().lazy()

    lake = MemoryLakehouse([events])
    run = lake.materialize(events, JANUARY, raise_on_failure=False)
    assert len(run.results[0].rejected) == 30
    assert len(calls) == 1 + ALONE
    assert "rows in 2024-01-02" in str(run.results[0].error)


def test_a_function_that_can_not_be_asked_for_less_fails_at_once() -> None:
    calls = []

    @bronze(partitions=daily)
    def events() -> pl.LazyFrame:
        calls.append(1)
        raise ValueError("no")

    run = MemoryLakehouse([events]).materialize(events, JANUARY, raise_on_failure=False)
    assert len(calls) == 1
    assert len(run.results[0].failed) == 30


class Machine:
    """A builder that makes of each day what a world has of it."""

    name = "machine"

    def __init__(self, world: World) -> None:
        self.world = world

    def tests(self, asset: Asset) -> tuple[str, ...]:
        return ()

    def make(self, requests: Sequence[BuildRequest]) -> Mapping[str, Built]:
        return {r.asset.key: Built(self.world.rows(r.partitions.hull)) for r in requests}

    def release(self, requests: Sequence[BuildRequest]) -> None: ...


@pytest.mark.parametrize(
    ("faults", "present", "rejected", "failed"),
    [
        ({3: "stray", 5: "lost"}, 29, [key(5)], 0),
        ({3: "elsewhere"}, 0, [], 30),
        ({3: "raises late"}, 0, [], 30),
    ],
)
def test_what_a_builder_makes_is_asked_for_once(
    faults: dict[int, str], present: int, rejected: list[str], failed: int
) -> None:
    world = World(faults)
    asset = replace(world.asset(), builder=Machine(world))
    lake = MemoryLakehouse([asset])
    (result,) = lake.materialize(asset, JANUARY, raise_on_failure=False).results
    assert world.calls == 1
    assert (len(result.published), result.rejected.keys(), len(result.failed)) == (present, rejected, failed)
    assert not result.ok


def test_parts_for_which_there_is_no_time_left_fail_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("lakehouse.execution.divide.time.perf_counter", lambda: clock.now)
    todo = PartitionSet(LONG, ((LONG.low, LONG.low + 10),))
    nothing = StepResult.nothing(cast(Any, SimpleNamespace(id="x", asset=World({}).asset())))

    def make(part: PartitionSet) -> Made | Bad:
        clock.now += len(part)
        if LONG.key(LONG.low + 3) in part:
            return Bad(part, StepError("no"))
        return Made(replace(nothing, published=part), well=True)

    divided = divide(make, todo, seconds=16)
    assert clock.now <= 16
    failed = LONG.union(one.partitions for one in divided.bad)
    assert LONG.key(LONG.low + 3) in failed
    assert failed | LONG.union(result.published for result in divided.results) == todo


def _none(frame: pl.DataFrame) -> Any:
    return None


def _mistyped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("n").cast(pl.String))


def _bare(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("day")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(_none, "no frame"), (_mistyped, "has type String"), (_bare, "no column 'day'")],
)
def test_a_day_that_comes_in_another_form_fails_alone(spoil: Callable[[pl.DataFrame], Any], says: str) -> None:
    @bronze(partitions=daily)
    def events(partitions: PartitionRange) -> Annotated[pl.DataFrame, Numbered]:
        frame = pl.DataFrame({"day": days(partitions), "n": 1}, schema_overrides={"n": pl.Int64})
        return cast(pl.DataFrame, spoil(frame)) if key(5) in list(partitions) else frame

    (result,) = MemoryLakehouse([events]).materialize(events, JANUARY, raise_on_failure=False).results
    assert result.failed.keys() == [key(5)]
    assert len(result.published) == 29
    assert says in str(result.error)


def test_a_check_that_raises_for_a_day_holds_back_no_other() -> None:
    def no_fifth(frame: pl.LazyFrame) -> pl.LazyFrame:
        if date(2024, 1, 5) in frame.select("day").collect()["day"]:
            raise ZeroDivisionError
        return frame.clear()

    asset = World({}).asset(checks=[FrameCheck(name="no_fifth", function=no_fifth, wants="no fifth")])
    (result,) = MemoryLakehouse([asset]).materialize(asset, JANUARY, raise_on_failure=False).results
    assert result.failed.keys() == [key(5)]
    assert "the check 'no_fifth' raised ZeroDivisionError" in str(result.error)


@pytest.mark.parametrize("chunk", [1, 7, 30])
def test_a_row_without_a_date_that_comes_with_every_call_holds_back_no_day(chunk: int) -> None:
    @bronze(partitions=daily)
    def events(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"day": [*days(partitions), None]}, schema={"day": pl.Date})

    lake = MemoryLakehouse([events])
    run = lake.materialize(events, JANUARY, chunk=chunk, raise_on_failure=False)
    (status,) = lake.status(events)
    assert (len(status.present), run.ok) == (30, False)
    assert lake.load(events).collect()["day"].null_count() == 0
    assert len(status.quarantine) == len(run.results)


# ── rows of a partition that was asked for in another call ────────────────────────────────


@pytest.mark.parametrize("chunk", [1, 3, 30])
@pytest.mark.parametrize("schema", [None, Numbered])
def test_a_row_of_a_partition_that_another_call_was_for_is_elsewhere(chunk: int, schema: Any) -> None:
    """A range with a gap is asked for in two calls; what the second one says of the first one's is none of it."""

    def events(partitions: PartitionRange) -> Any:
        found = days(partitions)
        stray = [date(2024, 1, 1)] if date(2024, 1, 5) in found else []
        return pl.LazyFrame({"day": [*found, *stray], "n": [1] * len(found) + [99] * len(stray)})

    if schema is not None:
        events.__annotations__["return"] = Annotated[pl.LazyFrame, schema]
    asset = bronze(partitions=daily, retry=Retry(times=0))(events)
    lake = MemoryLakehouse([asset])
    wanted = [key(1), key(2), key(5), key(7)]
    run = lake.materialize(asset, wanted, chunk=chunk, raise_on_failure=False)
    (summary,), (status,) = run.summaries(), lake.status(asset)
    assert sorted(summary.published) == [key(1), key(2), key(7)]
    assert list(status.held) == [key(5)]
    assert 99 not in lake.load(asset).collect()["n"]
    kept = lake.table(asset).quarantined(status.quarantine[0]).collect()
    assert sorted(kept["n"]) == [1, 99]
    assert "lies in 2024-01-01" in str(kept.to_dict(as_series=False))


def test_where_a_step_is_not_divided_such_a_row_fails_it() -> None:
    @bronze(partitions=daily, retry=Retry(times=0, split=False))
    def events(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame({"day": [*days(partitions), date(2024, 1, 1)]}).unique()

    lake = MemoryLakehouse([events])
    with pytest.raises(MaterializationFailed, match=r"1 row for 2024-01-01|rows for 2024-01-01"):
        lake.materialize(events, [key(1), key(5)], chunk=30)
    assert lake.status(events)[0].present == events.partitions.empty()
