"""A journal behind memory and Redis, on two instances: the same contract, and what moves with a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.coordination.members import member
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance import ANA, NOW, accept, conversation, finish, tell
from tests.state.journal_conformance_blobs import *  # noqa: F403
from tests.state.journal_conformance_operations import *  # noqa: F403
from tests.state.journal_conformance_retention import *  # noqa: F403
from tests.state.journal_conformance_states import *  # noqa: F403
from tests.state.watched_journal import WatchedJournal, WatchedShared
from tests.valkey_process import ValkeyProcess, valkey

from ngx_agents.coordination.commands import Drop, GetVersioned, PutNewer, Versioned
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Profile
from ngx_agents.state.shared_tier import SHARED_MESSAGES, SharedTier
from ngx_agents.telemetry.metrics import Metrics


class Pair:
    """Two instances on one journal and one Redis."""

    def __init__(self, journal: WatchedJournal) -> None:
        self.journal = journal
        self.tiers: list[SharedTier] = []
        self.shared: list[WatchedShared] = []
        self.metrics: list[Metrics] = []

    def failures(self, instance: int, reason: str) -> float:
        return self.metrics[instance].counter("ngx_shared_tier_failures_total", "", "reason").labels(reason).value

    def hits(self, instance: int, kind: str) -> float:
        reads = self.metrics[instance].counter("ngx_shared_tier_reads_total", "", "kind", "outcome")
        return reads.labels(kind, "hit").value

    async def settled(self) -> None:
        async with asyncio.timeout(5):
            while any(tier._unsent for tier in self.tiers):  # noqa: ASYNC110  # tasks of their own send
                await asyncio.sleep(0.002)

    async def stored(self, key: str) -> Versioned | None:
        return await self.shared[0]._shared.ask(GetVersioned(key))

    async def talk(self, instance: int, lane: str, text: str) -> Any:
        """One turn from acceptance to end; the history and profile that it saw."""
        tier = self.tiers[instance]
        turn = await tell(tier, accept(lane, text, grant_to=f"i{instance}"))
        history = await tier.query(recent(lane, turn.user_seq))
        profile = await tier.query(c.GetProfile(owner=ANA))
        await tell(tier, finish(lane, turn.turn_id, turn.epoch, user_seq=turn.user_seq))
        await self.settled()
        return [m.text for m in history], profile


def recent(lane: str, before: int) -> c.RecentMessages:
    return c.RecentMessages(conversation_id=lane, owner=ANA, before=before, limit=200)


class Unclosed:
    """The journal is the pair's; a tier closes what it opens."""

    def __init__(self, journal: WatchedJournal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@pytest.fixture
async def pair(server: ValkeyProcess) -> AsyncIterator[Pair]:
    server.say("FLUSHALL")  # each test has a journal of its own
    async with AsyncExitStack() as stack:
        journal = WatchedJournal()
        await journal.open()
        stack.push_async_callback(journal.close)
        await journal.migrate()
        pair = Pair(journal)
        for _ in range(2):
            shared = member(f"redis://127.0.0.1:{server.port}")
            await shared.open()
            stack.push_async_callback(shared.close)
            pair.shared.append(WatchedShared(shared))
            pair.metrics.append(Metrics())
            memory = MemoryTier(Unclosed(journal))  # type: ignore[arg-type]  # passes everything on
            tier = SharedTier(memory, pair.shared[-1], ttl_s=60, metrics=pair.metrics[-1])
            await tier.open()
            stack.push_async_callback(tier.close)
            pair.tiers.append(tier)
        yield pair


@pytest.fixture
def journal(pair: Pair) -> Journal:
    return pair.tiers[0]


async def test_a_conversation_that_changes_instance_brings_its_history_and_profile_along(pair: Pair) -> None:
    lane = await conversation(pair.tiers[0])
    await tell(pair.tiers[0], c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    expected: list[str] = []
    for number in range(10):
        history, profile = await pair.talk(number % 2, lane, f"pregunta {number}")
        assert (history, profile.age) == (expected, 40)
        expected += [f"pregunta {number}", "listo"]
    lost = [pair.failures(number, reason) for number in (0, 1) for reason in ("unavailable", "unsent", "refused")]
    assert lost == [0.0] * 6
    assert pair.hits(0, "messages") + pair.hits(1, "messages") == 9
    assert pair.hits(1, "profile") == 1
    assert pair.journal.asked.count("RecentMessages") == 0
    assert pair.journal.asked.count("ReadProfile") == 1


async def test_a_profile_written_on_one_instance_is_seen_by_the_next_turn_on_the_other(pair: Pair) -> None:
    lane = await conversation(pair.tiers[0])
    for age in range(40, 52):
        await tell(pair.tiers[age % 2], c.PutProfile(owner=ANA, profile=Profile(age=age), now=NOW))
        for instance in (0, 1, 0):
            _, profile = await pair.talk(instance, lane, "hola")
            assert profile.age == age


async def test_a_stale_copy_in_redis_is_not_used(pair: Pair) -> None:
    lane = await conversation(pair.tiers[0])
    await pair.talk(0, lane, "uno")
    key = f"recent:{{{lane}}}"
    stale = await pair.stored(key)
    assert stale is not None
    await pair.talk(0, lane, "dos")
    shared = pair.shared[0]._shared
    await shared.ask(Drop((key,)))
    await shared.ask(PutNewer(key, stale.value, stale.version, 60))
    history, _ = await pair.talk(1, lane, "tres")
    assert history == ["uno", "listo", "dos", "listo"]
    assert pair.hits(1, "messages") == 0


async def test_history_beyond_what_is_shared_comes_from_the_journal(pair: Pair) -> None:
    lane = await conversation(pair.tiers[0])
    expected: list[str] = []
    for number in range(SHARED_MESSAGES // 2 + 2):
        await pair.talk(0, lane, f"{number}")
        expected += [f"{number}", "listo"]
    history, _ = await pair.talk(1, lane, "otra")
    assert history == expected


async def test_damaged_and_foreign_copies_are_a_miss_and_counted(pair: Pair) -> None:
    lane, other = await conversation(pair.tiers[0]), await conversation(pair.tiers[0])
    await tell(pair.tiers[0], c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    await pair.talk(0, other, "otro secreto")
    await pair.talk(0, lane, "uno")
    foreign = await pair.stored(f"recent:{{{other}}}")
    mine = await pair.stored(f"recent:{{{lane}}}")
    assert foreign is not None
    assert mine is not None
    shared = pair.shared[0]._shared
    pair.shared[0].loses_puts = pair.shared[1].loses_puts = True
    before = 3
    expected = ["uno", "listo"]
    for number, value in enumerate((b"junk", mine.value[:-4], foreign.value)):
        await shared.ask(Drop((f"recent:{{{lane}}}",)))
        await shared.ask(PutNewer(f"recent:{{{lane}}}", value, before, 60))
        history, profile = await pair.talk(1, lane, f"{number}")
        assert (history, profile.age) == (expected, 40)
        expected += [f"{number}", "listo"]
        before += 2
        pair.tiers[1]._memory.forget_messages()
        assert pair.failures(1, "corrupt") == number + 1


async def test_without_redis_turns_go_on_and_failures_are_counted(pair: Pair) -> None:
    for shared in pair.shared:
        shared.is_away = True
    lane = await conversation(pair.tiers[0])
    await pair.talk(0, lane, "uno")
    history, _ = await pair.talk(1, lane, "dos")
    assert history == ["uno", "listo"]
    assert pair.failures(0, "unavailable") > 0
    assert pair.failures(1, "unavailable") > 0


async def test_nothing_of_a_deleted_conversation_or_an_erased_user_stays_in_redis(pair: Pair) -> None:
    for forget in ("delete", "erase"):
        lane = await conversation(pair.tiers[0])
        await tell(pair.tiers[0], c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
        await pair.talk(0, lane, "uno")
        assert await pair.stored(f"recent:{{{lane}}}") is not None
        command = c.DeleteConversation(id=lane, owner=ANA) if forget == "delete" else c.EraseUser(owner=ANA)
        await tell(pair.tiers[1], command)
        assert await pair.stored(f"recent:{{{lane}}}") is None
    lane = await conversation(pair.tiers[0])
    _, profile = await pair.talk(0, lane, "hola")
    assert profile == Profile()


async def test_a_replayed_turns_answer_is_in_the_history_of_the_next_question(pair: Pair) -> None:
    lane = await conversation(pair.tiers[0])
    tier = pair.tiers[0]
    dead = await tell(tier, accept(lane, "muerto"))
    await tell(tier, finish(lane, dead.turn_id, 1, status="dead", message=None))
    await pair.talk(0, lane, "dos")
    await tell(tier, c.ReplayTurn(turn_id=dead.turn_id, now=NOW, deadline_at=NOW + 60))
    [grant] = await tier.claim(1, instance="i0", now=NOW)
    await tell(tier, finish(lane, dead.turn_id, grant.epoch, user_seq=grant.user_seq))
    await pair.settled()
    history, _ = await pair.talk(1, lane, "tres")
    assert history == ["muerto", "listo", "dos", "listo"]
