"""Delta tables: staged inside the table's own folder, published by one fenced commit."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Field, Schema, TableFeatures
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
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
from lakehouse.io.clusters import Piece, grouped, weight
from lakehouse.io.columns import column
from lakehouse.io.damage import POINTER, Damage, actions_of, find_damage
from lakehouse.io.frames import batches, changes, unused
from lakehouse.io.handles import handle
from lakehouse.io.layout import (
    CANDIDATE,
    LOG,
    RESTART,
    checkpoint_file,
    log_file,
    mark_of,
    marked,
    quarantined_file,
    staged_folder,
    version_of,
)
from lakehouse.io.staging import Cut, StagedFile, write_files
from lakehouse.io.storage import Location, cause
from lakehouse.io.tables import PARTITION, PinnedRows, Publication, Staged, TableVersion, columns_changed, layout
from lakehouse.io.tokens import from_tokens, spans, tokens, within
from lakehouse.io.turns import in_turn
from lakehouse.io.types import as_stored, exact, held, storable
from lakehouse.partitions import Partitions, PartitionSet

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_META_ATTEMPT = "lakehouse.attempt"
_META_PARTITIONS = "lakehouse.partitions"
_META_PAYLOAD = "lakehouse.facts"
_META_LEAVING = "lakehouse.leaving"
"""Of a column that is no longer written: the partitions whose rows still have it. With the last of them it goes."""
_LAST = chr(0x10FFFF)
"""Comes after every token."""
_EVERY = [("", _LAST)]
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
_FILES = {"path": pl.String, "first": pl.String, "last": pl.String, "rows": pl.Int64, "size": pl.Int64}
_COUNTS = {"token": pl.String, "rows": pl.Int64}
_TRIES = 100
_LISTED_FROM = 200
"""How many commits are read by what the log's folder lists, and not by their names alone."""


