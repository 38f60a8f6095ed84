"""The carrier over a Redis cluster of six real nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics
from tests.a2a import kill
from tests.a2a.carrier_conformance import *  # noqa: F403
from tests.a2a.teams import KEYS
from tests.valkey_process import ValkeyProcess, valkey_cluster


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ValkeyProcess]]:
    with valkey_cluster() as nodes:
        yield nodes


def url_of(nodes: list[ValkeyProcess]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes[:2])


@pytest.fixture
def connect(nodes):
    return lambda: RedisCarrier(
        url_of(nodes), keys=KEYS, clock=SystemClock(), rng=Rng(), metrics=Metrics(), lease_s=0.5
    )


@pytest.mark.slow
async def test_messages_go_on_after_the_failover_of_a_node():
    with valkey_cluster() as nodes:
        await kill.messages_go_on_after_a_failover(url_of(nodes), nodes[0].kill)


@pytest.mark.slow
async def test_a_killed_process_costs_no_request_its_answer_and_none_gets_two(nodes):
    await kill.every_request_is_answered_once_or_fails_typed_in_time(url_of(nodes))
