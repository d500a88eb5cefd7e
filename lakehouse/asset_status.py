"""What is known of each asset: how much of it is there, what is stale and why, what its checks found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset
from lakehouse.lineage import AssetState, CheckResult, Fact, Status
from lakehouse.partitions import PartitionSet
from lakehouse.planning.staleness import Reason

if TYPE_CHECKING:
    pass


@final
@dataclass(frozen=True)
class AssetStatus:
    """What is known of one asset.

    Parameters:
        asset: the asset
        expected: the partitions that could be there by now; present: those that are
        held: those whose last attempt was held back by checks
        failed: those whose last attempt failed
        stale: why those that are there are out of date
        rows: rows in the table; None: there is none
        last: how its last run ended: the newest fact of that run, one of what was not published before others; None:
            nothing was ever tried
        checks: what its checks found in the facts that are current, or that hold something back
        quarantine: URIs of the rows that are held back now
        uri: where its table lies
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


def last_of(state: AssetState) -> Fact | None:
    """The fact that says how the last run ended."""
    facts = sorted((fact for _, fact in state.attempts), key=lambda fact: fact.id, reverse=True)
    told = [fact for fact in facts if fact.run == facts[0].run]
    return next((fact for fact in told if fact.status is not Status.PUBLISHED), told[0] if told else None)


def checks_of(part: PartitionSet, fact: Fact) -> list[CheckResult]:
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
