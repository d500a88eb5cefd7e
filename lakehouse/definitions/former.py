"""The fingerprints that were recorded until code versions became the same on every Python.

Kept so that what was published before then counts as unchanged as long as it is; nothing else may use it. It can go
once no lake holds a record of 0.1 any more: a release after 1.0 that says so.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import inspect
import re
import sys
import sysconfig
import textwrap
import types
from collections.abc import Mapping, Sequence, Set
from datetime import date, time, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, final

from lakehouse.definitions.code_version import bytecode, digest, names_in, project_of

if TYPE_CHECKING:
    from lakehouse.checks import AnyCheck
    from lakehouse.definitions.schema import Schema

_CONSTANTS = (bool, int, float, complex, str, bytes, date, time, timedelta, Decimal, Fraction, range, re.Pattern)
_OWN = "lakehouse.assets"


class Dump(StrEnum):
    """How ``ast.dump`` wrote source down, by the first Python that did it so: each recorded other fingerprints.

    What the last one recorded of a function that uses classes of its own project is found by that Python alone.
    """

    PY311 = "3.11"
    PY312 = "3.12"
    PY313 = "3.13"


@final
@dataclasses.dataclass(frozen=True)
class FormerVersions:
    """What was recorded formerly for an asset that is as it is now: one text for each way of writing it.

    Parameters:
        code: for its function
        schema: for its schema
        checks: for its checks
    """

    code: frozenset[str]
    schema: frozenset[str]
    checks: frozenset[str]

    @classmethod
    def of(cls, function: Any, schema: Schema | None, checks: Sequence[AnyCheck]) -> FormerVersions:
        """Work them out.

        Parameters:
            function: the asset's function
            schema: its schema
            checks: its checks
        """
        return cls(
            frozenset(former_fingerprint(function, dump) for dump in Dump),
            frozenset(_schema(schema, dump) for dump in Dump if schema is not None),
            frozenset(digest(*sorted(c.former_fingerprint(dump) for c in checks)) for dump in Dump if checks),
        )


def former_fingerprint(function: Any, dump: Dump) -> str:
    """What was recorded formerly for a function.

    Parameters:
        function: the function
        dump: on which Python
    """
    found = _Finder(project_of(getattr(function, "__module__", "") or ""), dump)
    found.function(function, top=True)
    return digest(*found.parts)


def _schema(schema: Schema, dump: Dump) -> str:
    rules = _rules(schema.model.to_schema(), dump) if hasattr(schema.model, "to_schema") else ""
    return digest(*(f"{c.name}:{c.dtype}:{c.nullable}:{c.required}" for c in schema.columns), rules)


def _rules(schema: Any, dump: Dump) -> str:

    def as_values(checks: Any) -> list[Any]:
        return [
            (c.name, repr(c.statistics)) if c.statistics else (c.name, former_fingerprint(c._check_fn, dump))
            for c in checks or ()
        ]

    columns = [(name, c.unique, c.coerce, as_values(c.checks)) for name, c in schema.columns.items()]
    plain = all(not (unique or coerce or checks) for _, unique, coerce, checks in columns)
    whole = (as_values(schema.checks), schema.unique, schema.strict, schema.coerce)
    return "" if plain and whole == ([], None, False, False) else repr((columns, whole))


class _Finder:
    """Collects what a function is made of, each thing once."""

    def __init__(self, project: str, dump: Dump) -> None:
        self.project = project
        self.dump = dump
        self.parts: list[str] = []
        self.seen: set[int] = set()

    def function(self, function: Any, *, top: bool = False) -> None:
        if isinstance(function, functools.partial):
            self.value("partial", function.func)
            self.parts.append(str(_text((function.args, function.keywords))))
            return
        if id(function) in self.seen:
            return
        self.seen.add(id(function))
        code = getattr(function, "__code__", None)
        self.parts.append(
            _source(function, self.dump, top=top) or (bytecode(code, function.__doc__) if code else repr(function))
        )
        if code is None:
            return
        names = sorted(name for name in set(names_in(code)) if not name.startswith("__"))
        closed = dict(zip(code.co_freevars, (_content(c) for c in function.__closure__ or ()), strict=False))
        scope = function.__globals__
        for name in names:
            if name in closed:
                self.value(name, closed[name], names)
            elif name in scope:
                self.value(name, scope[name], names)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.value("default", value)

    def value(self, name: str, value: Any, names: Sequence[str] = ()) -> None:
        """Something that a function names: code is followed, a constant counts, an asset is an input and no code."""
        if isinstance(value, types.FunctionType | functools.partial):
            if self.own(getattr(value, "__module__", "") or self.project):
                self.function(value)
        elif isinstance(value, type):
            if self.own(value.__module__) and id(value) not in self.seen:
                self.seen.add(id(value))
                self.parts.append(_source(value, self.dump) or value.__qualname__)
                for part, one in vars(value).items():
                    if self.dump is Dump.PY313 or part not in ("__firstlineno__", "__static_attributes__"):
                        self.value(name, getattr(one, "__func__", one))
        elif isinstance(value, types.ModuleType):
            if self.own(value.__name__):
                for used in names:
                    if used in vars(value):
                        self.value(used, vars(value)[used], names)
        elif callable(getattr(value, "__wrapped__", None)):
            self.value(name, value.__wrapped__)
        else:
            constant = _text(value)
            if constant is not None:
                self.parts.append(f"{name}={constant}")

    def own(self, module: str) -> bool:
        """Whether a module belongs to the people who wrote the function, and not to a library."""
        if module == "lakehouse" or module.startswith("lakehouse."):
            return module.startswith(_OWN) and self.project == _OWN
        return project_of(module) == self.project or not _installed(module)


@functools.cache
def _installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module != "__main__"
    return str(file).startswith(tuple(sysconfig.get_path(p) for p in ("stdlib", "platstdlib", "purelib", "platlib")))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _text(value: Any) -> str | None:
    """A constant as text that is the same in every process and on every machine; None: it is none."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, Mapping):
        return repr([(_text(k), _text(v)) for k, v in value.items()])
    if isinstance(value, Set):
        return repr(sorted(map(str, map(_text, value))))
    if isinstance(value, list | tuple):
        return repr([_text(one) for one in value])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if type(value).__module__.startswith("lakehouse."):
            return None  # assets are inputs, and what they are declared with counts apart
        return repr([(f.name, _text(getattr(value, f.name))) for f in dataclasses.fields(value)])
    if isinstance(value, _CONSTANTS) or value is None:
        return repr(value)
    kind = type(value).__module__
    return str(value) if kind.startswith(("polars.expr", "polars.datatypes")) else None


