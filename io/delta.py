"""Delta tables: staged inside the table's own folder, published by one fenced commit."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Field, Schema, TableFeatures, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions
from obstore.exceptions import AlreadyExistsError

from lakehouse.errors import (
    LakehouseError,
    PartitionConflict,
    PartitionError,
    SchemaViolation,
    StepError,
    StorageError,
    shorten,
)
from lakehouse.io.damage import POINTER, Damage, actions_of, find_damage
from lakehouse.io.frames import ArrowStream, changes, unused
from lakehouse.io.handles import handle
from lakehouse.io.layout import (
    LOG,
    NOTES,
    RESTART,
    checkpoint_file,
    log_file,
    mark_of,
    marked,
    quarantined_file,
    staged_folder,
    version_of,
)
from lakehouse.io.storage import Location, cause
from lakehouse.io.tables import PARTITION, Publication, Staged, TableVersion, columns_changed, layout
from lakehouse.io.tokens import from_tokens, spans, tokens, within
from lakehouse.io.types import exact, storable
from lakehouse.partitions import Partitions, PartitionSet

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_META_ATTEMPT = "lakehouse.attempt"
_META_PARTITIONS = "lakehouse.partitions"
_META_PAYLOAD = "lakehouse.facts"
_META_LEAVING = "lakehouse.leaving"
"""Of a column that is no longer written: the partitions whose rows still have it. With the last of them it goes."""
_EVERY = [("", chr(0x10FFFF))]
"""All partitions, whatever they are called, as first and last token."""
_MAINTENANCE = {
    "OPTIMIZE",
    "VACUUM START",
    "VACUUM END",
    "CHECKPOINT",
    "CREATE TABLE",
    "ADD FEATURE",
    "SET TBLPROPERTIES",
    "FSCK",
}
_CONFIGURATION = {
    # Old versions stay readable, for as long as nobody vacuums the table: steps and people pin them.
    "delta.enableExpiredLogCleanup": "false",
    # Opening a table reads every commit since the last checkpoint, twice.
    "delta.checkpointInterval": "20",
}
_READABLE = frozenset({"timestampNtz"})
"""Features of Delta tables that a reader has to know, as far as this one does."""
_TRIES = 100
_LISTED_FROM = 200
"""How many commits are read by what the log's folder lists, and not by their names alone."""

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
        table = self.open()
        return None if table is None else int(table.version())

    def columns(self) -> dict[str, Any]:
        """The columns that are written to it now; see [TableReader.columns][]."""
        table = self.open()
        if table is None:
            return {}
        leaving = {field.name for field in table.schema().fields if _META_LEAVING in field.metadata}
        return {n: dtype for n, dtype in pl.Schema(table.schema()).items() if n != PARTITION and n not in leaving}

    def newest(self) -> TableVersion | None:
        """The newest version, with what tells it from that of another table; see [TableReader.newest][]."""
        table = self.open()
        if table is None:
            return None
        number = int(table.version())
        commits = self._commits(table, number - 1)
        # Of a log that somebody tidied up, the newest commit may be in the checkpoint alone.
        return (
            TableVersion(number, commits[0]["mark"], commits[0].get(_META_PAYLOAD)) if commits else TableVersion(number)
        )

    def scan(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of some partitions at a version, lazily; see [TableReader.scan][]."""
        table = self.open(version)
        if table is None:
            raise StorageError(f"there is no table at {self.uri}", hint="materialize the asset first")
        files = self._files(table, partitions)
        return self._frame(_columns_of(table.schema(), files["token"]), files["path"].to_list())

    def rows(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> dict[str, int]:
        """Rows of each stored partition by token, from the log alone; see [TableReader.rows][]."""
        table = self.open(version)
        if table is None:
            return {}
        counted = self._files(table, partitions).group_by("token", maintain_order=True).agg(pl.col("rows").sum())
        return dict(counted.iter_rows())

    def files(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> list[str]:
        """URIs of the files of some partitions at a version, from the log alone; see [TableReader.files][]."""
        table = self.open(version)
        if table is None:
            raise StorageError(f"there is no table at {self.uri}", hint="materialize the asset first")
        return [f"{self.uri}/{unquote(path)}" for path in self._files(table, partitions)["path"].to_list()]

    def raw_files(self, lists: Sequence[str]) -> list[tuple[str, str]]:
        """What a raw asset's lists of files name, by the lists' own paths in the table's folder.

        Returns:
            the path of each file, with that of the list that names it
        """
        if not lists:
            return []
        whole = [f"{self.location.target}/{path}" for path in lists]
        rows = pl.scan_parquet(
            whole,
            schema={"_path": pl.String},
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            glob=False,
            include_file_paths="list",
            **self.location.polars,
        )
        found = rows.drop_nulls("_path").collect()
        names = dict(zip(whole, lists, strict=True))
        return [(path, names[place]) for path, place in found.iter_rows()]

    def publications(self, *, after: int | None) -> Sequence[Publication]:
        """What was published after a version, oldest first; see [TableReader.publications][]."""
        table = self.open()
        if table is None:
            return []
        return [
            Publication(commit["version"], commit[_META_PAYLOAD], commit["mark"])
            for commit in self._commits(table, after)
            if _META_PAYLOAD in commit
        ]

    def objects(self) -> ObjectStore:
        """An object store whose root is the table's folder; see [TableReader.objects][]."""
        return self.location.store()

    # ── writing ───────────────────────────────────────────────────────────────────────────

    def stage(self, frame: pl.LazyFrame, attempt: str) -> Staged:
        """Write a candidate below the table's folder; see [Table.stage][]."""
        frame = storable(frame, where=self.uri)
        folder = self.location.child(staged_folder(attempt))
        with self.location.reaching("writing to"):
            if self.location.path:
                self.location.path.mkdir(parents=True, exist_ok=True)
            stream = ArrowStream(frame, lambda rows: exact(rows, where=self.uri))
            try:
                write_deltalake(
                    folder.target,
                    stream.reader(),
                    partition_by=[PARTITION] if self.partitioned else None,
                    storage_options=self.location.delta,
                )
            except Exception as error:
                if isinstance(stream.error, SchemaViolation):
                    raise stream.error from None
                if stream.error is not None:
                    raise StepError(f"computing the rows raised {cause(stream.error)}") from stream.error
                raise error
        return self.restaged(attempt)

    def restaged(self, attempt: str) -> Staged:
        """A candidate that was staged, by this process or another one; see [Table.restaged][]."""
        folder = self.location.child(staged_folder(attempt))
        with self.location.reaching("reading what is staged in"):
            log = bytes(folder.store().get(log_file(0)).bytes())
        # Bytes: their lines end where they should, and not at a user's U+2028 or U+0085.
        actions = [json.loads(line) for line in log.splitlines()]
        schema = Schema.from_json(next(a["metaData"]["schemaString"] for a in actions if "metaData" in a))
        adds = [action["add"] for action in actions if "add" in action]
        rows: dict[str | None, int] = {}
        size: dict[str | None, int] = {}
        for add in adds:
            token = add["partitionValues"].get(PARTITION) if self.partitioned else ""
            rows[token] = rows.get(token, 0) + int(json.loads(add["stats"])["numRecords"])
            size[token] = size.get(token, 0) + int(add["size"])
        return Staged(attempt, rows, size, (adds, schema))

    def put_note(self, attempt: str, name: str, text: bytes) -> None:
        """Write a note beside a candidate; see [Table.put_note][]."""
        with self.location.reaching("writing to"):
            self.location.store().put(f"{staged_folder(attempt)}/{name}", text, mode="create")

    def note(self, attempt: str, name: str) -> bytes | None:
        """Read a note; see [Table.note][]."""
        with self.location.reaching("reading what is staged in"):
            try:
                return bytes(self.location.store().get(f"{staged_folder(attempt)}/{name}").bytes())
            except FileNotFoundError:
                return None

    def staged(self, staged: Staged, tokens: Collection[str] | None = None) -> pl.LazyFrame:
        """The rows of a candidate; see [Table.staged][]."""
        adds, schema = staged.handle
        if tokens is not None and self.partitioned:
            adds = [add for add in adds if add["partitionValues"].get(PARTITION) in tokens]
        file = unused("_file", pl.Schema(schema))
        frame = self._frame(schema, [f"{staged_folder(staged.attempt)}/{add['path']}" for add in adds], origin=file)
        if not self.partitioned:
            return frame.drop(file)
        # One scan for each partition, put together, takes minutes where there are thousands.
        token = pl.col(file).str.extract(rf"/{PARTITION}=([^/]*)/[^/]*$")
        return frame.with_columns(token.alias(PARTITION)).drop(file)

    def publish(
        self, staged: Staged, partitions: PartitionSet, *, payload: str, since: TableVersion | int | None
    ) -> int:
        """Replace exactly these partitions in one commit; see [Table.publish][]."""
        if not partitions:
            raise PartitionError(f"there are no partitions to publish to {self.uri}")
        adds, schema = staged.handle
        wanted = set(tokens(partitions))
        actions = [
            AddAction(
                path=f"{staged_folder(staged.attempt)}/{add['path']}",
                size=add["size"],
                partition_values=add["partitionValues"],
                modification_time=add["modificationTime"],
                data_change=True,
                stats=add["stats"],
            )
            for add in adds
            if not self.partitioned or add["partitionValues"].get(PARTITION) in wanted
        ]
        return self._land(staged.attempt, actions, schema, partitions, payload, since)

    def mark(self, partitions: PartitionSet, attempt: str, *, payload: str, since: TableVersion | int) -> int:
        """Say something of partitions in the table's log, in a commit that leaves all rows as they are.

        Parameters:
            partitions: what it is about; none: the table as a whole
            attempt: tells the commit from others
            payload: text to keep in the table's log
            since: the version that it was decided at

        Returns:
            the version that it made

        Raises:
            PartitionConflict: one of the partitions was published by another after ``since``; nothing was written
            StorageError: it can't be written; nothing was, unless it says otherwise
        """
        return self._land(attempt, [], None, partitions, payload, since)

    def restart(self, staged: Staged, version: int, partitions: PartitionSet, *, payload: str) -> None:
        """Go on from a version that follows on none before it, with the rows that are there now; or without any, if
        the table was removed. So no version of this table is taken for one of that number that others still know.

        Parameters:
            staged: a candidate without rows; a table that is made anew has its columns
            version: the version's number, higher than that of any version which is known
            partitions: what it is about
            payload: text to keep in the table's log

        Raises:
            StorageError: it can't be written; called again, with a version that isn't there yet, it does the rest
        """
        said = {
            _META_ATTEMPT: staged.attempt,
            _META_PARTITIONS: json.dumps(spans(partitions)),
            _META_PAYLOAD: payload,
        }
        with _lock(self.uri), self.location.reaching("writing to"):
            made, table = self.location, self.open()
            number = 0 if table is None else int(table.version())
            if table is None:
                # Elsewhere at first: here it would be version 0 for a moment.
                made = self.location.child(f"{staged_folder(staged.attempt)}/{LOG}-anew")
                properties = CommitProperties(custom_metadata={**said, RESTART: "null"})
                self._create(made, [], staged.handle[1], partitions.partitions, properties)
                commit = bytes(made.store().get(log_file(0)).bytes())
                table = DeltaTable(made.target, storage_options=made.delta)
            else:
                info = {"timestamp": time.time_ns() // 1_000_000, "operation": "WRITE", "operationParameters": {}}
                commit = json.dumps({"commitInfo": {**info, **said, RESTART: str(number)}}).encode() + b"\n"
            table.create_checkpoint()
            # The rows that there are come first: with the commit alone the log would have a hole.
            rows = bytes(made.store().get(checkpoint_file(number)).bytes())
            pointer = json.loads(bytes(made.store().get(POINTER).bytes()))
            store = self.location.store()
            store.put(checkpoint_file(version), rows, mode="create")
            store.put(log_file(version), commit, mode="create")
            store.put(POINTER, json.dumps({**pointer, "version": version}).encode())

    def renew(self, staged: Staged, partitions: PartitionSet, *, payload: str, since: TableVersion) -> int:
        """Take all rows away, and begin anew with other partitions, in one commit. Older versions stay readable.

        Parameters:
            staged: a candidate without rows; the table has its columns from now on
            partitions: how it is partitioned from now on
            payload: text to keep in the table's log
            since: the version that it was decided at

        Returns:
            the version that it made

        Raises:
            PartitionConflict: something was published after ``since``; nothing was written
            StorageError: it can't be written
        """
        with _lock(self.uri), self.location.reaching("writing to"):
            late = PartitionConflict(f"{self.uri} was published to meanwhile; nothing was done", hint="call it again")
            if self._since(self.open(), since):
                raise late
            while (table := self._reopen(None)) is not None and self._upgrade(table, staged.handle[1]):
                pass
            assert table is not None  # it was, a moment ago
            # Delta's library changes no partition columns. What describes them is that of a table which is made apart.
            made = self.location.child(f"{staged_folder(staged.attempt)}/{LOG}-anew")
            self._create(made, [], staged.handle[1], partitions.partitions)
            first = bytes(made.store().get(log_file(0)).bytes()).splitlines()
            described = next(one for one in map(json.loads, first) if "metaData" in one)
            now = time.time_ns() // 1_000_000
            info = {"timestamp": now, "operation": "WRITE", "operationParameters": {}}
            said = {_META_ATTEMPT: staged.attempt, _META_PARTITIONS: json.dumps(_EVERY), _META_PAYLOAD: payload}
            files: Any = pl.DataFrame(table.get_add_actions(flatten=True))
            removes = ({"path": path, "deletionTimestamp": now, "dataChange": True} for path in files["path"])
            actions = [{"commitInfo": {**info, **said}}, described, *({"remove": one} for one in removes)]
            version = int(table.version()) + 1
            try:
                commit = b"".join(json.dumps(action).encode() + b"\n" for action in actions)
                self.location.store().put(log_file(version), commit, mode="create")
            except AlreadyExistsError as error:
                raise late from error
        return version

    def _land(
        self,
        attempt_id: str,
        actions: Sequence[AddAction],
        schema: Schema | None,
        partitions: PartitionSet,
        payload: str,
        since: TableVersion | int | None,
    ) -> int:
        """Commit, on top of whatever others have committed meanwhile; without a schema rows stay as they are."""
        began = TableVersion.of(since)
        with _lock(self.uri), self.location.reaching("publishing to"):
            failure: Exception | None = None
            base: int | None = None
            for attempt in range(_TRIES):
                table = self._reopen(failure)
                done = self._fence(table, attempt_id, partitions, began, payload)
                if done is not None:
                    return done
                if actions and not self._is_staged(attempt_id):
                    raise PartitionConflict(
                        f"what this step had written to {self.uri} was removed before it was published; nothing was",
                        hint="see who cleans up in that folder, and run it again",
                    )
                if table is not None and schema is not None:
                    self._check_layout(table, partitions)
                version = None if table is None else int(table.version())
                if failure is not None and version == base:
                    raise failure  # it was no race: nobody else has committed
                base = version
                try:
                    if table is not None and schema is not None and self._upgrade(table, schema):
                        continue
                    return self._commit(table, attempt_id, actions, schema, partitions, payload)
                except (LakehouseError, pl.exceptions.PolarsError):
                    raise
                except Exception as error:
                    # Either another committed since the table was opened, or the answer was lost. The files are
                    # staged, so all there is to do again is to look into the log, and to commit.
                    failure = error
                    time.sleep(random.uniform(0, min(0.02 * 2**attempt, 1.0)))
        raise StorageError(
            f"publishing {partitions} to {self.uri} met other writers {_TRIES} times in a row; nothing was published",
            hint="run it again, or let fewer runs publish to this table at once",
        ) from failure

    def discard(self, staged: Staged | str, *, published: PartitionSet | None = None) -> None:
        """Remove a candidate's files but for those of published partitions; see [Table.discard][]."""
        folder = staged_folder(staged if isinstance(staged, str) else staged.attempt)
        unused: list[str] | None = None
        if not isinstance(staged, str) and published is not None:
            kept = set(tokens(published))
            # A token needs no percent-encoding, so a path in the log is the path in the store.
            unused = [f"{folder}/{name}" for name in (log_file(0), *NOTES)] + [
                f"{folder}/{add['path']}"
                for add in staged.handle[0]
                if (add["partitionValues"].get(PARTITION) if self.partitioned else "") not in kept
            ]
        with self.location.reaching("cleaning up in"):
            if self.location.path:
                _remove(self.location.path, folder, unused)
                return
            store = self.location.store()
            if unused is None:
                unused = [str(found["path"]) for page in store.list(folder) for found in page]
            if unused:
                store.delete(unused)

    def quarantine(self, rows: pl.DataFrame, attempt: str) -> str:
        """Keep rows that were held back, in a file beside the table; see [Table.quarantine][]."""
        uri = quarantined_file(self.uri, attempt)
        target = Location(uri, self.location.options)
        with self.location.reaching("writing quarantined rows beside"):
            if target.path:
                target.path.parent.mkdir(parents=True, exist_ok=True)
            rows.write_parquet(target.target, **self.location.polars)
        return uri

    def quarantined(self, uri: str) -> pl.LazyFrame:
        """Rows that were held back; see [Table.quarantined][]."""
        target = Location(uri, self.location.options)
        return pl.scan_parquet(target.target, **self.location.polars)

    # ── the log ───────────────────────────────────────────────────────────────────────────

    def open(self, version: int | None = None) -> DeltaTable | None:
        """The table as Delta's library has it, at a version (None: the newest); None: there is no table."""
        if self.location.path and not (self.location.path / LOG).exists():
            return None
        with self._reading_log("opening", version):
            try:
                return handle(self.location.brisk, version)
            except DeltaError as error:
                # "Not found" must mean that nothing is there, not that it couldn't be seen for a moment: what
                # follows from it is the making of a new table.
                missing = isinstance(error, TableNotFoundError)
                if missing and not next(iter(self.location.brisk.store().list(LOG, chunk_size=1)), None):
                    return None
                if version is not None and (missing or "version" in str(error).lower()) and not self._damage(version):
                    raise StorageError(
                        f"version {version} of {self.uri} is not there (any more): {cause(error)}",
                        hint="it may have been vacuumed away; materialize from the newest version",
                    ) from error
                raise

    @contextmanager
    def _reading_log(self, doing: str, version: int | None = None) -> Iterator[None]:
        """Reach for the log; where it can't be read for a damaged file, the error names that and what to do."""
        try:
            with self.location.reaching(doing):
                yield
        except StorageError as error:
            # What could hold a secret isn't chained: then its text, which was cleared, has to do.
            reason = error.__cause__
            unreachable = isinstance(reason, OSError) or "Error performing" in str(reason or error)
            if unreachable or not (damaged := self._damage(version)):
                raise
            raise damaged.error(self.location) from reason

    def _damage(self, version: int | None) -> Damage | None:
        """The file of the log that keeps a version from being read; None: none is known."""
        try:
            return find_damage(self.location, version)
        except Exception:
            return None  # what led here is told then, not that no reason for it can be found

    def _reopen(self, failure: Exception | None) -> DeltaTable | None:
        """Open it, after a commit that may have arrived or not: then the commit's own error is the one to be told."""
        try:
            return self.open()
        except StorageError as error:
            if failure is None:
                raise
            raise StorageError(
                f"publishing to {self.uri} failed: {cause(failure)}",
                hint="if it arrived after all, which can't be seen now, the next run finds it in the table's log",
            ) from error

    def _commit(
        self,
        table: DeltaTable | None,
        attempt: str,
        actions: Sequence[AddAction],
        schema: Schema | None,
        partitions: PartitionSet,
        payload: str,
    ) -> int:
        """Commit on top of the version that the table was opened at, or not at all; returns the new version."""
        pairs = spans(partitions)
        properties = CommitProperties(
            custom_metadata={
                _META_ATTEMPT: attempt,
                _META_PARTITIONS: json.dumps(pairs),
                _META_PAYLOAD: payload,
            },
            # By itself the library would put the commit on top of those that came in between, if it saw no conflict
            # in them. It sees none between two commits that fill the same empty partition.
            max_commit_retries=0,
        )
        columns = [PARTITION] if self.partitioned else None
        if schema is None:
            if table is None:
                raise StorageError(f"there is no table at {self.uri}", hint="materialize the asset first")
            table.create_write_transaction(
                [], mode="append", schema=table.schema(), partition_by=columns, commit_properties=properties
            )
            return int(table.version()) + 1
        if table is None:
            self._create(self.location, actions, schema, partitions.partitions, properties)
            return 0
        version = int(table.version())
        table.create_write_transaction(
            list(actions),
            mode="overwrite",
            schema=self._merged(table, schema, partitions),
            partition_by=columns,
            partition_filters=_filter(pairs, partitions) if self.partitioned else None,
            commit_properties=properties,
        )
        return version + 1

    def _create(
        self,
        place: Location,
        actions: Sequence[AddAction],
        schema: Schema,
        partitions: Partitions,
        properties: CommitProperties | None = None,
    ) -> None:
        """Make a table where there is none."""
        create_table_with_add_actions(
            place.target,
            schema,
            list(actions),
            mode="error",
            partition_by=[PARTITION] if self.partitioned else None,
            configuration=_CONFIGURATION,
            description=mark_of(layout(partitions)),
            storage_options=place.delta,
            commit_properties=properties,
        )

    def _upgrade(self, table: DeltaTable, schema: Schema) -> bool:
        """See to it that the table may hold timestamps without a zone, if it is to; True: it had to be changed.

        A commit that brings the first of them to a table made without is taken, and nobody can open it from then on.
        """
        naive = any("timestamp_ntz" in field.type.to_json() for field in schema.fields)
        if not naive or "timestampNtz" in (table.protocol().reader_features or ()):
            return False
        table.alter.add_feature(
            TableFeatures.TimestampWithoutTimezone,
            allow_protocol_versions_increase=True,
            commit_properties=CommitProperties(max_commit_retries=0),
        )
        return True

    def _is_staged(self, attempt: str) -> bool:
        """Whether a candidate is still there."""
        try:
            self.location.brisk.store().head(f"{staged_folder(attempt)}/{log_file(0)}")
        except FileNotFoundError:
            return False
        return True

    def _fence(
        self,
        table: DeltaTable | None,
        attempt: str,
        partitions: PartitionSet,
        since: TableVersion | None,
        payload: str,
    ) -> int | None:
        """Refuse to publish over what was published since the step began, and to another table than it began with.

        A commit whose answer was lost on the way is found in the log and not made again: its version is returned.
        """
        ours = spans(partitions)
        commits: list[dict[str, Any]] = []
        if since is not None:
            commits = self._since(table, since)
        elif table is not None:
            commits = self._commits(table, None)
        for commit in commits:
            theirs = json.loads(commit.get(_META_PARTITIONS, "null"))
            if (commit.get(_META_ATTEMPT), commit.get(_META_PAYLOAD)) == (attempt, payload):
                return int(commit["version"])
            if theirs is None:
                if commit.get("operation") in _MAINTENANCE:
                    continue
                raise PartitionConflict(
                    f"{self.uri} was changed by something else ({commit.get('operation')}) while this step ran; "
                    f"nothing was published",
                    hint="run it again",
                )
            if _overlap(ours, theirs):
                both = from_tokens(partitions.partitions, _listed(partitions, theirs))
                raise PartitionConflict(
                    f"{self.uri}: {both} was published by another run while this step ran; its rows stay, "
                    f"this step's were not published",
                    hint="run it again to replace them",
                )
        return None

    def _since(self, table: DeltaTable | None, since: TableVersion) -> list[dict[str, Any]]:
        """The commits after the version that a step began with.

        Raises:
            PartitionConflict: the table doesn't have that version any more, or another one in its place
        """
        newest = -1 if table is None else int(table.version())
        commits = [] if table is None or newest < since.number else self._commits(table, since.number - 1)
        if table is None:
            fault = "was removed"
        elif newest < since.number:
            fault = f"went back from version {since.number} to {newest}"
        elif since.mark and (not commits or (commits[0]["version"], commits[0]["mark"]) != (since.number, since.mark)):
            fault = "was replaced by another table"
        elif len(later := [one for one in commits if one["version"] > since.number]) < newest - since.number:
            fault = f"has lost commits after version {since.number}"
        else:
            return later
        raise PartitionConflict(
            f"{self.uri} {fault} while this step ran; nothing was published",
            hint="see what became of it, and run it again",
        )

    def _commits(self, table: DeltaTable, after: int | None) -> list[dict[str, Any]]:
        """What the log's commits after a version say of themselves, oldest first.

        Read one by one, by their names: Delta's own history comes back empty for folders with some characters in
        their names, and by an empty history nothing would be fenced.
        """
        return [
            {**info_of(actions), "version": version, "mark": mark}
            for version, mark, actions in self._logged(table, after)
        ]

    def actions(self, table: DeltaTable, after: int | None = None) -> list[tuple[int, list[dict[str, Any]]]]:
        """What the log's commits after a version did, oldest first, as far as the log still has them."""
        return [(version, actions) for version, _, actions in self._logged(table, after)]

    def _logged(self, table: DeltaTable, after: int | None) -> list[tuple[int, str, list[dict[str, Any]]]]:
        """The log's commits after a version, each with its mark and what it did."""
        newest = int(table.version())
        versions: Sequence[int] = range(0 if after is None else max(after + 1, 0), newest + 1)
        with self._reading_log("reading the log of"):
            if len(versions) > _LISTED_FROM:
                # A table that was begun again has versions from some high number on.
                listed = (str(one["path"]) for page in self.location.brisk.store().list(LOG) for one in page)
                there = {version for name in listed if (version := version_of(name)) is not None}
                versions = [version for version in versions if version in there]

            def read(version: int) -> tuple[int, str, list[dict[str, Any]]] | None:
                log = self._commit_file(version)
                if log is None:
                    return None
                actions = actions_of(log, version, newest=version == newest)
                if isinstance(actions, Damage):
                    raise actions.error(self.location)
                return version, _mark(log), actions

            if len(versions) < 2:
                found = [read(version) for version in versions]
            else:
                with ThreadPoolExecutor(min(len(versions), 16), thread_name_prefix="lakehouse-log") as pool:
                    found = list(pool.map(read, versions))
        return [commit for commit in found if commit is not None]

    def _commit_file(self, version: int) -> bytes | None:
        try:
            return bytes(self.location.brisk.store().get(log_file(version)).bytes())
        except FileNotFoundError:
            return None

    def kept_otherwise(self, partitions: Partitions) -> str:
        """How the table's rows are partitioned, as far as it says so, if it isn't like this; empty: it is.

        Raises:
            StorageError: the table can't be reached
        """
        table = self.open()
        return "" if table is None else self._kept_otherwise(table, partitions)

    def _kept_otherwise(self, table: DeltaTable, partitions: Partitions) -> str:
        metadata = table.metadata()
        there = marked(metadata.description)
        if not there and bool(metadata.partition_columns) != self.partitioned:
            return "other"
        return "" if there == layout(partitions) else there

    def _check_layout(self, table: DeltaTable, partitions: PartitionSet) -> None:
        """See that tokens mean the same as ever: a month put beside its days would double their rows."""
        if there := self._kept_otherwise(table, partitions.partitions):
            wanted = layout(partitions.partitions)
            raise SchemaViolation(
                f"{self.uri} was made with {there} partitions; this step publishes {wanted} ones",
                hint="lakehouse state wipe takes all of it away, so that the table starts anew; or give the asset a "
                "new name: its history and its old rows stay under the old one",
            )

    def _merged(self, table: DeltaTable, schema: Schema, partitions: PartitionSet) -> Schema:
        """The table's columns from now on: those that rows which stay still have, and those that are written."""
        if not self.partitioned:
            return schema
        old, new = table.schema(), {field.name: field for field in schema.fields}
        changed = changes(pl.Schema(old), pl.Schema(schema))
        if not changed and all(field.name in new for field in old.fields):
            return Schema([*(new.pop(field.name) for field in old.fields), *new.values()])
        wanted = set(tokens(partitions))
        staying = [token for token in self._files(table, None)["token"].unique() if token not in wanted]
        if not staying:
            return schema
        if changed:
            raise columns_changed(changed, partitions.partitions, staying, where=self.uri)
        fields = []
        for field in old.fields:
            if field.name in new:
                fields.append(new.pop(field.name))
                continue
            # Dropped at once it would be gone from the rows that stay. And if it came back one day as another type,
            # files whose statistics are of the old one would keep the table from being opened.
            had = field.metadata.get(_META_LEAVING)
            left = staying if had is None else _within(staying, json.loads(had))
            if left:
                metadata = {**field.metadata, _META_LEAVING: json.dumps(_spans(left, partitions.partitions))}
                fields.append(Field(field.name, field.type, nullable=field.nullable, metadata=metadata))
        return Schema([*fields, *new.values()])

    # ── files ─────────────────────────────────────────────────────────────────────────────

    def _files(self, table: DeltaTable, partitions: PartitionSet | None) -> pl.DataFrame:
        """The files of some partitions, from the log: ``path``, ``token`` and ``rows`` of each."""
        with self._reading_log("reading the log of"):
            return self._listed_files(table, partitions)

    def _listed_files(self, table: DeltaTable, partitions: PartitionSet | None) -> pl.DataFrame:
        features = set(table.protocol().reader_features or ()) - _READABLE
        if features or table.protocol().min_reader_version == 2:
            raise StorageError(
                f"{self.uri} has features that can't be read here: {shorten(sorted(features)) or 'column mapping'}",
                hint="it was changed by something else; materialize the asset into a table of its own",
            )
        listed: Any = pl.DataFrame(table.get_add_actions(flatten=True))
        if listed.is_empty():
            return pl.DataFrame(schema={"path": pl.String, "token": pl.String, "rows": pl.Int64})
        if self.partitioned and f"partition.{PARTITION}" not in listed.columns:
            raise StorageError(
                f"{self.uri} is not partitioned, the asset is",
                hint="give the asset a new name: its history and its old rows stay under the old one",
            )
        files: pl.DataFrame = listed.select(
            "path",
            (pl.col(f"partition.{PARTITION}") if self.partitioned else pl.lit("")).alias("token"),
            pl.col("num_records").alias("rows"),
        )
        if partitions is not None and self.partitioned:
            files = files.filter(within(partitions, pl.col("token")))
        return files

    def _frame(self, schema: Schema, paths: Iterable[str], *, origin: str | None = None) -> pl.LazyFrame:
        """The rows of some of the table's files, lazily, with the columns of the whole table (and their file's path).

        Polars' own reader of Delta tables takes the escapes in a path for its characters, and other columns for
        partition columns where a folder above the table has a name like ``a=b``.
        """
        columns = {name: dtype for name, dtype in pl.Schema(schema).items() if name != PARTITION}
        target = self.location.target
        files = [f"{target}/{unquote(path)}" for path in paths]
        if not files:
            return pl.LazyFrame(schema={**columns, **({origin: pl.String} if origin else {})})
        return pl.scan_parquet(
            files,
            schema=columns,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            glob=False,
            include_file_paths=origin,
            **self.location.polars,
        )


def info_of(actions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a commit says of itself."""
    return next((action["commitInfo"] for action in actions if action.get("commitInfo")), {})


def _mark(log: bytes | None) -> str:
    """What tells a commit from all others."""
    return "" if log is None else hashlib.blake2b(log, digest_size=16).hexdigest()


def _columns_of(schema: Schema, stored: pl.Series) -> Schema:
    """A table's columns, but for those that only other partitions still have: what is read goes by what was written."""
    gone = {
        field.name
        for field in schema.fields
        if (leaving := field.metadata.get(_META_LEAVING)) and not _within(stored.unique(), json.loads(leaving))
    }
    return Schema([field for field in schema.fields if field.name not in gone]) if gone else schema


def _filter(pairs: list[tuple[str, str]], partitions: PartitionSet) -> Any:
    """A filter for exactly these partitions: two bounds for a range, names for a set with gaps."""
    if partitions.partitions.ordered and len(pairs) == 1:
        return [(PARTITION, ">=", pairs[0][0]), (PARTITION, "<=", pairs[0][1])]
    return [(PARTITION, "in", tokens(partitions))]


def _overlap(ours: Iterable[Sequence[str]], theirs: Iterable[Sequence[str]]) -> bool:
    listed = list(theirs)
    return any(a[0] <= b[1] and b[0] <= a[1] for a in ours for b in listed)


def _listed(partitions: PartitionSet, pairs: Iterable[Sequence[str]]) -> list[str]:
    return _within(tokens(partitions), pairs)


def _within(listed: Iterable[str], pairs: Iterable[Sequence[str]]) -> list[str]:
    bounds = list(pairs)
    return [t for t in listed if any(a <= t <= b for a, b in bounds)]


def _spans(listed: Sequence[str], partitions: Partitions) -> list[tuple[str, str]]:
    """Tokens as intervals; those that no partition has any more one by one."""
    known = from_tokens(partitions, list(listed))
    others = set(listed) - set(tokens(known))
    return [*spans(known), *((token, token) for token in sorted(others))]


def _remove(root: Path, folder: str, unused: Iterable[str] | None) -> None:
    """Remove files below a folder (None: all), and then whatever folders are empty."""
    target = root / folder
    if not target.exists():
        return
    if unused is None:
        shutil.rmtree(target)
        return
    for name in unused:
        (root / name).unlink(missing_ok=True)
    for child in sorted((p for p in target.rglob("*") if p.is_dir()), reverse=True):
        _rmdir(child)
    _rmdir(target)


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # something is in it
