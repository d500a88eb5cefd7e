"""Between tables and Spark: rows change hands as Parquet files, of which both ends are told the columns.

Spark's schemas and those of a Delta log are one and the same text, so no type is guessed, and none is mapped by hand.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote
from uuid import uuid4

from lakehouse.errors import ComputeError, SchemaViolation, StepError, WrongFrame
from lakehouse.interrupts import next_of
from lakehouse.io.scratch import Scratch
from lakehouse.io.spark import SAME_EVERYWHERE, spark_session
from lakehouse.io.tables import PARTITION, PinnedRows, Table, TableReader
from lakehouse.io.tokens import spans
from lakehouse.partitions import PartitionSet

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql import DataFrame, SparkSession

_TYPES: Final = re.compile(
    r"string|long|integer|short|byte|float|double|boolean|binary|date|timestamp|timestamp_ntz|decimal\(\d+, ?\d+\)"
)
_GLOB: Final = re.compile(r"([\\*?{}\[\]])")
_COPIES: Final = 8


# ── what a function is given ──────────────────────────────────────────────────────────────


def pinned_to_spark(table: TableReader, pinned: PinnedRows, scratch: Scratch) -> DataFrame:
    """Rows that were pinned as a Spark frame, with the types that they are stored as.

    Parameters:
        table: the table
        pinned: its rows
        scratch: where copies of files may be put that Spark can't reach by itself
    """
    from pyspark.sql.types import StructType

    session = spark_session()
    stored = json.loads(pinned.columns)
    columns = StructType.fromJson({**stored, "fields": [f for f in stored["fields"] if f["name"] != PARTITION]})
    frames = []
    if pinned.files:
        frames.append(session.read.schema(columns).parquet(*_reachable(session, table, pinned.files, scratch)))
    if pinned.shared and pinned.partitions is not None:
        every = session.read.schema(StructType.fromJson(stored))
        rows = every.parquet(*_reachable(session, table, pinned.shared, scratch))
        frames.append(rows.filter(_within(pinned.partitions)).drop(PARTITION))
    if not frames:
        return session.createDataFrame([], columns)
    return frames[0] if len(frames) == 1 else frames[0].unionByName(frames[1])


def to_spark(frame: pl.LazyFrame, scratch: Scratch) -> DataFrame:
    """A lazy frame as a Spark frame, with the types that it would be stored as.

    Parameters:
        frame: what to give
        scratch: where it is put down

    Raises:
        ComputeError: Spark runs on several machines, and there is no place that all of them see
    """
    from datetime import UTC, datetime

    from lakehouse.partitions import Unpartitioned

    table, whole = _place(spark_session(), scratch), Unpartitioned().all(datetime.now(UTC))
    table.publish(table.stage(frame, "given"), whole, payload="", since=None)
    pinned = table.pinned()
    assert pinned is not None
    return pinned_to_spark(table, pinned, scratch)


def _within(partitions: PartitionSet) -> Any:
    """True for the rows of some partitions."""
    from pyspark.sql import functions

    token = functions.col(PARTITION)
    pairs = spans(partitions)
    single = [first for first, last in pairs if first == last]
    found = token.isin(single)
    for first, last in pairs:
        if first != last:
            found = found | token.between(first, last)
    return found


def _reachable(session: SparkSession, table: TableReader, paths: tuple[str, ...], scratch: Scratch) -> list[str]:
    """Where Spark finds files of a table: where they lie, if it can read there; else copies on this machine."""
    plain = [unquote(path) for path in paths]
    scheme = table.uri.partition("://")[0]
    if scheme == "file" or _reads(session, scheme) or not _alone(session):
        return [_GLOB.sub(r"\\\1", f"{table.uri}/{path}") for path in plain]
    folder = Path(scratch.near().uri.removeprefix("file://"))
    folder.mkdir(parents=True)
    store = table.objects()

    def copy(numbered: tuple[int, str]) -> str:
        number, path = numbered
        target = folder / f"{number}.parquet"
        with target.open("wb") as file:
            for piece in store.get(path):
                file.write(piece)
        return str(target)

    with ThreadPoolExecutor(_COPIES, thread_name_prefix="lakehouse-copies") as pool:
        return list(pool.map(copy, enumerate(plain)))


def _reads(session: SparkSession, scheme: str) -> bool:
    """Whether Spark knows how files of a scheme are read: on Glue it does; as it comes from PyPI it knows no S3."""
    from py4j.protocol import Py4JJavaError

    jvm, java = session.sparkContext._jvm, session.sparkContext._jsc
    assert jvm is not None
    try:
        jvm.org.apache.hadoop.fs.FileSystem.getFileSystemClass(scheme, java.hadoopConfiguration())
    except Py4JJavaError:
        return False
    return True


# ── what it returned ──────────────────────────────────────────────────────────────────────


def from_spark(frame: DataFrame, scratch: Scratch, promised: Mapping[str, Any], *, where: str) -> pl.LazyFrame:
    """Have Spark compute a frame, and read what it made; with the promised types, where Spark has no word for them.

    Parameters:
        frame: the Spark frame
        scratch: where it is put down
        promised: the types that columns are promised to have
        where: the asset, for messages

    Raises:
        WrongFrame: a column that bears a name of the library's own
        SchemaViolation: a column of a type that tables don't have
        StepError: the session has a zone of its own
        ComputeError: Spark runs on several machines, and there is no place that all of them see
    """
    from lakehouse.io.frames import restore

    columns = _columns(frame, where)
    session = frame.sparkSession
    zone = session.conf.get("spark.sql.session.timeZone")
    if zone != "UTC":
        raise StepError(
            f"{where} was made in a Spark session whose zone is {zone}, so that its rows depend on where it ran",
            hint='take the session of lakehouse.io.spark_session(), or set "spark.sql.session.timeZone" to "UTC"',
        )
    for name, value in SAME_EVERYWHERE.items():
        if name.startswith("spark.sql.parquet."):
            session.conf.set(name, value)
    table = _place(session, scratch)
    _computing(session, lambda: frame.write.mode("errorifexists").parquet(table.uri))
    listed = (str(one["path"]) for page in table.objects().list() for one in page)
    files = tuple(sorted(path for path in listed if path.endswith(".parquet")))
    made = table.read(PinnedRows(None, columns, files))
    return restore(made, dict(_held_as_they_are(promised, made.collect_schema())))


def _held_as_they_are(promised: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The promised types of columns that have the types which tables hold those as."""
    from lakehouse.io.types import as_stored, held

    for name, dtype in promised.items():
        if dtype is None or name not in there:
            continue
        kept = held(dtype() if isinstance(dtype, type) else dtype)
        if kept is not None and as_stored(kept) == there[name]:
            yield name, dtype


