"""The carrier over Redis Streams, on one real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.a2a.carrier_conformance import *  # noqa: F403
from tests.valkey_process import ValkeyProcess, valkey

from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@pytest.fixture
def connect(server):
    return lambda: RedisCarrier(
        f"redis://127.0.0.1:{server.port}", clock=SystemClock(), rng=Rng(), metrics=Metrics(), lease_s=0.5
    )
