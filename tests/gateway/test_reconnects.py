"""A crowd of clients that lost their server at the same moment comes back spread out; a few come back at once."""

from __future__ import annotations

from collections import Counter

from ngx_agents.clock import Rng
from ngx_agents.gateway.reconnects import LEAST_S, PER_S, Reconnects, reconnect_ms
from ngx_agents.telemetry.metrics import Metrics

CROWD = 2000


def test_two_thousand_clients_come_back_at_the_rate_that_a_server_bears() -> None:
    rng = Rng(7)
    back_ms = [reconnect_ms(CROWD, rng.random()) for _ in range(CROWD)]
    in_each_quarter_second = Counter(ms // 250 for ms in back_ms)
    assert max(in_each_quarter_second.values()) < 1.4 * PER_S / 4
    assert max(back_ms) <= 1000 * (LEAST_S + CROWD / PER_S)


def test_a_single_client_does_not_wait_for_a_crowd_that_is_not_there() -> None:
    assert reconnect_ms(1, 0.999) < 110


def test_open_streams_are_counted_and_decide() -> None:
    metrics = Metrics()
    reconnects = Reconnects(metrics, Rng(3))
    for _ in range(CROWD):
        reconnects.opened()
    told = {reconnects.line() for _ in range(50)}
    assert len(told) > 40
    assert b"ngx_streams_open 2000.0" in metrics.render()
    for _ in range(CROWD):
        reconnects.closed()
    assert reconnects.line() == b"retry: 100\n"
