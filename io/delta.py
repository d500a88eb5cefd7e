"""Delta tables: staged inside the table's own folder, published by one fenced commit."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from lakehouse.errors import PartitionConflict, SchemaViolation, StepError, StorageError, shorten
from lakehouse.io.frames import ArrowStream
from lakehouse.io.keys import from_tokens, spans, tokens, within
from lakehouse.io.storage import Location, first_line
from lakehouse.io.tables import PARTITION, Publication, Staged
from lakehouse.partitions import PartitionSet

_META_PARTITIONS = "lakehouse.partitions"
_META_PAYLOAD = "lakehouse.facts"
_MAINTENANCE = {
    "OPTIMIZE",
    "VACUUM START",
    "VACUUM END",
    "CHECKPOINT",
    "CREATE TABLE",
    "SET TBLPROPERTIES",
    "FSCK",
}
_TRIES = 100
_FIRST_LOG = "_delta_log/00000000000000000000.json"

_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


def _lock(uri: str) -> threading.Lock:
    """One publisher at a time within a process: what can queue here doesn't have to race in storage."""
    with _locks_guard:
        return _locks.setdefault(uri, threading.Lock())


@final
@dataclass(frozen=True)
class DeltaLakeTable:
    """A Delta table on disk or S3.

    Parameters:
        location: the table's folder
        partitioned: whether its rows are kept by partition

    Examples:
        >>> import tempfile
        >>> table = DeltaLakeTable(Location.of(tempfile.mkdtemp()), partitioned=False)
        >>> table.version() is None
        True
    """

    location: Location
    partitioned: bool

    @property
    def uri(self) -> str:
        """The table's URI."""
        return self.location.uri

    # ── reading ───────────────────────────────────────────────────────────────────────────

    def version(self) -> int | None:
        """The newest version; None: nothing was ever published."""
        table = self._open()
        return None if table is None else int(table.version())

    def scan(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of some partitions at a version, lazily; see [TableReader.scan][]."""
        table = self._open(version)
        if table is None:
            raise StorageError(f"there is no table at {self.uri}", hint="materialize the asset first")
        with self.location.reaching("reading"):
            frame = pl.scan_delta(table, storage_options=self._scan_options())
        if not self.partitioned:
            return frame
        if partitions is not None:
            frame = frame.filter(within(partitions, pl.col(PARTITION)))
        return frame.drop(PARTITION)

    def rows(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> dict[str, int]:
        """Rows of each stored partition by token, from the log alone; see [TableReader.rows][]."""
        table = self._open(version)
        if table is None:
            return {}
        files: Any = pl.DataFrame(table.get_add_actions(flatten=True))
        key = pl.col(f"partition.{PARTITION}") if self.partitioned else pl.lit("").alias(PARTITION)
        counted = files.lazy().group_by(key.alias("token")).agg(pl.col("num_records").sum())
        if partitions is not None and self.partitioned:
            counted = counted.filter(within(partitions, pl.col("token")))
        return dict(counted.collect().iter_rows())

    def publications(self, *, after: int | None) -> Sequence[Publication]:
        """What was published after a version, oldest first; see [TableReader.publications][]."""
        table = self._open()
        if table is None:
            return []
        return [
            Publication(commit["version"], commit[_META_PAYLOAD])
            for commit in self._commits(table, after)
            if _META_PAYLOAD in commit
        ]

    # ── writing ───────────────────────────────────────────────────────────────────────────

    def stage(self, frame: pl.LazyFrame, attempt: str) -> Staged:
        """Write a candidate below the table's folder; see [Table.stage][]."""
        frame = _storable(frame, self.uri)
        folder = self.location.child(_folder(attempt))
        with self.location.reaching("writing to"):
            if self.location.path:
                self.location.path.mkdir(parents=True, exist_ok=True)
            stream = ArrowStream(frame)
            try:
                write_deltalake(
                    folder.target,
                    stream.reader(),
                    partition_by=[PARTITION] if self.partitioned else None,
                    storage_options=self._options(),
                )
            except Exception as error:
                if stream.error is not None:
                    raise StepError(f"computing the rows raised {first_line(stream.error)}") from stream.error
                raise error
            log = bytes(folder.store().get(_FIRST_LOG).bytes()).decode()
            schema = DeltaTable(folder.target, storage_options=self._options()).schema()
        adds = [json.loads(line)["add"] for line in log.splitlines() if line.startswith('{"add"')]
        rows: dict[str | None, int] = {}
        size: dict[str | None, int] = {}
        for add in adds:
            token = add["partitionValues"].get(PARTITION) if self.partitioned else ""
            rows[token] = rows.get(token, 0) + int(json.loads(add["stats"])["numRecords"])
            size[token] = size.get(token, 0) + int(add["size"])
        return Staged(attempt, rows, size, (adds, schema))

    def staged(self, staged: Staged) -> pl.LazyFrame:
        """The rows of a candidate; see [Table.staged][]."""
        folder = self.location.child(_folder(staged.attempt))
        with folder.reaching("reading"):
            table = DeltaTable(folder.target, storage_options=self._options())
            return pl.scan_delta(table, storage_options=self._scan_options())

    def publish(self, staged: Staged, partitions: PartitionSet, *, payload: str, since: int | None) -> int:
        """Replace exactly these partitions in one commit; see [Table.publish][]."""
        adds, schema = staged.handle
        wanted = set(tokens(partitions))
        actions = [
            AddAction(
                path=f"{_folder(staged.attempt)}/{add['path']}",
                size=add["size"],
                partition_values=add["partitionValues"],
                modification_time=add["modificationTime"],
                data_change=True,
                stats=add["stats"],
            )
            for add in adds
            if not self.partitioned or add["partitionValues"].get(PARTITION) in wanted
        ]
        with _lock(self.uri), self.location.reaching("publishing to"):
            for attempt in range(_TRIES):
                table = self._open() or self._create(schema)
                done = self._fence(table, partitions, since, payload)
                if done is not None:
                    return done
                try:
                    self._commit(table, actions, schema, partitions, payload)
                except CommitFailedError:
                    # Another committed since the table was opened. The files are staged, so all there is to do
                    # again is to look whether it took our partitions, and to commit.
                    time.sleep(random.uniform(0, min(0.02 * 2**attempt, 1.0)))
                    continue
                return self._version_of(staged.attempt, payload)
        raise StorageError(
            f"publishing {partitions} to {self.uri} met other writers {_TRIES} times in a row; nothing was published",
            hint="run it again, or let fewer runs publish to this table at once",
        )

    def discard(self, staged: Staged | str, *, published: PartitionSet | None = None) -> None:
        """Remove a candidate's files but for those of published partitions; see [Table.discard][]."""
        folder = _folder(staged if isinstance(staged, str) else staged.attempt)
        if self.location.path and not (self.location.path / folder).exists():
            return
        with self.location.reaching("cleaning up in"):
            store = self.location.store()
            if isinstance(staged, str):
                unused = [str(o["path"]) for page in store.list(folder) for o in page]
            else:
                kept = set() if published is None else set(tokens(published))
                # A token needs no percent-encoding, so a path in the log is the path in the store.
                unused = [f"{folder}/{_FIRST_LOG}"] + [
                    f"{folder}/{add['path']}"
                    for add in staged.handle[0]
                    if (add["partitionValues"].get(PARTITION) if self.partitioned else "") not in kept
                ]
            if unused:
                store.delete(unused)
        if self.location.path:
            _remove_empty(self.location.path / folder)

    def quarantine(self, rows: pl.DataFrame, attempt: str) -> str:
        """Keep rows that were held back, in a file beside the table; see [Table.quarantine][]."""
        uri = f"{self.uri}-quarantine/{attempt}.parquet"
        target = Location(uri, self.location.options)
        with self.location.reaching("writing quarantined rows beside"):
            if target.path:
                target.path.parent.mkdir(parents=True, exist_ok=True)
            rows.write_parquet(target.target, storage_options=self._scan_options())
        return uri

    def quarantined(self, uri: str) -> pl.LazyFrame:
        """Rows that were held back; see [Table.quarantined][]."""
        target = Location(uri, self.location.options)
        return pl.scan_parquet(target.target, storage_options=self._scan_options())

    # ── the log ───────────────────────────────────────────────────────────────────────────

    def _open(self, version: int | None = None) -> DeltaTable | None:
        if self.location.path and not (self.location.path / "_delta_log").is_dir():
            return None
        with self.location.reaching("opening"):
            try:
                return DeltaTable(self.location.target, version=version, storage_options=self._options())
            except TableNotFoundError:
                # "Not found" must mean that nothing is there, not that it couldn't be seen for a moment: what
                # follows from it is the making of a new table.
                if next(iter(self.location.store().list("_delta_log", chunk_size=1)), None):
                    raise
                return None
            except DeltaError as error:
                if version is not None and "version" in str(error).lower():
                    raise StorageError(
                        f"version {version} of {self.uri} is not there (any more): {error}",
                        hint="it may have been vacuumed away; materialize from the newest version",
                    ) from error
                raise

    def _create(self, schema: Any) -> DeltaTable:
        # Another may make it at the same moment; if something else is wrong, opening it says so.
        with suppress(DeltaError):
            DeltaTable.create(
                self.location.target,
                schema=schema,
                mode="ignore",
                partition_by=[PARTITION] if self.partitioned else None,
                storage_options=self._options(),
            )
        return DeltaTable(self.location.target, storage_options=self._options())

    def _commit(
        self, table: DeltaTable, actions: Sequence[AddAction], schema: Any, partitions: PartitionSet, payload: str
    ) -> None:
        pairs = spans(partitions)
        fence = [Transaction(f"lakehouse/{t}", table.version() + 1) for t in tokens(partitions)]
        table.create_write_transaction(
            list(actions),
            mode="overwrite",
            schema=self._merged(table, schema),
            partition_by=[PARTITION] if self.partitioned else None,
            partition_filters=_filter(pairs, partitions) if self.partitioned else None,
            commit_properties=CommitProperties(
                custom_metadata={_META_PARTITIONS: json.dumps(pairs), _META_PAYLOAD: payload},
                app_transactions=fence,
                max_commit_retries=0,
            ),
        )

    def _fence(self, table: DeltaTable, partitions: PartitionSet, since: int | None, payload: str) -> int | None:
        """Refuse to publish over what was published since the step began.

        A commit whose answer was lost on the way is found in the log and not made again: its version is returned.
        """
        ours = spans(partitions)
        for commit in self._commits(table, since):
            if commit.get(_META_PAYLOAD) == payload:
                return int(commit["version"])
            theirs = json.loads(commit.get(_META_PARTITIONS, "null"))
            if theirs is None:
                if commit.get("operation") in _MAINTENANCE:
                    continue
                raise PartitionConflict(
                    f"{self.uri} was changed by something else ({commit.get('operation')}) while this step ran; "
                    f"nothing was published",
                    hint="run it again",
                )
            if _overlap(ours, theirs):
                both = PartitionSet(partitions.partitions, partitions.spans) & from_tokens(
                    partitions.partitions, _listed(partitions, theirs)
                )
                raise PartitionConflict(
                    f"{self.uri}: {both} was published by another run while this step ran; its rows stay, "
                    f"this step's were not published",
                    hint="run it again to replace them",
                )
        return None

    def _commits(self, table: DeltaTable, after: int | None) -> list[dict[str, Any]]:
        first = -1 if after is None else after
        count = table.version() - first
        if count <= 0:
            return []
        with self.location.reaching("reading the log of"):
            found = [c for c in table.history(count) if c.get("version", -1) > first]
        return sorted(found, key=lambda c: c["version"])

    def _version_of(self, attempt: str, payload: str) -> int:
        """The version that our commit made: the newest one unless another committed right after."""
        table = DeltaTable(self.location.target, storage_options=self._options())
        for back in (1, 10, 100, None):
            for commit in table.history(back):
                if commit.get(_META_PAYLOAD) == payload:
                    return int(commit["version"])
        raise StorageError(f"the commit of attempt {attempt} is not in the log of {self.uri}")

    def _merged(self, table: DeltaTable, schema: Any) -> Any:
        """The table's columns with new ones added; the types of those that are there can't change under old rows."""
        if not self.partitioned:
            return schema
        import pyarrow as pa

        old, new = (pa.schema(s.to_arrow()) for s in (table.schema(), schema))
        changed = [f.name for f in new if f.name in old.names and old.field(f.name).type != f.type]
        if changed:
            name = changed[0]
            raise SchemaViolation(
                f"{self.uri} holds {name!r} as {old.field(name).type}; this step writes it as "
                f"{new.field(name).type}, and the partitions that stay can't follow"
                + (f" (also {shorten(changed[1:])})" if changed[1:] else ""),
                hint="keep the type, or give the new column a new name",
            )
        added = [f for f in new if f.name not in old.names]
        if not added:
            return table.schema()
        from deltalake import Schema

        return Schema.from_arrow(pa.schema([*old, *added]))

    def _options(self) -> dict[str, str] | None:
        return dict(self.location.options) or None

    def _scan_options(self) -> dict[str, str] | None:
        return {k: v for k, v in self.location.options.items() if k != "aws_conditional_put"} or None


def _folder(attempt: str) -> str:
    return f"staged-{attempt}"


def _filter(pairs: list[tuple[str, str]], partitions: PartitionSet) -> Any:
    """A filter for exactly these partitions: two bounds for a range, names for a set with gaps."""
    if partitions.partitions.ordered and len(pairs) == 1:
        return [(PARTITION, ">=", pairs[0][0]), (PARTITION, "<=", pairs[0][1])]
    return [(PARTITION, "in", tokens(partitions))]


def _overlap(ours: Iterable[Sequence[str]], theirs: Iterable[Sequence[str]]) -> bool:
    listed = list(theirs)
    return any(a[0] <= b[1] and b[0] <= a[1] for a in ours for b in listed)


def _listed(partitions: PartitionSet, pairs: Iterable[Sequence[str]]) -> list[str]:
    bounds = list(pairs)
    return [t for t in tokens(partitions) if any(a <= t <= b for a, b in bounds)]


_WIDER: dict[type[pl.DataType], type[pl.DataType]] = {
    pl.UInt8: pl.Int16,
    pl.UInt16: pl.Int32,
    pl.UInt32: pl.Int64,
    pl.UInt64: pl.Int64,
}


def _storable(frame: pl.LazyFrame, uri: str) -> pl.LazyFrame:
    """Cast what Delta has no type for to the nearest that holds it."""
    casts: dict[str, type[pl.DataType]] = {}
    for name, dtype in frame.collect_schema().items():
        if type(dtype) in _WIDER:
            casts[name] = _WIDER[type(dtype)]
        elif isinstance(dtype, pl.Categorical | pl.Enum):
            casts[name] = pl.String
        elif isinstance(dtype, pl.Time | pl.Duration | pl.Null | pl.Object):
            raise SchemaViolation(
                f"the column {name!r} for {uri} is of type {dtype}, which Delta tables can't hold",
                hint="cast it, for example to a string or an integer",
            )
    return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in casts.items()) if casts else frame


def _remove_empty(folder: Any) -> None:
    """Remove a folder's empty subfolders and, if nothing is left, itself."""
    if not folder.exists():
        return
    for child in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        _rmdir(child)
    _rmdir(folder)


def _rmdir(folder: Any) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # something is in it
