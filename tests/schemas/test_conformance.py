from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from lakehouse.lineage.dynamodb import DynamoDBLineage
from lakehouse.lineage.sqlite import SqliteLineage
from lakehouse.schemas.registry import EmbeddedRegistry, SchemaRegistry
from lakehouse.testing.lineage import MemoryLineage
from lakehouse.testing.schemas import SchemaRegistryConformance


class TestInMemory(SchemaRegistryConformance):
    @pytest.fixture
    def registry(self) -> SchemaRegistry:
        return EmbeddedRegistry(MemoryLineage())


class TestInSqlite(SchemaRegistryConformance):
    @pytest.fixture
    def registry(self, tmp_path: Path) -> SchemaRegistry:
        return EmbeddedRegistry(SqliteLineage(tmp_path / "lineage.db"))


@pytest.mark.aws
class TestInDynamoDB(SchemaRegistryConformance):
    @pytest.fixture
    def registry(self, aws_server: str) -> SchemaRegistry:
        return EmbeddedRegistry(DynamoDBLineage(f"lineage-{uuid.uuid4()}"))
