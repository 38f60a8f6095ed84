"""What everything that instances share must do. A test module for an implementation imports these and provides the
fixture `pair`: two members of the same (the same object twice, where there is no other instance)."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count

import pytest

from ngx_agents.coordination import bounds
from ngx_agents.coordination import commands as c
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedRefused, SharedUnavailable

MAX_VALUE_BYTES = 100_000
Pair = tuple[Shared, Shared]
_numbers = count()


def fresh(name: str = "k") -> str:
    """A key nobody used before."""
    return f"{name}{next(_numbers)}"


async def test_a_value_is_read_as_it_was_put_until_it_is_dropped(pair: Pair) -> None:
    one, other = pair
    key = fresh()
    assert await one.ask(c.Get(key)) is None
    for value in (b"hola", b"", bytes(range(256)), b"n1" * 500):
        await one.ask(c.Put(key, value, 60))
        assert await other.ask(c.Get(key)) == value
    assert await other.ask(c.GetVersioned(key)) == c.Versioned(0, b"n1" * 500)
    assert await one.ask(c.Drop((key, fresh()))) == 1
    assert await other.ask(c.Get(key)) is None


async def test_many_are_read_in_their_order(pair: Pair) -> None:
    one, _ = pair
    keys = [fresh() for _ in range(50)]
    for index, key in enumerate(keys[::2]):
        await one.ask(c.Put(key, b"%d" % index, 60))
    found = await one.ask(c.GetMany(tuple(keys)))
    assert found == [b"%d" % (index // 2) if index % 2 == 0 else None for index in range(50)]
    assert await one.ask(c.GetMany(())) == []


async def test_a_value_expires(pair: Pair) -> None:
    one, _ = pair
    key = fresh()
    await one.ask(c.Put(key, b"soon", 0.02))
    for _ in range(100):
        if await one.ask(c.Get(key)) is None:
            break
        await asyncio.sleep(0.01)
    assert await one.ask(c.Get(key)) is None


async def test_only_a_newer_version_is_stored(pair: Pair) -> None:
    one, other = pair
    key = fresh()
    big = 2**62 + 2**31
    assert await one.ask(c.PutNewer(key, b"five", 5, 60))
    assert not await other.ask(c.PutNewer(key, b"five again", 5, 60))
    assert not await other.ask(c.PutNewer(key, b"four", 4, 60))
    assert await other.ask(c.Get(key)) == b"five"
    assert await other.ask(c.PutNewer(key, b"big", big, 60))
    assert not await one.ask(c.PutNewer(key, b"one less", big - 1, 60))
    assert await one.ask(c.PutNewer(key, b"one more", big + 1, 60))
    assert await other.ask(c.GetVersioned(key)) == c.Versioned(big + 1, b"one more")
    await one.ask(c.Put(key, b"plain", 60))
    assert await one.ask(c.GetVersioned(key)) == c.Versioned(0, b"plain")
    assert await one.ask(c.PutNewer(key, b"one", 1, 60))


async def test_the_highest_version_wins_a_race(pair: Pair) -> None:
    key = fresh()
    versions = [(index * 37) % 101 for index in range(1, 101)]
    stored = await asyncio.gather(
        *(pair[index % 2].ask(c.PutNewer(key, b"%d" % version, version, 60)) for index, version in enumerate(versions))
    )
    assert any(stored)
    assert await pair[0].ask(c.GetVersioned(key)) == c.Versioned(100, b"100")


async def test_dropping_a_group_erases_its_keys_and_no_others(pair: Pair) -> None:
    one, other = pair
    group, bystander = fresh("group"), fresh()
    keys = [fresh() for _ in range(600)]
    await asyncio.gather(*(one.ask(c.Put(key, b"mine", 60, group)) for key in keys[:300]))
    await asyncio.gather(*(one.ask(c.PutNewer(key, b"mine", 7, 60, group)) for key in keys[300:]))
    await one.ask(c.Put(bystander, b"other", 60, fresh("group")))
    await one.ask(c.Drop((keys[0],)))
    assert await other.ask(c.DropGroup(group)) == 599
    assert await one.ask(c.GetMany(tuple(keys[:512]))) == [None] * 512
    assert await one.ask(c.Get(bystander)) == b"other"
    assert await one.ask(c.DropGroup(group)) == 0
    await one.ask(c.Put(keys[1], b"again", 60, group))
    assert await one.ask(c.DropGroup(group)) == 1


async def test_a_group_with_the_tag_of_its_keys_is_dropped_too(pair: Pair) -> None:
    tag = fresh("{u") + "}"
    await pair[0].ask(c.Put(f"{tag}:a", b"1", 60, f"of:{tag}"))
    assert await pair[0].ask(c.PutNewer(f"{tag}:b", b"1", 1, 60, f"of:{tag}"))
    assert not await pair[0].ask(c.PutNewer(f"{tag}:b", b"1", 1, 60, f"of:{tag}"))
    assert await pair[1].ask(c.DropGroup(f"of:{tag}")) == 2
    assert await pair[0].ask(c.GetMany((f"{tag}:a", f"{tag}:b"))) == [None, None]


async def test_what_is_put_while_a_group_is_dropped_is_gone_or_still_known_to_it(pair: Pair) -> None:
    group = fresh("group")
    keys = [fresh() for _ in range(100)]

    async def put_all() -> None:
        for key in keys:
            await pair[0].ask(c.Put(key, b"x", 60, group))

    async def drop_some() -> None:
        for _ in range(10):
            await pair[1].ask(c.DropGroup(group))

    await asyncio.gather(put_all(), drop_some())
    await pair[1].ask(c.DropGroup(group))
    assert await pair[0].ask(c.GetMany(tuple(keys))) == [None] * 100


async def test_a_bucket_gives_what_it_holds_and_then_says_how_long_to_wait(pair: Pair) -> None:
    one, other = pair
    bucket = c.Bucket(fresh(), capacity=10, refill_per_s=0.001, amount=4)
    assert (await one.ask(c.Reserve((bucket,)))).is_granted
    assert (await other.ask(c.Reserve((bucket,)))).wait_s == 0
    refused = await one.ask(c.Reserve((bucket,)))
    assert 1990 < refused.wait_s <= 2000
    assert await other.ask(c.Settle(bucket, -4)) == pytest.approx(6, abs=0.01)
    assert (await one.ask(c.Reserve((bucket,)))).is_granted
    assert await one.ask(c.Settle(bucket, 10)) == pytest.approx(-8, abs=0.01)
    assert 11_900 < (await other.ask(c.Reserve((bucket,)))).wait_s <= 12_000
    assert await one.ask(c.Settle(bucket, -100)) == 10


async def test_several_buckets_give_all_or_nothing(pair: Pair) -> None:
    tag = fresh("{b") + "}"
    calls = c.Bucket(f"calls:{tag}", capacity=2, refill_per_s=0.001, amount=1)
    tokens = c.Bucket(f"tokens:{tag}", capacity=1000, refill_per_s=0.5, amount=900)
    assert (await pair[0].ask(c.Reserve((calls, tokens)))).is_granted
    assert (await pair[1].ask(c.Reserve((calls, tokens)))).wait_s == pytest.approx(1600, rel=0.01)
    assert await pair[0].ask(c.Settle(calls, 0)) == pytest.approx(1, abs=0.01)
    assert await pair[0].ask(c.Settle(tokens, 0)) == pytest.approx(100, abs=1)


async def test_a_bucket_refills(pair: Pair) -> None:
    bucket = c.Bucket(fresh(), capacity=1, refill_per_s=50, amount=1)
    assert (await pair[0].ask(c.Reserve((bucket,)))).is_granted
    for _ in range(100):
        if (await pair[0].ask(c.Reserve((bucket,)))).is_granted:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never did")


async def test_racing_reservations_take_exactly_what_there_is(pair: Pair) -> None:
    bucket = c.Bucket(fresh(), capacity=40, refill_per_s=0.001, amount=1)
    answers = await asyncio.gather(*(pair[index % 2].ask(c.Reserve((bucket,))) for index in range(100)))
    assert sum(answer.is_granted for answer in answers) == 40


async def test_a_counter_adds_up_and_starts_over_when_it_expires(pair: Pair) -> None:
    key = fresh()
    sums = await asyncio.gather(*(pair[index % 2].ask(c.Count(key, 2, 60)) for index in range(20)))
    assert sorted(sums) == list(range(2, 41, 2))
    assert await pair[0].ask(c.Count(key, -40, 60)) == 0
    short = fresh()
    await pair[0].ask(c.Count(short, 1, 0.03))
    for _ in range(100):
        if await pair[0].ask(c.Count(short, 1, 0.03)) == 1:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never did: each amount prolonged it")


def hold(key: str, member: str, wanted: int, *, least: int = 0, limit: int = 5, lease_s: float = 60.0) -> c.Hold:
    return c.Hold(key, member, wanted, least, limit, lease_s)


async def test_members_hold_no_more_places_than_there_are_but_what_they_use_already(pair: Pair) -> None:
    key, (one, other) = fresh(), pair
    assert await one.ask(hold(key, "a", 3)) == c.Held(3, 0)
    assert await other.ask(hold(key, "b", 4)) == c.Held(2, 3)
    assert await one.ask(hold(key, "a", 4)) == c.Held(3, 2)
    assert await one.ask(hold(key, "a", 1, least=1)) == c.Held(1, 2)
    assert await other.ask(hold(key, "b", 9)) == c.Held(4, 1)
    assert await one.ask(hold(key, "a", 3, least=3)) == c.Held(3, 4)
    assert await other.ask(hold(key, "b", 4, least=1, limit=2)) == c.Held(1, 3)
    assert await other.ask(hold(key, "b", 0)) == c.Held(0, 3)
    assert await one.ask(hold(key, "a", 0)) == c.Held(0, 0)


async def test_members_that_ask_at_once_get_all_places_and_no_more(pair: Pair) -> None:
    key = fresh()
    held = await asyncio.gather(*(pair[index % 2].ask(hold(key, f"m{index}", 2, limit=7)) for index in range(20)))
    assert sum(each.count for each in held) == 7


async def test_places_of_a_member_that_fell_silent_are_free_again_and_no_others(pair: Pair) -> None:
    key, (one, other) = fresh(), pair
    await one.ask(hold(key, "silent", 3, lease_s=0.05))
    await one.ask(hold(key, "lives", 1))
    for _ in range(200):
        if (await other.ask(hold(key, "b", 5))).count == 4:
            break
        await asyncio.sleep(0.005)
    assert await other.ask(hold(key, "b", 5)) == c.Held(4, 1)


async def test_an_entry_of_another_kind_is_no_value_and_is_taken_over(pair: Pair) -> None:
    one, _ = pair
    value, counter, level = fresh(), fresh(), fresh()
    bucket = c.Bucket(level, capacity=3, refill_per_s=1e-6, amount=1)
    await one.ask(c.Put(value, b"v", 60))
    await one.ask(c.Count(counter, 1, 60))
    await one.ask(c.Reserve((bucket,)))
    assert await one.ask(c.GetMany((counter, level))) == [None, None]
    assert await one.ask(c.Count(value, 5, 60)) == 5
    assert await one.ask(c.Count(level, 5, 60)) == 5
    assert await one.ask(hold(value, "a", 2)) == c.Held(2, 0)
    assert await one.ask(c.GetMany((value,))) == [None]
    assert await one.ask(c.PutNewer(counter, b"v", 1, 60))
    assert (await one.ask(c.Reserve((c.Bucket(counter, 3, 1, 3),)))).is_granted


REFUSED: dict[str, c.Command[object]] = {
    "no key": c.Get(""),
    "a long key": c.Get("k" * (bounds.MAX_KEY_BYTES + 1)),
    "a key that is not text": c.Get("\ud800"),
    "a long key in many": c.GetMany(("k", "ñ" * bounds.MAX_KEY_BYTES)),
    "many keys": c.Drop(("k",) * (bounds.MAX_KEYS + 1)),
    "a large value": c.Put("k", b"x" * (MAX_VALUE_BYTES + 1), 60),
    "no time": c.Put("k", b"", 0),
    "for ever": c.Put("k", b"", float("inf")),
    "not a time": c.Count("k", 1, float("nan")),
    "version 0": c.PutNewer("k", b"", 0, 60),
    "a version too many": c.PutNewer("k", b"", 2**63, 60),
    "braces in a group": c.Put("k", b"", 60, "a}b{"),
    "a long group": c.DropGroup("g" * 600),
    "no bucket": c.Reserve(()),
    "more than fits": c.Reserve((c.Bucket("k", 1, 1, 2),)),
    "less than nothing": c.Reserve((c.Bucket("k", 1, 1, -1),)),
    "no number": c.Reserve((c.Bucket("k", 1, 1, float("nan")),)),
    "never refilled": c.Settle(c.Bucket("k", 1, 0), 1),
    "no capacity": c.Settle(c.Bucket("k", 0, 1), 1),
    "endless": c.Settle(c.Bucket("k", 1, 1), float("inf")),
    "a bucket twice": c.Reserve((c.Bucket("k", 1, 1, 1), c.Bucket("k", 1, 1, 1))),
    "buckets apart": c.Reserve((c.Bucket("k", 1, 1, 1), c.Bucket("l", 1, 1, 1))),
    "a count too far": c.Count("k", 2**60, 60),
    "a member without a name": hold("k", "", 1),
    "fewer than none": hold("k", "m", -1),
    "a lease for ever": hold("k", "m", 1, lease_s=float("inf")),
    "a limit too high": hold("k", "m", 1, limit=2**60),
    "a command nobody knows": c.Command(),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_out_of_bounds_is_refused(pair: Pair, name: str) -> None:
    with pytest.raises(SharedRefused) as refused:
        await pair[0].ask(REFUSED[name])
    assert refused.value.field in str(refused.value) or name == "a command nobody knows"
    assert await pair[0].ask(c.Get(fresh())) is None


async def test_a_hint_reaches_every_listener_of_its_channel_in_order(pair: Pair) -> None:
    channel = fresh("channel")
    heard: list[list[bytes]] = [[], [], []]
    listening: set[int] = set()

    async def listen(index: int) -> None:
        async with contextlib.aclosing(pair[index % 2].listen(channel)) as hints:  # type: ignore[type-var]  # a generator
            async for hint in hints:
                if hint == b"are you there":
                    listening.add(index)
                    continue
                heard[index].append(hint)
                if hint == b"bye":
                    return

    async def speak() -> None:
        while len(listening) < 3:
            await pair[0].publish(channel, b"are you there")
            await pair[0].publish(channel + "x", b"not for them")
            await asyncio.sleep(0.01)
        for index in range(20):
            await pair[1].publish(channel, b"%d" % index)
        await pair[1].publish(channel, b"bye")

    async with asyncio.timeout(10):
        await asyncio.gather(listen(0), listen(1), listen(2), speak())
    assert heard == [[*(b"%d" % index for index in range(20)), b"bye"]] * 3


async def test_a_hint_that_is_too_large_is_refused(pair: Pair) -> None:
    with pytest.raises(SharedRefused):
        await pair[0].publish("channel", b"x" * (MAX_VALUE_BYTES + 1))
    with pytest.raises(SharedRefused):
        await pair[0].publish("", b"")
    with pytest.raises(SharedRefused):
        pair[0].listen("")


async def test_callers_that_are_cancelled_disturb_no_one(pair: Pair) -> None:
    key = fresh()
    await pair[0].ask(c.Put(key, b"there", 60))
    for _ in range(20):
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(pair[0].ask(c.Get(key))) for _ in range(10)]
            await asyncio.sleep(0)
            for task in asked[::2]:
                task.cancel()
        assert all(task.cancelled() or task.result() == b"there" for task in asked)
        assert [task.result() for task in asked[1::2]] == [b"there"] * 5


async def test_closing_ends_listening_and_refuses_what_comes_after(pair: Pair) -> None:
    one, other = pair

    async def listen() -> None:
        async for _ in one.listen("channel"):
            pass

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(listen())
        await asyncio.sleep(0.01)
        await one.close()
        await other.close()
    with pytest.raises(SharedUnavailable):
        await one.ask(c.Get("k"))
    with pytest.raises(SharedUnavailable):
        await one.publish("channel", b"")
    await one.close()
