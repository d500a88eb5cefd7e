"""Raw assets: files kept as their source sent them, and the list of them, which is the asset's table.

The files lie beside the table and are never changed; a row of the table tells of one of them. So a file is there for
readers from the very commit on that publishes its row, at a pinned version for as long as that is kept, and what is
true of every table (fence, record, quarantine, retention) is true of files.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import quote

import polars as pl

from lakehouse.errors import PartitionError, RowsOutsidePartitions, StepError, StorageError, WrongFrame
from lakehouse.io.files import Copy, RawFile, StoredContent, copied
from lakehouse.io.layout import landed_by, raw_file
from lakehouse.io.storage import cause
from lakehouse.io.tables import TableReader
from lakehouse.io.tokens import token
from lakehouse.partitions import Cron, Every, Hourly, Multi, Partitions, PartitionSet, TimePartitions, Unpartitioned
from lakehouse.redaction import redacted

NAME, SIZE, SHA256, ROWS = "name", "size", "sha256", "_rows"
PATH, SOURCE, EXTRACTED_AT, RUN = "_path", "_source", "_extracted_at", "_run_id"
SENT_SIZE, SENT_SHA256 = "_sent_size", "_sent_sha256"

COLUMNS: Final[Mapping[str, Any]] = {
    NAME: pl.String(),
    SIZE: pl.Int64(),
    SHA256: pl.String(),
    ROWS: pl.Int64(),
    SOURCE: pl.String(),
    EXTRACTED_AT: pl.Datetime("us", "UTC"),
    RUN: pl.String(),
    SENT_SIZE: pl.Int64(),
    SENT_SHA256: pl.String(),
    PATH: pl.String(),
}
"""Of the list of files, beside the columns of the partition. By name, size and digest alone is told what changed."""

_AT_ONCE = 8
"""Files that are written side by side."""


@final
@dataclass(frozen=True)
class Landing:
    """Files that were written beside a table, and that no reader sees yet.

    Parameters:
        rows: what the table is to say of them
        paths: where each lies that is new, by the token of its partition
    """

    rows: pl.LazyFrame
    paths: Mapping[str, tuple[str, ...]]


Kept = Mapping[tuple[str, str, str], str]
"""Where files lie that are kept already: the path of each by its partition's token, its name and its SHA-256."""


def kept(table: TableReader, partitions: PartitionSet, version: int, *, where: str) -> Kept:
    """The files that some partitions of a raw asset have at a version.

    Parameters:
        table: the table
        partitions: which ones
        version: the version
        where: the asset, for messages

    Raises:
        StorageError: the version is not there, or can't be read
    """
    rows = table.scan(partitions, version=version)
    if not {NAME, SHA256, PATH} <= set(rows.collect_schema()):
        return {}  # of before it kept files
    key = token(partitions.partitions, rows.collect_schema(), where=where)
    return {(t, n, d): path for t, n, d, path in rows.select(key.alias("t"), NAME, SHA256, PATH).collect().iter_rows()}


