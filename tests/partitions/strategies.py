"""Partitions to try things with."""

from datetime import UTC, datetime
from itertools import islice

from hypothesis import strategies as st

from lakehouse.partitions import (
    Cron,
    Daily,
    Dynamic,
    Every,
    Hourly,
    Monthly,
    Multi,
    Partitions,
    PartitionSet,
    Present,
    Static,
    TimePartitions,
    Weekly,
)

ZONES = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/Havana",
    "Pacific/Apia",
    "Asia/Kathmandu",
]
"""Among them: half hours, a clock that changes by half an hour, skipped midnights, a skipped day."""

TIMES: list[TimePartitions] = [
    *(Daily("2010-01-01", timezone=zone) for zone in ZONES),
    *(Monthly("2010-01", timezone=zone) for zone in ZONES),
    *(Weekly("2010-01-04", timezone=zone) for zone in ZONES),
    Weekly("2010-01-02", day="saturday"),
    Hourly("2010-01-01T00:00"),
    *(Hourly("2010-01-01T00:00Z", timezone=zone) for zone in ZONES[1:]),
    *(Every("2010-01-01T00:00Z", minutes=5, timezone=zone) for zone in ZONES),
    *(Hourly("2010-01-01T00:00", timezone=zone) for zone in ("Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")),
    *(Every("2010-01-01T00:00", minutes=30, timezone=zone) for zone in ("Asia/Kathmandu", "Australia/Lord_Howe")),
    Every("2010-01-01T00:00", minutes=480),
    *(Cron("*/15 * * * *", start="2010-01-01T00:00", timezone=zone) for zone in ZONES),
    *(Cron("30 0,2 * * mon-fri", start="2010-01-04T00:30", timezone=zone) for zone in ZONES),
    Cron("0 6 1,15 * *", start="2010-01-01T06:00"),
    Cron("59 23 29 2 *", start="2008-02-29T23:59"),
    Cron("0 12 13 * fri", start="2010-01-01T12:00"),
]

KEYS = ["EWR", "a...b", "x, y", "São Paulo", "../up", "100%", "~7e", "a=b/c", " ", "2", "\n", "日本", "ewr"]

REGISTERED = [key for key in KEYS if key != "\n"] + [f"key-{n}" for n in range(30)] + ["*", "z" * 200, "日" * 22]

NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)
PRESENT = Present(NOW, {"keys": REGISTERED})

DYNAMIC = Dynamic("keys", column="k")

MULTIS: list[Multi] = [
    Multi({"region": Static(KEYS), "date": Daily("2010-01-01", timezone="America/Sao_Paulo")}),
    Multi({"month": Monthly("2010-01"), "customer": DYNAMIC}),
    Multi({"a": Static(["x", "y"]), "hour": Hourly("1960-01-01T00:00", end="1960-01-02T00:00"), "b": Static(range(3))}),
    Multi({"seen": Weekly("2026-10-05"), "sold": Daily("2026-11-01"), "k": DYNAMIC, "s": Static([1])}),
    Multi({"k": Static(KEYS[:4]), "b": Static(["x", "y", "z"])}),
    Multi({"only": Cron("0 */6 * * *", start="2026-10-01T00:00")}),
]

DEFINITIONS: list[Partitions] = [
    *TIMES,
    Static(KEYS, column="k"),
    Static(range(40), column="k"),
    DYNAMIC,
    *MULTIS,
]

definitions = st.sampled_from(DEFINITIONS)


def some(partitions: Partitions, count: int = 60) -> list[int]:
    """The first of a definition's partitions; of each combination a few, where there are dimensions."""
    there = partitions.all(PRESENT)
    if not isinstance(partitions, Multi):
        return list(islice(there.ordinals(), count))
    step = max(1, len(there.spans) // 12)
    return [o for low, high in there.spans[::step] for o in range(low, min(high, low + 5))]


@st.composite
def ordinals(draw: st.DrawFn, partitions: Partitions, width: int = 40) -> set[int]:
    """Some of a definition's ordinals, near to its beginning."""
    universe = some(partitions)
    spans = draw(st.lists(st.tuples(st.integers(0, width), st.integers(0, 12)), max_size=5))
    return {o for start, size in spans for o in universe[start : start + size]}


def set_of(partitions: Partitions, chosen: set[int]) -> PartitionSet:
    return PartitionSet(partitions, tuple((o, o + 1) for o in chosen))


@st.composite
def sets(draw: st.DrawFn) -> PartitionSet:
    partitions = draw(definitions)
    return set_of(partitions, draw(ordinals(partitions)))


@st.composite
def one_partition(draw: st.DrawFn) -> tuple[Partitions, int]:
    """A partition of any definition, wherever in its range."""
    partitions = draw(definitions)
    spans = partitions.all(PRESENT).spans
    low, high = draw(st.sampled_from(spans))
    return partitions, draw(st.integers(low, high - 1))
