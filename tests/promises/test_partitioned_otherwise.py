"""How an asset is partitioned may change: what is stored under the old meaning is not taken for the new."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import (
    Context,
    Cron,
    Daily,
    Every,
    Hourly,
    Lakehouse,
    Monthly,
    Multi,
    Run,
    Static,
    Weekly,
    bronze,
    gold,
    silver,
    source,
)
from lakehouse.errors import PartitionConflict, PartitioningChanged, SchemaViolation
from lakehouse.execution.home import RunInfo
from lakehouse.execution.step import run_step
from lakehouse.io.tokens import token, within
from lakehouse.lineage import AssetState, Fact, Status
from lakehouse.lineage.state import superseded
from lakehouse.maintenance import Maintenance
from lakehouse.partitions import Dynamic, Partitions, PartitionSet, TimePartitions
from tests.partitions.strategies import DEFINITIONS, PRESENT

HOURS: Final = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(24 * 4)]
ROWS: Final = pl.LazyFrame(
    {
        "at": HOURS,
        "seen": [at + timedelta(days=1) for at in HOURS],
        "region": ["us", "eu"] * (len(HOURS) // 2),
        "n": range(len(HOURS)),
    }
)
DAYS: Final = Daily("2013-01-01", end="2013-01-05", column="at")
REGIONS: Final = Static(["us", "eu"], column="region")
DAY, REGION = {"at": DAYS}, {"region": REGIONS}


def project(folder: Path, partitions: Partitions | None) -> Lakehouse:
    """The same rows by whatever partitions: at Bronze, at Silver, and a total of them."""

    @bronze(partitions=partitions, code_version="1")
    def raw(context: Context) -> pl.LazyFrame:
        if partitions is None:
            return ROWS
        return ROWS.filter(within(context.partitions, token(partitions, dict(ROWS.collect_schema()), where="raw")))

    @silver(partitions=partitions, code_version="1")
    def same(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw

    @gold(code_version="1")
    def total(same: pl.LazyFrame) -> pl.LazyFrame:
        return same.select(pl.col("n").sum(), pl.len().alias("rows"))

    return Lakehouse([raw, same, total], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")


def refresh(lake: Lakehouse) -> Run:
    return lake.refresh("*", engine="inline", raise_on_failure=False)


def present(lake: Lakehouse) -> dict[str, int]:
    return {one.asset.key: len(one.present) for one in lake.status()}


def wipe(lake: Lakehouse, *keys: str) -> None:
    for key in keys or ("bronze.raw", "silver.same"):
        Maintenance(lake).wipe(key, "*" if lake.graph[key].partitioned else None).apply()


def berlin(one: type[Daily]) -> Daily:
    return one("2013-01-01", end="2013-01-05", column="at", timezone="Europe/Berlin")


NOON = Cron("0 12 * * *", start="2012-12-31T12:00", end="2013-01-05T12:00", column="at")
CHANGES: Final[dict[str, tuple[Partitions | None, Partitions | None]]] = {
    "time zone of days": (DAYS, berlin(Daily)),
    "time zone of hours": (
        Hourly("2013-01-01T00:00", end="2013-01-05T00:00", column="at"),
        Hourly("2013-01-01T00:00", end="2013-01-05T00:00", column="at", timezone="America/New_York"),
    ),
    "time zone in several dimensions": (Multi({**REGION, **DAY}), Multi({**REGION, "at": berlin(Daily)})),
    "time zone of a cron expression": (
        NOON,
        Cron("0 12 * * *", start="2012-12-31T12:00", end="2013-01-05T12:00", column="at", timezone="Asia/Tokyo"),
    ),
    "column": (DAYS, Daily("2013-01-02", end="2013-01-06", column="seen")),
    "column of a dimension": (
        Multi({**REGION, **DAY}),
        Multi({**REGION, "at": Daily("2013-01-02", end="2013-01-06", column="seen")}),
    ),
    "cron expression": (NOON, Cron("0 0,12 * * *", start="2012-12-31T12:00", end="2013-01-05T12:00", column="at")),
    "weeks to days": (Weekly("2012-12-31", end="2013-01-07", column="at"), DAYS),
    "days to weeks": (DAYS, Weekly("2012-12-31", end="2013-01-07", column="at")),
    "first day of weeks": (
        Weekly("2012-12-31", end="2013-01-07", column="at"),
        Weekly("2012-12-30", end="2013-01-06", column="at", day="sunday"),
    ),
    "days to months": (DAYS, Monthly("2013-01", end="2013-02", column="at")),
    "minutes": (
        Every("2013-01-01T00:00", minutes=720, end="2013-01-05T00:00", column="at"),
        Every("2013-01-01T00:00", minutes=360, end="2013-01-05T00:00", column="at"),
    ),
    "where hours begin": (
        Hourly("2013-01-01T05:30", end="2013-01-05T05:30", column="at", timezone="Asia/Kolkata"),
        Hourly("2013-01-01T05:00", end="2013-01-05T06:00", column="at", timezone="Asia/Kolkata"),
    ),
    "keys to days": (REGIONS, DAYS),
    "days to keys": (DAYS, REGIONS),
    "order of dimensions": (Multi({**REGION, **DAY}), Multi({**DAY, **REGION})),
    "kind of a dimension": (
        Multi({**REGION, **DAY}),
        Multi({**REGION, "at": Weekly("2012-12-31", end="2013-01-07", column="at")}),
    ),
    "one more dimension": (DAYS, Multi({**REGION, **DAY})),
    "partitioned at last": (None, DAYS),
    "no longer partitioned": (DAYS, None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_stored_under_another_meaning_is_not_taken_for_what_it_is_not(tmp_path: Path, what: str) -> None:
    old, new = CHANGES[what]
    before = project(tmp_path, old)
    assert refresh(before).ok
    built = before.load("silver.same").collect()["n"].sort()
    lake = project(tmp_path, new)
    assert present(lake) == {"bronze.raw": 0, "silver.same": 0, "gold.total": 1}
    command = "lakehouse state wipe silver.same" + (" -p '*'" if new is not None else "")
    for version in (None, 0):
        with pytest.raises(PartitioningChanged, match=r"silver\.same is stored as "):
            lake.load("silver.same", version=version)
    faults = {one.asset.key: str(one.fault) for one in lake.status() if one.fault}
    assert set(faults) == {"bronze.raw", "silver.same"}
    assert command in faults["silver.same"]
    with pytest.raises(PartitioningChanged, match=r"lakehouse state wipe bronze\.raw"):
        lake.plan("*", refresh=True)
    # One after the other: what is made from it isn't read either, before its own turn.
    wipe(lake, "bronze.raw")
    plan = lake.plan("*", refresh=True)
    assert [asset.key for asset in plan.assets] == ["bronze.raw"]
    assert command in str(next(one for one in plan.left if one.asset.key == "silver.same"))
    wipe(lake, "silver.same")
    assert refresh(lake).ok
    expected = project(tmp_path / "apart", new)
    assert refresh(expected).ok
    assert lake.load("silver.same").collect().sort("n").equals(expected.load("silver.same").collect().sort("n"))
    assert lake.load("gold.total").collect().equals(expected.load("gold.total").collect())
    assert present(lake) == present(expected)
    assert not lake.plan("*", refresh=True)
    assert refresh(project(tmp_path, new)).plan.steps == ()
    assert built.len() > 0


def test_lineage_that_is_rebuilt_says_the_same(tmp_path: Path) -> None:
    refresh(project(tmp_path, DAYS))
    (tmp_path / "lineage.db").unlink()
    lake = project(tmp_path, berlin(Daily))
    Maintenance(lake).rebuild().apply()
    assert present(lake)["silver.same"] == 0
    wipe(lake)
    refresh(lake)
    (tmp_path / "lineage.db").unlink()
    Maintenance(lake).rebuild().apply()
    assert present(lake) == {"bronze.raw": 4, "silver.same": 4, "gold.total": 1}
    assert not lake.plan("silver.same", refresh=True)


def test_declared_as_before_everything_is_there(tmp_path: Path) -> None:
    refresh(project(tmp_path, DAYS))
    with pytest.raises(PartitioningChanged):
        project(tmp_path, REGIONS).load("silver.same")
    assert not project(tmp_path, DAYS).plan("*", refresh=True)


def test_what_was_built_before_it_was_wiped_does_not_come_back(tmp_path: Path) -> None:
    refresh(project(tmp_path, DAYS))
    lake = project(tmp_path, berlin(Daily))
    wipe(lake)
    back = project(tmp_path, DAYS)
    assert present(back) == {"bronze.raw": 0, "silver.same": 0, "gold.total": 1}
    wipe(back)
    assert present(back) == {"bronze.raw": 0, "silver.same": 0, "gold.total": 1}
    assert refresh(back).ok
    assert back.load("gold.total").collect()["rows"].item() == len(HOURS)


def test_a_step_that_was_planned_before_does_not_publish_after(tmp_path: Path) -> None:
    old, new = project(tmp_path, DAYS), project(tmp_path, Daily("2013-01-02", end="2013-01-06", column="seen"))
    refresh(old)
    plan = old.plan("bronze.raw", "2013-01-01...2013-01-04")
    wipe(new, "bronze.raw")

    with pytest.raises(PartitioningChanged):
        run_step(plan.steps[0], old, RunInfo("late", datetime.now(UTC), "inline"))
    assert new.refresh("bronze.raw", engine="inline").ok


def test_who_publishes_while_it_is_wiped_comes_too_late(tmp_path: Path) -> None:
    old, new = project(tmp_path, DAYS), project(tmp_path, berlin(Daily))
    refresh(old)
    change = Maintenance(new).wipe("bronze.raw", "*")
    old.materialize("bronze.raw", "2013-01-01", engine="inline")
    with pytest.raises(PartitionConflict, match="call it again"):
        change.apply()
    assert old.load("bronze.raw").collect().height == len(HOURS)
    wipe(new, "bronze.raw")
    assert present(new)["bronze.raw"] == 0


def test_only_all_of_it_can_be_wiped(tmp_path: Path) -> None:
    refresh(project(tmp_path, DAYS))
    upkeep = Maintenance(project(tmp_path, berlin(Daily)))
    for verb in (upkeep.wipe, upkeep.forget):
        with pytest.raises(PartitioningChanged):
            verb("silver.same", "2013-01-01")


def test_what_an_older_release_wrote_is_believed_and_a_table_still_refuses_other_keys(tmp_path: Path) -> None:
    lake = project(tmp_path, DAYS)
    refresh(lake)
    _forget_specs(lake)
    lake = project(tmp_path, DAYS)
    assert not lake.plan("*", refresh=True)
    lake = project(tmp_path, berlin(Daily))
    assert present(lake)["silver.same"] == 4, "it can't be known"
    run = lake.materialize("bronze.raw", "2013-01-02", engine="inline", raise_on_failure=False)
    assert isinstance(run.results[0].cause, SchemaViolation)
    assert "state wipe" in str(run.results[0].cause)
    wipe(lake)
    assert present(lake)["silver.same"] == 0
    assert refresh(lake).ok
    assert lake.load("silver.same").collect()["n"].n_unique() == lake.load("silver.same").collect().height


def _forget_specs(lake: Lakehouse) -> None:
    """Let the facts be as an older release wrote them."""
    for key in ("bronze.raw", "silver.same", "gold.total"):
        facts = lake.lineage_store.facts(key)
        lake.lineage_store.remove(key, [fact.id for fact in facts])
        lake.lineage_store.append([fact.model_copy(update={"spec": ""}) for fact in facts])


def test_an_external_asset_is_looked_at_anew(tmp_path: Path) -> None:
    def lake_of(timezone: str) -> Lakehouse:
        daily = Daily("2013-01-01", end="2013-01-03", column="at", timezone=timezone)

        @source(partitions=daily)
        def files() -> dict[str, str]:
            return {"2013-01-01": "a", "2013-01-02": "b"}

        @bronze(code_version="1")
        def read(files: object) -> pl.LazyFrame:
            return pl.LazyFrame({"n": [1]})

        return Lakehouse([files, read], storage=tmp_path / "data", lineage=f"sqlite:///{tmp_path}/lineage.db")

    lake = lake_of("UTC")
    assert refresh(lake).ok
    assert not lake.plan("*", refresh=True)
    lake = lake_of("Europe/Berlin")
    assert [str(r) for r in lake.plan("*", refresh=True).steps[0].reasons] == ["source.files changed"]
    assert refresh(lake).ok
    assert not lake.plan("*", refresh=True)


# ── what lies outside of bounds that were moved ───────────────────────────────────────────


@pytest.mark.parametrize(
    ("fewer", "outside", "left", "back"),
    [
        (Daily("2013-01-03", end="2013-01-05", column="at"), "2013-01-01...2013-01-02", 2, DAYS),
        (Daily("2013-01-01", end="2013-01-04", column="at"), "2013-01-04", 3, DAYS),
        (Static(["eu"], column="region"), "us", 1, REGIONS),
        (
            Multi({**REGION, "at": Daily("2013-01-02", end="2013-01-05", column="at")}),
            "us|2013-01-01",
            6,
            Multi({**REGION, **DAY}),
        ),
    ],
)
def test_what_lies_outside_is_kept_and_told_and_not_read(
    tmp_path: Path, fewer: Partitions, outside: str, left: int, back: Partitions
) -> None:
    whole = project(tmp_path, back)
    refresh(whole)
    lake = project(tmp_path, fewer)
    status = next(one for one in lake.status() if one.asset.key == "silver.same")
    assert status.outside[0] == outside
    assert len(status.present) == len(status.expected) == left
    # Keys that went may be renamed yet, and can be read for themselves as long as they are there.
    read = lake.load("silver.same").collect().height
    assert status.rows == read
    assert (read < len(HOURS)) == (fewer.kind != "static")
    assert f"wipe silver.same --partition={shlex.quote(outside)}" in _shown(lake)
    assert [asset.key for asset in lake.plan("*", refresh=True).assets] == ["gold.total"]
    assert refresh(lake).ok
    total = lake.load("gold.total").collect()["rows"].item()
    assert 0 < total < len(HOURS)
    assert not lake.plan("*", refresh=True)
    # Declared as before, it is there again.
    assert present(whole)["silver.same"] == len(project(tmp_path, back).status()[1].expected)
    assert whole.load("silver.same").collect().height == len(HOURS)
    Maintenance(lake).wipe("silver.same", [*status.outside]).apply()
    assert next(one for one in lake.status() if one.asset.key == "silver.same").outside == ()
    assert lake.load("silver.same").collect().height == total
    assert not lake.plan("silver.same", refresh=True)


def _shown(lake: Lakehouse) -> str:
    from rich.console import Console

    from lakehouse.display.statuses import states

    console = Console(width=400, record=True, file=StringIO())
    console.print(states(lake.status(), datetime.now(UTC), wide=True))
    return console.export_text()


def test_more_partitions_leave_those_that_are_there(tmp_path: Path) -> None:
    refresh(project(tmp_path, Daily("2013-01-02", end="2013-01-04", column="at")))
    plan = project(tmp_path, DAYS).plan("silver.same", refresh=True)
    assert str(plan.partitions("silver.same")) == "2013-01-01, 2013-01-04"


# ── keys that come and go, and bounds, are no other meaning ───────────────────────────────


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DAYS, Daily("2012-12-01", end="2014-01-01", column="at")),
        (DAYS, Daily("2013-01-02", end="2013-01-04", column="at")),
        (DAYS, Daily("2013-01-01", column="at")),
        (REGIONS, Static(["eu", "us", "asia"], column="region")),
        (REGIONS, Static(["us"], column="region")),
        (Dynamic("old", column="region"), Dynamic("new", column="region")),
        (Hourly("2013-01-01T05:30", column="at", timezone="Asia/Kolkata"), None),
        (Every("2016-01-01T00:00", minutes=30, column="at", timezone="America/Caracas"), None),
    ],
)
def test_bounds_and_keys_are_no_part_of_the_meaning(before: Partitions, after: Partitions | None) -> None:
    if after is None:
        assert isinstance(before, TimePartitions)
        after = type(before)(before.key(before.low + 12_345), column="at", timezone=before.timezone, **_own(before))
    assert after.spec == before.spec


def _own(partitions: Partitions) -> dict[str, int]:
    return {"minutes": partitions.minutes} if isinstance(partitions, Every) else {}


_DEFINED = st.sampled_from(DEFINITIONS)


@given(_DEFINED, st.integers(0, 5), st.sampled_from(list(Status)))
def test_the_same_definition_never_refuses_what_it_wrote(partitions: Partitions, version: int, status: Status) -> None:
    fact = _fact(partitions, version, status)
    state = AssetState.fold(partitions, [fact])
    assert state.meaning.fault("silver.x") is None
    assert Fact.from_json(fact.to_json()).spec == partitions.spec


@given(
    st.sampled_from(DEFINITIONS),
    st.sampled_from(DEFINITIONS),
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6),
)
def test_only_what_came_since_the_last_change_counts(
    ours: Partitions, theirs: Partitions, history: list[tuple[bool, bool]]
) -> None:
    """Whoever published last, by their own definition, says how the table is partitioned."""
    specs = [(ours if mine else theirs).spec if told else "" for mine, told in history]
    facts = [_fact(ours, number).model_copy(update={"spec": spec}) for number, spec in enumerate(specs)]
    state = AssetState.fold(ours, facts)
    told = [spec for spec in specs if spec]
    assert bool(state.meaning.fault("silver.x")) == bool(told and told[-1] != ours.spec)
    last = max((number for number, spec in enumerate(specs) if spec not in ("", ours.spec)), default=-1)
    since = [fact for fact in facts if fact.version is not None and fact.version > last]
    counted = AssetState.fold(ours, [] if state.meaning.other else since)
    assert (state.current, state.changes, state.attempts) == (counted.current, counted.changes, counted.attempts)
    spare = {fact.id for fact in superseded(ours, facts)}
    left = AssetState.fold(ours, [fact for fact in facts if fact.id not in spare])
    if not state.meaning.other:
        assert (left.current, left.meaning.before, left.version) == (state.current, state.meaning.before, state.version)


def _fact(partitions: Partitions, version: int, status: Status = Status.PUBLISHED) -> Fact:
    whole = partitions.all(PRESENT)
    return Fact(
        id=f"{version:032x}",
        asset="silver.x",
        status=status,
        partitions=PartitionSet(partitions, tuple((low, low + 1) for low, _ in whole.spans[:3])).to_pairs(),
        run="1",
        started=HOURS[0],
        finished=HOURS[0],
        version=version,
        spec=partitions.spec,
    )


def test_what_a_fact_says_of_its_keys_never_changes() -> None:
    """It is stored: a word that changed would make everything seem to be partitioned otherwise."""
    dimensions = Multi({**REGION, "at": berlin(Daily)})
    known = {
        "daily UTC by at": DAYS,
        "daily Europe/Berlin by at": berlin(Daily),
        "weekly sunday UTC by at": Weekly("2012-12-30", day="sunday", column="at"),
        "monthly UTC by at": Monthly("2013-01", column="at"),
        "hourly Asia/Kolkata by at": Hourly("2013-01-01T00:00", timezone="Asia/Kolkata", column="at"),
        "hourly Asia/Kolkata from UTC by at": Hourly("2013-01-01T00:30", timezone="Asia/Kolkata", column="at"),
        "every 5 UTC by at": Every("2013-01-01T00:00", minutes=5, column="at"),
        "cron 0 12 * * * UTC by at": NOON,
        "static by region": REGIONS,
        "dynamic by region": Dynamic("regions", column="region"),
        "region: static by region | at: daily Europe/Berlin by at": dimensions,
    }
    assert {spec: known[spec].spec for spec in known} == {spec: spec for spec in known}
