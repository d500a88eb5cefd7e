"""What stands for the rows of a partition: equal rows have equal digests, in whatever order they lie.

Columns that begin with an underscore don't count: they tell how a row came here (from which file, in which run, when),
and not what it says. A source that is read again and says the same is not to set off all that is made from it.
"""

from __future__ import annotations

import hashlib

import polars as pl

from lakehouse.io.tables import PARTITION
from lakehouse.lineage.facts import DIGEST


def partition_digests(frame: pl.LazyFrame) -> dict[str, str]:
    """A digest of each partition's rows, by token, in one pass that streams. A partition without rows has none here.

    Parameters:
        frame: rows with the column [PARTITION][]; columns that begin with an underscore don't count

    Examples:
        >>> one = pl.LazyFrame({"_partition": ["a", "a"], "n": [1, 2]})
        >>> partition_digests(one) == partition_digests(one.reverse())
        True
    """
    schema = frame.collect_schema()
    columns = [name for name in schema.names() if not name.startswith("_")]
    row = pl.struct(columns) if columns else pl.lit(0)
    # Sums wrap around. They don't depend on the order of rows, and tell repeated rows from single ones.
    sums = [row.hash(seed).sum().alias(f"sum {seed}") for seed in (1, 2)]
    found = frame.group_by(PARTITION).agg(pl.len(), *sums).collect(engine="streaming")
    told = repr([(name, str(schema[name])) for name in columns])
    return {token: _digest(told, *numbers) for token, *numbers in found.iter_rows()}


NOTHING = "0" * DIGEST
"""Stands for no rows at all."""


def _digest(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=DIGEST // 2).hexdigest()
