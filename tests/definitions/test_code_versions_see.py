"""The code version: it sees whatever a function uses, and is the same wherever and however that is looked at."""

import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import date, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Asset
from lakehouse.checks import accepted_values, expression, not_null, reconcile, row_count, unique
from lakehouse.definitions.code_version import code_version, fingerprint
from lakehouse.definitions.former import Dump, former_fingerprint

Project = Callable[..., Asset]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Writes a project, imports it, and gives its asset ``made``."""
    count = 0
    loaded: list[str] = []

    def write(source: str, **others: str) -> Asset:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
        for name, text in {"shop": source, **others}.items():
            sys.modules.pop(name, None)
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
            loaded.append(name)
        importlib.invalidate_caches()
        made = importlib.import_module("shop").made
        assert isinstance(made, Asset)
        assert made.code_version + made.checks_version + made.schema_version  # while its module is the one of that name
        return made

    yield write
    for name in loaded:
        sys.modules.pop(name, None)


USES = """
import datetime as dt, enum, functools, re
from dataclasses import dataclass, field
from functools import partial
import numpy as np, pandas as pd, polars as pl
from lakehouse import bronze
{given}
@bronze
def made():
    return {uses}
"""

CHANGES = {
    "a polars frame": (
        "RATES = pl.DataFrame({'a': ['x', 'y'], 'n': [OLD, 2]})",
        "RATES",
        "1",
        "3",
    ),
    "a frame's order": ("RATES = pl.DataFrame({'n': OLD})", "RATES", "[1, 2]", "[2, 1]"),
    "a frame's null": ("RATES = pl.DataFrame({'n': [1, OLD, 0]})", "RATES", "0", "None"),
    "a frame's types": (
        "R = pl.DataFrame({'n': [1]}, schema={'n': pl.OLD})",
        "R",
        "Int8",
        "Int16",
    ),
    "a frame's text": ("RATES = pl.DataFrame({'n': ['a' * 500 + OLD]})", "RATES", "'b'", "'c'"),
    "a frame's lists": ("RATES = pl.DataFrame({'n': [[1, OLD], []]})", "RATES", "1", "2"),
    "a frame's structs": ("RATES = pl.DataFrame({'n': [{'a': OLD}]})", "RATES", "1", "2"),
    "a frame's days": (
        "R = pl.DataFrame({'n': [dt.date(2024, 1, OLD)]})",
        "R",
        "1",
        "2",
    ),
    "a series": ("RATES = pl.Series([1.0, OLD])", "RATES.sum()", "2.0", "2.5"),
    "a lazy frame": ("R = pl.LazyFrame({'n': [OLD, 5]}).filter(pl.col('n') > 0)", "R", "1", "2"),
    "an expression": ("E = pl.col('a').rolling_mean(OLD)", "E", "3", "4"),
    "an expression's values": ("E = pl.col('a').is_in([*range(99), OLD])", "E", "3", "4"),
    "an expression's function": ("E = pl.col('a').map_batches(lambda s: s + OLD)", "E", "3", "4"),
    "a selector": ("import polars.selectors as cs\nE = cs.starts_with(OLD)", "E", "'a'", "'b'"),
    "a pandas frame": (
        "RATES = pd.DataFrame({'a': ['x', OLD], 'n': [1, 2]})",
        "RATES",
        "'y'",
        "'z'",
    ),
    "a pandas frame's numbers": ("RATES = pd.DataFrame({'n': [1, OLD]})", "RATES", "2", "3"),
    "a pandas index": ("RATES = pd.Series([1, 2], index=['a', OLD])", "RATES", "'b'", "'c'"),
    "a pandas time": (
        "T = pd.Timestamp('2024-01-01 00:00:00.000000001') + pd.Timedelta(OLD)",
        "T",
        "0",
        "1",
    ),
    "an array": ("RATES = np.arange(9000).reshape(OLD)", "RATES", "90, 100", "100, 90"),
    "an array's values": ("R = np.zeros(9000)\nR[4000] = OLD", "R", "0", "1"),
    "an array of objects": ("R = np.array(['a', OLD], dtype=object)", "R", "1", "2"),
    "a number of numpy": ("R = np.float32(OLD)", "R", "1", "2"),
    "an Arrow table": ("import pyarrow as pa\nR = pa.table({'a': [1, OLD]})", "R", "1", "2"),
    "a path": ("from pathlib import Path\nFILE = Path('rates') / OLD", "FILE", "'a.csv'", "'b.csv'"),
    "a decimal": ("from decimal import Decimal\nRATE = Decimal(OLD)", "RATE", "'1.0'", "'1.00'"),
    "a time": ("T = dt.datetime(2024, 1, 1, tzinfo=OLD)", "T", "dt.UTC", "None"),
    "a zone": ("from zoneinfo import ZoneInfo\nZ = ZoneInfo(OLD)", "Z", "'UTC'", "'Asia/Kolkata'"),
    "a regular expression": ("R = re.compile('a', OLD)", "R", "re.I", "re.M"),
    "a regular expression's method": ("find = re.compile(OLD).search", "find", "'a'", "'b'"),
    "a dataclass": (
        "@dataclass\nclass C:\n    n: int\n    m: dict = field(default_factory=dict)\nCONF = C(1, {'a': [OLD]})",
        "CONF.m",
        "1",
        "2",
    ),
    "a dataclass's default": (
        "@dataclass\nclass C:\n    n: int = OLD",
        "C()",
        "1",
        "2",
    ),
    "settings": (
        "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    n: int = 1\nS = S(n=OLD)",
        "S.n",
        "1",
        "2",
    ),
    "settings within settings": (
        "from pydantic import BaseModel\nclass T(BaseModel):\n    n: int\nclass S(BaseModel):\n    t: list[T]\n"
        "S = S(t=[T(n=OLD)])",
        "S",
        "1",
        "2",
    ),
    "an enum": ("class E(enum.Enum):\n    A = OLD", "E.A", "1", "2"),
    "an enum's other member": ("class E(enum.Enum):\n    A = 1\n    B = OLD\nX = E.A", "X", "2", "3"),
    "which member of an enum": ("class E(enum.Enum):\n    A = 1\n    B = 2\nX = E.OLD", "X", "A", "B"),
    "a named tuple": ("from collections import namedtuple\nP = namedtuple('P', 'a b')\nX = P(1, OLD)", "X", "1", "2"),
    "nested containers": ("TABLE = {'a': [({1, 2}, {'b': OLD})]}", "TABLE", "1", "2"),
    "a long list": ("TABLE = [*range(1000), OLD]", "TABLE", "1", "2"),
    "a long dict": ("TABLE = {**{str(n): n for n in range(1000)}, 'x': OLD}", "TABLE", "1", "2"),
    "an ordered dict": ("from collections import OrderedDict\nT = OrderedDict(a=OLD)", "T", "1", "2"),
    "a default dict": ("from collections import defaultdict\nT = defaultdict(OLD)", "T", "int", "list"),
    "a namespace": ("from types import SimpleNamespace\nT = SimpleNamespace(a=OLD)", "T.a", "1", "2"),
    "a partial": ("def f(a, b): return a\nF = partial(f, b=OLD)", "F(1)", "1", "2"),
    "a partial's function": (
        "def f(a): return a + OLD\nF = partial(f, 1)",
        "F()",
        "1",
        "2",
    ),
    "a partial of a partial": (
        "def f(*a): return a\nF = partial(partial(partial(f, 1), OLD), 3)",
        "F()",
        "1",
        "2",
    ),
    "a partial in a dict": ("F = {'a': [partial(max, OLD)]}", "F", "1", "2"),
    "a function in a list": ("def f(a): return a + OLD\nALL = [f]", "ALL", "1", "2"),
    "a function in a dict": ("def f(a): return a + OLD\nALL = {'a': (f,)}", "ALL", "1", "2"),
    "a library's function in a dict": ("import math\nALL = {'a': math.OLD}", "ALL", "floor", "ceil"),
    "a lambda": ("f = lambda a: a + OLD", "f(1)", "1", "2"),
    "one of two lambdas in a line": ("ALL = [lambda a: a + 1, lambda a: a + OLD][1:]", "ALL", "1", "2"),
    "a lambda in a chain": (
        "class B(list):\n    pass\nALL = (B([1])\n    .__class__([lambda a: a + OLD]))",
        "ALL",
        "1",
        "2",
    ),
    "a helper's helper": ("def g(a): return a + OLD\ndef f(a): return g(a)", "f(1)", "1", "2"),
    "a helper's default": ("N = OLD\ndef f(a, b=N): return a", "f(1)", "1", "2"),
    "a helper's decorator": (
        "def times(n):\n    def around(f):\n        @functools.wraps(f)\n        def g(*a): return f(*a) * n\n"
        "        return g\n    return around\n@times(OLD)\ndef f(a): return a",
        "f(1)",
        "1",
        "2",
    ),
    "what a decorator wraps": (
        "def plain(f):\n    @functools.wraps(f)\n    def g(*a): return f(*a)\n    return g\n"
        "@plain\ndef f(a): return a + OLD",
        "f(1)",
        "1",
        "2",
    ),
    "a cached function": ("@functools.cache\ndef f(a): return a + OLD", "f(1)", "1", "2"),
    "a dispatched function": (
        "@functools.singledispatch\ndef f(a): return a\n@f.register\ndef _(a: int): return OLD",
        "f(1)",
        "1",
        "2",
    ),
    "a closure": ("def make(n):\n    def f(a): return a + n\n    return f\nf = make(OLD)", "f(1)", "1", "2"),
    "a closure over a frame": (
        "def make(t):\n    return lambda: t\nf = make(pl.DataFrame({'a': [OLD]}))",
        "f()",
        "1",
        "2",
    ),
    "a class": ("class C:\n    def f(self): return OLD", "C().f()", "1", "2"),
    "a class's constant": ("class C:\n    N = OLD", "C.N", "1", "2"),
    "a class's constant that is worked out": ("def f(): return OLD\nclass C:\n    N = [f()]", "C.N", "1", "2"),
    "a class's constant that is set later": ("class C:\n    N = 0\nC.M = OLD", "C.M", "1", "2"),
    "a property": ("class C:\n    @property\n    def n(self): return OLD", "C().n", "1", "2"),
    "a class method": ("class C:\n    @classmethod\n    def n(cls): return OLD", "C.n()", "1", "2"),
    "an inherited method": ("class B:\n    def f(self): return OLD\nclass C(B): ...", "C().f()", "1", "2"),
    "a method inherited from afar": (
        "class A:\n    def f(self): return OLD\nclass B(A): ...\nclass C(dict, B): ...",
        "C().f()",
        "1",
        "2",
    ),
    "what a method names": ("def g(): return OLD\nclass C:\n    def f(self): return g()", "C().f()", "1", "2"),
    "a method from elsewhere": ("def g(self): return OLD\nclass C: ...\nC.f = g", "C().f()", "1", "2"),
    "an object": ("class C:\n    def __init__(self, n): self.n = n\nX = C({'a': OLD})", "X.n", "1", "2"),
    "an object with slots": (
        "class C:\n    __slots__ = ('n',)\n    def __init__(self, n): self.n = n\nX = C(OLD)",
        "X.n",
        "1",
        "2",
    ),
    "an object that is called": (
        "class C:\n    def __init__(self, n): self.n = n\n    def __call__(self): return self.n\nX = C(OLD)",
        "X()",
        "1",
        "2",
    ),
    "what an object does that is called": ("class C:\n    def __call__(self): return OLD\nX = C()", "X()", "1", "2"),
    "an object's base class": ("class B:\n    def f(self): return OLD\nclass C(B): ...\nX = C()", "X", "1", "2"),
    "a bound method": (
        "class C:\n    def __init__(self, n): self.n = n\n    def f(self): return self.n\nf = C(OLD).f",
        "f()",
        "1",
        "2",
    ),
    "what a bound method does": ("class C:\n    def f(self): return OLD\nf = C().f", "f()", "1", "2"),
    "a list of the project's own kind": ("class L(list): ...\nX = L([OLD])", "X", "1", "2"),
    "a variable": ("N = OLD", "[n + N for n in range(3)]", "1", "2"),
    "a variable of a nested function": ("N = OLD", "(lambda: [N for _ in 'ab'])()", "1", "2"),
    "a nested class": ("N = OLD", "type('C', (), {'f': lambda self: N})", "1", "2"),
    "what is imported": ("from math import OLD as f", "f(1.5)", "floor", "ceil"),
    "which library is meant": ("import OLD as lib", "lib", "json", "csv"),
    "another asset's function": ("@bronze\ndef other(): return OLD", "other()", "1", "2"),
    "a pandera schema": (
        "import pandera.polars as pa\nS = pa.DataFrameSchema({'a': pa.Column(int, pa.Check.ge(OLD))})",
        "S",
        "1",
        "2",
    ),
    "a pandera model": (
        "import pandera.polars as pa\nclass M(pa.DataFrameModel):\n    a: int = pa.Field(ge=OLD)",
        "M.validate(1)",
        "1",
        "2",
    ),
    "a big integer": ("N = 10 ** 5000 + OLD", "N", "1", "2"),
    "a number's type": ("N = OLD", "N", "1", "1.0"),
    "bytes": ("N = b'a' * 5000 + OLD", "N", "b'a'", "b'b'"),
    "partitions": ("from lakehouse import Daily\nD = Daily(OLD, column='d')", "D.keys", "'2024-01-01'", "'2024-01-02'"),
}


@pytest.mark.parametrize("given", CHANGES.values(), ids=CHANGES)
def test_a_change_of_what_a_function_uses_is_seen(project: Project, given: tuple[str, str, str, str]) -> None:
    text, uses, old, new = given
    source = USES.format(given=text, uses=uses)
    assert "OLD" in source
    before, again, after = (project(source.replace("OLD", value)) for value in (old, old, new))
    assert before.code_version == again.code_version, "the same, in another folder"
    assert before.code_version != after.code_version
    assert before.unseen == after.unseen == ()


ELSEWHERE = {
    "a helper": ("from rates import f", "f()", "def f(): return OLD"),
    "a helper by its module": ("import rates", "rates.f()", "def f(): return OLD"),
    "a helper by another name": ("import rates as r", "r.f()", "def f(): return OLD"),
    "a constant": ("from rates import N", "N", "N = OLD"),
    "a constant of a module": ("import rates", "rates.N", "N = OLD"),
    "a helper's constant": ("from rates import f", "f()", "N = {'a': OLD}\ndef f(): return N"),
    "a class": ("from rates import C", "C().f()", "class C:\n    def f(self): return OLD"),
    "a base class": ("import rates\nclass C(rates.B): ...", "C().f()", "class B:\n    def f(self): return OLD"),
    "an object": ("from rates import X", "X", "class C: ...\nX = C()\nX.n = OLD"),
    "all names": ("from rates import *", "f()", "def f(): return OLD"),
    "a module that is handed on": ("import rates", "vars(rates)", "def f(): return OLD"),
}


@pytest.mark.parametrize("given", ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_modules_of_the_project_are_seen(project: Project, given: tuple[str, str, str]) -> None:
    text, uses, rates = given
    source = USES.format(given=text, uses=uses)
    versions = [project(source, rates=rates.replace("OLD", n) + "\nUNUSED = 1").code_version for n in "112"]
    assert versions[0] == versions[1] != versions[2]


def test_what_a_module_has_besides_is_no_change(project: Project) -> None:
    source = USES.format(given="import rates", uses="rates.f()")
    one = project(source, rates="def f(): return 1\ndef g(): return 1")
    other = project(source, rates="# more\nimport json\ndef g(): return 2\ndef f():\n    'Gives one.'\n    return 1")
    assert one.code_version == other.code_version


IMPORTS = """
from lakehouse import bronze
@bronze
def made():
    {imports}
    return {uses}
