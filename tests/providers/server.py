"""A model provider for tests and benchmarks: a real HTTP server that misbehaves on request.

Speaks the chat-completions stream (`POST /v1/chat/completions`) and Anthropic's messages stream
(`POST /v1/messages`), and refuses what they refuse. What a request gets is its `Plan`: the next one that the
test has queued, else the next of its conversation's (`FakeProvider.expect`), else the one written in the last
user message, as in `[[words=50 delay_ms=10 usage=none]]`, else eight words. Where the plan written first has
calls, the next ones are for the requests that bring their results: `[[calls=lookup:{}]] [[text=Done.]]`.

    python -m tests.providers.server --port 9100
"""

import argparse
import asyncio
import contextlib
import itertools
import json
from collections import deque
from typing import Any

import msgspec

from tests.providers.dialects import Cut, anthropic, chat_completions
from tests.providers.plan import Plan, PlannedCall, plan_written_in, words_of
from tests.providers.protocol import fault_in

__all__ = ["FakeProvider", "Plan", "PlannedCall", "Request"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FakeProvider:
    """The server; `async with FakeProvider() as provider` runs it on a free port."""

    def __init__(self, *, port: int = 0) -> None:
        self.plans: deque[Plan] = deque()
        """For the next requests, first come, first served."""
        self.requests: list[Request] = []
        self.disconnected = asyncio.Event()
        """Set when a client went away from a stream that stalls."""
        self.connection_count = 0
        """Connections ever opened."""
        self._conversations: list[tuple[str, deque[Plan]]] = []
        self._call_ids = (f"call_{number}" for number in itertools.count(1))
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def expect(self, words: str, *plans: Plan) -> None:
        """Keep plans for the requests of one conversation, known by `words` that the user says in it."""
        self._conversations.append((words, deque(plans)))

    @property
    def base_url(self) -> str:
        """Of the server, without a version."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "FakeProvider":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Drop every connection and listen no more."""
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
        self.connection_count += 1
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                await self._answer(request, reader, writer)
        except (Cut, ConnectionError):
            writer.transport.abort()
        except asyncio.CancelledError:
            pass  # the server stops; the stream protocol would report the cancellation as an error
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            plan = self._plan_for(request)
        except (ValueError, msgspec.ValidationError) as error:
            plan = Plan(status=400, error_message=f"This directive cannot be read: {error}")
        if plan.status != 200:
            await _refuse(plan, writer)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        dialect = anthropic if request.path.endswith("/messages") else chat_completions
        async for line in dialect(plan, str(request.body.get("model")), self._call_ids):
            if line is None:
                await self._stall(reader, writer)
            else:
                data = line.encode()
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _plan_for(self, request: Request) -> Plan:
        if (fault := fault_in(request.path, request.body)) is not None:
            return Plan(status=400, error_type="invalid_request_error", error_message=fault)
        if self.plans:
            return self.plans.popleft()
        messages = request.body.get("messages", [])
        said = "\n".join(words_of(message) for message in messages if message.get("role") == "user")
        for words, plans in self._conversations:
            if plans and words in said:
                return plans.popleft()
        return plan_written_in(messages)

    async def _stall(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        self.disconnected.set()
        raise Cut


async def _refuse(plan: Plan, writer: asyncio.StreamWriter) -> None:
    error = {"message": plan.error_message, "type": plan.error_type, "code": plan.error_type}
    body = json.dumps({"error": error}).encode()
    retry_after = "" if plan.retry_after is None else f"retry-after: {plan.retry_after}\r\n"
    head = f"HTTP/1.1 {plan.status} Refused\r\ncontent-type: application/json\r\n{retry_after}"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The next request on a connection; None when there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines) if k}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(path=first.split(" ")[1], headers=headers, body=json.loads(body or b"{}"))


async def _run(port: int) -> None:
    async with FakeProvider(port=port) as provider:
        print(f"{provider.base_url}/v1", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted; the first line printed is the base URL for `OPENAI_BASE_URL`."""
    parser = argparse.ArgumentParser(description="A model provider for tests and benchmarks.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(arguments.port))


if __name__ == "__main__":
    main()
