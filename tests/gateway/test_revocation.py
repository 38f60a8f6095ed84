"""JWTs that hold no more before they expire, and wrong ones that are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import msgspec
import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import Forbidden, RateLimited, Unauthenticated
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.state.commands import ApiKey, ListAudit, PutControl, PutKey
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import Revocation
from ngx_agents.state.model import Owner
from ngx_agents.state.revocations import user_name
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics
from tests.gateway.serving import Client, client, house, served
from tests.memory_journal import opened
from tests.resilience.hand_clock import HandClock

SECRET = "0123456789abcdef0123456789abcdef"
SETTINGS = AuthSettings(mode="jwt", jwt_secret=SECRET)
HERE, ELSEWHERE = "6.6.6.6", "7.7.7.7"


def token(clock: Any, *, secret: str = SECRET, **claims: Any) -> str:
    now_s = clock.now_s()
    return jwt.encode({"sub": "ana", "iat": now_s, "exp": now_s + 3600} | claims, secret, algorithm="HS256")


def bearer(made: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + made.encode()}


@pytest.fixture
async def journal() -> AsyncIterator[MemoryJournal]:
    async with opened(MemoryJournal()) as made:
        yield made


class Door:
    """An instance's authentication and what it knows of revocations."""

    def __init__(self, journal: MemoryJournal, clock: HandClock, **settings: Any) -> None:
        self.board = ControlBoard(journal, clock=clock, metrics=Metrics())
        self.auth = Authenticator(
            msgspec.structs.replace(SETTINGS, **settings), journal, clock, revocations=self.board.revocations
        )

    async def refused(self, made: str, address: str = HERE) -> type[Exception] | None:
        try:
            await self.auth.principal(bearer(made), address)
        except (Unauthenticated, RateLimited, Forbidden) as error:
            return type(error)
        return None


async def revoke(journal: MemoryJournal, name: str, clock: HandClock, issued_before: float | None = None) -> None:
    body = msgspec.json.encode(Revocation(until=clock.now_s() + 1e6, issued_before=issued_before))
    await journal.transact([PutControl(kind="revocation", id=name, body=body, now=clock.now_s())])


async def test_a_remembered_token_is_refused_as_soon_as_the_board_knows_it_was_taken_back(
    journal: MemoryJournal,
) -> None:
    clock = HandClock()
    here, there = Door(journal, clock), Door(journal, clock)
    one, other = token(clock, jti="one"), token(clock, jti="two")
    for door in (here, there):
        assert (await door.refused(one), await door.refused(other)) == (None, None)
    await revoke(journal, "token:one", clock)
    for door in (here, there):
        await door.board.refresh()
        assert (await door.refused(one), await door.refused(other)) == (Unauthenticated, None)
    assert len(here.auth._tokens) == 1, "it is not remembered any more"


async def test_all_that_a_user_was_given_before_a_moment_is_refused_and_nobody_elses(journal: MemoryJournal) -> None:
    clock = HandClock()
    door = Door(journal, clock)
    before = token(clock)
    undated = jwt.encode({"sub": "ana", "exp": clock.now_s() + 3600}, SECRET, algorithm="HS256")
    clock.advance(10.0)
    after, bens = token(clock), token(clock, sub="ben", iat=clock.now_s() - 500)
    await revoke(journal, user_name(Owner("default", "ana")), clock, issued_before=clock.now_s())
    await door.board.refresh()
    assert await door.refused(before) is Unauthenticated
    assert await door.refused(undated) is Unauthenticated
    assert (await door.refused(after), await door.refused(bens)) == (None, None)


async def test_a_token_holds_no_longer_than_a_revocation_is_remembered(journal: MemoryJournal) -> None:
    clock = HandClock()
    door = Door(journal, clock, token_life_s=600.0)
    long = token(clock, exp=clock.now_s() + 10**9)
    assert await door.refused(long) is None
    clock.advance(631.0)
    assert await door.refused(long) is Unauthenticated


