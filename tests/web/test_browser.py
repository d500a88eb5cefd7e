"""The pages in a real browser: as files, over HTTP, and behind a proxy's prefix."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lakehouse import Lakehouse
from lakehouse.web.export import write_catalog
from lakehouse.web.pages import Shown
from lakehouse.web.server import Address, application
from tests.support.needs import need
from tests.support.toys import lakehouse_in

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PAGES = [
    "index.html",
    "runs.html",
    "plan.html",
    "assets/silver.clean.html",
    "assets/gold.grand_total.html",
    "partitions/silver.clean/2013-01-03.html",
    "partitions/gold.totals/2013-01-04.html",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or another one that is there."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    need("browser", found is not None, "apt-get install chromium")
    need("browser", find_spec("playwright") is not None, "pip install playwright")
    with import_module("playwright.sync_api").sync_playwright() as started:
        # Chromium refuses to be sandboxed for root, as in a container.
        options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        opened = started.chromium.launch(executable_path=found, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """A lakehouse in which a day is held back, one failed and one warns."""
    folder = tmp_path_factory.mktemp("toys")
    lake = lakehouse_in(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_WORLD", str(folder / "world.json"))
        (folder / "world.json").write_text(json.dumps({"negative": ["2013-01-03"]}))
        lake.materialize("+gold.totals", "2013-01-01...2013-01-06", engine="inline", raise_on_failure=False)
        (folder / "world.json").write_text(json.dumps({"raises": ["2013-01-09"], "add": 995}))
        lake.materialize("+gold.totals", "2013-01-08...2013-01-09", engine="inline", raise_on_failure=False)
    return lake


PREFIX = "/data/lake"


@pytest.fixture(scope="module")
def served(toys: Lakehouse) -> Iterator[str]:
    """Where the pages are served, directly, and below a prefix as a proxy does it: it takes the prefix away."""
    import uvicorn

    app = application(toys, Shown())

    async def proxy(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            path = scope["path"].removeprefix(PREFIX)
            scope = {**scope, "path": path, "raw_path": path.encode(), "headers": [(b"host", b"localhost")]}
        await app(scope, receive, send)

    with Address(port=0).open() as listening:
        server = uvicorn.Server(uvicorn.Config(proxy, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def written(toys: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_catalog(toys, folder, Shown())
    return folder


@pytest.fixture(scope="module", params=["file", "http", "prefix"])
def base(request: pytest.FixtureRequest, served: str, written: Path) -> str:
    """Where the pages begin."""
    return {"file": f"{written.as_uri()}/", "http": f"{served}/", "prefix": f"{served}{PREFIX}/"}[request.param]


class Faults(list[str]):
    """What went wrong in a browser's page, and what it asked of others."""

    def watch(self, page: Any, base: str) -> None:
        page.on("console", lambda one: self.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("response", lambda one: self.append(f"{one.status}: {one.url}") if one.status >= 400 else None)
        page.on("request", lambda one: None if one.url.startswith(base) else self.append(f"outside: {one.url}"))

    def _failed(self, request: Any) -> None:
        # What a page that is left has not fetched yet, it doesn't need any more.
        if request.failure != "net::ERR_ABORTED":
            self.append(f"failed: {request.url}: {request.failure}")


@pytest.fixture
def page(browser: Any, base: str) -> Iterator[Any]:
    """A page in which nothing goes wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened, faults = context.new_page(), Faults()
    faults.watch(opened, base)
    yield opened
    context.close()
    assert faults == []


def test_every_page_opens_and_links_lead_from_one_to_another(page: Any, base: str) -> None:
    for name in PAGES:
        page.goto(base + name)
        assert page.locator("h1").count() == 1
    page.goto(base + "index.html")
    page.click("table.assets a:text('silver.clean')")
    page.wait_for_url("**/assets/silver.clean.html")
    page.click("a:text('2013-01-03')")
    page.wait_for_url("**/partitions/silver.clean/2013-01-03.html")
    page.click("main a:text('bronze.events')")
    page.wait_for_url("**/assets/bronze.events.html")
    page.click("nav a:text('Runs')")
    page.click("table.runs th a >> nth=0")
    page.wait_for_url("**/runs/*.html")
    page.click("a.brand")
    page.wait_for_url("**/index.html")


def test_the_filter_leaves_what_has_all_words(page: Any, base: str) -> None:
    page.goto(base + "index.html")
    page.keyboard.press("/")
    page.keyboard.type("gold total")
    assert page.locator("table.assets tbody tr:visible th").all_inner_texts() == ["gold.totals", "gold.grand_total"]
    assert page.locator("#found").inner_text() == "2 of 5"
    page.fill("#find", "held back")
    assert page.locator("table.assets tbody tr:visible th").all_inner_texts() == ["silver.clean"]
    page.keyboard.press("Escape")
    assert page.locator("table.assets tbody tr:visible").count() == 5


def test_an_asset_lights_up_what_it_is_made_from_and_goes_into(page: Any, base: str) -> None:
    page.goto(base + "index.html")
    page.locator("a.node", has_text="clean").hover()
    assert sorted(page.locator("a.node.hit text:not(.sub)").all_text_contents()) == [
        "clean",
        "events",
        "grand_total",
        "totals",
    ]
    page.mouse.move(0, 0)
    assert page.locator(".graph.lit").count() == 0
    page.locator("a.node", has_text="calendar").focus()
    assert page.locator("a.node.hit").count() == 2


def test_a_day_of_the_calendar_is_told_and_opened(page: Any, base: str) -> None:
    page.goto(base + "assets/silver.clean.html")
    box = page.locator(".cal")
    box.focus()
    page.keyboard.press("ArrowUp")
    assert box.locator("output").inner_text() == "2013-12-31: missing"
    cell = page.locator(".calendar path.s-h").bounding_box()
    page.mouse.move(cell["x"] + 3, cell["y"] + 3)
    assert box.locator("output").inner_text() == "2013-01-03: held back"
    page.keyboard.press("ArrowDown")
    assert box.locator("output").inner_text() == "2013-01-04: published"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    before = page.url
    page.keyboard.press("Enter")
    if base.startswith("file:"):
        assert page.url == before, "not every day has a file"
    else:
        page.wait_for_url("**/partitions/silver.clean/2013-01-*.html")


def test_a_command_can_be_copied(page: Any, base: str) -> None:
    page.goto(base + "index.html")
    button = page.locator("button.copier").first
    button.click()
    page.wait_for_function("() => document.querySelector('button.copier').textContent !== 'Copy'")
    assert page.locator("form[action], button[type=submit]").count() == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_everybody_can_read_it(browser: Any, written: Path, scheme: str, width: int) -> None:
    """By the rules of axe: names, roles, contrast; and nothing is wider than a phone."""
    need("browser", find_spec("axe_playwright_python") is not None, "pip install axe-playwright-python")
    axe = Path(import_module("axe_playwright_python").__path__[0], "axe.min.js").read_text(encoding="utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
    )
    opened = context.new_page()
    run = next((written / "runs").glob("*.html")).name
    for name in [*PAGES, f"runs/{run}"]:
        opened.goto(f"{written.as_uri()}/{name}")
        opened.evaluate(axe)
        found = opened.evaluate("() => axe.run({resultTypes: ['violations']})")["violations"]
        faults = [(one["id"], one["help"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]
        assert faults == [], name
        assert opened.evaluate("document.documentElement.scrollWidth") <= width, name
    context.close()


def test_it_can_be_read_without_script(browser: Any, base: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(base + "index.html")
    assert opened.locator("table.assets tbody tr").count() == 5
    assert opened.locator("#find").is_hidden()
    opened.goto(base + "assets/silver.clean.html")
    assert opened.locator("button:visible").count() == 0
    assert opened.locator("form:visible").count() == 0
    context.close()
