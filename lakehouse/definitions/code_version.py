"""Code versions: what a function does as a short hash, blind to comments, docstrings and formatting.

A function counts with all that it uses of its own project: helpers, classes and constants, however far, be they named,
held in lists and dicts, bound, partly applied or wrapped. What comes from an installed library counts by its name: an
upgrade of one is no change of the asset. It goes by source, so that it is the same on every Python; where no source is
to be had (``exec``), by the compiled code.
"""

from __future__ import annotations

import abc
import ast
import enum
import functools
import hashlib
import inspect
import os
import sys
import sysconfig
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, final

from lakehouse.definitions import constants
from lakehouse.definitions.constants import Opaque, brief, many
from lakehouse.definitions.source import (
    FunctionNode,
    Names,
    SourceFile,
    binding,
    canonical,
    file_of,
    free_names,
    functions_of,
    imported,
    module_source,
)

MARK: Final = "2:"
"""Begins what this module makes. What has none was made by its predecessor, [lakehouse.definitions.former][]."""

_OWN = "lakehouse.assets"
"""The one part of this library that is a project of its own."""


@final
@dataclass(frozen=True)
class CodeVersion:
    """What stands for some code.

    Parameters:
        text: the short hash
        unseen: what the code uses and the hash leaves out: nobody can say whether it is the same in another process
    """

    text: str
    unseen: tuple[str, ...] = ()


def code_version(*things: Any, module: str | None = None) -> CodeVersion:
    """What stands for a function, or for several things: functions, checks, constants.

    Parameters:
        things: the function
        module: where they are used: what belongs to the same project counts; by default that of the first thing

    Examples:
        >>> def one(): return 1
        >>> def two():
        ...     # the same
        ...     return 1
        >>> code_version(one) == code_version(two)
        True
    """
    reader = _Reader(things[0], module)
    written = [reader.value(thing, "", top=True) for thing in things]
    return CodeVersion(MARK + digest(*written, *reader.parts), tuple(reader.unseen))


def fingerprint(*things: Any, module: str | None = None) -> str:
    """The short hash of a function, or of several things; see [code_version][].

    Parameters:
        things: the function
        module: where they are used

    Examples:
        >>> fingerprint(min, {"a": 1}) == fingerprint(max, {"a": 1})
        False
    """
    return code_version(*things, module=module).text


