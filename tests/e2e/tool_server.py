"""The HTTP servers of the example agents: a clinic's calendar, and a service that is not well."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    """Decoded JSON; None without a body."""


class ToolServer(ThreadingHTTPServer):
    """Answers what the examples ask for, and keeps what arrived."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def calls(self, method: str, path: str) -> list[Request]:
        """The requests of a method whose path begins so."""
        return [
            request for request in self.requests if request.method == method and request.path.startswith(path)
        ]


class _Handler(BaseHTTPRequestHandler):
    server: ToolServer

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(self.command, self.path, headers, body))
        answer = json.dumps(_answer(self.path, body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _answer(path: str, body: Any) -> Any:
    if path.startswith("/slots?"):
        return {"slots": [{"id": "slot-9", "time": "09:00"}], "internal": "not for the model"}
    if path.startswith("/state"):
        return {"replicas": 1, "errors": 0.4}
    if path.startswith("/replicas"):
        return {"replicas": body["count"]}
    return {"done": True}


@contextmanager
def tool_server() -> Iterator[ToolServer]:
    """A server on a free port for the length of the block."""
    with ToolServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
