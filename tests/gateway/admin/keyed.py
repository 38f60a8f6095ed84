"""A served house whose callers have API keys: an operator's and a user's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.state.commands import ApiKey, PutKey
from ngx_agents.state.model import Owner
from tests.gateway.serving import Client, House, house, served

KEYED = GatewaySettings(auth=AuthSettings(mode="api_key"))


@dataclass
class Keyed:
    api: Client
    house: House
    operator: dict[str, str]
    user: dict[str, str]


async def key_of(made: House, owner: Owner, **changes: Any) -> dict[str, str]:
    """The headers of a new key's bearer."""
    secret, digest = new_api_key()
    key_id = made.deps.ids.new("k", 0)
    key = ApiKey(id=key_id, digest=digest, owner=owner, created_at=made.deps.clock.now_s(), **({"roles": ()} | changes))
    await made.deps.tell(PutKey(key=key))
    return {"authorization": f"Bearer {secret}"}


@asynccontextmanager
async def keyed(path: Path, settings: GatewaySettings = KEYED, **more: Any) -> AsyncIterator[Keyed]:
    async with house(path, settings, **more) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        yield Keyed(
            api=Client(session, url),
            house=made,
            operator=await key_of(made, Owner("house", "ops"), roles=("operator",)),
            user=await key_of(made, Owner("acme", "ana")),
        )
