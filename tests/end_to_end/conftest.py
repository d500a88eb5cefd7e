from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lakehouse import Lakehouse, assets


@pytest.fixture(
    params=["disk and SQLite", pytest.param("S3 and DynamoDB", marks=[pytest.mark.aws, pytest.mark.xdist_group("aws")])]
)
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lakehouse]:
    """The reference lakehouse in an empty home: the same, whatever keeps it."""
    monkeypatch.chdir(tmp_path)  # dbt's own files go below the current folder
    home: dict[str, Any]
    if request.param == "disk and SQLite":
        home = {"storage": tmp_path / "data", "lineage": f"sqlite:///{tmp_path}/lineage.db"}
    else:
        import boto3

        request.getfixturevalue("aws_server")
        bucket = f"lake-{uuid4().hex}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        home = {"storage": f"s3://{bucket}/lake", "lineage": f"dynamodb://{bucket}"}
    lake = Lakehouse(assets, **home)
    yield lake
    lake.lineage_store.close()
