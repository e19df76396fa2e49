"""An event stream as a client reads it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

ACCEPT = {"Accept": "text/event-stream"}
_SECONDS_MAX = 20


class Received(NamedTuple):
    """One event."""

    event: str
    data: Any
    id: str


class Parser:
    """Makes events of bytes, wherever these are cut (WHATWG HTML 9.2.6)."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.comment_count = 0
        self._buffer = b""

    def feed(self, data: bytes) -> list[Received]:
        """Take some bytes; answers the events that are complete with them."""
        self._buffer += data
        found = []
        while b"\n\n" in self._buffer:
            block, self._buffer = self._buffer.split(b"\n\n", 1)
            fields = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            self.comment_count += "" in fields
            self.last_event_id = fields.get("id", self.last_event_id)
            if "data" in fields:
                found.append(Received(fields["event"], json.loads(fields["data"]), self.last_event_id))
        return found


class EventSource:
    """An open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.parser = Parser()
        self._chunks = response.aiter_raw()
        self._waiting: list[Received] = []

    async def next(self) -> Received | None:
        """The next event; None when the stream is over."""
        async with asyncio.timeout(_SECONDS_MAX):
            while not self._waiting:
                try:
                    self._waiting += self.parser.feed(await anext(self._chunks))
                except StopAsyncIteration:
                    return None
        return self._waiting.pop(0)

    async def until(self, *names: str) -> list[Received]:
        """All events up to and with the first of these names."""
        found = []
        while (received := await self.next()) is not None:
            found.append(received)
            if received.event in names:
                return found
        raise AssertionError(f"the stream ended before any of {names}: {found}")

    async def rest(self) -> list[Received]:
        """All events up to the end of the stream."""
        found = []
        while (received := await self.next()) is not None:
            found.append(received)
        return found


@asynccontextmanager
async def following(
    client: httpx.AsyncClient,
    path: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[EventSource]:
    """Open a stream."""
    more = {} if body is None else {"json": body}
    async with client.stream(method, path, headers={**ACCEPT, **(headers or {})}, **more) as response:
        if response.status_code != 200:
            await response.aread()
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        yield EventSource(response)


def names(received: list[Received]) -> list[str]:
    """What kind of events these are, deltas in a row as one."""
    found: list[str] = []
    for one in received:
        if one.event != "turn.delta" or found[-1:] != ["turn.delta"]:
            found.append(one.event)
    return found


def text_of(received: list[Received], turn_id: str | None = None) -> str:
    """What the deltas say, each of which must follow on the one before."""
    texts: dict[str, str] = {}
    for one in received:
        if one.event == "turn.restarted":
            texts[one.data["step_id"]] = ""
        elif one.event == "turn.delta" and turn_id in (None, one.data["turn_id"]):
            text = texts.get(one.data["step_id"], "")
            assert one.data["offset"] == len(text), "no gap, no repetition"
            texts[one.data["step_id"]] = text + one.data["text"]
    return "".join(texts.values())
