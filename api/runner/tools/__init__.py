"""What agents can do: HTTP requests, MCP servers, Python functions; offered, checked and called here."""
