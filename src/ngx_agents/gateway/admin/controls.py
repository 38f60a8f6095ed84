"""Plans, tenants, accounts, flags, budgets and stops over HTTP: listed, replaced, removed, each change logged.

A change holds on this instance when it is answered, and on every other within seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from ngx_agents.errors import NotFound
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.admin.wire import ControlList, ControlView
from ngx_agents.gateway.decode import decoded
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.state.commands import PutControl
from ngx_agents.state.controls import ACCOUNT_JOIN, DOCUMENTS, Document, check_name
from ngx_agents.state.governance import ControlKind

MAX_BODY_BYTES = 262_144
"""More than a control may have (`MAX_CONTROL_BYTES`), so that too long a list is refused by its field."""
Verb = Literal["list", "put", "remove"]


class ControlRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps
        self._trail = AuditTrail(deps.journal, deps.ids, deps.clock)
        self._decoders = {kind: msgspec.json.Decoder(document) for kind, document in DOCUMENTS.items()}

    def handler(self, verb: Verb, kind: ControlKind) -> Callable[[Exchange], Awaitable[None]]:
        """What answers the call, named for the document."""
        act = {"list": self._list, "put": self._put, "remove": self._remove}[verb]

        async def handle(exchange: Exchange) -> None:
            await act(exchange, kind)

        handle.__name__ = f"{verb}_{kind}"
        return handle

    async def _list(self, exchange: Exchange, kind: ControlKind) -> None:
        await self._deps.controls.refresh()
        found = self._deps.controls.all_of(DOCUMENTS[kind])
        await exchange.reply_json(ControlList(tuple(_view(name, found[name]) for name in sorted(found))))

    async def _put(self, exchange: Exchange, kind: ControlKind) -> None:
        document = decoded(self._decoders[kind], await exchange.body(MAX_BODY_BYTES))
        name = _named(exchange, kind)
        await self._change(exchange, kind, name, f"{kind}.put", document)
        await exchange.reply_json(_view(name, document))

    async def _remove(self, exchange: Exchange, kind: ControlKind) -> None:
        name = _named(exchange, kind)
        await self._deps.controls.refresh()
        if name not in self._deps.controls.all_of(DOCUMENTS[kind]):
            raise NotFound(f"there is no such {kind}")
        await self._change(exchange, kind, name, f"{kind}.remove", None)
        await exchange.reply(204, b"", ())

    async def _change(
        self, exchange: Exchange, kind: ControlKind, name: str, action: str, document: Document | None
    ) -> None:
        body = b"" if document is None else msgspec.json.encode(document)
        await self._trail.change(
            exchange.principal,
            action,
            f"{kind}/{shown(name)}",
            command=PutControl(kind=kind, id=name, body=body, now=self._deps.clock.now_s()),
            after=None if document is None else msgspec.to_builtins(document),
        )
        await self._deps.controls.refresh()


def shown(name: str) -> str:
    """As people read it: an account is `tenant/user`."""
    return name.replace(ACCOUNT_JOIN, "/")


def _named(exchange: Exchange, kind: ControlKind) -> str:
    """Raises InvalidRequest."""
    given = exchange.parameters
    if kind == "account":
        return check_name(kind, f"{given['tenant']}{ACCOUNT_JOIN}{given['user']}")
    return check_name(kind, given[kind])


def _view(name: str, document: Document) -> ControlView:
    value: dict[str, Any] = msgspec.to_builtins(document)
    return ControlView(id=shown(name), value=value)
