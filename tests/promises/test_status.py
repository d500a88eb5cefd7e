"""Status shows what a refresh would do, or waits for, and nothing that it would leave alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import Asset, AssetGraph, Daily, bronze, silver, source
from lakehouse.asset_status import AssetStatus, asset_statuses
from lakehouse.io.memory import MemoryTable
from lakehouse.lineage import AssetState, Fact, InputPin, Status
from lakehouse.partitions import PartitionSet, Present
from lakehouse.planning.plan import make_plan
from lakehouse.planning.request import Request
from lakehouse.planning.snapshot import Known, Snapshot
from lakehouse.planning.staleness import Cause
from lakehouse.testing.lineage import sample_fact

DAILY = Daily("2013-01-01", end="2013-01-07", column="date")
NOW = Present(datetime(2013, 1, 6, tzinfo=UTC), {})


@source(partitions=DAILY)
def files() -> dict[str, str]:
    return {}


@bronze(partitions=DAILY, code_version="1")
def raw(files: Any) -> None: ...


@silver(partitions=DAILY, code_version="1")
def clean(raw: pl.LazyFrame) -> None: ...


GRAPH = AssetGraph([clean])
TRIED = [s for s in Status if s not in (Status.OBSERVED, Status.REGISTERED, Status.RETIRED, Status.RENAMED)]


@st.composite
def _facts(draw: st.DrawFn) -> dict[str, list[Fact]]:
    """What became of the three, in any order, by any code, of any versions of their inputs."""
    days = st.frozensets(st.integers(0, 5), min_size=1).map(_days)
    facts: dict[str, list[Fact]] = {asset.key: [] for asset in GRAPH}
    for number in range(draw(st.integers(0, 14))):
        one = draw(st.sampled_from([files, raw, clean]))
        status = draw(st.sampled_from([Status.OBSERVED, Status.WIPED] if one.external else TRIED))
        part = draw(days)
        committed = status.committed
        pins = [
            InputPin(asset=edge.asset.key, version=draw(st.integers(0, 14)), partitions=part.to_pairs())
            for edge in GRAPH.inputs(one)
        ]
        facts[one.key].append(
            sample_fact(
                number,
                asset=one.key,
                status=status,
                partitions=part.to_pairs(),
                version=number if committed else None,
                inputs=tuple(pins),
                code_version=draw(st.sampled_from(["1", "1", "older"])),
                quarantine=f"memory://{one.name}-{number}" if status is Status.REJECTED else None,
            )
        )
    return facts


def _days(numbers: frozenset[int]) -> PartitionSet:
    first = DAILY.parse("2013-01-01")
    return PartitionSet(DAILY, tuple((first + n, first + n + 1) for n in numbers))


def _snapshot(facts: dict[str, list[Fact]]) -> Snapshot:
    known = {one.key: Known(AssetState.fold(one.partitions, facts[one.key]), tuple(facts[one.key])) for one in GRAPH}
    return Snapshot(known, NOW)


@given(_facts())
def test_what_status_shows_is_what_a_refresh_does_or_waits_for(facts: dict[str, list[Fact]]) -> None:
    snapshot = _snapshot(facts)
    for asset in (raw, clean):
        (one,) = asset_statuses(GRAPH, [asset], snapshot, lambda asset: MemoryTable(asset.name, partitioned=True))
        plan = make_plan(GRAPH, Request("refresh", asset), snapshot)
        reasons = [reason for step in plan.of(asset) for reason in step.reasons]
        # That an input may change in the same run is no news of the asset.
        does = DAILY.union(reason.partitions for reason in reasons if reason.cause is not Cause.MAYBE)
        missing = one.expected - one.present
        shown = missing | DAILY.union(reason.partitions for reason in one.stale)
        ready = one.expected - _waiting(asset, snapshot)
        assert does == shown & ready
        assert one.held <= shown | (one.expected - ready)
        assert one.failed <= shown
        for day in DAILY.all(NOW):
            _check_day(one, day, facts[asset.key], shown)


def _waiting(asset: Asset, snapshot: Snapshot) -> PartitionSet:
    """What the source doesn't have; both assets go by it, day by day."""
    return asset.partitions.all(NOW) - snapshot.state(files).present


def _check_day(one: AssetStatus, day: str, facts: list[Fact], shown: PartitionSet) -> None:
    about = [fact for fact in facts if day in DAILY.from_pairs(fact.partitions)]
    judged = [fact for fact in about if fact.status not in (Status.FAILED, Status.SKIPPED)]
    held = judged[-1] if judged and judged[-1].status is Status.REJECTED else None
    assert (day in one.held) == (held is not None)
    assert held is None or held.quarantine in one.quarantine
    failed = bool(about) and about[-1].status is Status.FAILED
    assert (day in one.failed) == (failed and day in shown)
