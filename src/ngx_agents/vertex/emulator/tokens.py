"""The token servers Google's libraries talk to: OAuth for service accounts, metadata for instances."""

from __future__ import annotations

import msgspec

from ngx_agents.vertex.emulator.control import ControlState
from ngx_agents.vertex.emulator.exchange import Exchange, Header
from ngx_agents.vertex.emulator.refusal import named
from ngx_agents.vertex.emulator.target import Target

_METADATA = "/computeMetadata/v1/"
_FLAVOR: Header = (b"metadata-flavor", b"Google")
_TEXT: Header = (b"content-type", b"application/text")
PROJECT = "emulated-project"
LIMIT = 100_000


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


def check(exchange: Exchange, state: ControlState, target: Target) -> None:
    """Raises Refusal (401) unless the call bears an API key or a token issued here, not revoked and not expired."""
    if exchange.header(b"x-goog-api-key") or b"key=" in exchange.scope.get("query_string", b""):
        return
    scheme, _, token = (exchange.header(b"authorization") or b"").decode("latin-1").partition(" ")
    if not token:
        raise named("token_missing", **target.facts())
    expires_s = state.tokens.get(token)
    if scheme.lower() != "bearer" or expires_s is None:
        raise named("token_type", **target.facts())
    if expires_s <= state.clock.now_s():
        raise named("token_expired", **target.facts())


def _issue(state: ControlState, lifetime_s: int) -> bytes:
    state.tokens_issued += 1
    token = f"emulated-token-{state.tokens_issued}"
    state.tokens[token] = state.clock.now_s() + lifetime_s
    if len(state.tokens) > LIMIT:
        del state.tokens[next(iter(state.tokens))]
    return msgspec.json.encode({"access_token": token, "expires_in": lifetime_s, "token_type": "Bearer"})
