"""What was read stays readable as it was after a retention: values that no digest tells of, columns, keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from lakehouse import Dynamic, Lakehouse, PartitionRange, bronze, silver
from lakehouse.maintenance import Maintenance
from lakehouse.settings import Settings

KEYS = Dynamic("keys", column="k")
SENT: dict[str, pl.DataFrame] = {}


@bronze(partitions=KEYS, code_version="1")
def raw(partitions: PartitionRange) -> pl.LazyFrame:
    wanted = partitions.keys()
    return pl.concat([SENT[key] for key in wanted], how="diagonal_relaxed").lazy()


@silver(partitions=KEYS, code_version="1")
def clean(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw


@pytest.fixture(params=[True, False], ids=["shared files", "files apart"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lakehouse:
    settings = Settings(
        storage=str(tmp_path / "data"),
        lineage=f"sqlite:///{tmp_path}/l.db",
        shared_files=request.param,
        engine="inline",
    )
    lake = Lakehouse([raw, clean], settings=settings)
    lake.add_partitions(raw, ["a", "b"])
    return lake


def send(key: str, rows: int, **more: int) -> None:
    SENT[key] = pl.DataFrame({"k": [key] * rows, "n": range(rows), **{name: [v] * rows for name, v in more.items()}})


def retained(lake: Lakehouse) -> Maintenance:
    later = Maintenance(lake, now=datetime.now(UTC) + timedelta(days=3))
    later.retain(keep="1d").apply()
    return later


def test_values_that_no_digest_tells_of_and_columns_are_those_of_the_version(lake: Lakehouse) -> None:
    send("a", 2, _at=1)
    send("b", 2, _at=1)
    lake.materialize([raw, clean], ["a", "b"])
    then = lake.load(raw, version=0).collect().sort("k", "n")
    send("a", 2, _at=2)
    send("b", 3, _at=2, extra=7)
    lake.materialize([raw], ["a", "b"])
    retained(lake)
    assert lake.load(raw, version=0).collect().sort("k", "n").equals(then)
    assert lake.load(raw, "a", version=0).collect().columns == ["k", "n", "_at"]


def test_what_was_read_under_a_key_that_another_has_now(lake: Lakehouse) -> None:
    send("a", 3)
    send("b", 2)
    lake.materialize([raw, clean], ["a", "b"])
    then = lake.load(raw, version=0).collect().sort("k", "n")
    lake.materialize([raw], ["b"])
    retained(lake).rename_partition([raw], "a", "c").apply()
    for _ in range(2):
        assert lake.load(raw, version=0).collect().sort("k", "n").equals(then)
        retained(lake)
