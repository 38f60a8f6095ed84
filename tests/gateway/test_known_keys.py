"""Keys in use are looked up together, and none is believed longer than it may be."""

from __future__ import annotations

from typing import Any

import pytest

from ngx_agents.errors import Unauthenticated
from ngx_agents.gateway.key_ring import KeyRing
from ngx_agents.gateway.known_keys import AT_ONCE, IN_USE_S, KnownKeys
from ngx_agents.gateway.principal import LOCAL
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.commands import ApiKey, FindKey, KeysThatHold, PutKey, RevokeKey
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite_memory import MemoryJournal
from tests.memory_journal import opened
from tests.resilience.hand_clock import HandClock

SETTINGS = AuthSettings(mode="api_key")
BELIEVED_S = SETTINGS.key_memory_s


class Asked(MemoryJournal):
    """A journal that keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Any] = []

    async def query(self, question: Any) -> Any:
        self.questions.append(question)
        return await super().query(question)

    def count(self, kind: type) -> int:
        return sum(isinstance(one, kind) for one in self.questions)


@pytest.fixture
async def journal() -> Any:
    async with opened(Asked()) as made:
        yield made


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def stored(journal: Asked, clock: HandClock, count: int, **changes: Any) -> list[bytes]:
    for number in range(count):
        owner = Owner("acme", f"u{number}")
        key = ApiKey(
            id=f"k_{number}", digest=digest(number), owner=owner, roles=(), created_at=clock.now_s(), **changes
        )
        await journal.transact([PutKey(key=key)])
    return [digest(number) for number in range(count)]


async def test_who_is_looked_up_takes_along_those_in_use(journal: Asked) -> None:
    clock = HandClock()
    ring = KeyRing(SETTINGS, journal, clock)
    keys = await stored(journal, clock, 60)
    for minute in range(5):
        asked = journal.count(KeysThatHold)
        for number, key in enumerate(2 * keys):
            assert (await ring.principal(key, "1.2.3.4")).owner.user == f"u{number % len(keys)}"
            clock.advance(0.5)  # each comes twice a minute
        if minute:
            assert journal.count(KeysThatHold) - asked <= 60 / BELIEVED_S
    assert journal.count(FindKey) == len(keys)


async def test_a_key_that_was_revoked_is_not_renewed(journal: Asked) -> None:
    clock = HandClock()
    ring = KeyRing(SETTINGS, journal, clock)
    first, second = await stored(journal, clock, 2)
    for key in (first, second):
        await ring.principal(key, "1.2.3.4")
    await journal.transact([RevokeKey(digest=second, now=clock.now_s())])
    clock.advance(BELIEVED_S)
    await ring.principal(first, "1.2.3.4")
    with pytest.raises(Unauthenticated):
        await ring.principal(second, "1.2.3.4")


async def test_a_renewed_key_still_ends_when_it_expires(journal: Asked) -> None:
    clock = HandClock()
    ring = KeyRing(SETTINGS, journal, clock)
    first, second = await stored(journal, clock, 2, expires_at=clock.now_s() + BELIEVED_S + 1.0)
    for key in (first, second):
        await ring.principal(key, "1.2.3.4")
    clock.advance(BELIEVED_S)
    await ring.principal(first, "1.2.3.4")
    assert (await ring.principal(second, "1.2.3.4")).owner.user == "u1"
    clock.advance(1.0)
    with pytest.raises(Unauthenticated):
        await ring.principal(second, "1.2.3.4")


def test_those_that_are_not_used_any_more_are_forgotten() -> None:
    clock = HandClock()
    known = KnownKeys(10, believed_s=BELIEVED_S, clock=clock)
    known.put(digest(1), LOCAL, expires_at=None)
    clock.advance(IN_USE_S + 1.0)
    assert known.due() == ()
    assert len(known) == 0


def test_what_is_asked_for_and_kept_is_bounded_and_not_asked_for_twice() -> None:
    clock = HandClock()
    known = KnownKeys(2 * AT_ONCE, believed_s=BELIEVED_S, clock=clock)
    for number in range(3 * AT_ONCE):
        known.put(digest(number), LOCAL, expires_at=None)
    assert len(known) == 2 * AT_ONCE
    assert known.get(digest(0)) is None
    clock.advance(BELIEVED_S)
    assert len(known.due()) == len(known.due()) == AT_ONCE
    assert known.due() == ()
    clock.advance(1.0)
    assert len(known.due()) == AT_ONCE
