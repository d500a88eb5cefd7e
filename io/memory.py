"""Tables in the memory of one process: for tests, and for trying things out."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import polars as pl
from obstore.store import MemoryStore, ObjectStore

from lakehouse.errors import (
    PartitionConflict,
    PartitionError,
    SchemaViolation,
    StepError,
    StorageError,
    count,
)
from lakehouse.io import PARTITION, Publication, Staged, TableVersion
from lakehouse.io.frames import changes
from lakehouse.io.layout import NOTES
from lakehouse.io.tables import PinnedRows, columns_changed, layout
from lakehouse.io.tokens import from_tokens, tokens, within
from lakehouse.io.types import exact, storable
from lakehouse.partitions import (
    PartitionSet,
)

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class _Version:
    """A version of a table: what was published with it, and all that is there since."""

    payload: str
    changed: frozenset[str]
    columns: Columns
    rows: Mapping[str, pl.DataFrame]
    leaving: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of columns that are no longer written, the partitions that still have them."""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))


@final
class MemoryTable:
    """A table in the memory of one process, for tests and for trying things out. Threads may share it.

    Parameters:
        name: ends its URI
        partitioned: whether its rows are kept by partition

    Examples:
        >>> from datetime import UTC, datetime
        >>> from lakehouse.partitions import Unpartitioned
        >>> table, whole = MemoryTable("numbers", partitioned=False), Unpartitioned().all(datetime.now(UTC))
        >>> table.publish(table.stage(pl.LazyFrame({"n": [1, 2]}), "first"), whole, payload="", since=None)
        0
        >>> table.scan().collect()["n"].to_list()
        [1, 2]
    """

    def __init__(self, name: str = "table", *, partitioned: bool) -> None:
        self.uri = f"memory://{name}"
        self.partitioned = partitioned
        self._layout: str | None = None
        self._versions: list[_Version] = []
        self._candidates: dict[str, pl.DataFrame] = {}
        self._notes: dict[tuple[str, str], bytes] = {}
        self._quarantine: dict[str, pl.DataFrame] = {}
        self._objects = MemoryStore()
        self._lock = threading.Lock()

    @classmethod
    def at(cls, uri: str, *, partitioned: bool) -> MemoryTable:
        """The table of a URI: the same one each time, until its root is forgotten.

        Parameters:
            uri: ``memory://``, a root's name, and the table's name
            partitioned: whether its rows are kept by partition
        """
        with _TABLES_LOCK:
            if uri not in _TABLES:
                _TABLES[uri] = cls(uri.removeprefix("memory://"), partitioned=partitioned)
            return _TABLES[uri]

    @staticmethod
    def new_root() -> str:
        """A root that nobody else has."""
        return f"memory://{secrets.token_hex(8)}"

    @staticmethod
    def forget(root: str) -> None:
        """Let go of all tables below a root."""
        with _TABLES_LOCK:
            for uri in [uri for uri in _TABLES if uri.startswith(f"{root}/")]:
                del _TABLES[uri]

    def version(self) -> int | None:
        """The newest version; None: nothing was ever published."""
        return len(self._versions) - 1 if self._versions else None

    def columns(self) -> dict[str, Any]:
        """The columns that are written to it now, with the types that they are stored as."""
        found = self._at(None)
        return {} if found is None else {n: dtype for n, dtype in found.columns.items() if n not in found.leaving}

    def newest(self) -> TableVersion | None:
        """The newest version, with what tells it from that of another table."""
        versions = self._versions
        return TableVersion(len(versions) - 1, versions[-1].mark, versions[-1].payload) if versions else None

    def scan(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of some partitions (None: all) at a version (None: the newest), lazily.

        Raises:
            StorageError: nothing was ever published, or not that version
        """
        found = self._at(version)
        if found is None:
            raise StorageError(f"there is no table at {self.uri}", hint="materialize the asset first")
        stored = self._among(found, partitions)
        gone = {name for name, tokens in found.leaving.items() if tokens.isdisjoint(stored)}
        empty = pl.DataFrame(schema={name: dtype for name, dtype in found.columns.items() if name not in gone})
        parts = [found.rows[t] for t in stored]
        return pl.concat([empty, *parts], how="diagonal").lazy()

    def pinned(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> None:
        """Where the rows of some partitions at a version lie: in no files."""

    def read(self, pinned: PinnedRows) -> pl.LazyFrame:
        """See [TableReader.read][lakehouse.io.tables.TableReader.read]; nothing is ever pinned here."""
        raise StorageError(f"{self.uri} keeps its rows in the memory of one process, not in files")

    def rows(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> dict[str, int]:
        """How many rows each stored partition has, by token."""
        found = self._at(version)
        return {} if found is None else {t: found.rows[t].height for t in self._among(found, partitions)}

    def files(
        self, partitions: PartitionSet | None = None, *, version: int | None = None, apart: Any = None
    ) -> list[str]:
        """Where other engines could read the rows: nowhere.

        Raises:
            StorageError: always, for there are no files
        """
        raise StorageError(f"the rows of {self.uri} are in memory, not in files", hint="keep them in a folder or on S3")

    def publications(self, *, after: int | None) -> Sequence[Publication]:
        """What was published after a version (None: ever), oldest first."""
        first = 0 if after is None else after + 1
        return [Publication(v, made.payload, made.mark) for v, made in enumerate(self._versions) if v >= first]

    def objects(self) -> ObjectStore:
        """Where raw assets keep their files, beside the rows."""
        return self._objects

    def stage(self, frame: pl.LazyFrame, attempt: str) -> Staged:
        """Keep a candidate where no reader looks; see [lakehouse.io.Table][].

        Raises:
            StepError: computing the rows raised
            SchemaViolation: a column of a type that tables can't hold
        """
        lazy = storable(frame, where=self.uri)
        try:
            computed = lazy.collect()
        except Exception as error:
            raise StepError(f"computing the rows raised {type(error).__name__}: {error}") from error
        self._candidates[attempt] = exact(computed, where=self.uri)
        return self.restaged(attempt)

    def restaged(self, attempt: str) -> Staged:
        """A candidate that was staged; see [lakehouse.io.Table][].

        Raises:
            StorageError: it isn't there
        """
        if attempt not in self._candidates:
            raise StorageError(f"there is no candidate {attempt} in {self.uri}")
        rows = self._candidates[attempt]
        parts: dict[Any, pl.DataFrame] = {}
        if self.partitioned:
            parts = {k[0]: part for k, part in rows.partition_by(PARTITION, as_dict=True, include_key=False).items()}
        elif rows.height:
            parts = {"": rows}
        counts = {token: part.height for token, part in parts.items()}
        sizes = {token: int(part.estimated_size()) for token, part in parts.items()}
        columns = {name: dtype for name, dtype in rows.schema.items() if name != PARTITION}
        return Staged(attempt, counts, sizes, (parts, columns))

    def put_note(self, attempt: str, name: str, text: bytes) -> None:
        """Keep a note beside a candidate; see [lakehouse.io.Table][].

        Raises:
            StorageError: it is there already
        """
        with self._lock:
            if (attempt, name) in self._notes:
                raise StorageError(f"there is a note {name} of {attempt} in {self.uri} already")
            self._notes[attempt, name] = text

    def note(self, attempt: str, name: str) -> bytes | None:
        """Read a note; None: there is none."""
        return self._notes.get((attempt, name))

    def staged(self, staged: Staged, tokens: Collection[str] | None = None) -> pl.LazyFrame:
        """The rows of a candidate, or of some of its partitions, lazily.

        Raises:
            StorageError: it was discarded
        """
        if staged.attempt not in self._candidates:
            raise StorageError(f"there is no candidate {staged.attempt} in {self.uri}")
        rows = self._candidates[staged.attempt].lazy()
        if tokens is None or not self.partitioned:
            return rows
        return rows.filter(pl.col(PARTITION).is_in(list(tokens)))

    def publish(
        self, staged: Staged, partitions: PartitionSet, *, payload: str, since: TableVersion | int | None
    ) -> int:
        """Replace exactly these partitions by the candidate's rows of them; see [lakehouse.io.Table][].

        Raises:
            PartitionConflict: one of the partitions was published by another after ``since``, or the table isn't the
                same any more
            SchemaViolation: a column changes its type, or the table holds partitions of another kind
            PartitionError: no partitions at all
        """
        if not partitions:
            raise PartitionError(f"there are no partitions to publish to {self.uri}")
        parts, columns = staged.handle
        wanted = frozenset(tokens(partitions))
        with self._lock:
            began = TableVersion.of(since)
            if began is not None and (fault := self._gone(began)):
                raise PartitionConflict(
                    f"{self.uri} {fault} while this step ran; nothing was published",
                    hint="see what became of it, and run it again",
                )
            if staged.attempt not in self._candidates:
                raise PartitionConflict(
                    f"the candidate for {self.uri} was removed before it was published; nothing was",
                    hint="run it again",
                )
            later = self._versions[0 if began is None else began.number + 1 :]
            taken = frozenset[str]().union(*(v.changed for v in later))
            if both := sorted(wanted & taken):
                raise PartitionConflict(
                    f"{self.uri}: {from_tokens(partitions.partitions, both)} was published by another run while this "
                    "step ran; its rows stay, this step's were not published",
                    hint="run it again to replace them",
                )
            kind = layout(partitions.partitions)
            if self._layout not in (None, kind):
                raise SchemaViolation(
                    f"{self.uri} was made with {self._layout} partitions; this step publishes {kind} ones",
                    hint="give the asset a new name, or remove that table and build it anew",
                )
            last = self._versions[-1] if self._versions else _Version("", frozenset(), {}, {})
            rows = {t: part for t, part in last.rows.items() if t not in wanted}
            leaving: dict[str, frozenset[str]] = {}
            if self.partitioned:
                changed = changes(last.columns, columns)
                if changed and rows:
                    raise columns_changed(changed, partitions.partitions, list(rows), where=self.uri)
                # What rows that stay have goes on, as long as they do.
                for name in set(last.columns) - set(columns):
                    if left := last.leaving.get(name, frozenset(rows)) & rows.keys():
                        leaving[name] = left
                old = {name: dtype for name, dtype in last.columns.items() if name in columns or name in leaving}
                columns = {**old, **columns}
            rows |= {t: part for t, part in parts.items() if t in wanted}
            self._layout = kind
            self._versions.append(_Version(payload, wanted, columns, rows, leaving))
            return len(self._versions) - 1

    def discard(self, staged: Staged | str, *, published: PartitionSet | None = None) -> None:
        """Forget a candidate and the notes beside it; what was published of it stays."""
        attempt = staged if isinstance(staged, str) else staged.attempt
        self._candidates.pop(attempt, None)
        for name in NOTES:
            self._notes.pop((attempt, name), None)

    def quarantine(self, rows: pl.DataFrame, attempt: str) -> str:
        """Keep rows that were held back; returns their URI."""
        uri = f"{self.uri}-quarantine/{attempt}"
        self._quarantine[uri] = rows
        return uri

    def quarantined(self, uri: str) -> pl.LazyFrame:
        """Rows that were held back."""
        return self._quarantine[uri].lazy()

    def _gone(self, version: TableVersion) -> str:
        """Why a version is not there any more; empty: it is."""
        if not self._versions:
            return "was removed"
        if version.number >= len(self._versions):
            return f"went back from version {version.number} to {len(self._versions) - 1}"
        same = version.mark in ("", self._versions[version.number].mark)
        return "" if same else "was replaced by another table"

    def save(self) -> Callable[[], None]:
        """Keep the table as it is; what is returned puts it back so, as from a backup."""
        versions, kind = [*self._versions], self._layout

        def put_back() -> None:
            with self._lock:
                self._versions, self._layout = [*versions], kind

        return put_back

    def _at(self, version: int | None) -> _Version | None:
        versions = self._versions
        if version is None:
            return versions[-1] if versions else None
        if not 0 <= version < len(versions):
            raise StorageError(f"version {version} of {self.uri} is not there")
        return versions[version]

    def _among(self, version: _Version, partitions: PartitionSet | None) -> list[str]:
        listed = pl.DataFrame({PARTITION: sorted(version.rows)}, schema={PARTITION: pl.String})
        if partitions is not None and self.partitioned:
            listed = listed.filter(within(partitions, pl.col(PARTITION)))
        return listed[PARTITION].to_list()

    def __reduce__(self) -> Any:
        # A copy in another process would swallow what is published there.
        raise StorageError(
            "a table in memory can't be handed to another process",
            hint="use a folder, or an engine that runs its tasks as threads",
        )

    def __repr__(self) -> str:
        return f"MemoryTable({self.uri!r}, {count(len(self._versions), 'version')})"


_TABLES: dict[str, MemoryTable] = {}
_TABLES_LOCK = threading.Lock()