def digest(*parts: str) -> str:
    """Twelve hexadecimal digits that stand for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


class _Reader:
    """Collects what code is made of. Functions and classes are written down once, and then go by a number."""

    def __init__(self, first: Any, module: str | None) -> None:
        function = first
        while isinstance(function, functools.partial | types.MethodType):
            function = function.func if isinstance(function, functools.partial) else function.__func__
        if isinstance(function, types.FunctionType):
            function = inspect.unwrap(function)
        if module is None and isinstance(function, types.FunctionType | type):
            module = function.__module__
        self.project = project_of(module or "")
        self.module = module
        self.globals = getattr(function, "__globals__", None)
        self.file = file_of(function) if isinstance(function, types.FunctionType) else None
        self.homes = _homes(module or "")
        self.parts: list[str] = []
        self.unseen: dict[str, None] = {}
        self._numbers: dict[int, str] = {}
        self._kept: list[Any] = []
        self._open: set[int] = set()
        self._static: set[tuple[str, str | None]] = set()

    # ── values ────────────────────────────────────────────────────────────────────────────

    def value(self, value: Any, path: str, *, top: bool = False) -> str:
        """Anything that code uses, as text. What has none is noted with its path, and gives no more than its type."""
        kind = type(value)
        try:
            return self._value(value, path, top=top)
        except Exception:  # opaque, nested too deeply, or raised by an object that is looked at
            self.unseen.setdefault(f"{path or 'it'} ({kind.__module__}.{kind.__qualname__})")
            return f"?{self._named(kind)}"

    def _value(self, value: Any, path: str, *, top: bool = False) -> str:
        text = constants.plain(value, self.homes)
        if text is not None:
            return text
        match value:
            case types.FunctionType():
                return self._function(value, top=top)
            case types.MethodType():
                return self._method(value, path)
            case functools.partial() | functools.partialmethod():
                given = (value.args, value.keywords)
                return f"partial({self.value(value.func, path, top=top)},{self.value(given, path)})"
            case type():
                return self._class(value)
            case types.ModuleType():
                return self._module(value, path, {()})
            case enum.Enum():
                written = value.name if value.name is not None else self.value(value.value, path)
                return f"{self._class(type(value))}.{written}"
            case types.BuiltinFunctionType() | types.MethodWrapperType():
                return self._builtin(value, path)
            case staticmethod() | classmethod():
                return f"{type(value).__name__}({self.value(value.__func__, path)})"
            case property():
                return f"property({self.value([value.fget, value.fset, value.fdel], path)})"
            case functools.cached_property():
                return f"cached_property({self.value(value.func, path)})"
            case types.MappingProxyType():
                return self._within(value, lambda: self.value(dict(value), path))
        if (origin := typing.get_origin(value)) is not None:
            written = "union" if origin in (typing.Union, types.UnionType) else self.value(origin, path)
            return f"type({written},{self.value(typing.get_args(value), path)})"
        if value is os.environ:
            return "environment"
        return self._within(value, lambda: self._held(value, path))

    def _held(self, value: Any, path: str) -> str:
        """What holds other values."""
        match type(value):
            case kind if kind in (list, tuple):
                return f"{kind.__name__}[{self._items(value, path)}]"
            case kind if kind in (set, frozenset):
                return f"{kind.__name__}{{{brief(','.join(sorted(self.value(one, path) for one in value)))}}}"
            case kind if kind is dict:
                keys, values = list(value), list(value.values())
                if (written := many(keys)) is not None and (held := many(values)) is not None:
                    return f"dict{{{written},{held}}}"
                pairs = [f"{self.value(k, path)}:{self.value(v, f'{path}[{k!r:.40}]')}" for k, v in value.items()]
                return f"dict{{{brief(','.join(pairs))}}}"
        written = constants.frame(value, lambda one: self._strictly(one, path))
        return written if written is not None else self._instance(value, path)

    def _items(self, values: Sequence[Any], path: str) -> str:
        written = many(values)
        if written is None:
            written = brief(",".join([self.value(one, f"{path}[{place}]") for place, one in enumerate(values)]))
        return written

    def _instance(self, value: Any, path: str) -> str:
        """An object: its class, with what it is made of."""
        kind = type(value)
        written = self._class(kind)
        state = getattr(value, "__dict__", None) or {}
        wrapped = state.get("__wrapped__")
        if callable(wrapped):  # such as a cached function
            return f"{written}({self.value(wrapped, path)})"
        if any((base.__module__, base.__name__) == _ASSET for base in kind.__mro__):
            return self.value(value.function, path, top=True)
        if kind.__module__.startswith("lakehouse.") and not self._own(kind.__module__):
            if not is_dataclass(value):
                return written
            return f"{written}{self.value({f.name: getattr(value, f.name) for f in fields(value)}, path)}"
        for base in kind.__mro__:
            if (project_of(base.__module__), base.__name__) in _SECRET:
                return written
            if not self._own_class(base) and base.__name__.endswith(_WITHOUT_CONSEQUENCE):
                return written
        if self._own_class(kind):
            parts = [self.value(self._state(value), path)]
            for base in (tuple, list, dict, set, frozenset, str, int, float, bytes):
                if isinstance(value, base):
                    parts.append(self.value(base(value), path))
                    break
            return f"{written}{''.join(parts)}"
        return f"{written}{self._reduced(value, path)}"

    def _state(self, value: Any) -> dict[str, Any]:
        """What an object of the project's own holds, but for what it has worked out and kept."""
        found: dict[str, Any] = {}
        for base in type(value).__mro__:
            slots = base.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if not name.startswith("__") and hasattr(value, name):
                    found[name] = getattr(value, name)
        found |= getattr(value, "__dict__", {})
        found |= getattr(value, "__pydantic_extra__", None) or {}
        kept = {n for base in type(value).__mro__ for n, one in vars(base).items() if _is_cached_property(one)}
        return {name: found[name] for name in sorted(found) if name not in kept}

    def _reduced(self, value: Any, path: str) -> str:
        """An object of a library, as it would be pickled."""
        kind = type(value)
        if hasattr(kind, "__next__") or kind.__module__ in _BY_CHANCE or kind.__module__.startswith("numpy.random"):
            raise Opaque
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return self.value(list(value), path)
        if hasattr(kind, "__pydantic_fields__"):
            return self.value(self._state(value), path)
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            raise Opaque from error
        if isinstance(reduced, str):
            return reduced
        make, given, *rest = reduced
        held = [list(one) if hasattr(one, "__next__") else one for one in rest[:3]]
        return "".join(self._strictly(one, path) for one in (make, list(given), *held))

    def _strictly(self, value: Any, path: str) -> str:
        """A part of something that is written down as a whole or not at all."""
        before = dict(self.unseen)
        written = self.value(value, path)
        if self.unseen != before:
            self.unseen = before
            raise Opaque
        return written

    def _within(self, value: Any, write: Callable[[], str]) -> str:
        if id(value) in self._open:
            return "itself"
        self._open.add(id(value))
        try:
            return write()
        finally:
            self._open.discard(id(value))

    # ── functions ─────────────────────────────────────────────────────────────────────────

    def _function(self, function: types.FunctionType, *, top: bool = False, decorated: bool = False) -> str:
        if (number := self._numbers.get(id(function))) is not None:
            return number
        wrapped = vars(function).get("__wrapped__")
        inside = ""
        if isinstance(wrapped, types.FunctionType):
            inside = f"({self._function(wrapped, top=top, decorated=True)})"
        elif callable(wrapped):
            inside = f"({self.value(wrapped, function.__name__, top=top)})"
        if (inside or not top) and not self._own_function(function):
            # A library's own; what it was made around of ours counts.
            inner = map(_content, function.__closure__ or ())
            held = [
                one for one in inner if isinstance(one, types.FunctionType | functools.partial) or self._is_ours(one)
            ]
            registry = vars(function).get("registry")  # of functools.singledispatch
            held += [dict(registry)] if isinstance(registry, Mapping) else []
            return f"{self._named(function)}{inside}{''.join(self.value(one, function.__name__) for one in held)}"
        return self._once(function, lambda: self._function_text(function, top, decorated) + inside)

    def _function_text(self, function: types.FunctionType, top: bool, decorated: bool) -> str:
        file = file_of(function)
        nodes = file.function(function.__code__) if file is not None else []
        closed = dict(zip(function.__code__.co_freevars, map(_content, function.__closure__ or ()), strict=False))
        names: Names = {}
        for node in nodes:
            around = self._decorators(node, function) if top and decorated else []
            _merge(names, free_names(node, bare=top))
            for one in around:
                _merge(names, free_names(one))
            self._imports(node, function.__globals__.get("__package__") or "")
        written = [_bare(node, around) if top else canonical(node) for node in nodes]
        if not nodes:
            written = [bytecode(function.__code__, function.__doc__)]
            every = set(names_in(function.__code__))
            names = {name: {(other,) for other in every} for name in every}
        written += self._uses(names, {**function.__globals__, **closed}, file if nodes else None, set(closed))
        written.append(self.value([function.__defaults__ or (), function.__kwdefaults__ or {}], function.__name__))
        more = {name: one for name, one in vars(function).items() if name != "__wrapped__"}
        if more and not top:
            written.append(self.value(more, function.__name__))
        return "\n".join(written)

    def _decorators(self, node: FunctionNode, function: types.FunctionType) -> list[ast.expr]:
        """What wraps an asset's function, beside what makes it an asset."""
        found = []
        for one in getattr(node, "decorator_list", []):
            roots = [function.__globals__.get(name) for name in free_names(one)]
            names = [getattr(root, "__module__", None) or getattr(root, "__name__", "") for root in roots[:1]]
            if not any(str(name).partition(".")[0] == "lakehouse" for name in names):
                found.append(one)
        return found

    def _uses(self, names: Names, scope: Mapping[str, Any], file: SourceFile | None, closed: set[str]) -> list[str]:
        """What some names mean where they are used."""
        written = []
        for name, attributes in sorted(names.items()):
            if name not in scope or (name.startswith("__") and name.endswith("__")):
                continue
            origin = file.imports.get(name) if file is not None and name not in closed else None
            if origin is not None and not self._own(origin):
                written.append(f"{name}={origin}")
            elif isinstance(scope[name], types.ModuleType):
                written.append(f"{name}={self._module(scope[name], name, attributes)}")
            else:
                before = len(self.unseen)
                written.append(f"{name}={self.value(scope[name], name)}")
                if len(self.unseen) > before and file is not None and name not in closed:
                    # At least what the module says of it.
                    written += [canonical(one) for one in binding(file.tree, name)]
        return written

    def _method(self, method: types.MethodType, path: str) -> str:
        owner, function = method.__self__, method.__func__
        if self._is_ours(function) or self._is_ours(type(owner)):
            return f"method({self.value(function, path)},{self.value(owner, path)})"
        if _of_module(method):
            return self._named(function)
        return f"method({self._named(function)},{self.value(owner, path)})"

    def _builtin(self, function: Any, path: str) -> str:
        owner = function.__self__
        if owner is None or isinstance(owner, types.ModuleType) or _of_module(function):
            return self._named(function)
        return f"method({function.__name__},{self.value(owner, path)})"

    # ── classes and modules ───────────────────────────────────────────────────────────────

    def _class(self, cls: type) -> str:
        if not self._own_class(cls):
            return self._named(cls)
        return self._numbers.get(id(cls)) or self._once(cls, lambda: self._class_text(cls))

    def _class_text(self, cls: type) -> str:
        file = file_of(cls)
        if file is None and cls.__module__ == self.module:
            file = self.file
        nodes = file.klass(cls) if file is not None else []
        # What a dataclass is given comes from no file.
        functions = [one for one in functions_of(cls) if self._own_function(one) and not _is_generated(one, cls)]
        if not all(file and file.function(one.__code__) for one in functions if _is_of(one, cls)):
            nodes = []  # what runs is not what the file says
        inside = [one.__globals__ for one in functions if _is_of(one, cls)]
        module = vars(sys.modules.get(cls.__module__, types.SimpleNamespace()))
        scope = inside[0] if inside else self.globals if cls.__module__ == self.module and self.globals else module
        text = [cls.__qualname__.rpartition(".")[2]]
        names: Names = {}
        bound: set[str] = set()
        for node in nodes:
            text.append(canonical(node))
            _merge(names, free_names(node))
            bound |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
        text += self._uses(names, scope, file, set())
        text += [self.value(base, cls.__name__) for base in (*cls.__bases__, type(cls)) if base is not object]
        if issubclass(cls, enum.Enum):
            members = {name: one.value for name, one in cls.__members__.items()}
            return "\n".join([*text, self.value(members, cls.__name__)])
        if hasattr(cls, "_fields") and issubclass(cls, tuple):
            return "\n".join([*text, ascii(getattr(cls, "_fields", ()))])
        # What a library makes of its models' fields says no more than the source does.
        declares = bool(nodes) and type(cls) not in (type, abc.ABCMeta) and not self._own_class(type(cls))
        for name, value in sorted(vars(cls).items()):
            if (name.startswith("_") and name not in bound) or isinstance(value, types.MemberDescriptorType):
                continue
            if declares and (name not in bound or not (constants.is_plain(value) or self._own_class(type(value)))):
                continue
            if isinstance(value, types.FunctionType | staticmethod | classmethod | property):
                continue
            text.append(f"{name}={self.value(value, f'{cls.__name__}.{name}')}")
        more = [one for one in functions if one.__closure__ or not nodes or not _is_of(one, cls)]
        return "\n".join([*text, *(self.value(one, cls.__name__) for one in more)])

    def _module(self, module: types.ModuleType, path: str, attributes: set[tuple[str, ...]]) -> str:
        """A module by what is taken from it; as a whole where it is handed on."""
        if not self._own(module.__name__):
            return f"module {module.__name__}"
        written = []
        for first, *rest in sorted(attributes) if () not in attributes else ():
            value = vars(module).get(first)
            if isinstance(value, types.ModuleType):
                written.append(f"{first}={self._module(value, f'{path}.{first}', {tuple(rest)})}")
            elif first in vars(module):
                written.append(f"{first}={self.value(value, f'{path}.{first}')}")
        if () in attributes:
            self._static_code(module.__name__, None)
        return f"module[{','.join(written)}]"

    def _imports(self, node: ast.AST, package: str) -> None:
        """What a function imports when it runs: read and not imported, for it may not work where plans are made."""
        for module, name in imported(node, package):
            if self._own(module):
                self._static_code(module, name)

    def _static_code(self, module: str, name: str | None) -> None:
        """What a module says of a name (None: all that it says), and of all that goes into that."""
        if (module, name) in self._static:
            return
        self._static.add((module, name))
        found = module_source(module)
        if found is None:
            self.unseen.setdefault(f"{module} (a module whose source is not to be had)")
            return
        file, package = found
        statements = binding(file.tree, name)
        if name is not None and not statements and module_source(f"{module}.{name}") is not None:
            self._static_code(f"{module}.{name}", None)
        for statement in statements:
            self._imports(statement, package)
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                self.parts.append(f"{name}={canonical(statement)}")
            for used in sorted(free_names(statement)) if name is not None else ():
                if binding(file.tree, used):
                    self._static_code(module, used)

    # ── whose it is ───────────────────────────────────────────────────────────────────────

    def _own(self, module: str) -> bool:
        """Whether a module belongs to the people who wrote the function, and not to a library."""
        if module == "lakehouse" or module.startswith("lakehouse."):
            return module.startswith(_OWN) and self.project == _OWN
        return project_of(module) == self.project or not installed(project_of(module))

    def _own_function(self, function: types.FunctionType) -> bool:
        if function.__globals__ is self.globals:
            return True
        return self._own(function.__globals__.get("__name__") or "")

    def _own_class(self, cls: type) -> bool:
        if cls.__module__ == "builtins":  # of a text that was run
            return bool(cls.__flags__ & _HEAP_TYPE) and self.project == "builtins"
        return self._own(cls.__module__)

    def _is_ours(self, thing: Any) -> bool:
        if isinstance(thing, types.FunctionType):
            return self._own_function(thing)
        return isinstance(thing, type) and self._own_class(thing)

    def _named(self, thing: Any) -> str:
        """Something of a library, by the name that it has there: less of it than where it lies, which changes."""
        if isinstance(thing, types.FunctionType):  # which may bear the name of what it wraps
            module, name = thing.__globals__.get("__name__"), thing.__code__.co_qualname
        else:
            owner = getattr(thing, "__objclass__", None)
            module = getattr(thing, "__module__", None) or getattr(owner, "__module__", None)
            name = str(getattr(thing, "__qualname__", None) or getattr(thing, "__name__", ""))
        library = project_of(str(module or "builtins")).lstrip("_")
        return f"{'os' if library in ('posixpath', 'ntpath', 'posix', 'nt') else library}:{name}"

    # ── each once ─────────────────────────────────────────────────────────────────────────

    def _once(self, thing: Any, text: Callable[[], str]) -> str:
        number = self._numbers[id(thing)] = f"#{len(self._kept)}"
        self._kept.append(thing)  # or another might be given its id
        self.parts.append(f"{number} {text()}")
        return number


