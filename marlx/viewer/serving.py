"""A web server for this computer alone: pages that ask for JSON, with the standard library.

It listens on the loopback address. Addresses begin with a secret word, so that other users of the
computer find nothing; a wrong `Host` is refused, so that no page of the internet can reach it under
a name of its own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from marlx.text import printable

LARGEST_REQUEST = 100_000
"""Most bytes of a request that are read."""
WRONG = (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError)
"""What a request of nonsense, or a full disk, may lead to; the answer says it."""
Route = Callable[[Any], Any]
"""`(content of the request) -> text of a page, or content of the answer`."""


class Server:
    """A running server; `url` is the address of its page.

    Args:
      routes: by name; the empty one is the page. Those with a name are asked with POST.
      port: to listen on; 0 for one that is free.

    Raises:
      OSError: the port is taken.
    """

    def __init__(self, routes: Mapping[str, Route], port: int = 0) -> None:
        self._secret = secrets.token_urlsafe(9)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler(routes))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/{self._secret}/"

    def serve(self) -> None:
        """Answers until `close` is called."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Ends `serve` and frees the port."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, routes: Mapping[str, Route]) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30.0

            def do_GET(self) -> None:
                self._answer("")

            def do_POST(self) -> None:
                self._answer(None)

            def _answer(self, only: str | None) -> None:
                name = server._name(self.path, self.headers.get("Host"))
                if name is None or name not in routes or only not in (None, name):
                    self.send_error(404)
                    return
                try:
                    content = routes[name](self._content())
                except WRONG as error:
                    content = {"error": f"{type(error).__name__}: {printable(error)}"}
                if isinstance(content, str):
                    self._send(content.encode(), "text/html; charset=utf-8")
                else:
                    self._send(json.dumps(content).encode(), "application/json")

            def _content(self) -> Any:
                length = int(self.headers.get("Content-Length") or 0)
                if not 0 <= length <= LARGEST_REQUEST:
                    raise ValueError("the request is too long")
                return json.loads(self.rfile.read(length)) if length else None

            def _send(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing: requests are no news."""

        return Handler

    def _name(self, path: str, host: str | None) -> str | None:
        """Returns the route that a request is for; None where it is for none."""
        if host not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            return None
        before = f"/{self._secret}/"
        return path.removeprefix(before) if path.startswith(before) else None