def land(
    table: TableReader,
    files: Iterable[tuple[PartitionSet, RawFile]],
    asked: PartitionSet,
    attempt: str,
    *,
    where: str,
    run: str,
    there: Kept | None = None,
) -> Landing:
    """Write files beside a table, as they are. What lies there already is not written once more.

    Parameters:
        table: the raw asset's table
        files: the files, each with the partitions that the function was asked for when it gave it
        asked: all partitions that the function was asked for
        attempt: what they are written as part of
        where: the asset, for messages
        run: the run that does it
        there: what the version has that publishing them is fenced against

    Raises:
        StepError: one that can't be kept, or whose content can't be read; nothing stays of all of them
        StorageError: one can't be written; the same
    """
    from obstore.store import LocalStore

    store = table.objects()
    on_disk = isinstance(store, LocalStore)  # which has no place for what an object says of itself
    taken: set[tuple[int, str]] = set()
    written: list[Future[dict[str, Any]]] = []
    under_way: set[Future[dict[str, Any]]] = set()

    def write(file: RawFile, copy: Copy | None, ordinal: int, path: str) -> dict[str, Any]:
        with copy or copied(file) as content:
            row = _row(file, asked.partitions, ordinal, path, content, run)
            before = (there or {}).get((asked.partitions.token(ordinal), file.name, content.sha256))
            if before is not None and _lies_there(store, before, content.size):
                return {**row, PATH: before}
            try:
                store.put(path, content.stream, attributes=None if on_disk else _attributes(row))
            except Exception as error:
                raise StorageError(f"writing {table.uri}/{path} failed: {cause(error)}") from error
        return row

    def settle(all_of_them: bool) -> None:
        nonlocal under_way
        while under_way and (all_of_them or len(under_way) >= _AT_ONCE):
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()

    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lakehouse-files")
    try:
        for called, file in files:
            ordinal = _ordinal(file, called, where)
            its = PartitionSet(asked.partitions, ((ordinal, ordinal + 1),))
            if its & asked and not its & called:
                raise RowsOutsidePartitions(
                    f"{where} was asked for {called} and returned the file {file.name!r} of {file.partition}"
                )
            path = raw_file(asked.partitions.token(ordinal), attempt, file.name)
            # Where names that differ in case alone are one, the second would replace the first.
            place = (ordinal, path.rpartition("/")[2].casefold())
            if place in taken:
                raise StepError(
                    f"{where} returned two files {file.name!r} of {asked.partitions.key(ordinal) or 'the same asset'}",
                    hint="give each a name of its own",
                )
            taken.add(place)
            # A stream is read before the function goes on: it may close it then.
            copy = None if isinstance(file.content, bytes | str | Path | StoredContent) else copied(file)
            written.append(pool.submit(write, file, copy, ordinal, path))
            under_way.add(written[-1])
            settle(False)
        settle(True)
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        stored = [one.result()[PATH] for one in written if _succeeded(one)]
        remove(table, [path for path in stored if landed_by(path) == attempt])
        raise
    finally:
        pool.shutdown(wait=True)
    paths: dict[str, tuple[str, ...]] = {}
    rows = sorted((one.result() for one in written), key=lambda row: str(row[PATH]))
    for row in rows:
        token_of = asked.partitions.token(row.pop("ordinal"))
        if landed_by(row[PATH]) == attempt:
            paths[token_of] = (*paths.get(token_of, ()), row[PATH])
    schema = {**partition_columns(asked.partitions), **COLUMNS}
    return Landing(pl.DataFrame(rows, schema=schema).lazy(), paths)


def with_own_files(table: TableReader, rows: pl.DataFrame, attempt: str) -> pl.DataFrame:
    """Rows of which none tells of another attempt's file, so that what is held back doesn't go with a version.

    Parameters:
        table: where the files are
        rows: what tells of them
        attempt: whose they are to be

    Raises:
        StorageError: a file can't be copied
    """
    store = table.objects()
    own: dict[str, str] = {}
    for path in rows[PATH]:
        if landed_by(path) != attempt:
            *folder, _, name = path.split("/")
            own[path] = "/".join([*folder, attempt, name])
            try:
                store.copy(path, own[path])
            except Exception as error:
                raise StorageError(f"copying {table.uri}/{path} failed: {cause(error)}") from error
    return rows.with_columns(pl.col(PATH).replace(own)) if own else rows


def remove(table: TableReader, paths: Collection[str]) -> None:
    """Remove files that were written beside a table; those that are gone already are passed over."""
    if paths:
        store = table.objects()
        for path in paths:
            try:
                store.delete(path)
            except FileNotFoundError:
                continue


def listed(table: TableReader, rows: pl.LazyFrame, partitions: Partitions, *, where: str) -> tuple[RawFile, ...]:
    """The files that some rows of a raw asset's table tell of, by partition and name.

    Parameters:
        table: the table
        rows: the rows
        partitions: how the asset is partitioned
        where: the asset, for messages
    """
    folder = _folder(table.uri)
    found: list[tuple[int, str, RawFile]] = []
    key = token(partitions, rows.collect_schema(), where=where)
    for row in rows.select(*COLUMNS, key.alias("token")).collect().iter_rows(named=True):
        ordinal = partitions.from_token(row["token"])
        content = StoredContent(
            f"{table.uri}/{row[PATH]}", table.objects, row[PATH], None if folder is None else folder / row[PATH]
        )
        file = RawFile(
            row[NAME],
            content,
            partitions.key(ordinal) or None,
            source=row[SOURCE],
            sha256=row[SHA256],
            size=row[SIZE],
            rows=row[ROWS],
            extracted_at=row[EXTRACTED_AT],
            run=row[RUN],
            version=row[SHA256],
        )
        found.append((ordinal, row[NAME], file))
    return tuple(file for _, _, file in sorted(found, key=lambda one: one[:2]))


