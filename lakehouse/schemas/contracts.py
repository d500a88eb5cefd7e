"""What assets owe their consumers: a schema is compared before it is published, and registered after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import LakehouseError, SchemaBreak, describe, shorten
from lakehouse.lineage import CheckResult, Fact, LineageStore, Status
from lakehouse.redaction import logger
from lakehouse.schemas.catalog import Catalog, CatalogTable, mark
from lakehouse.schemas.columns import TableSchema
from lakehouse.schemas.compatibility import Compatibility, Difference, breaking, differences
from lakehouse.schemas.registry import Registered, SchemaRegistry, approve, is_approved

if TYPE_CHECKING:
    from lakehouse.io import TableReader

log = logger()


@final
@dataclass(frozen=True)
class Compared:
    """A schema that may be published.

    Parameters:
        schema: the schema
        number: of the version that it is registered as; None: it will be, once it is published
        mode: what a registry with an opinion of its own is asked about
        differences: how it differs from what was registered last
        cataloged: what a catalog is known to tell; see [lakehouse.schemas.catalog.mark][]
    """

    schema: TableSchema
    number: int | None
    mode: Compatibility = Compatibility.NONE
    differences: tuple[Difference, ...] = ()
    cataloged: str = ""

    @property
    def new(self) -> bool:
        """Whether it is yet to be registered."""
        return self.number is None


@final
@dataclass(frozen=True)
class Refused:
    """A schema that was stopped before it was published.

    Parameters:
        schema: the schema
        fact: what says so
        differences: how it differs from what is registered
        breaking: those of them that break something
    """

    schema: TableSchema
    fact: Fact
    differences: tuple[Difference, ...]
    breaking: tuple[Difference, ...]


@final
@dataclass(frozen=True)
class SchemaContracts:
    """Compares the schemas of assets with what is registered of them, and registers them.

    Parameters:
        lineage: where facts and approvals are
        registry: where schemas are registered
        graph: all assets, for who reads what; None: nobody is known
        modes: what is to be kept of an asset, by its key, where settings say so; else all, if it promises a schema,
            and nothing, if it doesn't
        catalog: tells other engines of tables; None: nobody does
    """

    lineage: LineageStore
    registry: SchemaRegistry
    graph: AssetGraph | None = None
    modes: Mapping[str, Compatibility] = field(default_factory=dict)
    catalog: Catalog | None = None

    def mode(self, asset: Asset) -> Compatibility:
        """What a change of an asset's schema is to keep."""
        return self.modes.get(asset.key, Compatibility.NONE if asset.schema is None else Compatibility.FULL)

    # ── before and after a publication ────────────────────────────────────────────────────

    def compare(self, asset: Asset, dtypes: Mapping[str, Any], newest: Sequence[Fact]) -> Compared:
        """Compare the columns that are to be published with what is registered.

        Where they are what they were, that is known from the record of the newest publication, and nobody is asked.

        Parameters:
            asset: the asset
            dtypes: the types that its function gave its columns
            newest: what is recorded of the newest version of its table

        Raises:
            SchemaBreak: a change that breaks what the asset's mode is to keep, and that nobody let through
            SchemaRegistryError, LineageError: what is registered can't be read
        """
        schema, mode = TableSchema.of(asset, dtypes), self.mode(asset)
        last = _telling(newest)
        if last is not None and last.columns_version == schema.version:
            return Compared(schema, last.registered, mode, cataloged=last.cataloged)
        if newest and (last is None or last.registered is None):
            # Maintenance came in between, or a kill.
            facts = self.lineage.facts(asset.key)
            self.complete(facts)
            last = last or _telling(facts)
        known = self.registry.latest(asset.key)
        if known is None or known.schema.version == schema.version:
            return Compared(schema, None if known is None else known.number, mode)
        found = tuple(differences(known.schema, schema))
        broken = breaking(known.schema, schema, mode, unpromised=asset.schema is None)
        if not broken:
            # A registry knows nothing of what isn't promised.
            told = mode if not breaking(known.schema, schema, mode, unpromised=True) else Compatibility.NONE
            return Compared(schema, None, told, found)
        if not (_is_new_version(asset, last) or is_approved(self.lineage, asset.key, schema, after=known.schema)):
            raise self._break(asset, known, schema, broken)
        log.info("%s: let through: %s", asset.key, shorten(broken, 10))
        return Compared(schema, None, Compatibility.NONE, found)

    def registered(self, asset: Asset, compared: Compared, fact: Fact) -> Fact:
        """Register a schema that is published by now; the fact about it says as what.

        Where that fails the publication stands, the fact tells of it, and the next run does it.

        Parameters:
            asset: the asset
            compared: its schema
            fact: the fact
        """
        if not compared.new:
            return fact
        try:
            number = self.registry.register(asset.key, compared.schema, mode=compared.mode)
        except Exception as error:
            return _told(fact, "schema_registered", f"published, but its schema isn't registered: {describe(error)}")
        return fact.model_copy(update={"registered": number})

    def cataloged(self, asset: Asset, compared: Compared, table: TableReader, fact: Fact) -> Fact:
        """Have a catalog tell of what is published by now; the fact about it says so.

        Where that fails the publication stands, the fact tells of it, and the next run does it.

        Parameters:
            asset: the asset
            compared: its schema
            table: its table
            fact: the fact
        """
        if self.catalog is None:
            return fact
        told = mark(self.catalog, asset, table.uri, compared.schema)
        if told != compared.cataloged:
            try:
                self.catalog.put(CatalogTable.of(asset, table, compared.schema, fact.registered, fact.version))
            except Exception as error:
                return _told(fact, "in_catalog", f"published, but not as it is in the catalog: {describe(error)}")
        return fact.model_copy(update={"cataloged": told})

    def entry(self, asset: Asset, table: TableReader) -> CatalogTable | None:
        """What a catalog is to tell of a table, by what was published last; None: there is no table.

        Raises:
            SchemaRegistryError, LineageError, StorageError: that can't be read
        """
        version = table.version()
        if version is None:
            return None
        known = self.registry.latest(asset.key)
        schema, number = (TableSchema.promised(asset), None) if known is None else (known.schema, known.number)
        return CatalogTable.of(asset, table, schema, number, version)

    def recatalog(self, asset: Asset, table: TableReader, *, formerly: str) -> None:
        """Have a catalog tell of a table that bore another name.

        Raises:
            CatalogError: it can't be
        """
        if self.catalog is None:
            return
        self.catalog.drop(formerly)
        if (entry := self.entry(asset, table)) is not None:
            self.catalog.put(entry)

    def complete(self, facts: Sequence[Fact]) -> list[Fact]:
        """Register what was published and, by a kill or a fault, not registered; the facts with its numbers.

        Raises:
            SchemaRegistryError, LineageError: it can't be
        """
        found = []
        for fact in sorted(facts, key=lambda one: one.version or 0):
            if fact.status is Status.PUBLISHED and fact.columns and fact.registered is None:
                schema = TableSchema.from_text(fact.columns)
                fact = fact.model_copy(update={"registered": self.registry.register(fact.asset, schema)})
            found.append(fact)
        return found

    def completed(self, facts: Sequence[Fact]) -> list[Fact]:
        """The same; where a schema can't be registered just now, that is left to the next publication."""
        try:
            return self.complete(facts)
        except LakehouseError as error:
            log.warning("a schema is published and not registered yet: %s", error.message)
            return list(facts)

    # ── what people ask ───────────────────────────────────────────────────────────────────

    def refused(self, asset: Asset) -> Refused | None:
        """The schema that was stopped last, if nothing was published since and it would be stopped again."""
        facts = self.lineage.facts(asset.key)
        stopped = [fact for fact in facts if fact.status is Status.FAILED and fact.columns]
        known = self.registry.latest(asset.key)
        if not stopped or known is None:
            return None
        fact, schema = stopped[-1], TableSchema.from_text(stopped[-1].columns)
        published = [one for one in facts if one.columns_version and one.status is Status.PUBLISHED]
        if any(one.finished > fact.finished for one in published) or schema.version == known.schema.version:
            return None
        broken = breaking(known.schema, schema, self.mode(asset), unpromised=asset.schema is None)
        if not broken or is_approved(self.lineage, asset.key, schema, after=known.schema):
            return None
        return Refused(schema, fact, tuple(differences(known.schema, schema)), tuple(broken))

    def approve(self, asset: Asset) -> Refused:
        """Let the schema through that was stopped last.

        Raises:
            LakehouseError: none was
        """
        found, known = self.refused(asset), self.registry.latest(asset.key)
        if found is None or known is None:
            raise LakehouseError(
                f"no schema of {asset.key} waits to be let through",
                hint=f"lakehouse schemas {asset.key} shows what is registered",
            )
        approve(self.lineage, asset.key, found.schema, after=known.schema)
        return found

    def rename(self, old: str, new: str) -> None:
        """Register the versions of an asset under the key that it has now."""
        for one in self.registry.versions(old):
            self.registry.register(new, one.schema)

    def _break(self, asset: Asset, known: Registered, schema: TableSchema, broken: Sequence[Difference]) -> SchemaBreak:
        readers = self.readers(asset, [one.column for one in broken])
        said = [f"{key} ({', '.join(map(repr, names))})" if names else key for key, names in readers.items()]
        message = (
            f"{asset.key}: {shorten(broken, 5, 200)}; that breaks version {known.number} of its schema, which is "
            f"registered ({self.mode(asset)}), so nothing was published"
        )
        if said:
            message += f"; read by {shorten(said, 8, 200)}"
        hint = f'lakehouse schemas approve {asset.key} lets it through, and so does another code_version="..." in code'
        if all(one.kind == "added, required" for one in broken):
            hint = f"declare the new column nullable; or {hint}"
        return SchemaBreak(message, refused=schema.text, hint=hint)

    def readers(self, asset: Asset, columns: Sequence[str]) -> dict[str, list[str]]:
        """Who reads some columns of an asset: those that a consumer asks for; none: it doesn't say which it reads.

        Parameters:
            asset: the asset
            columns: the columns
        """
        found: dict[str, list[str]] = {}
        if self.graph is None or asset not in self.graph:
            return found
        for consumer in self.graph.consumers(asset):
            mine = [edge.parameter.schema for edge in self.graph.inputs(consumer) if edge.asset.key == asset.key]
            asked = [name for name in columns if any(schema is not None and schema.allows(name) for schema in mine)]
            if asked or None in mine:
                found[consumer.key] = asked
        return found


def _told(fact: Fact, name: str, message: str) -> Fact:
    """A fact that tells of what went wrong after its publication."""
    log.warning("%s: %s; the next run tries again", fact.asset, message)
    result = CheckResult(name=name, blocking=False, passed=False, failed=fact.partitions, message=message)
    return fact.model_copy(update={"checks": (*fact.checks, result)})


def _telling(facts: Sequence[Fact]) -> Fact | None:
    """The newest publication that says what columns it has."""
    told = [fact for fact in facts if fact.columns_version and fact.status is Status.PUBLISHED]
    return max(told, key=lambda fact: fact.version or 0, default=None)


def _is_new_version(asset: Asset, last: Fact | None) -> bool:
    """Whether somebody declared that the asset is another one than the one that was published last."""
    return asset.declared_version is not None and last is not None and last.code_version != asset.declared_version
