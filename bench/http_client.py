"""A lean HTTP client for `http_vs_pgbench`, run as a process of its own: `python -m bench.http_client`.

Reads an `Order` as JSON from standard input, keeps one request in flight on every connection until the time
is over, and writes an `Account` to standard output.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import cast

import msgspec
import uvloop

_CONNECT_SECONDS_MAX = 10
_LENGTH = b"content-length:"


class Messages(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection sends: one message to each of these sessions, all at revision 1."""

    secret: str
    session_ids: Sequence[str]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the client is to do."""

    host: str
    port: int
    seconds: float
    text: str
    connections: Sequence[Messages]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What happened."""

    statuses: dict[str, int]
    seconds: float
    cpu_seconds: float
    """Processor time of the client: well below `seconds`, or the client is what was measured."""
    is_out_of_sessions: bool


async def main(order: Order) -> Account:
    """Send for as long as ordered."""
    loop = asyncio.get_running_loop()
    body = msgspec.json.encode({"text": order.text})
    connections = []
    for messages in order.connections:
        requests = [_request(order, messages, session_id, body) for session_id in messages.session_ids]
        async with asyncio.timeout(_CONNECT_SECONDS_MAX):
            _, connection = await loop.create_connection(
                partial(_Connection, requests, loop.create_future()), order.host, order.port
            )
        connections.append(connection)
    began, cpu_began = time.perf_counter(), time.process_time()
    for connection in connections:
        connection.begin(until=began + order.seconds)
    await asyncio.gather(*(connection.done for connection in connections))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    statuses: Counter[str] = Counter()
    for connection in connections:
        statuses.update(connection.statuses)
        connection.close()
    return Account(
        statuses=dict(statuses),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        is_out_of_sessions=any(connection.is_out for connection in connections),
    )


def _request(order: Order, messages: Messages, session_id: str, body: bytes) -> bytes:
    head = (
        f"POST /v1/sessions/{session_id}/messages HTTP/1.1\r\n"
        f"Host: {order.host}:{order.port}\r\n"
        f"Authorization: Bearer {messages.secret}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        'If-Match: "1"\r\n'
        "Prefer: respond-async\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One kept-alive connection with one request in flight. Answers carry their length."""

    def __init__(self, requests: Sequence[bytes], done: "asyncio.Future[None]") -> None:
        self.statuses: Counter[str] = Counter()
        self.done = done
        self.is_out = False
        self._requests = iter(requests)
        self._received = b""
        self._until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def begin(self, *, until: float) -> None:
        self._until = until
        self._send_next()

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        start = head.lower().index(_LENGTH) + len(_LENGTH)
        if len(body) < int(head[start:].split(b"\r\n", 1)[0]):
            return
        self.statuses[head[9:12].decode()] += 1
        self._received = b""
        self._send_next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))

    def _send_next(self) -> None:
        request = next(self._requests, None) if time.perf_counter() < self._until else None
        if request is not None:
            self._transport.write(request)
            return
        self.is_out = time.perf_counter() < self._until
        self.done.set_result(None)


if __name__ == "__main__":
    account = uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))
    sys.stdout.buffer.write(msgspec.json.encode(account))
