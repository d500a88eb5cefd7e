"""External assets: looked at, versioned, part of the graph and of staleness, never materialized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import (
    Asset,
    Daily,
    Dynamic,
    Lakehouse,
    Monthly,
    Multi,
    PartitionRange,
    Static,
    Unpartitioned,
    bronze,
    silver,
    source,
)
from lakehouse.errors import DefinitionError, PartitionError, PlanError, StepError, StorageError
from lakehouse.execution.engine import Watcher
from lakehouse.execution.home import Home, RunInfo
from lakehouse.execution.inline import InlineEngine
from lakehouse.execution.results import StepResult
from lakehouse.io import Files
from lakehouse.io.patterns import Pattern
from lakehouse.lineage import Status
from lakehouse.lineage.observations import Observed
from lakehouse.planning.plan import Plan
from lakehouse.testing import run_asset
from lakehouse.testing.tables import partition_cases

daily = Daily("2013-01-01", end="2013-02-01", column="date")
WEEK = "2013-01-01...2013-01-07"


class World:
    """A lakehouse that reads files which others write."""

    def __init__(self, folder: Path) -> None:
        landing_folder = folder / "landing"
        landing_folder.mkdir()

        @source(partitions=Daily("2013-01-01", end="2013-02-01"))
        def landing() -> Files:
            """What the airport sends."""
            return Files(f"{landing_folder}/{{partition:%Y%m%d}}.csv")

        @bronze(partitions=daily)
        def raw(landing: Observed, partitions: PartitionRange) -> pl.LazyFrame:
            return pl.scan_csv(list(landing.uris), try_parse_dates=True)

        @silver(partitions=daily)
        def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
            return raw.with_columns(pl.col("n") // 10)

        self.landing_folder = landing_folder
        self.lake = Lakehouse([landing, raw, clean], storage=folder / "data", lineage=f"sqlite:///{folder}/lineage.db")

    def arrives(self, *days: int, n: int = 7) -> None:
        for day in days:
            file = self.landing_folder / f"201301{day:02}.csv"
            file.write_text(f"date,n\n2013-01-{day:02},{n}\n")

    def refresh(self, what: str = "silver.clean", days: str | None = WEEK) -> dict[str, str]:
        run = self.lake.refresh(f"+{what}", days, engine="inline")
        return {one.asset.key: str(one.published) for one in run.summaries() if one.published}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_has_arrived_is_built_and_the_rest_is_left_until_it_does(world: World) -> None:
    world.arrives(1, 2, 4)
    assert world.refresh() == dict.fromkeys(["bronze.raw", "silver.clean"], "2013-01-01...2013-01-02, 2013-01-04")
    assert world.refresh() == {}
    world.arrives(3)
    assert world.refresh() == dict.fromkeys(["bronze.raw", "silver.clean"], "2013-01-03")
    assert world.lake.load("silver.clean").collect()["date"].n_unique() == 4


def test_a_file_that_changes_is_read_again_and_followed_as_far_as_rows_differ(world: World) -> None:
    world.arrives(1, 2, 3, n=71)
    world.refresh()
    world.arrives(2, n=72)
    plan = world.lake.plan("+silver.clean", WEEK, refresh=True)
    assert [(s.id, [str(r) for r in s.reasons]) for s in plan.steps] == [
        ("bronze.raw/2013-01-02", ["source.landing changed"]),
        ("silver.clean/2013-01-02", ["if bronze.raw changes"]),
    ]
    assert world.refresh() == {"bronze.raw": "2013-01-02", "silver.clean": "2013-01-02"}
    world.arrives(2, n=73)
    world.lake.refresh("bronze.raw", WEEK, engine="inline")
    world.arrives(3, n=71)  # the same again, but another file
    assert world.refresh() == {"bronze.raw": "2013-01-03", "silver.clean": "2013-01-02"}


def test_every_observation_is_a_fact_and_every_publication_names_the_one_it_read(world: World) -> None:
    world.arrives(1, 2)
    world.refresh()
    world.arrives(2, n=5)
    world.refresh()
    facts = world.lake.lineage_store.facts("source.landing")
    assert [(f.status, f.partitions) for f in facts] == [
        (Status.OBSERVED, (("2013-01-01", "2013-01-02"),)),
        (Status.OBSERVED, (("2013-01-02", "2013-01-02"),)),
    ]
    (pin,) = world.lake.lineage_store.facts("bronze.raw")[-1].inputs
    assert (pin.asset, pin.version) == ("source.landing", facts[1].version)
    (link,) = world.lake.lineage("bronze.raw", "2013-01-02").sources
    assert [one.asset for one in link.links] == ["source.landing"]


def test_observe_tells_what_is_new_once(world: World) -> None:
    assert {k: str(v) for k, v in world.lake.observe().items()} == {"source.landing": "none"}
    world.arrives(1, 2)
    assert str(world.lake.observe("source.landing")["source.landing"]) == "2013-01-01...2013-01-02"
    assert not world.lake.observe()["source.landing"]
    with pytest.raises(PlanError, match=r"bronze\.raw names no external asset"):
        world.lake.observe("bronze.raw")


def test_a_plan_looks_but_writes_nothing_down(world: World) -> None:
    world.arrives(1)
    assert world.lake.plan("bronze.raw", WEEK).steps
    assert world.lake.lineage_store.facts("source.landing") == []


def test_it_is_never_materialized(world: World) -> None:
    world.arrives(1)
    with pytest.raises(PlanError, match=r"source\.landing is external: others write it"):
        world.lake.materialize("source.landing", WEEK, engine="inline")
    with pytest.raises(StorageError, match="has no table"):
        world.lake.load("source.landing")
    run = world.lake.materialize("*", "2013-01-01", engine="inline")
    assert [one.asset.key for one in run.summaries()] == ["bronze.raw", "silver.clean"]


def test_to_name_only_what_has_not_arrived_is_an_error(world: World) -> None:
    world.arrives(1)
    with pytest.raises(PartitionError, match=r"nothing is there to make bronze\.raw from"):
        world.lake.materialize("bronze.raw", "2013-01-05", engine="inline")


def test_status_tells_what_has_arrived_and_what_it_makes_stale(world: World) -> None:
    world.arrives(1)
    world.refresh()
    world.arrives(1, n=8)
    landing, raw, clean = world.lake.status()
    assert (landing.asset.key, str(landing.present), landing.rows) == ("source.landing", "2013-01-01", None)
    assert [str(r) for r in raw.stale] == ["source.landing changed"]
    assert not clean.stale


@source(partitions=Daily("2013-01-01"))
def dropped() -> Files:
    return Files("{partition}.csv")


@bronze(partitions=daily)
def read(dropped: Observed) -> pl.LazyFrame:
    return pl.scan_csv(list(dropped.uris), try_parse_dates=True)


def test_it_is_made_in_a_unit_test_from_what_is_there() -> None:
    Path("2013-01-03.csv").write_text("date,n\n2013-01-03,9\n")
    assert run_asset(read, partitions="2013-01-03")["n"].to_list() == [9]


# ── what a source may tell ────────────────────────────────────────────────────────────────


def told(value: Any, **options: Any) -> Lakehouse:
    @source(**options)
    def outside() -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    @bronze(partitions=options.get("partitions"))
    def inside(outside: Observed) -> pl.LazyFrame:
        return pl.LazyFrame({"k": list(outside.versions), "version": list(outside.versions.values())})

    return Lakehouse([outside, inside], storage="data", lineage="sqlite:///lineage.db")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_may_tell_versions_by_key_or_one_for_all() -> None:
    keys = Static(["a", "b"], column="k")
    assert told({"a": "1", "b": "1"}, partitions=keys).refresh("*", engine="inline").ok
    lake = told({"a": "1", "b": "2"}, partitions=keys)
    assert str(lake.plan("*", refresh=True).partitions("bronze.inside")) == "b"


def test_one_version_for_all() -> None:
    assert told("v1").refresh("*", engine="inline").ok
    assert not told("v1").plan("*", refresh=True)
    assert told("v2").plan("*", refresh=True)


@pytest.mark.parametrize(
    ("value", "options", "says"),
    [
        (ValueError("no such server"), {}, "source.outside: looking at it raised ValueError: no such server"),
        (7, {}, "source.outside returned int; a source returns Files, or each partition's version by"),
        ("v1", {"partitions": Static(["a"], column="k")}, "source.outside returned str"),
        ({"a": 1}, {"partitions": Static(["a"], column="k")}, "source.outside returned dict"),
        (
            {"c": "1"},
            {"partitions": Static(["a"], column="k")},
            "source.outside told of a partition that can't be: 'c'",
        ),
    ],
)
def test_what_it_can_not_tell_is_one_clear_error(value: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(StepError) as caught:
        told(value, **options).plan("*")
    assert says in str(caught.value)


# ── files ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pattern", "partitions", "keys"),
    [
        ("in/{partition}.csv", Daily("2013-01-01"), ["2013-01-02"]),
        ("in/{partition:%Y%m%d}-*.csv", Daily("2013-01-01"), ["2013-01-03"]),
        ("in/{partition:%Y/%m/%d}/*", Daily("2013-01-01"), ["2013-01-04"]),
        ("in/{partition:%Y-%m}/x", Monthly("2013-01"), ["2013-02"]),
        ("in/{partition}/part-*.parquet", Static(["EWR", "JFK"]), ["JFK"]),
        ("in/*.csv", Unpartitioned(), [""]),
        ("in/{partition}.avro", Daily("2013-01-01"), []),
    ],
)
def test_a_pattern_says_which_partition_a_file_belongs_to(pattern: str, partitions: Any, keys: list[str]) -> None:
    for name in (
        "2013-01-02.csv", "20130103-a.csv", "20130103-b.csv", "2013/01/04/a", "2013-02/x", "JFK/part-0.parquet",
        "JFK/part-1.parquet", "LGA/part-0.parquet", "JFK/readme", "nonsense.txt",
    ):  # fmt: skip
        file = Path("in") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    found = Files(pattern).by_partition(partitions)
    assert list(found) == keys
    assert all(Path(file.uri).is_file() for files in found.values() for file in files)


SHOPS = Multi({"region": Static(["EU", "US"]), "day": Daily("2013-01-01")})


@pytest.mark.parametrize(
    ("pattern", "partitions", "found"),
    [
        ("{partition}*.csv", Daily("2013-01-01"), {"2013-01-02": 2, "2013-01-03": 1}),
        ("*{partition}*", Daily("2013-01-01"), {"2013-01-02": 3, "2013-01-03": 1}),
        ("{partition}_*.csv", Daily("2013-01-01"), {"2013-01-02": 1, "2013-01-03": 1}),
        ("{partition:%Y%m%d}*.txt", Daily("2013-01-01"), {"2013-11-12": 1}),
        ("{partition:%Y/%m/%d}*.txt", Daily("2013-01-01"), {"2013-01-05": 1}),
        ("**/{partition}.csv", Daily("2013-01-01"), {"2013-01-02": 1, "2013-01-06": 2}),
        ("**/*_{partition}*", Static(["shop", "mall"], column="k"), {"shop": 2}),
        ("{partition}/x/{partition}-*.csv", Static(["a", "b"], column="k"), {"a": 1}),
        ("{region}/{day}-*.csv", SHOPS, {"US|2013-01-07": 1}),
        ("{region}{day:%Y%m%d}.gz", SHOPS, {"EU|2013-01-08": 1}),
        ("{day:%Y%m}", Multi({"day": Monthly("2013-01")}), {"2013-02": 1}),
        ("**", Unpartitioned(), {"": 13}),
    ],
)  # fmt: skip
def test_where_a_key_ends_is_found_out(pattern: str, partitions: Any, found: dict[str, int]) -> None:
    for name in (
        "2013-01-02.csv", "2013-01-02_shop 1.csv", "2013-01-03_shop.csv", "x2013-01-02", "20131112a.txt",
        "2013/01/05x.txt",
        "a/2013-01-06.csv", "a/b/2013-01-06.csv", "a/x/a-1.csv", "a/x/b-1.csv", "US/2013-01-07-a.csv",
        "EU20130108.gz", "201302",
    ):  # fmt: skip
        file = Path("in") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    files = Files(f"in/{pattern}").by_partition(partitions)
    assert {key: len(listed) for key, listed in files.items()} == found
    assert all(Files(f"{Path.cwd()}/in/{pattern}").may_hold(str(file.uri)) for all_ in files.values() for file in all_)


@given(st.data())
def test_a_key_is_found_in_every_name_that_is_made_of_it(data: st.DataObject) -> None:
    """Or said to be ambiguous; another one is never taken."""
    case = data.draw(st.sampled_from(partition_cases()))
    key = data.draw(st.sampled_from(case.keys))
    if "/" in key:
        return
    stars = [data.draw(st.text("a1-_.T|", max_size=3)) for _ in range(3)]
    path, pattern = f"{stars[0]}/{stars[1]}{key}{stars[2]}.csv", "*/*{partition}*.csv"
    plain, sure = f"{stars[0]}/{key}.csv", "*/{partition}.csv"
    whose = case.partitions
    assert key in Pattern(pattern).keys(path, whose)
    assert Pattern(sure).keys(plain, whose) == (key,)


def test_files_of_whatever_name_are_found_and_read() -> None:
    names = [
        "a b",
        "100%",
        "a#b",
        "a?b",
        "ü 🛫",
        "a%20b",
        "[x]",
        "{y}",
        "q'uote\"",
        "semi;colon",
        "back\\slash",
        ".hidden",
        "-",
    ]
    Path("in").mkdir()
    for name in names:
        Path("in", name).write_text(name)
    files = Files("in/*").by_partition(Unpartitioned())[""]
    assert {file.name: file.read().decode() for file in files} == {name: name for name in names}


def test_a_name_that_can_be_read_in_two_ways_is_refused() -> None:
    Path("in").mkdir()
    Path("in/EU2.csv").write_text("x")
    assert list(Files("in/{partition}.csv").by_partition(Static(["EU", "EU2"]))) == ["EU2"]
    with pytest.raises(DefinitionError, match=r"'EU2.csv' may be of EU, EU2"):
        Files("in/{partition}*.csv").by_partition(Static(["EU", "EU2"]))
    with pytest.raises(DefinitionError, match=r"'EU2.csv' may be of E, EU, EU2"):
        Files("in/{partition}*.csv").by_partition(Dynamic("shops"))


def test_files_of_which_none_belongs_to_a_partition_are_told(caplog: pytest.LogCaptureFixture) -> None:
    Path("in").mkdir()
    assert Files("in/{partition}.csv").by_partition(daily) == {}
    assert not caplog.text
    for name in ("01-02-2013.csv", "shop.csv"):
        Path("in", name).write_text("x")
    assert Files("in/{partition}.csv").by_partition(daily) == {}
    assert "2 files, and none of them belongs to a partition of" in caplog.text
    assert "01-02-2013.csv" in caplog.text
    caplog.clear()
    Path("in/2013-01-02.csv").write_text("x")
    assert list(Files("in/{partition}.csv").by_partition(daily)) == ["2013-01-02"]
    assert not caplog.text


@pytest.mark.parametrize(
    ("pattern", "partitions", "says"),
    [
        ("in/{day}.csv", daily, r"\{day\} in the files '\{day\}\.csv' is none of \{partition\}"),
        ("in/{partiton}.csv", daily, "did you mean partition"),
        ("in/{}.csv", daily, "is none of"),
        ("in/{partition}-{region}.csv", daily, "is none of"),
        ("in/{region}.csv", Multi({"region": Static(["EU"]), "day": daily}), "nothing says which day"),
        ("in/{region}/{dya}.csv", Multi({"region": Static(["EU"]), "day": daily}), "did you mean day"),
    ],
)
def test_a_place_that_nothing_is_known_of_is_refused(pattern: str, partitions: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Files(pattern).by_partition(partitions)


def test_a_pattern_without_a_place_for_the_partition_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"\{partition\} in the pattern"):
        Files("in/*.csv").by_partition(daily)
    with pytest.raises(DefinitionError, match=r"leave \{partition\} out"):
        Files("in/{partition}.csv").by_partition(Unpartitioned())


def test_a_folder_that_is_not_there_is_told(world: World) -> None:
    with pytest.raises(StorageError, match=r"there is no folder .*/nowhere, where"):
        Files("nowhere/{partition}.csv").by_partition(daily)
    with pytest.raises(DefinitionError, match="can't be read as a time"):
        Files("in/{partition:%Q}.csv").by_partition(daily)


def test_what_is_gone_is_told_and_what_was_made_from_it_stays(world: World) -> None:
    world.arrives(1, 2)
    world.refresh()
    (world.landing_folder / "20130101.csv").unlink()
    assert world.refresh() == {}
    landing, raw, _ = world.lake.status()
    assert (str(landing.present), str(raw.present), raw.stale) == ("2013-01-02", "2013-01-01...2013-01-02", ())
    with pytest.raises(PartitionError, match="nothing is there to make"):
        world.lake.materialize("bronze.raw", "2013-01-01", engine="inline")
    world.arrives(1)
    assert world.refresh() == {"bronze.raw": "2013-01-01"}


def test_upstream_stale_leaves_sources_alone(world: World) -> None:
    world.arrives(1)
    world.refresh()
    run = world.lake.refresh("silver.clean", WEEK, upstream="stale", engine="inline")
    assert not run.plan
    world.arrives(1, n=80)
    run = world.lake.refresh("silver.clean", WEEK, upstream="stale", engine="inline")
    assert [one.asset.key for one in run.summaries()] == ["bronze.raw", "silver.clean"]
    assert run.ok


def test_a_source_that_is_out_of_reach_stops_nothing_else(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.arrives(1)
    world.refresh()
    world.landing_folder.rename(world.landing_folder.with_name("elsewhere"))
    assert world.refresh() == {}
    assert "there is no folder" in caplog.text
    assert world.lake.status()


def test_what_changed_between_plan_and_step_is_written_down_as_it_was_read(world: World) -> None:
    world.arrives(1, n=10)
    engine = _Late(lambda: world.arrives(1, n=30))
    world.lake.refresh("bronze.raw", WEEK, engine=engine)
    assert world.lake.load("bronze.raw").collect()["n"].to_list() == [30]
    (pin,) = world.lake.lineage_store.facts("bronze.raw")[-1].inputs
    assert pin.version == world.lake.lineage_store.facts("source.landing")[-1].version
    assert not world.lake.plan("bronze.raw", WEEK, refresh=True)


class _Late:
    """Something happens between the plan and its first step."""

    name = "late"

    def __init__(self, happens: Callable[[], None]) -> None:
        self.happens = happens

    def execute(self, plan: Plan, home: Home, run: RunInfo, watcher: Watcher) -> Sequence[StepResult]:
        self.happens()
        return InlineEngine().execute(plan, home, run, watcher)


def test_what_looks_at_a_source_takes_nothing() -> None:
    with pytest.raises(DefinitionError, match="takes nothing"):

        @source  # type: ignore[arg-type]
        def outside(other: Asset) -> None: ...
