"""The checks of assets that keep files as they were sent.

Their rows are the list of the files, so that [row_count][lakehouse.checks.row_count] counts files, and any other check
may look at ``name``, ``size`` and ``sha256``. What has to look into a file is a [FileCheck][].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, final, overload

import polars as pl

from lakehouse.checks.library import Check, FrameCheck, expression
from lakehouse.definitions.former import Dump
from lakehouse.definitions.schema import Schema
from lakehouse.errors import DefinitionError, LakehouseError, StepError, describe, panics_raised, shorten
from lakehouse.io import RawFile, Reader, TableReader
from lakehouse.io.raw import NAME, PATH, SENT_SHA256, SENT_SIZE, SHA256, SIZE, listed
from lakehouse.io.readers import scan_files
from lakehouse.partitions import Partitions

FileFunction = Callable[[RawFile], Any]
"""Given a file, it raises or returns ``False`` where the file fails."""


@final
@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """A check that looks into each file. Built by [parses][] and [each_file][].

    Parameters:
        name: what it is called in results
        function: given a file and how the asset is partitioned, it raises or returns ``False`` where the file fails
        given: what it was made with
        wants: what has to be true, in words
        blocking: whether a failure holds the file's partition back
    """

    name: str
    function: Callable[[RawFile, Partitions], Any] = field(repr=False)
    given: tuple[Any, ...] = field(repr=False)
    wants: str = ""
    blocking: bool = True

    looks_at_files: ClassVar = True

    @property
    def parts(self) -> tuple[Any, ...]:
        """What it is made of: another check, if one of them is another."""
        return (self.name, self.blocking, *self.given)

    def former_fingerprint(self, _: Dump) -> str:
        """What was recorded for it formerly: nothing was."""
        return ""


def parses(reader: Reader, model: Any = None, *, blocking: bool = True, name: str | None = None) -> FileCheck:
    """A parser accepts each file: all of it is read.

    Parameters:
        reader: reads it
        model: the pandera model whose columns and types it is to have; its checks of values aren't made
        blocking: whether a failure holds the file's partition back
        name: another name for results

    Raises:
        DefinitionError: what can't read a file

    Examples:
        >>> from lakehouse.io import Csv
        >>> parses(Csv()).name
        'parses(Csv)'
    """
    if not isinstance(reader, Reader):
        raise DefinitionError(f"parses({reader!r}) needs what reads files", hint="parses(Csv())")
    kind = type(reader).__name__
    schema = None if model is None else Schema.of(model)
    columns = None if schema is None else {c.name: c.dtype for c in schema.columns}

    def read(file: RawFile, partitions: Partitions) -> None:
        rows = scan_files([file], reader, partitions, columns, where="")
        # Of every column something is asked for, or it would not be read.
        rows.select(pl.all().null_count()).collect(engine="streaming")

    return FileCheck(
        name=name or f"parses({kind})",
        function=read,
        given=("parses", reader, schema.fingerprint if schema else ""),
        wants=f"{kind} that can be read" + (f" as {schema.name}" if schema else ""),
        blocking=blocking,
    )


@overload
def each_file(function: FileFunction, /) -> FileCheck: ...


@overload
def each_file(*, blocking: bool = True, name: str | None = None) -> Callable[[FileFunction], FileCheck]: ...


def each_file(function: FileFunction | None = None, /, *, blocking: bool = True, name: str | None = None) -> Any:
    """Make a check of a function that is given each file, and raises or returns ``False`` where one fails.

    Its docstring says what it wants.

    Parameters:
        function: the function
        blocking: whether a failure holds the file's partition back
        name: another name for results

    Examples:
        >>> @each_file
        ... def complete(file: RawFile) -> bool:
        ...     "the line that ends a file"
        ...     return file.read().endswith(b"END\\n")
        >>> complete.wants
        'the line that ends a file'
    """

    def make(function: FileFunction) -> FileCheck:
        if not callable(function):
            raise DefinitionError(f"each_file needs a function; given {function!r}")
        said = (function.__doc__ or "").strip().partition("\n")[0]
        return FileCheck(
            name=name or function.__name__,
            function=lambda file, _: function(file),
            given=(function,),
            wants=said,
            blocking=blocking,
        )

    return make if function is None else make(function)


def as_sent() -> Check:
    """The check that every file has the size and the digest that its source gave, where it gave them."""
    size, digest = pl.col(SENT_SIZE), pl.col(SENT_SHA256)
    holds = (size.is_null() | (size == pl.col(SIZE))) & (digest.is_null() | (digest == pl.col(SHA256)))
    return expression("as_sent", holds, wants="size and SHA-256 as the source gives them")


def with_files(check: FileCheck, table: TableReader, partitions: Partitions, *, where: str) -> FrameCheck:
    """A check of files as one of the rows that list them.

    Parameters:
        check: the check
        table: where the files are
        partitions: how the asset is partitioned
        where: the asset
    """
    faults: dict[str, str] = {}

    def failing(rows: pl.LazyFrame) -> pl.LazyFrame:
        bad = []
        for file in listed(table, rows, partitions, where=where):
            fault = _fault(check, file, partitions)
            if fault is not None:
                path = file.uri.removeprefix(f"{table.uri}/")
                bad.append(path)
                faults[path] = fault
        return rows.filter(pl.col(PATH).is_in(bad))

    def found(rows: pl.DataFrame) -> str:
        return shorten(
            [f"{name}: {faults[path]}" for name, path in rows.select(NAME, PATH).sort(PATH).iter_rows()], 3, width=300
        )

    return FrameCheck(name=check.name, function=failing, wants=check.wants, blocking=check.blocking, found=found)


def _fault(check: FileCheck, file: RawFile, partitions: Partitions) -> str | None:
    """What is wrong with a file; None: nothing is."""
    try:
        with panics_raised():
            return "it fails" if check.function(file, partitions) is False else None
    except StepError as error:
        # Which file it is, is said already.
        return _line(error.__cause__ or error)
    except LakehouseError:
        raise
    except Exception as error:
        return _line(error)


def _line(error: BaseException) -> str:
    """What an error says first; polars goes on with advice about its own options."""
    return describe(error).strip().partition("\n")[0]
