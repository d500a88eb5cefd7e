from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from lakehouse.lineage import Lineage
from lakehouse.lineage.dynamodb import DynamoDBLineage
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.testing.lineage import LineageConformance, MemoryLineage


class TestMemory(LineageConformance):
    across_processes = False

    @pytest.fixture
    def lineage(self) -> Lineage:
        return MemoryLineage()


class TestSqlite(LineageConformance):
    @pytest.fixture
    def lineage(self, tmp_path: Path) -> Lineage:
        return SqliteLineage(tmp_path / "not yet there" / "lineage.db")


@pytest.mark.aws
class TestDynamoDB(LineageConformance):
    @pytest.fixture
    def lineage(self, aws_server: str) -> Lineage:
        return DynamoDBLineage(f"lineage-{uuid.uuid4()}")
