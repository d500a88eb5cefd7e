"""Schemas: the columns that an asset promises, or that a consumer asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.code_version import digest, fingerprint
from lakehouse.errors import DefinitionError

if TYPE_CHECKING:
    pass


@final
@dataclass(frozen=True)
class Column:
    """A column that a schema names.

    Parameters:
        name: its name
        dtype: its type, a polars data type; None: any
        nullable: whether values may be missing
        required: whether a frame must have it
        description: what it means
    """

    name: str
    dtype: Any = None
    nullable: bool = False
    required: bool = True
    description: str = ""


@final
@dataclass(frozen=True)
class Schema:
    """The columns that an asset promises, or that a consumer asks for.

    Parameters:
        name: what people call it
        columns: the columns, in order
        model: the pandera model behind it, which also checks values
        rules: the checks of values, as text
    """

    name: str
    columns: tuple[Column, ...]
    model: Any = field(default=None, compare=False, repr=False)
    rules: str = field(default="", repr=False)

    @classmethod
    def of(cls, model: Any) -> Schema:
        """Read a pandera model.

        Raises:
            DefinitionError: it can't be read
        """
        try:
            found = model.to_schema()
            columns = tuple(
                Column(
                    name,
                    getattr(column.dtype, "type", None),
                    bool(column.nullable),
                    bool(column.required),
                    str(column.description or ""),
                )
                for name, column in found.columns.items()
            )
            rules = _rules(found)
        except Exception as error:
            raise DefinitionError(
                f"the schema {getattr(model, '__name__', model)!r} can't be read: {type(error).__name__}: {error}",
                hint="a schema is a pandera.polars DataFrameModel",
            ) from error
        return cls(getattr(model, "__name__", str(model)), columns, model, rules)

    def __getitem__(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    def __contains__(self, name: object) -> bool:
        return any(c.name == name for c in self.columns)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of names, types, nullability and rules."""
        return digest(*(f"{c.name}:{c.dtype}:{c.nullable}:{c.required}" for c in self.columns), self.rules)

    def lacks(self, asked: Schema) -> list[tuple[str, str]]:
        """What a consumer asks for and this schema doesn't promise: (column, why)."""
        faults = []
        for want in asked.columns:
            if want.name not in self:
                if want.required:
                    faults.append((want.name, "is not promised"))
                continue
            have = self[want.name]
            if want.dtype is not None and have.dtype is not None and want.dtype != have.dtype:
                faults.append((want.name, f"is promised as {have.dtype}, asked for as {want.dtype}"))
            elif have.nullable and not want.nullable:
                faults.append((want.name, "may be missing a value there, must not here"))
            elif want.required and not have.required:
                faults.append((want.name, "is optional there, required here"))
        return faults


def _rules(schema: Any) -> str:
    """The value checks of a pandera schema as text, in the order in which they are declared."""

    def as_text(checks: Any) -> list[Any]:
        return [
            (c.name, repr(c.statistics)) if c.statistics else (c.name, fingerprint(c._check_fn)) for c in checks or ()
        ]

    columns = [(name, c.unique, c.coerce, as_text(c.checks)) for name, c in schema.columns.items()]
    plain = all(not (unique or coerce or checks) for _, unique, coerce, checks in columns)
    whole = (as_text(schema.checks), schema.unique, schema.strict, schema.coerce)
    return "" if plain and whole == ([], None, False, False) else repr((columns, whole))
