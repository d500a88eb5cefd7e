from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.process import ProcessWorker

from tests.support.command_line import Toys
from tests.support.command_line import plain as plain
from tests.support.toy_lake import lake as lake
from tests.support.toy_lake import spoil as spoil

SHOP = '''
import json
from pathlib import Path

import polars as pl

from lakehouse import Daily, Freshness, PartitionRange, bronze, gold, silver, source

daily = Daily("2013-01-01", end="2013-01-04", column="date")


@bronze(partitions=daily, group="intake", freshness=Freshness(every="{every}"))
def orders(partitions: PartitionRange) -> pl.LazyFrame:
    """Orders as the shop exports them."""
    amount = json.loads(Path("amount.json").read_text())
    return pl.LazyFrame({{"date": partitions.keys()}}).with_columns(amount=pl.lit(amount))


@silver(partitions=daily)
def clean(orders: pl.LazyFrame) -> pl.LazyFrame:
    """Orders that make sense."""
    return orders.filter(pl.col("amount") > 0)


@gold(tags=["money"], freshness=Freshness(after_inputs=True))
def total(clean: pl.LazyFrame) -> pl.LazyFrame:
    """What all orders come to."""
    return clean.select(pl.col("amount").sum())


@source({prices})
def prices() -> str:
    """What the supplier asks, as a file that he writes."""
    return Path("amount.json").read_text()


@gold({report})
def report(total: pl.LazyFrame) -> pl.LazyFrame:
    """The total, for the board."""
    return total
'''
CRON = 'freshness=Freshness(cron="0 6 * * *", timezone="Europe/Berlin")'
_numbers = count()


class Shop(Toys):
    """A person's own project in a folder of its own, which is the current one: a module, and settings for it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
        super().__init__(folder, capsys)
        self.name = name
        self.declare()
        self.sell(10)

    def declare(self, *, every: str = "1h", report: str = CRON, prices: str = "") -> None:
        """Write what the assets declare."""
        (self.folder / f"{self.name}.py").write_text(SHOP.format(every=every, report=report, prices=prices))
        sys.modules.pop(self.name, None)

    def sell(self, amount: int) -> None:
        """Set what each day's order is about from now on."""
        (self.folder / "amount.json").write_text(str(amount))


@pytest.fixture
def shop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain: None,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    name = f"shop_to_deploy_{next(_numbers)}"
    (tmp_path / "pyproject.toml").write_text(f'[tool.lakehouse]\nmodule = "{name}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a module that is written twice within a second
    monkeypatch.setenv("LAKEHOUSE_LINEAGE", "sqlite:///facts.db")
    before = list(sys.path)
    yield Shop(tmp_path, capsys, name)
    sys.path[:] = before
    sys.modules.pop(name, None)


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def pool(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch, plain: None) -> str:
    """A work pool that settings name."""
    return make_pool(client, monkeypatch)


def make_pool(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"pool-{uuid4().hex[:8]}"
    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    monkeypatch.setenv("LAKEHOUSE_WORK_POOL", name)
    return name
