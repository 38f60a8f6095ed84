"""Both tiers together: what is found where, for how long, and what an erased user leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.commands import Command, DropGroup, Get, GetMany, Put
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.answers import CacheLimits
from ngx_agents.vertex.cache.erasures import GRACE_S
from ngx_agents.vertex.cache.marks import TRUST_S
from ngx_agents.vertex.cache.rules import CacheRules, ClassRule
from ngx_agents.vertex.scope import CacheRule, Cohort, User
from tests.valkey_process import ValkeyProcess, valkey
from tests.vertex.cache.making import MODEL, PUBLIC, SECRET, HandClock, answer, cache_of, keep, key_for, question
from tests.vertex.cache.sharing import Instance

HERS = CacheRule(scope=User("maria"))
REPLY = answer("Two sets", ", no rest")
CHUNKS = ("Two ", "sets, no", " rest")


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest_asyncio.fixture(params=["in process", "valkey"])
async def pair(
    request: pytest.FixtureRequest, clock: HandClock, server: ValkeyProcess
) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two instances that share a tier, empty at first."""
    if request.param == "in process":
        local = LocalShared(clock)
        yield Instance(local, clock), Instance(local, clock)
        await local.close()
        return
    server.say("FLUSHALL")
    ways = [redis(server) for _ in range(2)]
    for way in ways:
        await way.open()
    yield Instance(ways[0], clock), Instance(ways[1], clock)
    for way in ways:
        await way.close()


def redis(server: ValkeyProcess) -> Shared:
    url = f"redis://127.0.0.1:{server.port}"
    return RedisShared(url, clock=SystemClock(), rng=Rng(1), metrics=Metrics(), timeout_s=2.0)


async def test_answer_kept_is_found_at_once_and_elsewhere(pair: tuple[Instance, Instance]) -> None:
    here, there = pair
    assert await keep(here.cache, key_for(here.cache), REPLY, chunks=CHUNKS)
    at_hand = here.cache.in_memory(key_for(here.cache))
    assert at_hand is not None
    assert there.cache.in_memory(key_for(there.cache)) is None
    shared = await there.cache.find(key_for(there.cache))
    assert shared is not None
    for kept in (at_hand, shared):
        assert kept.chunks == CHUNKS
        assert kept.reply() == replace(REPLY, source="cache", rung="cache", attempts=0, age_s=kept.age_s)
    assert there.cache.in_memory(key_for(there.cache)) is not None, "memory was filled"
    assert here.counted("misses", "general") == 1
    assert here.counted("stored", "general") == 1
    assert here.counted("hits", "general", "memory") == 1
    assert there.counted("hits", "general", "shared") == 1
    assert there.counted("hits", "general", "memory") == 1


async def test_an_entrys_own_life_holds_in_both_tiers(pair: tuple[Instance, Instance], clock: HandClock) -> None:
    here, there = pair
    rules = CacheRules(changed={"general": ClassRule(ttl_s=3600)})
    for each in pair:
        each.cache.rules = rules
    rule = CacheRule(scope=PUBLIC.scope, ttl_s=30)
    assert await keep(here.cache, key_for(here.cache, rule=rule), REPLY, rule=rule)
    clock.passed_s += 20
    kept = await there.cache.find(key_for(there.cache, rule=rule))
    assert kept is not None
    assert kept.age_s == pytest.approx(20, abs=1), "filling memory from the shared tier makes nothing younger"
    clock.passed_s += 9
    for each in pair:
        assert each.cache.in_memory(key_for(each.cache, rule=rule)) is not None
    clock.passed_s += 1
    for each in pair:
        assert await each.cache.find(key_for(each.cache, rule=rule)) is None


async def test_valkey_forgets_an_entry_when_its_own_life_ends(server: ValkeyProcess, clock: HandClock) -> None:
    server.say("FLUSHALL")
    way = redis(server)
    await way.open()
    try:
        rules = CacheRules(changed={"general": ClassRule(ttl_s=3600)})
        cache = cache_of(clock, shared=way, rules=rules)
        rule = CacheRule(scope=PUBLIC.scope, ttl_s=30)
        assert await keep(cache, key_for(cache, rule=rule), REPLY, rule=rule)
    finally:
        await way.close()
    listed = [line for line in server.say("KEYS", "*").decode().split("\r\n") if "answer:" in line]
    assert len(listed) == 1
    assert 20_000 < int(server.say("PTTL", listed[0]).strip()[1:]) <= 30_000


