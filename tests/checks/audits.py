"""Small assets and frames to hold up to the gate."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from pandera.typing.polars import LazyFrame

from lakehouse import Asset, Daily, silver
from lakehouse.checks import AnyCheck
from lakehouse.checks.gate import REASONS, Audit, audit
from lakehouse.io import PARTITION
from lakehouse.io.tokens import token
from lakehouse.partitions import Partitions, PartitionSet

DAILY = Daily("2013-01-01", end="2014-01-01", column="day")
DAYS = ["2013-01-01", "2013-01-02", "2013-01-03", "2013-01-04"]


def asset(*checks: AnyCheck, model: Any = None, partitions: Partitions | None = DAILY) -> Asset:
    def trips(raw): ...  # type: ignore[no-untyped-def]

    if model is not None:
        trips.__annotations__["return"] = LazyFrame[model]
    return silver(partitions=partitions, checks=checks)(trips)


def rows(*given: tuple[int, Any], **schema: Any) -> pl.DataFrame:
    """Rows as pairs: number of the day, and a value (or a dict of columns)."""
    table = [{"day": DAYS[day - 1], **(value if isinstance(value, dict) else {"v": value})} for day, value in given]
    names = {name: None for row in table for name in row} or {"day": None, "v": None}
    return pl.DataFrame(table, schema={"day": pl.String, **dict.fromkeys(names, None), **schema} | {"day": pl.String})


def stage(made: Asset, frame: pl.DataFrame) -> pl.LazyFrame:
    """A frame as the gate gets it: with its partitions."""
    column = made.partitions.column
    dtype = frame.schema[column] if column else pl.String()
    return frame.lazy().with_columns(token(made.partitions, dtype, where=made.key).alias(PARTITION))


def ask(made: Asset, frame: pl.DataFrame, wanted: Any = None, raw: pl.DataFrame | None = None) -> Audit:
    """The audit of a frame; of the first days by default."""
    partitions = made.partitions.select(wanted if wanted is not None else DAYS) if made.partitioned else whole(made)
    upstream = {} if raw is None else {"raw": stage(made, raw)}
    return audit(made, stage(made, frame), partitions, upstream)


def whole(made: Asset) -> PartitionSet:
    return PartitionSet(made.partitions, ((0, 1),))


def numbers(partitions: PartitionSet) -> list[int]:
    """Which days a set holds, by number."""
    return [DAYS.index(key) + 1 for key in partitions.keys()]  # noqa: SIM118


def marks(found: Audit, *columns: str) -> list[tuple[Any, ...]]:
    """The rows that are held back, with their reasons."""
    assert found.rows is not None
    return sorted(found.rows.select(*columns, REASONS).rows(), key=repr)


def named(found: Audit) -> Mapping[str, Sequence[Any]]:
    """Each check's results: in what is held, and in what passed."""
    return {held.name: (held, passed) for held, passed in zip(found.held_results, found.passed_results, strict=True)}
