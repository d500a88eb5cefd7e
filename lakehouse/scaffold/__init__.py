"""A project to begin with: [new_project][lakehouse.scaffold.new_project] writes it, ``lakehouse init`` calls it."""

from __future__ import annotations

import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from lakehouse.errors import DefinitionError, StorageError

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_PACKAGE = "NAME"
"""Stands in paths of the template for the package's name."""
_HIDDEN = {"gitignore": ".gitignore"}
"""Files that would mean something where the template lies."""


def new_project(name: str, parent: Path, *, dbt: bool = False, aws: bool = False, prefect: bool = False) -> Path:
    """Write a project to begin with: settings, a module of assets, data, tests, a README.

    It is there as a whole or not at all; what is there already is never overwritten.

    Parameters:
        name: the project's name: lower case letters, digits, hyphens and underscores
        parent: the folder that its folder is made in
        dbt: whether Gold is a dbt model instead of a function
        aws: whether it comes with what production in AWS needs
        prefect: whether it comes with deployments, and its assets with schedules

    Returns:
        the folder of the project

    Raises:
        DefinitionError: the name can't be one, or hides a package of Python's or of this environment
        StorageError: the folder is there already, or can't be written

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(one.name for one in new_project("shop", Path(folder)).iterdir())
        ['.gitignore', 'README.md', 'data', 'pyproject.toml', 'shop', 'tests']
    """
    package = _package(name)
    folder = parent / name
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise StorageError(
            f"{folder} is there already: nothing was written",
            hint="give the project another name, or call this in another folder",
        )
    left_out = {
        where
        for where, wanted in (
            ("dbt", dbt),
            ("prefect.yaml", prefect),
            ("production.env", aws),
            ("Dockerfile", aws),
        )
        if not wanted
    }
    names = {
        "name": name,
        "package": package,
        "dbt": dbt,
        "aws": aws,
        "prefect": prefect,
        "extras": "[aws]" if aws else "",
    }
    try:
        parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        try:
            for path, text in _rendered(names):
                if path.parts[0] not in left_out:
                    file = unfinished / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8", newline="\n")
            unfinished.chmod(0o755)
            # Takes the place of an empty folder, and of no other.
            unfinished.replace(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(
            f"{folder} can't be written: {error.strerror or error}", hint="choose another folder"
        ) from error
    return folder


def _package(name: str) -> str:
    """What the project's package is called."""
    if not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{name!r} can't be a project's name",
            hint="lower case letters, digits, and single hyphens or underscores between them: my-shop",
        )
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or _installed(package):
        raise DefinitionError(
            f"a package called {package!r} would hide another one of that name", hint=f"another name: {name}-lakehouse"
        )
    return package


def _installed(package: str) -> bool:
    # Not find_spec: the current folder may hold a project of this name, which is then told otherwise.
    from importlib.metadata import packages_distributions

    return package in packages_distributions() or package == "tests"


def _rendered(names: dict[str, object]) -> Iterator[tuple[PurePosixPath, str]]:
    """The files of the template, by their paths in the project, and what they hold."""
    from jinja2 import Environment, StrictUndefined

    jinja = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    for path, text in _template(files(__package__) / "template", PurePosixPath()):
        written = path
        if path.suffix == ".jinja":
            written, text = path.with_suffix(""), jinja.from_string(text).render(names)
        parts = [str(names["package"]) if part == _PACKAGE else _HIDDEN.get(part, part) for part in written.parts]
        yield PurePosixPath(*parts), text


def _template(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            yield from _template(one, path / one.name)
        else:
            yield path / one.name, one.read_text(encoding="utf-8")
