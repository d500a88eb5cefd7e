"""The pages as files: whole by themselves, on any server and without one."""

from __future__ import annotations

import io
import os
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from lakehouse import Lakehouse
from lakehouse.cli import main
from lakehouse.errors import SettingsError
from lakehouse.web.export import LIST, write_catalog
from lakehouse.web.pages import Shown
from tests.support.pages import PageText


def test_every_link_leads_to_a_file_that_is_there(troubled: Lakehouse, tmp_path: Path) -> None:
    site = tmp_path / "site"
    files = write_catalog(troubled, site, Shown())
    assert {path for path in site.rglob("*") if path.is_file()} == {*files, site / LIST}
    for file in files:
        if file.suffix != ".html":
            continue
        page = PageText(file.read_text(encoding="utf-8"))
        page.see_harmless()
        for link in page.links:
            plain = unquote(link.partition("#")[0])
            assert not plain or (file.parent / plain).resolve() in {one.resolve() for one in files}, (file, link)


def test_what_needs_attention_and_what_is_newest_has_a_page(troubled: Lakehouse, tmp_path: Path) -> None:
    write_catalog(troubled, tmp_path / "site", Shown())
    folder = tmp_path / "site" / "partitions"
    assert (folder / "silver.clean" / "2013-01-03.html").is_file()
    assert (folder / "bronze.events" / "2013-01-09.html").is_file()
    assert (folder / "gold.totals" / "2013-01-08.html").is_file()


def test_rows_are_never_written_and_code_only_where_it_may_be(troubled: Lakehouse, tmp_path: Path) -> None:
    for source in (True, False):
        site = tmp_path / f"site-{source}"
        write_catalog(troubled, site, Shown(source=source))
        text = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
        assert 'class="cells"' not in text
        assert ("def" in PageText((site / "assets/silver.clean.html").read_text()).text) is source


def test_written_again_it_takes_the_place_of_what_was_there(troubled: Lakehouse, tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_catalog(troubled, site, Shown())
    (site / "mine.txt").write_text("mine")
    (site / "assets" / "silver.gone.html").write_text("old")
    (site / LIST).write_text((site / LIST).read_text() + "assets/silver.gone.html\n../outside.html\n")
    (tmp_path / "outside.html").write_text("not ours")
    write_catalog(troubled, site, Shown())
    assert not (site / "assets" / "silver.gone.html").exists()
    assert (site / "mine.txt").read_text() == "mine"
    assert (tmp_path / "outside.html").read_text() == "not ours"


def test_somebody_else_s_page_is_not_written_over(troubled: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(SettingsError, match=r"holds an index.html that lakehouse has not written"):
        write_catalog(troubled, tmp_path, Shown())
    assert (tmp_path / "index.html").read_text() == "mine"


def test_the_same_state_is_the_same_files(troubled: Lakehouse, tmp_path: Path) -> None:
    def words(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): path.read_text(encoding="utf-8").partition("</header>")[2]
            for path in folder.rglob("*.html")
        }

    write_catalog(troubled, tmp_path / "one", Shown())
    write_catalog(troubled, tmp_path / "two", Shown())
    assert words(tmp_path / "one") == words(tmp_path / "two")


# ── the commands ──────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked to show."""
    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    return seen


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Call the command line over one asset, in a folder of its own."""
    name = f"documented_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import polars as pl\nfrom lakehouse import bronze\n\n@bronze\ndef numbers() -> pl.LazyFrame: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_MODULE", name)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*words: str, stream: type[io.StringIO] = io.StringIO) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            out, err = stream(), io.StringIO()
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            return main(list(words)), out.getvalue(), err.getvalue()

    return run


def test_docs_says_where_the_page_is_and_writes_nothing_else(
    command: Callable[..., tuple[int, str, str]], opened: list[str], tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    assert command("docs") == (0, ".lakehouse/docs/index.html\n", "")
    assert command("docs", "--output", "site", stream=Terminal)[0] == 0
    assert opened == [(tmp_path / "site" / "index.html").as_uri()], "opened where nobody looks"
    assert command("docs", "--no-open", stream=Terminal)[0] == 0
    assert len(opened) == 1
    written = {p.relative_to(tmp_path) for p in set(tmp_path.rglob("*")) - before if "__pycache__" not in p.parts}
    assert {p.parts[0] for p in written} == {".lakehouse", "site"}


def test_catalog_writes_where_it_is_told_to(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    assert command("catalog", "-o", "site") == (0, f"site{os.sep}index.html\n", "")
    assert (tmp_path / "site" / "assets" / "bronze.numbers.html").is_file()


def test_the_commands_errors_and_help(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for name in ("docs", "catalog"):
        code, out, err = command(name, "--output", "taken")
        assert (code, out) == (2, "")
        assert err.startswith("error: the pages can't be written to taken: ")
        assert len(err.splitlines()) == 2
    for name, example in (
        ("docs", "docs --output site"),
        ("catalog", "catalog -o site"),
        ("ui", "ui --host 0.0.0.0 --allow-host lake.example.com"),
    ):
        code, out, err = command(name, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: lakehouse {name} [OPTIONS]")
        assert f"\n  lakehouse {example}" in out.partition("Examples\n")[2]
