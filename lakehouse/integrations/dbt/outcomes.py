"""What dbt's tests found, as checks that stand before publication."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.builder import BuildRequest
from lakehouse.errors import WrongFrame, count
from lakehouse.integrations.dbt.reader import model_of
from lakehouse.partitions import PartitionSet

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.integrations.dbt.scratch import Scratch


_VALUES = {"unique": "unique_field", "accepted_values": "value_field", "relationships": "from_field"}
"""dbt's own tests that tell the failing values alone, and the column that they tell them in."""


def check(
    scratch: Scratch, request: BuildRequest, made: pl.LazyFrame, beside: PartitionSet, test: Any, severity: str
) -> Any:
    """What a test found, as a check over the model's rows: the failing rows, which say what partition they are in.

    Parameters:
        scratch: where the failing rows are kept
        request: whose model the test is about
        made: that model's rows
        beside: partitions that were made for others
        test: dbt's result
        severity: as the project has it

    Raises:
        StepError: the failing rows can't be read
    """
    import polars as pl

    from lakehouse.checks import FrameCheck
    from lakehouse.io import PARTITION
    from lakehouse.io.tokens import tokens

    failures = test.failures or 0
    config = test.node.config
    blocking = severity == "error" and _beyond(failures, config.error_if)
    wants = (test.node.description or test.node.name.replace("_", " ")).strip()
    rows = pl.DataFrame(schema={PARTITION: pl.String})
    if blocking or _beyond(failures, config.warn_if):
        failing = scratch.rows(test.node, promised(request.asset)).collect()
        placed = _placed(request, beside, _whole(request, made, test.node, failing))
        if placed is None:
            # Rows that don't say what day they are of could be of any.
            one = failures == 1
            wants += f" ({count(failures, 'failure')} that {'doesn' if one else 'don'}'t say which partition "
            wants += "it is of)" if one else "they are of)"
            placed = pl.DataFrame({PARTITION: tokens(request.partitions)}, schema={PARTITION: pl.String})
        rows = placed
    return FrameCheck(name=test.node.name, function=_Found(rows), wants=wants, blocking=blocking)


@dataclass(frozen=True)
class _Found:
    rows: pl.DataFrame

    def __call__(self, _: pl.LazyFrame) -> pl.LazyFrame:
        return self.rows.lazy()


def _whole(request: BuildRequest, made: pl.LazyFrame, test: Any, failing: pl.DataFrame) -> pl.DataFrame:
    """The model's rows behind failing values, of which the partition is known; else what there is.

    They may be more than those that failed, as when the test looked at some rows only, but are never fewer.
    """
    import polars as pl

    metadata = getattr(test, "test_metadata", None)
    if metadata is None or test.attached_node != model_of(request.asset).id:
        return failing
    value = _VALUES.get(metadata.name, "")
    wanted = str(metadata.kwargs.get("column_name", "")).strip('`"').lower()
    column = next((name for name in made.collect_schema() if name.lower() == wanted), None)
    if value not in failing.columns or column is None:
        return failing
    try:
        rows = made.join(failing.lazy().select(pl.col(value).alias(column)), on=column, how="semi").collect()
        return rows if failing[value].is_in(rows[column].implode()).all() else failing
    except pl.exceptions.PolarsError:
        return failing  # types that don't compare


def _placed(request: BuildRequest, beside: PartitionSet, rows: pl.DataFrame) -> pl.DataFrame | None:
    """Failing rows with their partitions, without those of partitions that were made for others.

    None: some don't say which they are of.
    """
    import polars as pl

    from lakehouse.io import PARTITION
    from lakehouse.io.tokens import token, tokens

    partitions = request.asset.partitions
    if not rows.height or not set(partitions.columns) <= set(rows.columns):
        return None
    try:
        rows = rows.with_columns(token(partitions, rows.schema, where=request.asset.key).alias(PARTITION))
    except WrongFrame:
        return None
    rows = rows.filter(~pl.col(PARTITION).is_in(tokens(beside)))
    return rows if rows[PARTITION].is_in(tokens(request.partitions)).all() else None


def promised(asset: Asset) -> dict[str, Any]:
    """The types that an asset promises, by column."""
    return {c.name: c.dtype for c in asset.schema.columns} if asset.schema else {}


def alike(request: BuildRequest, requests: Sequence[BuildRequest]) -> PartitionSet:
    """All partitions of requests that are partitioned as one of them is."""
    domain = request.partitions.partitions.domain
    these = (o.partitions for o in requests if o.partitions.partitions.domain == domain)
    return request.asset.partitions.union(these)


def _beyond(failures: int, condition: str) -> bool:
    """Whether a number of failures meets dbt's ``warn_if`` or ``error_if``."""
    found = re.fullmatch(r"\s*(!=|<>|==?|>=?|<=?)\s*(\d+)\s*", condition or "!= 0")
    if found is None:
        return failures != 0
    bound = int(found[2])
    return {
        "!=": failures != bound,
        "<>": failures != bound,
        "=": failures == bound,
        "==": failures == bound,
        ">": failures > bound,
        ">=": failures >= bound,
        "<": failures < bound,
        "<=": failures <= bound,
    }[found[1]]
