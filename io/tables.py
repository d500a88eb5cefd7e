"""What a table has to do, whoever keeps it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, final

from lakehouse.errors import ColumnsChanged, SchemaViolation, shorten
from lakehouse.partitions import Every, Hourly, Multi, Partitions, PartitionSet, TimePartitions

if TYPE_CHECKING:
    import polars as pl
    from obstore.store import ObjectStore

    from lakehouse.io.storage import Location

PARTITION = "_partition"
"""The column that names a row's partition in storage. Kept apart from the asset's own partition column, so that
one kind of value (a safe string) stands for every type that such a column can have."""


@final
@dataclass(frozen=True)
class Staged:
    """A candidate: written, and seen by no reader.

    Parameters:
        attempt: what its files are named after
        rows: rows by partition token; None stands for rows that belong to no partition at all
        bytes: stored bytes by partition token
        handle: what the table itself needs to publish it
        files: of a raw asset, the paths of its files in the table's folder, by partition token
    """

    attempt: str
    rows: Mapping[str | None, int]
    bytes: Mapping[str | None, int]
    handle: Any = field(repr=False, compare=False)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)


@final
@dataclass(frozen=True)
class Publication:
    """A publication as the table's own log has it.

    Parameters:
        version: the table version that it made
        payload: what was published along with it: the lineage facts, as text
        mark: tells it from the commit that makes the version of that number in another table
    """

    version: int
    payload: str
    mark: str = field(default="", repr=False, compare=False)


@final
@dataclass(frozen=True)
class TableVersion:
    """A version of one certain table: not of one that lies in its place by now.

    Parameters:
        number: its number
        mark: tells it from the version of that number in another table; empty: nothing does
        payload: what was published along with it; None: nothing, or it isn't known
    """

    number: int
    mark: str = ""
    payload: str | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, version: TableVersion | int | None) -> TableVersion | None:
        """The same, where no more than a number is known."""
        return cls(version) if isinstance(version, int) else version


@final
@dataclass(frozen=True)
class PinnedRows:
    """Where the rows of some partitions at a version lie, and as what: enough to read them without the table's log.

    Parameters:
        partitions: whose rows; None: all
        columns: their columns, as a Delta log has them, which is how Spark has them too
        files: paths in the table's folder, as its log has them, of files that hold rows of these partitions alone
        shared: the same of files that hold rows of others too, told apart by the column [PARTITION][]
    """

    partitions: PartitionSet | None
    columns: str
    files: tuple[str, ...]
    shared: tuple[str, ...] = ()


def layout(partitions: Partitions) -> str:
    """What decides which rows a partition's token stands for; a table keeps it, and refuses another.

    Examples:
        >>> from lakehouse import Daily
        >>> layout(Daily("2013-01-01", timezone="America/New_York"))
        'daily America/New_York'
    """
    match partitions:
        case Multi():
            return "; ".join(f"{field.name} {layout(field.partitions)}" for field in partitions.fields)
        case Hourly() | Every():
            # Their tokens are of UTC, whatever clock they are shown by.
            return " ".join(map(str, partitions.division))
        case TimePartitions():
            return " ".join(map(str, partitions.domain))
        case _:
            return partitions.kind


def columns_changed(changes: Sequence[str], partitions: Partitions, staying: Sequence[str], *, where: str) -> Exception:
    """The error about columns which change while rows stay that can't follow.

    Parameters:
        changes: how they change, in words
        partitions: how the asset is partitioned
        staying: tokens of the partitions that stay
        where: the table
    """
    from lakehouse.io.tokens import from_tokens

    known = from_tokens(partitions, list(staying))
    others = sorted(set(staying) - {partitions.token(o) for o in known.ordinals()})
    more = f"; {len(changes) - 1} more columns change too" if changes[1:] else ""
    message = f"{where} holds {changes[0]}{more}; the rows of {known or shorten(others)} would stay, and can't follow"
    if others:
        return SchemaViolation(
            f"{message} (no partitions any more: {shorten(others)})", hint="give the asset or the column a new name"
        )
    hint = "build all partitions anew in one run, or give the new column a new name"
    return ColumnsChanged(message, staying=known, hint=hint)


class TableReader(Protocol):
    """Reads a table."""

    @property
    def uri(self) -> str:
        """Where it lies."""
        ...

    def version(self) -> int | None:
        """The newest version; None: nothing was ever published.

        Raises:
            StorageError: the table can't be reached
        """
        ...

    def columns(self) -> Mapping[str, Any]:
        """The columns that are written to it now, with the types that they are stored as; none: there is no table.

        Raises:
            StorageError: the table can't be reached
        """
        ...

    def newest(self) -> TableVersion | None:
        """The newest version, so that [Table.publish][] can tell whether it is still there; None: there is none.

        Raises:
            StorageError: the table can't be reached
        """
        ...

    def scan(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of some partitions (None: all) at a version (None: the newest), lazily.

        Raises:
            StorageError: the table or that version of it is not there
        """
        ...

    def pinned(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> PinnedRows | None:
        """What [scan][TableReader.scan] would read of some partitions at a version; None: rows aren't kept in files.

        Raises:
            StorageError: the table or that version of it is not there
        """
        ...

    def read(self, pinned: PinnedRows) -> pl.LazyFrame:
        """The rows that were pinned, lazily; the table's log isn't looked at."""
        ...

    def rows(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> dict[str, int]:
        """How many rows each stored partition has, by token, without reading them."""
        ...

    def files(
        self, partitions: PartitionSet | None = None, *, version: int | None = None, apart: Location | None = None
    ) -> list[str]:
        """URIs of Parquet files that hold the rows of some partitions (None: all) at a version (None: the newest).

        They hold no other rows, so that other engines can read exactly what is pinned. Columns are found by their
        names; one that a file lacks is null there, and one that the table doesn't have is the library's own.

        Parameters:
            partitions: whose rows
            version: of which version
            apart: where copies of rows may be written whose files hold those of other partitions too; None: nowhere

        Raises:
            StorageError: the table or that version of it is not there, its rows aren't kept in files, or there are
                some that would have to be copied
        """
        ...

    def publications(self, *, after: int | None) -> Sequence[Publication]:
        """What was published after a version (None: ever), oldest first."""
        ...

    def objects(self) -> ObjectStore:
        """An object store whose root is the table's own folder: raw assets keep their files there, beside the rows."""
        ...


class Table(TableReader, Protocol):
    """Reads a table and publishes to it."""

    def stage(self, frame: pl.LazyFrame, attempt: str) -> Staged:
        """Write a candidate to where no reader looks. A partitioned one bears the column [PARTITION][].

        Rows may come back in another order, and types that storage has no word for as wider ones.

        Raises:
            StepError: computing the rows raised
            SchemaViolation: a column of a type that can't be held
            StorageError: it can't be written
        """
        ...

    def restaged(self, attempt: str) -> Staged:
        """A candidate that was staged, by this process or another one.

        Parameters:
            attempt: what it was staged as

        Raises:
            StorageError: it isn't there, or not all of it
        """
        ...

    def put_note(self, attempt: str, name: str, text: bytes) -> None:
        """Write a note beside a candidate, staged or not, for other processes; it goes with the candidate.

        Parameters:
            attempt: what the candidate is staged as
            name: which of [lakehouse.io.layout.NOTES][]
            text: what is written; a note that is there stays as it is

        Raises:
            StorageError: it can't be written, or is there already
        """
        ...

    def note(self, attempt: str, name: str) -> bytes | None:
        """Read a note; None: there is none.

        Raises:
            StorageError: it can't be read
        """
        ...

    def staged(self, staged: Staged, tokens: Collection[str] | None = None) -> pl.LazyFrame:
        """The rows of a candidate, lazily, with the column [PARTITION][] if it was staged with it.

        Parameters:
            staged: the candidate
            tokens: the partitions that are read, by token, without reading the others; None: all
        """
        ...

    def publish(
        self, staged: Staged, partitions: PartitionSet, *, payload: str, since: TableVersion | int | None
    ) -> int:
        """Replace exactly these partitions by the candidate's rows of them, in one commit.

        Parameters:
            staged: the candidate
            partitions: what is replaced; a partition without staged rows becomes empty
            payload: text to keep in the table's log
            since: the version that the step began with; a number: of whichever table lies there

        Returns:
            the version that it made

        Raises:
            PartitionConflict: one of the partitions was published by another after ``since``, or the table was removed,
                replaced or put back to an older version; nothing was written
            ColumnsChanged: a column changes its type, or the case of its name, and other partitions stay; the same
            SchemaViolation: the table holds partitions of another kind; the same
            PartitionError: no partitions at all; the same
            StorageError: it can't be written; nothing was, unless it says otherwise
        """
        ...

    def discard(self, staged: Staged | str, *, published: PartitionSet | None = None) -> None:
        """Remove a candidate's files, but for those of the partitions that were published from it.

        Parameters:
            staged: the candidate; or the attempt, of a candidate that was never finished
            published: the partitions that a version uses by now
        """
        ...

    def quarantine(self, rows: pl.DataFrame, attempt: str) -> str:
        """Keep rows that were held back; returns their URI."""
        ...

    def quarantined(self, uri: str) -> pl.LazyFrame:
        """Rows that were held back."""
        ...
