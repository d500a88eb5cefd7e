"""What is registered of assets' schemas: the protocol, and the registry that lives in the lineage store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, final

from lakehouse.errors import SchemaRegistryError
from lakehouse.lineage import Fact, LineageStore, Status
from lakehouse.schemas.columns import TableSchema
from lakehouse.schemas.compatibility import Compatibility

_TRIES = 50
"""How often others may be faster in registering another schema of the same asset."""


@final
@dataclass(frozen=True)
class Registered:
    """A version of an asset's schema.

    Parameters:
        number: its number, from 1
        schema: the schema
        since: when it was registered (UTC); None: it isn't known
    """

    number: int
    schema: TableSchema
    since: datetime | None = None


class SchemaRegistry(Protocol):
    """Keeps the versions of assets' schemas."""

    @property
    def uri(self) -> str:
        """What is written in settings for it."""
        ...

    def latest(self, asset: str) -> Registered | None:
        """The newest version; None: nothing of the asset is registered.

        Parameters:
            asset: its key

        Raises:
            SchemaRegistryError, LineageError: it can't be reached or read
        """
        ...

    def versions(self, asset: str) -> list[Registered]:
        """All versions, oldest first.

        Parameters:
            asset: its key

        Raises:
            SchemaRegistryError, LineageError: it can't be reached or read
        """
        ...

    def register(self, asset: str, schema: TableSchema, *, mode: Compatibility = Compatibility.NONE) -> int:
        """Register a schema; one that is registered already keeps its number.

        Parameters:
            asset: the asset's key
            schema: the schema
            mode: what it is to be compatible with, where the registry has an opinion of its own

        Returns:
            its number

        Raises:
            SchemaRegistryError, LineageError: it can't be reached or written, or refuses the schema
        """
        ...


@final
@dataclass(frozen=True)
class EmbeddedRegistry:
    """Schemas beside the facts: the registry that needs nothing but a lineage store.

    Parameters:
        lineage: the store

    Examples:
        >>> from lakehouse.schemas.columns import TableColumn
        >>> from lakehouse.testing import MemoryLineage
        >>> registry = EmbeddedRegistry(MemoryLineage())
        >>> schema = TableSchema((TableColumn("n", "Int64"),))
        >>> registry.register("silver.numbers", schema), registry.register("silver.numbers", schema)
        (1, 1)
    """

    lineage: LineageStore

    uri = "embedded"

    def latest(self, asset: str) -> Registered | None:
        """The newest version; None: nothing of the asset is registered."""
        return next(reversed(self.versions(asset)), None)

    def versions(self, asset: str) -> list[Registered]:
        """All versions, oldest first."""
        return _versions(self.lineage.facts(_home(asset)))

    def register(self, asset: str, schema: TableSchema, *, mode: Compatibility = Compatibility.NONE) -> int:
        """Register a schema; one that is registered already keeps its number."""
        for _ in range(_TRIES):
            known = self.versions(asset)
            for one in known:
                if one.schema.version == schema.version:
                    return one.number
            # A fact whose id is there is left as it is: of two that take the same number one comes again.
            number = known[-1].number + 1 if known else 1
            self.lineage.append([_fact(asset, f"{number:032d}", version=number, columns=schema.text)])
        raise SchemaRegistryError(f"registering the schema of {asset} met others {_TRIES} times in a row")


def approve(lineage: LineageStore, asset: str, schema: TableSchema, *, after: TableSchema) -> None:
    """Let a schema of an asset through, whatever it breaks.

    Parameters:
        lineage: where that is written down
        asset: the asset's key
        schema: the schema
        after: the schema that it may follow on
    """
    lineage.append([_fact(asset, _approval(schema, after), columns=schema.text)])


def is_approved(lineage: LineageStore, asset: str, schema: TableSchema, *, after: TableSchema) -> bool:
    """Whether a schema was let through; takes what [approve][] does."""
    return any(fact.id == _approval(schema, after) for fact in lineage.facts(_home(asset)))


def _approval(schema: TableSchema, after: TableSchema) -> str:
    return f"approved-{schema.version}-after-{after.version}"


def _home(asset: str) -> str:
    """What stands where an asset's key does. No asset has such a key: it names no layer."""
    return f"schemas.{asset}"


def _versions(facts: Sequence[Fact]) -> list[Registered]:
    numbered = sorted((fact for fact in facts if fact.version is not None), key=lambda fact: fact.version or 0)
    return [Registered(fact.version or 0, TableSchema.from_text(fact.columns), fact.finished) for fact in numbered]


def _fact(asset: str, id: str, *, version: int | None = None, columns: str) -> Fact:
    now = datetime.now(UTC)
    return Fact(
        id=id,
        asset=_home(asset),
        status=Status.REGISTERED,
        partitions=(),
        run="",  # no run did it
        started=now,
        finished=now,
        version=version,
        columns=columns,
    )
