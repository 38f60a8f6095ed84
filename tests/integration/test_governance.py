"""Operators and several real servers on one Postgres: what is decided at one holds at the other within seconds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from tests.integration.several import instances
from tests.postgres_process import PostgresServer, postgres_server
from tests.server_process import ServerProcess

__all__ = ["postgres_server"]

WITHIN_S = 5.0
SECRET = "0123456789abcdef0123456789abcdef"
TRAIN = "quiero una rutina de gimnasio para ganar fuerza"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[list[ServerProcess]]:
    folder = tmp_path_factory.mktemp("governed")
    with instances(folder, postgres_server, "ab", chunk_gap_ms=0, NGX_AUTH="jwt", NGX_JWT_SECRET=SECRET) as started:
        yield started


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as made:
        yield made


def ngx(server: ServerProcess, *words: str) -> str:
    """What a command prints, run beside the server."""
    done = subprocess.run(
        [sys.executable, "-m", "ngx_agents.cli.main", *words],
        env={**os.environ, **server.environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


class Caller:
    def __init__(self, session: aiohttp.ClientSession, server: ServerProcess, secret: str) -> None:
        self._session, self._server, self._secret = session, server, secret

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url, headers = self._server.base_url + path, {"x-api-key": self._secret}
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def refusal(self) -> str | None:
        """The code of a turn's refusal; None when it was let in."""
        _, made = await self.call("POST", "/v1/conversations", {})
        status, turn = await self.call("POST", f"/v1/conversations/{made['id']}/turns", {"text": TRAIN})
        return None if status == 200 else str(turn["code"])

    async def source(self) -> str:
        _, made = await self.call("POST", "/v1/conversations", {})
        _, turn = await self.call("POST", f"/v1/conversations/{made['id']}/turns", {"text": TRAIN})
        return str(turn["source"])


async def test_a_stop_and_a_revoked_key_hold_everywhere_within_five_seconds(
    servers: list[ServerProcess], session: aiohttp.ClientSession
) -> None:
    secret = await asyncio.to_thread(ngx, servers[0], "keys", "create", "--user", "ana", "--tenant", "acme")
    operator = await asyncio.to_thread(ngx, servers[0], "keys", "create", "--user", "ops", "--role", "operator")
    here, there = Caller(session, servers[0], secret), Caller(session, servers[1], secret)
    ops = Caller(session, servers[0], operator)
    assert (await here.source(), await there.source()) == ("model", "model")
    assert (await ops.call("PUT", "/v1/admin/stops/tenant:acme", {"reason": "a drill"}))[0] == 200
    began_s = time.monotonic()
    assert await here.source() == "template", "where it was said it holds at once"
    while await there.source() != "template":
        assert time.monotonic() - began_s < WITHIN_S
        await asyncio.sleep(0.05)  # a user has so many requests a minute
    assert (await ops.call("DELETE", "/v1/admin/stops/tenant:acme"))[0] == 204
    _, listed = await ops.call("GET", "/v1/admin/keys")
    [key_id] = [one["id"] for one in listed["items"] if one["user"] == "ana"]
    assert (await there.call("GET", "/v1/me/profile"))[0] == 200
    assert (await ops.call("DELETE", f"/v1/admin/keys/{key_id}"))[0] == 204
    began_s = time.monotonic()
    while (await there.call("GET", "/v1/me/profile"))[0] != 401:
        assert time.monotonic() - began_s < WITHIN_S
        await asyncio.sleep(0.05)


async def test_a_token_that_was_taken_back_is_refused_everywhere_within_five_seconds(
    servers: list[ServerProcess], session: aiohttp.ClientSession
) -> None:
    at = int(time.time()) - 5
    claims = {"sub": "eve", "iat": at, "exp": at + 600, "jti": "eves-first"}
    tokens = [jwt.encode(claims | {"jti": name}, SECRET, algorithm="HS256") for name in ("eves-first", "eves-second")]
    first, second = ([_Bearer(session, server, one) for server in servers] for one in tokens)
    assert {await one.profile() for one in (*first, *second)} == {200}
    await asyncio.to_thread(ngx, servers[0], "tokens", "revoke", "--jti", "eves-first")
    await _refused_everywhere(first)
    assert {await one.profile() for one in second} == {200}
    assert await second[0].call("POST", "/v1/me/sessions/revoke") == 200
    assert await second[0].profile() == 401, "where it was said it holds at once"
    await _refused_everywhere(second)


async def _refused_everywhere(callers: list[_Bearer]) -> None:
    began_s = time.monotonic()
    while {await one.profile() for one in callers} != {401}:
        assert time.monotonic() - began_s < WITHIN_S
        await asyncio.sleep(0.05)


class _Bearer:
    def __init__(self, session: aiohttp.ClientSession, server: ServerProcess, token: str) -> None:
        self._session, self._url = session, server.base_url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str) -> int:
        async with self._session.request(method, self._url + path, headers=self._headers) as answer:
            return answer.status

    async def profile(self) -> int:
        return await self.call("GET", "/v1/me/profile")


@pytest.mark.slow
async def test_a_budget_is_one_for_both_and_outlives_them(
    servers: list[ServerProcess], session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    secret = await asyncio.to_thread(ngx, servers[0], "keys", "create", "--user", "ben", "--tenant", "umbrella")
    words = (
        "budgets",
        "set",
        "umbrella",
        "--scope",
        "tenant",
        "--of",
        "umbrella",
        "--tokens",
        "1",
        "--action",
        "block",
    )
    await asyncio.to_thread(ngx, servers[0], *words)
    callers = [Caller(session, server, secret) for server in servers]
    await asyncio.sleep(3.0)
    assert await callers[0].source() == "model", "the reservation that crosses the limit is the last one"
    assert await callers[0].refusal() == "budget_spent", "where it was spent it is known at once"
    began_s = time.monotonic()
    while await callers[1].refusal() != "budget_spent":
        assert time.monotonic() - began_s < WITHIN_S
        await asyncio.sleep(0.05)  # a user has so many requests a minute
    servers[0].kill()
    await asyncio.to_thread(servers[0].start)
    assert await Caller(session, servers[0], secret).refusal() == "budget_spent", "the journal is the truth"
    await asyncio.to_thread(ngx, servers[1], *words[:-4], "--tokens", "1000000000")
    began_s = time.monotonic()
    while await callers[1].refusal() is not None:
        assert time.monotonic() - began_s < WITHIN_S
        await asyncio.sleep(0.05)  # a user has so many requests a minute
