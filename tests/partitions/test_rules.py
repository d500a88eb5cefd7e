"""Which partitions are made from which: every rule against what it says, partition by partition."""

import itertools
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import (
    All,
    Daily,
    Dynamic,
    Every,
    From,
    Hourly,
    Last,
    Monthly,
    Multi,
    Overlap,
    PerDimension,
    Same,
    Static,
    Unpartitioned,
    Weekly,
    Window,
)
from lakehouse.errors import DefinitionError, PartitionError
from lakehouse.partitions import Cron, PartitionMapping, Partitions, PartitionSet, Present, Rule, TimePartitions, misfit
from tests.partitions.strategies import set_of

NOW = datetime(2013, 2, 12, 9, tzinfo=UTC)
PRESENT = Present(NOW, {"customers": ["acme", "globex", "initech"], "others": ["acme", "hooli"]})

CUSTOMERS, OTHERS = Dynamic("customers"), Dynamic("others")
KEYS = Static(["acme", "globex"])

ONES: list[Partitions] = [
    Unpartitioned(),
    Daily("2013-01-28", end="2013-02-10"),
    Daily("2013-02-01"),
    Daily("2013-01-30", timezone="America/New_York"),
    Monthly("2012-11"),
    Weekly("2013-01-07"),
    Weekly("2013-01-27", day="sunday", timezone="Europe/Berlin"),
    Hourly("2013-02-11T00:00"),
    Every("2013-02-10T00:00", minutes=480),
    Cron("0 6 * * mon,thu", start="2013-01-28T06:00"),
    KEYS,
    Static(["globex", "acme", "hooli"]),
    CUSTOMERS,
    OTHERS,
]
MULTIS: list[Partitions] = [
    Multi({"region": KEYS, "date": Daily("2013-02-01", end="2013-02-08")}),
    Multi({"date": Daily("2013-01-28"), "region": Static(["globex", "acme", "hooli"])}),
    Multi({"region": KEYS}),
    Multi({"date": Weekly("2013-01-07"), "region": CUSTOMERS, "site": Static([1, 2])}),
    Multi({"region": OTHERS, "month": Monthly("2012-12")}),
]
RULES: list[Rule | None] = [
    None,
    Same(),
    Overlap(),
    Window(before=2),
    Window(before=1, after=1),
    Window(1, -1),
    Last(),
    All(),
    PerDimension({}),
    PerDimension({"date": Window(before=1)}),
    PerDimension({"date": Last()}),
    PerDimension({"region": All()}),
    PerDimension({"region": Same(), "date": Last()}),
]
Case = tuple[Partitions, Partitions, Rule | None]
CASES: list[Case] = [
    (down, up, rule) for down, up, rule in itertools.product(ONES + MULTIS, ONES + MULTIS, RULES)
    if misfit(down, up, rule) is None
]  # fmt: skip


# ── what a rule says of one partition and another ─────────────────────────────────────────


def fits(down: Partitions, p: int, up: Partitions, q: int, rule: Rule | None) -> bool:
    """Whether a partition is made from another; by keys and instants, one by one."""
    match rule or obvious(down, up):
        case All():
            return True
        case Last():
            return q == max(up.all(PRESENT).ordinals())
        case Overlap():
            return overlap(down, p, up, q)
        case Window(before, after):
            return any(overlap(down, o, up, q) for o in range(p - before, p + after + 1))
        case PerDimension(rules):
            said = dict(rules)
            ours, theirs = sides(down, p, up, q, said)
            return all(fits(*(ours.get(name, (Unpartitioned(), 0))), *theirs[name], said.get(name)) for name in theirs)
        case _:
            return down.key(p) == up.key(q)


def obvious(down: Partitions, up: Partitions) -> Rule:
    if isinstance(down, Unpartitioned) or isinstance(up, Unpartitioned):
        return All()
    if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
        return Overlap()
    return PerDimension({}) if isinstance(down, Multi) or isinstance(up, Multi) else Same()


def overlap(down: Partitions, p: int, up: Partitions, q: int) -> bool:
    assert isinstance(down, TimePartitions)
    assert isinstance(up, TimePartitions)
    return down.instant(p) < up.instant(q + 1) and up.instant(q) < down.instant(p + 1)


Side = dict[str, tuple[Partitions, int]]


