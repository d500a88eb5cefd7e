"""The table's own log: facts as the commits have them, and which of them lineage lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakehouse.errors import TableMismatch
from lakehouse.lineage import Fact

if TYPE_CHECKING:
    from lakehouse.io import Publication, TableReader, TableVersion


def to_payload(facts: Sequence[Fact]) -> str:
    """Facts as text for the table's log, which keeps them in the very commit that they are about."""
    return "[" + ",".join(f.to_json() for f in facts) + "]"


def from_payload(payload: str, version: int) -> list[Fact]:
    """Read back what [to_payload][] wrote, with the version that was made along with it."""
    from pydantic import TypeAdapter

    return [at_version(fact, version) for fact in TypeAdapter(list[Fact]).validate_json(payload)]


def at_version(fact: Fact, version: int) -> Fact:
    """A fact with the version that its commit made, if it is about what was committed."""
    return fact.model_copy(update={"version": version}) if fact.status.committed else fact


def facts_in_log(table: TableReader, asset: str, *, after: int | None = None) -> list[Fact]:
    """The facts in a table's log of an asset that may have had another name.

    Parameters:
        table: the asset's table
        asset: the key that it has now
        after: look at newer versions only

    Raises:
        StorageError: the table can't be reached
    """
    return _facts(table, asset, table.publications(after=after))


def unrecorded(table: TableReader, asset: str, newest: Sequence[Fact]) -> list[Fact]:
    """The facts in a table's log that lineage lacks: the trail of a process that was killed in between.

    Parameters:
        table: the asset's table
        asset: its key
        newest: what lineage has of its highest table version; see [LineageReader.newest][]

    Raises:
        TableMismatch: the table is not the one that lineage tells of
        StorageError: it can't be reached
    """
    if not newest:
        return facts_in_log(table, asset)
    known = newest[0].version or 0
    publications = table.publications(after=known - 1)
    _see_same(table, asset, newest, publications)
    return _facts(table, asset, [one for one in publications if one.version > known])


def to_record(
    table: TableReader, asset: str, newest: Sequence[Fact], facts: Sequence[Fact], *, version: int
) -> list[Fact]:
    """What is to be recorded of a publication: before it what others published and were stopped from recording.

    So a recorded version means that all before it are recorded too, and looking for gaps stays cheap.

    Parameters:
        table: the asset's table
        asset: its key
        newest: what lineage has of its highest table version
        facts: those of the publication
        version: the table version that it made

    Raises:
        TableMismatch: the table is not the one that lineage tells of, or doesn't have the publication any more
        StorageError: it can't be reached
    """
    known = newest[0].version if newest else None
    first = version if known is None else min(known, version)
    publications = table.publications(after=None if known is None else first - 1)
    _see_same(table, asset, [fact for fact in facts if fact.version == version], publications)
    if newest:
        _see_same(table, asset, newest, publications)
    behind = [one for one in publications if (known is None or one.version > known) and one.version < version]
    return [*_facts(table, asset, behind), *facts]


def newest_version(table: TableReader, asset: str, newest: Sequence[Fact]) -> TableVersion | None:
    """The newest version of a table, if it is the one that lineage tells of.

    Parameters:
        table: the asset's table
        asset: its key
        newest: what lineage has of its highest table version

    Raises:
        TableMismatch: it isn't
        StorageError: it can't be reached
    """
    found = table.newest()
    if newest:
        known = newest[0].version or 0
        if found is None or found.number != known or not _holds(found.payload, newest):
            _see_same(table, asset, newest, table.publications(after=known - 1))
    return found


def _facts(table: TableReader, asset: str, publications: Sequence[Publication]) -> list[Fact]:
    return [fact.moved(asset, table.uri) for one in publications for fact in from_payload(one.payload, one.version)]


def _holds(payload: str | None, facts: Sequence[Fact]) -> bool:
    """Whether a commit tells of these facts; its text is long, and need not be read for that."""
    return payload is not None and all(f'"id":"{fact.id}"' in payload for fact in facts)


def _see_same(table: TableReader, asset: str, facts: Sequence[Fact], publications: Sequence[Publication]) -> None:
    """See that the commit which made the version of some facts is the one that tells of them."""
    version = facts[0].version
    if any(one.version == version and _holds(one.payload, facts) for one in publications):
        return
    there = table.version()
    if there is None:
        fault = f"there is no table at {table.uri}"
    elif version is not None and there < version:
        fault = f"the table at {table.uri} is only at version {there}"
    else:
        fault = f"version {version} of the table at {table.uri} is another one"
    raise TableMismatch(
        f"lineage knows version {version} of {asset}, but {fault}",
        hint="see that storage and lineage belong together (LAKEHOUSE_STORAGE, LAKEHOUSE_LINEAGE), and put back what "
        f"isn't there; if it was meant to be so: lakehouse state rebuild {asset} lets lineage follow the table",
    )
