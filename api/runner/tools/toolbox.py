"""All tools of an installation: what can be offered, what the model's arguments mean, who makes the call."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from loguru import logger

from api.agents.definition import Tool
from api.agents.fitting import SchemaRefused, Schemas
from api.models.base import ToolSpec
from api.runner.tools import content
from api.runner.tools.arguments import read_arguments
from api.runner.tools.base import ArgumentsRefused, Invocation, MissingTool, Offer, ToolResult
from api.runner.tools.functions import FunctionTools
from api.runner.tools.http_call import HttpTools
from api.runner.tools.mcp_connection import McpUnavailable
from api.runner.tools.mcp_tools import Listed, McpTools

DESCRIPTION_BYTES_MAX = 16 * 1024
_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class Tools:
    """Implements `api.runner.tools.base.Toolbox`."""

    def __init__(self, *, http: HttpTools, functions: FunctionTools, mcp: McpTools) -> None:
        self._http = http
        self._functions = functions
        self._mcp = mcp
        self._schemas = Schemas()

    async def offer(self, organization_id: UUID, tools: Sequence[Tool]) -> Offer:
        """Find out what can be called; what cannot be is told, not raised."""
        specs: list[ToolSpec] = []
        missing: list[MissingTool] = []
        listed = await self._mcp.tools(organization_id, (tool.mcp.server for tool in tools if tool.mcp))
        for tool in tools:
            found = self._described(tool, listed)
            if isinstance(found, ToolSpec):
                specs.append(found)
            else:
                missing.append(found)
        return Offer(specs=tuple(specs), missing=tuple(missing))

    def check(self, spec: ToolSpec, arguments: str) -> dict[str, Any]:
        """Read the model's arguments and hold them against the tool's schema.

        Raises:
            ArgumentsRefused: they are not JSON, or do not fit.
        """
        value = read_arguments(arguments)
        try:
            faults = self._schemas.faults(spec.parameters, value, whole="the arguments")
        except SchemaRefused as error:
            raise ArgumentsRefused(f"The tool cannot be called: its schema {error}.") from error
        if faults:
            raise ArgumentsRefused("The arguments do not fit the tool. " + "; ".join(faults))
        return value

    async def call(self, invocation: Invocation) -> ToolResult:
        """Make the call within the tool's timeout. Whatever goes wrong is a result."""
        tool = invocation.tool
        try:
            if tool.http is not None:
                return await self._http.call(invocation, tool.http)
            if tool.function is not None:
                return await self._functions.call(invocation, tool.function)
            if tool.mcp is not None:
                return await self._mcp.call(invocation, tool.mcp)
        except Exception:  # the edge: a fault of ours, of which nobody can say how far the call had come
            logger.opt(exception=True).error("tool call broke off", tool=tool.name)
            return content.unknown("The call broke off inside the service: whether it was done is unknown.")
        return content.failed("The tool does not say what it calls.")

    async def close(self) -> None:
        """Release connections and server processes."""
        await self._mcp.close()

    def _described(self, tool: Tool, listed: Listed) -> ToolSpec | MissingTool:
        description, parameters = tool.description, tool.parameters
        if tool.function is not None:
            function = self._functions.find(tool.function)
            if function is None:
                return _missing(tool, f"The function `{tool.function}` is not registered here.")
            description = description or function.description
            parameters = parameters if parameters is not None else function.parameters
        elif tool.mcp is not None:
            server = listed[tool.mcp.server]
            if isinstance(server, McpUnavailable):
                return _missing(tool, str(server))
            if tool.mcp.tool not in server:
                return _missing(
                    tool, f"The MCP server `{tool.mcp.server}` has no tool called `{tool.mcp.tool}`."
                )
            described = server[tool.mcp.tool]
            description = description or described.description
            parameters = parameters if parameters is not None else described.parameters
        return self._spec(tool, description, parameters)

    def _spec(
        self, tool: Tool, description: str, parameters: dict[str, Any] | None
    ) -> ToolSpec | MissingTool:
        parameters = _NO_ARGUMENTS if parameters is None else parameters
        try:
            self._schemas.compile(parameters)
        except SchemaRefused as error:
            return _missing(tool, f"The tool cannot be offered: its schema {error}.")
        bounded = content.bounded(description, bytes_max=DESCRIPTION_BYTES_MAX)
        return ToolSpec(name=tool.name, description=bounded, parameters=parameters)


def _missing(tool: Tool, reason: str) -> MissingTool:
    return MissingTool(name=tool.name, reason=reason)
