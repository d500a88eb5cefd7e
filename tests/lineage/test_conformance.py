from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from lakehouse.lineage import LineageStore
from lakehouse.lineage.dynamodb import DynamoDBLineage
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.testing.lineage import LineageConformance, MemoryLineage


class TestMemory(LineageConformance):
    across_processes = False

    @pytest.fixture
    def lineage(self) -> LineageStore:
        return MemoryLineage()


class TestSqlite(LineageConformance):
    @pytest.fixture
    def lineage(self, tmp_path: Path) -> LineageStore:
        return SqliteLineage(tmp_path / "not yet there" / "lineage.db")


@pytest.mark.aws
class TestDynamoDB(LineageConformance):
    @pytest.fixture
    def lineage(self, aws_server: str) -> LineageStore:
        return DynamoDBLineage(f"lineage-{uuid.uuid4()}")
