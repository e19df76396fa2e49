"""Tools of MCP servers: a real process, and a real server over HTTP."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import uvicorn

from api.agents.definition import McpCall, Tool, ToolEffect
from api.runner.tools.addresses import AllowedHosts
from api.runner.tools.base import Invocation, ToolOutcome, ToolResult
from api.runner.tools.functions import FunctionTools
from api.runner.tools.mcp_connection import McpLimits
from api.runner.tools.mcp_tools import McpTools
from api.runner.tools.ssrf import Guard
from api.runner.tools.toolbox import Tools
from api.setting_values import McpServer
from tests.runner.tools import mcp_server
from tests.runner.tools.server import LOOPBACK, ORGANIZATION, Resolver, http_tools

SCRIPT = str(Path(mcp_server.__file__))
SAMPLE = McpServer(name="sample", command=sys.executable, args=(SCRIPT,), env=("FILES",))


class Box:
    """A toolbox with MCP servers, and short ways to use it."""

    def __init__(self, mcp: McpTools) -> None:
        self.tools = Tools(
            http=http_tools(), functions=FunctionTools({}, threads_max=1, result_bytes_max=1_000), mcp=mcp
        )

    async def missing(self, server: str = "sample", *, organization: UUID = ORGANIZATION) -> str | None:
        offer = await self.tools.offer(organization, [tool("add", server=server)])
        return offer.missing[0].reason if offer.missing else None

    async def call(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        server: str = "sample",
        effect: ToolEffect = ToolEffect.ONCE,
        timeout_seconds: float = 20,
        organization: UUID = ORGANIZATION,
    ) -> ToolResult:
        return await self.tools.call(
            Invocation(
                organization_id=organization,
                tool=tool(name, server=server, effect=effect, timeout_seconds=timeout_seconds),
                arguments=arguments or {},
                idempotency_key="trn_1/stp_2",
                context={},
                variables={},
            )
        )


def tool(name: str, *, server: str = "sample", effect: ToolEffect = ToolEffect.READ, **more: Any) -> Tool:
    return Tool(name=name, mcp=McpCall(server=server, tool=name), effect=effect, **more)


@asynccontextmanager
async def toolbox(
    *servers: McpServer,
    environ: Mapping[str, str] | None = None,
    allowed: AllowedHosts = LOOPBACK,
    secrets: Mapping[tuple[UUID, str], str] | None = None,
    limits: McpLimits | None = None,
    resolve: Resolver | None = None,
) -> AsyncIterator[Box]:
    async def find_secrets(organization_id: UUID, names: Collection[str]) -> Mapping[str, str]:
        kept = secrets or {}
        return {name: kept[organization_id, name] for name in names if (organization_id, name) in kept}

    box = Box(
        McpTools(
            servers or (SAMPLE,),
            environ={"FILES": "here", "HIDDEN": "there"} if environ is None else environ,
            guard=Guard(resolve=resolve),
            allowed=allowed,
            find_secrets=find_secrets,
            limits=limits or McpLimits(),
            result_bytes_max=1_000,
        )
    )
    try:
        yield box
    finally:
        await box.tools.close()


@asynccontextmanager
async def http_server() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """The sample server over HTTP; yields its address and the header fields of what came."""
    app: Any = mcp_server.MCPServer("sample")
    app.tool(structured_output=False)(mcp_server.add)
    seen: list[dict[str, str]] = []
    inner = app.streamable_http_app()

    async def recording(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await inner(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(recording, port=0, log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp", seen
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # What was killed and not yet waited for still has a number.
    return "Z" not in Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]


async def gone(process_id: int) -> None:
    """Return when a process that was killed has died, which takes until it has its turn on a processor."""
    async with asyncio.timeout(10):
        while is_alive(process_id):
            await asyncio.sleep(0.01)


async def test_schema_and_description_come_from_the_server_where_the_definition_gives_none() -> None:
    async with toolbox() as box:
        offer = await box.tools.offer(
            ORGANIZATION,
            [
                tool("add"),
                tool("wait", description="Ours.", parameters={"type": "object"}),
                tool("gone"),
                tool("add", server="other"),
            ],
        )

    add, wait = offer.specs
    assert add.description == "Add two numbers."
    assert add.parameters["required"] == ["left", "right"]
    assert (wait.description, wait.parameters) == ("Ours.", {"type": "object"})
    assert [missing.reason for missing in offer.missing] == [
        "The MCP server `sample` has no tool called `gone`.",
        "The MCP server `other` is not declared in this installation.",
    ]


async def test_a_tool_is_called_and_its_answer_is_text() -> None:
    async with toolbox() as box:
        results = [
            await box.call("add", {"left": 2, "right": 3}),
            await box.call("picture"),
            await box.call("long"),
            await box.call("fail", {"reason": "no such order"}),
            await box.call("gone"),
        ]

    add, picture, long, fail, gone = results
    assert (add.outcome, add.content) == (ToolOutcome.COMPLETED, "5")
    assert picture.content == "Here:\n[image: 3 bytes of image/png]"
    assert len(long.content.encode()) <= 1_000
    assert "\x00" not in long.content
    assert (fail.outcome, gone.outcome) == (ToolOutcome.FAILED, ToolOutcome.FAILED)
    assert "no such order" in fail.content


async def test_only_an_idempotent_call_carries_its_key() -> None:
    async with toolbox() as box:
        with_key = await box.call("key", effect=ToolEffect.IDEMPOTENT)
        without = await box.call("key", effect=ToolEffect.ONCE)

    assert (with_key.content, without.content) == ("trn_1/stp_2", "None")


async def test_a_process_is_kept_between_calls_and_gone_after_the_end() -> None:
    async with toolbox() as box:
        ids = {(await box.call("process_id")).content for _ in range(3)}
        [process_id] = [int(text) for text in ids]
        assert is_alive(process_id)

    await gone(process_id)


async def test_a_process_gets_few_variables() -> None:
    async with toolbox() as box:
        names = (await box.call("environment")).content.split()

    assert "FILES" in names
    assert "HIDDEN" not in names
    assert set(names) <= {"FILES", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}


async def test_calls_at_once_share_the_connection() -> None:
    async with toolbox(limits=McpLimits(calls_max=4)) as box:
        results = await asyncio.gather(*(box.call("add", {"left": n, "right": n}) for n in range(8)))

    assert [result.content for result in results] == [str(2 * n) for n in range(8)]


async def test_more_calls_than_may_wait_are_turned_away() -> None:
    async with toolbox(limits=McpLimits(calls_max=1)) as box:
        await box.missing()
        # The one that is out outlives the one that waits for it, which is thus never made.
        limits_seconds = [1.5, 0.3, 0.3, 0.3]
        calls = [asyncio.create_task(box.call("wait", timeout_seconds=limit)) for limit in limits_seconds]

        made, waited, *turned_away = await asyncio.gather(*calls)

    assert (made.outcome, waited.outcome) == (ToolOutcome.UNKNOWN, ToolOutcome.FAILED)
    assert [result.outcome for result in turned_away] == [ToolOutcome.FAILED] * 2
    assert all("more calls to answer than it may" in result.content for result in turned_away)


async def test_a_call_that_is_not_answered_in_time_is_unknown_and_others_go_on() -> None:
    async with toolbox() as box:
        await box.missing()
        late = await box.call("wait", timeout_seconds=0.3)
        after = await box.call("add", {"left": 1, "right": 1})

    assert late.outcome is ToolOutcome.UNKNOWN
    assert after.content == "2"


async def test_a_server_that_dies_in_a_call_leaves_it_unknown_and_is_started_again() -> None:
    async with toolbox() as box:
        dying = await box.call("die")
        after = await box.call("add", {"left": 1, "right": 1})

    assert dying.outcome is ToolOutcome.UNKNOWN
    assert after.content == "2"


async def test_a_server_that_was_killed_is_started_again_and_then_left_alone_for_a_while() -> None:
    async with toolbox() as box:
        first = int((await box.call("process_id")).content)
        os.kill(first, signal.SIGKILL)
        await gone(first)
        async with asyncio.timeout(10):
            while (result := await box.call("process_id")).outcome is ToolOutcome.UNKNOWN:
                await asyncio.sleep(0.01)
        second = int(result.content)
        os.kill(second, signal.SIGKILL)
        async with asyncio.timeout(10):
            while await box.missing() is None:
                await asyncio.sleep(0.01)

        reason = await box.missing()

    assert second != first
    assert reason == "The MCP server `sample` has ended."


async def test_a_server_that_cannot_be_started_is_missing_with_a_sentence() -> None:
    servers = [
        McpServer(name="nowhere", command="/no/such/command"),
        McpServer(name="wrong", command=sys.executable, args=("-c", "print('hello')")),
        McpServer(name="needy", command=sys.executable, args=(SCRIPT,), env=("NOT_SET",)),
        McpServer(name="keyless", url="http://127.0.0.1:1/", headers={"X": "{{environ.NOT_SET}}"}),
        McpServer(name="silent", url="http://127.0.0.1:1/"),
    ]
    async with toolbox(*servers) as box:
        reasons = [await box.missing(server.name) for server in servers]
        result = await box.call("add", {"left": 1, "right": 1}, server="nowhere")

    assert reasons == [
        "The MCP server `nowhere` cannot be reached.",
        "The MCP server `wrong` cannot be reached.",
        "The MCP server `needy` needs NOT_SET, which is not set.",
        "The MCP server `keyless` needs NOT_SET, which is not set.",
        "The MCP server `silent` cannot be reached: Port 1 is not one that tools may call.",
    ]
    assert result.outcome is ToolOutcome.FAILED


async def test_a_server_that_does_not_answer_in_time_is_missing_and_its_process_gone(tmp_path: Path) -> None:
    note = tmp_path / "process"
    script = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    deaf = McpServer(name="deaf", command=sys.executable, args=("-c", script))
    async with toolbox(deaf, limits=McpLimits(start_seconds=1)) as box:
        reason = await box.missing("deaf")

    assert reason == "The MCP server `deaf` did not answer within 1 s."
    await gone(int(note.read_text()))


async def test_closing_while_a_server_starts_leaves_no_process(tmp_path: Path) -> None:
    note = tmp_path / "process"
    # Asked for its tools it is silent: what has not yet begun is killed by the loop itself.
    script = f"import os, time; input(); open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    async with toolbox(McpServer(name="deaf", command=sys.executable, args=("-c", script))) as box:
        asking = asyncio.create_task(box.missing("deaf"))
        async with asyncio.timeout(10):
            while not (note.exists() and note.read_text()):
                await asyncio.sleep(0.01)

    assert await asking == "The MCP server `deaf` did not answer within 15 s."
    await gone(int(note.read_text()))


async def test_a_server_over_http_is_listed_and_called() -> None:
    async with http_server() as (url, seen):
        server = McpServer(name="remote", url=url, headers={"X-Key": "Token {{environ.FILES}}"})
        async with toolbox(server) as box:
            missing = await box.missing("remote")
            result = await box.call("add", {"left": 2, "right": 2}, server="remote")

    assert missing is None
    assert (result.outcome, result.content) == (ToolOutcome.COMPLETED, "4")
    assert {headers["x-key"] for headers in seen} == {"Token here"}


async def test_a_server_over_http_passes_the_guard() -> None:
    async with http_server() as (url, seen):
        server = McpServer(name="remote", url=url)
        named = McpServer(name="named", url=url.replace("127.0.0.1", "mcp.example"))
        async with toolbox(server, named, allowed=AllowedHosts(), resolve=Resolver(["127.0.0.1"])) as box:
            reasons = [await box.missing("remote"), await box.missing("named")]

    assert all(reason and "is not a public host" in reason for reason in reasons)
    assert seen == []


async def test_an_organizations_secrets_go_over_a_connection_of_its_own() -> None:
    other, poor = uuid4(), uuid4()
    kept = {(ORGANIZATION, "crm"): "our-own-word", (other, "crm"): "their-own-word"}
    async with http_server() as (url, seen):
        server = McpServer(name="remote", url=url, headers={"X-Key": "{{secrets.crm}}"})
        async with toolbox(server, secrets=kept) as box:
            numbers = {"left": 1, "right": 1}
            ours = await box.call("add", numbers, server="remote")
            ours_seen = {headers["x-key"] for headers in seen}
            theirs = await box.call("add", numbers, server="remote", organization=other)
            kept[ORGANIZATION, "crm"] = "our-new-word"
            count = len(seen)
            again = await box.call("add", numbers, server="remote")
            again_seen = {headers["x-key"] for headers in seen[count:]}
            reason = await box.missing("remote", organization=poor)

    assert {ours.outcome, theirs.outcome, again.outcome} == {ToolOutcome.COMPLETED}
    assert ours_seen == {"our-own-word"}
    assert again_seen == {"our-new-word"}
    assert reason == "The MCP server `remote` cannot be used: there is no secret called `crm`."


async def test_a_server_over_http_that_went_away_is_missing_and_comes_back() -> None:
    async with http_server() as (url, _):
        server = McpServer(name="remote", url=url)
        box_open = toolbox(server)
        box = await box_open.__aenter__()
        assert await box.missing("remote") is None

    result = await box.call("add", {"left": 1, "right": 1}, server="remote")
    reason = await box.missing("remote")
    await box_open.__aexit__(None, None, None)

    assert result.outcome in (ToolOutcome.UNKNOWN, ToolOutcome.FAILED)
    assert reason is not None
