"""The pages over HTTP: who may ask, for what, and what the answer lets a browser do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.cli import main
from lakehouse.errors import SettingsError
from lakehouse.web.pages import Shown
from lakehouse.web.server import Address, application
from tests.support.pages import ask


@pytest.fixture
def app(troubled: Lakehouse) -> Any:
    return application(troubled, Shown(), hosts=["Lake.example.com"])


def test_every_page_is_there_and_every_link_leads_to_one(app: Any, troubled: Lakehouse) -> None:
    waiting, seen = ["/"], set[str]()
    while waiting:
        path = waiting.pop()
        answer = ask(app, path)
        assert answer.status == 200, path
        seen.add(path)
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        answer.page.see_harmless()
        folder = path.rpartition("/")[0]
        for link in answer.page.links:
            plain = link.partition("#")[0]
            if not plain:
                continue
            parts = folder.split("/")[1:] if folder else []
            for part in plain.split("/"):
                parts = parts[:-1] if part == ".." else [*parts, part]
            found = "/" + "/".join(parts)
            if found not in seen and found not in waiting and len(seen) + len(waiting) < 80:
                waiting.append(found)
    assert {"/static/style.css", "/static/page.js", "/static/icon.svg", "/runs.html", "/plan.html"} <= seen
    assert {f"/assets/{asset.key}.html" for asset in troubled.graph} <= seen
    assert any(path.startswith("/runs/") for path in seen)
    assert any(path.startswith("/partitions/") for path in seen)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
@pytest.mark.parametrize("path", ["/", "/assets/silver.clean.html", "/static/page.js", "/nowhere"])
def test_nothing_but_get_is_answered(app: Any, method: str, path: str) -> None:
    assert ask(app, path, method=method).status == 405


def test_head_is_get_without_the_body(app: Any) -> None:
    got, head = ask(app, "/runs.html"), ask(app, "/runs.html", method="HEAD")
    assert (head.status, head.headers["etag"]) == (got.status, got.headers["etag"])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]:8765", "lake.example.com"])
def test_it_answers_by_the_names_that_it_has(app: Any, host: str) -> None:
    assert ask(app, "/", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "", "localhost.evil.com", "127.0.0.1.evil.com:8765", "lake.example.com.", "[::1", "a:b"],
)
def test_a_foreign_name_is_refused_and_told_nothing(app: Any, host: str) -> None:
    for path in ("/", "/static/page.js", "/assets/silver.clean.html"):
        answer = ask(app, path, host=host)
        assert answer.status == 421
        assert b"silver" not in answer.body


def test_no_answer_lets_a_browser_run_or_fetch_anything_else(app: Any) -> None:
    for path in ("/", "/nowhere", "/static/page.js", "/partitions/silver.clean/2013-01-03.html"):
        headers = ask(app, path).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["img-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_what_is_known_is_not_sent_again_until_something_changed(app: Any, troubled: Lakehouse) -> None:
    first = ask(app, "/")
    tag = first.headers["etag"]
    again = ask(app, "/", if_none_match=tag)
    assert (again.status, again.body) == (304, b"")
    assert ask(app, "/", if_none_match=f'"other", {tag}').status == 304
    assert ask(app, "/runs.html", if_none_match=tag).status == 200
    troubled.materialize("bronze.events", "2013-01-20", engine="inline", raise_on_failure=False)
    changed = ask(app, "/", if_none_match=tag)
    assert changed.status == 200
    assert changed.headers["etag"] != tag
    script = ask(app, "/static/page.js")
    assert ask(app, "/static/page.js", if_none_match=script.headers["etag"]).status == 304


def test_rows_are_not_kept_by_anybody(app: Any) -> None:
    headers = ask(app, "/partitions/silver.clean/2013-01-03.html").headers
    assert headers["cache-control"] == "no-store"
    assert "etag" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/assets/silver.nothing.html",
        "/assets/silver.clean",
        "/assets/../index.html",
        "/partitions/silver.clean/2012-01-01.html",
        "/partitions/silver.clean/nonsense.html",
        "/partitions/silver.clean/.html",
        "/partitions/gold.grand_total/x.html",
        "/runs/nothing.html",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/",
        "/assets/<script>alert(1)</script>.html",
    ],
)
def test_what_is_not_there_is_not_found(app: Any, path: str) -> None:
    answer = ask(app, path)
    assert answer.status == 404
    answer.page.see_harmless()


def test_a_partition_is_found_by_its_key_as_well(app: Any) -> None:
    assert ask(app, "/partitions/silver.clean/2013-01-03.html").status == 200


def test_lineage_that_can_not_be_read_is_one_clear_page(app: Any, troubled: Lakehouse, tmp_path: Path) -> None:
    assert ask(app, "/").status == 200
    troubled.lineage_store.close()
    (tmp_path / "lineage.db").write_bytes(b"nonsense" * 1000)
    answer = ask(app, "/")
    assert answer.status == 503
    assert "it is no SQLite database" in answer.page.text
    answer.page.see_harmless()


def test_a_lakehouse_that_was_never_built_is_shown(lake: Lakehouse, tmp_path: Path) -> None:
    app = application(lake, Shown())
    for path in ("/", "/runs.html", "/plan.html", "/assets/silver.clean.html"):
        assert ask(app, path).status == 200
    assert not (tmp_path / "lineage.db").exists(), "looking makes nothing"
    lake.materialize("bronze.events", "2013-01-01", engine="inline")
    assert "1 of 365" in ask(app, "/").page.text


def test_the_store_of_an_older_release_is_shown(troubled: Lakehouse, tmp_path: Path) -> None:
    troubled.lineage_store.close()
    with sqlite3.connect(tmp_path / "lineage.db") as old:
        for kind, name in old.execute("SELECT type, name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            old.execute(f"DROP {kind} {name}")
        old.execute("DROP TABLE checkpoints")
        old.execute("DROP TABLE arrivals")
    app = application(troubled, Shown())
    assert "6 of 365" in ask(app, "/").page.text


def test_an_address_is_this_machine_alone_unless_said_otherwise() -> None:
    with Address(port=0).open() as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
        with pytest.raises(SettingsError, match=r"nothing can be served at 127\.0\.0\.1 port"):
            Address(port=listening.getsockname()[1]).open()
    assert Address("0.0.0.0").named == []
    assert Address("::").named == []
    assert Address("::1").named == ["[::1]"]
    assert Address("lake.example.com").named == ["lake.example.com"]


def test_a_host_that_is_none_of_this_machine_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_MODULE", "tests.support.toys")
    assert main(["ui", "--host", "192.0.2.1", "--port", "0", "--no-open"]) == 2
    out = capsys.readouterr()
    assert out.err.startswith("error: nothing can be served at 192.0.2.1 port 0: ")
    assert "hint: " in out.err
