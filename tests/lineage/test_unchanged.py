"""Until which version rows stayed what they were, against a history followed partition by partition."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Daily, Static
from lakehouse.lineage import Fact, Status
from lakehouse.lineage.unchanged import Asked, renamed_since, unchanged
from lakehouse.partitions import PartitionSet
from lakehouse.testing.lineage import sample_fact

DAYS = Daily("2013-01-01", column="d")
DAY = DAYS.parse("2013-01-01")
MANY = 8


def days(low: int, high: int) -> PartitionSet:
    return PartitionSet(DAYS, ((DAY + low, DAY + high),))


_spans = st.tuples(st.integers(0, MANY - 1), st.integers(1, 4)).map(lambda s: (s[0], min(s[0] + s[1], MANY)))
_events = st.lists(
    st.tuples(st.sampled_from([Status.PUBLISHED] * 4 + [Status.WIPED, Status.FORGOTTEN]), _spans, _spans,
              st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=12,
)  # fmt: skip


@given(_events, st.sets(st.integers(0, 11), max_size=1))
def test_what_is_said_to_be_the_same_is_the_same_and_no_longer(events: list[Any], others: set[int]) -> None:
    facts: list[Fact] = []
    content: list[list[object]] = []  # of each version, what stands for each day's rows
    touched: list[set[int]] = []
    others = {version for version in others if version < len(events)}
    for version, (status, span, same, back, compares) in enumerate(events):
        now = list(content[-1]) if content else [None] * MANY
        before = version - 1 - back
        these = set(range(*span))
        touched.append({*range(MANY)} if version in others else set() if status is Status.FORGOTTEN else these)
        unchanged_ = these & set(range(*same)) if status is Status.PUBLISHED and compares and before >= 0 else set()
        if version in others:
            content.append([(version, day) for day in range(MANY)])
            continue
        for day in these if status is not Status.FORGOTTEN else ():
            now[day] = content[before][day] if day in unchanged_ else (version, day)
        content.append(now)
        same_days = PartitionSet(DAYS, tuple((DAY + day, DAY + day + 1) for day in unchanged_)).to_pairs()
        facts.append(
            sample_fact(id=f"{events[version][3]}{version:031}", asset="a", status=status, version=version, inputs=(),
                        partitions=days(*span).to_pairs(), unchanged=same_days,
                        compared=before if unchanged_ else None)
        )  # fmt: skip
    versions = range(len(content))
    asked = [Asked(version, days(0, MANY)) for version in versions]
    for one, found in zip(asked, unchanged(DAYS, facts, asked, others), strict=True):
        whole = DAYS.union(part for part, _ in found)
        assert whole == one.partitions
        assert sum(len(part) for part, _ in found) == len(whole)
        for part, until in found:
            last = versions[-1] if until is None else until
            for day in (ordinal - DAY for ordinal in part.ordinals()):
                then = content[one.version][day]
                assert all(content[v][day] == then for v in range(one.version, last + 1))
                assert last == versions[-1] or day in touched[last + 1], "nothing was done to it after that"


def test_of_what_was_compared_with_what_it_replaced_it_is_known_that_it_stayed() -> None:
    pairs = days(0, 1).to_pairs()
    facts = [sample_fact(id=f"{v:032}", version=v, partitions=pairs, inputs=(), unchanged=pairs if v in (1, 3) else (),
                         compared=v - 1 if v in (1, 3) else None) for v in range(4)]  # fmt: skip
    found = unchanged(DAYS, facts, [Asked(v, days(0, 1)) for v in range(4)])
    assert [[until for _, until in one] for one in found] == [[1], [1], [None], [None]]


def test_keys_that_were_another_partitions_are_told() -> None:
    keys = Static(["a", "b", "c"])
    rename = sample_fact(version=4, partitions=(("b", "b"),), renamed=(("a", "b"),), inputs=())
    assert [renamed_since(keys, [rename], version).keys() for version in (3, 4)] == [["a", "b"], []]