"""


@pytest.mark.parametrize(
    ("imports", "uses"),
    [
        ("from rates import f", "f()"),
        ("import rates", "rates.f()"),
        ("from rates import f as g", "g()"),
    ],
)
def test_what_a_function_imports_when_it_runs_is_read_and_not_imported(
    project: Project, imports: str, uses: str
) -> None:
    source = IMPORTS.format(imports=imports, uses=uses)
    base = "raise SystemError('imported')\nimport base\nN = base.N\ndef f(): return g() + N\ndef g(): return OLD"
    versions = [
        project(source, rates=base.replace("OLD", str(n)), base=f"N = {m}").code_version
        for n, m in ((1, 1), (1, 1), (2, 1), (1, 2))
    ]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_helpers_that_are_named_in_a_circle_come_to_an_end(project: Project) -> None:
    source = USES.format(
        given="def f(n): return g(n)\ndef g(n): return f(n) + OLD\nALL = [f]\nALL.append(ALL)\n"
        "class C: ...\nC.me = C()\nC.me.all = ALL",
        uses="(made, C, ALL)",
    )
    versions = [project(source.replace("OLD", n)).code_version for n in "112"]
    assert versions[0] == versions[1] != versions[2]


DECORATED = """
import functools
from lakehouse import bronze, From
def times(n):
    def around(f):
        @functools.wraps(f)
        def g(*a, **k): return f(*a, **k) * n
        return g
    return around
{decorators}
def made(raw):
    {body}
