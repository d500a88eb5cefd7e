"""What is out of date, and why: by example, and against a fold of single partitions over random histories."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Annotated, Any

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Asset, AssetGraph, Daily, Freshness, Monthly, bronze, silver
from lakehouse.checks import custom, unique
from lakehouse.definitions.former import FormerVersions
from lakehouse.display.plans import grouped
from lakehouse.errors import DefinitionError
from lakehouse.lineage import AssetState, Fact, InputPin, Status
from lakehouse.lineage.facts import DIGEST
from lakehouse.partitions import Partitions, PartitionSet
from lakehouse.planning.staleness import Cause, stale
from tests.support.worlds import DAILY, NOW, World, asset, published

JANUARY = "2013-01-01...2013-01-31"


class Dated(pa.DataFrameModel):
    date: str = pa.Field(unique=True)


def why(world: World, key: str, wanted: Any = JANUARY, now: datetime = NOW) -> dict[str, str]:
    one = world.graph[key]
    found = grouped(stale(world.graph, one, one.partitions.select(wanted), world.state, world.ready(now), now))
    return {reason: str(part) for reason, part in found.items()}


def pair(**options: Any) -> World:
    """raw -> clean, both there for all of January."""
    raw, clean = asset("bronze.raw", partitions=DAILY), asset("silver.clean", "raw", partitions=DAILY)
    return World([raw, clean], dict.fromkeys(["bronze.raw", "silver.clean"], JANUARY), **options)


def know(world: World, key: str, *facts: Fact) -> None:
    """Have lineage say these things of an asset, and nothing else."""
    world.states[key] = AssetState.fold(world.graph[key].partitions, facts)


# ── each reason ───────────────────────────────────────────────────────────────────────────


def test_what_is_as_its_code_and_inputs_would_make_it_is_fresh() -> None:
    assert why(pair(), "silver.clean") == {}


def test_other_code_schema_or_checks_make_stale_what_they_would_make_otherwise() -> None:
    world = pair()
    clean = world.graph["silver.clean"]
    days = clean.partitions.select
    know(
        world,
        "silver.clean",
        published(clean, days(JANUARY), 1),
        published(clean, days("2013-01-02"), 2, code_version="older"),
        published(clean, days("2013-01-03"), 3, schema_version="older"),
        published(clean, days("2013-01-04"), 4, checks_version="older"),
        published(clean, days("2013-01-05"), 5, code_version="older", schema_version="older"),
    )
    assert why(world, "silver.clean") == {
        "code changed": "2013-01-02, 2013-01-05",
        "schema changed": "2013-01-03",
        "checks changed": "2013-01-04",
    }


def test_a_declared_version_stands_for_all_three() -> None:
    @silver(partitions=DAILY, code_version="7")
    def clean() -> None: ...

    world = World([clean], {"silver.clean": JANUARY})
    know(world, clean.key, published(clean, DAILY.select(JANUARY), schema_version="older", checks_version="older"))
    assert why(world, clean.key) == {}
    know(world, clean.key, published(clean, DAILY.select(JANUARY), code_version="6"))
    assert why(world, clean.key) == {"code changed": JANUARY}


def test_what_an_older_release_recorded_for_the_same_code_is_fresh() -> None:
    @silver(partitions=DAILY, checks=[unique("date"), custom(name="all")(lambda frame: frame)])
    def clean() -> Annotated[pl.LazyFrame, Dated]:
        return pl.LazyFrame()

    former = FormerVersions.of(clean.function, clean.schema, clean.checks)
    world = World([clean], {"silver.clean": JANUARY})
    for code, schema, checks in product(former.code, former.schema, former.checks):
        versions: dict[str, Any] = {"code_version": code, "schema_version": schema, "checks_version": checks}
        know(world, clean.key, published(clean, DAILY.select(JANUARY), **versions))
        assert why(world, clean.key) == {}
        for name, cause in {"code": "code", "schema": "schema", "checks": "checks"}.items():
            other = versions | {f"{name}_version": "0123456789ab"}
            know(world, clean.key, published(clean, DAILY.select(JANUARY), **other))
            assert why(world, clean.key) == {f"{cause} changed": JANUARY}


def test_an_input_with_other_rows_makes_stale_what_is_made_from_them() -> None:
    world = pair()
    raw = world.graph["bronze.raw"]
    days = raw.partitions.select
    know(world, raw.key, published(raw, days(JANUARY), 3), published(raw, days("2013-01-07...2013-01-09"), 60))
    assert why(world, "silver.clean") == {"bronze.raw changed": "2013-01-07...2013-01-09"}


def test_an_input_that_was_made_again_with_the_same_rows_makes_nothing_stale() -> None:
    world = pair()
    raw = world.graph["bronze.raw"]
    again = raw.partitions.select("2013-01-07...2013-01-09")
    same = raw.partitions.select("2013-01-08").to_pairs()
    know(
        world,
        raw.key,
        published(raw, raw.partitions.select(JANUARY), 3),
        published(raw, again, 60, unchanged=same, compared=3),
    )
    assert why(world, "silver.clean") == {"bronze.raw changed": "2013-01-07, 2013-01-09"}


def test_it_doesnt_matter_how_many_partitions_feed_one() -> None:
    raw = asset("bronze.raw", partitions=DAILY)
    month = asset("silver.month", "raw", partitions=Monthly("2013-01", column="m"))
    total = asset("silver.total", "raw")
    there = {"bronze.raw": "2013-01-01...2013-02-28", "silver.month": "2013-01...2013-02", "silver.total": ""}
    world = World([raw, month, total], there)
    know(
        world,
        raw.key,
        published(raw, DAILY.select("2013-01-01...2013-02-28"), 3),
        published(raw, DAILY.select("2013-02-11"), 60),
    )
    assert why(world, "silver.month", "2013-01...2013-02") == {"bronze.raw changed": "2013-02"}
    assert why(world, "silver.total", "") == {"bronze.raw changed": ""}


def test_what_was_held_back_is_told_apart_from_what_was_never_tried() -> None:
    world = pair()
    clean = world.graph["silver.clean"]
    held = published(clean, clean.partitions.select("2013-01-05...2013-01-06"), 9, status=Status.REJECTED, version=None)
    know(world, clean.key, published(clean, clean.partitions.select("2013-01-01...2013-01-05"), 3), held)
    assert why(world, "silver.clean", "2013-01-01...2013-01-10") == {
        "held back last time": "2013-01-05...2013-01-06",
        "missing": "2013-01-07...2013-01-10",
    }


def test_what_is_too_old_is_built_again_and_of_time_only_the_newest() -> None:
    @bronze(freshness=Freshness(max_age="1d"))
    def planes() -> None: ...

    @bronze(partitions=DAILY, freshness=Freshness(max_age="1d"))
    def raw() -> None: ...

    world = World([planes, raw], {"bronze.planes": "", "bronze.raw": "2013-01-01...2013-02-28"})
    finished = world.state(planes).current[0][1].finished
    for age, told in [(timedelta(hours=24), {}), (timedelta(hours=25), {"older than 1d": ""})]:
        assert why(world, "bronze.planes", "", finished + age) == told
    late = datetime(2013, 3, 1, 12, tzinfo=UTC)
    assert why(world, "bronze.raw", "2013-01-01...2013-02-28", late) == {"older than 1d": "2013-02-28"}


@pytest.mark.parametrize(
    ("freshness", "hour", "told"),
    [
        (Freshness(cron="0 6 * * *"), 5, {}),
        (Freshness(cron="0 6 * * *"), 6, {"due by its schedule": ""}),
        (Freshness(cron="0 6 * * *", timezone="America/New_York"), 10, {}),
        (Freshness(cron="0 6 * * *", timezone="America/New_York"), 11, {"due by its schedule": ""}),
        (Freshness(every="2d"), 9, {}),
        (Freshness(every="2d"), 12, {"due by its schedule": ""}),
        (Freshness(after_inputs=True), 12, {}),
    ],
)
def test_what_has_no_inputs_is_built_again_when_its_schedule_comes_round(
    freshness: Freshness, hour: int, told: dict[str, str]
) -> None:
    bare = [asset("bronze.planes"), asset("bronze.raw", partitions=DAILY), asset("silver.clean", "planes")]
    planes, raw, clean = (replace(one, freshness=freshness) for one in bare)
    world = World([planes, raw, clean], {"bronze.planes": "", "bronze.raw": JANUARY, "silver.clean": ""})
    noon = world.state(planes).current[0][1].started
    assert noon.hour == 12
    now = (noon + timedelta(days=1)).replace(hour=hour)
    assert why(world, "bronze.planes", "", now) == told
    assert why(world, "silver.clean", "", now) == {}
    assert why(world, "bronze.raw", JANUARY, datetime(2013, 3, 1, 12, tzinfo=UTC)) == {}


def test_a_partition_has_one_reason() -> None:
    world = pair()
    raw, clean = world.graph["bronze.raw"], world.graph["silver.clean"]
    know(world, raw.key, published(raw, DAILY.select(JANUARY), 60))
    know(world, clean.key, published(clean, DAILY.select("2013-01-01...2013-01-09"), 3, code_version="older"))
    assert why(world, "silver.clean", "2013-01-01...2013-01-12") == {
        "missing": "2013-01-10...2013-01-12",
        "code changed": "2013-01-01...2013-01-09",
    }


# ── what follows from it in a plan ────────────────────────────────────────────────────────


def test_what_may_change_is_planned_only_if_it_does() -> None:
    raw = asset("bronze.raw", partitions=DAILY)
    clean, top = asset("silver.clean", "raw", partitions=DAILY), asset("gold.top", "clean", partitions=DAILY)
    world = World([raw, clean, top], dict.fromkeys(["bronze.raw", "silver.clean", "gold.top"], JANUARY))
    know(world, clean.key, published(clean, DAILY.select(JANUARY), 3, code_version="older"))
    plan = world.plan("silver.clean", "gold.top", partitions=JANUARY, refresh=True, chunk=40)
    first, second = plan.steps
    assert [str(r) for r in first.reasons] == ["code changed"]
    assert [str(r) for r in second.reasons] == ["if silver.clean changes"]
    assert (str(first.maybe), str(second.maybe)) == ("none", JANUARY)


def test_upstream_stale_repairs_what_the_targets_are_made_from() -> None:
    raw = asset("bronze.raw", partitions=DAILY)
    clean, top = asset("silver.clean", "raw", partitions=DAILY), asset("gold.top", "clean", partitions=DAILY)
    world = World([raw, clean, top], dict.fromkeys(["bronze.raw", "silver.clean", "gold.top"], JANUARY))
    know(world, raw.key, published(raw, DAILY.select(JANUARY), 3, code_version="older"))
    assert not world.plan("gold.top", partitions="2013-01-05", refresh=True)
    plan = world.plan("gold.top", partitions="2013-01-05", refresh=True, upstream="stale")
    assert {s.asset.key: (str(s.partitions), str(s.reasons[0])) for s in plan.steps} == {
        "bronze.raw": ("2013-01-05", "code changed"),
        "silver.clean": ("2013-01-05", "if bronze.raw changes"),
        "gold.top": ("2013-01-05", "if silver.clean changes"),
    }


def test_steps_bear_what_stands_for_the_rows_that_are_there() -> None:
    world = pair()
    clean = world.graph["silver.clean"]
    digests = "".join(f"{n:016x}" for n in range(31))
    know(world, clean.key, published(clean, DAILY.select(JANUARY), 3, digests=digests, rows=310))
    (step,) = world.plan("silver.clean", partitions="2013-01-30...2013-02-02").of(clean)
    assert step.digests == {"2013-01-30": f"{29:016x}", "2013-01-31": f"{30:016x}"}
    assert step.rows == 40


# ── over random histories ─────────────────────────────────────────────────────────────────

TEN = Daily("2013-01-01", end="2013-01-11", column="date")


def _graph() -> tuple[AssetGraph, Asset, Asset]:
    raw, clean = asset("bronze.raw", partitions=TEN), asset("silver.clean", "raw", partitions=TEN)
    return AssetGraph([raw, clean]), raw, clean


Event = tuple[str, frozenset[int], Mapping[int, str], str]


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Publications of the two, each with its partitions, their rows, and the code that made them."""
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 12))):
        these = draw(st.frozensets(st.integers(0, 9), min_size=1))
        rows = {n: draw(st.sampled_from("abc")) for n in these}
        events.append((draw(st.sampled_from(["bronze.raw", "silver.clean"])), these, rows, draw(st.sampled_from("xy"))))
    return events