@final
@dataclass(frozen=True)
class DeltaLakeTable:
    """A Delta table on disk or S3.

    Parameters:
        location: the table's folder
        partitioned: whether its rows are kept by partition
        clustered: whether small partitions share files in a table that is yet to be made; one that is there stays as
            it is

    Examples:
        >>> import tempfile
        >>> table = DeltaLakeTable(Location.of(tempfile.mkdtemp()), partitioned=False)
        >>> table.version() is None
        True
    """

    location: Location
    partitioned: bool
    clustered: bool = False

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
        return self.read(self.pinned(partitions, version=version))

    def pinned(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> PinnedRows:
        """What is read of some partitions at a version; see [TableReader.pinned][]."""
        table = self._at(version)
        files = self._files(table, partitions)
        covered = self._covered(files, partitions)
        return PinnedRows(
            partitions,
            self._columns(table, partitions).to_json(),
            tuple(files.filter(covered)["path"]),
            tuple(files.filter(~covered)["path"]),
        )

    def read(self, pinned: PinnedRows) -> pl.LazyFrame:
        """The rows that were pinned; see [TableReader.read][]."""
        schema, paths = Schema.from_json(pinned.columns), [*pinned.files, *pinned.shared]
        if not pinned.shared or pinned.partitions is None:
            return self._frame(schema, paths)
        mine = within(pinned.partitions, pl.col(PARTITION))
        return self._frame(schema, paths, whose=True).filter(mine).drop(PARTITION)

    def rows(self, partitions: PartitionSet | None = None, *, version: int | None = None) -> dict[str, int]:
        """Rows of each stored partition by token, from the log; see [TableReader.rows][].

        Of files that partitions share, the column that tells whose a row is has to be read.
        """
        table = self.open(version)
        return {} if table is None else self._stored(table, partitions)

    def files(
        self, partitions: PartitionSet | None = None, *, version: int | None = None, apart: Location | None = None
    ) -> list[str]:
        """URIs of files with the rows of some partitions at a version; see [TableReader.files][]."""
        table = self._at(version)
        files = self._files(table, partitions)
        covered = self._covered(files, partitions)
        shared = files.filter(~covered)
        uris = [f"{self.uri}/{unquote(path)}" for path in files.filter(covered)["path"].to_list()]
        if shared.is_empty():
            return uris
        if apart is None:
            raise StorageError(
                f"files of {self.uri} hold rows of other partitions too, and can't be handed on as they are",
                hint="say where copies of just these rows may lie: apart=...",
            )
        pinned = PinnedRows(partitions, self._columns(table, partitions).to_json(), (), tuple(shared["path"]))
        rows = self.read(pinned)
        with apart.reaching("writing to"):
            written = write_files(batches(rows), apart, "rows", Cut.WHOLE)
        return [*uris, *(f"{apart.uri}/{file.path}" for file in written)]

    def lacks_files(self, partitions: PartitionSet | None, *, version: int) -> bool:
        """Whether files with rows of some partitions (None: all) at a version were removed."""
        if version == self.version():
            return False
        paths = self._files(self._at(version), partitions)["path"].to_list()
        store = self.location.brisk.store()

        def gone(path: str) -> bool:
            try:
                store.head(unquote(path))
            except FileNotFoundError:
                return True
            return False

        with self.location.reaching("looking at"):
            if len(paths) < 2:
                return any(map(gone, paths))
            with ThreadPoolExecutor(min(len(paths), 16), thread_name_prefix="lakehouse-files") as pool:
                return any(pool.map(gone, paths))

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
        table = self.open()
        cut = self._cut(table)
        columns = {name: as_stored(held(dtype)) for name, dtype in frame.collect_schema().items()}
        if cut is Cut.SHARED:
            # First, for of the first columns alone other writers keep bounds.
            columns = {PARTITION: columns[PARTITION], **columns}
        with self.location.reaching("writing to"):
            files = write_files(self._computed(frame, columns), self.location, staged_folder(attempt), cut)
            base = None if table is None else int(table.version())
            made = _Candidate(tuple(files), _schema(columns), cut, base)
            self.location.store().put(f"{staged_folder(attempt)}/{CANDIDATE}", made.to_json())
        return made.staged(attempt)

    def restaged(self, attempt: str) -> Staged:
        """A candidate that was staged, by this process or another one; see [Table.restaged][]."""
        with self.location.reaching("reading what is staged in"):
            told = bytes(self.location.store().get(f"{staged_folder(attempt)}/{CANDIDATE}").bytes())
        return _Candidate.from_json(told).staged(attempt)

    def _computed(self, frame: pl.LazyFrame, columns: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """The rows as they are computed, and as they are stored."""
        try:
            for batch in batches(frame):
                yield exact(batch, where=self.uri).select(column(name).cast(to) for name, to in columns.items())
        except LakehouseError:
            raise
        except Exception as error:
            raise StepError(f"computing the rows raised {cause(error)}") from error

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
        made = _candidate(staged)
        files = made.files
        if tokens is not None and self.partitioned:
            wanted = set(tokens)
            files = tuple(file for file in files if not wanted.isdisjoint(file.rows))
            if made.cut is Cut.SHARED:
                frame = self._frame(made.schema, [file.path for file in files], whose=True)
                mixed = any(not wanted.issuperset(file.rows) for file in files)
                return frame.filter(pl.col(PARTITION).is_in(list(wanted))) if mixed else frame
        paths = [file.path for file in files]
        if made.cut is not Cut.APART:
            return self._frame(made.schema, paths, whose=self.partitioned)
        origin = unused("_file", pl.Schema(made.schema))
        frame = self._frame(made.schema, paths, origin=origin)
        # One scan for each partition, put together, takes minutes where there are thousands.
        token = pl.col(origin).str.extract(rf"/{PARTITION}=([^/]*)/[^/]*$")
        return frame.with_columns(token.alias(PARTITION)).drop(origin)

    def publish(
        self, staged: Staged, partitions: PartitionSet, *, payload: str, since: TableVersion | int | None
    ) -> int:
        """Replace exactly these partitions in one commit; see [Table.publish][]."""
        if not partitions:
            raise PartitionError(f"there are no partitions to publish to {self.uri}")
        return self._land(staged.attempt, _candidate(staged), partitions, payload, since)

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
        return self._land(attempt, None, partitions, payload, since)

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
        with in_turn(self.location), self.location.reaching("writing to"):
            made, table = self.location, self.open()
            number = 0 if table is None else int(table.version())
            if table is None:
                # Elsewhere at first: here it would be version 0 for a moment.
                made = self.location.child(f"{staged_folder(staged.attempt)}/{LOG}-anew")
                properties = CommitProperties(custom_metadata={**said, RESTART: "null"})
                self._create(made, [], _candidate(staged), partitions.partitions, properties=properties)
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
        with in_turn(self.location), self.location.reaching("writing to"):
            late = PartitionConflict(f"{self.uri} was published to meanwhile; nothing was done", hint="call it again")
            if self._since(self.open(), since):
                raise late
            while (table := self._reopen(None)) is not None and self._upgrade(table, _candidate(staged).schema):
                pass
            assert table is not None  # it was, a moment ago
            # Delta's library changes no partition columns. What describes them is that of a table which is made apart.
            made = self.location.child(f"{staged_folder(staged.attempt)}/{LOG}-anew")
            self._create(made, [], _candidate(staged), partitions.partitions)
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
        candidate: _Candidate | None,
        partitions: PartitionSet,
        payload: str,
        since: TableVersion | int | None,
    ) -> int:
        """Commit, on top of whatever others have committed meanwhile; without a candidate rows stay as they are."""
        began = TableVersion.of(since)
        wanted = set(tokens(partitions))
        merged: dict[Any, Sequence[StagedFile]] = {}
        change: _Change | None = None
        with in_turn(self.location), self.location.reaching("publishing to"):
            failure: Exception | None = None
            base: int | None = None
            for attempt in range(_TRIES):
                table = self._reopen(failure)
                try:
                    done, began = self._fence(table, attempt_id, partitions, began, payload)
                    if done is not None:
                        self._tidy(merged, change)
                        return done
                    if candidate is not None and not self._is_staged(attempt_id):
                        raise PartitionConflict(
                            f"what this step had written to {self.uri} was removed before it was published; nothing "
                            "was",
                            hint="see who cleans up in that folder, and run it again",
                        )
                    if table is not None and candidate is not None:
                        self._check_layout(table, partitions, candidate)
                except PartitionConflict:
                    self._tidy(merged, None)
                    raise
                version = None if table is None else int(table.version())
                if failure is not None and version == base:
                    raise failure  # it was no race: nobody else has committed
                base = version
                try:
                    if table is not None and candidate is not None and self._upgrade(table, candidate.schema):
                        continue
                    if candidate is not None:
                        change = self._change(
                            table, attempt_id, candidate, partitions, wanted, merged, absorb=failure is None
                        )
                    made = self._commit(table, attempt_id, change, partitions, payload)
                    self._tidy(merged, change)
                    return made
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

    def _tidy(self, merged: Mapping[Any, Sequence[StagedFile]], change: _Change | None) -> None:
        """Remove what was put together for commits that others were ahead of."""
        used = set() if change is None else {file.path for file in change.adds}
        unused = [file.path for files in merged.values() for file in files if file.path not in used]
        if unused:
            with suppress(Exception):  # it takes space, and goes with what killed runs leave behind
                self.location.store().delete(unused)

    def discard(self, staged: Staged | str, *, published: PartitionSet | None = None) -> None:
        """Remove a candidate's files but for those that a version uses; see [Table.discard][]."""
        folder = staged_folder(staged if isinstance(staged, str) else staged.attempt)
        used: set[str] = set()
        if not isinstance(staged, str) and published is not None:
            table, base = self.open(), _candidate(staged).base
            if table is None or (base is not None and int(table.version()) < base):
                return  # another table: nobody knows what it uses
            used = {
                unquote(action["add"]["path"])
                for _, actions in self.actions(table, after=base)
                for action in actions
                if action.get("add")
            }
        with self.location.reaching("cleaning up in"):
            if self.location.path:
                _remove(self.location.path, folder, used)
                return
            store = self.location.store()
            listed = [str(found["path"]) for page in store.list(folder) for found in page]
            if unused := [path for path in listed if path not in used]:
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

    def _change(
        self,
        table: DeltaTable | None,
        attempt: str,
        candidate: _Candidate,
        partitions: PartitionSet,
        wanted: Set[str],
        merged: dict[Any, Sequence[StagedFile]],
        *,
        absorb: bool,
    ) -> _Change:
        """What a commit does on top of the version that the table was opened at.

        Parameters:
            merged: what was put together at an earlier try, by what it was made of
            absorb: whether small files that lie beside the candidate's may be put together with them
        """
        schema = candidate.schema if table is None else self._merged(table, candidate.schema, partitions)
        if candidate.cut is not Cut.SHARED:
            adds = [file for file in candidate.files if not self.partitioned or not wanted.isdisjoint(file.rows)]
            return _Change(candidate, schema, tuple(adds))
        pieces, gone = self._pieces(table, candidate, partitions, wanted)
        kept: list[StagedFile] = []
        own = {file.path: file for file in candidate.files}
        for group in grouped(pieces, absorb=absorb):
            if len(group) == 1 and not group[0].rewritten:
                kept.append(own[group[0].path])
                continue
            gone |= {piece.path for piece in group if not piece.brought}
            parts = tuple((piece.path, piece.brought) for piece in group), schema.to_json()
            if parts not in merged:
                merged[parts] = self._put_together(group, schema, wanted, attempt)
            kept += merged[parts]
        # A file that comes and goes in one commit stays.
        both = gone & own.keys()
        comes = tuple(file for file in kept if file.path not in both)
        return _Change(candidate, schema, comes, frozenset(gone - both))

    def _pieces(
        self, table: DeltaTable | None, candidate: _Candidate, partitions: PartitionSet, wanted: Set[str]
    ) -> tuple[list[Piece], set[str]]:
        """What a table is to consist of, and the files of which nothing stays."""
        pieces: list[Piece] = []
        gone: set[str] = set()
        if table is not None:
            there = self._files(table, None)
            # A file that goes as a whole need not be read, nor be there.
            covered = self._covered(there, partitions)
            gone |= set(there.filter(covered)["path"])
            there = there.filter(~covered)
            ordered = sorted(wanted)
            meets = [_meets(ordered, first, last) for first, last in there.select("first", "last").iter_rows()]
            shared = [path for path, met, first, last in zip(there["path"], meets, there["first"], there["last"],
                                                             strict=True) if met and first != last]  # fmt: skip
            counted = self._counted(shared)
            for (path, first, last, rows, size), met in zip(there.iter_rows(), meets, strict=True):
                if met and first == last:
                    gone.add(path)
                    continue
                counts = counted.get(path, {}) if met else {}
                if wanted.isdisjoint(counts):
                    pieces.append(Piece(path, first, last, weight(size, rows)))
                    continue
                left = {token: count for token, count in counts.items() if token not in wanted}
                if left:
                    staying = sum(left.values()) / sum(counts.values()) * weight(size, rows)
                    pieces.append(Piece(path, min(left), max(left), staying, rewritten=True))
                else:
                    gone.add(path)
        for file in candidate.files:
            if mine := [token for token in file.rows if token is not None and token in wanted]:
                coming, total = sum(file.rows[token] for token in mine), sum(file.rows.values())
                share = coming / total * weight(file.size, total)
                mixed = len(mine) < len(file.rows)
                pieces.append(Piece(file.path, min(mine), max(mine), share, brought=True, rewritten=mixed))
        return pieces, gone

    def _put_together(
        self,
        group: Sequence[Piece],
        schema: Schema,
        wanted: Set[str],
        attempt: str,
    ) -> list[StagedFile]:
        """Write the rows of some pieces that are to stay, and those that come, to files of their own."""
        mine = pl.col(PARTITION).is_in(list(wanted))
        staying = [piece.path for piece in group if not piece.brought]
        coming = [piece.path for piece in group if piece.brought]
        rows = pl.concat(
            [
                self._frame(schema, staying, whose=True).filter(~mine),
                self._frame(schema, coming, whose=True).filter(mine),
            ]
        )
        leaving = _leaving(schema)

        def without(tokens: Collection[str | None]) -> list[str]:
            # A column that is on its way out must not stay behind in a file none of whose rows have it.
            return [name for name, pairs in leaving.items() if not _within(filter(None, tokens), pairs)]

        # Not beside the candidate, which may be removed as a whole.
        folder = staged_folder(f"{attempt}-merged")
        if sum(piece.weight for piece in group) > 2:
            return write_files(batches(rows), self.location, folder, Cut.SHARED, without=without)
        found = rows.collect(engine="streaming")
        return write_files([found], self.location, folder, Cut.SHARED, whole=True, without=without)

    def _commit(
        self,
        table: DeltaTable | None,
        attempt: str,
        change: _Change | None,
        partitions: PartitionSet,
        payload: str,
    ) -> int:
        """Commit on top of the version that the table was opened at, or not at all; returns the new version."""
        pairs = spans(partitions)
        said = {_META_ATTEMPT: attempt, _META_PARTITIONS: json.dumps(pairs), _META_PAYLOAD: payload}
        # By itself the library would put the commit on top of those that came in between, if it saw no conflict
        # in them. It sees none between two commits that fill the same empty partition.
        properties = CommitProperties(custom_metadata=said, max_commit_retries=0)
        if change is None:
            if table is None:
                raise StorageError(f"there is no table at {self.uri}", hint="materialize the asset first")
            columns = table.metadata().partition_columns
            table.create_write_transaction(
                [], mode="append", schema=table.schema(), partition_by=columns, commit_properties=properties
            )
            return int(table.version()) + 1
        candidate = change.candidate
        adds: list[Any] = [candidate.action(file) for file in change.adds]
        if table is None:
            self._create(
                self.location, adds, candidate, partitions.partitions, schema=change.schema, properties=properties
            )
            return 0
        version = int(table.version())
        if candidate.cut is not Cut.SHARED:
            table.create_write_transaction(
                adds,
                mode="overwrite",
                schema=change.schema,
                partition_by=candidate.partition_by,
                partition_filters=_filter(pairs, partitions) if self.partitioned else None,
                commit_properties=properties,
            )
            return version + 1
        now = round(time.time() * 1000)
        removes = [RemoveAction(path, True, now, None, None) for path in sorted(change.removes)]
        if change.schema.to_json() == table.schema().to_json():
            table.create_write_transaction(
                [*removes, *adds], mode="append", schema=change.schema, commit_properties=properties
            )
        else:
            self._commit_columns(table, change, said, now)
        return version + 1

    def _create(
        self,
        place: Location,
        adds: Sequence[AddAction],
        candidate: _Candidate,
        partitions: Partitions,
        *,
        schema: Schema | None = None,
        properties: CommitProperties | None = None,
    ) -> None:
        """Make a table where there is none."""
        create_table_with_add_actions(
            place.target,
            schema or candidate.schema,
            list(adds),
            mode="error",
            partition_by=candidate.partition_by,
            configuration=_CONFIGURATION,
            description=mark_of(layout(partitions), clustered=candidate.cut is Cut.SHARED),
            storage_options=place.delta,
            commit_properties=properties,
        )

    def _commit_columns(self, table: DeltaTable, change: _Change, said: Mapping[str, str], now: int) -> None:
        """Commit along with other columns, for which Delta's library has no word where files are named one by one."""
        metadata = table.metadata()
        info = {"timestamp": now, "operation": "WRITE", "operationParameters": {"mode": "Overwrite"}, **said}
        lines: list[dict[str, Any]] = [
            {"commitInfo": info},
            {
                "metaData": {
                    "id": metadata.id,
                    "name": metadata.name,
                    "description": metadata.description,
                    "format": {"provider": "parquet", "options": {}},
                    "schemaString": change.schema.to_json(),
                    "partitionColumns": [],
                    "createdTime": metadata.created_time,
                    "configuration": metadata.configuration,
                }
            },
            *(
                {"remove": {"path": path, "deletionTimestamp": now, "dataChange": True}}
                for path in sorted(change.removes)
            ),
            *(
                {
                    "add": {
                        "path": file.path,
                        "partitionValues": {},
                        "size": file.size,
                        "modificationTime": file.written,
                        "dataChange": True,
                        "stats": file.stats,
                    }
                }
                for file in change.adds
            ),
        ]
        log = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        self.location.store().put(log_file(int(table.version()) + 1), log, mode="create")

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
            self.location.brisk.store().head(f"{staged_folder(attempt)}/{CANDIDATE}")
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
    ) -> tuple[int | None, TableVersion | None]:
        """Refuse to publish over what was published since the step began, and to another table than it began with.

        A commit whose answer was lost on the way is found in the log and not made again.

        Returns:
            the version that it made then; and the one up to which nothing is in the way, where the next look begins
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
                return int(commit["version"]), since
            if theirs is None:
                if not is_of_others(commit):
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
        last = commits[-1] if commits else None
        return None, since if last is None else TableVersion(last["version"], last["mark"])

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
        if not there and (bool(metadata.partition_columns) or _stores_partition(table)) != self.partitioned:
            return "other"
        return "" if there == layout(partitions) else there

    def _check_layout(self, table: DeltaTable, partitions: PartitionSet, candidate: _Candidate) -> None:
        """See that tokens mean the same as ever: a month put beside its days would double their rows."""
        if there := self._kept_otherwise(table, partitions.partitions):
            wanted = layout(partitions.partitions)
            raise SchemaViolation(
                f"{self.uri} was made with {there} partitions; this step publishes {wanted} ones",
                hint="lakehouse state wipe takes all of it away, so that the table starts anew; or give the asset a "
                "new name: its history and its old rows stay under the old one",
            )
        if self._cut(table) is not candidate.cut:
            raise PartitionConflict(
                f"{self.uri} keeps its partitions in other files than when this step began; nothing was published",
                hint="run it again",
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
        staying = [token for token in self._stored(table, None) if token not in wanted]
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

    def _at(self, version: int | None) -> DeltaTable:
        table = self.open(version)
        if table is None:
            raise StorageError(f"there is no table at {self.uri}", hint="materialize the asset first")
        return table

    def _cut(self, table: DeltaTable | None) -> Cut:
        """How rows are divided into files: as those that are there, and in a new table as it is to be."""
        if not self.partitioned:
            return Cut.WHOLE
        shared = self.clustered if table is None else not table.metadata().partition_columns
        return Cut.SHARED if shared else Cut.APART

    def _clustered(self, table: DeltaTable) -> bool:
        return self._cut(table) is Cut.SHARED

    def _files(self, table: DeltaTable, partitions: PartitionSet | None) -> pl.DataFrame:
        """The files that may have rows of some partitions, from the log: the ``path`` of each, the tokens that its
        rows lie between (``first``, ``last``), ``rows``, and its ``size`` in bytes.
        """
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
        bounds = {"first": pl.lit(""), "last": pl.lit("")}
        if self.partitioned and table.metadata().partition_columns:
            bounds = dict.fromkeys(bounds, pl.col(f"partition.{PARTITION}"))
        elif self.partitioned:
            if not listed.is_empty() and not _stores_partition(table):
                raise StorageError(
                    f"{self.uri} is not partitioned, the asset is",
                    hint="give the asset a new name: its history and its old rows stay under the old one",
                )
            # Where nobody told, they may be any.
            for name, bound, any_other in (("first", "min", ""), ("last", "max", _LAST)):
                told = f"{bound}.{PARTITION}"
                bounds[name] = pl.col(told).fill_null(any_other) if told in listed.columns else pl.lit(any_other)
        if listed.is_empty():
            return pl.DataFrame(schema=_FILES)
        files: pl.DataFrame = listed.select(
            "path",
            *(bound.alias(name) for name, bound in bounds.items()),
            pl.col("num_records").alias("rows"),
            pl.col("size_bytes").alias("size"),
        ).cast(_FILES)
        if partitions is None or not self.partitioned:
            return files
        if table.metadata().partition_columns:
            return files.filter(within(partitions, pl.col("first")))
        pairs = sorted(spans(partitions))
        starts, ends = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        found = [_among(starts, ends, first, last) for first, last in files.select("first", "last").iter_rows()]
        return files.filter(pl.Series(found, dtype=pl.Boolean))

    def _covered(self, files: pl.DataFrame, partitions: PartitionSet | None) -> pl.Series:
        """Which files have no rows but of some partitions, as far as their bounds tell."""
        if partitions is None or not self.partitioned:
            return pl.Series([True] * files.height, dtype=pl.Boolean)
        pairs = sorted(spans(partitions))
        starts, ends = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return pl.Series(
            [_inside(starts, ends, first, last) for first, last in files.select("first", "last").iter_rows()],
            dtype=pl.Boolean,
        )

    def _columns(self, table: DeltaTable, partitions: PartitionSet | None) -> Schema:
        """The columns of some partitions, but for those that only others still have: what is read goes by what was
        written.
        """
        schema = table.schema()
        leaving = _leaving(schema)
        if not leaving:
            return schema
        stored = self._stored(table, partitions)
        gone = {name for name, pairs in leaving.items() if not _within(stored, pairs)}
        return Schema([field for field in schema.fields if field.name not in gone])

    def _stored(self, table: DeltaTable, partitions: PartitionSet | None) -> dict[str, int]:
        """How many rows each stored partition has, by token."""
        files = self._files(table, partitions)
        one = (pl.col("first") == pl.col("last")) & pl.col("rows").is_not_null()
        counted: dict[str, int] = {}
        for token, count in files.filter(one).select("first", "rows").iter_rows():
            counted[token] = counted.get(token, 0) + count
        for counts in self._counted(files.filter(~one)["path"].to_list()).values():
            for token, count in counts.items():
                counted[token] = counted.get(token, 0) + count
        if partitions is None or not self.partitioned:
            return counted
        found = pl.DataFrame({"token": list(counted), "rows": list(counted.values())}, schema=_COUNTS)
        return dict(found.filter(within(partitions, pl.col("token"))).iter_rows())

    def _counted(self, paths: Sequence[str]) -> dict[str, dict[str, int]]:
        """How many rows of each partition each of some files has that partitions share, by the file's path."""
        if not paths:
            return {}
        schema = _schema({PARTITION: pl.String})
        with self.location.reaching("reading"):
            found = (
                self._frame(schema, paths, whose=True, origin="file")
                .group_by("file", PARTITION)
                .agg(pl.len().alias("rows"))
                .collect(engine="streaming")
            )
        counted: dict[str, dict[str, int]] = {path: {} for path in paths}
        target = self.location.target
        known = {f"{target}/{unquote(path)}": path for path in paths}
        for origin, token, rows in found.sort(PARTITION).iter_rows():
            counted[known[origin]][token] = rows
        return counted

    def _frame(
        self, schema: Schema, paths: Iterable[str], *, whose: bool = False, origin: str | None = None
    ) -> pl.LazyFrame:
        """The rows of some of the table's files, lazily, with the columns of the whole table (and their file's path).

        Polars' own reader of Delta tables takes the escapes in a path for its characters, and other columns for
        partition columns where a folder above the table has a name like ``a=b``.
        """
        columns = {name: dtype for name, dtype in pl.Schema(schema).items() if whose or name != PARTITION}
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