"""


def test_what_stands_between_the_function_and_the_asset_is_seen(project: Project) -> None:
    def version(decorators: str, body: str = "return raw") -> str:
        return project(DECORATED.format(decorators=decorators, body=body)).code_version

    base = version("@bronze\n@times(2)")
    assert version("@bronze(tags=['a'])\n@times(2)") == base
    assert version("@bronze\n@times(2)", "'Makes it.'\n    return raw") == base
    others = [
        version("@bronze"),
        version("@bronze\n@times(3)"),
        version("@bronze\n@times(2)\n@times(2)"),
        version("@bronze\n@times(2)", "return raw + 1"),
    ]
    assert len({base, *others}) == 5


def test_a_local_name_is_not_what_the_module_calls_so(project: Project) -> None:
    body = "rate = 2\n    [rate for rate in (1, 2)]\n    return rate"
    source = "from lakehouse import bronze\nrate = OLD\n@bronze\ndef made():\n    " + body
    assert project(source.replace("OLD", "1")).code_version == project(source.replace("OLD", "2")).code_version


def test_a_comprehensions_name_is_its_own(project: Project) -> None:
    source = USES.format(given="rate = OLD", uses="[rate for rate in range(3)], rate")
    assert project(source.replace("OLD", "1")).code_version != project(source.replace("OLD", "2")).code_version


# ── the same everywhere ───────────────────────────────────────────────────────────────────


def test_paths_below_the_project_are_the_same_wherever_it_lies(project: Project) -> None:
    source = USES.format(
        given="from pathlib import Path\nimport os\nFILE = Path(__file__).parent / 'a.csv'\n"
        "TEXT = os.path.join(os.path.dirname(__file__), 'a.csv')",
        uses="FILE, TEXT",
    )
    assert project(source).code_version == project(source).code_version


def test_secrets_are_not_in_it(project: Project) -> None:
    source = USES.format(given="from pydantic import SecretStr\nKEY = SecretStr(OLD)", uses="KEY")
    assert project(source.replace("OLD", "'a'")).code_version == project(source.replace("OLD", "'b'")).code_version


def test_the_environment_is_not_in_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    source = USES.format(given="import os\nfrom os import environ\nALL = os.environ", uses="environ, ALL, os.environ")
    before = project(source).code_version
    monkeypatch.setenv("LAKEHOUSE_NEVER", "set")
    assert project(source).code_version == before


def test_what_was_worked_out_and_kept_is_no_change(project: Project) -> None:
    made = project(
        USES.format(
            given="import functools\nclass C:\n    @functools.cached_property\n    def n(self): return 1\nX = C()",
            uses="X.n",
        )
    )
    before = fingerprint(made.function)
    made.function()
    assert fingerprint(made.function) == before


PURE = """
import dataclasses, datetime, decimal, enum, functools, math, operator, pathlib, re, typing, zoneinfo
from collections import OrderedDict, defaultdict, namedtuple, deque
from pathlib import Path

