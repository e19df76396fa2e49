"""The MCP server `runbooks` of the example agent, as its own process."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("runbooks")


@server.tool(structured_output=False)
def search(words: str) -> str:
    """Find pages by words."""
    return f"One page speaks of {words}: restart it and look again."


if __name__ == "__main__":
    server.run()
