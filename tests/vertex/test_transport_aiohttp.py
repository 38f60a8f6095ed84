from __future__ import annotations

from tests.vertex.transport_conformance import TransportConformance

from ngx_agents.clock import SystemClock
from ngx_agents.vertex.transport import Transport
from ngx_agents.vertex.transport_aiohttp import AiohttpTransport


class TestAiohttpTransport(TransportConformance):
    def make(self, size: int) -> Transport:
        return AiohttpTransport(connection_pool_size=size, clock=SystemClock(), on_wait=_ignore)


def _ignore(waited_s: float) -> None:
    assert waited_s >= 0
