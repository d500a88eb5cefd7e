"""Source code as data: where it stands, what it says in a form that is the same on every Python, what it names.

Only the standard library is used, and nothing is imported or run in order to read it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Names = dict[str, set[tuple[str, ...]]]
"""Names that something uses and doesn't define, each with what is asked of it: ``a.b.c`` is a: (b, c)."""

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_SAYS_NOTHING = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})
"""Fields of nodes that say how something is written down. What has type parameters names them where it uses them."""


# ── where it stands ───────────────────────────────────────────────────────────────────────


@final
@dataclass(frozen=True)
class SourceFile:
    """A file of source code, or a cell of a notebook.

    Parameters:
        name: what compiled code says that it comes from
        tree: what it says
        functions: its functions, by name and first line
        classes: its classes, by qualified name
        codes: what it compiles to here, by name and first line
    """

    name: str
    tree: ast.Module
    functions: dict[tuple[str, int], list[FunctionNode]] = field(repr=False)
    classes: dict[str, list[ast.ClassDef]] = field(repr=False)
    codes: dict[tuple[str, int], list[types.CodeType]] = field(repr=False)

    @functools.cached_property
    def imports(self) -> dict[str, str]:
        """What is imported at the top from elsewhere: names, each with the full name of what it is."""
        found: dict[str, str] = {}
        for node in _statements(self.tree.body):
            if isinstance(node, ast.Import):
                found |= {one.asname: one.name for one in node.names if one.asname}
                found |= {
                    one.name.partition(".")[0]: one.name.partition(".")[0] for one in node.names if not one.asname
                }
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        return found

    def function(self, code: types.CodeType) -> list[FunctionNode]:
        """The function that some code was compiled from; several, if it could be one of several lambdas of a line.

        None, if the file says something else than what runs: it was edited since, or what runs was rewritten.
        """
        place = code.co_name, code.co_firstlineno
        if not any(_same(code, other) for other in self.codes.get(place, ())):
            return []
        nodes = self.functions.get(place, [])
        places = set(code.co_positions())
        exact: list[FunctionNode] = [n for n in nodes if isinstance(n, ast.Lambda) and _position(n.body) in places]
        return exact or nodes

    def klass(self, cls: type) -> list[ast.ClassDef]:
        """The class; several, if it could be one of several of that name."""
        nodes = self.classes.get(cls.__qualname__, [])
        lines = {
            one.__code__.co_firstlineno for one in functions_of(cls) if one.__qualname__.startswith(cls.__qualname__)
        }
        exact = [n for n in nodes if any(n.lineno <= line <= (n.end_lineno or 0) for line in lines)]
        return exact or nodes


def file_of(thing: types.FunctionType | type) -> SourceFile | None:
    """The file that a function or class stands in; None: its source is not to be had."""
    if isinstance(thing, type):
        inside = [one for one in functions_of(thing) if one.__module__ == thing.__module__]
        found = next(filter(None, map(file_of, inside)), None)
        module = sys.modules.get(thing.__module__)
        return found or (_read(module) if module is not None else None)
    return _read(thing)


def functions_of(cls: type) -> list[types.FunctionType]:
    """The functions that a class is given in its own body."""
    found: list[types.FunctionType] = []
    for one in vars(cls).values():
        parts = [getattr(one, part, None) for part in ("__func__", "fget", "fset", "fdel", "func")]
        found += [part for part in (one, *parts) if isinstance(part, types.FunctionType)]
    return found


def module_source(name: str) -> tuple[SourceFile, str] | None:
    """What a module says, which need not have been imported, with the package that it is in; None: it isn't found."""
    found = sys.modules.get(name)
    spec = getattr(found, "__spec__", None) or _spec(name)
    origin = getattr(found, "__file__", None) or getattr(spec, "origin", None)
    if origin is None or not origin.endswith(".py"):
        return None
    try:
        file = _parse(Path(origin).read_text(encoding="utf-8"), origin)
    except (OSError, UnicodeDecodeError):
        return None
    whole = Path(origin).name == "__init__.py"
    return None if file is None else (file, name if whole else name.rpartition(".")[0])


def _spec(name: str) -> ModuleSpec | None:
    """Where a module would come from. Asking Python itself would import the packages above it."""
    first, *rest = name.split(".")
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):
        return None
    for part in rest:
        places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec is not None else []
        files = [file for place in places for file in (place / part / "__init__.py", place / f"{part}.py")]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            return None
        spec = ModuleSpec(name, None, origin=str(file), is_package=file.name == "__init__.py")
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(str(file.parent))
    return spec