@dataclass(frozen=True)
class _Candidate:
    """What a table itself has to know of a candidate.

    Parameters:
        files: its files
        schema: its columns, as Delta names their types
        cut: how its rows are divided into files
        base: the version that the table had before; None: there was none
    """

    files: tuple[StagedFile, ...]
    schema: Schema
    cut: Cut
    base: int | None

    def staged(self, attempt: str) -> Staged:
        """It as others know it."""
        rows: dict[str | None, int] = {}
        size: dict[str | None, int] = {}
        for file in self.files:
            total = sum(file.rows.values())
            for token, count in file.rows.items():
                rows[token] = rows.get(token, 0) + count
                size[token] = size.get(token, 0) + round(file.size * count / total)
        return Staged(attempt, rows, size, self)

    def to_json(self) -> bytes:
        """It as it is written down, for whoever publishes it."""
        files = [[file.path, file.size, [*file.rows.items()], file.stats, file.written] for file in self.files]
        told = {"schema": self.schema.to_json(), "cut": self.cut.value, "base": self.base, "files": files}
        return json.dumps(told).encode()

    @classmethod
    def from_json(cls, told: bytes) -> _Candidate:
        """Read back what [to_json][] wrote."""
        found = json.loads(told)
        files = [StagedFile(path, size, dict(rows), stats, at) for path, size, rows, stats, at in found["files"]]
        return cls(tuple(files), Schema.from_json(found["schema"]), Cut(found["cut"]), found["base"])

    @property
    def partition_by(self) -> list[str] | None:
        """The columns by which Delta itself keeps files apart."""
        return [PARTITION] if self.cut is Cut.APART else None

    def action(self, file: StagedFile) -> AddAction:
        """What adds a file to a table."""
        values: dict[str, str | None] = {}
        if self.cut is Cut.APART:
            (values[PARTITION],) = file.rows
        return AddAction(file.path, file.size, values, file.written, True, file.stats)