def _source(thing: Any, dump: Dump, *, top: bool = False) -> str | None:
    """What a function or class says; None: its source is not to be had.

    Parameters:
        thing: the function or class
        dump: on which Python
        top: whether it is the asset's own function, whose name, decorators and schema count apart
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) and top:
        tree.name, tree.decorator_list, tree.returns = "", [], None
        tree = _Inputs(tree.args).visit(tree)
    return _dumped(tree, dump)


class _Inputs(ast.NodeTransformer):
    """Takes the names of inputs out of a function: which assets they are is known from elsewhere."""

    def __init__(self, arguments: ast.arguments) -> None:
        listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        self.places = {one.arg: f"input {place}" for place, one in enumerate(listed)}

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self.places.get(node.arg, node.arg)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.places.get(node.id, node.id)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "From":
            node.args = node.args[1:]
            node.keywords = [word for word in node.keywords if word.arg != "asset"]
        return self.generic_visit(node)


def _dumped(node: Any, dump: Dump) -> str:
    """What ``ast.dump`` made of source code on some Python."""
    match node:
        case list():
            return f"[{', '.join(_dumped(one, dump) for one in node)}]"
        case ast.AST():
            written = []
            for name in node._fields:
                value = getattr(node, name, None)
                if name == "type_params" or (value is None and getattr(type(node), name, ...) is None):
                    continue
                if value != [] or dump is not Dump.PY313:
                    written.append(f"{name}={_dumped(value, dump)}")
            if dump is Dump.PY312 and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                written.append(f"type_params={_dumped(getattr(node, 'type_params', []), dump)}")
            return f"{type(node).__name__}({', '.join(written)})"
    return repr(node)