def _read(thing: types.FunctionType | types.ModuleType) -> SourceFile | None:
    try:
        # By its code, or it would be the source of the function that this one wraps.
        lines, _ = inspect.findsource(thing.__code__ if isinstance(thing, types.FunctionType) else thing)
    except (OSError, TypeError, IndexError, SyntaxError, AttributeError):
        return None
    file = thing.__code__.co_filename if isinstance(thing, types.FunctionType) else str(thing.__file__)
    return _parse("".join(lines), file)


@functools.lru_cache(maxsize=256)
def _parse(text: str, name: str) -> SourceFile | None:
    try:
        tree = ast.parse(text)
        whole = compile(text, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    file = SourceFile(name, tree, {}, {}, {})
    waiting = [whole]
    while waiting:
        code = waiting.pop()
        file.codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
        waiting += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    nodes: list[tuple[ast.AST, str]] = [(tree, "")]
    while nodes:
        node, inside = nodes.pop()
        if isinstance(node, ast.Lambda):
            file.functions.setdefault(("<lambda>", node.lineno), []).append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            file.functions.setdefault((node.name, first), []).append(node)
            inside = f"{inside}{node.name}.<locals>."
        elif isinstance(node, ast.ClassDef):
            file.classes.setdefault(inside + node.name, []).append(node)
            inside = f"{inside}{node.name}."
        nodes += [(child, inside) for child in reversed(list(ast.iter_child_nodes(node)))]
    return file


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two pieces of code do the same, wherever they stand."""
    if (one.co_code, one.co_names, one.co_varnames, one.co_freevars) != (
        other.co_code,
        other.co_names,
        other.co_varnames,
        other.co_freevars,
    ):
        return False
    return len(one.co_consts) == len(other.co_consts) and all(map(_same_constant, one.co_consts, other.co_consts))


def _same_constant(one: Any, other: Any) -> bool:
    if isinstance(one, types.CodeType):
        return isinstance(other, types.CodeType) and _same(one, other)
    return (type(one) is type(other) and repr(one) == repr(other)) or (isinstance(one, frozenset) and one == other)


def _position(node: ast.expr) -> tuple[int | None, ...]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


# ── what it says ──────────────────────────────────────────────────────────────────────────


def canonical(node: ast.AST, renamed: Mapping[str, str] | None = None, without: Collection[ast.AST] = ()) -> str:
    """What source code says: blind to docstrings, comments and formatting, and the same on every Python.

    Parameters:
        node: the source
        renamed: other names for some of its names
        without: nodes in lists of others, such as arguments, that are left out

    Examples:
        >>> one, two = ast.parse("def f(a): return a+1"), ast.parse('def f(a):\\n  "Adds."\\n  return (a + 1) # so')
        >>> canonical(one) == canonical(two)
        True
    """
    names = renamed or {}
    written: list[str] = []
    waiting: list[Any] = [node]
    while waiting:
        one = waiting.pop()
        match one:
            case _Word():
                written.append(one)
            case list():
                waiting += [_Word("]"), *(part for part in reversed(one) if part not in without), _Word("[")]
            case ast.Constant():
                written.append(_constant(one.value))
            case ast.JoinedStr():
                waiting += [_Word(")"), _joined(one.values), _Word("(JoinedStr")]
            case ast.AST():
                waiting.append(_Word(")"))
                for name in reversed(one._fields):
                    value: Any = getattr(one, name, None)
                    if (
                        name == "body"
                        and isinstance(one, _DOCUMENTED)
                        and ast.get_docstring(one, clean=False) is not None
                    ):
                        value = value[1:]
                    if value is None or value == [] or name in _SAYS_NOTHING:
                        continue
                    if name == "format_spec" and not _joined(value.values):
                        continue
                    if isinstance(one, ast.Name | ast.arg) and isinstance(value, str):
                        value = names.get(value, value)
                    waiting += [value, _Word(f" {name}=")]
                waiting.append(_Word(f"({type(one).__name__}"))
            case _:
                written.append(_constant(one))
    return "".join(written)


class _Word(str):
    """A piece of the form itself, and no string of the source."""

    __slots__ = ()


def _constant(value: object) -> str:
    """A constant that source code can hold; its text is the same whatever Unicode a Python knows."""
    return f"{value:#x}" if type(value) is int else ascii(value)


def _joined(values: Sequence[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string; Pythons differ in how they cut the text between two braces."""
    parts: list[ast.expr] = []
    for one in values:
        if isinstance(one, ast.Constant):
            before = parts.pop() if parts and isinstance(parts[-1], ast.Constant) else None
            text = (str(before.value) if isinstance(before, ast.Constant) else "") + str(one.value)
            if text:
                parts.append(ast.Constant(text))
        else:
            parts.append(one)
    return parts


# ── what it names ─────────────────────────────────────────────────────────────────────────


def free_names(node: ast.AST, *, bare: bool = False) -> Names:
    """The names that source code uses and doesn't define itself, wherever in it.

    Annotations count where something reads them: in classes, and on functions that are decorated.

    Parameters:
        node: the source
        bare: whether it is a function whose decorators and annotations don't count

    Examples:
        >>> sorted(free_names(ast.parse("def f(a): return a + rate * table.prices[0]")).items())
        [('rate', {()}), ('table', {('prices',)})]
    """
    found = _Free()
    if bare and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        found.visit_body(node)
    else:
        found.visit(node)
    return found.names


class _Free(ast.NodeVisitor):
    def __init__(self) -> None:
        self.names: Names = {}
        self.bound: list[set[str]] = []
        self.in_class = False

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.insert(0, base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            self._add(base.id, *attributes)
        else:
            self.visit(base)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._visit(node.decorator_list)
        if node.decorator_list:
            listed = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            extra = [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
            self._annotations([*(one.annotation for one in (*listed, *extra)), node.returns])
        self.visit_body(node)

    def visit_body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Visit a function without what stands around it."""
        self._function(node.args, node.body, _type_parameters(node))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node.args, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit([*node.decorator_list, *node.bases, *node.keywords])
        before, self.in_class = self.in_class, True
        self.bound.append(_type_parameters(node))
        self._visit(node.body)
        self.bound.pop()
        self.in_class = before

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self.in_class:
            self._annotations([node.annotation])
        self._visit([node.target, *([node.value] if node.value else [])])

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self._comprehension(node.generators, [node.elt])

    visit_SetComp = visit_GeneratorExp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, [node.key, node.value])

    def _comprehension(self, generators: Sequence[ast.comprehension], results: Sequence[ast.expr]) -> None:
        self.visit(generators[0].iter)
        self.bound.append(set().union(*(_bound([one.target]) for one in generators)))
        self._visit([one.target for one in generators])
        self._visit([one.iter for one in generators[1:]])
        self._visit([test for one in generators for test in one.ifs])
        self._visit(results)
        self.bound.pop()

    def _function(self, args: ast.arguments, body: Sequence[ast.AST], more: Set[str] = frozenset()) -> None:
        self._visit([*args.defaults, *(one for one in args.kw_defaults if one is not None)])
        listed = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        self.bound.append({one.arg for one in listed if one is not None} | _bound(body) | more)
        before, self.in_class = self.in_class, False
        self._visit(body)
        self.in_class = before
        self.bound.pop()

    def _annotations(self, annotations: Iterable[ast.expr | None]) -> None:
        for one in annotations:
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                try:
                    self.visit(ast.parse(one.value, mode="eval"))
                except SyntaxError:
                    continue
            elif one is not None:
                self.visit(one)

    def _visit(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _add(self, name: str, *attributes: str) -> None:
        if not any(name in names for names in self.bound):
            self.names.setdefault(name, set()).add(attributes)


def _type_parameters(node: ast.AST) -> set[str]:
    return {one.name for one in getattr(node, "type_params", [])}


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that some nodes give a value in their own scope."""
    names: set[str] = set()
    elsewhere: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.add(name)
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
            case ast.Global(names=given) | ast.Nonlocal(names=given):
                elsewhere.update(given)
        if isinstance(node, _COMPREHENSIONS):
            # What these name is their own, but for what they assign with `:=`.
            inside = [one for one in ast.walk(node) if isinstance(one, ast.NamedExpr)]
            names.update(one.target.id for one in inside)
        elif not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)
    return names - elsewhere


def binding(tree: ast.Module, name: str | None) -> list[ast.stmt]:
    """The statements of a module that give a name its value (None: all of them)."""
    listed = list(_statements(tree.body))
    return listed if name is None else [node for node in listed if name in _bound([node])]


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, with those that stand in an ``if`` or a ``try``."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.TryStar):
            for part in (node.body, *(one.body for one in getattr(node, "handlers", ())), node.orelse):
                yield from _statements(part)
            yield from _statements(getattr(node, "finalbody", ()))
        else:
            yield node


def imported(node: ast.AST, package: str) -> list[tuple[str, str | None]]:
    """What is imported somewhere in source code: modules, each with the name that is taken from it (None: all of it).

    Parameters:
        node: the source
        package: the package that it stands in, which relative imports go by
    """
    found: list[tuple[str, str | None]] = []
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            found += [(alias.name, None) for alias in one.names]
        elif isinstance(one, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - one.level + 1] if one.level else []
            module = ".".join([*above, *([one.module] if one.module else [])])
            found += [(module, None if alias.name == "*" else alias.name) for alias in one.names]
    return found