class Color(enum.Enum):
    RED = 1
    BLUE = "b"

class Flags(enum.Flag):
    A = enum.auto()
    B = enum.auto()

@dataclasses.dataclass(frozen=True, order=True)
class Conf:
    rate: float = 1.5
    names: list[str] = dataclasses.field(default_factory=list)

class Row(typing.NamedTuple):
    a: int
    b: str = "x"

Point = namedtuple("Point", "x y")

class Base:
    table = {"a": (1, 2.5, None, ...)}
    def of(self, n=1): return n

class Rates(Base):
    __slots__ = ("n",)
    def __init__(self): self.n = 10**30
    def __call__(self, x): return super().of(x)

def wrap(f):
    @functools.wraps(f)
    def inner(*a, **k):
        return f(*a, **k)
    return inner

@wrap
def helper(x: "int", *, y: int = 2) -> int:
    '''Documented.'''
    try:
        match x:
            case {"a": [1, *rest], **others}: return rest, others
            case Row(a=1) | Row(a=2) as row if row: return row
            case _: pass
    except (ValueError, TypeError) as error:
        raise RuntimeError(f"{error!r:>{y}} {x=} {{}}" "tail") from error
    else:
        return [f"{n:>3}" for n in range(3) if (m := n)], -1, 1j, b"\\x00", "\\U0001fae8 \\u0378", lambda z: z ** 2
    finally:
        del x
    with open("x") as f, open("y"):
        async def inner(): return [i async for i in f]
    return x if y else not y

