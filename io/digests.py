"""What stands for the rows of a partition: equal rows have equal digests, in whatever order they lie.

Columns that begin with an underscore don't count: they tell how a row came here (from which file, in which run, when),
and not what it says. A source that is read again and says the same is not to set off all that is made from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import polars as pl

from lakehouse.io.columns import columns as exactly
from lakehouse.io.tables import PARTITION
from lakehouse.lineage.facts import DIGEST


def row_hashes(dtypes: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """For each row the numbers whose sums [digests_of][] takes.

    Parameters:
        dtypes: the columns and their types; those that begin with an underscore don't count
    """
    columns = [name for name in dtypes if not name.startswith("_")]
    row = pl.struct(exactly(columns)) if columns else pl.struct(pl.lit(0, dtype=pl.Int32).alias("nothing"))
    return [row.hash(seed).alias(f"hash {seed}") for seed in _SEEDS]


def digests_of(sums: pl.DataFrame, dtypes: Mapping[str, pl.DataType]) -> dict[str, str]:
    """A digest of each partition's rows, by token.

    Parameters:
        sums: for each partition with rows, by the column [PARTITION][]: how many ``rows``, and the sums of what
            [row_hashes][] makes of them. Sums wrap around, don't depend on the order of rows, and tell repeated rows
            from single ones
        dtypes: the columns and their types
    """
    columns = repr([(name, str(dtype)) for name, dtype in dtypes.items() if not name.startswith("_")])
    names = [f"hash {seed}" for seed in _SEEDS]
    return {token: _digest(columns, *numbers) for token, *numbers in sums.select(PARTITION, "rows", *names).iter_rows()}


def partition_digests(frame: pl.LazyFrame) -> dict[str, str]:
    """A digest of each partition's rows, by token, in one pass that streams. A partition without rows has none here.

    Parameters:
        frame: rows with the column [PARTITION][]; columns that begin with an underscore don't count

    Examples:
        >>> one = pl.LazyFrame({"_partition": ["a", "a"], "n": [1, 2]})
        >>> partition_digests(one) == partition_digests(one.reverse())
        True
    """
    dtypes = {name: dtype for name, dtype in frame.collect_schema().items() if name != PARTITION}
    hashes = frame.select(PARTITION, *row_hashes(dtypes)).group_by(PARTITION)
    sums = hashes.agg(pl.len().alias("rows"), *(pl.col(f"hash {seed}").sum() for seed in _SEEDS))
    return digests_of(sums.collect(engine="streaming"), dtypes)


_SEEDS = (1, 2)
NOTHING = "0" * DIGEST
"""Stands for no rows at all."""


def _digest(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=DIGEST // 2).hexdigest()
