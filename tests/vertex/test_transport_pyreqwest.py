from __future__ import annotations

from tests.vertex.transport_conformance import TransportConformance

from ngx_agents.clock import SystemClock
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.vertex.transport import Transport
from ngx_agents.vertex.transport_pyreqwest import PyreqwestTransport


class TestPyreqwestTransport(TransportConformance):
    def make(self, size: int) -> Transport:
        return PyreqwestTransport(
            connection_pool_size=size, http2="auto", clock=SystemClock(), courtesy=Courtesy(), on_wait=_ignore
        )


def _ignore(waited_s: float) -> None:
    assert waited_s >= 0
