"""Configured quota: never exceeded by all instances together, mostly without a round trip, kept alone when it must."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.commands import Bucket, Reserve
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import ConfigError, ModelThrottled
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.quota import Quota, QuotaLimit, Quotas
from ngx_agents.vertex.quota_lease import Lease
from tests.resilience.hand_clock import HandClock
from tests.valkey_process import ValkeyProcess

CLOCK = SystemClock()


def quota_of(shared: Shared, *, instances: int = 1, metrics: Metrics | None = None, **limit: float) -> Quota:
    quotas = Quotas(
        [QuotaLimit(**limit)], shared=shared, clock=CLOCK, metrics=metrics or Metrics(), instances=instances
    )
    quota = quotas.of("p", "global", "flash")
    assert quota is not None
    return quota


def soon(seconds: float = 2.0) -> float:
    return CLOCK.monotonic_s() + seconds


def count(metrics: Metrics, how: str) -> float:
    text = metrics.render().decode()
    line = next(line for line in text.splitlines() if line.startswith(f'ngx_model_quota_total{{how="{how}"}}'))
    return float(line.split()[-1])


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ngx-quota-") as folder, ValkeyProcess(Path(folder)) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@asynccontextmanager
async def redis(url: str) -> AsyncIterator[RedisShared]:
    shared = RedisShared(url, clock=CLOCK, rng=Rng(1), metrics=Metrics(), timeout_s=1.0)
    await shared.open()
    try:
        yield shared
    finally:
        await shared.close()


async def granted(quota: Quota, tokens: float, seconds: float = 0.01) -> bool:
    try:
        await quota.reserve(tokens, deadline_s=soon(seconds))
    except ModelThrottled:
        return False
    return True


async def test_without_a_limit_there_is_nothing_to_ask() -> None:
    shared = LocalShared(CLOCK)
    assert Quotas([], shared=shared, clock=CLOCK, metrics=Metrics()).of("p", "eu", "m") is None
    limits = [QuotaLimit(model="pro*", requests_per_min=5), QuotaLimit(location="eu")]
    quotas = Quotas(limits, shared=shared, clock=CLOCK, metrics=Metrics())
    assert quotas.of("p", "us", "flash") is None
    assert quotas.of("p", "eu", "flash") is None
    assert quotas.of("p", "us", "pro-1") is quotas.of("p", "us", "pro-1")
    assert quotas.of("p", "us", "pro-1") is not quotas.of("p", "us", "pro-2")


async def test_requests_beyond_the_limit_are_refused_with_the_time_until_they_fit() -> None:
    quota = quota_of(LocalShared(CLOCK), requests_per_min=60.0)  # a bucket of 3, 54 a minute
    assert [await granted(quota, 0) for _ in range(4)] == [True, True, True, False]
    with pytest.raises(ModelThrottled) as refusal:
        await quota.reserve(0, deadline_s=soon(0.5))
    assert refusal.value.kind == "quota"
    assert refusal.value.retry_after_s == pytest.approx(60 / 54, abs=0.3)


async def test_who_has_the_time_waits_until_it_fits() -> None:
    quota = quota_of(LocalShared(CLOCK), requests_per_min=1200.0)  # a bucket of 60, 18 a second
    for _ in range(60):
        assert await granted(quota, 0)
    began_s = CLOCK.monotonic_s()
    assert await granted(quota, 0, 2.0)
    assert 0.02 <= CLOCK.monotonic_s() - began_s < 1.0


async def test_most_reservations_cost_no_round_trip() -> None:
    metrics = Metrics()
    quota = quota_of(LocalShared(CLOCK), metrics=metrics, requests_per_min=60_000.0, tokens_per_min=6_000_000.0)
    for _ in range(1000):
        (await quota.reserve(100, deadline_s=soon())).settle(100)
    assert count(metrics, "leased") >= 980
    assert count(metrics, "shared") <= 10


async def test_what_was_not_used_serves_the_next_ones_and_what_was_overdrawn_is_paid() -> None:
    quota = quota_of(LocalShared(CLOCK), tokens_per_min=20_000.0)  # a bucket of 1000, 300 a second
    grant = await quota.reserve(1000, deadline_s=soon())
    assert not await granted(quota, 400)
    grant.settle(200)
    grant.settle(0)
    grant.give_back()
    assert await granted(quota, 400)
    await asyncio.sleep(0.05)
    over = await quota.reserve(10, deadline_s=soon())
    over.settle(600)
    with pytest.raises(ModelThrottled) as refusal:
        await quota.reserve(10, deadline_s=soon(0.1))
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s < 3.0


async def test_a_call_that_was_not_made_gives_its_request_back() -> None:
    quota = quota_of(LocalShared(CLOCK), requests_per_min=10.0)  # a bucket of 1
    grant = await quota.reserve(0, deadline_s=soon())
    assert not await granted(quota, 0)
    grant.give_back()
    assert await granted(quota, 0)


async def test_a_call_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off() -> None:
    quota = quota_of(LocalShared(CLOCK), tokens_per_min=20_000.0)
    assert await granted(quota, 1900)
    with pytest.raises(ModelThrottled) as refusal:
        await quota.reserve(1, deadline_s=soon(0.5))
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s > 2.0


async def test_the_more_urgent_pass_those_who_wait() -> None:
    quota = quota_of(LocalShared(CLOCK), tokens_per_min=20_000.0)
    assert await granted(quota, 1000)
    served: list[int] = []

    async def call(urgency: int) -> None:
        await quota.reserve(60, urgency=urgency, deadline_s=soon(10.0))
        served.append(urgency)

    async with asyncio.timeout(10.0), asyncio.TaskGroup() as tasks:
        tasks.create_task(call(3))
        await asyncio.sleep(0.01)
        for urgency in (2, 0, 1):
            tasks.create_task(call(urgency))
    assert served.index(0) < served.index(1) < served.index(2)
    assert served.index(0) < served.index(3)


async def test_many_who_wait_for_the_less_urgent_do_not_refuse_a_critical_call() -> None:
    quota = quota_of(LocalShared(CLOCK), tokens_per_min=20_000.0)
    assert await granted(quota, 1000)
    async with asyncio.timeout(10.0), asyncio.TaskGroup() as tasks:
        crowd = [tasks.create_task(quota.reserve(900, urgency=3, deadline_s=soon(600.0))) for _ in range(100)]
        await asyncio.sleep(0.01)
        await quota.reserve(30, urgency=0, deadline_s=soon(3.0))
        for task in crowd:
            task.cancel()


async def test_cancelled_callers_pass_their_turn_on() -> None:
    quota = quota_of(LocalShared(CLOCK), tokens_per_min=200_000.0)  # a bucket of 10,000, 3,000 a second
    assert await granted(quota, 10_000)
    done: list[int] = []

    async def call(number: int) -> None:
        await quota.reserve(30, deadline_s=soon(5.0))
        done.append(number)

    async with asyncio.timeout(10.0), asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(call(number)) for number in range(60)]
        for number, task in enumerate(calls):
            if number % 3 == 0:
                await asyncio.sleep(0)
                task.cancel()
    assert len(done) == 40


async def test_instances_together_never_exceed_the_limit(redis_url: str) -> None:
    metrics = [Metrics() for _ in range(4)]
    async with AsyncExitStack() as stack:
        quotas = [
            quota_of(
                await stack.enter_async_context(redis(redis_url)), instances=4, metrics=each, requests_per_min=6000.0
            )
            for each in metrics
        ]
        began_s = CLOCK.monotonic_s()
        served = 0

        async def call_for(quota: Quota, seconds: float) -> None:
            nonlocal served
            end_s = CLOCK.monotonic_s() + seconds
            while CLOCK.monotonic_s() < end_s:
                try:
                    await quota.reserve(0, deadline_s=end_s)
                except ModelThrottled:
                    return
                served += 1

        async with asyncio.TaskGroup() as tasks:
            for quota in quotas:
                tasks.create_task(call_for(quota, 1.0))
                tasks.create_task(call_for(quota, 1.0))
        passed_s = CLOCK.monotonic_s() - began_s
    assert served <= 300 + 90 * (passed_s + 0.1)
    assert served >= 300
    assert sum(count(each, "leased") for each in metrics) >= 0.5 * 300


async def test_while_what_instances_share_is_away_each_keeps_its_own_share() -> None:
    metrics = Metrics()
    shared = LocalShared(CLOCK)
    await shared.close()
    quota = quota_of(shared, instances=4, metrics=metrics, requests_per_min=2400.0)  # a bucket of 120: 30 for each
    served = sum([await granted(quota, 0) for _ in range(100)])
    assert 30 <= served <= 45
    assert count(metrics, "local") >= 30
    assert await granted(quota, 0, 2.0)


async def test_when_the_server_is_killed_calls_go_on_and_return_to_it_afterwards() -> None:
    with tempfile.TemporaryDirectory(prefix="ngx-quota-") as folder, ValkeyProcess(Path(folder)) as server:
        metrics = Metrics()
        async with redis(f"redis://127.0.0.1:{server.port}/0") as shared:
            quota = quota_of(shared, instances=2, metrics=metrics, requests_per_min=600.0)
            assert await granted(quota, 0, 2.0)
            assert count(metrics, "shared") == 1
            server.kill()
            served = sum([await granted(quota, 0, 1.0) for _ in range(15)])
            assert served >= 12
            assert count(metrics, "local") >= 1


def test_limits_that_cannot_work_are_refused() -> None:
    shared = LocalShared(CLOCK)
    with pytest.raises(ConfigError):
        Quotas([QuotaLimit(tokens_per_min=0)], shared=shared, clock=CLOCK, metrics=Metrics())
    with pytest.raises(ConfigError):
        Quotas([], shared=shared, clock=CLOCK, metrics=Metrics(), instances=0)


class SharedBucket:
    """The arithmetic of the shared bucket, driven by a hand clock through the real LocalShared."""

    def __init__(self, clock: HandClock) -> None:
        self._shared = LocalShared(clock)

    def reserve(self, bucket: Bucket) -> bool:
        coroutine = self._shared.ask(Reserve((bucket,)))
        try:
            coroutine.send(None)
        except StopIteration as end:
            return bool(end.value.is_granted)
        raise AssertionError("it waited")


@given(
    instances=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 2.0), st.floats(0.0, 200.0)), max_size=150),
)
def test_no_minute_ever_sees_more_than_the_limit(instances: int, steps: list[tuple[int, float, float]]) -> None:
    clock = HandClock()
    shared = SharedBucket(clock)
    limit = 2000.0
    leases = [Lease("k", limit, instances=instances, clock=clock) for _ in range(instances)]
    used: list[tuple[float, float]] = []
    for who, pause_s, amount in steps:
        clock.at_s += pause_s
        lease = leases[who % instances]
        amount = min(amount, 100.0)
        if not lease.has(amount):
            bucket = lease.bucket(amount, is_scarce=False)
            if shared.reserve(bucket):
                lease.reserved(bucket.amount)
        if lease.has(amount):
            lease.take(amount)
            lease.returned(amount / 4)
            used.append((clock.at_s, amount * 3 / 4))
        assert sum(each for when, each in used if when > clock.at_s - 60.0) <= limit + 1e-6
