"""What computes several assets in one go, such as a dbt project. A function computes its one asset by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, final, runtime_checkable

from lakehouse.definitions.asset import Asset, Context
from lakehouse.partitions import PartitionSet

if TYPE_CHECKING:
    import polars as pl

    from lakehouse.checks import RowCheck
    from lakehouse.io import TableReader


@final
@dataclass(frozen=True)
class BuildRequest:
    """One asset that a builder is to make.

    Parameters:
        asset: the asset
        partitions: which partitions of it
        context: of its step
        needs: for each input, by its parameter, the partitions that these are made from
        load: reads some partitions of an input by its parameter, at the version that is pinned
        table: where what is made will be published
        sources: for each input, by its parameter, its table and the version that is pinned
    """

    asset: Asset
    partitions: PartitionSet
    context: Context
    needs: Mapping[str, PartitionSet]
    load: Callable[[str, PartitionSet], pl.LazyFrame] = field(repr=False)
    table: TableReader | None = field(default=None, repr=False)
    sources: Mapping[str, tuple[TableReader, int | None]] = field(default_factory=dict, repr=False)


@final
@dataclass(frozen=True)
class Built:
    """What came of a request.

    Parameters:
        frame: the rows; None: they could not be made
        error: why not
        checks: what the builder's own tests found, as checks that stand before publication
    """

    frame: pl.LazyFrame | None
    error: str | None = None
    checks: tuple[RowCheck, ...] = ()


class Builder(Protocol):
    """Computes several assets in one go."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def tests(self, asset: Asset) -> tuple[str, ...]:
        """The names of the tests of its own that it runs on an asset: checks that stand before publication."""
        ...

    def make(self, requests: Sequence[BuildRequest]) -> Mapping[str, Built]:
        """Fill requests, producers before consumers; returns what came of each, by the asset's key.

        It is called once for a chunk: an asset that it can't make fails for all partitions of the chunk, and is not
        tried for fewer of them. Its tests hold back single partitions; so do rows that lie in no partition.

        The frames stay readable until [Builder.release][] is called with the same requests.

        Raises:
            StepError: nothing could be made at all
        """
        ...

    def release(self, requests: Sequence[BuildRequest]) -> None:
        """Let go of what was made; everything worth keeping is published by now."""
        ...


@runtime_checkable
class ShowsCode(Protocol):
    """A builder that can show what it computes an asset by."""

    def code(self, asset: Asset) -> Sequence[tuple[str, str, str]]:
        """The code of an asset of its own: title, language (``sql``, ``python``) and text of each."""
        ...


@final
@dataclass(frozen=True)
class Remnant:
    """What a builder's call leaves until it is released; of a run that was killed it stays.

    Parameters:
        what: what it is, in words
        run: id of the run
        remove: removes it; gone already, it does nothing
    """

    what: str
    run: str
    remove: Callable[[], None] = field(repr=False, compare=False)


@runtime_checkable
class LeavesBehind(Protocol):
    """A builder that works where others see what it leaves behind, such as in a catalog."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def remnants(self, table: TableReader) -> Sequence[Remnant]:
        """What its calls have there just now, be their run over or not.

        Parameters:
            table: where an asset of its own is published

        Raises:
            StepError, StorageError: it can't be looked at
        """
        ...
