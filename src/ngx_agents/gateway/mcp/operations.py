"""The call of the HTTP surface that MCP clients use."""

from __future__ import annotations

from ngx_agents.gateway.mcp.envelope import McpMessage
from ngx_agents.gateway.mcp.routes import McpRoutes
from ngx_agents.gateway.operation import EVENT_STREAM, Operation, operation_of


def mcp_operations(routes: McpRoutes) -> list[Operation]:
    return [
        operation_of(
            "POST /mcp", routes.answer,
            summary="The team as an MCP server (streamable HTTP): one JSON-RPC message in, its answer out",
            answers={200: (dict, EVENT_STREAM), 202: (), 400: (dict,), 404: (dict,)}, body=McpMessage,
        )
    ]  # fmt: skip
