"""What can't be: one message, an exit code, nothing written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import Said, Toys

CASES = [
    # the command line itself
    (["lss"], 2, "did you mean ls?"),
    (["nonsense"], 2, "commands are"),
    (["ls", "--nonsense"], 2, "unknown option: --nonsense"),
    (["plan"], 2, "name the assets to build"),
    (["refresh"], 2, "name the assets to build"),
    (["materialize"], 2, "name the assets to build"),
    (["show"], 2, "requires an argument"),
    (["lineage"], 2, "requires an argument"),
    (["refresh", "gold", "--chunk", "many"], 2, "many"),
    (["refresh", "gold", "--chunk", "0"], 2, "--chunk"),
    (["refresh", "gold", "--partitions"], 2, "requires an argument"),
    (["refresh", "gold", "--upstream", "some"], 2, "missing"),
    (["refresh", "gold", "--engine", "dask"], 2, "prefect"),
    (["show", "silver.clean", "--limit", "-1"], 2, "--limit"),
    # assets
    (["plan", "gold.total"], 2, "did you mean gold.totals"),
    (["ls", "gold.total"], 2, "did you mean gold.totals"),
    (["status", "gold.total"], 2, "did you mean gold.totals"),
    (["refresh", "silver.cleen"], 2, "did you mean silver.clean"),
    (["lineage", "totals"], 2, "gold.totals"),
    (["show", "gold.total"], 2, "did you mean gold.totals"),
    (["show", "gold.totals"], 2, "was never published"),
    (["ls", "tag:dayly"], 2, "did you mean daily?"),
    (["ls", "colour:red"], 2, "colour:red"),
    (["ls", "(gold"], 2, "not closed"),
    (["refresh", ""], 2, "the selection is empty"),
    (["ls", "gold and bronze"], 2, "selects no asset"),
    # partitions
    (["refresh", "gold.totals", "-p", "2014-01-01"], 2, "outside the range"),
    (["refresh", "gold.totals", "-p", "yesterday"], 2, "looks like 2013-01-31"),
    (["refresh", "gold.totals", "-p", "2013-02-30"], 2, "looks like 2013-01-31"),
    (["refresh", "gold.totals", "-p", "2013-01-09...2013-01-02"], 2, "2013-01-02...2013-01-09"),
    (["refresh", "gold.grand_total", "-p", "2013-01-01"], 2, "leave partitions out"),
    (["materialize", "bronze.airports", "-p", "EWK"], 2, "did you mean EWR"),
    (["lineage", "gold.totals", "-p", "yesterday"], 2, "looks like 2013-01-31"),
    (["show", "gold.totals", "-p", "2014-01-01", "--quarantined"], 2, "outside the range"),
    (["refresh", "gold.totals", "--upstream", "none", "-p", "2013-01-01"], 2, "was never built"),
]


@pytest.mark.parametrize(("words", "code", "fragment"), CASES, ids=[" ".join(words) for words, _, _ in CASES])
def test_a_request_that_cannot_be(toys: Toys, words: list[str], code: int, fragment: str) -> None:
    said = toys(*words)
    assert said.code == code
    assert said.out == ""
    assert fragment in said.err
    _one_message(said.err)
    assert toys.written == []


def _one_message(err: str) -> None:
    assert err.startswith("error: ")
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("name", "value", "code", "fragment"),
    [
        ("LAKEHOUSE_MODULE", "no.such.module", 2, "there is no module 'no.such.module'"),
        ("LAKEHOUSE_MODULE", "json", 2, "holds no asset"),
        ("LAKEHOUSE_CHUNK", "many", 2, "LAKEHOUSE_CHUNK"),
        ("LAKEHOUSE_ENGINE", "dask", 2, "LAKEHOUSE_ENGINE"),
        ("LAKEHOUSE_LINEAGE", "mysql://x", 2, "mysql://x"),
        ("LAKEHOUSE_STORAGE", "ftp://x", 2, "ftp://x"),
    ],
)
def test_settings_that_cannot_be(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: int, fragment: str
) -> None:
    monkeypatch.setenv(name, value)
    said = toys("refresh", "gold.totals", "-p", "2013-01-01")
    assert (said.code, said.out) == (code, "")
    assert fragment in said.err
    _one_message(said.err)
    assert toys.written == []


def test_a_module_that_cannot_be_imported_shows_its_own_fault(
    home: Path, says: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "broken_assets.py").write_text("import json\n\n1 / 0\n")
    monkeypatch.setenv("LAKEHOUSE_MODULE", "broken_assets")
    monkeypatch.setattr(sys, "path", list(sys.path))
    said = says("ls")
    assert said.code == 2
    assert "ZeroDivisionError: division by zero" in said.err
    assert "broken_assets.py, line 3" in said.err
    _one_message(said.err)


def test_a_graph_that_does_not_fit_is_told_in_one_message(
    home: Path, says: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "unfit_assets.py").write_text(
        "import polars as pl\nfrom lakehouse import bronze, gold\n"
        "@bronze\ndef raw() -> pl.LazyFrame: ...\n@gold\ndef top(raw: pl.LazyFrame) -> pl.LazyFrame: ...\n"
    )
    monkeypatch.setenv("LAKEHOUSE_MODULE", "unfit_assets")
    monkeypatch.setattr(sys, "path", list(sys.path))
    said = says("ls")
    assert said.code == 2
    assert "gold.top" in said.err
    _one_message(said.err)


def test_infrastructure_that_cannot_be_reached_is_another_code(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "LAKEHOUSE_STORAGE_OPTIONS": '{"max_retries": "0", "retry_timeout": "1s"}',
        "LAKEHOUSE_STORAGE": "s3://nowhere/lake",
    }.items():
        monkeypatch.setenv(name, value)
    said = toys("refresh", "gold.totals", "-p", "2013-01-01")
    assert (said.code, said.out) == (3, "")
    _one_message(said.err)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_lineage_store_that_cannot_be_written(toys: Toys) -> None:
    toys.folder.chmod(0o500)
    try:
        said = toys("refresh", "gold.totals", "-p", "2013-01-01")
    finally:
        toys.folder.chmod(0o700)
    assert said.code in (1, 3)
    assert "Traceback" not in said.err


def test_a_functions_own_traceback_is_shown_to_those_who_ask(toys: Toys) -> None:
    toys.world(raises=["2013-01-02"])
    asked = ("materialize", "bronze.events", "--partitions", "2013-01-01...2013-01-02", "--chunk", "1")
    assert "Traceback" not in toys(*asked).err
    said = toys(*asked, "--traceback")
    assert said.code == 1
    assert 'raise ValueError("the source is down")' in said.err
    assert "ValueError: the source is down" in said.err
    assert said.err.index("Traceback") < said.err.index("failed  bronze.events 2013-01-02")


def test_tracebacks_are_there_for_those_who_ask(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    said = toys("ls", "gold.total", "--traceback")
    assert said.code == 2
    assert "Traceback (most recent call last)" in said.err
    assert said.err.rstrip().splitlines()[-2].startswith("error: there is no asset")
    monkeypatch.setenv("LAKEHOUSE_TRACEBACK", "1")
    assert "Traceback" in toys("ls", "gold.total").err
    monkeypatch.setenv("LAKEHOUSE_TRACEBACK", "0")
    assert "Traceback" not in toys("ls", "gold.total").err


def test_what_nobody_expected_is_short_too(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: object) -> None:
        raise RuntimeError("the sky\nfell down")

    monkeypatch.setattr("lakehouse.verbs.open_lakehouse", boom)
    said = toys("ls")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "error: RuntimeError: the sky fell down\nhint: this was not expected; --traceback shows where it comes from\n"
    )
