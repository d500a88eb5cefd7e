"""The code version: blind to how code is written down, not to what it does."""

import hashlib
import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Asset, bronze

BASE = """
def made(raw, by=2):
    total = raw.sum()
    return total * by
"""

Version = Callable[[str], str]


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """Gives the code version of the function ``made`` in some source."""

    def of(source: str) -> str:
        source = textwrap.dedent(source)
        name = "m" + hashlib.sha256(source.encode()).hexdigest()[:16]
        file = tmp_path / f"{name}.py"
        file.write_text(source)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made = module.made
        return made.code_version if isinstance(made, Asset) else bronze(made).code_version

    return of


@pytest.mark.parametrize(
    "same",
    [
        "# a comment before\n\n" + BASE,
        """
        def made(raw, by=2):
            # a comment within
            total = raw.sum()  # and at the end

            return total * by
        """,
        """
        def made(
            raw,
            by = 2,
        ):
            total = (
                raw.sum()
            )
            return (total*by)
        """,
        '''
        def made(raw, by=2):
            """Makes it."""
            total = raw.sum()
            return total * by
        ''',
        '''
        from lakehouse import silver

        @silver(tags=["x"], group="else")
        def made(raw, by=2):
            """Makes it otherwise documented.

            At length.
            """
            total = raw.sum()
            return total * by
        ''',
        """
        def made(source, by=2):  # what it is made from is known from elsewhere
            total = source.sum()
            return total * by
        """,
        """
        if True:
            def made(raw, by=2):
                total = raw.sum()
                return total * by
        """,
    ],
)
def test_comments_formatting_docstring_and_decorator_make_no_new_version(version: Version, same: str) -> None:
    assert version(same) == version(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* by", "+ by"),
        ("by=2", "by=3"),
        ("raw.sum()", "raw.min()"),
        ("total = raw.sum()", "total = raw.sum(0)"),
        ("return total * by", "return total * by if by else total"),
        ("(raw, by=2)", "(raw, extra, by=2)"),
        ("(raw, by=2)", "(raw: int, by=2)"),
    ],
)
def test_other_code_is_another_version(version: Version, old: str, new: str) -> None:
    assert old in BASE
    assert version(BASE.replace(old, new)) != version(BASE)


def test_a_declared_version_outweighs_the_code() -> None:
    def made() -> None: ...

    assert bronze(code_version="2024-05")(made).code_version == "2024-05"


def from_text(source: str) -> Any:
    """A function whose source nobody can get at, as in a notebook's ``exec``."""
    names: dict[str, Any] = {}
    exec(compile(textwrap.dedent(source), "<nowhere>", "exec"), names)
    return names["made"]


@pytest.mark.parametrize(
    "other",
    [
        "def made(raw): return raw.filter(2)",
        "def made(raw): return raw.select(1)",
        "def made(raw): return raw.filter(lambda x: x > 1)",
        "def made(row): return row.filter(1)",
    ],
)
def test_without_a_source_the_compiled_code_counts(other: str) -> None:
    base = "def made(raw): return raw.filter(1)"
    assert bronze(from_text(base)).code_version == bronze(from_text("\n\n\n" + base)).code_version
    assert bronze(from_text(other)).code_version != bronze(from_text(base)).code_version


def test_without_a_source_a_docstring_makes_no_new_version() -> None:
    bare = from_text("def made(raw): return raw.filter(1)")
    told = from_text('''
        def made(raw):
            """Makes it."""
            return raw.filter(1)
    ''')
    assert bronze(told).code_version == bronze(bare).code_version


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_version_is_the_same_in_every_process(seed: str) -> None:
    source = "def made(raw): return [x for x in raw if x in {'a', 'b', 'c'}] + list(map(lambda y: y + 1, raw))"
    program = f"""
from lakehouse import bronze
names = {{}}
exec({source!r}, names)
print(bronze(names["made"]).code_version)
"""
    run = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == bronze(from_text(source)).code_version
