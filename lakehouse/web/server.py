"""``lakehouse ui``: the pages over HTTP. It reads, and does nothing else.

Only GET is answered, only to those who call it by a name that it has, and what is shown can't run anything or fetch
anything from elsewhere. Who may look is left to a proxy before it; addresses on pages hold behind any prefix.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, final

from lakehouse.errors import LakehouseError, PartitionError, SettingsError
from lakehouse.redaction import logger
from lakehouse.web import links
from lakehouse.web.look import Look, Looking
from lakehouse.web.pages import POLICY, Pages, Shown, pages_of

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from lakehouse.lake import Lakehouse

log = logger("lakehouse.web")

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""The names that a machine has for itself."""

STATIC: Final = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""Files that all pages share, with their types."""

_HEADERS: Final = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def static_file(name: str) -> bytes:
    """The content of a file that all pages share."""
    return files("lakehouse.web").joinpath("static", name).read_bytes()


def application(lake: Lakehouse, shown: Shown, *, hosts: Collection[str] = (), title: str = "lakehouse") -> Starlette:
    """The pages as an ASGI application.

    Parameters:
        lake: the lakehouse
        shown: what may be shown
        hosts: names that it is called by, besides those that a machine has for itself
        title: what stands in the head of each page

    Examples:
        >>> from lakehouse import Lakehouse, bronze
        >>> from lakehouse.testing import MemoryLineage
        >>> @bronze
        ... def numbers(): ...
        >>> app = application(Lakehouse([numbers], storage="memory://", lineage=MemoryLineage()), Shown())
        >>> [route.path for route in app.routes]
        ['/{path:path}']
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    site = Site(Looking(lake), Pages(title, shown), frozenset(name.lower() for name in (*LOOPBACK, *hosts)))
    # A function, so that it runs in a thread of its own; HEAD comes with GET, everything else is refused.
    return Starlette(routes=[Route("/{path:path}", lambda request: site.answer(request), methods=["GET"])])


@final
@dataclass(frozen=True)
class Site:
    """Answers requests.

    Parameters:
        looking: looks at the lakehouse
        pages: makes pages
        hosts: the names that it may be called by
    """

    looking: Looking
    pages: Pages
    hosts: frozenset[str]

    def answer(self, request: Request) -> Response:
        """The page that is asked for, or why there is none."""
        from starlette.responses import HTMLResponse, PlainTextResponse, Response

        if _host(request.headers.get("host", "")) not in self.hosts:
            return PlainTextResponse(
                "This is not served by that name. `lakehouse ui --allow-host NAME` adds one.\n", 421, headers=_HEADERS
            )
        path = request.path_params["path"]
        folder, _, name = path.rpartition("/")
        if folder == "static" and name in STATIC:
            content = self._static[name]
            return self._unless_known(request, content, lambda: Response(content, media_type=STATIC[name]))
        try:
            look = self.looking.look()
            make = self._page(look, path, request.query_params.get("before"))
            if make is None:
                text = self.pages.error(path, look.now, "There is no such page", f"Nothing is at /{path}.")
                return HTMLResponse(text, 404, headers=_HEADERS)
            if folder.startswith("partitions/") and self.pages.shown.rows:
                # Rows may change where lineage doesn't know of it.
                return HTMLResponse(make(), headers={**_HEADERS, "Cache-Control": "no-store"})
            said = f"{look.stamp} {request.url.query} {path} {self.pages.shown}".encode()
            return self._unless_known(request, said, lambda: HTMLResponse(make()))
        except LakehouseError as error:
            log.warning("%s could not be shown: %s", path or "the overview", error)
            text = self.pages.error(path, datetime.now(UTC), "It can't be read", error.message, error.hint or "")
            return HTMLResponse(text, 503, headers=_HEADERS)

    def _unless_known(self, request: Request, content: bytes, make: Callable[[], Response]) -> Response:
        """A response, or that the one which is known is still right."""
        from starlette.responses import Response

        tag = f'W/"{hashlib.blake2b(content, digest_size=12, key=self._started).hexdigest()}"'
        known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
        response = Response(status_code=304) if tag in known else make()
        response.headers.update({**_HEADERS, "ETag": tag, "Cache-Control": "private, no-cache"})
        return response

    @cached_property
    def _started(self) -> bytes:
        # Another process may have other templates.
        return hashlib.blake2b(datetime.now(UTC).isoformat().encode(), digest_size=16).digest()

    @cached_property
    def _static(self) -> dict[str, bytes]:
        return {name: static_file(name) for name in STATIC}

    def _page(self, look: Look, path: str, before: str | None) -> Callable[[], str] | None:
        """What makes the page at a path; None: there is none."""
        graph, pages = look.lake.graph, self.pages
        for name, number, make in (
            (links.OVERVIEW, len(graph), pages.overview),
            (links.PLAN, _planned(look) if path.startswith("plan") else 1, pages.plan),
        ):
            for page in range(1, pages_of(number) + 1):
                if (path or links.OVERVIEW) == links.numbered(name, page):
                    return partial(make, look, page)
        match path.removesuffix(".html").split("/") if path.endswith(".html") else []:
            case ["runs"]:
                return lambda: pages.runs(look, before=before)
            case ["assets", key] if key in graph:
                return lambda: pages.asset(look, graph[key])
            case ["runs", run]:
                facts = look.lake.lineage_store.run(run)
                return (lambda: pages.run(look, run, facts)) if facts else None
            case ["partitions", key, *rest] if key in graph and rest and graph[key].partitioned:
                ordinal = _ordinal(look, key, "/".join(rest))
                return None if ordinal is None else (lambda: pages.partition(look, graph[key], ordinal))
        return None


def _planned(look: Look) -> int:
    return 0 if isinstance(look.plan, LakehouseError) else len(look.plan.assets)


def _ordinal(look: Look, key: str, name: str) -> int | None:
    """The partition that storage, or a person, calls so; None: it isn't one of the asset's."""
    partitions = look.lake.graph[key].partitions
    there = look.statuses[key].expected | look.statuses[key].present
    for read in (partitions.from_token, partitions.parse):
        try:
            found = partitions.of_keys([partitions.key(read(name))])
        except PartitionError:
            continue
        if found & there:
            return found.spans[0][0]
    return None


def _host(header: str) -> str:
    """A host's name without its port.

    Examples:
        >>> _host("Lake.example.com:8000"), _host("[::1]:8000"), _host("[::1]")
        ('lake.example.com', '[::1]', '[::1]')
    """
    name, mark, port = header.strip().lower().rpartition(":")
    return name if mark and port.isdigit() else header.strip().lower()


@final
@dataclass(frozen=True)
class Address:
    """Where the pages are served.

    Parameters:
        host: a name or an address of this machine
        port: 0: one that is free

    Raises:
        SettingsError: (by ``open``) nobody can listen there
    """

    host: str = "127.0.0.1"
    port: int = 8765

    def open(self) -> socket.socket:
        """Listen."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family)
        except (OSError, OverflowError) as error:
            raise SettingsError(
                f"nothing can be served at {self.host} port {self.port}: {getattr(error, 'strerror', None) or error}",
                hint="--port names another one, and 0 takes one that is free; --host a name of this machine",
            ) from error

    @property
    def named(self) -> list[str]:
        """The names by which it may be called for being served there."""
        try:
            found = ipaddress.ip_address(self.host)
        except ValueError:
            return [self.host]
        return [] if found.is_unspecified else [f"[{self.host}]" if found.version == 6 else self.host]


def serve(app: Any, listening: socket.socket) -> None:
    """Serve until the process is told to end."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[listening])
