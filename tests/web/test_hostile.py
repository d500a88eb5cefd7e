"""Names, reasons and descriptions come from outside: whatever they hold, a page shows it, and it does nothing."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import Lakehouse, PartitionRange, Static, bronze
from lakehouse.testing import MemoryLineage
from lakehouse.web.links import Links, partition_page
from lakehouse.web.look import Looking
from lakehouse.web.pages import Pages, Shown
from lakehouse.web.server import application
from lakehouse.web.text import code, first_line, markdown
from tests.support.pages import PageText, ask

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "a/../../b",
    "..",
    "a b&c=d#e?f%2e",
    "{{ 7 * 7 }}{% raw %}",
    "</title></svg>",
    "'; DROP TABLE facts --",
    "é漢\u202e\u0000"[:-1],
]


def hostile_lake(keys: list[str], words: str, storage: Path) -> Lakehouse:
    @bronze(partitions=Static(keys, column="k"), tags=[words], owners=[words], group=words)
    def nasty(partitions: PartitionRange) -> pl.LazyFrame:
        if partitions.first == keys[0]:
            raise ValueError(words)
        return pl.LazyFrame({"k": partitions.keys()})

    nasty = bronze(partitions=nasty.partitions, tags=[words or "t"])(nasty.function)
    object.__setattr__(nasty, "description", words)
    object.__setattr__(nasty, "owners", (words,))
    object.__setattr__(nasty, "group", words)
    lake = Lakehouse([nasty], storage=storage, lineage=MemoryLineage())
    lake.materialize("*", engine="inline", raise_on_failure=False)
    return lake


@pytest.mark.parametrize("words", NASTY)
def test_whatever_stands_in_names_and_reasons_is_only_shown(words: str, tmp_path: Path) -> None:
    lake = hostile_lake([f"x{words}", words, "plain"], words, tmp_path)
    look, pages = Looking(lake).look(), Pages(words, Shown())
    (asset,) = lake.graph
    run = lake.lineage_store.runs(1)[0]
    made = [pages.overview(look), pages.asset(look, asset), pages.runs(look), pages.plan(look)]
    made.append(pages.run(look, run, lake.lineage_store.run(run)))
    made += [pages.partition(look, asset, ordinal) for ordinal in range(3)]
    for text in made:
        PageText(text).see_harmless()
    assert " ".join(words.split())[:20] in " ".join(PageText(made[0]).text.split())


@pytest.mark.parametrize("key", NASTY)
def test_a_partition_of_whatever_key_is_found_at_its_own_address(key: str, tmp_path: Path) -> None:
    lake = hostile_lake(["first", key, "plain"], "words", tmp_path)
    (asset,) = lake.graph
    app = application(lake, Shown())
    link = Links.of("").to(partition_page(asset, 1))
    answer = ask(app, f"/{link}")
    assert answer.status == 200
    assert html.unescape(answer.page.all("h1")[0].text) == key


@settings(max_examples=200)
@given(st.text())
def test_no_text_becomes_markup_that_acts(text: str) -> None:
    for made in (markdown(text), code(text, "python"), code(text, "sql")):
        page = PageText(f"<div>{made}</div>")
        for tag in page.tags:
            assert tag.name not in ("script", "img", "iframe", "style", "object", "svg", "form", "input")
            assert not [name for name in tag.attributes if name.startswith("on") or name == "style"]
            assert not tag.attributes.get("href", "").lower().startswith(("javascript:", "data:", "vbscript:"))
    assert "\n" not in first_line(text)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    secret = "postgresql://ann:hunter2secret@db/orders"

    @bronze
    def leaky() -> pl.LazyFrame:
        """Reads postgresql://ann:hunter2secret@db/orders."""
        raise ValueError("no route to postgresql://ann:hunter2secret@db/orders")

    lake = Lakehouse([leaky], storage=tmp_path, lineage=MemoryLineage())
    lake.materialize("*", engine="inline", raise_on_failure=False)
    look, pages = Looking(lake).look(), Pages("toys", Shown())
    run = lake.lineage_store.runs(1)[0]
    made: list[Any] = [
        pages.overview(look),
        pages.asset(look, leaky),
        pages.run(look, run, lake.lineage_store.run(run)),
    ]
    for text in made:
        assert "hunter2" not in text
        assert secret not in html.unescape(text)
    assert "postgresql://***@db/orders" in made[1]
