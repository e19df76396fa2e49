"""An MCP server as its own process: `python mcp_server.py` speaks over standard input and output."""

import os
import sys
import time
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ImageContent, TextContent

server = MCPServer("sample")


@server.tool()
def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


@server.tool(structured_output=False)
def environment() -> str:
    """Say which variables there are."""
    return "\n".join(sorted(os.environ))


@server.tool(structured_output=False)
def process_id() -> str:
    """Say which process this is."""
    return str(os.getpid())


@server.tool(structured_output=False)
def key(ctx: Context) -> str:
    """Say which key came with the call."""
    meta: Any = ctx.request_context.meta or {}
    return str(dict(meta).get("turnledger/idempotency-key"))


@server.tool(structured_output=False)
def fail(reason: str) -> str:
    """Fail."""
    raise ToolError(reason)


@server.tool(structured_output=False)
def die() -> str:
    """End in the middle of a call."""
    os._exit(3)


@server.tool(structured_output=False)
async def wait() -> str:
    """Never answer."""
    import anyio

    await anyio.sleep_forever()
    return ""


@server.tool(structured_output=False)
def long() -> str:
    """Answer with more than anybody reads."""
    return "x\x00" * 10_000


@server.tool(structured_output=False)
def picture() -> list[Any]:
    """Answer with a picture."""
    return [
        TextContent(type="text", text="Here:"),
        ImageContent(type="image", data="QUJD", mime_type="image/png"),
    ]


if __name__ == "__main__":
    if "--deaf" in sys.argv:
        time.sleep(3_600)
    server.run("stdio")
