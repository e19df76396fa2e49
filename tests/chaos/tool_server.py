"""The server that the agents' tools call: it counts what arrives, and answers late, wrongly or not at all.

It lives in the programme's own process, which nobody harms: what has arrived here is what has happened.
"""

import asyncio
import contextlib
import json
import random

import msgspec

_STALL_SECONDS = 4
"""Longer than a tool waits."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has had its effect, whatever its caller was told."""

    tool: str
    argument: str
    """The same for every repetition of a call, and for no other."""
    key: str | None
    """The idempotency key that came with it."""


class ToolServer:
    """`async with` serves on a free port."""

    def __init__(self, *, seed: int) -> None:
        self.arrivals: list[Arrival] = []
        self.is_good = False
        """Everything is answered at once."""
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        """Where the tools are, each under its name."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "ToolServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        tool = first.split(" ")[1].strip("/")
        self.arrivals.append(Arrival(tool=tool, argument=body["id"], key=headers.get("idempotency-key")))
        status, content = "200 OK", b'{"done":true}'
        ways = {"at once": 55, "late": 20, "refused": 8, "cut": 10, "stalled": 7}
        way = "at once" if self.is_good else self._random.choices(list(ways), list(ways.values()))[0]
        match way:
            case "late":
                await asyncio.sleep(self._random.uniform(0.1, 1.2))
            case "refused":
                status, content = "500 Internal Server Error", b"not today"
            case "cut":
                raise ConnectionResetError
            case "stalled":
                await asyncio.sleep(_STALL_SECONDS)
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
            "connection: close\r\n\r\n".encode()
            + content
        )
        await writer.drain()
