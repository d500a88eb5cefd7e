"""The table's own log: facts as the commits have them, and which of them lineage lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakehouse.errors import StorageError
from lakehouse.lineage import Fact, LineageReader

if TYPE_CHECKING:
    from lakehouse.io import TableReader


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


def facts_in_log(table: TableReader, asset: str, *, after: int | None = None, below: int | None = None) -> list[Fact]:
    """The facts in a table's log, between two versions, of an asset that may have had another name.

    Parameters:
        table: the asset's table
        asset: the key that it has now
        after: look at newer versions only
        below: look at older versions only

    Raises:
        StorageError: the table can't be reached
    """
    return [
        fact.moved(asset, table.uri)
        for publication in table.publications(after=after)
        if below is None or publication.version < below
        for fact in from_payload(publication.payload, publication.version)
    ]


def unrecorded(table: TableReader, lineage: LineageReader, asset: str, *, below: int | None = None) -> list[Fact]:
    """The facts in a table's log that lineage lacks: the trail of a process that was killed in between.

    Parameters:
        table: the asset's table
        lineage: what is recorded
        asset: its key
        below: look at older versions only

    Raises:
        StorageError: the table can't be reached, or is older than what lineage knows; LineageError: lineage can't
    """
    known = lineage.latest_version(asset)
    newest = table.version() if below is None else below - 1
    if known is not None and below is None and (newest is None or newest < known):
        there = "there is no table" if newest is None else f"the table is only at version {newest}"
        raise StorageError(
            f"lineage knows version {known} of {asset}, but {there} at {table.uri}",
            hint="see that storage and lineage belong together (LAKEHOUSE_STORAGE, LAKEHOUSE_LINEAGE); if the table "
            "was deleted on purpose, delete the lineage store as well: what tables remain is found again in their logs",
        )
    if newest is None or (known is not None and newest <= known):
        return []
    return facts_in_log(table, asset, after=known, below=below)
