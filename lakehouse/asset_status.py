"""What is known of each asset: how much of it is there, what is stale and why, what its checks found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import LakehouseError, StorageError
from lakehouse.execution.run import merge_checks
from lakehouse.lineage import AssetState, CheckResult, Fact, Status
from lakehouse.partitions import PartitionSet
from lakehouse.planning.demand import ready_by, ready_partitions
from lakehouse.planning.left import Left, waiting
from lakehouse.planning.snapshot import Snapshot, in_parallel
from lakehouse.planning.staleness import Reason, stale

if TYPE_CHECKING:
    from lakehouse.io import TableReader


@final
@dataclass(frozen=True)
class AssetStatus:
    """What is known of one asset.

    Parameters:
        asset: the asset
        expected: the partitions that could be there by now; present: those that are
        held: those that checks held back and that were not published since, whatever was tried in vain
        failed: those whose last attempt failed, of what is missing or stale: of all else that is history
        stale: why those that are there are out of date
        rows: rows in the table; None: there is none
        outside: partitions that are stored and are none of the asset's, as it is declared: nothing is made from them
        last: how its last run ended: the newest fact of that run, one of what was not published before others; None:
            nothing was ever tried
        checks: what its checks found in the facts that are current, or that hold something back
        quarantine: URIs of the rows that are held back now, or lie in no partition
        uri: where its table lies
        waiting: what could be there by now and waits for what a source doesn't have yet; None: nothing
        fault: why its table or source can't be read, if it can't: then the rest is what lineage says
        unrecorded: partitions whose rows are read and that no record tells of: one was removed by hand
    """

    asset: Asset
    expected: PartitionSet
    present: PartitionSet
    held: PartitionSet
    failed: PartitionSet
    stale: tuple[Reason, ...]
    rows: int | None
    last: Fact | None
    checks: tuple[CheckResult, ...]
    quarantine: tuple[str, ...]
    uri: str
    waiting: Left | None = None
    fault: LakehouseError | None = None
    outside: tuple[str, ...] = ()
    unrecorded: PartitionSet | None = None


def asset_statuses(
    graph: AssetGraph,
    assets: Sequence[Asset],
    snapshot: Snapshot,
    table: Callable[[Asset], TableReader],
    *,
    look: bool = True,
) -> list[AssetStatus]:
    """What is known of each of some assets. One whose table or source can't be read hides no other.

    Parameters:
        graph: all assets
        assets: those in question
        snapshot: what is known of them and of all they depend on
        table: says where an asset's rows live
        look: whether tables are looked into; if not, rows are those that lineage tells of
    """
    involved = graph.involved(assets)
    ready = ready_by(graph, involved, snapshot.state, snapshot.now)
    over = ready_partitions(graph, involved, lambda asset: asset.partitions.all(snapshot.now), snapshot.now)

    unread = {asset for asset in involved if snapshot.fault(asset) is not None}

    def unsure(asset: Asset) -> bool:
        """Whether it isn't known what it could be made from."""
        return asset.external or not unread.isdisjoint(graph.involved([asset]) if unread else ())

    def tell(asset: Asset) -> AssetStatus:
        stored = None if asset.external else table(asset)
        state = snapshot.state(asset)
        expected, there = asset.partitions.all(snapshot.now), state.present & ready[asset.key]
        reasons = [] if asset.external else stale(graph, asset, there, snapshot.state, ready, snapshot.now)
        # What a refresh would leave alone needs nobody's attention, however an attempt at it ended.
        due = (expected - state.present) | asset.partitions.union(reason.partitions for reason in reasons)
        held = [(part & expected, fact) for part, fact in state.rejected if part & expected]
        absent = over[asset.key] - state.present
        rows, outside, fault = None if look else recorded_rows(state), list[str](), snapshot.fault(asset)
        unrecorded = asset.partitions.empty()
        if stored is not None and fault is None and look:
            try:
                if (version := stored.version()) is not None:
                    found = stored.rows()
                    rows, outside = _count(asset, found)
                    # In a later version there is what somebody has published since.
                    unrecorded = _unrecorded(state, found) if version == state.version else unrecorded
            except StorageError as error:
                fault = error
        return AssetStatus(
            asset=asset,
            expected=expected,
            present=asset.partitions.possible(state.present),
            held=state.held & expected,
            failed=state.last(Status.FAILED) & due,
            stale=tuple(reasons),
            rows=rows,
            last=_last(state),
            checks=merge_checks([_checks_of(part, fact) for part, fact in (*state.current, *held)]),
            quarantine=tuple(dict.fromkeys(f.quarantine for _, f in (*held, *state.current) if f.quarantine)),
            uri=stored.uri if stored else asset.key,
            waiting=None if unsure(asset) else waiting(graph, asset, absent, over, ready, snapshot.now),
            fault=fault,
            outside=tuple(outside),
            unrecorded=unrecorded or None,
        )

    return in_parallel(tell, assets) if look else [tell(asset) for asset in assets]


def recorded_rows(state: AssetState) -> int | None:
    """How many rows are published, as far as lineage tells; of a part of a publication, its share. None: no partition.

    Parameters:
        state: what lineage says of the asset
    """
    if not state.current:
        return None
    every = state.partitions.from_pairs
    return round(sum(fact.rows * len(part) / max(len(every(fact.partitions)), 1) for part, fact in state.current))


def _count(asset: Asset, stored: Mapping[str, int]) -> tuple[int, list[str]]:
    """How many rows are read of what is stored, and what isn't."""
    from lakehouse.io.tokens import bounded, outside, tokens

    if not asset.partitioned:
        return sum(stored.values()), []
    inside = bounded(asset.partitions, stored)
    read = stored if inside is None else tokens(inside)
    return sum(stored[token] for token in read), outside(asset.partitions, stored)


def _unrecorded(state: AssetState, stored: Mapping[str, int]) -> PartitionSet:
    """Which of the partitions that are stored no fact tells of, be it that they are there or that they don't count."""
    from lakehouse.io.tokens import from_tokens

    there = state.partitions.possible(from_tokens(state.partitions, [token for token, rows in stored.items() if rows]))
    return there - state.present - state.partitions.union(part for part, _ in state.gone)


def _last(state: AssetState) -> Fact | None:
    """The fact that says how the last run ended."""
    facts = [fact for _, fact in reversed(state.attempts)]
    facts_of_run = [fact for fact in facts if fact.run == facts[0].run]
    return next(
        (fact for fact in facts_of_run if fact.status is not Status.PUBLISHED),
        facts_of_run[0] if facts_of_run else None,
    )


def _checks_of(part: PartitionSet, fact: Fact) -> list[CheckResult]:
    """What a fact's checks say of the part of it that still counts."""
    found = []
    for check in fact.checks:
        failed = part.partitions.from_pairs(check.failed) & part
        found.append(
            check.model_copy(
                update={
                    "passed": not failed,
                    "failed": failed.to_pairs(),
                    "failing_rows": check.failing_rows if failed else 0,
                }
            )
        )
    return found
