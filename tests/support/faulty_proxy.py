"""An HTTP proxy that fails the requests it is told to, and remembers all of them. Runs in a process of its own.

It prints its URL and serves until its standard input ends. In the tests' process it could wait for ever: libraries
that hold Python's lock while they wait for an answer keep a server in another thread from giving it.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

CONTROL = "/__control__"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>said the test</Message></Error>"


class Faults:
    """What is to fail, and what was asked so far."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rules: list[dict[str, Any]] = []
        self.log: list[list[Any]] = []

    def judge(self, method: str, path: str) -> str | None:
        """How this request is to fail, if it is."""
        with self.lock:
            how = next((found for rule in self.rules if (found := self._applies(rule, method, path))), None)
            self.log.append([method, path, how])
            return how

    def _applies(self, rule: dict[str, Any], method: str, path: str) -> str | None:
        if not re.search(rule["requests"], f"{method} {path}"):
            return None
        rule["seen"] = rule.get("seen", 0) + 1
        number = rule["seen"] - rule["after"]
        return rule["how"] if number > 0 and (rule["times"] is None or number <= rule["times"]) else None


class Handler(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    faults: Faults
    upstream: str
    connection_upstream: http.client.HTTPConnection | None = None

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do(self) -> None:
        """Answer any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == CONTROL:
            with self.faults.lock:
                log = list(self.faults.log)
                if self.command == "POST":
                    self.faults.rules = json.loads(body)
                    self.faults.log.clear()
            return self._send(200, {}, json.dumps(log).encode())
        how = self.faults.judge(self.command, self.path)
        if how is None:
            return self._forward(body, answer=True)
        if how.isdigit():
            return self._send(int(how), {"Content-Type": "application/xml"}, SLOW_DOWN)
        if how == "lose the answer":
            self._forward(body, answer=False)
        if how == "slow":
            time.sleep(0.2)
            return self._forward(body, answer=True)
        if how == "cut short":
            self._forward(body, answer=True, whole=False)
        if how == "never answer":
            self.rfile.read(1)  # until the client has gone
        # Unread or unsent, what is left is thrown away and the other side told so at once.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

    def _forward(self, body: bytes, *, answer: bool, whole: bool = True) -> None:
        if self.connection_upstream is None:
            self.connection_upstream = http.client.HTTPConnection(self.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "expect")}
        self.connection_upstream.request(self.command, self.path, body, headers)
        found = self.connection_upstream.getresponse()
        content = found.read()
        if answer:
            self._send(found.status, dict(found.getheaders()), content, whole=whole)

    def _send(self, status: int, headers: dict[str, str], content: bytes, *, whole: bool = True) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers.items():
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content if whole else content[: len(content) // 2])
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """Says nothing of clients that leave."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what the tests are about."""


def main() -> None:
    """Serve in front of the URL that is the first argument."""
    Handler.faults = Faults()
    Handler.upstream = urlsplit(sys.argv[1]).netloc
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