@functools.lru_cache(maxsize=8)
def cached(n): return helper(n)

@functools.singledispatch
def dispatched(n): return n

@dispatched.register
def _(n: int): return cached(n)

PARTIAL = functools.partial(functools.partial(helper, 1), y=3)
VALUES = [
    Color.RED, Flags.A | Flags.B, Conf(names=["a"]), Row(1), Point(1, 2), Rates(), Rates().of, {1, "a", 2.5},
    datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1, 2, 3),
    datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Kolkata")), datetime.time(1, 2), frozenset([3]),
    Path("a") / "b", pathlib.PurePosixPath("/x"), re.compile("a+", re.I), re.compile(b"a"), range(3), slice(1, None),
    OrderedDict(a=1), defaultdict(list, a=[1]), deque([1], 3), operator.itemgetter("a"), operator.attrgetter("a.b"),
    math.floor, len, str.upper, dict.fromkeys, "a".join, print, open, Path, list[int], int | None,
    typing.Callable[[int], str], dict[str, typing.Any],
    bytearray(b"a"), object(), {"f": [helper, lambda x: x + 1, lambda x: x + 2]},
    decimal.Decimal("1.50"), typing.Optional[int],
    functools.reduce, re.compile, decimal.Decimal, datetime.UTC, float("nan"), -0.0, 1e300, True, None, "x" * 1000,
]

