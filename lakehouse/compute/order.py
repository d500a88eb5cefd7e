"""Orders: all that somebody elsewhere has to know of a step, and what they leave when it is done. Both are JSON.

<table>/_staged-<attempt>/order.json      what is to be done, written before anybody is asked to
<table>/_staged-<attempt>/...             the rows, as the other end stages them
<table>/_staged-<attempt>/manifest.json   how it ended, written last
"""

from __future__ import annotations

import hashlib
import os
import platform
import traceback
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict

import lakehouse.errors
from lakehouse.errors import CodeMismatch, ComputeError, LakehouseError, RemoteTraceback, StepError, StorageError
from lakehouse.io.dtypes import dtypes_from_text
from lakehouse.io.layout import ORDER, staged_folder
from lakehouse.redaction import redacted

FORMAT: Final = 1
"""Of orders and manifests: an end that knows another one only refuses."""

_TRACEBACK = 20_000
"""Characters of a traceback that travel."""

Pairs = tuple[tuple[str, str], ...]


class _Value(BaseModel):
    # A later version may say more, and what it says is refused or not by its format alone.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Named(_Value):
    """An asset as another process finds it, and where it lies.

    Parameters:
        key: its key
        module: the module that holds it
        name: what it is called there
        table: the URI of its table; empty: it is external
    """

    key: str
    module: str
    name: str
    table: str = ""


class Code(_Value):
    """What decides which rows a function makes, apart from what it reads.

    Parameters:
        lakehouse: the library's version, and a fingerprint of all of its code
        asset: fingerprint of the function and its helpers
        schema_: fingerprint of the schema
    """

    lakehouse: str
    asset: str
    schema_: str = ""

    @classmethod
    def of(cls, asset: str, schema: str) -> Self:
        """That of an asset as it is here."""
        return cls(lakehouse=library(), asset=asset, schema_=schema)


@lru_cache(maxsize=1)
def library() -> str:
    """The library's version and a fingerprint of its code, however it is installed; without the reference lakehouse."""
    root = os.path.dirname(lakehouse.errors.__file__)
    found = []
    for folder, _, files in os.walk(root, followlinks=True):
        place = os.path.relpath(folder, root).replace(os.sep, "/")
        if place.split("/")[0] != "assets":
            found += [(f"{place}/{name}", os.path.join(folder, name)) for name in files if name.endswith(".py")]
    digest = hashlib.sha256()
    for name, path in sorted(found):
        with open(path, "rb") as file:
            digest.update(f"{name}\n".encode() + hashlib.sha256(file.read()).digest())
    return f"{version('lakehouse')}+{digest.hexdigest()[:12]}"


class OrderedFile(_Value):
    """A file of an external asset, as it was seen. Options that its place was listed with stay: they may be secrets.

    Parameters:
        uri: where it lies
        name: what it is called; partition: the partition that it belongs to
        version: changes whenever it does
        source, sha256, size, rows, extracted_at: what else is known of it
    """

    uri: str
    name: str = ""
    partition: str | None = None
    version: str = ""
    source: str = ""
    sha256: str = ""
    size: int | None = None
    rows: int | None = None
    extracted_at: datetime | None = None


class OrderedRows(_Value):
    """Where the rows of an input lie, so that nobody has to look into its table's log.

    Parameters:
        columns: their columns, as a Delta log has them
        files: paths in the table's folder, as its log has them, of files that hold no other rows
        shared: the same of files that hold rows of other partitions too
    """

    columns: str
    files: tuple[str, ...]
    shared: tuple[str, ...] = ()


class OrderedInput(_Value):
    """What a call is given for a parameter.

    Parameters:
        parameter: the function's parameter
        asset: key of the asset that fills it
        partitions: which of its partitions
        version: the table version that is read; None: it was never built
        rows: where that version has them; None: in no files, or nobody said
        versions: of an external asset, what there is of it; None: it isn't one
        files: of an external asset, its files
    """

    parameter: str
    asset: str
    partitions: Pairs
    version: int | None = None
    rows: OrderedRows | None = None
    versions: dict[str, str] | None = None
    files: tuple[OrderedFile, ...] = ()


class OrderedCall(_Value):
    """One call of the function.

    Parameters:
        partitions: what it makes
        inputs: what it is given
    """

    partitions: Pairs
    inputs: tuple[OrderedInput, ...]


