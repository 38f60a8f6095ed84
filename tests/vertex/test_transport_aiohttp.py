from __future__ import annotations

from ngx_agents.clock import SystemClock
from ngx_agents.vertex.transport import ConnectionSettings, Transport
from ngx_agents.vertex.transport_aiohttp import AiohttpTransport
from tests.vertex.transport_conformance import TransportConformance
from tests.vertex.wire_server import Wire


class TestAiohttpTransport(TransportConformance):
    def make(self, size: int, settings: ConnectionSettings) -> Transport:
        return AiohttpTransport(connection_pool_size=size, clock=SystemClock(), on_wait=_ignore, connections=settings)


class TestAiohttpTransportOverTls(TestAiohttpTransport):
    """The server would speak HTTP/2 and is asked for HTTP/1.1."""

    wire: Wire = "tls-h2"


def _ignore(waited_s: float) -> None:
    assert waited_s >= 0