_ASSET = ("lakehouse.definitions.asset", "Asset")
_SECRET = {("pydantic", name) for name in ("Secret", "SecretStr", "SecretBytes")}
_WITHOUT_CONSEQUENCE = ("Logger", "Lock", "lock", "Semaphore", "Event", "Condition")
"""What these words end is a library's way to log or to wait, and makes no difference to what comes out."""
_BY_CHANCE = ("random", "_random", "secrets", "tempfile")
_HEAP_TYPE = 1 << 9


def project_of(module: str) -> str:
    """The project that a module belongs to, by its first name."""
    return _OWN if module.startswith(_OWN) else module.partition(".")[0]


@functools.cache
def installed(package: str) -> bool:
    """Whether a package is the standard library's, or was installed beside it, or is Spark's own where that lies."""
    if package == "__main__":
        return False
    if package in sys.stdlib_module_names:
        return True
    file = _file(package)
    if file is None:
        return True
    places = tuple(sysconfig.get_path(p) for p in ("stdlib", "platstdlib", "purelib", "platlib"))
    places += tuple(filter(None, [os.environ.get("SPARK_HOME")]))
    return file.startswith(places) or not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _file(package: str) -> str | None:
    """Where a package lies, be it imported or not."""
    found = sys.modules.get(package)
    spec = getattr(found, "__spec__", None)
    if found is None:
        try:
            spec = find_spec(package)
        except (ImportError, ValueError):
            return None
    file = getattr(found, "__file__", None) or getattr(spec, "origin", None)
    folders: Iterable[str] = getattr(spec, "submodule_search_locations", None) or ()
    return file or next(iter(folders), None)


