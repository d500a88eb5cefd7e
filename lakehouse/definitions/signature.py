"""What an asset is made from and what it promises, read from its function's annotations."""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.schema import Schema
from lakehouse.errors import DefinitionError
from lakehouse.partitions import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from lakehouse.definitions.asset import Asset


RESERVED = ("partitions", "context")
"""Parameters that are no inputs: the partitions to make, and the run's context."""


@final
@dataclass(frozen=True)
class From:
    """Says outright which asset a parameter is, and which of its partitions.

    Parameters:
        asset: the asset, or its key
        rule: which of its partitions are read; None: what is obvious from how the two are partitioned

    Examples:
        >>> From("bronze.flights").key
        'bronze.flights'
    """

    asset: Asset | str
    rule: Rule | None = None

    @property
    def key(self) -> str:
        """The asset's key."""
        return self.asset if isinstance(self.asset, str) else self.asset.key


@final
@dataclass(frozen=True)
class Parameter:
    """A parameter of an asset's function that is an input.

    Parameters:
        name: the parameter
        source: the asset that its annotation names outright, if it does
        frame: the type that the function wants to be given
        schema: the contract, if its annotation has one
        files: whether it wants to be given files
        reader: how the files of a raw asset are read, if its annotation says so
    """

    name: str
    source: From | None
    frame: Any
    schema: Schema | None
    files: bool = False
    reader: Any = None


@final
@dataclass(frozen=True)
class Signature:
    """What an asset is made from and what it promises.

    Parameters:
        inputs: its inputs
        takes: which of the reserved parameters it wants
        frame: the type of frame that it is
        schema: what it promises
        files: whether it is made of files that are kept as they are
    """

    inputs: tuple[Parameter, ...]
    takes: frozenset[str]
    frame: Any
    schema: Schema | None
    files: bool = False


def read_signature(key: str, function: Callable[..., Any], is_asset: Callable[[Any], bool]) -> Signature:
    """Read what a function takes and returns.

    Parameters:
        key: of the asset, for what is said of faults
        function: the asset's function
        is_asset: tells an asset among what an annotation holds

    Raises:
        DefinitionError: an annotation that can't be read, or a parameter that names no input
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise DefinitionError(
            f"the annotations of {key} can't be read: {type(error).__name__}: {error}",
            hint="every name in an annotation must be known in the function's own module",
        ) from error
    inputs: list[Parameter] = []
    takes: set[str] = set()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DefinitionError(
                f"{key} has the parameter {parameter}, which names no input",
                hint="give each input a parameter of its own",
            )
        if name in RESERVED:
            takes.add(name)
        else:
            inputs.append(_read_annotation(key, name, hints.get(name), is_asset))
    made = _read_annotation(key, "return", hints.get("return"), is_asset)
    if made.reader is not None or (made.files and made.schema is not None):
        raise DefinitionError(
            f"{key}: what its files hold, and how they are read, is said by whoever reads them",
            hint="return RawFiles, and annotate the parameter of a reader: Annotated[pl.LazyFrame, Model, Csv()]",
        )
    return Signature(tuple(inputs), frozenset(takes), made.frame, made.schema, made.files)


def _read_annotation(key: str, name: str, hint: Any, is_asset: Callable[[Any], bool]) -> Parameter:
    """Take an annotation apart: the type of frame, the schema, the asset it names, and how files are read."""
    source: From | None = None
    schema: Schema | None = None
    reader: Any = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        for extra in extras:
            if isinstance(extra, From):
                source = extra
            elif is_asset(extra):
                source = From(extra)
            elif hasattr(extra, "to_schema"):
                schema = Schema.of(extra)
            elif hasattr(extra, "scan_file"):
                reader = extra
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        raise DefinitionError(
            f"{key}: {name} is annotated with {hint}, which is more than one type",
            hint="name one type of frame, e.g. Annotated[pl.LazyFrame, Model]",
        )
    arguments = typing.get_args(hint)
    if arguments and hasattr(arguments[0], "to_schema"):
        schema = Schema.of(arguments[0])
    files = any(getattr(one, "is_raw_file", False) for one in (hint, *arguments))
    return Parameter(name, source, typing.get_origin(hint) or hint, schema, files, reader)
