"""How it looks: on a terminal within its width, anywhere else without a single escape."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable

import pytest

from lakehouse.cli import main
from lakehouse.display.page import Page
from lakehouse.display.progress import LiveProgress, PlainProgress, progress
from tests.support.command_line import Toys

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        return True

    @property
    def plain(self) -> str:
        """What was written, without colours."""
        return ESCAPE.sub("", self.getvalue())


Run = Callable[..., tuple[int, Terminal]]


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch, plain: None) -> Run:
    """Call the command line on a terminal of 80 columns; gives the exit code and the terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")

    def run(*words: str) -> tuple[int, Terminal]:
        # Not in the fixture: pytest puts its own streams back before the test begins.
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            return main(words), screen

    return run


@pytest.fixture
def built(toys: Toys) -> Toys:
    """Toys of which one day is held back."""
    toys.world(negative=["2013-01-03"])
    toys("refresh", "+gold.*", "--partitions", "2013-01-01...2013-01-06")
    return toys


LOOKS = [
    ["ls"],
    ["plan", "+gold.*"],
    ["status"],
    ["lineage", "silver.clean"],
    ["lineage", "bronze.events", "--partition", "2013-01-02"],
    ["show", "silver.clean"],
    ["show", "silver.clean", "--quarantined"],
    ["--help"],
    ["refresh", "--help"],
]


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_a_terminal_of_80_columns_is_enough(built: Toys, on_terminal: Run, words: list[str]) -> None:
    code, terminal = on_terminal(*words)
    assert code == 0
    assert terminal.plain.strip()
    assert max(map(len, terminal.plain.splitlines())) <= 80
    assert "2013-01-\n" not in terminal.plain


@pytest.mark.parametrize("words", [*LOOKS, ["refresh", "+gold.*"], ["ls", "nothing"]], ids=" ".join)
def test_no_escapes_where_there_is_no_terminal(built: Toys, words: list[str]) -> None:
    said = built(*words)
    assert "\x1b" not in said.out + said.err
    assert all(line == line.rstrip() for line in (said.out + said.err).splitlines())


def test_a_run_is_drawn_over_on_a_terminal_and_leaves_a_table(toys: Toys, on_terminal: Run) -> None:
    code, terminal = on_terminal("refresh", "+gold.totals", "--partitions", "2013-01-01...2013-01-06")
    assert code == 0
    written = terminal.getvalue()
    assert "\x1b[?25l" in written, "no progress was drawn"
    assert "\x1b[?25h" in written, "the cursor was not given back"
    assert "waiting for" not in ESCAPE.sub("", written.rpartition("\x1b[2K")[2]), "progress was left on the screen"
    assert "tables   data" in terminal.plain


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("CI", "true"), ("TERM", "dumb")])
def test_lines_are_not_drawn_over_where_that_is_not_wanted(
    toys: Toys, on_terminal: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    code, terminal = on_terminal("refresh", "bronze.events", "--partitions", "2013-01-01")
    assert code == 0
    assert "\x1b[2K" not in terminal.getvalue()
    assert "[1/1] bronze.events 2013-01-01: published 2 rows" in terminal.plain


def test_no_color_is_heeded(built: Toys, on_terminal: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _, terminal = on_terminal("status")
    assert "held back" in terminal.plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.getvalue())


def test_the_kind_of_progress_suits_the_page(on_terminal: Run) -> None:
    assert isinstance(progress(Page(Terminal())), LiveProgress)
    assert isinstance(progress(Page(io.StringIO())), PlainProgress)


def test_a_low_terminal_shows_what_is_at_work(toys: Toys, on_terminal: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "7")
    code, terminal = on_terminal("refresh", "+gold.*", "--partitions", "2013-01-01")
    assert code == 0
    assert "and 2 more assets" in terminal.plain
