"""Where output goes: a terminal with its width and colours, or a pipe that gets plain lines."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO, final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000
_WIDE = 112


@final
class Page:
    """A stream to write on.

    A terminal gets colours and lines that fit its width. Anything else gets plain text, one line for one thing,
    however long, so that ``grep`` and ``awk`` have an easy time. Once nobody reads any more, it is silent.

    Parameters:
        stream: standard output or standard error
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self.broken = False
        self.console = Console(
            file=stream,
            force_terminal=self.terminal,
            color_system="auto" if self.terminal else None,
            width=None if self.terminal else _UNBOUNDED,
            highlight=False,
            markup=False,
            emoji=False,
        )

    @property
    def live(self) -> bool:
        """Whether lines may be drawn over."""
        dumb = self.console.is_dumb_terminal
        return self.terminal and not dumb and not os.environ.get("NO_COLOR") and not os.environ.get("CI")

    @property
    def wide(self) -> bool:
        """Whether there is room for columns that can be done without."""
        return self.console.width >= _WIDE

    def print(self, *parts: RenderableType) -> None:
        """Write some things, each on lines of its own."""
        for part in parts:
            if self.terminal:
                self.console.print(part)
            else:
                with self.console.capture() as captured:
                    self.console.print(part)
                self.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    def json(self, value: Any) -> None:
        """Write a value for programs."""
        self.write(json.dumps(value, indent=2, ensure_ascii=False, default=_text) + "\n")

    def write(self, text: str) -> None:
        """Write text as it is."""
        if self.broken:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        """Be silent from now on: who was reading has gone."""
        self.broken = True
        # Python flushes once more when it ends, and would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def columns(*headers: str, numbers: Sequence[str] = (), wrapped: Sequence[str] = ()) -> Table:
    """An empty table in the one style: no lines, numbers to the right, headers quiet.

    Parameters:
        headers: the columns
        numbers: those that hold numbers
        wrapped: those that may take several lines where there is little room
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    for header in headers:
        right = header in numbers
        table.add_column(header, justify="right" if right else "left", no_wrap=header not in wrapped, overflow="fold")
    return table


def labelled(rows: Sequence[tuple[str | Text, str | Text]]) -> RenderableType:
    """A word and what there is to say to it, line by line, aligned."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for word, text in rows:
        table.add_row(word, text)
    return table
