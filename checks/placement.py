"""Rows that lie in none of the partitions that were asked for: in another one, or in no partition at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import final

import polars as pl

from lakehouse.checks.gate import REASONS, Audit
from lakehouse.definitions.asset import Asset
from lakehouse.errors import RowsOutsidePartitions, shorten
from lakehouse.io import PARTITION
from lakehouse.io.tokens import NOWHERE, from_tokens, token, tokens, within
from lakehouse.lineage import CheckResult
from lakehouse.lineage.dynamic_partitions import dynamics
from lakehouse.partitions import Now, PartitionSet

Read = Callable[[Collection[str]], pl.LazyFrame]

PLACED = "in_a_partition"
"""What stands among the results of an asset's checks where rows are misplaced."""

_KEPT = 100_000
"""Misplaced rows of a candidate that are kept: a function that gives all there is, whatever it is asked for, has more
than anybody looks at."""


_STRAY = "~stray."
"""What the token of a row begins with that lies in another partition than the function was asked for, be it one that
it was asked for in another call: published with that one's rows it would come and go with how calls are made."""


def place(
    asset: Asset, frame: pl.LazyFrame, dtypes: Mapping[str, pl.DataType], called: PartitionSet | None
) -> pl.LazyFrame:
    """Rows, each with the token of the partition that it lies in.

    Parameters:
        asset: what was made
        frame: its rows
        dtypes: the types of their columns
        called: the partitions that the function was asked for when it gave these, if those were not all of them
    """
    key = token(asset.partitions, dtypes, where=asset.key)
    if called is not None:
        key = pl.when(within(called, key) | (key == NOWHERE)).then(key).otherwise(pl.lit(_STRAY) + key)
    return frame.with_columns(key.alias(PARTITION))


@final
@dataclass(frozen=True)
class Misplaced:
    """Rows of a candidate that lie in none of the partitions that were asked for.

    Parameters:
        asset: what was made
        asked: the partitions that were asked for
        elsewhere: rows in other partitions of the asset, by token
        nowhere: how many rows lie in no partition of the asset
        empty: the partitions asked for that have no rows: these may be theirs
        tokens: where all of them lie in storage
    """

    asset: Asset
    asked: PartitionSet
    elsewhere: Mapping[str, int]
    nowhere: int
    empty: PartitionSet
    tokens: tuple[str, ...]

    @classmethod
    def find(cls, asset: Asset, asked: PartitionSet, rows: Mapping[str | None, int], now: Now) -> Misplaced | None:
        """What of a candidate is misplaced; None: nothing is.

        Parameters:
            asset: what was made
            asked: the partitions that were asked for
            rows: how many rows there are of each partition, by token
            now: the present, which says which dynamic partitions there are
        """
        wanted = set(tokens(asked))
        stored = {token: number for token, number in rows.items() if token not in wanted}
        if not stored or not asset.partitioned:
            return None
        others: dict[str | None, int] = {}
        for name, number in stored.items():
            named = name and name.removeprefix(_STRAY)
            others[named] = others.get(named, 0) + number
        there = asset.partitions.possible(from_tokens(asset.partitions, [token for token in others if token]))
        if any(dynamics(asset.partitions)):
            there = there & asset.partitions.all(now)
        elsewhere = {token: others[token] for token in tokens(there) if token in others}
        full = from_tokens(asset.partitions, [token for token in rows if token in wanted])
        nowhere = sum(others.values()) - sum(elsewhere.values())
        return cls(asset, asked, elsewhere, nowhere, asked - full, tuple(filter(None, stored)))

    @property
    def error(self) -> RowsOutsidePartitions:
        """The error of a step that stands or falls as a whole."""
        where = [*self.elsewhere, *(["no partition at all"] if self.nowhere else [])]
        return RowsOutsidePartitions(
            f"{self.asset.key} was asked for {self.asked} and returned {_count(self._rows)} for {shorten(where)}",
            suspects=None if self.elsewhere else self.empty,
            hint="filter by the range that the function is given, or keep the input's partition column as it is",
        )

    @property
    def _rows(self) -> int:
        return self.nowhere + sum(self.elsewhere.values())

    def publish_without(self, audit: Audit) -> Audit:
        """An audit of partitions that can be published without these rows; it reports them."""
        return replace(audit, passed_results=(*audit.passed_results, self._result(audit.passed, blocking=False)))

    def hold_back(self, audit: Audit, partitions: PartitionSet, read: Read) -> Audit:
        """An audit that holds partitions back which these rows may belong to.

        Parameters:
            audit: what was found in the other partitions
            partitions: what is held back
            read: gives the candidate's rows of some partitions by token, with the column [PARTITION][]
        """
        result = self._result(partitions, blocking=True)
        own = read(tokens(partitions)).with_columns(pl.lit([], pl.List(pl.String)).alias(REASONS))
        rows = pl.concat([own, self._marked(read)]).collect(engine="streaming")
        if len(partitions) == 1:
            # They came with it, wherever they say that they lie.
            rows = rows.with_columns(pl.lit(tokens(partitions)[0]).alias(PARTITION))
        return replace(
            audit,
            held=audit.held | partitions,
            held_results=(*audit.held_results, result),
            rows=rows if audit.rows is None else pl.concat([audit.rows, rows]),
            reason="; ".join(filter(None, (audit.reason, f"{result.name} {result.message}"))),
        )

    def rows(self, read: Read) -> pl.DataFrame:
        """Rows that are in no partition, each with the reason, as they are kept.

        Parameters:
            read: gives the candidate's rows of some partitions by token, with the column [PARTITION][]
        """
        return self._marked(read).with_columns(pl.lit(NOWHERE).alias(PARTITION)).collect(engine="streaming")

    def _marked(self, read: Read) -> pl.LazyFrame:
        place = pl.col(PARTITION).str.strip_prefix(_STRAY)
        where = pl.when(place.is_in(list(self.elsewhere))).then(place).otherwise(pl.lit("no partition"))
        reason = pl.concat_list(pl.format("{}: lies in {}", pl.lit(PLACED), where))
        return read(self.tokens).head(_KEPT).with_columns(reason.alias(REASONS))

    def _result(self, partitions: PartitionSet, *, blocking: bool) -> CheckResult:
        found = [f"{_count(sum(self.elsewhere.values()))} in {shorten(self.elsewhere)}"] if self.elsewhere else []
        found += [f"{_count(self.nowhere)} in no partition"] if self.nowhere else []
        more = f" ({_KEPT:,} of them are kept)" if self._rows > _KEPT else ""
        return CheckResult(
            name=PLACED,
            blocking=blocking,
            passed=False,
            failed=partitions.to_pairs(),
            failing_rows=self._rows,
            message=f"wants rows of what was asked for; found {' and '.join(found)}{more}",
        )


def _count(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"