async def test_stale_answer_is_found_but_is_not_at_hand(pair: tuple[Instance, Instance], clock: HandClock) -> None:
    here, _ = pair
    assert await keep(here.cache, key_for(here.cache), REPLY)
    clock.passed_s += 3601
    assert here.cache.in_memory(key_for(here.cache)) is None
    kept = await here.cache.find(key_for(here.cache))
    assert kept is not None
    assert not kept.is_fresh
    assert kept.may_revalidate
    assert kept.reply().source == "stale"
    assert here.counted("stale", "general") == 1
    assert here.counted("hits") == 0


async def test_newer_answer_of_another_instance_wins_over_a_stale_one_at_hand(
    pair: tuple[Instance, Instance], clock: HandClock
) -> None:
    here, there = pair
    assert await keep(here.cache, key_for(here.cache), answer("old"))
    clock.passed_s += 3601
    assert await keep(there.cache, key_for(there.cache), answer("new"))
    kept = await here.cache.find(key_for(here.cache))
    assert kept is not None
    assert kept.reply().text == "new"
    at_hand = here.cache.in_memory(key_for(here.cache))
    assert at_hand is not None
    assert at_hand.reply().text == "new"


async def test_tier_that_is_down_is_a_miss_and_memory_goes_on(pair: tuple[Instance, Instance]) -> None:
    here, there = pair
    here.shared.is_down = True
    assert await here.cache.find(key_for(here.cache)) is None
    assert await keep(here.cache, key_for(here.cache), REPLY)
    assert here.cache.in_memory(key_for(here.cache)) is not None
    assert await there.cache.find(key_for(there.cache)) is None


async def test_valkey_that_dies_is_a_miss_and_no_error(tmp_path: Path, clock: HandClock) -> None:
    with valkey() as server:
        way = RedisShared(
            f"redis://127.0.0.1:{server.port}", clock=SystemClock(), rng=Rng(1), metrics=Metrics(), timeout_s=0.05
        )
        await way.open()
        try:
            one, other = Instance(way, clock), Instance(way, clock)
            assert await keep(one.cache, key_for(one.cache), REPLY)
            assert await other.cache.find(key_for(other.cache)) is not None
            server.kill()
            third = Instance(way, clock)
            assert await third.cache.find(key_for(third.cache)) is None
            assert await third.cache.keep(key_for(third.cache), PUBLIC, question(), REPLY, ())
            assert third.cache.in_memory(key_for(third.cache)) is not None
            with pytest.raises(SharedUnavailable):
                await third.cache.erase_user("maria")
        finally:
            await way.close()


async def test_poisoned_bytes_are_a_miss_counted_and_overwritten(pair: tuple[Instance, Instance]) -> None:
    here, there = pair
    assert await keep(here.cache, key_for(here.cache, b"{}"), answer("mine"))
    assert await keep(here.cache, key_for(here.cache, b"[]"), answer("another's"))
    names = [f"answer:1:{key_for(here.cache, body).digest.hex()}" for body in (b"{}", b"[]")]
    swapped = await here.shared.ask(Get(names[1]))
    assert swapped is not None
    for poison in (swapped, b"", b"\x01", b"\xff" * 300, swapped[:40], b"\x01" + b"\x93" * 5000):
        await here.shared.ask(Put(names[0], poison, 60.0))
        assert await there.cache.find(key_for(there.cache, b"{}")) is None
    assert there.counted("foreign") == 6
    assert await keep(there.cache, key_for(there.cache, b"{}"), answer("mine again"))
    fresh = Instance(here.shared, HandClock())
    kept = await fresh.cache.find(key_for(fresh.cache, b"{}"))
    assert kept is not None
    assert kept.reply().text == "mine again"


