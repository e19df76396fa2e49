"""Tools of MCP servers that the operator has declared: commands that are run, or addresses.

A server whose header fields name secrets gets a connection for each organization that uses it; any other
one is shared by all.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from loguru import logger

from api.agents import templates
from api.agents.definition import McpCall, ToolEffect
from api.runner.tools import content
from api.runner.tools.addresses import AllowedHosts
from api.runner.tools.base import Invocation, ToolResult
from api.runner.tools.http_call import FindSecrets
from api.runner.tools.mcp_connection import (
    McpBroken,
    McpConnection,
    McpLimits,
    McpRefused,
    McpTool,
    McpUnavailable,
    Opener,
)
from api.runner.tools.ssrf import Guard
from api.setting_values import McpServer
from api.store.errors import SecretsUnavailable

if TYPE_CHECKING:
    from mcp_types import CallToolResult

CONNECTIONS_MAX = 64
"""Open at once; the one that was used longest ago makes room."""

_READ_SECONDS_MAX = 300
"""Silence on the stream of an answer; what a call may take is its own limit."""


class McpTools:
    """Finds and calls the tools of MCP servers."""

    def __init__(
        self,
        servers: Iterable[McpServer],
        *,
        environ: Mapping[str, str],
        guard: Guard,
        allowed: AllowedHosts,
        find_secrets: FindSecrets,
        limits: McpLimits,
        result_bytes_max: int,
    ) -> None:
        """`allowed` are the hosts of servers that need not be public."""
        self._servers = {server.name: server for server in servers}
        self._environ = environ
        self._guard = guard
        self._allowed = allowed
        self._find_secrets = find_secrets
        self._limits = limits
        self._result_bytes_max = result_bytes_max
        self._connections: OrderedDict[_Key, McpConnection] = OrderedDict()

    async def tools(self, organization_id: UUID, servers: Iterable[str]) -> "Listed":
        """What each of these servers offers, or why nothing; asked all at once."""
        names = list(dict.fromkeys(servers))
        found = await asyncio.gather(*(self._tools(organization_id, name) for name in names))
        return dict(zip(names, found, strict=True))

    async def call(self, invocation: Invocation, call: McpCall) -> ToolResult:
        """Call a tool within its time."""
        key = invocation.idempotency_key if invocation.tool.effect is ToolEffect.IDEMPOTENT else None
        seconds = invocation.tool.timeout_seconds
        secrets: Mapping[str, str] = {}
        began = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                connection, secrets = await self._connection(invocation.organization_id, call.server)
                made = await connection.call(
                    call.tool, invocation.arguments, idempotency_key=key, began=began
                )
        except McpUnavailable as error:
            return content.failed(f"{error} The tool was not called.")
        except McpRefused as error:
            result = content.failed(f"The server refused: {error}")
        except McpBroken as error:
            return content.unknown(f"{error} Whether the call was done is unknown.")
        except TimeoutError:
            if began.is_set():
                return content.unknown(
                    f"There was no answer within {seconds:g} s. Whether the call was done is unknown."
                )
            return content.failed(f"The server took no call within {seconds:g} s. The tool was not called.")
        except Exception:  # the edge: a fault of ours, the database's mostly
            logger.opt(exception=True).error("tool call broke off", tool=invocation.tool.name)
            sentence = "The call broke off inside the service."
            if began.is_set():
                return content.unknown(f"{sentence} Whether it was done is unknown.")
            return content.failed(f"{sentence} The tool was not called.")
        else:
            result = self._result(made)
        return ToolResult(outcome=result.outcome, content=content.redacted(result.content, secrets.values()))

    async def close(self) -> None:
        """End all connections, and the processes of servers with them."""
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))
        self._connections.clear()

    async def _tools(self, organization_id: UUID, name: str) -> Mapping[str, McpTool] | McpUnavailable:
        try:
            connection, _ = await self._connection(organization_id, name)
            return await connection.tools()
        except McpUnavailable as error:
            return error
        except Exception:  # the edge: what cannot be offered is told, and the turn goes on without it
            logger.opt(exception=True).error("tools could not be listed", server=name)
            return McpUnavailable(f"The MCP server `{name}` could not be looked up.")

    async def _connection(self, organization_id: UUID, name: str) -> tuple[McpConnection, Mapping[str, str]]:
        """The connection for an organization, and the secrets that it carries.

        Raises:
            McpUnavailable: there is no such server, or something that it needs is not there.
        """
        server = self._servers.get(name)
        if server is None:
            raise McpUnavailable(f"The MCP server `{name}` is not declared in this installation.")
        secrets = await self._secrets(organization_id, server)
        # With the values in the key, a secret that was replaced gets a connection of its own.
        key = (name, organization_id, tuple(sorted(secrets.items()))) if secrets else (name, None, ())
        connection = self._connections.get(key)
        if connection is None:
            connection = McpConnection(name, self._opener(server, secrets), self._limits)
            self._connections[key] = connection
            await self._make_room(key)
        self._connections.move_to_end(key)
        return connection, secrets

    async def _make_room(self, newest: "_Key") -> None:
        while len(self._connections) > CONNECTIONS_MAX:
            idle = (key for key, known in self._connections.items() if key != newest and not known.is_busy)
            key = next(idle, None)
            if key is None:
                return
            await self._connections.pop(key).close()

    async def _secrets(self, organization_id: UUID, server: McpServer) -> Mapping[str, str]:
        names = _named(server, "secrets")
        if not names:
            return {}
        try:
            secrets = await self._find_secrets(organization_id, names)
        except SecretsUnavailable as error:
            raise McpUnavailable(f"The MCP server `{server.name}` cannot be used: {error}.") from error
        if missing := sorted(names - secrets.keys()):
            said = ", ".join(f"`{name}`" for name in missing)
            raise McpUnavailable(
                f"The MCP server `{server.name}` cannot be used: there is no secret called {said}."
            )
        return secrets

    def _opener(self, server: McpServer, secrets: Mapping[str, str]) -> Opener:
        if server.command is not None:
            return lambda: self._process(server)
        return lambda: self._address(server, secrets)

    @asynccontextmanager
    async def _process(self, server: McpServer) -> AsyncIterator[Any]:
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        assert server.command is not None
        if missing := [name for name in server.env if name not in self._environ]:
            names = ", ".join(missing)
            raise McpUnavailable(f"The MCP server `{server.name}` needs {names}, which is not set.")
        parameters = StdioServerParameters(
            command=server.command,
            args=list(server.args),
            env={name: self._environ[name] for name in server.env},
        )
        # What it says on standard error is its own affair, and may be what users said.
        with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230  # a device, which does not wait
            async with stdio_client(parameters, errlog=nowhere) as streams:
                yield streams

    @asynccontextmanager
    async def _address(self, server: McpServer, secrets: Mapping[str, str]) -> AsyncIterator[Any]:
        from mcp.client.streamable_http import streamable_http_client

        assert server.url is not None
        if missing := sorted(_named(server, "environ") - self._environ.keys()):
            names = ", ".join(missing)
            raise McpUnavailable(f"The MCP server `{server.name}` needs {names}, which is not set.")
        values = {"secrets": secrets, "environ": self._environ}
        headers = {
            name: templates.render(templates.parse(text), values) for name, text in server.headers.items()
        }
        async with (
            self._guard.client(self._allowed, headers=headers, read_seconds=_READ_SECONDS_MAX) as client,
            streamable_http_client(server.url, http_client=client) as streams,
        ):
            yield streams

    def _result(self, made: "CallToolResult") -> ToolResult:
        text = _text(made)
        if made.is_error:
            return content.failed(text or "The tool failed and did not say why.")
        return content.completed(text or "Done.", bytes_max=self._result_bytes_max)


Listed = Mapping[str, Mapping[str, McpTool] | McpUnavailable]
"""What servers offer, by server and name, or why one offers nothing."""

_Key = tuple[str, UUID | None, Sequence[tuple[str, str]]]


def _named(server: McpServer, root: str) -> set[str]:
    """What the header fields of a server name below `secrets` or `environ`."""
    return {
        place.path[1]
        for text in server.headers.values()
        for place in templates.parse(text).placeholders
        if place.path[0] == root and len(place.path) > 1
    }


def _text(made: "CallToolResult") -> str:
    """The answer as text; of pictures and sounds, what they are."""
    parts = [_part(block) for block in made.content]
    if not parts and made.structured_content is not None:
        return content.as_text(made.structured_content)
    return "\n".join(parts)


def _part(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "resource" if hasattr(block.resource, "text"):
            return str(block.resource.text)
        case "resource":
            return f"[{block.resource.mime_type or 'data'} at {block.resource.uri}]"
        case "resource_link":
            return f"[{block.name}: {block.uri}]"
        case kind:
            return f"[{kind}: {len(block.data) * 3 // 4} bytes of {block.mime_type}]"
