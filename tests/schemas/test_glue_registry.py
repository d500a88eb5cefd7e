"""The AWS Glue Schema Registry: what it refuses, what it is slow about, and what a schema costs there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lakehouse.errors import SchemaRegistryError, SettingsError
from lakehouse.integrations.aws.schema_registry import LONGEST, GlueSchemaRegistry
from lakehouse.registries import open_registry
from lakehouse.schemas.columns import TableColumn, TableSchema
from lakehouse.schemas.compatibility import Compatibility
from lakehouse.schemas.registry import SchemaRegistry
from lakehouse.testing import MemoryLineage
from lakehouse.testing.schemas import ASSET, ONE, OTHER, TWO, SchemaRegistryConformance

pytestmark = pytest.mark.aws


@contextmanager
def empty_registry() -> Iterator[GlueSchemaRegistry]:
    """A registry that goes again: an account may have few."""
    made = GlueSchemaRegistry(f"registry-{uuid.uuid4()}", sleep=lambda _: None)
    glue = boto3.client("glue")
    yield made
    with suppress(ClientError):
        glue.delete_registry(RegistryId={"RegistryName": made.registry})


class TestGlue(SchemaRegistryConformance):
    @pytest.fixture
    def registry(self, aws_server: str) -> Iterator[SchemaRegistry]:
        with empty_registry() as made:
            yield made


class Recording:
    """boto3's client, which notes what is called, and answers some calls otherwise."""

    def __init__(self, client: Any, **otherwise: Any) -> None:
        self.client = client
        self.calls: list[str] = []
        self.otherwise = otherwise

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Any:
            self.calls.append(name)
            if name in self.otherwise:
                return self.otherwise[name](getattr(self.client, name), given)
            return getattr(self.client, name)(**given)

        return call


@pytest.fixture
def registry(aws_server: str) -> Iterator[GlueSchemaRegistry]:
    with empty_registry() as made:
        yield made


def recording(registry: GlueSchemaRegistry, monkeypatch: pytest.MonkeyPatch, **otherwise: Any) -> Recording:
    made = Recording(boto3.client("glue"), **otherwise)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: made)
    monkeypatch.setattr(registry._client, "_made", None)
    return made


def test_what_it_costs(registry: GlueSchemaRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    glue = recording(registry, monkeypatch)
    registry.register(ASSET, ONE, mode=Compatibility.FULL)
    assert glue.calls == ["get_schema", "create_schema", "create_registry", "create_schema"]
    glue.calls.clear()
    registry.register(ASSET, TWO, mode=Compatibility.FULL)
    assert glue.calls == ["get_schema", "register_schema_version"]
    glue.calls.clear()
    registry.latest(ASSET)
    assert glue.calls == ["get_schema_version"]


def test_aws_is_asked_by_the_assets_mode_and_not_about_what_was_let_through(
    registry: GlueSchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(ASSET, ONE, mode=Compatibility.FULL)
    glue: Any = boto3.client("glue")
    id = {"RegistryName": registry.registry, "SchemaName": ASSET}
    assert glue.get_schema(SchemaId=id)["Compatibility"] == "FULL"
    registry.register(ASSET, OTHER)
    assert glue.get_schema(SchemaId=id)["Compatibility"] == "NONE"
    registry.register(ASSET, TableSchema((*OTHER.columns, TableColumn("k", "Int8"))), mode=Compatibility.BACKWARD)
    assert glue.get_schema(SchemaId=id)["Compatibility"] == "BACKWARD"


def test_what_aws_refuses_is_told_and_leaves_nothing_behind(
    registry: GlueSchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(ASSET, ONE, mode=Compatibility.FULL)
    deleted = []
    glue = recording(
        registry,
        monkeypatch,
        register_schema_version=lambda call, given: {**call(**given), "Status": "FAILURE"},
        delete_schema_versions=lambda _, given: deleted.append(given["Versions"]),
    )
    with pytest.raises(SchemaRegistryError, match="AWS refuses the schema of") as caught:
        registry.register(ASSET, TWO, mode=Compatibility.FULL)
    assert caught.value.hint is not None
    assert registry.registry in caught.value.hint
    assert deleted == ["2"]
    assert glue.calls[-1] == "delete_schema_versions"


def test_versions_that_aws_refused_are_passed_over(
    registry: GlueSchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for schema in (ONE, TWO, OTHER):
        registry.register(ASSET, schema)

    def refused(call: Any, given: Any) -> Any:
        found = call(**given)
        return {**found, "Status": "FAILURE"} if found["VersionNumber"] == 3 else found

    recording(registry, monkeypatch, get_schema_version=refused)
    latest = registry.latest(ASSET)
    assert latest is not None
    assert (latest.number, latest.schema.version) == (2, TWO.version)
    assert [one.number for one in registry.versions(ASSET)] == [1, 2]


@pytest.mark.parametrize("patient", [True, False])
def test_what_aws_is_still_looking_at_is_waited_for(
    registry: GlueSchemaRegistry, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    registry.register(ASSET, ONE)
    looks = []

    def looked_at(call: Any, given: Any) -> Any:
        looks.append(given)
        return {**call(**given), "Status": "AVAILABLE" if patient and len(looks) == 3 else "PENDING"}

    recording(
        registry,
        monkeypatch,
        register_schema_version=lambda call, given: {**call(**given), "Status": "PENDING"},
        get_schema_version=looked_at,
    )
    if patient:
        assert registry.register(ASSET, TWO) == 2
        assert len(looks) == 3
    else:
        with pytest.raises(SchemaRegistryError, match="AWS has been looking at the schema"):
            registry.register(ASSET, TWO)


def test_a_schema_that_is_too_long_goes_without_descriptions_or_is_refused(registry: GlueSchemaRegistry) -> None:
    described = TableSchema(tuple(TableColumn(f"c{i}", "Int64", description="x" * 200) for i in range(800)))
    assert registry.register(ASSET, described) == 1
    (found,) = registry.versions(ASSET)
    assert list(found.schema.by_name) == sorted(described.by_name)
    wide = TableSchema(tuple(TableColumn(f"c{i}", "Int64") for i in range(3000)))
    with pytest.raises(SchemaRegistryError, match=f"{LONGEST:,} at most"):
        registry.register(ASSET, wide)


def test_errors_say_what_to_do(registry: GlueSchemaRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(call: Any, given: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetSchemaVersion")

    recording(registry, monkeypatch, get_schema_version=denied, get_schema=denied)
    for ask in (lambda: registry.latest(ASSET), lambda: registry.register(ASSET, ONE)):
        with pytest.raises(SchemaRegistryError, match="AccessDenied") as caught:
            ask()
        assert caught.value.hint is not None
        assert "glue:GetSchema" in caught.value.hint


def test_keys_of_any_letters_are_names_there(registry: GlueSchemaRegistry) -> None:
    for key in ("silver.größe", "silver.gr_c3__c3_e", "silver.grösse"):
        assert registry.register(key, ONE) == 1
        assert len(registry.versions(key)) == 1


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("glue:/x", "can't be used"),
        ("glue://a b", "can't be used"),
        ("glue://x?regoin=y", "regoin"),
        ("sqlite", "allowed"),
    ],
)
def test_a_registry_that_cannot_be_is_refused(uri: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        open_registry(uri, MemoryLineage())
