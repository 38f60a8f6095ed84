"""How the server stands, and who changed what."""

from __future__ import annotations

from ngx_agents import __version__
from ngx_agents.gateway.admin.wire import AuditPage, MeterList, Status
from ngx_agents.gateway.decode import limit_of, query_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.state.commands import ListAudit, ListInstances, ListMeters, Ping

DEFAULT_ENTRIES = 50


class AdminRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps

    async def status(self, exchange: Exchange) -> None:
        deps = self._deps
        await exchange.reply_json(
            Status(
                version=__version__,
                instance=deps.engine.instance,
                mode=deps.modes.current.label,
                reasons=deps.modes.reasons,
                model=deps.model_name,
                is_ready=deps.ready(),
                is_draining=deps.engine.is_draining,
                schema=await deps.journal.query(Ping()),
                instances=await deps.journal.query(ListInstances()),
            )
        )

    async def audit(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListAudit(
            limit=limit_of(query, DEFAULT_ENTRIES), cursor=query.get("cursor"), target=query.get("target")
        )
        page = await self._deps.journal.query(question)
        await exchange.reply_json(AuditPage(page.items, page.next))

    async def meters(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListMeters(prefix=query.get("prefix", ""), limit=limit_of(query, DEFAULT_ENTRIES))
        await exchange.reply_json(MeterList(await self._deps.journal.query(question)))
