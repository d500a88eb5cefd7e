from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from lakehouse.cli import main
from tests.maintenance.projects import DAILY

_numbers = count()


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Project:
    """A project in the current folder, for the command line."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.patch, self.capsys = folder, patch, capsys

    def write(self, source: str) -> None:
        """Edit it: what is called from now on sees that."""
        name = f"project_of_upkeep_{next(_numbers)}"
        (self.folder / f"{name}.py").write_text(source)
        self.patch.setenv("LAKEHOUSE_MODULE", name)

    def __call__(self, *words: str) -> Said:
        self.capsys.readouterr()
        code = main(words)
        return Said(code, *self.capsys.readouterr())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Project]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_STORAGE", "data")
    monkeypatch.setenv("LAKEHOUSE_LINEAGE", "sqlite:///lineage.db")
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "inline")
    found = Project(tmp_path, monkeypatch, capsys)
    found.write(DAILY)
    before = list(sys.path)
    yield found
    sys.path[:] = before


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let somebody sit at a terminal who answers so."""

    class Person:
        def __init__(self, stream: object, said: Sequence[str] = ()) -> None:
            self.stream, self.said = stream, iter(said)

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return next(self.said)

        def __getattr__(self, name: str) -> object:
            return getattr(self.stream, name)

    def set_answer(answer: str) -> None:
        monkeypatch.setattr(sys, "stdin", Person(sys.stdin, [f"{answer}\n"]))
        monkeypatch.setattr(sys, "stdout", Person(sys.stdout))

    return set_answer
