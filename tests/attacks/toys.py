"""The toys that are attacked: a small graph of some kind of partitions, whose rows tell which state of the source they
were made from. What there is of the source stands in a file; so what is right can be told from that file alone.

Each key of the source has a generation, counted up when it changes, and a fault or none. A row is a key, a generation
and a number; every asset keeps them apart, so that rows of two states that were mixed would be seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from lakehouse import Asset, Daily, Dynamic, Multi, PartitionRange, Static, Weekly, bronze, gold, silver, source
from lakehouse.checks import expression
from lakehouse.partitions import Partitions

ODD_KEYS = ("b", "b,c", "*", "b...c", " ", "%41", ".x", "ü/ß", "Ü/SS", "NUL", "x" * 150)
DAYS = Daily("2024-01-01", end="2024-01-15", column="day")
ASSETS = ("bronze.raw", "silver.clean", "gold.totals", "gold.weeks", "gold.whole")

Row = tuple[str, int, int]
"""A key, the generation that it was made from, a number."""


def partitions_of(kind: str, keys: Iterable[str]) -> Partitions:
    """The partitions of a kind of world.

    Parameters:
        kind: ``daily``, ``static``, ``dynamic`` or ``multi``
        keys: the keys, of what has names
    """
    match kind:
        case "daily":
            return DAYS
        case "static":
            return Static(list(keys), column="key")
        case "dynamic":
            return Dynamic("those", column="key")
        case _:
            regions = Static(list(ODD_KEYS[:6]), column="region")
            return Multi({"region": regions, "day": Daily("2024-01-01", end="2024-01-05", column="day")})


def read_world(folder: Path) -> dict[str, Any]:
    """What there is of the source just now."""
    found: dict[str, Any] = json.loads((folder / "world.json").read_text())
    return found


def raw_rows(key: str, generation: int) -> list[int]:
    """The numbers that the source has of a key in some generation."""
    count = 1 + (sum(key.encode()) + generation) % 3
    return [1 + (7 * n + generation) % 5 for n in range(count)]


def graph(folder: Path) -> list[Asset]:
    """The assets of the world in a folder."""
    world = read_world(folder)
    kind, keys = world["kind"], list(world["keys"])
    partitions = partitions_of(kind, keys)
    columns = partitions.columns

    def frame(rows: Iterable[tuple[str, int, int]]) -> pl.LazyFrame:
        listed = list(rows)
        parts = [dict(zip(columns, split(kind, key), strict=True)) for key, _, _ in listed]
        return pl.LazyFrame(
            {
                **{column: pl.Series([part[column] for part in parts], dtype=pl.String) for column in columns},
                "generation": pl.Series([generation for _, generation, _ in listed], dtype=pl.Int64),
                "n": pl.Series([number for _, _, number in listed], dtype=pl.Int64),
            }
        )

    @source(partitions=partitions)
    def feed() -> Mapping[str, str]:
        """What the source has."""
        return {key: str(one["generation"]) for key, one in read_world(folder)["keys"].items()}

    @bronze(partitions=partitions, code_version="1")
    def raw(feed: Any, partitions: PartitionRange) -> pl.LazyFrame:
        """Its rows as they are."""
        now, wanted = read_world(folder)["keys"], list(partitions.keys())
        rows: list[Row] = []
        for key in wanted:
            generation, fault = now[key]["generation"], now[key]["fault"]
            if fault == "raises":
                raise ValueError(f"the source is down for {key!r}")
            rows += [(key, generation, number) for number in raw_rows(key, generation)]
            if fault == "negative":
                rows.append((key, generation, -1))
            others = [other for other in now if other not in wanted]
            if fault == "elsewhere" and others:
                rows.append((others[0], generation, -2))
        return frame(rows)

    @silver(partitions=partitions, code_version="1", checks=[expression("positive", pl.col("n") > 0)])
    def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
        """Ten times as much."""
        return raw.with_columns(pl.col("n") * 10)

    @gold(partitions=partitions, code_version="1", checks=[expression("small", pl.col("n") < 60, blocking=False)])
    def totals(clean: pl.LazyFrame) -> pl.LazyFrame:
        """What a key comes to."""
        return clean.group_by(*columns).agg(pl.col("generation").max(), pl.col("n").sum())

    @gold(code_version="1")
    def whole(clean: pl.LazyFrame) -> pl.LazyFrame:
        """What all come to."""
        return clean.group_by(*columns).agg(pl.col("generation").max(), pl.col("n").sum())

    made = [feed, raw, clean, totals, whole]
    if kind == "daily":

        @gold(partitions=Weekly("2024-01-01", end="2024-01-15", column="day"), code_version="1")
        def weeks(clean: pl.LazyFrame) -> pl.LazyFrame:
            """What the days of a week come to."""
            each = clean.group_by("day").agg(pl.col("generation").max(), pl.col("n").sum()).rename({"day": "each"})
            return each.with_columns(day=pl.col("each").str.to_date().dt.truncate("1w"))

        made.append(weeks)
    return made


def split(kind: str, key: str) -> list[str]:
    """What the partition columns hold of a key."""
    return key.rsplit("|", 1) if kind == "multi" else [key]


def keys_in(frame: pl.DataFrame, columns: Iterable[str]) -> list[Row]:
    """The rows of an asset, with their key as one text."""
    if frame.is_empty():
        return []  # of a table that was removed and begun again nobody knows the columns
    columns = ["each"] if "each" in frame.columns else columns
    listed = frame.select(pl.concat_str(*columns, separator="|").alias("key"), "generation", "n").rows()
    return [(str(key), int(generation), int(n)) for key, generation, n in listed]


def expected(asset: str, key: str, generation: int) -> list[int]:
    """The numbers that an asset has of a key, if it was made from some generation."""
    numbers = raw_rows(key, generation)
    if asset == "bronze.raw":
        return sorted(numbers)
    tenfold = [10 * number for number in numbers]
    return sorted(tenfold) if asset == "silver.clean" else [sum(tenfold)]
