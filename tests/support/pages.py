"""Pages read as a browser reads them, without one; and a server asked without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

VOID = {"meta", "link", "input", "br", "img"}


@dataclass
class Tag:
    """An element: its name, its attributes and what stands in it."""

    name: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class PageText(HTMLParser):
    """A page: its elements in order, and all of its text."""

    html: str
    tags: list[Tag] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Tag] = []
        self.feed(self.html)
        self.close()
        assert not self._open, f"{self._open[-1].name} was not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Tag(tag, {name: value or "" for name, value in attrs})
        self.tags.append(found)
        if tag not in VOID:
            self._open.append(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(Tag(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        assert self._open[-1].name == tag, f"</{tag}> ends <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag in self._open:
            tag.text += data

    def all(self, name: str, of: str = "") -> list[Tag]:
        """The elements of a name, and of a class."""
        return [t for t in self.tags if t.name == name and (not of or of in t.attributes.get("class", "").split())]

    @property
    def links(self) -> list[str]:
        """What its elements lead to, or fetch."""
        return [tag.attributes[name] for tag in self.tags for name in ("href", "src") if name in tag.attributes]

    @property
    def commands(self) -> list[str]:
        """The commands to copy."""
        return [tag.text for tag in self.all("code", "copy")]

    def see_harmless(self) -> None:
        """See that nothing in it could run, or fetch anything from elsewhere."""
        scripts = [tag.attributes.get("src", "") for tag in self.all("script")]
        assert [src.rpartition("/")[2] for src in scripts] == ["page.js"]
        assert not self.all("style")
        assert not [tag for tag in self.tags if tag.name in ("iframe", "object", "embed", "base")]
        for tag in self.tags:
            for name, value in tag.attributes.items():
                assert not name.startswith("on"), f"{tag.name} {name}"
                assert name not in ("style", "srcdoc", "formaction", "ping", "xlink:href"), f"{tag.name} {name}"
                if name in ("href", "src", "action", "data-to"):
                    scheme = value.partition("/")[0].partition("?")[0].partition("#")[0]
                    outside = tag.name == "a" and value.startswith(("http://", "https://"))
                    assert outside or (":" not in unquote(scheme) and not value.startswith("//")), value


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def page(self) -> PageText:
        return PageText(self.body.decode())


def ask(app: Any, path: str, *, method: str = "GET", host: str = "localhost:8765", **headers: str) -> Answer:
    """Ask an ASGI application, as a server would that got such a request."""
    plain, _, query = path.partition("?")
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(plain),
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8765),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    headers_ = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers_, b"".join(one.get("body", b"") for one in sent[1:]))