@dataclass(frozen=True)
class _Change:
    """What a commit changes.

    Parameters:
        candidate: where its rows come from
        schema: the table's columns from then on
        adds: the files that come; removes: those that go, by their paths
    """

    candidate: _Candidate
    schema: Schema
    adds: tuple[StagedFile, ...]
    removes: frozenset[str] = frozenset()


def _candidate(staged: Staged) -> _Candidate:
    handle = staged.handle
    assert isinstance(handle, _Candidate)
    return handle


def _schema(columns: Mapping[str, Any]) -> Schema:
    """Columns as Delta names their types."""
    empty = pl.DataFrame(schema=columns).to_arrow(compat_level=pl.CompatLevel.oldest())
    return Schema.from_arrow(empty.schema)


def _stores_partition(table: DeltaTable) -> bool:
    """Whether a table keeps the partition's token as a column like any other: no asset has one of that name."""
    metadata = table.metadata()
    return not metadata.partition_columns and any(field.name == PARTITION for field in table.schema().fields)


def info_of(actions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a commit says of itself."""
    return next((action["commitInfo"] for action in actions if action.get("commitInfo")), {})


def is_of_others(info: Mapping[str, Any]) -> bool:
    """Whether a commit may have changed rows, by what it says of itself, and is none of ours."""
    return _META_PARTITIONS not in info and info.get("operation") not in _MAINTENANCE


def _mark(log: bytes | None) -> str:
    """What tells a commit from all others."""
    return "" if log is None else hashlib.blake2b(log, digest_size=16).hexdigest()


def _leaving(schema: Schema) -> dict[str, list[list[str]]]:
    """The columns that are no longer written, and the partitions whose rows still have them."""
    return {
        field.name: json.loads(leaving)
        for field in schema.fields
        if (leaving := field.metadata.get(_META_LEAVING)) is not None
    }


def _meets(ordered: Sequence[str], first: str, last: str) -> bool:
    """Whether one of some tokens in order lies between two."""
    at = bisect_left(ordered, first)
    return at < len(ordered) and ordered[at] <= last


def _among(starts: Sequence[str], ends: Sequence[str], first: str, last: str) -> bool:
    """Whether one of some intervals in order meets another one."""
    at = bisect_left(ends, first)
    return at < len(ends) and starts[at] <= last


def _inside(starts: Sequence[str], ends: Sequence[str], first: str, last: str) -> bool:
    """Whether one of some intervals in order has another one in it."""
    at = bisect_left(ends, first)
    return at < len(ends) and starts[at] <= first and last <= ends[at]


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


def _remove(root: Path, folder: str, used: Set[str]) -> None:
    """Remove the files below a folder that aren't in use, and then whatever folders are empty."""
    target = root / folder
    if not target.exists():
        return
    if not used:
        shutil.rmtree(target)
        return
    for here, _, names in os.walk(target, topdown=False):
        within = Path(here).relative_to(root).as_posix()
        unused = [name for name in names if f"{within}/{name}" not in used]
        for name in unused:
            Path(here, name).unlink(missing_ok=True)
        if len(unused) == len(names):
            _rmdir(Path(here))


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # something is in it