def made(raw, n: int = 3):
    # what the asset does
    return PARTIAL, VALUES, dispatched(n), Color, Conf, raw
"""


def elsewhere(python: str, folder: Path, program: str, **env: str) -> str:
    """What a program prints in another process."""
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [python, "-B", "-P", "-c", program],
        env={"PYTHONPATH": os.pathsep.join([str(root), str(folder)]), **env},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()


SHOW = "import shop; from lakehouse.definitions.code_version import code_version; print(code_version(shop.made))"


def pythons() -> list[Any]:
    """Other Pythons that are there: any will do, for only the standard library is needed."""
    found = []
    for minor in range(11, 15):
        name = f"python3.{minor}"
        pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python3"))
        python = str(pyenv[-1]) if pyenv else shutil.which(name)
        there = python and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
        skip = [] if there else [pytest.mark.skip(reason=f"there is no {name} here")]
        found.append(pytest.param(python, id=name, marks=skip))
    return found


GOLDEN = Path(__file__).with_name("golden_code_versions.json")


@pytest.mark.parametrize("python", pythons())
def test_the_version_is_the_same_on_every_python(tmp_path: Path, python: str) -> None:
    (tmp_path / "shop.py").write_text(PURE)
    assert elsewhere(python, tmp_path, SHOW) == json.loads(GOLDEN.read_text())["pure"]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_version_is_the_same_in_every_process(tmp_path: Path, seed: str) -> None:
    (tmp_path / "shop.py").write_text(PURE)
    assert elsewhere(sys.executable, tmp_path, SHOW, PYTHONHASHSEED=seed) == json.loads(GOLDEN.read_text())["pure"]


def test_frames_have_the_versions_that_they_always_had() -> None:
    frame = pl.DataFrame(
        {"a": [1, None, 3], "b": ["x", None, "ü"], "c": [0.5, float("nan"), None], "d": [date(2024, 1, 1)] * 3},
        schema_overrides={"a": pl.Int16},
    ).with_columns(e=pl.concat_list("a", "a"), f=pl.struct("a", "d"), g=pl.col("b").cast(pl.Categorical))
    found = {
        "polars": fingerprint(frame),
        "sliced": fingerprint(pl.concat([frame[:1], frame[1:]], rechunk=False)),
        "lazy": fingerprint(frame.lazy()),
        "numpy": fingerprint(np.arange(10, dtype=">i4").reshape(2, 5)),
        "checks": fingerprint([check.parts for check in (row_count(min=2), unique("a"), not_null("a", "b"))]),
    }
    golden = json.loads(GOLDEN.read_text())
    assert found == {name: golden[name] for name in found}
    assert found["polars"] == found["sliced"]


# ── what can't be told ────────────────────────────────────────────────────────────────────


OPAQUE = {
    "what is another in each thread": ("import threading\nX = threading.local()", "X"),
    "a generator": ("X = (n for n in range(3))", "X"),
    "a random generator": ("import random\nX = random.Random()", "X"),
    "numpy's random generator": ("import numpy as np\nX = np.random.default_rng()", "X"),
    "a file that is scanned": ("import polars as pl\nX = pl.scan_csv('a.csv')", "X"),
    "a variable of a context": ("import contextvars\nX = contextvars.ContextVar('x')", "X"),
    "what a class holds": ("class C:\n    it = iter([])\nX = C()", "C.it"),
    "what an object holds": ("class C: ...\nX = C()\nX.it = iter([])", "X['it']"),
    "what a dict holds": ("X = {'a': [iter('a')]}", "X['a'][0]"),
    "what a helper uses": ("X = iter('a')\ndef f(): return X\nY = X", "X"),
}


@pytest.mark.parametrize("given", OPAQUE.values(), ids=OPAQUE)
def test_what_nobody_can_tell_is_named_once(
    project: Project, given: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    text, name = given
    source = USES.format(given=text, uses="f()" if "def f" in text else "X")
    made = project(source)
    with caplog.at_level(logging.WARNING, "lakehouse"):
        versions = {made.code_version for _ in range(3)}
    assert len(versions) == 1
    assert [one.partition(" (")[0] for one in made.unseen] == [name]
    message = caplog.text
    assert message.count("bronze.made") == message.count(name) == 1
    assert 'code_version="1"' in message
    assert "0x" not in message
    assert project(source).code_version == made.code_version


def test_of_what_nobody_can_tell_the_source_is_seen(project: Project) -> None:
    source = USES.format(given="import polars as pl\nX = pl.scan_csv('OLD.csv')", uses="X")
    assert project(source.replace("OLD", "a")).code_version != project(source.replace("OLD", "b")).code_version


def test_a_declared_version_is_told_of_nothing(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    source = USES.format(given="X = iter('a')", uses="X").replace("@bronze", "@bronze(code_version='7')")
    made = project(source)
    assert (made.code_version, made.unseen, caplog.text) == ("7", (), "")


@pytest.mark.parametrize(
    "quiet",
    ["import logging\nX = logging.getLogger(__name__)", "import threading\nX = threading.Lock()", "X = object()"],
)
def test_what_makes_no_difference_is_not_told(project: Project, quiet: str) -> None:
    assert project(USES.format(given=quiet, uses="X")).unseen == ()


def test_of_a_file_that_was_edited_since_what_runs_counts(project: Project) -> None:
    source = USES.format(given="N = 1", uses="N + 1")
    before = project(source)
    file = Path(sys.modules["shop"].__file__ or "")
    file.write_text(file.read_text().replace("N + 1", "N + 2"))
    while_it_runs = fingerprint(before.function)
    del sys.modules["shop"]
    importlib.invalidate_caches()
    for kept in (file.parent / "__pycache__").glob("*"):
        kept.unlink()
    after = importlib.import_module("shop").made
    assert after.code_version != while_it_runs, "what was built by the old code is built again by the new"


# ── constants ─────────────────────────────────────────────────────────────────────────────


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.dates(),
    st.datetimes(timezones=st.sampled_from([None, ZoneInfo("Asia/Kolkata"), timezone(timedelta(hours=1))])),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.text("ab/", max_size=4).map(PurePosixPath),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=4),
        st.frozensets(st.one_of(st.text(), st.integers()), max_size=4),
    ),
    max_leaves=12,
)


def exact(value: Any) -> str:
    """Tells all values apart that a program can tell apart."""
    if isinstance(value, frozenset):
        return f"set{sorted(map(exact, value))}"
    if isinstance(value, dict):
        return f"dict{[(exact(k), exact(v)) for k, v in value.items()]}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}{list(map(exact, value))}"
    return f"{type(value).__name__} {value!r} {getattr(value, 'fold', '')}"


@given(values, values)
@settings(max_examples=300)
def test_constants_have_one_version_if_and_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert code_version(one) == code_version(deepcopy(one))
    assert code_version(one).unseen == ()
    assert (fingerprint(one) == fingerprint(other)) == (exact(one) == exact(other))


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31), st.floats()), min_size=150, max_size=200), st.data())
@settings(max_examples=50)
def test_long_lists_are_told_apart_by_any_element(values: list[Any], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    other = [*values]
    other[place] = "else"
    assert fingerprint(values) == fingerprint([*values])
    assert fingerprint(values) != fingerprint(other)


# ── checks and schemas ────────────────────────────────────────────────────────────────────


def test_checks_are_told_apart_by_what_they_were_made_with() -> None:
    made = [
        row_count(min=1),
        row_count(min=2),
        row_count(min=1, blocking=False),
        unique("a"),
        unique("a", "b"),
        not_null("a"),
        accepted_values("a", [*range(1000), 1]),
        accepted_values("a", [*range(1000), 2]),
        expression("a", pl.col("a").rolling_mean(3) > 0),
        expression("a", pl.col("a").rolling_mean(4) > 0),
        expression("a", pl.col("a").map_batches(lambda s: s + 1) > 0),
        expression("a", pl.col("a").map_batches(lambda s: s + 2) > 0),
        reconcile("a", ours=pl.col("a").sum()),
        reconcile("a", ours=pl.col("a").max()),
        reconcile("a", tolerance=0.1),
    ]
    assert len({fingerprint(check.parts) for check in made}) == len(made)


CHECKED = """
import polars as pl
from lakehouse import bronze
from lakehouse.checks import custom, expression
LIMIT = {"a": OLD}
def limit(): return LIMIT
@custom
def small(frame): return frame.filter(pl.col("a") > limit()["a"])
@bronze(checks=[small])
def made() -> pl.LazyFrame: return pl.LazyFrame()
"""

MODELLED = """
from typing import Annotated
import polars as pl
import pandera.polars as pa
from lakehouse import bronze
LIMIT = OLD
def limit(): return LIMIT
class Rows(pa.DataFrameModel):
    a: int = pa.Field(isin=ISIN)
    @pa.check("a")
    def small(cls, data): return data.lazyframe.select(pl.col(data.key) < limit())
