"""Who may read and write lineage, and what a store keeps besides facts: leases of runs that are at work."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, final

from pydantic import TypeAdapter, ValidationError

from lakehouse.errors import LineageError
from lakehouse.lineage.facts import Fact, Record, _Json
from lakehouse.partitions import Pairs


class Lease(Record):
    """What a run is about to build. Unlike a fact it goes when the run ends.

    Parameters:
        run: id of the run
        partitions: which partitions of which assets, by key; of an asset with none: all
        host: the machine that it runs on; process: id of its process there
        expires: when it counts no longer, unless it is renewed (UTC)
    """

    run: str
    partitions: dict[str, Pairs]
    host: str
    process: str
    expires: datetime


_LEASES = TypeAdapter(list[Lease])


def leases_to_json(leases: Sequence[Lease]) -> str:
    """Leases as one line of JSON."""
    return _LEASES.dump_json(list(leases)).decode()


def leases_from_json(text: _Json) -> list[Lease]:
    """Read back what [leases_to_json][] wrote.

    Raises:
        LineageError: these are no leases
    """
    try:
        return _LEASES.validate_json(text)
    except ValidationError as error:
        raise LineageError(f"leases can't be read: {error.errors(include_url=False)[0]['msg']}") from error


@final
@dataclass(frozen=True)
class Since:
    """A checkpoint of an asset's facts, and those that came since.

    Parameters:
        version: of the checkpoint; 0: there never was any
        checkpoint: its text; none: there is no checkpoint
        facts: those that were appended since, in the order of their ids; without a checkpoint: all
    """

    version: int
    checkpoint: str
    facts: tuple[Fact, ...]


@final
@dataclass(frozen=True)
class News:
    """What was written since a mark.

    Parameters:
        mark: what to ask with the next time
        facts: those that were appended since, of assets that aren't among ``anew``, in the order of their ids
        anew: assets of which everything has to be read again; None: all of them
    """

    mark: str
    facts: tuple[Fact, ...] = ()
    anew: frozenset[str] | None = frozenset()


class LineageReader(Protocol):
    """Reads facts. Planning and display get no more than this."""

    def facts(self, asset: str) -> list[Fact]:
        """Every fact about an asset, in the order of their ids."""
        ...

    def since(self, asset: str) -> Since:
        """The asset's checkpoint and what came since, or all facts: together everything.

        A fact that was appended once more may come again.
        """
        ...

    def latest_version(self, asset: str) -> int | None:
        """The highest table version that a fact of the asset names; None: never published."""
        ...

    def newest(self, asset: str) -> list[Fact]:
        """The facts of the asset that name its highest table version, in the order of their ids."""
        ...

    def at(self, asset: str, versions: Collection[int]) -> list[Fact]:
        """The facts of the asset that name one of some table versions, in the order of their ids."""
        ...

    def run(self, run: str) -> list[Fact]:
        """Everything that a run did, in the order of the facts' ids."""
        ...

    def built_from(self, asset: str) -> list[Fact]:
        """Every published fact that names the asset among its inputs, in the order of their ids."""
        ...

    def recent(self, asset: str, limit: int) -> list[Fact]:
        """The newest facts about an asset, newest first; what it costs goes by their number."""
        ...

    def runs(self, limit: int, *, before: str | None = None) -> list[str]:
        """Ids of the newest runs that left a fact, newest first; what no run did is none of them.

        Parameters:
            limit: how many, at most
            before: only of runs that began before this one, by their ids
        """
        ...

    def news(self, mark: str) -> News:
        """What was written since a mark; asking costs little where nothing was.

        What is read after the mark was given may come again with the next one.

        Parameters:
            mark: that of the news before; empty: nothing was read yet
        """
        ...


class LineageStore(LineageReader, Protocol):
    """Reads and appends facts, and removes those that nobody needs any more."""

    @property
    def uri(self) -> str:
        """What `open_lineage` opens this very store with."""
        ...

    def append(self, facts: Sequence[Fact]) -> None:
        """Write facts: all of a call or none. A fact whose id is there already is left as it is.

        Raises:
            LineageError: the store can't be reached or written
        """
        ...

    def remove(self, asset: str, ids: Collection[str]) -> None:
        """Remove facts of an asset, each of them wholly or not at all; ids that aren't there are passed over.

        Raises:
            LineageError: the store can't be reached or written
        """
        ...

    def keep(self, asset: str, checkpoint: str, since: Since) -> bool:
        """Put a checkpoint in the place of the one that was read; False: another is there by now, or facts have gone.

        It is a cache, of which the store knows nothing but that it goes when one of the asset's facts is removed.

        Parameters:
            asset: the asset
            checkpoint: its text; it covers the facts of ``since`` too
            since: what was read

        Raises:
            LineageError: the store can't be reached or written
        """
        ...

    def leases(self, *, waiting: bool = False) -> tuple[int, list[Lease]]:
        """What runs are about to build, and which version of that this is: 0 where there never was any.

        Parameters:
            waiting: not those, but the runs that wait for them, in the order in which they came
        """
        ...

    def set_leases(self, leases: Sequence[Lease], *, version: int, waiting: bool = False) -> bool:
        """Put other leases in the place of those of a version; False: they are of another version by now.

        Parameters:
            leases: the leases
            version: of those that they take the place of
            waiting: not those that are held, but the runs that wait for them

        Raises:
            LineageError: the store can't be reached or written
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
