"""Every error that the library raises on purpose, as one tree.

    LakehouseError
    ├── DefinitionError            an asset is declared in a way that can't work
    ├── GraphError                 assets that don't fit together
    │   ├── DuplicateAsset
    │   ├── UnknownInput
    │   ├── AmbiguousInput
    │   ├── CycleError
    │   ├── LayerViolation
    │   ├── PartitionMismatch
    │   └── ContractViolation
    ├── UnknownAsset               a selection names what is not there
    ├── SelectionError             a selection that can't be read
    ├── PartitionError             a partition that can't be: wrong form, out of range, reversed
    ├── PlanError                  a request that can't be planned
    ├── StepError                  one step failed; nothing of it was published
    │   ├── WrongFrame             the function returned what is no frame, or lacks a column
    │   ├── SchemaViolation        columns or types are not what the schema promises
    │   │   ├── ColumnsChanged     a column is another one than in partitions that stay
    │   │   └── SchemaBreak        a change of columns breaks what is registered
    │   ├── RowsOutsidePartitions  rows for partitions that nobody asked for
    │   ├── CheckError             a check itself raised
    │   └── PartitionConflict      another run published the same partitions meanwhile
    ├── ComputeError               where a step's function runs failed it: killed, lost, never taken up, out of time
    │   ├── ComputeCancelled       it was ended on purpose
    │   └── CodeMismatch           the other end has other code
    ├── StorageError               a table's home can't be reached, read or written
    │   ├── TableMismatch          a table is not the one that lineage tells of
    │   └── PartitioningChanged    a table is partitioned otherwise than its asset is declared
    ├── LineageError               the lineage store can't be reached, read or written
    ├── SchemaRegistryError        the schema registry can't be reached, read or written
    ├── CatalogError               the catalog can't be reached, read or written
    ├── SettingsError              configuration that can't be used
    ├── EngineError                the engine (Prefect) can't be reached or started
    └── MaterializationFailed      a run in which something failed; carries the run

Each message says what was given, what is allowed, and where there is one, the next step. None tells a secret.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.redaction import redacted

if TYPE_CHECKING:
    from lakehouse.execution.run import Run
    from lakehouse.partitions import PartitionSet


class LakehouseError(Exception):
    """The root of all errors that the library raises on purpose.

    Parameters:
        message: what was given and what is wrong with it
        hint: the next step, where there is one
    """

    retryable: ClassVar[bool] = True
    """Whether the same step may be tried again: not where it would fail alike, or would undo what another did."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # Texts of libraries, settings and URIs end up in messages: cleared here, they are wherever one goes.
        self.message = redacted(message)
        self.hint = redacted(hint) if hint else hint
        super().__init__(self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword-only arguments don't survive pickling by default, and errors
        # cross process borders in task runners. What caused one may not be known on the other side: its traceback
        # goes as text.
        cause = "".join(traceback.format_exception(self.__cause__)) if self.__cause__ else ""
        return (_rebuild, (type(self), self.__dict__.copy(), redacted(cause)))


class Panic(Exception):
    """A library that is written in Rust came upon a mistake of its own. It raises what is no ``Exception``."""


@contextmanager
def panics_raised() -> Iterator[None]:
    """Let a panic of a library in Rust be an error like every other, which those that catch errors catch."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise Panic(str(error)) from error


def _rebuild(cls: type[LakehouseError], state: dict[str, Any], cause: str = "") -> LakehouseError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"], state["hint"])
    error.__dict__.update(state)
    if cause:
        error.__cause__ = RemoteTraceback(cause)
    return error


class RemoteTraceback(Exception):
    """Where an error came from in the process that it was raised in, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class DefinitionError(LakehouseError):
    """An asset is declared in a way that can't work."""

    retryable = False


class GraphError(LakehouseError):
    """Assets that don't fit together."""


class DuplicateAsset(GraphError):
    """Two assets bear the same key."""


class UnknownInput(GraphError):
    """A parameter that names no asset."""


class AmbiguousInput(GraphError):
    """A parameter that could mean more than one asset."""


class CycleError(GraphError):
    """Assets that depend on each other in a circle."""


class LayerViolation(GraphError):
    """An asset that reads from a layer it may not read from."""


class PartitionMismatch(GraphError):
    """Two assets whose partitions can't be mapped to each other."""


class ContractViolation(GraphError):
    """A consumer asks for a column that its producer doesn't promise."""


class UnknownAsset(LakehouseError):
    """A name that no asset has."""


class SelectionError(LakehouseError):
    """A selection that can't be read."""


class PartitionError(LakehouseError):
    """A partition that can't be: wrong form, out of range, reversed."""


class PlanError(LakehouseError):
    """A request that can't be planned."""


class StepError(LakehouseError):
    """One step failed; nothing of it was published."""


class WrongFrame(StepError):
    """A function returned what is no frame, or a frame that lacks its partition column."""

    retryable = False


class SchemaViolation(StepError):
    """Columns or types are not what the schema promises."""

    retryable = False


class ColumnsChanged(SchemaViolation):
    """A column changes its type or its spelling, and rows of partitions that stay can't follow.

    Parameters:
        message: which column, and how
        staying: the partitions that stay
    """

    def __init__(self, message: str, *, staying: PartitionSet, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.staying = staying


class SchemaBreak(SchemaViolation):
    """A schema breaks what is registered of the asset, and nobody let it through.

    Parameters:
        message: which columns, how, and who reads them
        refused: the schema, as text
    """

    def __init__(self, message: str, *, refused: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.refused = refused


class RowsOutsidePartitions(StepError):
    """A function returned rows for partitions that nobody asked for.

    Parameters:
        message: how many, and where
        suspects: partitions that may lack these rows, where it is rather these than others that are to blame
    """

    retryable = False

    def __init__(self, message: str, *, suspects: PartitionSet | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.suspects = suspects


class CheckError(StepError):
    """A check itself raised."""

    retryable = False


class PartitionConflict(StepError):
    """Another run published the same partitions meanwhile."""

    retryable = False


class ComputeError(LakehouseError):
    """Where a step's function runs failed it: it was killed, lost, never taken up, or out of time."""


class ComputeCancelled(ComputeError):
    """It was ended on purpose."""

    retryable = False


class CodeMismatch(ComputeError):
    """The other end has other code than the orchestrator."""

    retryable = False


class StorageError(LakehouseError):
    """A table's home can't be reached, read or written."""


class TableMismatch(StorageError):
    """A table is not the one that lineage tells of: one of the two was removed, put back or replaced."""

    retryable = False


class PartitioningChanged(StorageError):
    """A table is partitioned otherwise than its asset is declared: what its keys mean, is another thing by now."""

    retryable = False


class LineageError(LakehouseError):
    """The lineage store can't be reached, read or written."""

    retryable = False


class SchemaRegistryError(LakehouseError):
    """The schema registry can't be reached, read or written, or refuses a schema."""


class CatalogError(LakehouseError):
    """The catalog can't be reached, read or written."""


class SettingsError(LakehouseError):
    """Configuration that can't be used."""


class EngineError(LakehouseError):
    """The engine can't be reached or started."""


class MaterializationFailed(LakehouseError):
    """A run in which something failed or was held back.

    Parameters:
        message: what failed, summed up
        run: what was planned and the outcome of each step
    """

    def __init__(self, message: str, *, run: Run, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.run = run


def describe(error: BaseException) -> str:
    """What an error says: the message of one of ours; of any other its kind as well, without secrets.

    Examples:
        >>> describe(KeyError("date")), describe(StepError("it failed", hint="repair it"))
        ("KeyError: 'date'", 'it failed')
    """
    if isinstance(error, LakehouseError):
        return error.message
    text = redacted(str(error)).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def count(number: int, noun: str) -> str:
    """A number with its noun.

    Examples:
        >>> count(1, "partition"), count(27004, "row")
        ('1 partition', '27,004 rows')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def shorten(items: Iterable[object], limit: int = 5, width: int = 60) -> str:
    """List a few items and say how many more there are, so that a message stays readable."""
    listed = [str(item) for item in items]
    shown = ", ".join(i if len(i) <= width else i[: width - 1] + "…" for i in listed[:limit])
    rest = len(listed) - limit
    return f"{shown}, and {rest} more" if rest > 0 else shown


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Say which of the candidates come nearest to a name that isn't there."""
    known = sorted(set(candidates))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not close:
        bare = name.rpartition(".")[2]
        close = [k for k in known if k.rpartition(".")[2] == bare][:3]
    return f"did you mean {' or '.join(close)}?" if close else None
