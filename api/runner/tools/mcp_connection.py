"""One connection to an MCP server, kept open between turns by a task of its own.

It is opened when it is first asked for. When it ends, whoever asks next opens another, after a pause that
grows while that fails; before, they are told at once that the server cannot be reached.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import msgspec
from loguru import logger

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult

IDEMPOTENCY_KEY_META = "turnledger/idempotency-key"
"""Under which a call's key lies in `_meta`."""

_PAUSE_SECONDS = 0.5
_PAUSE_SECONDS_MAX = 60.0
_FAILURES_MAX = 10
_STEADY_SECONDS = 30.0
_LIST_SECONDS = 30.0
_CLOSE_SECONDS_MAX = 10.0
_PAGES_MAX = 20
_TOOLS_MAX = 500


class McpUnavailable(Exception):
    """The server cannot be used now; nothing was asked of it. The message is a sentence."""


class McpBroken(Exception):
    """The server was asked and its answer did not come."""


class McpRefused(Exception):
    """The server answered that it will not; the message is its own."""


class McpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a server is waited for, and how much it is asked at once."""

    start_seconds: float = 15
    """To start or be reached, and to list its tools."""
    calls_max: int = 8
    """At once; as many again wait."""


class McpTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as its server describes it."""

    description: str
    parameters: dict[str, Any]


Opener = Callable[[], AbstractAsyncContextManager[Any]]
"""Makes the transport of a new connection, as `mcp` takes it."""


