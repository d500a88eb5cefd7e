"""Every kind of table does what the suite asks for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lakehouse.io.delta import DeltaLakeTable
from lakehouse.io.memory import MemoryTable
from lakehouse.io.storage import Location
from lakehouse.testing.tables import NewTable, TableConformance


class TestMemory(TableConformance):
    in_files = False

    @pytest.fixture
    def new_table(self) -> NewTable:
        return lambda partitioned=True: MemoryTable(partitioned=partitioned)


class TestDisk(TableConformance):
    clustered = True

    @pytest.fixture
    def new_table(self, tmp_path: Path) -> NewTable:
        # A home that people really have.
        home = tmp_path / "Jörg's data = 100% (new) #1?"
        numbers = itertools.count()
        return lambda partitioned=True: DeltaLakeTable(
            Location.of(home / str(next(numbers))), partitioned=partitioned, clustered=self.clustered
        )


class TestApart(TestDisk):
    """Tables as they were made once, with files of its own for each partition."""

    clustered = False


@pytest.mark.aws
class TestS3(TableConformance):
    brief = True

    def save(self, table: Any) -> Callable[[], None]:
        store = table.location.store()

        def there() -> list[str]:
            return [str(one["path"]) for page in store.list() for one in page]

        kept = {path: bytes(store.get(path).bytes()) for path in there()}

        def put_back() -> None:
            if paths := there():
                store.delete(paths)
            for path, data in kept.items():
                store.put(path, data)

        return put_back

    @pytest.fixture
    def new_table(self, bucket: str) -> NewTable:
        return lambda partitioned=True: DeltaLakeTable(
            Location.of(f"s3://{bucket}/my lake/{uuid4().hex}"), partitioned=partitioned, clustered=True
        )
