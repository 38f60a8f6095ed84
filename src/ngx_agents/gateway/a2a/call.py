"""One call as the door let it in, and how it reaches the SDK's dispatchers."""

from __future__ import annotations

import msgspec
from a2a.auth.user import User
from a2a.server.context import ServerCallContext
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.utils.constants import VERSION_HEADER
from starlette.requests import Request
from typing_extensions import override

from ngx_agents.errors import NgxError
from ngx_agents.gateway.principal import Principal

SCOPE = "ngx.a2a"
CALL = "call"


class Call(msgspec.Struct, kw_only=True):
    """`agent` is the agent path of the address, "" for none; `url` where this server is reached. `refusal` is why the
    turn was not let in, if it was not. `trail` is what its header tells of the way of the message.
    """

    principal: Principal
    version: str
    url: str = ""
    agent: str = ""
    extensions: frozenset[str] = frozenset()
    idempotency_key: str | None = None
    size_bytes: int = 0
    trail: str = ""
    refusal: NgxError | None = None

    def context(self) -> ServerCallContext:
        return ServerCallContext(
            user=_User(self.principal),
            state={CALL: self, "headers": {VERSION_HEADER: self.version}},
            requested_extensions=set(self.extensions),
        )


class _User(User):
    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    @property
    @override
    def is_authenticated(self) -> bool:
        return True

    @property
    @override
    def user_name(self) -> str:
        return self._principal.owner.user


class CallContexts(ServerCallContextBuilder):
    @override
    def build(self, request: Request) -> ServerCallContext:
        call: Call = request.scope[SCOPE]
        return call.context()


def call_of(context: ServerCallContext) -> Call:
    call: Call = context.state[CALL]
    return call