def values(partitions: Partitions, ordinal: int) -> dict[str, Any]:
    """What the partition columns hold of a partition, as a frame would have it.

    Parameters:
        partitions: how the asset is partitioned
        ordinal: the partition

    Examples:
        >>> from lakehouse.partitions import Daily
        >>> daily = Daily("2013-01-01", column="date")
        >>> values(daily, daily.parse("2013-01-31"))
        {'date': datetime.date(2013, 1, 31)}
    """
    match partitions:
        case Unpartitioned():
            return {}
        case Multi():
            sides = [values(field.partitions, field.take(ordinal)) for field in partitions.fields]
            return {name: value for side in sides for name, value in side.items()}
        case Hourly() | Every() | Cron():
            return {str(partitions.columns[0]): partitions.instant(ordinal).astimezone(UTC)}
        case TimePartitions():
            return {str(partitions.columns[0]): partitions.moments(ordinal, ordinal + 1)[0].date()}
        case _:
            return {str(partitions.columns[0]): partitions.key(ordinal)}


def partition_columns(partitions: Partitions) -> dict[str, Any]:
    """The types of what [values][] makes.

    Parameters:
        partitions: how the asset is partitioned
    """
    match partitions:
        case Unpartitioned():
            return {}
        case Multi():
            return {n: dtype for field in partitions.fields for n, dtype in partition_columns(field.partitions).items()}
        case Hourly() | Every() | Cron():
            return {str(partitions.columns[0]): pl.Datetime("us", "UTC")}
        case TimePartitions():
            return {str(partitions.columns[0]): pl.Date()}
        case _:
            return {str(partitions.columns[0]): pl.String()}


def each(files: Any, *, where: str) -> Iterator[RawFile]:
    """The files that a raw asset's function returned, one by one.

    Parameters:
        files: what it returned
        where: the asset, for messages

    Raises:
        WrongFrame: it is no file, or has no name
    """
    if isinstance(files, RawFile):
        files = [files]
    if files is None or isinstance(files, str | bytes | Mapping) or not isinstance(files, Iterable):
        raise WrongFrame(
            f"{where} returned {type(files).__name__}; it promises RawFiles",
            hint="yield a RawFile for each file, or return a list of them",
        )
    for file in files:
        if not isinstance(file, RawFile):
            raise WrongFrame(f"{where} yielded {type(file).__name__}, which is no RawFile")
        if not file.name:
            raise WrongFrame(f"{where} yielded a file without a name")
        yield file


def _ordinal(file: RawFile, asked: PartitionSet, where: str) -> int:
    partitions = asked.partitions
    if file.partition is None or isinstance(partitions, Unpartitioned):
        if len(asked) != 1:
            raise StepError(
                f"{where} was asked for {asked}, and the file {file.name!r} doesn't say which partition it belongs to",
                hint="RawFile(name, content, partition)",
            )
        return next(iter(asked.ordinals()))
    try:
        return partitions.parse(file.partition)
    except PartitionError as error:
        raise StepError(
            f"{where}: the file {file.name!r} belongs to no partition: {error.message}", hint=error.hint
        ) from None


def _row(file: RawFile, partitions: Partitions, ordinal: int, path: str, content: Copy, run: str) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
        **values(partitions, ordinal),
        NAME: file.name,
        SIZE: content.size,
        SHA256: content.sha256,
        ROWS: file.rows,
        SOURCE: redacted(file.source or file.uri),
        EXTRACTED_AT: file.extracted_at or datetime.now(UTC),
        RUN: run,
        SENT_SIZE: file.size,
        SENT_SHA256: file.sha256.lower() or None,
        PATH: path,
    }


def _attributes(row: Mapping[str, Any]) -> Any:
    """What an object says of itself, to whoever finds it without its table. HTTP headers hold ASCII alone."""
    kind, packed = mimetypes.guess_type(row[NAME])
    said = {"source": row[SOURCE], "run": row[RUN], "sha256": row[SHA256], "rows": row[ROWS]}
    said["extracted-at"] = row[EXTRACTED_AT].isoformat(timespec="seconds")
    found = {f"lakehouse-{name}": quote(str(v), safe=" :/+-_.~") for name, v in said.items() if v is not None}
    return {"Content-Type": "application/octet-stream" if packed else kind or "application/octet-stream", **found}


def _lies_there(store: Any, path: str, size: int) -> bool:
    """Whether a file that was landed before is there, whatever its table says."""
    try:
        return bool(store.head(path)["size"] == size)
    except FileNotFoundError:
        return False


def _succeeded(one: Future[Any]) -> bool:
    return one.done() and not one.cancelled() and one.exception() is None


def _folder(uri: str) -> Path | None:
    return Path(uri.removeprefix("file://")) if uri.startswith("file://") else None
