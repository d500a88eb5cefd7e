"""Between the frame that a function wants, or returns, and the lazy frame that everything here speaks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import copy_context
from queue import Full, Queue
from typing import Any

import polars as pl

from lakehouse.errors import DefinitionError, WrongFrame, panics_raised
from lakehouse.interrupts import next_of
from lakehouse.io.arrow import from_arrow
from lakehouse.io.columns import column
from lakehouse.io.pandas_frames import from_pandas, to_pandas
from lakehouse.io.relations import arrow_table, own_connection
from lakehouse.io.scratch import Scratch

_FAREWELL = 5.0
"""Seconds that rows nobody wants any more may still be computed, at most."""

_BATCH = 50_000
"""Rows of a batch. Polars' own are of a few hundred where files are small, and each would be handled by itself."""

_KINDS = (
    "pl.LazyFrame, pl.DataFrame, pa.Table, pa.RecordBatchReader, duckdb.DuckDBPyRelation, pd.DataFrame or "
    "pyspark.sql.DataFrame"
)


def kind(annotation: Any) -> str:
    """Name the kind of frame that an annotation asks for; ``lazy`` where it says nothing.

    Parameters:
        annotation: a type, or None

    Raises:
        DefinitionError: a type that can't be given

    Examples:
        >>> kind(pl.DataFrame)
        'eager'
    """
    if annotation is None or annotation is Any:
        return "lazy"
    types = getattr(annotation, "__mro__", ())
    if any(t.__module__.startswith("pyspark.sql.") and t.__name__ == "DataFrame" for t in types):
        return "spark"
    names = {f"{t.__module__.partition('.')[0]}.{t.__name__}" for t in types}
    kinds = {
        "lazy": {"polars.LazyFrame"},
        "eager": {"polars.DataFrame"},
        "arrow": {"pyarrow.Table"},
        "reader": {"pyarrow.RecordBatchReader"},
        "duckdb": {"duckdb.DuckDBPyRelation", "_duckdb.DuckDBPyRelation"},
        "pandas": {"pandas.DataFrame"},
    }
    for found, expected in kinds.items():
        if names & expected:
            return found
    raise DefinitionError(f"{annotation!r} is no kind of frame that can be loaded; there are {_KINDS}")


def give(frame: pl.LazyFrame, annotation: Any, scratch: Scratch | None = None) -> Any:
    """Turn a lazy frame into what a function's parameter asks for.

    Parameters:
        frame: the lazy frame
        annotation: the parameter's type
        scratch: where frames for Spark are put down

    Raises:
        DefinitionError: a type that can't be given
    """
    match kind(annotation):
        case "lazy":
            return frame
        case "eager":
            return frame.collect()
        case "arrow":
            return frame.collect().to_arrow()
        case "reader":
            return ArrowStream(frame).reader()
        case "duckdb":
            return own_connection().from_arrow(ArrowStream(frame))
        case "spark":
            from lakehouse.io.spark_frames import to_spark

            assert scratch is not None
            return to_spark(frame, scratch)
        case _:
            return to_pandas(frame.collect())


def take(
    value: Any, *, where: str, scratch: Scratch | None = None, promised: Mapping[str, Any] | None = None
) -> pl.LazyFrame:
    """Turn what a function returned into a lazy frame.

    Parameters:
        value: the returned value
        where: the asset, for messages
        scratch: where frames of Spark are put down
        promised: the types that columns are promised to have: Spark has no word for some

    Raises:
        WrongFrame: it is no frame, or has what tables don't have: an index
        SchemaViolation: a column whose values would not be what they were
    """
    if isinstance(value, pl.LazyFrame):
        return value
    if isinstance(value, pl.DataFrame):
        return value.lazy()
    if _is(value, "duckdb", "DuckDBPyRelation"):
        return from_arrow(arrow_table(value, where=where), where=where).lazy()
    if _is(value, "pyarrow", "RecordBatchReader"):
        value = value.read_all()  # polars can't take a reader without batches
    if _is(value, "pyarrow", "Table"):
        return from_arrow(value, where=where).lazy()
    if _is(value, "pandas", "DataFrame"):
        return from_pandas(value, where=where).lazy()
    if scratch is not None and _is(value, "pyspark.sql", "DataFrame"):
        from lakehouse.io.spark_frames import from_spark

        return from_spark(value, scratch, promised or {}, where=where)
    raise WrongFrame(
        f"{where} returned {type(value).__name__}, which is no frame",
        hint=f"return {_KINDS}" if value is not None else f"the function ends without a return; return {_KINDS}",
    )


def _is(value: Any, module: str, name: str) -> bool:
    found = getattr(sys.modules.get(module), name, None)
    return found is not None and isinstance(value, found)


