"""The tools that only look: the team, and what the caller's own account holds. Every question carries the owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ngx_agents.errors import NotFound
from ngx_agents.gateway.decode import known_id
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.mcp.arguments import Listing, Nothing, OneArtifact, Reading
from ngx_agents.state.commands import (
    GetArtifact,
    ListArtifacts,
    ListConversations,
    ListMessages,
    ReadProfile,
)
from ngx_agents.state.model import Owner, Page

Look = Callable[[Owner, Any], Awaitable[Any]]


class Looks:
    def __init__(self, deps: GatewayDeps) -> None:
        self._team = deps.team
        self._journal = deps.journal

    async def agents(self, _: Owner, __: Nothing) -> Any:
        return {"agents": [msgspec.to_builtins(card) for card in self._team.cards()]}

    async def conversations(self, owner: Owner, asked: Listing) -> Any:
        return await self._journal.query(ListConversations(owner=owner, limit=asked.limit, cursor=asked.cursor))

    async def conversation(self, owner: Owner, asked: Reading) -> Any:
        page: Page = await self._journal.query(
            ListMessages(
                conversation_id=known_id("c", asked.conversation_id),
                owner=owner,
                limit=asked.limit,
                cursor=asked.cursor,
            )
        )
        items = [{name: getattr(each, name) for name in ("role", "agent", "text", "created_at")} for each in page.items]
        return {"items": items, "next": page.next}

    async def profile(self, owner: Owner, _: Nothing) -> Any:
        return (await self._journal.query(ReadProfile(owner=owner))).profile

    async def artifacts(self, owner: Owner, asked: Listing) -> Any:
        page: Page = await self._journal.query(ListArtifacts(owner=owner, limit=asked.limit, cursor=asked.cursor))
        names = ("id", "agent", "kind", "title", "created_at")
        return {"items": [{name: getattr(each, name) for name in names} for each in page.items], "next": page.next}

    async def artifact(self, owner: Owner, asked: OneArtifact) -> Any:
        found = await self._journal.query(GetArtifact(id=known_id("a", asked.artifact_id), owner=owner))
        if found is None:
            raise NotFound("there is no such artifact")
        return found
