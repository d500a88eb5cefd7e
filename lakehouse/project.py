"""A person's project: the module that holds their assets."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

from lakehouse.definitions.asset import Asset
from lakehouse.definitions.graph import assets_among
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.settings import project_folder


def assets_in(module: ModuleType | str) -> list[Asset]:
    """The assets that a module holds or imports.

    Parameters:
        module: the module, or its dotted name

    Raises:
        SettingsError: it can't be imported, and why; or it holds no asset
    """
    if isinstance(module, str):
        module = _import(module)
    found = assets_among(vars(module).values())
    if not found:
        raise SettingsError(
            f"the module {module.__name__} holds no asset ({getattr(module, '__file__', None) or 'it has no file'})",
            hint="declare one with @bronze, @silver or @gold",
        )
    return found


def find_modules() -> None:
    """Have Python find a person's own modules: a command's folder is on its path, but not the project's."""
    for folder in (Path.cwd(), project_folder()):
        if folder is not None and str(folder) not in sys.path:
            sys.path.append(str(folder))


def _import(name: str) -> ModuleType:
    find_modules()
    try:
        return importlib.import_module(name)
    except LakehouseError as error:
        error.message += _place(error)
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise SettingsError(
                f"there is no module {name!r}",
                hint="set LAKEHOUSE_MODULE or [tool.lakehouse] module to the module that holds your assets",
            ) from error
        raise SettingsError(f"the module {name} can't be imported: {_cause(error)}") from error
    except Exception as error:
        raise SettingsError(f"the module {name} can't be imported: {_cause(error)}") from error


_INSTALLED = "site-packages"


def _place(error: BaseException) -> str:
    """The line of a person's own module in which a library raised, in brackets; nothing where it isn't known.

    Theirs may be installed beside other libraries: the last line of those is taken where there is none else.
    """
    ours, python = (str(Path(__file__).parent), "<frozen"), sysconfig.get_paths()["stdlib"]
    lines = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith(ours) and (_INSTALLED in f.filename or not f.filename.startswith(python))
    ]
    theirs = [f for f in lines if _INSTALLED not in f.filename] or lines
    return f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""


def _cause(error: BaseException) -> str:
    """What an import raised, and in which line."""
    said = f"{type(error).__name__}: {error}"
    return said if isinstance(error, SyntaxError) else said + _place(error)  # the former says itself where it is