@bronze
def made() -> Annotated[pl.LazyFrame, Rows]: return pl.LazyFrame()
"""


def test_functions_in_checks_are_seen_with_all_that_they_use(project: Project) -> None:
    versions = [project(CHECKED.replace("OLD", n)).checks_version for n in "112"]
    assert versions[0] == versions[1] != versions[2]


def test_functions_in_a_schema_are_seen_with_all_that_they_use(project: Project) -> None:
    versions = [project(MODELLED.replace("OLD", n).replace("ISIN", "[1, 2]")).schema_version for n in "112"]
    assert versions[0] == versions[1] != versions[2]


def test_a_schema_with_a_set_of_values_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(MODELLED.replace("OLD", "1").replace("ISIN", "{'x', 'y', 'z'}"))
    show = "import shop; print(shop.made.schema_version)"
    assert len({elsewhere(sys.executable, tmp_path, show, PYTHONHASHSEED=seed) for seed in "123"}) == 1


def test_what_a_check_uses_and_nobody_can_tell_is_named(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    made = project(CHECKED.replace('{"a": OLD}', "iter('a')"))
    assert made.checks_version
    assert [one.partition(" (")[0] for one in made.unseen] == ["LIMIT"]
    assert caplog.text.count("LIMIT") == 1


# ── what was recorded formerly ────────────────────────────────────────────────────────────


FORMER = """
from lakehouse import bronze
LIMIT = {"a": 1, "b": (1, 2.5)}
def of(n=1): return n
def helper(x: int, *rest: int) -> list[str]:
    "Helps."
    return [f"{n:>3}" for n in range(3) if n > of()]
