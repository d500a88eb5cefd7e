"""The console script: reads the command line, calls a command, and turns what it raises into an exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from inspect import getdoc, signature
from typing import Any, TextIO

from cyclopts import App, CycloptsError, Group
from rich.console import Console

from lakehouse.cli import commands, maintenance, schemas
from lakehouse.cli.failures import ExitCode, complain, report, traceback_asked, usage
from lakehouse.cli.help import DETAILS, OVERVIEW, sections
from lakehouse.display.page import Page

TRACEBACK = "--traceback"
_READABLE = 90

_START = Group("Begin", sort_key=0)
_LOOK = Group("Look", sort_key=1)
_BUILD = Group("Build", sort_key=2)
_KEEP = Group("Look after", sort_key=3)
_MORE = Group("More", sort_key=4)


def _app() -> App:
    app = App(
        name="lakehouse",
        version=lambda: f"lakehouse {version('lakehouse')}",
        usage="Usage: lakehouse COMMAND ...",
        help=OVERVIEW,
        help_epilogue=DETAILS,
        help_format="plaintext",
        help_formatter=sections,
        group_commands=_MORE,
        result_action="return_value",
    )
    for group, members in (
        (
            _LOOK,
            (
                commands.ls,
                commands.partitions,
                commands.plan,
                commands.status,
                commands.lineage,
                commands.show,
                commands.ui,
                commands.catalog,
                commands.docs,
            ),
        ),
        (
            _BUILD,
            (
                commands.observe,
                commands.watch,
                commands.refresh,
                commands.backfill,
                commands.materialize,
                commands.deploy,
            ),
        ),
        (_START, (commands.init,)),
        (_KEEP, (commands.leases, maintenance.maintain)),
    ):
        for command in members:
            about, _, examples = (getdoc(command) or "").partition("\nExamples:\n")
            app.command(command, group=group, usage=_usage(command), help=about, help_epilogue=f"Examples\n{examples}")
    app.command(_schemas())
    app.command(_state())
    return app


def _schemas() -> App:
    about, _, examples = (getdoc(schemas.schemas) or "").partition("\nExamples:\n")
    app = App(
        name="schemas",
        group=_LOOK,
        usage="Usage: lakehouse schemas ASSET [OPTIONS]\n       lakehouse schemas COMMAND ...",
        help=about,
        help_epilogue=f"Examples\n{examples}",
        help_formatter=sections,
        group_commands=Group("Commands"),
    )
    app.default(schemas.schemas)
    _add(app, schemas.COMMANDS)
    return app


def _add(app: App, members: Mapping[Callable[..., Any], str]) -> None:
    """Add commands below another one, each with the pattern of what it takes."""
    for command, taken in members.items():
        about, _, examples = (getdoc(command) or "").partition("\nExamples:\n")
        name = command.__name__.replace("_", "-")
        usage_ = f"Usage: lakehouse {app.name[0]} {name} {taken} [OPTIONS]"
        app.command(command, name=name, usage=usage_, help=about, help_epilogue=f"Examples\n{examples}")


def _state() -> App:
    app = App(
        name="state",
        group=_KEEP,
        usage="Usage: lakehouse state COMMAND ...",
        help="Rename, forget, wipe, retain and rebuild what there is.",
        help_epilogue=maintenance.ABOUT,
        help_formatter=sections,
        group_commands=Group("Commands"),
    )
    _add(app, maintenance.COMMANDS)
    return app


def _usage(command: Callable[..., Any]) -> str:
    """How a command is called, as a pattern."""
    taken = {"name": " NAME", "asset": " ASSET", "selection": " SELECTION..."}.get(
        next(iter(signature(command).parameters)), ""
    )
    several = (commands.ls, commands.status, commands.observe, commands.watch, commands.deploy, maintenance.maintain)
    if command in several:
        taken = " [SELECTION...]"
    return f"Usage: lakehouse {command.__name__}{taken} [OPTIONS]"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Parameters:
        argv: its words; those of the process by default

    Returns:
        the exit code: 0 all well, 1 something failed or was held back, 2 the request can't be, 3 something can't
        be reached, 4 something waits for what its source doesn't have yet, 130 interrupted,
        143 terminated
    """
    words = list(sys.argv[1:] if argv is None else argv)
    asked = traceback_asked.set(TRACEBACK in words)
    words = [word for word in words if word != TRACEBACK]
    for stream in (sys.stdout, sys.stderr):
        _never_choke(stream)
    out, err = Page(sys.stdout), Page(sys.stderr)
    try:
        found = _app()(words, console=_for_help(out), exit_on_error=False, print_error=False)
        return int(found or ExitCode.WELL)
    except CycloptsError as error:
        complain(err, *usage(str(error)))
        return ExitCode.REFUSED
    except BrokenPipeError:
        out.close()
        return ExitCode.WELL
    except SystemExit as error:
        if error.code == ExitCode.TERMINATED:
            complain(err, "terminated; what was published stays", word="")
        return error.code if isinstance(error.code, int) else ExitCode.FAILED
    except BaseException as error:
        return report(err, error)
    finally:
        traceback_asked.reset(asked)


def _for_help(page: Page) -> Console:
    """Help is prose: it is wrapped at a width that reads well, wherever it goes."""
    width = min(page.console.width, _READABLE)
    return Console(file=page.stream, width=width, color_system=None, highlight=False, markup=False, emoji=False)


def _never_choke(stream: TextIO) -> None:
    """A terminal that lacks a character gets a question mark, not a traceback."""
    with contextlib.suppress(AttributeError, ValueError):
        stream.reconfigure(errors="replace")  # type: ignore[attr-defined]
