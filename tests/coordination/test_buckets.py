"""The arithmetic, and that the script in Redis is the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.coordination import buckets as b
from ngx_agents.coordination import commands as c
from ngx_agents.coordination import scripts
from ngx_agents.coordination.local_shared import LocalShared
from tests.resilience.hand_clock import HandClock
from tests.valkey_process import ValkeyProcess, valkey

few = settings(max_examples=40, deadline=None)  # each example costs an event loop's turn on a shared machine
KEYS = ("a{t}", "b{t}")
capacities = st.floats(0.5, 1e6)
rates = st.floats(1e-3, 1e5)
shares = st.floats(0, 1)
# (seconds that pass, share of each capacity that is wanted, tokens that are settled afterwards)
steps = st.lists(st.tuples(st.floats(0, 100), shares, shares, st.floats(-1e6, 1e6)), max_size=20)


@few
@given(capacity=capacities, rate=rates, steps=steps)
async def test_no_more_is_granted_than_was_there_and_came_in(
    capacity: float, rate: float, steps: list[tuple[float, float, float, float]]
) -> None:
    clock = HandClock()
    shared = LocalShared(clock)
    start_s, granted = clock.monotonic_s(), 0.0
    for passed_s, share, other_share, _ in steps:
        clock.at_s += passed_s
        one = c.Bucket(KEYS[0], capacity, rate, share * capacity)
        other = c.Bucket(KEYS[1], 10.0, 1e-3, other_share * 10.0)
        answer = await shared.ask(c.Reserve((one, other)))
        granted += one.amount if answer.is_granted else 0.0
        most = capacity + rate * (clock.monotonic_s() - start_s)
        assert granted <= most * (1 + 1e-9)


@few
@given(capacity=capacities, rate=st.floats(0.1, 1e5), share=st.floats(0.01, 1), spent=st.floats(0, 1e6))
async def test_after_the_wait_it_fits_and_before_it_does_not(
    capacity: float, rate: float, share: float, spent: float
) -> None:
    clock = HandClock()
    shared = LocalShared(clock)
    bucket = c.Bucket("k", capacity, rate, share * capacity)
    await shared.ask(c.Settle(bucket, spent))
    wait_s = (await shared.ask(c.Reserve((bucket,)))).wait_s
    if wait_s > 1e-3:
        clock.at_s += wait_s * 0.99 - 1e-5
        assert not (await shared.ask(c.Reserve((bucket,)))).is_granted
        clock.at_s += wait_s * 0.02 + 2e-5
        assert (await shared.ask(c.Reserve((bucket,)))).is_granted


@few
@given(capacity=capacities, rate=rates, steps=steps)
async def test_a_level_never_exceeds_the_capacity_and_what_is_not_granted_takes_nothing(
    capacity: float, rate: float, steps: list[tuple[float, float, float, float]]
) -> None:
    clock = HandClock()
    shared = LocalShared(clock)
    for passed_s, share, _, delta in steps:
        clock.at_s += passed_s
        bucket = c.Bucket("k", capacity, rate, share * capacity)
        assert await shared.ask(c.Settle(bucket, delta)) <= capacity
        before = await shared.ask(c.Settle(bucket, 0))
        answer = await shared.ask(c.Reserve((bucket,)))
        after = await shared.ask(c.Settle(bucket, 0))
        assert after == (before - bucket.amount if answer.is_granted else before)


def test_a_clock_that_goes_back_refills_nothing_and_does_not_stand_still_for_long() -> None:
    bucket = c.Bucket("k", capacity=10, refill_per_s=1, amount=5)
    _, [level] = b.reserve([b.Level(5.0, 3_600_000_000)], [bucket], 0)
    assert level == b.Level(0.0, 0)
    assert b.refilled(level, bucket, 2_000_000) == 2.0


def test_a_level_is_kept_until_the_bucket_is_full_again() -> None:
    bucket = c.Bucket("k", capacity=10, refill_per_s=2)
    assert b.keep_s(b.Level(10.0, 0), bucket) == 1
    assert b.keep_s(b.Level(0.0, 0), bucket) == 6
    assert b.keep_s(b.Level(-1e15, 0), c.Bucket("k", 1, 1e-6)) == b.MAX_TTL_S + 1


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


def run(
    server: ValkeyProcess, script: scripts.Script, keys: tuple[str, ...], numbers: list[float]
) -> tuple[float, int]:
    """(what it says, the server's microseconds)"""
    told = server.say("EVAL", script.text, str(len(keys)), *keys, *map(repr, numbers))
    assert told.startswith(b"*3"), told
    parts = told.split(b"\r\n")
    assert parts[5] == b":0"
    return float(parts[2]), int(parts[4])


def stored(server: ValkeyProcess, key: str) -> float:
    return float(server.say("HGET", key, "tokens").split(b"\r\n")[1])


@settings(max_examples=25, deadline=None)
@given(
    capacity=st.tuples(capacities, capacities), rate=st.tuples(rates, st.floats(1e3, 1e9)),
    steps=st.lists(st.tuples(shares, shares, st.floats(-1e6, 1e6)), min_size=1, max_size=6),
)  # fmt: skip
def test_the_script_gives_the_same_numbers_to_the_last_bit(
    server: ValkeyProcess,
    capacity: tuple[float, float],
    rate: tuple[float, float],
    steps: list[tuple[float, float, float]],
) -> None:
    server.say("FLUSHALL")
    levels: list[b.Level | None] = [None, None]
    for share, other_share, delta in steps:
        wanted = zip(KEYS, capacity, rate, (share, other_share), strict=True)
        buckets = [c.Bucket(key, most, per_s, part * most) for key, most, per_s, part in wanted]
        numbers = [number for each in buckets for number in (each.capacity, each.refill_per_s, each.amount)]
        said, now_us = run(server, scripts.RESERVE, KEYS, numbers)
        wait_s, after = b.reserve(levels, buckets, now_us)
        assert said == wait_s
        assert [stored(server, key) for key in KEYS] == [level.tokens for level in after]
        first = buckets[0]
        said, now_us = run(server, scripts.SETTLE, KEYS[:1], [first.capacity, first.refill_per_s, delta])
        settled = b.settle(after[0], first, delta, now_us)
        assert said == settled.tokens
        levels = [settled, after[1]]
        left_ms = int(server.say("PTTL", KEYS[0])[1:])
        assert b.keep_s(settled, first) * 1000 - 2000 < left_ms <= b.keep_s(settled, first) * 1000
