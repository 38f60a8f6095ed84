"""Tools of MCP servers elsewhere, given to specialists: a client for stdio and streamable HTTP."""