def sides(down: Partitions, p: int, up: Partitions, q: int, rules: dict[str, Rule]) -> tuple[Side, Side]:
    def of(one: Partitions, ordinal: int) -> Side | None:
        if not isinstance(one, Multi):
            return None
        words = dict(zip(one.dimensions, one.key(ordinal).split("|"), strict=True))
        return {name: (part, part.parse(words[name])) for name, part in one.dimensions.items()}

    ours, theirs = of(down, p), of(up, q)
    many = ours if ours is not None else theirs
    assert many is not None
    # In these cases a date goes with the date or the month, and keys with the region.
    one = down if ours is None else up
    (name,) = [
        n for n, (part, _) in many.items() if n != "site" and isinstance(part, TimePartitions) is
        isinstance(one, TimePartitions)
    ] if ours is None or theirs is None else [""]  # fmt: skip
    return (
        ours if ours is not None else {name: (down, p)},
        theirs if theirs is not None else {name: (up, q)},
    )


def universe(partitions: Partitions) -> list[int]:
    return list(partitions.all(PRESENT).ordinals())


@st.composite
def examples(draw: st.DrawFn) -> tuple[Case, Sequence[int], Sequence[int]]:
    down, up, _ = case = draw(st.sampled_from(CASES))
    return case, draw(some(universe(down))), draw(some(universe(up)))