def _homes(module: str) -> list[Path]:
    """The folders that lie elsewhere on another machine: the one that the package is in, and the project's own."""
    file = _file(module.partition(".")[0]) if module else None
    if file is None or not Path(file).is_absolute() or not Path(file).exists():
        return []
    place = Path(file).parent
    package = place.parent if Path(file).name == "__init__.py" else place
    marked = [one for one in (package, *package.parents) if (one / "pyproject.toml").is_file()]
    return [package, *marked[:1]]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _merge(names: Names, more: Names) -> None:
    for name, attributes in more.items():
        names.setdefault(name, set()).update(attributes)


def _is_cached_property(thing: Any) -> bool:
    return isinstance(thing, functools.cached_property) or type(thing).__name__ == "cached_property"


def _of_module(function: Any) -> bool:
    """Whether it is a method that a module offers as its own function, such as ``random.randint``."""
    module = sys.modules.get(type(function.__self__).__module__)
    return bool(getattr(module, function.__name__, None) == function)


def _is_generated(function: types.FunctionType, cls: type) -> bool:
    """Whether nobody wrote a method, such as a dataclass's ``__init__``."""
    return is_dataclass(cls) and function.__name__.startswith("__") and function.__code__.co_filename == "<string>"


def _is_of(function: types.FunctionType, cls: type) -> bool:
    """Whether a class's body defines a function, and not some other place that gave it to the class."""
    return function.__code__.co_qualname.startswith(f"{cls.__qualname__}.")


