"""The tools of the service, built from the settings."""

from collections.abc import Mapping
from importlib.util import find_spec
from uuid import UUID

from api.agents import templates
from api.runner.tools.addresses import AllowedHosts, read_allowed
from api.runner.tools.functions import FunctionRefused, FunctionTools, RegisteredFunction, load
from api.runner.tools.http_call import HttpLimits, HttpTools
from api.runner.tools.mcp_connection import McpLimits
from api.runner.tools.mcp_tools import McpTools
from api.runner.tools.ssrf import Guard
from api.runner.tools.toolbox import Tools
from api.setting_values import McpServer
from api.settings import Settings, SettingsError
from api.store import Store


def build_toolbox(settings: Settings, environ: Mapping[str, str], store: Store) -> Tools:
    """Make the toolbox; functions are imported now, MCP servers are started when they are first asked for.

    Raises:
        SettingsError: what was declared is not there, or cannot be used.
    """
    everybody = _allowed(settings)
    guard = Guard(connect_seconds=settings.tool_connect_seconds)

    async def find_allowed(organization_id: UUID) -> AllowedHosts:
        return everybody | read_allowed(await store.organization_settings.tool_hosts_allowed(organization_id))

    return Tools(
        http=HttpTools(
            guard,
            find_secrets=store.secrets.values,
            find_allowed=find_allowed,
            limits=HttpLimits(
                answer_bytes_max=settings.tool_answer_bytes_max,
                result_bytes_max=settings.tool_result_bytes_max,
            ),
        ),
        functions=FunctionTools(
            _functions(settings),
            threads_max=settings.tool_threads_max,
            result_bytes_max=settings.tool_result_bytes_max,
        ),
        mcp=McpTools(
            _servers(settings),
            environ=environ,
            guard=guard,
            allowed=everybody,
            find_secrets=store.secrets.values,
            limits=McpLimits(start_seconds=settings.mcp_start_seconds, calls_max=settings.mcp_calls_max),
            result_bytes_max=settings.tool_result_bytes_max,
        ),
    )


def _functions(settings: Settings) -> dict[str, RegisteredFunction]:
    functions, faults = {}, []
    for declared in settings.tool_functions:
        try:
            functions[declared.name] = load(declared.target)
        except FunctionRefused as error:
            faults.append(("TURNLEDGER_TOOL_FUNCTIONS", f"{declared.name}: {error}"))
    if faults:
        raise SettingsError(tuple(faults))
    return functions


def _servers(settings: Settings) -> tuple[McpServer, ...]:
    """Look, without importing it, whether the package is there that speaks with the servers."""
    if settings.mcp_servers and find_spec("mcp") is None:
        fault = "needs the package `mcp`: install `turnledger[mcp]`"
        raise SettingsError((("TURNLEDGER_MCP_SERVERS", fault),))
    for server in settings.mcp_servers:
        try:
            for text in server.headers.values():
                templates.parse(text)
        except templates.TemplateFault as error:
            fault = f"{server.name}: {error}"
            raise SettingsError((("TURNLEDGER_MCP_SERVERS", fault),)) from error
    return settings.mcp_servers


def _allowed(settings: Settings) -> AllowedHosts:
    try:
        return read_allowed(settings.tool_hosts_allowed)
    except ValueError as error:
        raise SettingsError((("TURNLEDGER_TOOL_HOSTS_ALLOWED", str(error)),)) from error