@pytest.mark.parametrize("jump_s", [3700.0, -3700.0, 30.0, -30.0])
async def test_jump_of_the_wall_clock_never_lengthens_a_life(
    pair: tuple[Instance, Instance], clock: HandClock, jump_s: float
) -> None:
    here, there = pair
    assert await keep(here.cache, key_for(here.cache), REPLY)
    clock.jump_s += jump_s
    kept = here.cache.in_memory(key_for(here.cache))
    assert kept is not None
    assert kept.age_s == 0, "memory does not look at the wall clock"
    other = await there.cache.find(key_for(there.cache))
    if abs(jump_s) < 60:
        assert other is not None
        assert other.age_s == pytest.approx(max(0.0, jump_s))
    else:
        assert other is None or not other.is_fresh
    clock.passed_s += 3600
    for each in pair:
        assert each.cache.in_memory(key_for(each.cache)) is None


async def test_users_answer_is_given_to_that_user_only(pair: tuple[Instance, Instance]) -> None:
    here, there = pair
    assert await keep(here.cache, key_for(here.cache, rule=HERS), answer("your knee"), rule=HERS)
    for scope in (User("marian"), Cohort("maria"), PUBLIC.scope):
        for each in pair:
            assert await each.cache.find(key_for(each.cache, rule=CacheRule(scope=scope))) is None
    kept = await there.cache.find(key_for(there.cache, rule=HERS))
    assert kept is not None
    assert kept.reply().text == "your knee"


async def test_erasure_takes_a_users_answers_from_both_tiers_and_nobody_elses(
    pair: tuple[Instance, Instance], clock: HandClock
) -> None:
    here, there = pair
    his = CacheRule(scope=User("pedro"))
    for rule, body in ((HERS, b"{}"), (HERS, b"[]"), (his, b"{}"), (PUBLIC, b"{}")):
        assert await keep(here.cache, key_for(here.cache, body, rule), REPLY, rule=rule)
        assert await there.cache.find(key_for(there.cache, body, rule)) is not None
    assert await here.cache.erase_user("maria") == 4, "two in memory and two shared"
    assert here.counted("erased") == 4
    assert await here.cache.erase_user("maria") == 0
    clock.passed_s += TRUST_S + 0.1
    for each in pair:
        for body in (b"{}", b"[]"):
            assert each.cache.in_memory(key_for(each.cache, body, HERS)) is None
            assert await each.cache.find(key_for(each.cache, body, HERS)) is None
        for rule in (his, PUBLIC):
            assert await each.cache.find(key_for(each.cache, b"{}", rule)) is not None
    for each in pair:
        assert not await keep(each.cache, key_for(each.cache, rule=HERS), REPLY, rule=HERS), "not yet"
    clock.passed_s += GRACE_S
    assert await keep(there.cache, key_for(there.cache, rule=HERS), REPLY, rule=HERS), "life goes on"
    assert await here.cache.find(key_for(here.cache, rule=HERS)) is not None


async def test_users_entry_at_hand_is_trusted_only_for_a_while(
    pair: tuple[Instance, Instance], clock: HandClock
) -> None:
    here, there = pair
    assert await keep(here.cache, key_for(here.cache, rule=HERS), REPLY, rule=HERS)
    clock.passed_s += TRUST_S + 0.1
    assert here.cache.in_memory(key_for(here.cache, rule=HERS)) is None
    assert await here.cache.find(key_for(here.cache, rule=HERS)) is not None
    assert here.cache.in_memory(key_for(here.cache, rule=HERS)) is not None, "trusted again"
    await there.cache.erase_user("maria")
    clock.passed_s += TRUST_S + 0.1
    here.shared.is_down = True
    assert await here.cache.find(key_for(here.cache, rule=HERS)) is None, "who cannot ask does not say"
    here.shared.is_down = False
    assert await here.cache.find(key_for(here.cache, rule=HERS)) is None


async def test_answer_that_was_being_made_when_its_user_was_erased_is_not_kept(
    pair: tuple[Instance, Instance], clock: HandClock
) -> None:
    here, _ = pair
    keys = [(each, key_for(each.cache, rule=HERS)) for each in pair]
    for each, key in keys:
        assert await each.cache.find(key) is None
    await here.cache.erase_user("maria")
    for each, key in keys:
        assert not await each.cache.keep(key, HERS, question(HERS), REPLY, ())
        assert each.counted("refused", "erased") == 1
    clock.passed_s += TRUST_S + 0.1
    for each in pair:
        assert await each.cache.find(key_for(each.cache, rule=HERS)) is None


def is_entry(command: Command[object]) -> bool:
    return isinstance(command, Put) and command.group is not None


