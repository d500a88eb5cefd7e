"""What a materialization did: its plan, and the outcome of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from lakehouse.definitions.asset import Asset
from lakehouse.errors import MaterializationFailed, UnknownAsset, count, nearest, shorten
from lakehouse.execution.home import Home, load
from lakehouse.execution.results import StepResult
from lakehouse.lineage import CheckResult, Fact, Status
from lakehouse.partitions import PartitionSet
from lakehouse.planning.left import Left
from lakehouse.planning.plan import Plan

if TYPE_CHECKING:
    import polars as pl


_CAUSES = 5
"""How many different errors are chained to the one that sums them up."""


@final
@dataclass(frozen=True)
class AssetSummary:
    """What a run did to one asset.

    Parameters:
        asset: the asset
        published, rejected, failed, skipped: which partitions
        rows: rows published; bytes: stored bytes of them
        checks: what its checks found, those of all steps together
        seconds: time that its steps took, added up
        errors: what went wrong, each thing once
        apart: how many rows lie in no partition, and are kept apart
        uri: where it lies
    """

    asset: Asset
    published: PartitionSet
    rejected: PartitionSet
    failed: PartitionSet
    skipped: PartitionSet
    rows: int
    bytes: int
    checks: tuple[CheckResult, ...]
    seconds: float
    errors: tuple[str, ...]
    apart: int
    uri: str


@final
@dataclass(frozen=True, repr=False)
class Run:
    """A materialization that has ended.

    Parameters:
        id: the run, as lineage names it
        plan: what was to be done
        results: the outcome of each step
        seconds: how long it took
        home: where its tables are

    Examples:
        ``run = materialize(flights, partitions="2013-01-01", raise_on_failure=False)``, then
        ``run.ok``, ``run.published(flights)``, ``run.frame(flights).collect()``.
    """

    id: str
    plan: Plan
    results: tuple[StepResult, ...]
    seconds: float
    home: Home = field(repr=False)

    def __repr__(self) -> str:
        number = sum(len(result.published) for result in self.results)
        rows = sum(result.rows for result in self.results)
        how = "ok" if self.ok else "not ok"
        what = f"{count(number, 'partition')} of {count(len(self.plan.assets), 'asset')}, {count(rows, 'row')}"
        return f"Run({self.id}, {how}: {what})"

    @property
    def ok(self) -> bool:
        """Whether everything in the plan was published, or was as it should be, and all that was asked could be read.

        What only waits for a source that doesn't have it yet is in [Run.waiting][].
        """
        return all(result.ok for result in self.results) and not self.plan.faults

    @property
    def waiting(self) -> tuple[Left, ...]:
        """What was asked for and waits for what a source doesn't have yet."""
        return tuple(one for one in self.plan.left if one.awaited)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Everything that was recorded."""
        return tuple(fact for result in self.results for fact in result.facts)

    @property
    def cause(self) -> Exception | None:
        """The error that kept something from being made, as it was raised; several different ones as a group."""
        causes = list({result.error: result.cause for result in self.results if result.cause}.values())[:_CAUSES]
        if len(causes) > 1:
            return ExceptionGroup("steps failed", causes)
        return causes[0] if causes else None

    def published(self, asset: Asset | str) -> PartitionSet:
        """Which partitions of an asset this run published.

        Raises:
            UnknownAsset: the run has nothing to do with it
        """
        return self._summary(asset).published

    def frame(self, asset: Asset | str) -> pl.LazyFrame:
        """The rows of an asset that this run published, as it published them; or those that it found up to date.

        Raises:
            UnknownAsset: the run published nothing of it
        """
        import polars as pl

        key = asset if isinstance(asset, str) else asset.key
        if not self._of(key) and key in self.plan.current:
            found = next(target for target in self.plan.targets if target.key == key)
            return load(self.home.table(found), found, self.plan.current[key])
        summary = self._summary(asset)
        results = self._of(summary.asset.key)
        done = [result for result in results if result.published]
        left = [result.current for result in results if result.current]
        if not done and not left:
            raise UnknownAsset(f"this run published nothing of {summary.asset.key}")
        table = self.home.table(summary.asset)
        # Each chunk at its own version: another run may have replaced it since.
        frames = [load(table, summary.asset, result.published, version=result.version) for result in done]
        frames += [load(table, summary.asset, part) for part in left]
        return pl.concat(frames, how="diagonal")

    def summaries(self) -> list[AssetSummary]:
        """What the run did to each asset, producers first."""
        return [self._summarize(asset) for asset in self.plan.assets]

    def raise_on_failure(self) -> Run:
        """Return the run if all went well.

        Raises:
            MaterializationFailed: something failed or was held back
        """
        if self.ok:
            return self
        lines = []
        for one in self.summaries():
            for word, part in (("failed", one.failed), ("held back", one.rejected), ("skipped", one.skipped)):
                if part:
                    which = f" {part}" if one.asset.partitioned else ""
                    lines.append(f"{one.asset.key}{which} {word}")
            if one.apart:
                lines.append(f"{one.asset.key} published without what lies in no partition: {one.apart:,} rows")
            errors = one.errors if one.failed or one.rejected or not one.skipped else ()
            lines += [f"    {shorten([error], width=400)}" for error in errors]
        for why, keys in faults_by_reason(self.plan).items():
            lines += [f"{shorten(keys)} left as {'it is' if len(keys) == 1 else 'they are'}", f"    {why}"]
        raise MaterializationFailed(
            "not everything was published:\n  " + "\n  ".join(lines),
            run=self,
            hint="what passed is published; after the repair, refresh builds what is missing",
        ) from self.cause

    def _of(self, key: str) -> list[StepResult]:
        return [result for result in self.results if result.asset == key]

    def _summary(self, asset: Asset | str) -> AssetSummary:
        key = asset if isinstance(asset, str) else asset.key
        for known in self.plan.assets:
            if known.key == key:
                return self._summarize(known)
        keys = [known.key for known in self.plan.assets]
        raise UnknownAsset(
            f"this run did nothing about {key}; it built {shorten(keys) or 'nothing'}",
            hint=nearest(key, keys),
        )

    def _summarize(self, asset: Asset) -> AssetSummary:
        results = self._of(asset.key)

        union = asset.partitions.union
        done = [f for r in results for f in r.facts if f.status is Status.PUBLISHED]
        return AssetSummary(
            asset=asset,
            published=union(r.published for r in results),
            rejected=union(r.rejected for r in results),
            failed=union(r.failed for r in results),
            skipped=union(r.skipped for r in results),
            rows=sum(f.rows for f in done),
            bytes=sum(f.bytes for f in done),
            checks=merge_checks([f.checks for r in results for f in r.facts]),
            seconds=sum(r.seconds for r in results),
            errors=tuple(dict.fromkeys(r.error for r in results if r.error)),
            apart=sum(r.apart for r in results),
            uri=self.home.table(asset).uri,
        )


def faults_by_reason(plan: Plan) -> dict[str, list[str]]:
    """Why something that was asked for can't be read: the assets that couldn't be planned for it, by the reason."""
    found: dict[str, list[str]] = {}
    for one in plan.faults:
        found.setdefault(str(one), []).append(one.asset.key)
    return found


def merge_checks(found: Sequence[Sequence[CheckResult]]) -> tuple[CheckResult, ...]:
    """Results of the same checks in several steps as one result for each check; a failure outweighs."""
    merged: dict[str, CheckResult] = {}
    for checks in found:
        for one in checks:
            other = merged.get(one.name)
            if other is None:
                merged[one.name] = one
                continue
            merged[one.name] = (one if not one.passed else other).model_copy(
                update={
                    "passed": one.passed and other.passed,
                    "failed": tuple(dict.fromkeys((*other.failed, *one.failed))),
                    "failing_rows": other.failing_rows + (one.failing_rows if one != other else 0),
                }
            )
    return tuple(merged.values())
