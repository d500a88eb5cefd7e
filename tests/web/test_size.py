"""However much there is, a page stays small: ten years of days, five years of five minutes, a thousand assets."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse import Asset, Daily, Every, Lakehouse, PartitionRange, bronze
from lakehouse.definitions.asset import Layer
from lakehouse.lineage import Fact, Status
from lakehouse.partitions import Partitions, PartitionSet
from lakehouse.testing import MemoryLineage
from lakehouse.testing.lineage import sample_fact
from lakehouse.web.look import Looking
from lakehouse.web.pages import Pages, Shown
from tests.support.pages import PageText

LARGEST = 300_000


def scattered(partitions: Partitions, key: str, pieces: int, seed: int = 1) -> list[Fact]:
    """Facts that leave a range in scattered states: published, failed, held back, missing."""
    chance = random.Random(seed)
    low, high = partitions.possible(partitions.select("*", now=None)).spans[0]
    cuts = sorted(chance.sample(range(low, high), 2 * pieces))
    facts = []
    for number, (first, end) in enumerate(zip(cuts[::2], cuts[1::2], strict=True), 1):
        status = (Status.PUBLISHED, Status.PUBLISHED, Status.FAILED, Status.REJECTED)[number % 4]
        version = number if status is Status.PUBLISHED else None
        part = PartitionSet(partitions, ((first, end),)).to_pairs()
        more: dict[str, Any] = {"reason": f"no route {number % 7}", "after": number} if version is None else {}
        facts.append(
            sample_fact(
                number,
                asset=key,
                status=status,
                partitions=part,
                version=version,
                inputs=(),
                rows=number * 100,
                bytes=number * 1000,
                run=f"run-{number:06d}",
                spec=partitions.spec,
                **more,
            )
        )
    return facts


def of_asset(partitions: Partitions, folder: Path, pieces: int) -> tuple[Lakehouse, Asset]:
    @bronze(partitions=partitions, code_version="")
    def much(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame()

    lake = Lakehouse([much], storage=folder, lineage=MemoryLineage())
    lake.lineage_store.append(scattered(partitions, much.key, pieces))
    return lake, much


@pytest.mark.parametrize(
    ("partitions", "pieces"),
    [
        (Daily("2013-01-01", end="2022-12-30", column="d"), 900),
        (Every("2013-01-01T00:00", minutes=5, end="2018-01-01T00:00", column="d"), 2000),
    ],
    ids=["3,650 days", "526,000 times five minutes"],
)
def test_a_long_range_in_scattered_states(
    partitions: Partitions, pieces: int, tmp_path: Path, read: Callable[[str], PageText]
) -> None:
    lake, asset = of_asset(partitions, tmp_path, pieces)
    assert len(partitions.select("*", now=None)) >= 3650
    look, pages = Looking(lake).look(), Pages("much", Shown())
    newest = look.statuses[asset.key].present.spans[-1][1] - 1
    run = lake.lineage_store.runs(1)[0]
    made = {
        "overview": pages.overview(look),
        "asset": pages.asset(look, asset),
        "partition": pages.partition(look, asset, newest),
        "runs": pages.runs(look),
        "run": pages.run(look, run, lake.lineage_store.run(run)),
        "plan": pages.plan(look),
    }
    assert {name: len(text.encode()) for name, text in made.items() if len(text.encode()) > LARGEST} == {}
    page = read(made["asset"])
    assert page.all("svg", "calendar")
    assert {"failed", "held back", "published", "missing"} <= {tag.text for tag in page.all("span", "word")}


def test_a_thousand_assets(tmp_path: Path, read: Callable[[str], PageText]) -> None:
    partitions = Daily("2013-01-01", end="2013-12-30", column="d")

    def frame(partitions: PartitionRange) -> pl.LazyFrame:
        return pl.LazyFrame()

    assets = [
        Asset(Layer.BRONZE, f"table_number_{number:04d}", frame, partitions, declared_version="1")
        for number in range(1000)
    ]
    lake = Lakehouse(assets, storage=tmp_path, lineage=MemoryLineage())
    for number, asset in enumerate(assets):
        lake.lineage_store.append(scattered(partitions, asset.key, 4, seed=number))
    look, pages = Looking(lake).look(), Pages("much", Shown())
    made = {f"overview {page}": pages.overview(look, page) for page in range(1, 6)}
    made |= {f"plan {page}": pages.plan(look, page) for page in range(1, 6)}
    made |= {"asset": pages.asset(look, assets[500]), "runs": pages.runs(look)}
    assert {name: len(text.encode()) for name, text in made.items() if len(text.encode()) > LARGEST} == {}
    first = read(made["overview 1"])
    assert len(first.all("option")) == 1000
    assert "What is made from what" not in first.text
    keys = [tag.text for page in range(1, 6) for tag in read(made[f"overview {page}"]).all("th") if tag.text.count(".")]
    assert sorted(keys) == sorted(asset.key for asset in assets)


def test_two_hundred_assets_are_drawn(tmp_path: Path, read: Callable[[str], PageText]) -> None:
    from lakehouse import From, silver

    @bronze
    def first() -> pl.LazyFrame:
        return pl.LazyFrame()

    assets = [first]
    chance = random.Random(7)
    for number in range(199):
        source = chance.choice(assets[-20:])

        def made(given: Any) -> pl.LazyFrame:
            return pl.LazyFrame()

        made.__name__ = f"step_{number:03d}"
        made.__annotations__["given"] = __import__("typing").Annotated[pl.LazyFrame, From(source)]
        assets.append(silver(made))
    lake = Lakehouse(assets, storage=tmp_path, lineage=MemoryLineage())
    text = Pages("much", Shown()).overview(Looking(lake).look())
    assert len(text.encode()) < LARGEST
    assert len(read(text).all("a", "node")) == 200