class Order(_Value):
    """What is to be done elsewhere.

    Parameters:
        format: how it is written
        attempt: what is staged is named after
        asset: what is made
        others: its inputs
        partitions: all that is made
        calls: how the function is called; the rows of all calls together are staged
        code: what the function has to be there
        run: the run's id
        number: 1 for the first try
        started: when the run started
        deadline: when it has to have ended, be it done or not
        seconds: how long it may take once it is begun
        there: token, name, SHA-256 and path of files that are kept already, and needn't be stored again
    """

    format: int = FORMAT
    attempt: str
    asset: Named
    others: tuple[Named, ...]
    partitions: Pairs
    calls: tuple[OrderedCall, ...]
    code: Code
    run: str
    number: int
    started: datetime
    deadline: datetime
    seconds: float
    there: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def uri(self) -> str:
        """Where it is written down: what travels."""
        return f"{self.asset.table}/{staged_folder(self.attempt)}/{ORDER}"

    @property
    def title(self) -> str:
        """What a person recognizes it by: ``bronze.raw_flights 2013-01-01...2013-01-08``."""
        if not self.partitions or self.partitions == (("", ""),):
            return self.asset.key
        first, last = self.partitions[0][0], self.partitions[-1][1]
        return f"{self.asset.key} {first if first == last else f'{first}...{last}'}"


class Fault(_Value):
    """Why an order was not carried out.

    Parameters:
        kind: the error's name
        message: what it says; hint: the next step
        traceback: where it was raised
        shared: whether it may be the place's fault rather than that of some partitions
    """

    kind: str
    message: str
    hint: str | None = None
    traceback: str = ""
    shared: bool = False

    @classmethod
    def of(cls, error: LakehouseError, *, shared: bool) -> Self:
        """What is told of an error."""
        text = redacted("".join(traceback.format_exception(error)))
        return cls(
            kind=type(error).__name__,
            message=error.message,
            hint=error.hint,
            traceback=text if len(text) <= _TRACEBACK else f"…{text[-_TRACEBACK:]}",
            shared=shared,
        )

    @property
    def error(self) -> LakehouseError:
        """The error again, with its traceback as what caused it."""
        kind = _kind(self.kind) or StepError
        error = (ComputeError if self.shared and issubclass(kind, StepError) else kind)(self.message, hint=self.hint)
        error.__cause__ = RemoteTraceback(self.traceback) if self.traceback else None
        return error


class Manifest(_Value):
    """How an order ended, as those tell who carried it out.

    Parameters:
        format: how it is written
        attempt: which order
        code: what was called there
        python: the Python version; host: the machine; begun: since when
        dtypes: the types that the function gave its columns, some of which storage has no word for, as Arrow IPC in
            base64; None: those of storage
        files: of a raw asset, the paths of its files in the table's folder, by partition token
        fault: why it failed; None: the rows are staged
    """

    format: int = FORMAT
    attempt: str
    code: Code
    python: str = platform.python_version()
    host: str = platform.node()
    begun: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    dtypes: str | None = None
    files: dict[str, tuple[str, ...]] = {}
    fault: Fault | None = None

    @property
    def types(self) -> dict[str, Any]:
        """The types that the function gave its columns; none, where those of storage are all that is known."""
        return {} if self.dtypes is None else dtypes_from_text(self.dtypes)


def read_order(text: bytes, uri: str) -> Order:
    """Read an order.

    Parameters:
        text: what is written; uri: where

    Raises:
        ComputeError: it can't be read here
    """
    return _read(Order, text, uri)


def read_manifest(text: bytes, uri: str) -> Manifest:
    """Read a manifest.

    Parameters:
        text: what is written; uri: where

    Raises:
        ComputeError: it can't be read here
    """
    return _read(Manifest, text, uri)


def agree(key: str, wanted: Code, there: Code, where: str) -> None:
    """See that what is called elsewhere is what is meant.

    Parameters:
        key: the asset
        wanted: the orchestrator's code; there: that of the other end
        where: the other end

    Raises:
        CodeMismatch: it is another one; says both
    """
    for what, ours, theirs in (
        ("lakehouse", wanted.lakehouse, there.lakehouse),
        ("code version", wanted.asset, there.asset),
        ("schema version", wanted.schema_, there.schema_),
    ):
        if ours != theirs:
            raise CodeMismatch(
                f"{key}: the orchestrator has {what} {ours or 'none'}, {where} has {theirs or 'none'}",
                hint="build the image, or the wheels, from the code that the orchestrator runs, and use these there",
            )


def _kind(name: str) -> type[LakehouseError] | None:
    """An error by its name, if what is told of one is all that it carries."""
    found = vars(lakehouse.errors).get(name)
    known = isinstance(found, type) and issubclass(found, StepError | StorageError | ComputeError)
    return found if known and "__init__" not in vars(found) else None


_T = TypeVar("_T", Order, Manifest)


def _read(kind: type[_T], text: bytes, uri: str) -> _T:
    try:
        found = kind.model_validate_json(text)
    except ValueError as error:
        raise ComputeError(
            f"{uri} can't be read: {error}", hint="use the same version of lakehouse at both ends"
        ) from None
    if found.format != FORMAT:
        raise CodeMismatch(
            f"{uri} is written in format {found.format}; lakehouse {version('lakehouse')} knows {FORMAT}",
            hint="use the same version of lakehouse at both ends",
        )
    return found
