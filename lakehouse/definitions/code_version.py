"""Fingerprints: what code does as a short hash, blind to comments, docstrings and formatting.

A function counts with all that it uses of its own project: helpers, classes and constants, however far. What comes
from an installed library doesn't: an upgrade of one is no change of the asset.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import hashlib
import inspect
import re
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

_CONSTANTS = (bool, int, float, complex, str, bytes, date, time, timedelta, Decimal, Fraction, range, re.Pattern)

_OWN = "lakehouse.assets"
"""The one part of this library that is a project of its own."""


def fingerprint(function: Callable[..., Any]) -> str:
    """A short hash of what a function does.

    Parameters:
        function: the function

    Examples:
        >>> def one(): return 1
        >>> def two():
        ...     # the same
        ...     return 1
        >>> fingerprint(one) == fingerprint(two)
        True
    """
    found = _Finder(_project(getattr(function, "__module__", "") or ""))
    found.function(function, top=True)
    return digest(*found.parts)


def digest(*parts: str) -> str:
    """Twelve hexadecimal digits that stand for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


class _Finder:
    """Collects what a function is made of, each thing once."""

    def __init__(self, project: str) -> None:
        self.project = project
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
        self.parts.append(_source(function, top=top) or (_bytecode(code, function.__doc__) if code else repr(function)))
        if code is None:
            return
        names = sorted(name for name in set(_names(code)) if not name.startswith("__"))
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
        """Something that a function names: code is followed, a constant is told, an asset is an input and no code."""
        if isinstance(value, types.FunctionType | functools.partial):
            if self.own(getattr(value, "__module__", "") or self.project):
                self.function(value)
        elif isinstance(value, type):
            if self.own(value.__module__) and id(value) not in self.seen:
                self.seen.add(id(value))
                self.parts.append(_source(value) or value.__qualname__)
                for one in vars(value).values():
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
        return _project(module) == self.project or not _installed(module)


def _project(module: str) -> str:
    return _OWN if module.startswith(_OWN) else module.partition(".")[0]


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


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


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


def _source(thing: Any, *, top: bool = False) -> str | None:
    """What a function or class says; None: its source is not to be had.

    Parameters:
        thing: the function or class
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
    return ast.dump(tree)


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


def _bytecode(code: types.CodeType, docstring: str | None = None) -> str:
    """What code does, where its source is not to be had: without its place, and the same in every process."""
    constants = [
        _bytecode(c)
        if isinstance(c, types.CodeType)
        else repr(sorted(map(repr, c)) if isinstance(c, frozenset) else None if c == docstring else c)
        for c in code.co_consts
    ]
    return repr((code.co_code, code.co_names, code.co_varnames, constants))
