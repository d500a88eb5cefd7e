"""What stands for the rows of a partition: equal rows have equal digests, in whatever order they lie.

Columns that begin with an underscore don't count: they tell how a row came here (from which file, in which run, when),
and not what it says. A source that is read again and says the same is not to set off all that is made from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

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
        frame: rows with the column [PARTITION][], or none of them if they are those of one; columns that begin with an
            underscore don't count

    Examples:
        >>> one = pl.LazyFrame({"_partition": ["a", "a"], "n": [1, 2]})
        >>> partition_digests(one) == partition_digests(one.reverse())
        True
    """
    there = frame.collect_schema()
    dtypes = {name: dtype for name, dtype in there.items() if name != PARTITION}
    sums = [pl.len().alias("rows"), *(pl.col(f"hash {seed}").sum() for seed in _SEEDS)]
    if PARTITION in there:
        summed = frame.select(PARTITION, *row_hashes(dtypes)).group_by(PARTITION).agg(sums)
    else:
        # Grouping by a constant would hold all rows in memory.
        whole = frame.select(row_hashes(dtypes)).select(sums).filter(pl.col("rows") > 0)
        summed = whole.select(pl.lit("").alias(PARTITION), pl.all())
    return digests_of(summed.collect(engine="streaming"), dtypes)


@cache
def algorithm() -> str:
    """What tells this way of making digests from others, by what comes out for some rows of many types.

    How polars hashes a row isn't promised to stay: what was digested by another version of it is not compared.
    """
    (digest,) = partition_digests(_probe()).values()
    return digest[:8]


def _probe() -> pl.LazyFrame:
    """Some rows of many types. Made by polars alone: what comes from Python's lists would import NumPy."""
    n = pl.col("n")
    text = pl.when(n > 0).then(pl.lit("a text of more than twelve characters ") + n.cast(pl.String))
    kinds: list[Any] = [
        pl.Int8,
        pl.Int16,
        pl.Int32,
        pl.Float32,
        pl.Float64,
        pl.String,
        pl.Boolean,
        pl.Date,
        pl.Decimal(10, 2),
    ]
    times: list[Any] = [
        pl.Datetime("us"),
        pl.Datetime("ms"),
        pl.Datetime("us", "Europe/Berlin"),
        pl.Duration("us"),
        pl.Time,
    ]
    number = pl.when(n != 1).then(n)
    frame = pl.select(n=pl.int_range(-1, 4)).lazy()
    return frame.with_columns(
        *(number.cast(to).alias(str(to)) for to in kinds),
        *((pl.when(n > 0).then(n * 123_456_789)).cast(to).alias(str(to)) for to in times),
        text=text,
        bytes=text.cast(pl.Binary),
        kind=text.cast(pl.Categorical),
        count=number.abs().cast(pl.UInt64),
        list=pl.when(n > 0).then(pl.concat_list(n, number)),
        struct=pl.when(n > 0).then(pl.struct(a=n, b=text)),
        nothing=pl.lit(None),
    )


_SEEDS = (1, 2)
NOTHING = "0" * DIGEST
"""Stands for no rows at all."""


def _digest(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=DIGEST // 2).hexdigest()
