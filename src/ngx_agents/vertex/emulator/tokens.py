"""The token servers Google's libraries talk to: OAuth for service accounts, metadata for instances."""

from __future__ import annotations

import msgspec

from ngx_agents.vertex.emulator.control import ControlState
from ngx_agents.vertex.emulator.exchange import Exchange, Header

_METADATA = "/computeMetadata/v1/"
_FLAVOR: Header = (b"metadata-flavor", b"Google")
_TEXT: Header = (b"content-type", b"application/text")
PROJECT = "emulated-project"


def is_token_path(path: str) -> bool:
    return path in ("/", "/token") or path.startswith(_METADATA)


async def answer(exchange: Exchange, state: ControlState, lifetime_s: int) -> None:
    """Issues a token, or tells a metadata client what it asks for."""
    path: str = exchange.scope["path"]
    if path == "/token" or path.endswith("/token"):
        await exchange.body()
        await exchange.respond(200, _issue(state, lifetime_s), extra=(_FLAVOR,))
    elif path.endswith("/project/project-id"):
        await exchange.respond(200, PROJECT.encode(), content_type=_TEXT, extra=(_FLAVOR,))
    elif "/service-accounts/" in path:
        account = {"email": "emulated@example.iam.gserviceaccount.com", "aliases": ["default"], "scopes": []}
        await exchange.respond(200, msgspec.json.encode(account), extra=(_FLAVOR,))
    else:
        await exchange.respond(200, b"", content_type=_TEXT, extra=(_FLAVOR,))


def is_known(exchange: Exchange, state: ControlState) -> bool:
    """Whether the call bears an API key or a token that was issued and not revoked."""
    if exchange.header(b"x-goog-api-key"):
        return True
    scheme, _, token = (exchange.header(b"authorization") or b"").decode("latin-1").partition(" ")
    return scheme.lower() == "bearer" and token in state.tokens


def _issue(state: ControlState, lifetime_s: int) -> bytes:
    state.tokens_issued += 1
    token = f"emulated-token-{state.tokens_issued}"
    state.tokens.add(token)
    return msgspec.json.encode({"access_token": token, "expires_in": lifetime_s, "token_type": "Bearer"})
