"""Schemas in the AWS Glue Schema Registry, as Avro.

AWS has an opinion of its own on what is compatible, a second one: it is asked when a schema is registered, which is
after it was published. Where it refuses, nothing is left behind, and the error says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, final

from botocore import exceptions as aws

from lakehouse.errors import SchemaRegistryError
from lakehouse.integrations.aws.clients import GlueClient, code_of, glue_uri
from lakehouse.schemas.avro import from_avro, to_avro
from lakehouse.schemas.columns import TableSchema
from lakehouse.schemas.compatibility import Compatibility
from lakehouse.schemas.registry import Registered

LONGEST: Final = 170_000
"""Characters of a definition, at most."""

_NOT_THERE, _IS_THERE = "EntityNotFoundException", "AlreadyExistsException"
_BUSY = "ConcurrentModificationException"
_PATIENCE = 30.0
"""Seconds for which AWS may look at a schema."""
_TRIES = 5


@final
class GlueSchemaRegistry:
    """A registry of the account, which is made with the first schema.

    Parameters:
        registry: its name
        region: AWS region; by default what boto3 finds
        endpoint: URL of another endpoint; by default what boto3 finds
        sleep: waits for some seconds; given by tests

    Examples:
        >>> GlueSchemaRegistry("lakehouse", region="eu-central-1").uri
        'glue://lakehouse?region=eu-central-1'
    """

    def __init__(
        self,
        registry: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.registry = registry
        self._client = GlueClient(region, endpoint)
        self._sleep = sleep

    @property
    def uri(self) -> str:
        """What is written in settings for it."""
        return glue_uri(self.registry, self._client)

    def latest(self, asset: str) -> Registered | None:
        """The newest version that is in use; None: nothing of the asset is registered."""
        found = self._version(asset, {"LatestVersion": True})
        while found is not None and found["Status"] != "AVAILABLE":
            number = int(found["VersionNumber"])
            if found["Status"] == "PENDING":
                found = self._settled(asset, found["SchemaVersionId"], found)
                if found["Status"] == "AVAILABLE":
                    break
            found = next((one for n in range(number - 1, 0, -1) if (one := self._numbered(asset, n))), None)
        return None if found is None else _registered(found)

    def versions(self, asset: str) -> list[Registered]:
        """All versions that are in use, oldest first."""
        newest = self._version(asset, {"LatestVersion": True})
        if newest is None:
            return []
        found = [self._numbered(asset, number) for number in range(1, int(newest["VersionNumber"]))]
        return [_registered(one) for one in (*found, newest) if one is not None and one["Status"] == "AVAILABLE"]

    def register(self, asset: str, schema: TableSchema, *, mode: Compatibility = Compatibility.NONE) -> int:
        """Register a schema; one that is registered already keeps its number."""
        definition = _definition(asset, schema)
        for attempt in range(_TRIES):
            try:
                found = self._put(asset, definition, mode)
                break
            except aws.ClientError as error:
                # Others may have made it in between, or be about to change it.
                if code_of(error) not in (_BUSY, _IS_THERE, _NOT_THERE) or attempt == _TRIES - 1:
                    with self._reaching(f"registering the schema of {asset}"):
                        raise
                self._sleep(0.1 * 2**attempt)
            except aws.BotoCoreError:
                with self._reaching(f"registering the schema of {asset}"):
                    raise
        found = self._settled(asset, found["SchemaVersionId"], found)
        match found["Status"]:
            case "AVAILABLE":
                return int(found["VersionNumber"])
            case "PENDING":
                raise SchemaRegistryError(
                    f"AWS has been looking at the schema of {asset} for {_PATIENCE:.0f} s",
                    hint="the next run asks again",
                )
            case status:
                # As long as it is there the same definition is refused, whatever else is changed.
                with suppress(aws.ClientError, aws.BotoCoreError):
                    self._client.boto.delete_schema_versions(
                        SchemaId=self._id(asset), Versions=str(found["VersionNumber"])
                    )
                raise SchemaRegistryError(
                    f"AWS refuses the schema of {asset} as incompatible with the one before ({mode}; {status})",
                    hint=f"see the schema's compatibility in the registry {self.registry}: it may have been changed "
                    "there",
                )

    def _put(self, asset: str, definition: str, mode: Compatibility) -> dict[str, Any]:
        """Store a definition; what AWS says of it."""
        glue, wanted = self._client.boto, mode.upper()
        try:
            known = glue.get_schema(SchemaId=self._id(asset))
        except aws.ClientError as error:
            if code_of(error) != _NOT_THERE:
                raise
            return self._create(asset, definition, wanted)
        if known["Compatibility"] != wanted:
            # From here on: what was let through stays, and is what comes next is compared with.
            glue.update_schema(
                SchemaId=self._id(asset), SchemaVersionNumber={"LatestVersion": True}, Compatibility=wanted
            )
        found: dict[str, Any] = glue.register_schema_version(SchemaId=self._id(asset), SchemaDefinition=definition)
        return found

    def _create(self, asset: str, definition: str, wanted: str) -> dict[str, Any]:
        glue = self._client.boto
        given = {
            "RegistryId": {"RegistryName": self.registry},
            "SchemaName": _name(asset),
            "DataFormat": "AVRO",
            "Compatibility": wanted,
            "Description": f"{asset}, as lakehouse publishes it",
            "SchemaDefinition": definition,
        }
        try:
            made = glue.create_schema(**given)
        except aws.ClientError as error:
            if code_of(error) != _NOT_THERE:
                raise
            try:
                glue.create_registry(RegistryName=self.registry)
            except aws.ClientError as second:
                if code_of(second) != _IS_THERE:
                    raise
            made = glue.create_schema(**given)
        return {**made, "VersionNumber": made["LatestSchemaVersion"], "Status": made["SchemaVersionStatus"]}

    def _settled(self, asset: str, id: str, found: dict[str, Any]) -> dict[str, Any]:
        """A version, once AWS has made up its mind; if it doesn't in good time, as it is."""
        waited, pause = 0.0, 0.1
        while found["Status"] == "PENDING" and waited < _PATIENCE:
            self._sleep(pause)
            waited, pause = waited + pause, min(2 * pause, 3.0)
            with self._reaching(f"looking at the schema of {asset}"):
                found = self._client.boto.get_schema_version(SchemaVersionId=id)
        return found

    def _numbered(self, asset: str, number: int) -> dict[str, Any] | None:
        return self._version(asset, {"VersionNumber": number})

    def _version(self, asset: str, which: dict[str, Any]) -> dict[str, Any] | None:
        """A version; None: it isn't there."""
        with self._reaching(f"looking up the schema of {asset}"):
            try:
                found: dict[str, Any] = self._client.boto.get_schema_version(
                    SchemaId=self._id(asset), SchemaVersionNumber=which
                )
            except aws.ClientError as error:
                if code_of(error) == _NOT_THERE:
                    return None
                raise
            return found

    def _reaching(self, doing: str) -> Any:
        hints = {
            "AccessDeniedException": "allow glue:GetSchema, GetSchemaVersion, CreateRegistry, CreateSchema, "
            "RegisterSchemaVersion, UpdateSchema and DeleteSchemaVersions on the registry",
            "": "see that the region and the registry's name are right",
        }
        return self._client.reaching(f"{doing} in the registry {self.registry}", SchemaRegistryError, hints)

    def _id(self, asset: str) -> dict[str, str]:
        return {"RegistryName": self.registry, "SchemaName": _name(asset)}

    def __repr__(self) -> str:
        return f"GlueSchemaRegistry({self.registry!r})"


def _name(asset: str) -> str:
    """An asset's key as AWS allows it: letters, digits and few signs."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else f"${ord(letter):x}#"
        for letter in asset
    )


def _definition(asset: str, schema: TableSchema) -> str:
    """A schema as Avro, without descriptions where they don't fit.

    Raises:
        SchemaRegistryError: it is too long as well without them
    """
    for described in (True, False):
        text = json.dumps(to_avro(asset, schema, described=described), ensure_ascii=False, separators=(",", ":"))
        if len(text) <= LONGEST:
            return text
    raise SchemaRegistryError(
        f"the schema of {asset} has {len(schema.columns):,} columns and takes {len(text):,} characters; AWS registers "
        f"{LONGEST:,} at most",
        hint="LAKEHOUSE_REGISTRY=embedded has no such limit; or publish fewer columns",
    )


def _registered(found: dict[str, Any]) -> Registered:
    since = None
    with suppress(KeyError, ValueError, TypeError, AttributeError):
        since = datetime.fromisoformat(found["CreatedTime"].replace("Z", "+00:00"))
    return Registered(int(found["VersionNumber"]), from_avro(found["SchemaDefinition"]), since)
