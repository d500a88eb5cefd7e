"""How the files of a raw asset are read as rows: lazily, one file after the other, wherever and however they lie."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

from lakehouse.errors import (
    DefinitionError,
    LakehouseError,
    SchemaViolation,
    StepError,
    describe,
    panics_raised,
    shorten,
)
from lakehouse.io.files import RawFile
from lakehouse.io.tables import PARTITION
from lakehouse.partitions import Partitions

if TYPE_CHECKING:
    import polars as pl

_TWICE = re.compile(r"_duplicated_\d+$")
"""How polars calls a column that bears the name of one before it."""

Columns = Mapping[str, Any]
"""Names of columns, with the types that they are wanted as."""


@runtime_checkable
class Reader(Protocol):
    """Reads files of one kind. It stands in an annotation, ``Annotated[pl.LazyFrame, Model, Csv()]``."""

    def scan_file(self, path: Path, columns: Columns | None, known: Collection[str]) -> pl.LazyFrame:
        """The rows of a file on this machine, lazily; it is no archive any more.

        Parameters:
            path: where it lies
            columns: the columns that are wanted and their types; None: it is not said which. Those that the file
                doesn't have are left out, and it may have more
            known: columns whose values are known without the file, for the case that it doesn't have them
        """
        ...


@final
@dataclass(frozen=True)
class Csv:
    """Reads files of comma-separated values. Types are those of the contract; without one, all is text.

    Parameters:
        separator: what stands between two values
        quote: what stands around a value that holds a separator; None: nothing does
        null_values: what stands for a missing value, besides nothing at all
        header: whether the first line names the columns; if not, the contract does, in their order
        skip_lines: lines before that
        comment: what a line begins with that is none
        encoding: ``"utf8"``, or ``"utf8-lossy"`` where what isn't is to be replaced

    Examples:
        >>> from typing import Annotated
        >>> import polars as pl
        >>> def orders(raw_orders: Annotated[pl.LazyFrame, Csv(null_values=("NA",))]) -> pl.LazyFrame: ...
    """

    separator: str = ","
    quote: str | None = '"'
    null_values: tuple[str, ...] = ()
    header: bool = True
    skip_lines: int = 0
    comment: str | None = None
    encoding: str = "utf8"

    def scan_file(self, path: Path, columns: Columns | None, known: Collection[str]) -> pl.LazyFrame:
        """The rows of a file; see [Reader.scan_file][]."""
        import polars as pl

        if not self.header and columns is None:
            raise DefinitionError(
                "files without a header can't be read without a contract, which names their columns in order",
                hint="Annotated[pl.LazyFrame, Model, Csv(header=False)]",
            )
        given: dict[str, Any] = {
            "separator": self.separator,
            "quote_char": self.quote,
            "null_values": list(self.null_values) or None,
            "has_header": self.header,
            "skip_lines": self.skip_lines,
            "comment_prefix": self.comment,
            "encoding": self.encoding,
            "glob": False,
        }
        wanted = columns or {}
        names = pl.scan_csv(path, infer_schema=False, **given).collect_schema().names()
        if not self.header:
            # What is told of a file begins with an underscore and stands in none.
            names = [name for name in wanted if name not in known or not name.startswith("_")][: len(names)]
        twice = next((name for name in names if (first := _TWICE.sub("", name)) != name and first in names), None)
        if twice is not None:
            raise ValueError(f"two columns are named {_TWICE.sub('', twice)!r}")
        plain = {name: wanted[name] if _is_plain(wanted.get(name)) else pl.String for name in names}
        return _typed(pl.scan_csv(path, schema=plain, **given), wanted)


@final
@dataclass(frozen=True)
class JsonLines:
    """Reads files that hold a JSON object in each line. The contract says which of its fields are wanted, and as what.

    Examples:
        >>> from typing import Annotated
        >>> import polars as pl
        >>> def orders(raw_orders: Annotated[pl.LazyFrame, JsonLines()]) -> pl.LazyFrame: ...
    """

    def scan_file(self, path: Path, columns: Columns | None, known: Collection[str]) -> pl.LazyFrame:
        """The rows of a file; see [Reader.scan_file][]."""
        import json

        import polars as pl

        if columns is None:
            raise DefinitionError(
                "JSON lines can't be read without a contract, for what a file holds would be guessed from its rows",
                hint="Annotated[pl.LazyFrame, Model, JsonLines()]",
            )
        with path.open("rb") as stream:
            line = next((line for line in stream if line.strip()), b"")
        if not line:
            return pl.LazyFrame(schema=dict(columns))
        first = json.loads(line)
        if not isinstance(first, dict):
            raise ValueError(f"its first line holds no object, but {line[:40]!r}")
        there = {name: dtype for name, dtype in columns.items() if name in first or name not in known}
        nested = (pl.List, pl.Struct, pl.Array)
        plain = {n: d if _is_plain(d) or (d is not None and d in nested) else pl.String for n, d in there.items()}
        return _typed(pl.scan_ndjson(path, schema=plain or None), columns)


@final
@dataclass(frozen=True)
class Parquet:
    """Reads Parquet files. A column that the file has as another type than the contract is refused.

    Examples:
        >>> from typing import Annotated
        >>> import polars as pl
        >>> def orders(raw_orders: Annotated[pl.LazyFrame, Parquet()]) -> pl.LazyFrame: ...
    """

    def scan_file(self, path: Path, columns: Columns | None, known: Collection[str]) -> pl.LazyFrame:
        """The rows of a file; see [Reader.scan_file][]."""
        import polars as pl

        return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def scan_files(
    files: Sequence[RawFile],
    reader: Reader,
    partitions: Partitions,
    contract: Columns | None,
    *,
    where: str,
) -> pl.LazyFrame:
    """The rows of files, lazily: one file after the other, each named where it can't be read.

    Where a file lacks a partition column, that of the partition that it belongs to stands in its place. ``_file``,
    ``_source``, ``_extracted_at`` and ``_run_id``, where the contract names them, tell where a row came from.

    Parameters:
        files: the files
        reader: how they are read
        partitions: how they are partitioned
        contract: the columns that are wanted, with their types; None: those of the first file
        where: the asset that keeps them, for messages
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    from lakehouse.io.columns import columns as exactly
    from lakehouse.io.frames import batches

    wanted = None if contract is None else {name: dtype or pl.String() for name, dtype in contract.items()}
    places = _Provided(partitions)

    def one(file: RawFile, path: Path) -> pl.LazyFrame:
        known = places.of(file, wanted)
        return _completed(reader.scan_file(path, wanted, [*known]), known, wanted)

    def rows(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for file in files:
            with _naming(file, where), unpacked(file) as paths:
                for path in paths:
                    frame = one(file, path)
                    if found := _differences(frame.collect_schema(), schema, exact=wanted is None):
                        raise SchemaViolation(found)
                    frame = frame.select(exactly(schema))
                    frame = frame if predicate is None else frame.filter(predicate)
                    frame = frame if with_columns is None else frame.select(exactly(with_columns))
                    for batch in batches(frame if left is None else frame.head(left)):
                        left = None if left is None else left - batch.height
                        yield batch
                    if left == 0:
                        return

    if wanted is not None:
        schema = pl.Schema(wanted)
    elif files:
        with _naming(files[0], where), unpacked(files[0]) as paths:
            schema = next((one(files[0], path).collect_schema() for path in paths), pl.Schema())
    else:
        schema = pl.Schema(places.types)
    return register_io_source(rows, schema=schema)


@contextmanager
def unpacked(file: RawFile) -> Iterator[Iterator[Path]]:
    """What is in a file, on this machine: itself; or what it packs, where its name ends in .gz, .bz2, .xz or .zip.

    Parameters:
        file: the file
    """
    # What was unpacked goes with it, wherever whoever reads it stops.
    with file.on_disk() as path, closing(_unpacked(path, file.name)) as paths:
        yield paths


def _unpacked(path: Path, name: str) -> Generator[Path]:
    ending = Path(name).suffix.lower()
    if ending == ".zip":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                # Apple's archives hold what is no file of the user's.
                if member.is_dir() or member.filename.startswith("__MACOSX/"):
                    continue
                with _copied(lambda member=member: archive.open(member), member.filename) as copy:  # type: ignore[misc]
                    yield from _unpacked(copy, member.filename)
    elif ending in _PACKED:
        with _copied(lambda: _PACKED[ending](path, "rb"), name) as copy:
            yield copy
    else:
        yield path


_PACKED: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@contextmanager
def _copied(opens: Callable[[], Any], name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lakehouse-") as folder:
        path = Path(folder, f"file{Path(name).suffix[-20:]}")
        with opens() as stream, path.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1024 * 1024)
        yield path


class _Provided:
    """What is known of a file's rows without reading them."""

    def __init__(self, partitions: Partitions) -> None:
        from lakehouse.io.raw import partition_columns

        self.partitions = partitions
        self.types = partition_columns(partitions)

    def of(self, file: RawFile, wanted: Columns | None) -> dict[str, tuple[Any, Any]]:
        """Columns that are known of a file, each with the value of all of its rows, and that one's type."""
        import polars as pl

        from lakehouse.io.raw import values

        ordinal = 0 if file.partition is None else self.partitions.parse(file.partition)
        known = {name: (value, self.types[name]) for name, value in values(self.partitions, ordinal).items()}
        if wanted is None:
            return known
        known |= {
            "_file": (file.name, pl.String()),
            "_source": (file.source, pl.String()),
            "_extracted_at": (file.extracted_at, pl.Datetime("us", "UTC")),
            "_run_id": (file.run, pl.String()),
            PARTITION: (self.partitions.token(ordinal), pl.String()),
        }
        return {name: told for name, told in known.items() if name in wanted}


def _completed(rows: pl.LazyFrame, known: Mapping[str, tuple[Any, Any]], wanted: Columns | None) -> pl.LazyFrame:
    """The rows of a file, with what is known of it where it doesn't have the column itself."""
    import polars as pl

    from lakehouse.io.frames import restore

    there = rows.collect_schema()
    missing = {name: told for name, told in known.items() if name not in there}
    rows = rows.with_columns(pl.lit(value, dtype=dtype).alias(name) for name, (value, dtype) in missing.items())
    return restore(rows, {name: wanted[name] for name in missing} if wanted is not None else {})


@contextmanager
def _naming(file: RawFile, where: str) -> Iterator[None]:
    """Say which file it was that could not be read."""
    try:
        with panics_raised():
            yield
    except (DefinitionError, GeneratorExit):
        raise
    except Exception as error:
        if isinstance(error, LakehouseError) and not isinstance(error, StepError):
            raise
        which = f"{where} {file.partition}" if file.partition is not None else where
        # Polars goes on with advice about its own options.
        said = describe(error).strip().partition("\n")[0]
        raise StepError(
            f"{which}: the file {file.name!r} can't be read: {said}",
            hint="land it again, or correct how it is read",
        ) from error


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any], *, exact: bool) -> str:
    absent = [name for name in wanted if name not in there]
    if absent:
        return f"it has no column {shorten([repr(name) for name in absent])}; it has {shorten(there)}"
    more = [name for name in there if name not in wanted]
    if more and exact:
        return f"it has the columns {shorten(more)}, which the first file doesn't have"
    other = [f"{name!r} as {there[name]}, wanted is {dtype}" for name, dtype in wanted.items() if there[name] != dtype]
    return f"it has {shorten(other)}" if other else ""


def _is_plain(dtype: Any) -> bool:
    """Whether polars' own parsers make values of a type."""
    import polars as pl

    return dtype is not None and bool(
        dtype in (pl.String, pl.Boolean) or (dtype.is_numeric() and not dtype.is_decimal())
    )


def _typed(rows: pl.LazyFrame, columns: Columns) -> pl.LazyFrame:
    """Text as the types that parsers don't make themselves."""
    import polars as pl

    from lakehouse.io.columns import column as exactly

    def parsed(name: str, dtype: Any) -> pl.Expr:
        column = exactly(name)
        if isinstance(dtype, pl.Datetime):
            zone = dtype.time_zone
            found = column.str.to_datetime(time_unit=dtype.time_unit, time_zone="UTC" if zone else None, strict=True)
            return found.dt.convert_time_zone(zone) if zone else found
        if dtype == pl.Date:
            return column.str.to_date("%Y-%m-%d", strict=True)
        if dtype == pl.Time:
            return column.str.to_time(strict=True)
        return column.cast(dtype, strict=True)

    stored = rows.collect_schema()
    other = {n: d for n, d in columns.items() if n in stored and d is not None and stored[n] != d}
    return rows.with_columns(parsed(name, dtype) for name, dtype in other.items())
