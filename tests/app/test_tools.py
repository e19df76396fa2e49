"""The toolbox as the settings make it."""

import io
import sys

import pytest
from loguru import logger

from api import log
from api.agents.definition import HttpCall, McpCall, Tool, ToolEffect
from api.app.tools import build_toolbox
from api.runner.tools.base import Invocation, ToolOutcome
from api.setting_values import McpServer, ToolFunction
from api.settings import Settings, SettingsError
from db.pool import Pool
from tests.factories import make_world
from tests.runner.tools import mcp_server, sample_functions
from tests.runner.tools.server import as_json, plain, tool_server

MODULE = sample_functions.__name__


async def test_a_request_goes_out_with_the_organizations_secrets_to_its_allowed_hosts(pool: Pool) -> None:
    world = await make_world(pool)
    stranger = await make_world(pool, name="Other")
    toolbox = build_toolbox(Settings(), {}, world.store)
    await world.store.secrets.put(world.caller, "crm", "correct-horse")
    await stranger.store.secrets.put(stranger.caller, "crm", "their-own-word")
    await world.store.organization_settings.change_tool_hosts_allowed(
        world.organization_id, lambda hosts: [*hosts, "127.0.0.1"]
    )
    async with tool_server() as server:
        server.answers["/x"] = lambda got: as_json({"key": got.headers["x-key"]})
        call = HttpCall(method="GET", url=f"{server.url}/x", headers={"X-Key": "{{secrets.crm}}"})
        tool = Tool(name="look_up", http=call, effect=ToolEffect.READ)

        results = [
            await toolbox.call(
                Invocation(
                    organization_id=caller.organization_id,
                    tool=tool,
                    arguments={},
                    idempotency_key="trn_1/stp_1",
                    context={},
                    variables={},
                )
            )
            for caller in (world.caller, stranger.caller)
        ]

    assert [result.outcome for result in results] == [ToolOutcome.COMPLETED, ToolOutcome.FAILED]
    assert results[0].content == '{"key":"***"}'
    assert [request.headers["x-key"] for request in server.received] == ["correct-horse"]
    await toolbox.close()


async def test_a_secret_that_cannot_be_decrypted_is_a_failure(pool: Pool) -> None:
    world = await make_world(pool)
    toolbox = build_toolbox(Settings(), {}, world.store)
    await world.store.secrets.put(world.caller, "crm", "correct-horse")
    await pool.execute("UPDATE secrets SET key_id = 'another'")
    call = HttpCall(method="GET", url="http://127.0.0.1/x", headers={"X-Key": "{{secrets.crm}}"})

    result = await toolbox.call(
        Invocation(
            organization_id=world.caller.organization_id,
            tool=Tool(name="look_up", http=call, effect=ToolEffect.READ),
            arguments={},
            idempotency_key="trn_1/stp_1",
            context={},
            variables={},
        )
    )

    assert result.outcome is ToolOutcome.FAILED
    assert "the key of the secret `crm` is not in TURNLEDGER_SECRETS_KEY" in result.content


async def test_functions_and_hosts_that_cannot_be_used_stop_the_start(pool: Pool) -> None:
    world = await make_world(pool)
    functions = (
        ToolFunction(name="greet", target=f"{MODULE}:greet"),
        ToolFunction(name="gone", target=f"{MODULE}:gone"),
        ToolFunction(name="odd", target="no.such.module:x"),
    )

    with pytest.raises(SettingsError) as refused:
        build_toolbox(Settings(tool_functions=functions), {}, world.store)

    assert [variable for variable, _ in refused.value.faults] == ["TURNLEDGER_TOOL_FUNCTIONS"] * 2
    assert "gone: " in refused.value.faults[0][1]
    with pytest.raises(SettingsError, match=r"10\.0\.0\.1/8"):
        build_toolbox(Settings(tool_hosts_allowed=("10.0.0.1/8",)), {}, world.store)


async def test_an_mcp_server_of_the_settings_is_asked(pool: Pool) -> None:
    world = await make_world(pool)
    server = McpServer(name="sample", command=sys.executable, args=(str(mcp_server.__file__),))
    toolbox = build_toolbox(Settings(mcp_servers=(server,)), {}, world.store)
    tool = Tool(name="add", mcp=McpCall(server="sample", tool="add"), effect=ToolEffect.READ)

    offer = await toolbox.offer(world.caller.organization_id, [tool])
    await toolbox.close()

    assert [spec.description for spec in offer.specs] == ["Add two numbers."]


async def test_servers_without_the_package_stop_the_start(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    server = McpServer(name="sample", command="x")
    monkeypatch.setattr("api.app.tools.find_spec", lambda _: None)

    with pytest.raises(SettingsError, match="needs the package `mcp`"):
        build_toolbox(Settings(mcp_servers=(server,)), {}, world.store)
    await build_toolbox(Settings(), {}, world.store).close()


async def test_a_header_field_that_is_no_template_stops_the_start(pool: Pool) -> None:
    world = await make_world(pool)
    server = McpServer(name="crm", url="https://crm.example", headers={"X": "{{secrets."})

    with pytest.raises(SettingsError, match="crm: "):
        build_toolbox(Settings(mcp_servers=(server,)), {}, world.store)


async def test_no_log_line_of_a_call_holds_a_secret(pool: Pool) -> None:
    world = await make_world(pool)
    await world.store.secrets.put(world.caller, "crm", "canary-4711-word")
    stream = io.StringIO()
    log.configure(format="json", level="debug", stream=stream)
    try:
        async with tool_server() as server:
            server.answers["/broken"] = lambda _: None
            server.answers["/bad"] = lambda got: plain(got.target, status="500 No")
            headers = {"Authorization": "Bearer {{secrets.crm}}"}
            calls = [
                HttpCall(method="GET", url=url, headers=headers, query={"key": "{{secrets.crm}}"})
                for url in (
                    f"{server.url}/x",
                    f"{server.url}/broken",
                    f"{server.url}/bad",
                    "http://x.invalid/",
                )
            ]
            remote = McpServer(name="crm", url=f"{server.url}/mcp", headers=headers)
            settings = Settings(tool_hosts_allowed=("127.0.0.1",), mcp_servers=(remote,))
            toolbox = build_toolbox(settings, {}, world.store)
            tools = [Tool(name="look_up", http=call, effect=ToolEffect.READ) for call in calls]
            tools.append(Tool(name="add", mcp=McpCall(server="crm", tool="add"), effect=ToolEffect.READ))

            results = [
                await toolbox.call(
                    Invocation(
                        organization_id=world.caller.organization_id,
                        tool=tool,
                        arguments={},
                        idempotency_key="trn_1/stp_1",
                        context={},
                        variables={},
                    )
                )
                for tool in tools
            ]
            await toolbox.close()
    finally:
        logger.remove()

    assert "tool server away" in stream.getvalue()
    assert [result.outcome for result in results] == [
        ToolOutcome.COMPLETED,
        ToolOutcome.UNKNOWN,
        ToolOutcome.FAILED,
        ToolOutcome.FAILED,
        ToolOutcome.FAILED,
    ]
    assert "canary" not in stream.getvalue()
    assert "canary" not in repr(results)
