"""Errors as people should see them: one message, its hint, an exit code."""

from __future__ import annotations

import os
import re
import traceback
from contextvars import ContextVar
from enum import IntEnum

from rich.text import Text

from lakehouse.display.page import Page
from lakehouse.errors import (
    CatalogError,
    EngineError,
    LakehouseError,
    LineageError,
    MaterializationFailed,
    SchemaRegistryError,
    StepError,
    StorageError,
    describe,
)
from lakehouse.redaction import redacted


class ExitCode(IntEnum):
    """What a script is given."""

    WELL = 0
    FAILED = 1
    REFUSED = 2
    UNREACHABLE = 3
    WAITING = 4
    INTERRUPTED = 130
    TERMINATED = 143


def exit_code(error: BaseException) -> ExitCode:
    """The exit code that an error stands for."""
    match error:
        case StorageError() | LineageError() | SchemaRegistryError() | CatalogError() | EngineError():
            return ExitCode.UNREACHABLE
        case MaterializationFailed() | StepError():
            return ExitCode.FAILED
        case LakehouseError():
            return ExitCode.REFUSED
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case _:
            return ExitCode.FAILED


def report(page: Page, error: BaseException) -> ExitCode:
    """Write an error, its traceback first where one is asked for, and say its exit code.

    Parameters:
        page: where to write
        error: the error
    """
    show_traceback = wants_traceback()
    if show_traceback:
        write_traceback(page, error)
    match error:
        case LakehouseError():
            complain(page, error.message, error.hint)
        case KeyboardInterrupt():
            complain(page, "interrupted", word="")
        case _:
            complain(
                page,
                " ".join(describe(error).split())[:500],
                None if show_traceback else "this was not expected; --traceback shows where it comes from",
            )
    return exit_code(error)


def complain(page: Page, message: str, hint: str | None = None, *, word: str = "error") -> None:
    """Write a message and the next step."""
    page.print(Text.assemble((f"{word}: " if word else "", "bold red"), message))
    if hint:
        page.print(Text.assemble(("hint: ", "bold"), hint))


def usage(message: str) -> tuple[str, str]:
    """What the parser of the command line says, in our words: the message, and the next step."""
    message, mark, near = message.partition(" Did you mean ")
    known = re.search(r"Available commands: (.*?)\.?$", message + mark + near)
    message = message.partition(" Available commands")[0].rstrip(".")
    message = message[:1].lower() + message[1:]
    near = near.partition("?")[0].strip('"')
    if near:
        return message, f"did you mean {near}?"
    if known:
        return message, f"commands are {known[1]}"
    return message, "lakehouse COMMAND --help shows what it takes"


def write_traceback(page: Page, error: BaseException) -> None:
    """Write where an error came from, and what it was caused by."""
    page.write(redacted("".join(traceback.format_exception(error))))


traceback_asked: ContextVar[bool] = ContextVar("traceback_asked", default=False)
"""Whether the command line asks for tracebacks."""


def wants_traceback() -> bool:
    """Whether the command line or the environment asks for tracebacks."""
    return traceback_asked.get() or os.environ.get("LAKEHOUSE_TRACEBACK", "").lower() not in ("", "0", "false", "no")
