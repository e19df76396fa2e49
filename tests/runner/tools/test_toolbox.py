"""The toolbox: what it offers, what it checks, whom it has make the call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.agents.definition import HttpCall, McpCall, Tool, ToolEffect, parse
from api.models.base import ToolSpec
from api.runner.tools.addresses import AllowedHosts
from api.runner.tools.base import ArgumentsRefused, Toolbox, ToolOutcome
from api.runner.tools.functions import FunctionTools, load
from api.runner.tools.mcp_connection import McpLimits
from api.runner.tools.mcp_tools import McpTools
from api.runner.tools.ssrf import Guard
from api.runner.tools.toolbox import Tools
from api.setting_values import McpServer
from tests.runner.tools import sample_functions
from tests.runner.tools.server import ORGANIZATION, http_tools, invocation, tool_server

MODULE = sample_functions.__name__
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


def no_servers(*servers: McpServer) -> McpTools:
    async def find_secrets(*_: object) -> Mapping[str, str]:
        return {}

    return McpTools(
        servers,
        environ={},
        guard=Guard(),
        allowed=AllowedHosts(),
        find_secrets=find_secrets,
        limits=McpLimits(),
        result_bytes_max=1_000,
    )


def toolbox() -> Toolbox:
    functions = {"greet": load(f"{MODULE}:greet")}
    return Tools(
        http=http_tools(),
        functions=FunctionTools(functions, threads_max=2, result_bytes_max=1_000),
        mcp=no_servers(),
    )


def tool(name: str, **fields: Any) -> Tool:
    return Tool(name=name, effect=ToolEffect.READ, **fields)


async def test_the_offer_says_of_each_tool_what_it_takes_or_why_it_is_missing() -> None:
    http = HttpCall(method="GET", url="https://tools.example/x")

    offer = await toolbox().offer(
        ORGANIZATION,
        [
            tool("plain", http=http),
            tool("typed", description="Look\x00up.", parameters=SCHEMA, http=http),
            tool("greet", function="greet"),
            tool("renamed", description="Say hello.", parameters=SCHEMA, function="greet"),
            tool("gone", function="gone"),
            tool("bad", parameters={"type": "nonsense"}, http=http),
        ],
    )

    assert [spec.name for spec in offer.specs] == ["plain", "typed", "greet", "renamed"]
    plain, typed, greet, renamed = offer.specs
    assert plain.parameters == {"type": "object", "properties": {}, "additionalProperties": False}
    assert (typed.description, typed.parameters) == ("Look\ufffdup.", SCHEMA)
    assert (greet.description, list(greet.parameters["properties"])) == ("Greet.", ["name"])
    assert (renamed.description, renamed.parameters) == ("Say hello.", SCHEMA)
    assert [missing.name for missing in offer.missing] == ["gone", "bad"]
    assert offer.missing[0].reason == "The function `gone` is not registered here."
    assert "its schema is not valid" in offer.missing[1].reason


def test_arguments_are_held_against_the_schema() -> None:
    spec = ToolSpec(name="typed", description="", parameters=SCHEMA)

    assert toolbox().check(spec, '{"id": "1"}') == {"id": "1"}
    with pytest.raises(ArgumentsRefused, match=r"do not fit the tool. /id: 1 is not of type 'string'"):
        toolbox().check(spec, '{"id": 1}')
    with pytest.raises(ArgumentsRefused, match="not valid JSON"):
        toolbox().check(spec, "{")


def test_a_schema_that_fails_during_the_check_is_told_to_the_model() -> None:
    spec = ToolSpec(name="typed", description="", parameters={"type": "object", "$ref": "#/gone"})

    with pytest.raises(ArgumentsRefused, match="cannot be called"):
        toolbox().check(spec, "{}")


async def test_a_call_goes_to_who_makes_it() -> None:
    async with tool_server() as server:
        tools = toolbox()
        http = HttpCall(method="GET", url=f"{server.url}/x")

        results = [
            await tools.call(invocation(http=http)),
            await tools.call(invocation(function="greet", arguments={"name": "Ada"})),
            await tools.call(invocation()),
        ]
        await tools.close()

    assert [result.outcome for result in results] == [
        ToolOutcome.COMPLETED,
        ToolOutcome.COMPLETED,
        ToolOutcome.FAILED,
    ]


async def broken(*_: object) -> None:
    raise RuntimeError("the database is gone")


async def test_a_fault_of_ours_before_the_request_is_a_failure() -> None:
    http = http_tools()
    http._find_allowed = broken  # type: ignore[assignment]
    tools = Tools(
        http=http,
        functions=FunctionTools({}, threads_max=1, result_bytes_max=1_000),
        mcp=no_servers(),
    )

    result = await tools.call(invocation(http=HttpCall(method="GET", url="http://127.0.0.1:1/")))

    assert result.outcome is ToolOutcome.FAILED
    assert "database" not in result.content


async def test_a_fault_of_ours_of_which_nobody_knows_when_is_an_unknown_outcome() -> None:
    functions = FunctionTools({}, threads_max=1, result_bytes_max=1_000)
    functions.call = broken  # type: ignore[assignment,method-assign]
    tools = Tools(http=http_tools(), functions=functions, mcp=no_servers())

    result = await tools.call(invocation(function="greet"))

    assert result.outcome is ToolOutcome.UNKNOWN
    assert "database" not in result.content


async def test_a_fault_of_ours_while_servers_are_asked_makes_their_tools_missing() -> None:
    server = McpServer(name="crm", url="https://crm.example", headers={"X": "{{secrets.crm}}"})
    mcp = no_servers(server)
    mcp._find_secrets = broken  # type: ignore[assignment]
    functions = FunctionTools({}, threads_max=1, result_bytes_max=1_000)
    tools = Tools(http=http_tools(), functions=functions, mcp=mcp)
    asked = tool("add", mcp=McpCall(server="crm", tool="add"))

    offer = await tools.offer(ORGANIZATION, [asked])
    result = await tools.call(msgspec.structs.replace(invocation(), tool=asked))

    assert [missing.reason for missing in offer.missing] == ["The MCP server `crm` could not be looked up."]
    assert result.outcome is ToolOutcome.FAILED


def test_the_definition_in_the_documentation_can_be_published() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tools.md").read_text()
    example = page.partition("```json\n")[2].partition("```")[0]

    definition = parse(example.encode())

    assert [tool.name for tool in definition.tools] == ["look_up_order", "refund", "search_notes"]
