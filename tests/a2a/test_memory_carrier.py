"""The carrier within one process."""

from __future__ import annotations

import pytest

from ngx_agents.a2a.memory_carrier import Exchange, MemoryCarrier
from tests.a2a.carrier_conformance import *  # noqa: F403


@pytest.fixture
def connect():
    exchange = Exchange()
    return lambda: MemoryCarrier(exchange)