@bronze
def made(raw, by=2):
    "Makes it."
    return helper(1), LIMIT, lambda x: x, raw
"""


@pytest.fixture
def former(project: Project) -> Asset:
    return project(FORMER)


def test_what_was_recorded_formerly_on_any_python_counts_as_unchanged(former: Asset) -> None:
    golden = json.loads(GOLDEN.read_text())["former"]
    assert {dump: former_fingerprint(former.function, dump) for dump in Dump} == golden
    assert len(set(golden.values())) == 3, "each Python had its own"
    assert all(former.same_code(recorded) for recorded in golden.values())
    assert former.same_code(former.code_version)
    assert not former.same_code("0123456789ab")


def test_what_was_recorded_formerly_of_classes_counts_as_unchanged(project: Project) -> None:
    with_class = FORMER.replace("def of(n=1): return n", "class Rates:\n    'Rates.'\n    def of(self, n=1): return n")
    made = project(with_class.replace("of()", "Rates().of()"))
    assert made.same_code(json.loads(GOLDEN.read_text())["former classes"])


def test_what_was_changed_since_counts_as_changed(project: Project) -> None:
    golden = json.loads(GOLDEN.read_text())["former"]
    for old, new in (("by=2", "by=3"), ("(1, 2.5)", "(1, 2)"), ("n > of", "n < of"), ("n=1", "n=2")):
        assert old in FORMER
        made = project(FORMER.replace(old, new))
        assert not any(made.same_code(recorded) for recorded in golden.values())


def test_what_was_recorded_formerly_of_the_librarys_checks_is_known() -> None:
    made = [
        row_count(min=2),
        row_count(max=5, blocking=False),
        unique("a", "b"),
        not_null("a"),
        accepted_values("a", ["x", "y"]),
        expression("e", pl.col("a") > 1),
        reconcile("raw"),
        reconcile("raw", ours=pl.col("a").sum(), tolerance=0.1),
    ]
    recorded = json.loads(GOLDEN.read_text())["former library"]
    assert [check.former_fingerprint(Dump.PY311) for check in made] == recorded


def test_former_versions_of_checks_and_schemas_count_as_unchanged(project: Project) -> None:
    golden = json.loads(GOLDEN.read_text())
    source = MODELLED.replace("OLD", "1").replace("ISIN", "[1, 2]")
    checked, modelled = project(CHECKED.replace("OLD", "1")), project(source)
    assert checked.same_checks(golden["former checks"])
    assert modelled.same_schema(golden["former schema"])
    assert not project(CHECKED.replace("OLD", "2")).same_checks(golden["former checks"])
    assert not checked.same_checks("")
    assert checked.same_schema("")