def _bare(node: FunctionNode, around: list[ast.expr]) -> str:
    """An asset's own function: its name and schema count apart, and so does which assets its inputs are."""
    listed = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    places = {one.arg: f"input {place}" for place, one in enumerate(listed)}
    without: list[ast.AST] = []
    for call in (one for one in ast.walk(node.args) if isinstance(one, ast.Call)):
        if (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) == "From":
            without += [*call.args[:1], *(word for word in call.keywords if word.arg == "asset")]
    if not isinstance(node, ast.Lambda):
        node = type(node)(name="", args=node.args, body=node.body, decorator_list=around, returns=None)
    return canonical(node, places, without)


# ── compiled code ─────────────────────────────────────────────────────────────────────────


def names_in(code: types.CodeType) -> Iterable[str]:
    """The names that compiled code holds, of globals and attributes alike."""
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_in(constant)


def bytecode(code: types.CodeType, docstring: str | None = None) -> str:
    """What code does, where its source is not to be had: without its place, and the same in every process."""
    constants = [
        bytecode(c)
        if isinstance(c, types.CodeType)
        else repr(sorted(map(repr, c)) if isinstance(c, frozenset) else None if c == docstring else c)
        for c in code.co_consts
    ]
    return repr((code.co_code, code.co_names, code.co_varnames, constants))