class ArrowStream:
    """A lazy frame as a stream of Arrow record batches, so that it is never whole in memory.

    Parameters:
        frame: what to stream; it is computed while it is read
        each: what is done with each piece

    Examples:
        >>> ArrowStream(pl.LazyFrame({"a": [1, 2]})).reader().read_all().num_rows
        2
    """

    def __init__(self, frame: pl.LazyFrame, each: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows) -> None:
        self.frame = frame
        self.each = each
        self.error: Exception | None = None
        """What the computation raised. Whoever reads the stream gets to see it only through several layers."""

    def reader(self) -> Any:
        """A new pyarrow RecordBatchReader."""
        import pyarrow as pa

        schema = self._schema()
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def __arrow_c_schema__(self) -> object:
        return self._schema().__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        # Arrow's protocol for what can be read again and again, which a reader can't.
        return self.reader().__arrow_c_stream__(requested_schema)

    def _schema(self) -> Any:
        return self.each(pl.DataFrame(schema=self.frame.collect_schema())).to_arrow().schema

    def _batches(self, schema: Any) -> Iterator[Any]:
        try:
            for batch in batches(self.frame):
                yield from self.each(batch).to_arrow().cast(schema).to_batches()
        except Exception as error:
            self.error = error
            raise


def unused(name: str, columns: Iterable[str]) -> str:
    """A name for a column of the library's own, which no column of a person's has: with underscores before it.

    Examples:
        >>> unused("_file", ["a"]), unused("_file", ["_file"])
        ('_file', '__file')
    """
    taken = set(columns)
    while name in taken:
        name = f"_{name}"
    return name


def batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows of a frame in their order, piece by piece, while they are computed.

    Polars' own ``collect_batches`` ends early and without a word where its engine panics.

    Raises:
        Exception: computing them raised; a panic too is an ``Exception`` here

    Examples:
        >>> [batch.height for batch in batches(pl.LazyFrame({"a": [1, 2]}))]
        [2]
    """
    ready: Queue[pl.DataFrame | BaseException | None] = Queue(maxsize=1)
    unwanted = threading.Event()

    def offer(what: pl.DataFrame | BaseException | None) -> bool:
        while not unwanted.is_set():
            with suppress(Full):
                ready.put(what, timeout=0.1)
                return False
        return True  # stop computing

    def compute() -> None:
        try:
            with panics_raised():
                frame.sink_batches(offer, chunk_size=_BATCH, maintain_order=True)
        except BaseException as error:
            offer(error)
        else:
            offer(None)

    thread = threading.Thread(target=copy_context().run, args=(compute,), name="lakehouse-rows", daemon=True)
    thread.start()
    try:
        while (found := next_of(ready)) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        unwanted.set()
        # Not left behind: a process that ends meanwhile would be aborted. But a function that hangs isn't waited for.
        thread.join(_FAREWELL)


def restore(frame: pl.LazyFrame, dtypes: Mapping[str, Any]) -> pl.LazyFrame:
    """Give columns back the types that storage has no word for (unsigned integers, categories, time zones).

    Parameters:
        frame: as it was read
        dtypes: the type that each column should have; None, or a column that isn't there, is passed over
    """
    stored = frame.collect_schema()
    casts = {
        name: dtype
        for name, dtype in dtypes.items()
        if dtype is not None and name in stored and stored[name] != dtype and not abstract(dtype)
    }
    zones = {
        name: dtype
        for name, dtype in casts.items()
        if isinstance(dtype, pl.Datetime) and isinstance(stored[name], pl.Datetime) and dtype.time_zone
    }
    return frame.with_columns(
        column(name).dt.convert_time_zone(dtype.time_zone).dt.cast_time_unit(dtype.time_unit)
        if name in zones
        else column(name).cast(dtype)
        for name, dtype in casts.items()
    )


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """How columns that are written differ from those of the same name that are there, in words; nothing: they don't.

    Parameters:
        old: the types of the columns that are there
        new: those that are written

    Examples:
        >>> changes({"a": pl.Int64, "N": pl.Int64}, {"a": pl.String, "n": pl.Int64, "b": pl.Date})
        ["'a' as Int64; this step writes it as String", "'N'; this step writes it as 'n'"]
    """
    # Tables take names that differ in case alone for the same.
    spelt = {name.lower(): name for name in old}
    return [
        f"{name!r} as {old[name]}; this step writes it as {dtype}"
        if name in old
        else f"{spelt[name.lower()]!r}; this step writes it as {name!r}"
        for name, dtype in new.items()
        if name.lower() in spelt and (name not in old or old[name] != dtype)
    ]


def abstract(dtype: Any) -> bool:
    """A type that names a family (``pl.Datetime`` without its unit) and so nothing to cast to."""
    return isinstance(dtype, type) and issubclass(dtype, pl.Datetime | pl.Duration | pl.Decimal | pl.List | pl.Struct)