class McpConnection:
    """A connection that opens itself. Safe to share between tasks of one loop."""

    def __init__(self, name: str, opener: Opener, limits: McpLimits) -> None:
        self._name = name
        self._opener = opener
        self._limits = limits
        self._owner: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[_Open] | None = None
        self._ending = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._is_closed = False
        self._failures = 0
        self._retry_at = -math.inf
        self._reason = ""
        self._calls = asyncio.Semaphore(limits.calls_max)
        self._waiting = 0
        self._under_way = 0
        self._listing = asyncio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way or waits."""
        return self._waiting + self._under_way > 0

    async def tools(self) -> Mapping[str, McpTool]:
        """What the server offers, by name; asked again when that was a while ago.

        Raises:
            McpUnavailable: it cannot be reached, or does not say so in time.
        """
        found = await self._ready()
        async with self._listing:
            if found.is_ended:
                raise McpUnavailable(f"{self._subject()} has ended.")
            if found.is_fresh(asyncio.get_running_loop().time()):
                return found.tools
            try:
                async with asyncio.timeout(self._limits.start_seconds):
                    await found.list_tools()
            except Exception as error:  # whatever the server, or the package, makes of it
                self._break(found)
                raise McpUnavailable(f"{self._subject()} does not list its tools.") from error
        return found.tools

    async def call(
        self, tool: str, arguments: dict[str, Any], *, idempotency_key: str | None, began: asyncio.Event
    ) -> "CallToolResult":
        """Call a tool; the caller limits the time, and `began` is set when the call goes out.

        Raises:
            McpUnavailable: the call was not made.
            McpBroken: it was made, and no answer that can be read came.
            McpRefused: the server answered with an error.
        """
        if self._waiting >= self._limits.calls_max and self._calls.locked():
            raise McpUnavailable(f"{self._subject()} has more calls to answer than it may.")
        self._waiting += 1
        try:
            found = await self._ready()
            await self._calls.acquire()
        finally:
            self._waiting -= 1
        self._under_way += 1
        try:
            if found.is_ended:
                raise McpUnavailable(f"{self._subject()} has ended.")
            began.set()
            return await self._made(found, tool, arguments, idempotency_key)
        finally:
            self._under_way -= 1
            self._calls.release()

    async def close(self) -> None:
        """End the connection, and with it the server's process."""
        self._is_closed = True
        self._ending.set()
        if self._scope is not None and self._opened is not None and not self._opened.done():
            self._scope.cancel()
        if self._owner is not None:
            # Bounded: a process that outlives even being killed is not worth the wait.
            await asyncio.wait({self._owner}, timeout=_CLOSE_SECONDS_MAX)

    async def _made(
        self, found: "_Open", tool: str, arguments: dict[str, Any], idempotency_key: str | None
    ) -> "CallToolResult":
        from mcp.shared.exceptions import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        meta: Any = {IDEMPOTENCY_KEY_META: idempotency_key} if idempotency_key else None
        try:
            return await found.client.call_tool(tool, arguments, meta=meta)
        except MCPError as error:
            if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                self._break(found)
                raise McpBroken(f"{self._subject()} ended before it answered.") from error
            raise McpRefused(error.message) from error
        except Exception as error:
            raise McpBroken(f"{self._subject()} gave an answer that cannot be read.") from error

    async def _ready(self) -> "_Open":
        """The open connection, for which an owner is made where there is none."""
        loop = asyncio.get_running_loop()
        if self._is_closed:
            raise McpUnavailable(f"{self._subject()} is not used any more.")
        if self._owner is not None and self._ending.is_set():
            await asyncio.wait({self._owner}, timeout=_CLOSE_SECONDS_MAX)
        if self._owner is None or self._owner.done():
            if loop.time() < self._retry_at:
                raise McpUnavailable(self._reason)
            self._ending = asyncio.Event()
            self._opened = loop.create_future()
            self._owner = asyncio.create_task(self._own(self._opened, self._ending))
        assert self._opened is not None, "an owner has one"
        # Shielded: others wait for the same.
        return await asyncio.shield(self._opened)

    async def _own(self, opened: "asyncio.Future[_Open]", ending: asyncio.Event) -> None:
        """Open the connection, keep it until it ends, close it: all in one task, as the package asks."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self._limits.start_seconds) as scope:
                self._scope = scope
                async with _client(self._opener(), ending) as client:
                    found = _Open(client, ending)
                    await found.list_tools()
                    scope.deadline = math.inf
                    opened.set_result(found)
                    logger.info("tool server connected", server=self._name, tools=len(found.tools))
                    await ending.wait()
                    scope.deadline = anyio.current_time() + _CLOSE_SECONDS_MAX
            if not opened.done():
                self._fail(opened, f"did not answer within {self._limits.start_seconds:g} s")
        except McpUnavailable as error:
            self._fail(opened, str(error), is_whole=True)
        except Exception as error:  # a server can fail in any way; the next who asks opens another
            if opened.done():
                logger.debug("tool server left untidily", server=self._name, error=repr(error))
            else:
                why = _connect_error(error)
                self._fail(opened, f"cannot be reached: {why}" if why else "cannot be reached")
                logger.opt(exception=error).debug("tool server not reached", server=self._name)
        finally:
            ending.set()
            if not opened.done():
                self._fail(opened, "was given up")
        if opened.exception() is None and not self._is_closed:
            if loop.time() - began_at > _STEADY_SECONDS:
                self._failures = 0
            self._pause("has ended")

    def _fail(self, opened: "asyncio.Future[_Open]", reason: str, *, is_whole: bool = False) -> None:
        sentence = self._pause(reason, is_whole=is_whole)
        if not opened.done():
            opened.set_exception(McpUnavailable(sentence))
            # Nobody may be waiting any more.
            opened.exception()

    def _pause(self, reason: str, *, is_whole: bool = False) -> str:
        """Have nobody try again for a while."""
        self._reason = reason if is_whole else f"{self._subject()} {reason}."
        # The first time nobody waits; a server that keeps failing is asked less and less often.
        pause = min(_PAUSE_SECONDS * 2**self._failures, _PAUSE_SECONDS_MAX) if self._failures else 0.0
        self._failures = min(self._failures + 1, _FAILURES_MAX)
        self._retry_at = asyncio.get_running_loop().time() + pause
        logger.warning("tool server away", server=self._name, reason=self._reason, pause_seconds=pause)
        return self._reason

    def _break(self, found: "_Open") -> None:
        """Have the owner let go of a connection that is no good any more."""
        found.ending.set()

    def _subject(self) -> str:
        return f"The MCP server `{self._name}`"


class _Open:
    """A connection while it is open."""

    def __init__(self, client: "Client", ending: asyncio.Event) -> None:
        self.client = client
        self.ending = ending
        self.tools: Mapping[str, McpTool] = {}
        self._listed_at = -math.inf

    @property
    def is_ended(self) -> bool:
        return self.ending.is_set()

    def is_fresh(self, now: float) -> bool:
        return now < self._listed_at + _LIST_SECONDS

    async def list_tools(self) -> None:
        tools: dict[str, McpTool] = {}
        cursor: str | None = None
        for _ in range(_PAGES_MAX):
            page = await self.client.list_tools(cursor=cursor)
            for tool in page.tools[: _TOOLS_MAX - len(tools)]:
                tools[tool.name] = McpTool(description=tool.description or "", parameters=tool.input_schema)
            cursor = page.next_cursor
            if cursor is None:
                break
        self.tools = tools
        self._listed_at = asyncio.get_running_loop().time()


def _connect_error(error: BaseException) -> str:
    """Why no connection came about, where somewhere inside the error lies one that says so."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_connect_error, error.exceptions)), "")
    return str(error).removesuffix(".") if isinstance(error, httpx2.ConnectError) else ""


def _client(transport: Any, ending: asyncio.Event) -> "Client":
    from mcp import Client

    # It logs what servers send, at levels that we keep.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    return Client(_Watched(transport, ending), cache=None)


class _Watched:
    """A transport that tells when the server's side of it ends."""

    def __init__(self, transport: AbstractAsyncContextManager[Any], ending: asyncio.Event) -> None:
        self._transport = transport
        self._ending = ending

    async def __aenter__(self) -> Any:
        read, write = await self._transport.__aenter__()
        return _WatchedStream(read, self._ending), write

    async def __aexit__(self, *given: Any) -> bool | None:
        return await self._transport.__aexit__(*given)


class _WatchedStream:
    """A stream of messages, as `mcp.client.Transport` gives it."""

    def __init__(self, stream: Any, ending: asyncio.Event) -> None:
        self._stream = stream
        self._ending = ending

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> "_WatchedStream":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ending.set()
            raise

    async def __aenter__(self) -> "_WatchedStream":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *given: Any) -> bool | None:
        self._ending.set()
        result: bool | None = await self._stream.__aexit__(*given)
        return result