@given(histories())
def test_over_any_history_it_is_what_a_fold_of_single_partitions_says(history: list[Event]) -> None:
    graph, raw, clean = _graph()
    facts: dict[str, list[Fact]] = {"bronze.raw": [], "silver.clean": []}
    rows: dict[str, dict[int, str]] = {"bronze.raw": {}, "silver.clean": {}}
    version = {"bronze.raw": -1, "silver.clean": -1}
    changed: dict[int, int] = {}  # of a raw partition: the version since which it is what it is
    read: dict[int, tuple[int, str]] = {}  # of a clean one: the version of raw, and the code
    low = TEN.parse("2013-01-01")
    whole = TEN.all(NOW).to_pairs()
    for number, (key, these, content, code) in enumerate(history):
        if key == "silver.clean" and version["bronze.raw"] < 0:
            continue
        version[key] += 1
        same = {n for n in these if rows[key].get(n) == content[n]}
        rows[key].update(content)
        made = clean if key == "silver.clean" else raw
        facts[key].append(
            published(
                made,
                _set(TEN, low, these),
                number,
                version=version[key],
                code_version=made.code_version if code == "x" else "older",
                unchanged=_set(TEN, low, same).to_pairs(),
                compared=version[key] - 1,
                inputs=(InputPin(asset="bronze.raw", version=version["bronze.raw"], partitions=whole),)
                if made is clean
                else (),
                digests="".join(content[n] * DIGEST for n in sorted(these)),
            )
        )
        for n in these:
            if key == "bronze.raw" and n not in same:
                changed[n] = version[key]
            if key == "silver.clean":
                read[n] = (version["bronze.raw"], code)
    states = {key: AssetState.fold(TEN, found) for key, found in facts.items()}
    found = stale(graph, clean, TEN.all(NOW), lambda one: states[one.key], {raw.key: TEN.all(NOW)}, NOW)
    told = {TEN.parse(k) - low: r.cause for r in found for k in r.partitions}
    expected = {}
    for n in range(10):
        if n not in read:
            expected[n] = Cause.MISSING
        elif read[n][1] != "x":
            expected[n] = Cause.CODE
        elif changed.get(n, -1) > read[n][0]:
            expected[n] = Cause.INPUT
    assert told == expected
    assert states["bronze.raw"].digests(TEN.all(NOW)) == {
        TEN.key(low + n): content * DIGEST for n, content in rows["bronze.raw"].items()
    }


def _set(partitions: Partitions, low: int, numbers: Any) -> PartitionSet:
    return PartitionSet(partitions, tuple((low + n, low + n + 1) for n in numbers))


@pytest.mark.parametrize("given", ["", "5", "h", "-1h", "1y", 3, timedelta(0)])
def test_an_age_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match="is no duration"):
        Freshness(max_age=given)
