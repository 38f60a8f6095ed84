"""`POST /mcp`: one message in, its answer out. Nothing is kept between calls: any instance answers any of them.

What goes wrong inside a tool is told as the tool's result, so that the model that called it can read it; what is wrong
with the call is a JSON-RPC error; what is wrong with the request (credentials, size, media type) a problem as anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ngx_agents.errors import NgxError
from ngx_agents.gateway.decode import decoded
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import JSON, Exchange
from ngx_agents.gateway.mcp.arguments import Ask, Listing, Nothing, OneArtifact, Reading, schema_of
from ngx_agents.gateway.mcp.asking import Asking
from ngx_agents.gateway.mcp.envelope import (
    HANDSHAKES,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MODERN,
    SERVER,
    Call,
    Refused,
    read_message,
    result,
)
from ngx_agents.gateway.mcp.reading import Look, Looks

ASK = "ask_team"
CAPABILITIES: dict[str, Any] = {"tools": {}}
INSTRUCTIONS = (
    "A team of agents that answers in Spanish and English and remembers its conversations. Ask it with ask_team; pass "
    "the conversation_id of an answer on to continue. You see what belongs to the account of your credentials."
)
HELD_MS = 3_600_000  # how long a client may keep the list of tools
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """`look` answers a tool that only reads; None for the one that asks the team."""

    name: str
    description: str
    arguments: msgspec.json.Decoder[Any]
    schema: dict[str, Any]
    look: Look | None = None


class McpRoutes:
    def __init__(self, deps: GatewayDeps, max_body_bytes: int) -> None:
        self._asking = Asking(deps)
        self._max_body_bytes = max_body_bytes
        self._tools = {tool.name: tool for tool in _tools(Looks(deps))}

    async def answer(self, exchange: Exchange) -> None:
        """Raises UnsupportedMediaType, BodyTooLarge."""
        raw = await exchange.body(self._max_body_bytes)
        try:
            call = read_message(raw, exchange.headers)
            if call is None:
                await exchange.reply(202, b"", ())
                return
            body = await self._perform(exchange, call, size_bytes=len(raw))
        except Refused as refused:
            await exchange.reply(refused.status, refused.body(), (JSON,))
            return
        if body is not None:
            await exchange.reply(200, body, (JSON,))

    async def _perform(self, exchange: Exchange, call: Call, *, size_bytes: int) -> bytes | None:
        """The answer; None when a stream was left to be sent. Raises Refused."""
        match call.method:
            case "server/discover":
                return result(call, {"supportedVersions": [MODERN, *HANDSHAKES], **_about(), **_held()})
            case "initialize":
                asked = call.params.get("protocolVersion")
                version = asked if asked in HANDSHAKES else HANDSHAKES[0]
                return result(call, {"protocolVersion": version, "serverInfo": SERVER, **_about()})
            case "ping":
                return result(call, {})
            case "tools/list":
                tools = [_shown(tool) for tool in self._tools.values()]
                return result(call, {"tools": tools, **(_held() if call.is_modern else {})})
            case "tools/call":
                return await self._call(exchange, call, size_bytes=size_bytes)
            case _:
                raise Refused(METHOD_NOT_FOUND, "there is no such method here", call=call)

    async def _call(self, exchange: Exchange, call: Call, *, size_bytes: int) -> bytes | None:
        name = call.params.get("name")
        tool = self._tools.get(name) if isinstance(name, str) else None
        if tool is None:
            raise Refused(INVALID_PARAMS, "there is no such tool", call=call)
        try:
            arguments = decoded(tool.arguments, _encode(call.params.get("arguments") or {}))
            if tool.look is None:
                return await self._asking.ask(exchange, call, arguments, size_bytes=size_bytes)
            found = msgspec.to_builtins(await tool.look(exchange.principal.owner, arguments))
        except NgxError as error:
            return result(call, _trouble(error))
        text = {"type": "text", "text": _encode(found).decode()}
        return result(call, {"content": [text], "structuredContent": found, "isError": False})


def _tools(looks: Looks) -> list[Tool]:
    return [
        _tool(ASK, Ask, Ask.__doc__ or "", None),
        _tool("list_agents", Nothing, "Who is in the team and what each agent can do.", looks.agents),
        _tool("list_conversations", Listing, "Your conversations with the team, newest first.", looks.conversations),
        _tool("read_conversation", Reading, "The messages of one conversation, in order.", looks.conversation),
        _tool("read_profile", Nothing, "What you told the team about yourself.", looks.profile),
        _tool(
            "list_artifacts", Listing, "Plans and reports that the team made for you, newest first.", looks.artifacts
        ),
        _tool("read_artifact", OneArtifact, "One plan or report, whole.", looks.artifact),
    ]


def _tool(name: str, arguments: type[msgspec.Struct], description: str, look: Look | None) -> Tool:
    return Tool(
        name=name,
        description=description,
        arguments=msgspec.json.Decoder(arguments),
        schema=schema_of(arguments),
        look=look,
    )


def _shown(tool: Tool) -> dict[str, Any]:
    hints = {"readOnlyHint": tool.look is not None, "destructiveHint": False, "openWorldHint": tool.look is None}
    return {"name": tool.name, "description": tool.description, "inputSchema": tool.schema, "annotations": hints}


def _about() -> dict[str, Any]:
    return {"capabilities": CAPABILITIES, "instructions": INSTRUCTIONS}


def _held() -> dict[str, Any]:
    return {"ttlMs": HELD_MS, "cacheScope": "public"}


def _trouble(error: NgxError) -> dict[str, Any]:
    """An error as a tool's result, with the fields a problem has."""
    data: dict[str, Any] = {"code": error.code, "message": str(error)}
    for name in ("field", "retry_after_s", "turn_id", "first_aid"):
        if (value := getattr(error, name, None)) is not None:
            data[name] = value
    return {
        "content": [{"type": "text", "text": f"{error.code}: {error.words}"}],
        "structuredContent": data,
        "isError": True,
    }
