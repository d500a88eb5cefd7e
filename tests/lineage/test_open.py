from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.errors import SettingsError
from lakehouse.lineage.dynamodb import DynamoDBLineage
from lakehouse.lineage.open import open_lineage
from lakehouse.lineage.sqlite import SqliteLineage


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///lineage.db", "lineage.db"),
        ("sqlite:///.lakehouse/lineage.db", ".lakehouse/lineage.db"),
        ("sqlite:////data/a b%20c#d?e.db", "/data/a b%20c#d?e.db"),
        ("sqlite:///~/lineage.db", "~/lineage.db"),
    ],
)
def test_a_file(uri: str, path: str) -> None:
    lineage = open_lineage(uri)
    assert isinstance(lineage, SqliteLineage)
    assert lineage.path == Path(path).expanduser().absolute()


def test_a_table() -> None:
    lineage = open_lineage("dynamodb://My.table_1?region=eu-central-1&endpoint=http://localhost:8000&create=false")
    assert isinstance(lineage, DynamoDBLineage)
    assert (lineage.table, lineage.region, lineage.endpoint, lineage.create) == (
        "My.table_1",
        "eu-central-1",
        "http://localhost:8000",
        False,
    )
    assert open_lineage(lineage.uri).uri == lineage.uri


def test_a_table_by_default() -> None:
    lineage = open_lineage("dynamodb://lineage")
    assert isinstance(lineage, DynamoDBLineage)
    assert (lineage.region, lineage.endpoint, lineage.create) == (None, None, True)
    assert lineage.uri == "dynamodb://lineage"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "hint: for a file, write sqlite:///lineage.db"),
        ("lineage.db", "hint: for a file, write sqlite:///lineage.db"),
        ("/data/lineage.db", "hint: for a file, write sqlite:////data/lineage.db"),
        ("sqlite:lineage.db", "hint: for a file, write sqlite:///lineage.db"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite://lineage.db", "hint: write sqlite:///lineage.db"),
        ("sqllite:///lineage.db", "hint: did you mean sqlite?"),
        ("postgresql://host/db", "is no lineage store; allowed: sqlite:///"),
        ("memory://", "hint: hand over the object itself"),
        ("dynamodb://", "names no DynamoDB table"),
        ("dynamodb://a", "names no DynamoDB table"),
        ("dynamodb:///lineage", "names no DynamoDB table"),
        ("dynamodb://host/lineage", "names no DynamoDB table"),
        ("dynamodb://lineage?regoin=x", "hint: did you mean region or endpoint?"),
        ("dynamodb://lineage?region=", "gives region as ''"),
        ("dynamodb://lineage?create=maybe", "hint: write create=true or create=false"),
    ],
)
def test_anything_else(uri: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_lineage(uri)
    assert message in str(caught.value)


def test_only_the_store_that_is_used_is_imported() -> None:
    script = """
import sys
from lakehouse.lineage.open import open_lineage
import lakehouse.testing.lineage
open_lineage("sqlite:///lineage.db")
assert not {"boto3", "botocore", "moto", "pytest"} & set(sys.modules)
open_lineage("dynamodb://lineage")
assert "boto3" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
