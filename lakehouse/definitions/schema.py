"""Schemas: the columns that an asset promises, or that a consumer asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import FunctionType
from typing import Any, final

from lakehouse.definitions.code_version import CodeVersion, code_version
from lakehouse.errors import DefinitionError


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
        pattern: whether the name stands for all that it matches
    """

    name: str
    dtype: Any = None
    nullable: bool = False
    required: bool = True
    description: str = ""
    pattern: bool = False


@final
@dataclass(frozen=True)
class Schema:
    """The columns that an asset promises, or that a consumer asks for.

    Parameters:
        name: what people call it
        columns: the columns, in order
        model: the pandera model behind it, which also checks values
        rules: the checks of values, as they are declared
    """

    name: str
    columns: tuple[Column, ...]
    model: Any = field(default=None, compare=False, repr=False)
    rules: tuple[Any, ...] = field(default=(), compare=False, repr=False)

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
                    bool(column.regex),
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

    def allows(self, column: str) -> bool:
        """Whether it names a column, by its name or by a pattern as pandera's ``regex=True`` has it."""
        return column in self or any(_matches(c.name, column) for c in self.columns)

    @property
    def fingerprint(self) -> str:
        """A short hash of names, types, nullability and rules."""
        return self.code.text

    @cached_property
    def code(self) -> CodeVersion:
        """What stands for names, types, nullability and rules."""
        columns = [f"{c.name}:{c.dtype}:{c.nullable}:{c.required}" for c in self.columns]
        return code_version(columns, self.rules, module=getattr(self.model, "__module__", None))

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


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error:
        return False


def _rules(schema: Any) -> tuple[Any, ...]:
    """The value checks of a pandera schema, in the order in which they are declared; empty: it has none."""

    def as_values(checks: Any) -> list[tuple[Any, ...]]:
        # pandera's own are known by their names: which functions they are depends on what else was imported.
        return [
            (
                c.name,
                # As they were given: of a set, the statistics have a list in whatever order.
                {name: c._check_kwargs.get(name, given) for name, given in c.statistics.items()},
                (c.ignore_na, c.element_wise, c.raise_warning),
                c._check_fn if isinstance(c._check_fn, FunctionType | partial) else None,
            )
            for c in checks or ()
        ]

    def parsers(declared: Any) -> list[tuple[Any, ...]]:
        return [(p.name, p._parser_fn) for p in declared or ()]

    columns = [
        (name, c.unique, c.coerce, c.regex, as_values(c.checks), parsers(c.parsers))
        for name, c in schema.columns.items()
    ]
    whole = (as_values(schema.checks), schema.unique, schema.strict, schema.coerce, parsers(schema.parsers))
    plain = all(not any(declared[1:]) for declared in columns) and whole == ([], None, False, False, [])
    return () if plain else (columns, whole)