def _columns(frame: DataFrame, where: str) -> str:
    """A frame's columns, as a Delta log has them."""
    written = json.loads(frame.schema.json())
    for field in written["fields"]:
        if field["name"] == PARTITION:
            raise WrongFrame(f"{where} returned a column {PARTITION!r}, which is the library's own")
        odd = next((one for one in _leaves(field["type"]) if not _TYPES.fullmatch(one)), None)
        if odd is not None:
            raise SchemaViolation(
                f"the column {field['name']!r} of {where} is of Spark's type {odd}, which tables can't hold",
                hint='cast it, for example .cast("string") or .cast("long")',
            )
        field["metadata"] = {}
    return json.dumps(written)


def _leaves(kind: Any) -> Iterator[str]:
    """The types that a type is made of."""
    if isinstance(kind, str):
        yield kind
        return
    match kind["type"]:
        case "array":
            yield from _leaves(kind["elementType"])
        case "map":
            yield from itertools.chain(_leaves(kind["keyType"]), _leaves(kind["valueType"]))
        case "struct":
            yield from itertools.chain.from_iterable(_leaves(field["type"]) for field in kind["fields"])
        case _:
            yield str(kind["type"])


def _place(session: SparkSession, scratch: Scratch) -> Table:
    """Where a frame is put down: on this machine, if Spark runs on it alone."""
    found = scratch.near() if _alone(session) else scratch.far()
    if found is None:
        raise ComputeError(
            "Spark runs on several machines, and there is no place that all of them see",
            hint="keep tables on S3, or in a folder that all machines have",
        )
    return found


def _alone(session: SparkSession) -> bool:
    """Whether Spark runs on this machine alone."""
    return str(session.sparkContext.master).startswith("local")


def _computing(session: SparkSession, compute: Callable[[], object]) -> None:
    """Compute so that Ctrl-C is heard, and that what nobody waits for any more is ended."""
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    group = uuid4().hex
    context = session.sparkContext

    def run() -> None:
        try:
            context.setJobGroup(group, "lakehouse", interruptOnCancel=True)
            compute()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=run, name="lakehouse-spark", daemon=True).start()
    try:
        error = next_of(ended)
    except BaseException:
        with suppress(Exception):
            context.cancelJobGroup(group)
        raise
    if error is not None:
        raise error
