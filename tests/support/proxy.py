"""The tests' end of the proxy that fails the requests it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVERYTHING = ""
LOG = r"_delta_log|delimiter.*_delta_log"


class Proxy:
    """A proxy in front of a server.

    Parameters:
        url: where clients reach it
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def fail(self, how: str, requests: str = EVERYTHING, *, after: int = 0, times: int | None = None) -> None:
        """Fail requests from now on, and forget those that were.

        Parameters:
            how: a status, ``reset``, ``never answer``, ``lose the answer`` (it arrives and takes effect), ``cut short``
                (likewise, and half of the answer comes back) or ``slow``
            requests: a pattern that finds them by method and path
            after: how many of them to let through first
            times: how many to fail then; None: all
        """
        self._control([{"how": how, "requests": requests, "after": after, "times": times}])

    def forget(self) -> None:
        """Fail nothing any more, and forget the requests so far."""
        self._control([])

    @property
    def requests(self) -> list[tuple[str, str, str | None]]:
        """What was asked since: method, path, how it failed."""
        return [(method, path, how) for method, path, how in self._control(None)]

    @property
    def counts(self) -> Counter[str]:
        """How many requests of each method were made since."""
        return Counter(method for method, _, _ in self.requests)

    def _control(self, rules: list[dict[str, Any]] | None) -> Any:
        data = None if rules is None else json.dumps(rules).encode()
        with urllib.request.urlopen(f"{self.url}/__control__", data=data) as answer:
            return json.load(answer)


@contextmanager
def proxy_to(url: str) -> Iterator[Proxy]:
    """Run a proxy in front of a URL."""
    script = Path(__file__).with_name("faulty_proxy.py")
    command = [sys.executable, "-P", str(script), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield Proxy(server.stdout.readline().strip())
        server.stdin.close()
