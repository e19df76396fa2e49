"""A tool server on loopback, and tools that call it: real HTTP, with answers that no framework would send."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec

from api.agents.definition import HttpCall, Tool, ToolEffect
from api.runner.tools.addresses import AllowedHosts, read_allowed
from api.runner.tools.base import Invocation
from api.runner.tools.http_call import HttpLimits, HttpTools
from api.runner.tools.ssrf import Guard, Resolve

LOOPBACK = read_allowed(["127.0.0.0/8", "::1/128"])
ORGANIZATION = uuid4()


class Received(msgspec.Struct):
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Received], bytes | None]
"""Gives the bytes to answer with; None breaks the connection."""


class ToolServer:
    """Answers each path as a test says, and remembers what came."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, Answer] = {}
        self.port = 0
        self.got_one = asyncio.Event()
        self.never = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head[1:-2])
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = Received(method, target, headers, body)
            self.received.append(request)
            self.got_one.set()
            answer = self.answers.get(target.partition("?")[0], lambda _: plain("ok"))(request)
            if answer == b"hang":
                await self.never.wait()
            elif answer is not None:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def tool_server(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[ToolServer]:
    served = ToolServer()
    server = await asyncio.start_server(served.handle, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        served.never.set()
        server.close()
        await server.wait_closed()


def plain(text: str | bytes, *, status: str = "200 OK", kind: str = "text/plain", **headers: str) -> bytes:
    body = text.encode() if isinstance(text, str) else text
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_json(value: Any) -> bytes:
    return plain(msgspec.json.encode(value), kind="application/json")


def redirect(location: str, status: str = "302 Found", **headers: str) -> bytes:
    return plain("", status=status, Location=location, **headers)


def invocation(
    *,
    http: HttpCall | None = None,
    function: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    effect: ToolEffect = ToolEffect.READ,
    timeout_seconds: float = 10,
    context: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    **more: Any,
) -> Invocation:
    return Invocation(
        organization_id=ORGANIZATION,
        tool=Tool(
            name="tool",
            http=http,
            function=function,
            effect=effect,
            timeout_seconds=timeout_seconds,
            **more,
        ),
        arguments=dict(arguments or {}),
        idempotency_key="trn_1/stp_2",
        context=dict(context or {}),
        variables=dict(variables or {}),
    )


def http_tools(
    *,
    allowed: AllowedHosts = LOOPBACK,
    secrets: Mapping[str, str] | None = None,
    resolve: Resolve | None = None,
    verify: ssl.SSLContext | None = None,
    limits: HttpLimits | None = None,
) -> HttpTools:
    async def find_secrets(_: UUID, names: Collection[str]) -> Mapping[str, str]:
        return {name: value for name, value in (secrets or {}).items() if name in names}

    async def find_allowed(_: UUID) -> AllowedHosts:
        return allowed

    return HttpTools(
        Guard(resolve=resolve, verify=verify),
        find_secrets=find_secrets,
        find_allowed=find_allowed,
        limits=limits or HttpLimits(),
    )


class Resolver:
    """A name service that gives these answers, one after the other, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
