"""A lean reader of event streams: one connection, bytes in, events out."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

_CONNECT_SECONDS_MAX = 10


class Connection:
    """One kept-alive HTTP connection, used as a context; one request at a time."""

    def __init__(self, host: str, port: int, secret: str) -> None:
        self._address = (host, port)
        self._secret = secret

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(_CONNECT_SECONDS_MAX):
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def send(self, method: str, path: str, body: bytes = b"", **fields: str) -> None:
        """Send a request; underscores in the names of header fields stand for hyphens."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._address[0]}:{self._address[1]}"]
        lines += [f"Authorization: Bearer {self._secret}", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/json"] if body else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def status(self) -> int:
        """Read the head of the answer."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        return int(head[9:12])

    async def body(self) -> bytes:
        """Read an answer that carries its length, and is a success."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        body = await self._reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
        if not head[9:12].startswith(b"2"):
            raise RuntimeError(body.decode())
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read a chunked body, piece by piece."""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
