from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.coordination.shared_conformance import *  # noqa: F403
from tests.coordination.shared_conformance import MAX_VALUE_BYTES, Pair
from tests.valkey_process import ValkeyProcess, valkey

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.telemetry.metrics import Metrics


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@pytest.fixture
async def pair(server: ValkeyProcess) -> AsyncIterator[Pair]:
    members = [
        RedisShared(
            f"redis://127.0.0.1:{server.port}", clock=SystemClock(), rng=Rng(1), metrics=Metrics(),
            timeout_s=2.0, max_value_bytes=MAX_VALUE_BYTES,
        )
        for _ in range(2)
    ]  # fmt: skip
    for member in members:
        await member.open()
    yield members[0], members[1]
    for member in members:
        await member.close()
