"""A model provider for tests and benchmarks: a real HTTP server that misbehaves on request.

Speaks the chat-completions stream (`POST /v1/chat/completions`) and Anthropic's messages stream
(`POST /v1/messages`). What a request gets is its `Plan`: the next one that the test has queued, else the
one written in the last user message, as in `[[words=50 delay_ms=10 usage=none]]`, else eight words.

    python -m tests.providers.server --port 9100
"""

import argparse
import asyncio
import contextlib
import json
import re
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Literal

import msgspec

_DIRECTIVE = re.compile(r"\[\[([^\]]*)\]\]")


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server does with one request. `*_after` counts pieces of text sent before; None is never."""

    words: int = 8
    text: str | None = None
    """Said instead of numbered words."""
    delay_ms: int = 0
    """Before every piece of text."""
    status: int = 200
    error_type: str | None = None
    error_message: str = "The fake provider was told to refuse."
    retry_after: str | None = None
    usage: Literal["after_finish", "with_finish", "with_text", "none"] = "after_finish"
    finish_reason: str | None = "stop"
    """In the dialect that is spoken; None ends the stream without one."""
    input_tokens: int = 20
    """As the dialect counts them: without cached tokens in Anthropic's."""
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    counts_reasoning_beside: bool = False
    """As some compatible servers do: the completion's tokens leave reasoning out, the total has it."""
    is_noisy: bool = False
    """Chunks without choices, repeated roles and names, null fields, comments, pings."""
    cut_after: int | None = None
    """The connection is dropped."""
    stall_after: int | None = None
    """Nothing more is sent until the client goes away."""
    stalls_after_finish: bool = False
    cuts_after_finish: bool = False
    garbage_after: int | None = None
    garbage: str = "{not json"
    """Sent as the data of an event."""
    error_after: int | None = None
    """An error is told inside the stream."""
    ends_after: int | None = None
    """The stream ends in good order, but too early."""

    @property
    def pieces(self) -> list[str]:
        """The text as it is sent."""
        if self.text is not None:
            return re.findall(r"\S+\s*|^\s+", self.text)
        return [f"word{number} " for number in range(self.words)]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Cut(Exception):
    """Drop the connection now."""


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
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

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
            plan = self.plans.popleft() if self.plans else _plan_in(request.body)
        except (ValueError, msgspec.ValidationError) as error:
            plan = Plan(status=400, error_message=f"This directive cannot be read: {error}")
        if plan.status != 200:
            await _refuse(plan, writer)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        dialect = _anthropic if request.path.endswith("/messages") else _chat_completions
        async for line in dialect(plan, str(request.body.get("model"))):
            if line is None:
                await self._stall(reader, writer)
            else:
                data = line.encode()
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

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


def _plan_in(body: dict[str, Any]) -> Plan:
    said = [str(m["content"]) for m in body.get("messages", []) if m.get("role") == "user"]
    written = _DIRECTIVE.search(said[-1]) if said else None
    if written is None:
        return Plan()
    fields = dict(item.split("=", 1) for item in written[1].split())
    return msgspec.convert(fields, Plan, strict=False)


async def _pieces(plan: Plan) -> AsyncGenerator[str | None, None]:
    """The pieces of text, with what goes wrong between them. None stalls; `garbage` and `error` are lines."""
    for count, piece in enumerate([*plan.pieces, ""]):
        if count == plan.cut_after:
            raise Cut
        if count == plan.stall_after:
            yield None
        if count == plan.garbage_after:
            yield "\x00garbage"
        if count == plan.error_after:
            yield "\x00error"
        if count == plan.ends_after:
            return
        if piece:
            if plan.delay_ms:
                await asyncio.sleep(plan.delay_ms / 1000)
            yield piece


async def _chat_completions(plan: Plan, model: str) -> AsyncGenerator[str | None, None]:
    count = len(plan.pieces)
    usage = {
        "prompt_tokens": plan.input_tokens,
        "completion_tokens": count + (0 if plan.counts_reasoning_beside else plan.reasoning_tokens),
        "total_tokens": plan.input_tokens + count + plan.reasoning_tokens,
        "prompt_tokens_details": {
            "cached_tokens": plan.cached_tokens,
            "cache_write_tokens": plan.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": plan.reasoning_tokens},
    }

    def chunk(choices: list[dict[str, Any]], **more: Any) -> str:
        value = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return f"data: {json.dumps({**value, 'choices': choices, **more})}\n\n"

    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish_reason}]

    noise = {"role": "assistant", "name": "assistant", "tool_calls": None} if plan.is_noisy else {}
    with_text = {"usage": usage} if plan.usage == "with_text" else {}
    yield chunk(choice({"role": "assistant", "content": ""}))
    async for piece in _pieces(plan):
        if piece is None:
            yield None
        elif piece == "\x00garbage":
            yield f"data: {plan.garbage}\n\n"
        elif piece == "\x00error":
            error = {"message": plan.error_message, "type": plan.error_type}
            yield f"data: {json.dumps({'error': error})}\n\n"
        else:
            if plan.is_noisy:
                yield ": keep-alive\n\n"
                yield chunk([])
            yield chunk(choice({"content": piece, **noise}), **with_text)
    if plan.ends_after is not None:
        return
    if plan.finish_reason is not None:
        with_finish = {"usage": usage} if plan.usage == "with_finish" else {}
        yield chunk(choice({}, plan.finish_reason), **with_finish)
        if plan.stalls_after_finish:
            yield None
        if plan.cuts_after_finish:
            raise Cut
    if plan.usage == "after_finish":
        yield chunk([], usage=usage)
    yield "data: [DONE]\n\n"


async def _anthropic(plan: Plan, model: str) -> AsyncGenerator[str | None, None]:
    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"

    usage = {
        "input_tokens": plan.input_tokens,
        "cache_read_input_tokens": plan.cached_tokens,
        "cache_creation_input_tokens": plan.cache_write_tokens,
        "output_tokens": 1,
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": model}
    yield event("message_start", message={**message, "stop_reason": None, "usage": usage})
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    async for piece in _pieces(plan):
        if piece is None:
            yield None
        elif piece == "\x00garbage":
            yield f"event: content_block_delta\ndata: {plan.garbage}\n\n"
        elif piece == "\x00error":
            yield event("error", error={"type": plan.error_type, "message": plan.error_message})
        else:
            if plan.is_noisy:
                yield event("ping")
                yield event("content_block_delta", index=0, delta={"type": "unheard_of_delta"})
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    if plan.ends_after is not None:
        return
    yield event("content_block_stop", index=0)
    if plan.finish_reason is not None:
        reason = "end_turn" if plan.finish_reason == "stop" else plan.finish_reason
        counted = {"output_tokens": len(plan.pieces) + plan.reasoning_tokens}
        yield event("message_delta", delta={"stop_reason": reason}, usage=counted)
        if plan.stalls_after_finish:
            yield None
        if plan.cuts_after_finish:
            raise Cut
    yield event("message_stop")


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
