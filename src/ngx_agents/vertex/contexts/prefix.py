"""What a prefix is: system, tools and their choice, and to whom they belong. Never a conversation.

Hashing a long system text on every call would cost more than deciding, so keys are kept by the text itself.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

import msgspec

from ngx_agents.vertex.content import ModelRequest, ToolDeclaration
from ngx_agents.vertex.controls import ToolChoice
from ngx_agents.vertex.scope import Scope, User

MAX_KEYS = 256
BYTES_PER_TOKEN = 4
_encode = msgspec.json.Encoder().encode


class Prefix(msgspec.Struct, frozen=True):
    """`key` is 32 hex digits; `tokens` an estimate."""

    key: str
    tokens: int


_Mark = tuple[str, int, ToolChoice | None, Scope]


class Prefixes:
    """The prefixes of requests. The tools are held with them, so that their id stays their own."""

    def __init__(self, *, allow_user_scoped: bool) -> None:
        self._allow_user_scoped = allow_user_scoped
        self._known: OrderedDict[_Mark, tuple[Prefix, tuple[ToolDeclaration, ...]]] = OrderedDict()

    def of(self, request: ModelRequest) -> Prefix | None:
        """None when nobody said whose it is, when it is a user's own and may not be kept, or when it is empty."""
        scope = request.prefix_scope
        if scope is None or (isinstance(scope, User) and not self._allow_user_scoped):
            return None
        if not request.system and not request.tools:
            return None
        mark = (request.system, id(request.tools), request.tool_choice, scope)
        known = self._known.get(mark)
        if known is None:
            if len(self._known) >= MAX_KEYS:
                self._known.popitem(last=False)
            known = self._known[mark] = (_prefix(request), request.tools)
        else:
            self._known.move_to_end(mark)
        return known[0]


def _prefix(request: ModelRequest) -> Prefix:
    body = _encode([request.system, request.tools, request.tool_choice, request.prefix_scope])
    return Prefix(sha256(body).hexdigest()[:32], len(body) // BYTES_PER_TOKEN)