async def test_wrong_tokens_are_counted_and_good_ones_of_the_same_address_go_on(journal: MemoryJournal) -> None:
    clock = HandClock()
    door = Door(journal, clock)
    key = ApiKey(id="k_1", digest=b"k" * 32, owner=Owner("acme", "ana"), roles=(), created_at=1.0)
    await journal.transact([PutKey(key=key)])
    ring = door.auth._keys
    assert (await ring.principal(key.digest, HERE)).owner.user == "ana"
    told = [await door.refused(token(clock, secret=f"{number:032}"), HERE) for number in range(300)]
    assert (told.count(Unauthenticated), told.count(RateLimited)) == (20, 280)
    assert await door.refused(token(clock, sub="ben"), HERE) is None, "one that was never seen here"
    clock.advance(6.0)
    assert await door.refused("x.y.z", HERE) is Unauthenticated, "two guesses came back"
    assert await door.refused("x.y.z", HERE) is Unauthenticated
    assert await door.refused("x.y.z", HERE) is RateLimited
    assert (await ring.principal(key.digest, HERE)).owner.user == "ana", "a key that held a moment ago is no guess"
    with pytest.raises(RateLimited):
        await ring.principal(b"?" * 32, HERE)
    assert await door.refused("x.y.z", ELSEWHERE) is Unauthenticated


@pytest.mark.parametrize(
    "claims", [{"exp": 5}, {"aud": "others"}, {"nbf": 9e9}, {"sub": ""}, {"iat": 5}], ids=lambda one: next(iter(one))
)
async def test_a_token_of_ours_that_does_not_hold_is_no_guess(journal: MemoryJournal, claims: dict[str, Any]) -> None:
    clock = HandClock()
    door = Door(journal, clock, audience="us")
    stale = token(clock, **({"aud": "us"} | claims))
    assert {await door.refused(stale) for _ in range(50)} == {Unauthenticated}


JWT = GatewaySettings(auth=SETTINGS)


async def test_a_user_signs_out_everywhere_and_comes_back_with_a_new_token(tmp_path: Path) -> None:
    clock = SystemClock()
    async with client(tmp_path, JWT) as api:

        async def me(made: str, method: str = "GET", path: str = "/v1/me/profile") -> tuple[int, Any]:
            return await api.call(method, path, headers={"Authorization": f"Bearer {made}"})

        old, other = token(clock), token(clock, sub="ben")
        assert (await me(old))[0] == 200
        status, told = await me(old, "POST", "/v1/me/sessions/revoke")
        assert (status, told["id"]) == (200, "user:default/ana")
        assert told["until"] == pytest.approx(clock.now_s() + SETTINGS.token_life_s, abs=30)
        status, problem = await me(old)
        assert (status, problem["code"]) == (401, "unauthenticated")
        assert (await me(other))[0] == 200
        assert (await me(token(clock, iat=told["issued_before"])))[0] == 200


async def test_operators_take_back_tokens_see_them_and_leave_a_trace(tmp_path: Path) -> None:
    clock = SystemClock()
    async with house(tmp_path, JWT) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        api, path = Client(session, url), "/v1/admin/revocations"
        ops = {"Authorization": f"Bearer {token(clock, sub='ops', roles=['operator'])}"}
        bad: list[dict[str, Any]] = [
            {}, {"jti": "x", "user": "y"}, {"jti": ""}, {"user": "ana", "issued_before": clock.now_s() + 99},
            {"jti": "x", "issued_before": 1.0}, {"jti": "x" * 201}, {"who": "ana"},
        ]  # fmt: skip
        for body in bad:
            assert (await api.call("POST", path, json=body, headers=ops))[0] == 400, body
        assert (await api.call("GET", path, headers=ops))[1]["items"] == []
        mine = {"Authorization": f"Bearer {token(clock, jti='one')}"}
        assert (await api.call("POST", path, json={"jti": "one"}, headers=mine))[0] == 403
        assert (await api.call("POST", path, json={"jti": "one"}, headers=ops))[0] == 201
        assert (await api.call("GET", "/v1/me/profile", headers=mine))[0] == 401
        at = clock.now_s() - 5
        for before in (at, at - 50):
            body = {"user": "ben", "tenant": "acme", "issued_before": before}
            status, told = await api.call("POST", path, json=body, headers=ops)
            assert (status, told["issued_before"]) == (201, at), "what was taken back stays so"
        _, listed = await api.call("GET", path, headers=ops)
        assert [one["id"] for one in listed["items"]] == ["token:one", "user:acme/ben"]
        entries = (await made.deps.journal.query(ListAudit())).items
        assert [(one.actor, one.action, one.target) for one in entries] == [
            ("default/ops", "revocation.put", "revocation/user:acme/ben"),
            ("default/ops", "revocation.put", "revocation/token:one"),
        ]


async def test_where_no_tokens_are_taken_there_are_none_to_take_back(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        status, problem = await api.call("POST", "/v1/me/sessions/revoke")
        assert (status, problem["code"]) == (400, "invalid_request")
        assert (await api.call("POST", "/v1/admin/revocations", json={"jti": "x"}))[0] == 400
