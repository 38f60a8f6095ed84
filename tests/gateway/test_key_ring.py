"""API keys at the edge: scoped, ending, revoked, used, and guessed at."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ngx_agents.errors import NotFound, RateLimited, Unauthenticated
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.admin.keys import KeyBody, Keys
from ngx_agents.gateway.key_ring import LOOK_UPS, KeyRing
from ngx_agents.gateway.principal import LOCAL
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.commands import ApiKey, FindKey, PutKey
from ngx_agents.state.ids import Ids
from ngx_agents.state.key_uses import KeyUses
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite_memory import MemoryJournal
from tests.gateway.admin.keyed import keyed
from tests.memory_journal import opened
from tests.resilience.hand_clock import HandClock

SETTINGS = AuthSettings(mode="api_key")


class Counted(MemoryJournal):
    """A journal that counts what it is asked and told."""

    asked = told = 0

    async def query(self, question: Any) -> Any:
        self.asked += 1
        return await super().query(question)

    async def transact(self, commands: Any) -> Any:
        self.told += len(commands)
        return await super().transact(commands)


@pytest.fixture
async def journal() -> Any:
    async with opened(Counted()) as made:
        yield made


async def stored(journal: Counted, clock: HandClock, digest: bytes = b"k" * 32, **changes: Any) -> ApiKey:
    values: dict[str, Any] = {"id": "k_1", "owner": Owner("acme", "ana"), "roles": (), "created_at": clock.now_s()}
    key = ApiKey(digest=digest, **(values | changes))
    await journal.transact([PutKey(key=key)])
    return key


async def refused(ring: KeyRing, digest: bytes, address: str = "1.2.3.4") -> type[Exception] | None:
    try:
        await ring.principal(digest, address)
    except (Unauthenticated, RateLimited) as error:
        return type(error)
    return None


async def test_a_key_that_ends_is_refused_at_its_end_also_when_it_was_believed(journal: Counted) -> None:
    clock = HandClock()
    ring = KeyRing(SETTINGS, journal, clock)
    key = await stored(journal, clock, expires_at=clock.now_s() + 2.0)
    assert await refused(ring, key.digest) is None
    clock.advance(2.0)
    assert await refused(ring, key.digest) is Unauthenticated


async def test_a_revoked_key_is_refused_within_five_seconds(journal: Counted) -> None:
    clock = HandClock()
    ring = KeyRing(SETTINGS, journal, clock)
    key = await stored(journal, clock)
    assert await refused(ring, key.digest) is None
    await journal.transact([PutKey(key=msgspec.structs.replace(key, revoked_at=clock.now_s()))])
    clock.advance(5.0)
    assert await refused(ring, key.digest) is Unauthenticated


async def test_guessing_is_cut_off_by_address_without_asking_the_journal_and_others_go_on(journal: Counted) -> None:
    clock = HandClock()
    ring = KeyRing(SETTINGS, journal, clock)
    key = await stored(journal, clock)
    other = await stored(journal, clock, digest=b"o" * 32, id="k_2")
    assert await refused(ring, key.digest, "6.6.6.6") is None
    told = [await refused(ring, number.to_bytes(32, "big"), "6.6.6.6") for number in range(20_000)]
    assert told.count(Unauthenticated) == 20
    assert told.count(RateLimited) == 19_980
    assert journal.asked == 21
    assert len(ring._unknown) == 20
    assert await refused(ring, key.digest, "6.6.6.6") is None, "what is known goes on to work"
    assert await refused(ring, other.digest, "6.6.6.6") is RateLimited
    assert await refused(ring, other.digest, "7.7.7.7") is None
    clock.advance(60.0)
    assert await refused(ring, b"?" * 32, "6.6.6.6") is Unauthenticated


async def test_many_addresses_shut_out_nobody_else_and_take_no_more_memory(journal: Counted) -> None:
    clock = HandClock()
    ring = KeyRing(msgspec.structs.replace(SETTINGS, remembered_tokens=100), journal, clock)
    key = await stored(journal, clock)
    for number in range(12_000):
        await refused(ring, number.to_bytes(32, "big"), f"2001:db8:{number:x}::1")
    assert await refused(ring, key.digest, "203.0.113.9") is None
    assert len(ring._unknown) <= 100
    assert len(ring._lockout) <= 10_000


async def test_one_network_shuts_out_nobody_else_and_is_cut_off_without_asking_the_journal(journal: Counted) -> None:
    clock = HandClock()
    ring = KeyRing(SETTINGS, journal, clock)
    key = await stored(journal, clock)
    for number in range(12_000):
        await refused(ring, number.to_bytes(32, "big"), f"2001:db8::{number:x}")
    assert journal.asked == 20
    assert await refused(ring, key.digest, "203.0.113.9") is None


async def test_guesses_made_all_at_once_get_hardly_further_and_look_at_the_journal_a_few_at_a_time(
    journal: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, at_once, most = KeyRing(SETTINGS, journal, HandClock()), 0, 0
    asking = journal.query

    async def slowly(question: Any) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return await asking(question)

    monkeypatch.setattr(journal, "query", slowly)
    told = await asyncio.gather(*(refused(ring, number.to_bytes(32, "big")) for number in range(500)))
    assert most == LOOK_UPS
    assert told.count(Unauthenticated) < 20 + LOOK_UPS
    assert journal.asked < 20 + LOOK_UPS


async def test_uses_are_told_together_and_not_with_each_request(journal: Counted) -> None:
    clock = HandClock()
    uses = KeyUses(journal, clock=clock)
    ring = KeyRing(SETTINGS, journal, clock, uses=uses)
    key = await stored(journal, clock)
    before = journal.told
    for _ in range(50):
        clock.advance(1.0)
        await ring.principal(key.digest, "1.2.3.4")
    assert journal.told == before
    await uses.tell()
    assert journal.told == before + 1
    found = await journal.query(FindKey(digest=key.digest))
    assert found.last_used_at == clock.now_s()


async def test_a_key_for_some_agents_asks_no_other_and_does_nothing_else(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        body = {"user": "ana", "tenant": "acme", "agents": ["owl"]}
        _, made = await it.api.call("POST", "/v1/admin/keys", json=body, headers=it.operator)
        mine = {"x-api-key": made["secret"]}
        conversation_id = await it.api.conversation(headers=mine)
        assert (await it.api.say(conversation_id, "say x", headers=mine))[0] == 200
        assert (await it.api.say(conversation_id, "say x", headers=mine, agent="owl"))[0] == 200
        assert (await it.api.say(conversation_id, "say x", headers=mine, agent="fox"))[0] == 403
        chat = {"model": "fox", "messages": [{"role": "user", "content": "say x"}]}
        assert (await it.api.call("POST", "/v1/chat/completions", json=chat, headers=mine))[0] in (403, 404)
        assert (await it.api.call("DELETE", "/v1/me", headers=mine))[0] == 403
        assert (await it.api.call("GET", "/v1/me/profile", headers=mine))[0] == 200


async def test_keys_are_made_listed_rotated_and_revoked_with_a_trace_and_without_their_secrets(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        body = {"user": "ben", "tenant": "acme", "name": "Ben's script"}
        status, made = await it.api.call("POST", "/v1/admin/keys", json=body, headers=it.operator)
        assert (status, made["key"]["name"]) == (201, "Ben's script")
        old, path = {"x-api-key": made["secret"]}, f"/v1/admin/keys/{made['key']['id']}"
        assert (await it.api.call("GET", "/v1/me/profile", headers=old))[0] == 200
        status, new = await it.api.call("POST", f"{path}/rotate", json={"overlap_s": 3600}, headers=it.operator)
        assert status == 201
        for headers in (old, {"x-api-key": new["secret"]}):
            assert (await it.api.call("GET", "/v1/me/profile", headers=headers))[0] == 200
        _, listed = await it.api.call("GET", "/v1/admin/keys", headers=it.operator)
        ends = {one["id"]: one["expires_at"] for one in listed["items"] if one["user"] == "ben"}
        assert ends[new["key"]["id"]] is None
        assert 3500 < ends[made["key"]["id"]] - it.house.deps.clock.now_s() < 3700
        assert (await it.api.call("DELETE", path, headers=it.operator))[0] == 204
        assert (await it.api.call("POST", f"{path}/rotate", json={}, headers=it.operator))[0] == 404
        assert (await it.api.call("DELETE", "/v1/admin/keys/nothing", headers=it.operator))[0] == 404
        _, page = await it.api.call("GET", "/v1/admin/audit", headers=it.operator)
        assert [one["action"] for one in page["items"]] == ["key.revoke", "key.expire", "key.create", "key.create"]
        assert made["secret"] not in str(page)
        assert made["secret"] not in str(listed)


async def test_a_key_revoked_while_it_is_rotated_stays_revoked_and_has_no_heir(journal: Counted) -> None:
    clock = HandClock()
    ids = Ids(clock)
    keys = Keys(journal, ids, AuditTrail(journal, ids, clock), knows=bool)
    for _ in range(10):
        key, _ = await keys.create(LOCAL, KeyBody(user="ana"), clock.now_s())
        rotated, revoked = await asyncio.gather(
            keys.rotate(LOCAL, key.id, 3600.0, clock.now_s()),
            keys.revoke(LOCAL, key.id, clock.now_s()),
            return_exceptions=True,
        )
        assert revoked is None
        found = {one.id: one for one in await keys.all()}
        assert not found[key.id].holds_at(clock.now_s())
        holding = [one for one in found.values() if one.holds_at(clock.now_s())]
        assert [one.id for one in holding] == ([] if isinstance(rotated, NotFound) else [rotated[0].id])  # type: ignore[index]
        for one in holding:
            await keys.revoke(LOCAL, one.id, clock.now_s())


async def test_a_rotation_that_read_the_key_before_it_was_revoked_is_refused(
    journal: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    ids = Ids(clock)
    keys = Keys(journal, ids, AuditTrail(journal, ids, clock), knows=bool)
    key, _ = await keys.create(LOCAL, KeyBody(user="ana"), clock.now_s())
    before = await keys.all()
    await keys.revoke(LOCAL, key.id, clock.now_s())
    late, asking = [before], journal.query

    async def stale(question: Any) -> Any:
        return late.pop() if late else await asking(question)

    monkeypatch.setattr(journal, "query", stale)
    with pytest.raises(NotFound):
        await keys.rotate(LOCAL, key.id, 3600.0, clock.now_s())
    assert [one.holds_at(clock.now_s()) for one in await keys.all()] == [False, False]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user"),
        ({"user": "a\u0007"}, "user"),
        ({"user": "a", "roles": ["root"]}, "roles"),
        ({"user": "a", "agents": ["a b"]}, "agents"),
        ({"user": "a", "expires_at": -1}, "expires_at"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_its_field(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async with keyed(tmp_path) as it:
        status, problem = await it.api.call("POST", "/v1/admin/keys", json=body, headers=it.operator)
        assert status == 400
        assert field in problem["field"]
