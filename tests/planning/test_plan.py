"""What a plan builds, why, in which chunks, and from which versions."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse import Asset, Daily, Hourly, Monthly, Static, Unpartitioned
from lakehouse.errors import PartitionError, PlanError, SelectionError
from lakehouse.lineage import AssetState, Status
from lakehouse.planning.staleness import Cause
from lakehouse.planning.steps import Step
from lakehouse.testing.lineage import sample_fact
from tests.support.worlds import DAILY, NOW, World, asset, failed_fact, shown

JANUARY = "2013-01-01...2013-01-31"


def line() -> list[Asset]:
    """raw -> clean -> top, all daily."""
    return [
        asset("bronze.raw", partitions=DAILY),
        asset("silver.clean", "raw", partitions=DAILY),
        asset("gold.top", "clean", partitions=DAILY),
    ]


def reasons(step: Step) -> list[tuple[Cause, str, str | None]]:
    return [(r.cause, str(r.partitions), r.about) for r in step.reasons]


# ── reasons ───────────────────────────────────────────────────────────────────────────────


def test_what_is_asked_for_is_built_with_what_it_lacks_upstream() -> None:
    plan = World(line()).plan("gold.top", partitions="2013-01-05")
    assert [step.id for step in plan.steps] == [
        "bronze.raw/2013-01-05",
        "silver.clean/2013-01-05",
        "gold.top/2013-01-05",
    ]
    assert [reasons(step) for step in plan.steps] == [
        [(Cause.UPSTREAM, "2013-01-05", "silver.clean")],
        [(Cause.UPSTREAM, "2013-01-05", "gold.top")],
        [(Cause.ASKED, "2013-01-05", None)],
    ]
    assert [str(step.reasons[0]) for step in plan.steps] == [
        "missing upstream of silver.clean",
        "missing upstream of gold.top",
        "asked for",
    ]
    assert [step.after for step in plan.steps] == [(), ("bronze.raw/2013-01-05",), ("silver.clean/2013-01-05",)]
    assert plan.targets == (plan.steps[-1].asset,)
    assert plan.now == NOW


def test_what_is_named_is_built_though_it_is_there() -> None:
    world = World(line(), {"bronze.raw": JANUARY, "silver.clean": JANUARY, "gold.top": JANUARY})
    plan = world.plan("gold.top", partitions="2013-01-05")
    assert shown(plan) == {"gold.top": "2013-01-05"}
    assert reasons(plan.steps[0]) == [(Cause.ASKED, "2013-01-05", None)]
    assert plan.current == {}


def test_only_what_is_missing_is_built_in_a_refresh() -> None:
    world = World(line(), {"bronze.raw": JANUARY, "silver.clean": JANUARY, "gold.top": "2013-01-01...2013-01-09"})
    plan = world.plan("gold.top", partitions="2013-01-05...2013-01-12", refresh=True)
    assert shown(plan) == {"gold.top": "2013-01-10...2013-01-12"}
    assert reasons(plan.steps[0]) == [(Cause.MISSING, "2013-01-10...2013-01-12", None)]
    assert {key: str(there) for key, there in plan.current.items()} == {"gold.top": "2013-01-05...2013-01-09"}


def test_without_partitions_all_that_is_missing_by_now_is_meant() -> None:
    world = World(line(), {"bronze.raw": "2013-01-01...2013-02-27", "gold.top": JANUARY})
    plan = world.plan("gold.top", chunk=100)
    assert shown(plan) == {
        "bronze.raw": "2013-02-28",
        "silver.clean": "2013-02-01...2013-02-28",
        "gold.top": "2013-02-01...2013-02-28",
    }
    assert str(plan.current["gold.top"]) == JANUARY


def test_nothing_to_do_is_an_empty_plan() -> None:
    everything = dict.fromkeys(["bronze.raw", "silver.clean", "gold.top"], "2013-01-01...2013-02-28")
    plan = World(line(), everything).plan("gold.top")
    assert not plan
    assert len(plan) == 0
    assert plan.assets == ()
    assert str(plan.current["gold.top"]) == "2013-01-01...2013-02-28"
    with pytest.raises(KeyError):
        plan.partitions("gold.top")


def test_what_failed_or_was_held_back_is_missing() -> None:
    (raw, clean, top) = line()
    world = World([raw, clean, top], {"bronze.raw": JANUARY})
    for status in (Status.FAILED, Status.REJECTED, Status.SKIPPED):
        world.states["silver.clean"] = failed_fact(clean, "2013-01-05", status)
        plan = world.plan("silver.clean", partitions="2013-01-05", refresh=True)
        assert shown(plan) == {"silver.clean": "2013-01-05"}


def test_what_a_target_lacks_is_not_built_for_partitions_that_are_not_built() -> None:
    world = World(line(), {"gold.top": JANUARY})
    assert not world.plan("gold.top", partitions=JANUARY, refresh=True)


def test_each_partition_of_a_step_has_its_own_reason() -> None:
    assets = [
        asset("bronze.raw", partitions=DAILY),
        asset("silver.one", "raw", partitions=DAILY),
        asset("silver.two", "raw", partitions=Monthly("2013-01", column="m")),
    ]
    world = World(assets, {"silver.one": "2013-01-01...2013-01-10"})
    plan = world.plan(
        "bronze.raw", "silver.one", "silver.two", partitions="2013-01-09...2013-01-12", refresh=True, chunk=40
    )
    (raw,) = plan.of("bronze.raw")
    assert reasons(raw) == [
        (Cause.MISSING, "2013-01-09...2013-01-12", None),
        (Cause.UPSTREAM, "2013-01-01...2013-01-08, 2013-01-13...2013-01-31", "silver.two"),
    ]
    (one,) = plan.of("silver.one")
    assert reasons(one) == [
        (Cause.MISSING, "2013-01-11...2013-01-12", None),
        (Cause.MAYBE, "2013-01-09...2013-01-10", "bronze.raw"),
    ]


# ── upstream ──────────────────────────────────────────────────────────────────────────────


def test_upstream_all_builds_what_is_there_as_well() -> None:
    everything = dict.fromkeys(["bronze.raw", "silver.clean", "gold.top"], JANUARY)
    plan = World(line(), everything).plan("gold.top", partitions="2013-01-05", upstream="all")
    assert shown(plan) == dict.fromkeys(everything, "2013-01-05")
    assert plan.steps[0].reasons[0].cause is Cause.REBUILT


def test_upstream_all_builds_nothing_for_a_target_that_is_there() -> None:
    everything = dict.fromkeys(["bronze.raw", "silver.clean", "gold.top"], JANUARY)
    assert not World(line(), everything).plan("gold.top", partitions=JANUARY, upstream="all", refresh=True)


def test_upstream_none_leaves_what_is_there() -> None:
    plan = World(line(), {"silver.clean": "2013-01-05"}).plan("gold.top", partitions="2013-01-05", upstream="none")
    assert shown(plan) == {"gold.top": "2013-01-05"}


def test_upstream_none_refuses_what_was_never_built() -> None:
    with pytest.raises(PlanError) as caught:
        World(line(), {"silver.clean": "2013-01-05"}).plan(
            "gold.top", partitions="2013-01-05...2013-01-07", upstream="none"
        )
    assert "gold.top needs silver.clean 2013-01-06...2013-01-07, which was never built" in str(caught.value)
    assert 'leave upstream at "missing"' in str(caught.value)


def test_upstream_none_takes_what_the_plan_itself_makes() -> None:
    plan = World(line(), {"bronze.raw": JANUARY}).plan(
        "silver.clean", "gold.top", partitions="2013-01-05", upstream="none"
    )
    assert shown(plan) == {"silver.clean": "2013-01-05", "gold.top": "2013-01-05"}


# ── what is not partitioned, or cut otherwise ─────────────────────────────────────────────


def test_a_target_that_is_not_partitioned_is_always_built_when_it_is_named() -> None:
    assets = [asset("bronze.planes"), asset("silver.planes_clean", "planes")]
    world = World(assets, {"bronze.planes": "", "silver.planes_clean": ""})
    plan = world.plan("silver.planes_clean")
    assert [step.id for step in plan.steps] == ["silver.planes_clean"]
    assert reasons(plan.steps[0])[0][0] is Cause.ASKED
    assert not world.plan("silver.planes_clean", refresh=True)
    missing = World(assets).plan("silver.planes_clean", refresh=True)
    assert [step.id for step in missing.steps] == ["bronze.planes", "silver.planes_clean"]


def test_what_is_not_partitioned_needs_all_that_is_over_of_its_inputs() -> None:
    world = World([asset("bronze.raw", partitions=DAILY), asset("silver.total", "raw")])
    plan = world.plan("silver.total", chunk=40)
    assert shown(plan) == {"bronze.raw": "2013-01-01...2013-02-28", "silver.total": ""}
    (total,) = plan.of("silver.total")
    assert str(total.inputs[0].partitions) == "2013-01-01...2013-02-28"
    assert total.after == tuple(step.id for step in plan.of("bronze.raw"))


def test_each_partition_needs_the_whole_of_what_is_not_partitioned() -> None:
    world = World([asset("bronze.planes"), asset("silver.flown", "planes", partitions=DAILY)])
    plan = world.plan("silver.flown", partitions="2013-01-01...2013-01-04", chunk=2)
    assert [step.id for step in plan.steps] == [
        "bronze.planes",
        "silver.flown/2013-01-01...2013-01-02",
        "silver.flown/2013-01-03...2013-01-04",
    ]
    assert [step.after for step in plan.steps] == [(), ("bronze.planes",), ("bronze.planes",)]
    assert len(plan.steps[1].inputs[0].partitions) == 1


def test_partitions_mean_those_of_the_targets_that_have_some() -> None:
    world = World([asset("bronze.planes"), asset("bronze.raw", partitions=DAILY)])
    plan = world.plan("bronze.planes", "bronze.raw", partitions="2013-01-05")
    assert shown(plan) == {"bronze.planes": "", "bronze.raw": "2013-01-05"}


def test_days_and_hours_are_built_together() -> None:
    hourly = Hourly("2013-01-01T00:00", column="at")
    assets = [asset("bronze.raw", partitions=hourly), asset("silver.days", "raw", partitions=DAILY)]
    world = World(assets, {"bronze.raw": "2013-01-02T00:00...2013-01-02T22:00"})
    plan = world.plan("silver.days", partitions="2013-01-02...2013-01-03")
    assert shown(plan)["bronze.raw"] == "2013-01-02T23:00...2013-01-03T23:00"
    by_day = world.plan("bronze.raw", "silver.days", partitions="2013-01-02")
    assert shown(by_day) == {"bronze.raw": "2013-01-02T00:00...2013-01-02T23:00", "silver.days": "2013-01-02"}
    by_hour = world.plan("bronze.raw", "silver.days", partitions="2013-01-02T05:00")
    assert shown(by_hour)["silver.days"] == "2013-01-02"
    assert by_hour.of("bronze.raw")[0].reasons[0].cause is Cause.ASKED


def test_months_are_made_of_days() -> None:
    monthly = Monthly("2013-01", column="month")
    world = World([asset("bronze.raw", partitions=DAILY), asset("silver.months", "raw", partitions=monthly)])
    plan = world.plan("silver.months")
    assert shown(plan) == {"bronze.raw": "2013-01-01...2013-02-28", "silver.months": "2013-01...2013-02"}


def test_a_range_beyond_one_targets_bounds_means_what_it_has_of_it() -> None:
    later = Daily("2013-01-10", column="date")
    world = World([asset("bronze.raw", partitions=DAILY), asset("bronze.late", partitions=later)])
    plan = world.plan("bronze.raw", "bronze.late", partitions="2013-01-08...2013-01-11")
    assert shown(plan) == {"bronze.late": "2013-01-10...2013-01-11", "bronze.raw": "2013-01-08...2013-01-11"}


def test_partitions_may_come_as_any_iterable() -> None:
    world = World([asset("bronze.a", partitions=DAILY), asset("bronze.b", partitions=DAILY)])
    for given in (["2013-01-01", "2013-01-03"], (d for d in ["2013-01-01", "2013-01-03"]), "2013-01-01,2013-01-03"):
        plan = world.plan("bronze.a", "bronze.b", partitions=given)
        assert shown(plan) == dict.fromkeys(["bronze.a", "bronze.b"], "2013-01-01, 2013-01-03")


# ── time that is not over ─────────────────────────────────────────────────────────────────


def zoned() -> World:
    """Days in New York that are made from days in UTC."""
    new_york = Daily("2013-01-02", timezone="America/New_York", column="date")
    return World([asset("bronze.raw", partitions=DAILY), asset("silver.local", "raw", partitions=new_york)])


def test_a_day_is_not_built_before_all_that_it_is_made_from_is_over() -> None:
    # March 1st, 6 o'clock in UTC: February 28th is over in New York, but needs March 1st of UTC.
    early = zoned().plan("silver.local", now=datetime(2013, 3, 1, 6, tzinfo=UTC))
    assert early.partitions("silver.local").keys()[-1] == "2013-02-27"
    assert early.partitions("bronze.raw").keys()[-1] == "2013-02-28"
    later = zoned().plan("silver.local", now=datetime(2013, 3, 2, 0, tzinfo=UTC))
    assert later.partitions("silver.local").keys()[-1] == "2013-02-28"
    assert later.partitions("bronze.raw").keys()[-1] == "2013-03-01"


def test_to_ask_for_a_day_whose_inputs_are_not_over_is_an_error() -> None:
    with pytest.raises(PartitionError) as caught:
        zoned().plan("silver.local", partitions="2013-02-28", now=datetime(2013, 3, 1, 6, tzinfo=UTC))
    assert "silver.local 2013-02-28 can't be whole yet: it needs bronze.raw 2013-03-01" in str(caught.value)
    assert zoned().plan("silver.local", partitions="2013-02-27", now=datetime(2013, 3, 1, 6, tzinfo=UTC))


def test_what_is_not_over_holds_back_what_lies_further_down() -> None:
    raw = asset("bronze.raw", partitions=Monthly("2013-01", column="m"))
    days = asset("silver.days", "raw", partitions=DAILY)
    hours = asset("gold.hours", "days", partitions=Hourly("2013-01-01T00:00", column="at"))
    total = asset("gold.total", "days")
    plan = World([raw, days, hours, total]).plan("gold.hours", "gold.total", now=datetime(2013, 3, 20, tzinfo=UTC))
    assert shown(plan) == {
        "bronze.raw": "2013-01...2013-02",
        "silver.days": "2013-01-01...2013-02-28",
        "gold.hours": "2013-01-01T00:00...2013-02-28T23:00",
        "gold.total": "",
    }
    (step,) = plan.of("gold.total")
    assert str(step.inputs[0].partitions) == "2013-01-01...2013-02-28"


# ── chunks ────────────────────────────────────────────────────────────────────────────────


def test_partitions_are_cut_into_chunks() -> None:
    plan = World(line()).plan("gold.top", partitions="2013-01-01...2013-02-15", chunk=20)
    assert [step.id for step in plan.of("gold.top")] == [
        "gold.top/2013-01-01...2013-01-20",
        "gold.top/2013-01-21...2013-02-09",
        "gold.top/2013-02-10...2013-02-15",
    ]
    assert [len(step.partitions) for step in plan.of("bronze.raw")] == [20, 20, 6]
    assert all(len(step.after) == 1 for step in plan.of("gold.top"))


def test_gaps_share_a_chunk() -> None:
    plan = World(line()).plan("bronze.raw", partitions=["2013-01-01", "2013-01-05...2013-01-07", "2013-01-30"])
    (step,) = plan.steps
    assert str(step.partitions) == "2013-01-01, 2013-01-05...2013-01-07, 2013-01-30"
    assert step.id == "bronze.raw/2013-01-01...2013-01-30"


def test_chunks_of_assets_that_are_cut_alike_lie_at_the_same_places() -> None:
    world = World(line(), {"bronze.raw": "2013-01-01...2013-01-17", "silver.clean": "2013-01-01...2013-01-08"})
    plan = world.plan("gold.top", partitions="2013-01-01...2013-01-31", chunk=10)
    assert [step.id for step in plan.of("bronze.raw")] == [
        "bronze.raw/2013-01-18...2013-01-20",
        "bronze.raw/2013-01-21...2013-01-30",
        "bronze.raw/2013-01-31",
    ]
    assert all(len(step.after) <= 1 for step in plan.steps)
    assert plan.of("silver.clean")[1].after == ("bronze.raw/2013-01-18...2013-01-20",)
    assert plan.of("silver.clean")[0].after == ()


def test_static_partitions_are_chunked_too() -> None:
    partitions = Static(list("abcdefg"), column="k")
    world = World([asset("bronze.raw", partitions=partitions)], {"bronze.raw": "b"})
    plan = world.plan("bronze.raw", chunk=3)
    assert [step.partitions.keys() for step in plan.steps] == [["a", "c"], ["d", "e", "f"], ["g"]]
    assert len({step.id for step in plan.steps}) == 3


# ── versions ──────────────────────────────────────────────────────────────────────────────


def test_inputs_are_pinned_to_the_version_that_is_recorded() -> None:
    assets = [*line(), asset("silver.side", "raw", partitions=DAILY)]
    world = World(assets, {"bronze.raw": JANUARY}, {"bronze.raw": 17})
    plan = world.plan("gold.top", "silver.side", partitions="2013-01-05")
    assert {(step.asset.key, i.asset.key, i.version) for step in plan.steps for i in step.inputs} == {
        ("silver.clean", "bronze.raw", 17),
        ("silver.side", "bronze.raw", 17),
        ("gold.top", "silver.clean", None),
    }


def test_the_version_is_the_newest_of_an_asset_whichever_partitions_are_read() -> None:
    (raw, clean, _) = line()
    world = World([raw, clean])
    facts = [
        sample_fact(n, asset=raw.key, partitions=raw.partitions.select(key).to_pairs(), version=version)
        for n, (key, version) in enumerate([("2013-01-01", 4), ("2013-01-02", 9), ("2013-01-03", 6)])
    ]
    world.states[raw.key] = AssetState.fold(raw.partitions, facts)
    plan = world.plan("silver.clean", partitions="2013-01-01", now=NOW)
    assert plan.steps[0].inputs[0].version == 9


# ── bad requests ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("targets", "options", "error", "says"),
    [
        (["gold.top"], {"upstream": "stale-ish"}, PlanError, "upstream='stale-ish' is not known; there are missing"),
        (["gold.top"], {"chunk": 0}, PlanError, "chunk=0 can't be"),
        (["gold.top"], {"chunk": -3}, PlanError, "chunk=-3 can't be"),
        (["gold.top"], {"chunk": 1.5}, PlanError, "chunk=1.5 can't be"),
        (["gold.top"], {"partitions": "January"}, PartitionError, "'January' is no partition key"),
        (["gold.top"], {"partitions": "2013-01-05...2013-01-01"}, PartitionError, "reversed"),
        (["gold.top"], {"partitions": "2012-12-31"}, PartitionError, "outside"),
        (["gold.top"], {"partitions": "2013-03-01"}, PartitionError, "there are 2013-01-01...2013-02-28"),
        (["gold.top"], {"partitions": []}, PartitionError, "partitions [] name none"),
        (["bronze.planes"], {"partitions": "2013-01-05"}, PartitionError, "bronze.planes is not partitioned"),
        (["bronze.planes"], {"partitions": []}, PartitionError, "bronze.planes is not partitioned"),
        (["bronze.origins"], {"partitions": "JFX"}, PartitionError, "did you mean JFK?"),
        (["bronze.origins", "gold.top"], {"partitions": "JFK"}, PartitionError, "'JFK' is no partition key of daily"),
        (["bronze.origins", "gold.top"], {"partitions": "2013-01-05"}, PartitionError, "'2013-01-05' is no partition"),
    ],
)
def test_a_request_that_can_not_be_planned_is_an_error(
    targets: list[str], options: dict[str, Any], error: type[Exception], says: str
) -> None:
    origins = asset("bronze.origins", partitions=Static(["EWR", "JFK"], column="origin"))
    world = World([*line(), asset("bronze.planes"), origins])
    with pytest.raises(error) as caught:
        world.plan(*targets, **options)
    assert says in str(caught.value)


def test_assets_that_are_not_partitioned_are_named_together() -> None:
    world = World([asset("bronze.planes"), asset("bronze.airports")])
    with pytest.raises(PartitionError, match=r"bronze\.airports, bronze\.planes are not partitioned"):
        world.plan("bronze.planes", "bronze.airports", partitions="2013-01-05")


def test_a_plan_of_no_targets_is_refused() -> None:
    with pytest.raises(SelectionError, match="selects no asset"):
        World(line()).plan_of([])


def test_a_plan_is_made_of_values() -> None:
    world = World(line())
    one = world.plan("gold.top", partitions=JANUARY)
    other = world.plan("gold.top", partitions=JANUARY)
    assert one == other
    assert one.of("gold.top") == one.of(world.graph["gold.top"])
    assert one.partitions("gold.top") == DAILY.select(JANUARY)
    assert Unpartitioned() not in {step.asset.partitions for step in one.steps}