def some(ordinals: list[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(st.sampled_from(ordinals), max_size=6, unique=True) if ordinals else st.just([])


def test_all_rules_and_kinds_are_among_the_cases() -> None:
    assert {type(rule) for _, _, rule in CASES} == {type(rule) for rule in RULES}
    assert {down.kind for down, _, _ in CASES} == {up.kind for _, up, _ in CASES} == {p.kind for p in ONES + MULTIS}
    assert sum(isinstance(d, Multi) != isinstance(u, Multi) for d, u, _ in CASES) > 50


@given(examples())
@settings(max_examples=400)
def test_each_partition_is_made_from_those_that_the_rule_says(
    example: tuple[Case, Sequence[int], Sequence[int]],
) -> None:
    (down, up, rule), wanted, given_ = example
    mapping = PartitionMapping(down, up, PRESENT, rule)
    needed = mapping.upstream(set_of(down, set(wanted))) & up.all(PRESENT)
    assert set(needed.ordinals()) == {q for q in universe(up) for p in wanted if fits(down, p, up, q, rule)}
    fed = mapping.downstream(set_of(up, set(given_))) & down.all(PRESENT)
    assert set(fed.ordinals()) == {p for p in universe(down) for q in given_ if fits(down, p, up, q, rule)}


@given(examples())
@settings(max_examples=200)
def test_downstream_is_upstream_the_other_way_round(example: tuple[Case, Sequence[int], Sequence[int]]) -> None:
    (down, up, rule), wanted, given_ = example
    mapping = PartitionMapping(down, up, PRESENT, rule)
    for p, q in itertools.product(wanted, given_):
        needs = bool(mapping.upstream(set_of(down, {p})) & set_of(up, {q}))
        assert needs == bool(mapping.downstream(set_of(up, {q})) & set_of(down, {p}))


# ── what people ask for ───────────────────────────────────────────────────────────────────

DAYS = Daily("2013-01-01")
SALES = Multi({"region": Static(["us", "eu"]), "date": DAYS})


@pytest.mark.parametrize(
    ("down", "up", "rule", "wanted", "needed"),
    [
        (DAYS, DAYS, Window(before=6), "2013-01-20", "2013-01-14...2013-01-20"),
        (DAYS, DAYS, Window(before=6), "2013-01-03", "2013-01-01...2013-01-03"),
        (DAYS, DAYS, Window(before=6), "2013-01-10, 2013-01-25", "2013-01-04...2013-01-10, 2013-01-19...2013-01-25"),
        (DAYS, DAYS, Window(1, -1), "2013-01-10", "2013-01-09"),
        (DAYS, DAYS, Window(1, -1), "2013-01-01", "none"),
        (DAYS, Hourly("2012-12-01T00:00"), Window(before=1), "2013-01-10", "2013-01-09T00:00...2013-01-10T23:00"),
        (DAYS, Hourly("2012-12-31T06:00"), Window(before=6), "2013-01-01", "2012-12-31T06:00...2013-01-01T23:00"),
        (Monthly("2012-11"), Daily("2012-11-01"), Window(before=1), "2013-01", "2012-12-01...2013-01-31"),
        (DAYS, Static(["a", "b"]), All(), "2013-01-10", "a...b"),
        (Static(["a"]), DAYS, Last(), "a", "2013-02-11"),
        (DAYS, Monthly("2012-06"), Last(), "2013-01-10", "2013-01"),
        (Daily("2013-01-01", timezone="Asia/Tokyo"), DAYS, Same(), "2013-01-10", "2013-01-10"),
        (SALES, SALES, None, "eu|2013-01-10", "eu|2013-01-10"),
        (SALES, SALES, PerDimension({"date": Window(before=6)}), "eu|2013-01-10", "eu|2013-01-04...2013-01-10"),
        (SALES, SALES, PerDimension({"region": All()}), "eu|2013-01-10", "us|2013-01-10, eu|2013-01-10"),
        (SALES, DAYS, None, "*|2013-01-10", "2013-01-10"),
        (DAYS, SALES, None, "2013-01-10", "us|2013-01-10, eu|2013-01-10"),
        (DAYS, SALES, PerDimension({"date": Window(1)}), "2013-01-10", "us|2013-01-09...2013-01-10, "
         "eu|2013-01-09...2013-01-10"),
        (Monthly("2013-01"), SALES, None, "2013-01", "us|2013-01-01...2013-01-31, eu|2013-01-01...2013-01-31"),
        (Static(["eu"]), SALES, PerDimension({"date": Last()}), "eu", "eu|2013-02-11"),
        (Unpartitioned(), SALES, Last, "", None),
    ],
)  # fmt: skip
def test_what_is_needed(down: Partitions, up: Partitions, rule: Rule | None, wanted: str, needed: str | None) -> None:
    if needed is None:
        with pytest.raises(PartitionError, match="multi partitions have no last one; say it of the dimension of time"):
            PartitionMapping(down, up, NOW, Last())
        return
    found = PartitionMapping(down, up, NOW, rule).upstream(down.select(wanted, now=NOW))
    assert str(found) == needed


def test_what_is_needed_may_not_be_over_yet() -> None:
    new_york = Daily("2013-01-02", timezone="America/New_York")
    today = new_york.select("2013-02-12")
    assert str(PartitionMapping(new_york, DAYS, NOW).upstream(today)) == "2013-02-12...2013-02-13"


def test_the_last_and_all_are_of_those_that_are_there() -> None:
    there = DAYS.select("2013-01-05...2013-01-09")
    one = Unpartitioned().all(NOW)
    last = PartitionMapping(Unpartitioned(), DAYS, NOW, Last(), there)
    assert last.upstream(one).keys() == ["2013-01-09"]
    assert last.downstream(there) == one
    assert not last.downstream(DAYS.select("2013-01-10"))
    assert PartitionMapping(Unpartitioned(), DAYS, NOW, None, there).upstream(one) == there
    regions = PartitionMapping(
        Static(["us", "eu"]), SALES, NOW, PerDimension({"date": Last()}), SALES.select("*|2013-01-05...2013-01-09")
    )
    assert regions.upstream(regions.down.select("us")).keys() == ["us|2013-01-09"]


def test_keys_that_are_registered_later_are_needed_all_the_same() -> None:
    mapping = PartitionMapping(Static(["acme", "soylent"]), CUSTOMERS, PRESENT)
    needed = mapping.upstream(mapping.down.all(PRESENT))
    assert needed.keys() == ["acme", "soylent"]
    assert (needed & CUSTOMERS.all(PRESENT)).keys() == ["acme"]


# ── what does not fit ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("down", "up", "rule", "says"),
    [
        (DAYS, KEYS, None, "daily partitions can't be made from static ones, unless a rule says how"),
        (DAYS, KEYS, Same(), "daily partitions have no namesakes among static ones"),
        (DAYS, KEYS, Window(6), "static partitions are no pieces of time"),
        (SALES, SALES, Window(6), "multi partitions are no pieces of time"),
        (DAYS, KEYS, Last(), "static partitions have no last one"),
        (DAYS, Daily("2013-02-01"), Window(6), "it begins at 2013-01-01, its input only at 2013-02-01"),
        (DAYS, DAYS, PerDimension({}), "neither daily nor daily partitions have dimensions"),
        (SALES, SALES, PerDimension({"dat": Same()}), "no dimension 'dat'; there are region, date; did you mean date?"),
        (SALES, DAYS, PerDimension({"region": Same()}), "by region, static partitions have no namesakes among"),
        (SALES, Multi({"shop": KEYS}), None, "it isn't clear which dimension of region|date goes with what"),
        (SALES, Multi({"date": KEYS}), None, "by date, daily partitions can't be made from static ones"),
        (SALES, Multi({"region": Static(["us"]), "date": DAYS}), None, "by region, its input has no partitions eu"),
        (DAYS, Multi({"made": DAYS, "sold": DAYS}), None, "which dimension of made|sold goes with what; say it with a "
         "rule: PerDimension({'made': Same()})"),
        (DAYS, Multi({"region": KEYS, "shop": KEYS}), None, "it isn't clear which dimension of region|shop"),
        (Multi({"region": KEYS, "date": Daily("2012-01-01")}), SALES, None, "by region, its input has no partitions"),
        (Multi({"date": Daily("2012-01-01")}), SALES, None, "by date, it begins at 2012-01-01"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_why(down: Partitions, up: Partitions, rule: Rule | None, says: str) -> None:
    fault = misfit(down, up, rule)
    assert fault is not None
    assert says in fault
    with pytest.raises(PartitionError):
        PartitionMapping(down, up, NOW, rule)


def test_which_of_two_days_is_meant_can_be_said() -> None:
    both = Multi({"made": DAYS, "sold": Daily("2013-01-30")})
    mapping = PartitionMapping(DAYS, both, NOW, PerDimension({"made": Same(), "sold": Last()}))
    assert str(mapping.upstream(DAYS.select("2013-02-01"))) == "2013-02-01|2013-02-11"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Window(-1), "holds nothing"),
        (lambda: Window(2, -3), "holds nothing"),
        (lambda: Window("6"), "whole numbers"),  # type: ignore[arg-type]
        (lambda: PerDimension(Same()), "a rule for each name"),  # type: ignore[arg-type]
        (lambda: PerDimension({"date": 6}), "a rule for each name"),  # type: ignore[dict-item]
    ],
)
def test_rules_that_can_not_be(make: object, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        make()  # type: ignore[operator]


def test_sets_of_other_partitions_are_refused() -> None:
    mapping = PartitionMapping(DAYS, DAYS, NOW)
    with pytest.raises(PartitionError, match=r"are monthly 2013-01\.\.\., not daily"):
        mapping.upstream(Monthly("2013-01").select("2013-01"))


def test_rules_are_values() -> None:
    for rule in RULES:
        assert rule is None or pickle.loads(pickle.dumps(From("bronze.x", rule))) == From("bronze.x", rule)
        assert hash(From("bronze.x", rule)) == hash(From("bronze.x", rule))
    assert PerDimension({"a": Same()}) == PerDimension({"a": Same()}) != PerDimension({"a": All()})


# ── size ──────────────────────────────────────────────────────────────────────────────────


def test_what_is_one_interval_stays_one_interval() -> None:
    minutes = Every("2010-01-01T00:00", minutes=5, end="2015-01-01T00:00")
    days = Daily("2010-01-01", end="2015-01-01")
    whole = minutes.all(NOW)
    assert len(whole) == 525_888
    for rule in (None, Window(before=6), Overlap()):
        mapping = PartitionMapping(days, minutes, NOW, rule)
        assert len(mapping.downstream(whole).spans) == len(mapping.upstream(days.all(NOW)).spans) == 1
    regions = Multi({"region": KEYS, "at": minutes})
    mapping = PartitionMapping(days, regions, NOW)
    assert mapping.upstream(days.all(NOW)) == regions.all(NOW)
    assert len(regions.all(NOW).spans) == 2
    assert mapping.downstream(regions.all(NOW)) == days.all(NOW)


def test_gaps_stay_gaps() -> None:
    minutes = Every("2010-01-01T00:00", minutes=5)
    odd = PartitionSet(minutes, tuple((low, low + 1) for low in range(minutes.low, minutes.low + 20_000, 2)))
    hours = Hourly("2010-01-01T00:00")
    assert len(PartitionMapping(hours, minutes, NOW).downstream(odd).spans) == 1
    assert PartitionMapping(minutes, minutes, NOW).upstream(odd) == odd
