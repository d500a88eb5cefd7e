"""Partitions to try things with."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from lakehouse.partitions import Daily, Hourly, Monthly, Partitions, PartitionSet, Static

NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)

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

TIMES: list[Daily | Hourly | Monthly] = [
    *(Daily("2010-01-01", timezone=zone) for zone in ZONES),
    *(Monthly("2010-01", timezone=zone) for zone in ZONES),
    Hourly("2010-01-01T00:00"),
    *(Hourly("2010-01-01T00:00Z", timezone=zone) for zone in ZONES[1:]),
]

KEYS = ["EWR", "a...b", "x, y", "São Paulo", "../up", "100%", "~7e", "a=b/c", " ", "2", "\n", "日本", "ewr"]

DEFINITIONS: list[Partitions] = [
    *TIMES,
    Static(KEYS, column="k"),
    Static(range(40), column="k"),
]

definitions = st.sampled_from(DEFINITIONS)


@st.composite
def ordinals(draw: st.DrawFn, partitions: Partitions, width: int = 40) -> set[int]:
    """Some of a definition's ordinals, near to its beginning."""
    low, high = partitions.bounds(NOW)
    spans = draw(st.lists(st.tuples(st.integers(0, width), st.integers(0, 12)), max_size=5))
    return {o for start, size in spans for o in range(low + start, low + start + size) if o < high}


def set_of(partitions: Partitions, chosen: set[int]) -> PartitionSet:
    return PartitionSet(partitions, tuple((o, o + 1) for o in chosen))


@st.composite
def sets(draw: st.DrawFn) -> PartitionSet:
    partitions = draw(definitions)
    return set_of(partitions, draw(ordinals(partitions)))
