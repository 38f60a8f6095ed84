"""The team as an MCP server: its tools over streamable HTTP at `/mcp`, stateless, behind the same authentication."""