def is_mark(command: Command[object]) -> bool:
    return isinstance(command, Put) and command.group is None


def is_drop(command: Command[object]) -> bool:
    return isinstance(command, DropGroup)


def is_look(command: Command[object]) -> bool:
    return isinstance(command, Get | GetMany)


@pytest.mark.parametrize("writes_here", [True, False], ids=["same instance", "other instance"])
@pytest.mark.parametrize("held", [is_entry, is_look], ids=["entry", "look at the mark"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
async def test_erasure_during_a_write_leaves_nothing(
    pair: tuple[Instance, Instance],
    clock: HandClock,
    writes_here: bool,
    held: Callable[[Command[object]], bool],
    after: bool,
) -> None:
    """The write stands still at any point while the whole erasure passes; only a look that is done sees nothing."""
    here, there = pair
    writer = here if writes_here else there
    key = key_for(writer.cache, rule=HERS)
    assert await writer.cache.find(key) is None
    is_held, may_go = writer.shared.hold(held, after=after)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(writer.cache.keep(key, HERS, question(HERS), REPLY, ()))
        await is_held.wait()
        await here.cache.erase_user("maria")
        may_go.set()
    if not (held is is_look and after and not writes_here):
        assert not writing.result()
    clock.passed_s += TRUST_S + 0.1
    for each in (*pair, Instance(here.shared, clock)):
        assert await each.cache.find(key_for(each.cache, rule=HERS)) is None
    assert await here.shared.ask(DropGroup(f"answer:1:{{{key.group}}}")) == 0, "nothing lies there unread either"


@pytest.mark.parametrize("held", [is_mark, is_drop], ids=["mark", "drop"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
async def test_write_during_an_erasure_leaves_nothing(
    pair: tuple[Instance, Instance], clock: HandClock, held: Callable[[Command[object]], bool], after: bool
) -> None:
    here, _ = pair
    keys = [(each, key_for(each.cache, rule=HERS)) for each in pair]
    for each, key in keys:
        assert await each.cache.find(key) is None
    is_held, may_go = here.shared.hold(held, after=after)
    async with asyncio.TaskGroup() as group:
        group.create_task(here.cache.erase_user("maria"))
        await is_held.wait()
        for each, key in keys:
            await each.cache.keep(key, HERS, question(HERS), REPLY, ())
        may_go.set()
    clock.passed_s += TRUST_S + 0.1
    for each in (*pair, Instance(here.shared, clock)):
        assert await each.cache.find(key_for(each.cache, rule=HERS)) is None


async def test_entry_that_a_cancelled_write_left_behind_is_not_given_out(
    pair: tuple[Instance, Instance], clock: HandClock
) -> None:
    here, there = pair
    key = key_for(there.cache, rule=HERS)
    assert await there.cache.find(key) is None
    entry_waits, entry_goes = there.shared.hold(is_entry, after=False)
    look_waits, _ = there.shared.hold(is_look, after=False)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(there.cache.keep(key, HERS, question(HERS), REPLY, ()))
        await entry_waits.wait()
        await here.cache.erase_user("maria")
        entry_goes.set()
        await look_waits.wait()
        writing.cancel()
    clock.passed_s += TRUST_S + 0.1
    for each in (*pair, Instance(here.shared, clock)):
        assert await each.cache.find(key_for(each.cache, rule=HERS)) is None
    assert await here.cache.erase_user("maria") == 1, "it did lie there"


async def test_erasure_during_a_look_up_does_not_bring_the_answer_back(
    pair: tuple[Instance, Instance], clock: HandClock
) -> None:
    here, there = pair
    assert await keep(there.cache, key_for(there.cache, rule=HERS), REPLY, rule=HERS)
    is_held, may_go = here.shared.hold(is_look, after=True)
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(here.cache.find(key_for(here.cache, rule=HERS)))
        await is_held.wait()
        await here.cache.erase_user("maria")
        may_go.set()
    assert looking.result() is None
    assert here.cache.in_memory(key_for(here.cache, rule=HERS)) is None


async def test_erasure_that_cannot_reach_the_shared_tier_says_so_and_can_be_repeated(
    pair: tuple[Instance, Instance], clock: HandClock
) -> None:
    here, there = pair
    assert await keep(here.cache, key_for(here.cache, rule=HERS), REPLY, rule=HERS)
    here.shared.is_down = True
    with pytest.raises(SharedUnavailable):
        await here.cache.erase_user("maria")
    assert here.cache.in_memory(key_for(here.cache, rule=HERS)) is None
    here.shared.is_down = False
    assert await here.cache.erase_user("maria") == 1
    assert await there.cache.find(key_for(there.cache, rule=HERS)) is None


async def test_users_answer_is_not_kept_when_nobody_could_say_whether_the_user_is_erased(
    pair: tuple[Instance, Instance],
) -> None:
    here, _ = pair
    here.shared.is_down = True
    assert not await keep(here.cache, key_for(here.cache, rule=HERS), REPLY, rule=HERS)
    assert here.counted("refused", "unchecked") == 1


async def test_erasure_finds_what_was_kept_under_a_former_secret(clock: HandClock) -> None:
    shared = LocalShared(clock)
    old, new = Instance(shared, clock, SECRET), Instance(shared, clock, b"a newer secret of ours", SECRET)
    assert await keep(old.cache, key_for(old.cache, rule=HERS), REPLY, rule=HERS)
    assert await new.cache.find(key_for(new.cache, rule=HERS)) is None
    assert await new.cache.erase_user("maria") == 1
    assert await Instance(shared, clock, SECRET).cache.find(key_for(old.cache, rule=HERS)) is None


async def test_alone_without_a_shared_tier_erasure_works_too(clock: HandClock) -> None:
    cache = cache_of(clock)
    asked_before = key_for(cache, b"[]", HERS)
    assert await keep(cache, key_for(cache, rule=HERS), REPLY, rule=HERS)
    clock.passed_s += 100
    assert cache.in_memory(key_for(cache, rule=HERS)) is not None
    assert await cache.erase_user("maria") == 1
    assert cache.in_memory(key_for(cache, rule=HERS)) is None
    assert not await keep(cache, key_for(cache, b"[]", HERS), REPLY, rule=HERS), "made of what was read before"
    clock.passed_s += GRACE_S
    assert not await cache.keep(asked_before, HERS, question(HERS), REPLY, ())
    assert await keep(cache, key_for(cache, b"[]", HERS), REPLY, rule=HERS)


async def test_answers_are_nobody_elses_to_change(clock: HandClock) -> None:
    cache = cache_of(clock)
    assert await keep(cache, key_for(cache), REPLY)
    replies = [(await cache.find(key_for(cache))).reply() for _ in range(2)]  # type: ignore[union-attr]
    replies[0].content.wire["vertex"] = b"changed"
    assert replies[1].content.wire == {}
    assert (await cache.find(key_for(cache))).reply().content.wire == {}  # type: ignore[union-attr]


async def test_cache_of_one_entry_serves_it(clock: HandClock) -> None:
    cache = cache_of(clock, limits=CacheLimits(max_entries=1))
    for body in (b"{}", b"[]"):
        assert await keep(cache, key_for(cache, body), REPLY)
        assert cache.in_memory(key_for(cache, body)) is not None
    assert cache.in_memory(key_for(cache, b"{}")) is None


async def test_neither_users_nor_keys_nor_texts_are_shown_anywhere(
    pair: tuple[Instance, Instance], caplog: pytest.LogCaptureFixture, server: ValkeyProcess
) -> None:
    caplog.set_level(logging.DEBUG)
    here, there = pair
    body = b'{"contents":"my secret knee"}'
    key = key_for(here.cache, body, HERS)
    assert await keep(here.cache, key, answer("rest the secret knee"), rule=HERS)
    await there.cache.find(key_for(there.cache, body, HERS))
    await here.cache.erase_user("maria")
    shown = caplog.text + here.metrics.render().decode() + there.metrics.render().decode() + repr(key)
    assert key.group is not None
    for hidden in ("maria", key.digest.hex(), key.group, "knee"):
        assert hidden not in shown
    assert "maria" not in server.say("KEYS", "*").decode()


async def test_key_serves_the_model_that_is_asked(clock: HandClock) -> None:
    cache = cache_of(clock)
    key = cache.key(b"{}", model=MODEL, location_class="eu", rule=PUBLIC)
    assert (key.model, key.location_class, key.query_class) == (MODEL, "eu", "general")
