"""When a connection is overdue, and how many may come in."""

from __future__ import annotations

import pytest

from ngx_agents.app.door import Bounds, Door, Phase, Progress, networks, overdue
from ngx_agents.telemetry.metrics import Metrics

BOUNDS = Bounds(
    max_connections=4, max_per_address=2, header_s=10.0, body_bytes_per_s=500, stalled_s=30.0,
    exempt=networks(["10.0.0.0/8"]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("progress", "fed_bytes", "now_s", "bound"),
    [
        (Progress(0.0, Phase.HEAD), 100, 10.0, None),
        (Progress(0.0, Phase.HEAD), 100, 10.1, "header_time"),
        (Progress(0.0, Phase.OPEN), 100, 1e6, None),
        (Progress(0.0, Phase.BODY, fed_bytes=100), 100, 10.0, None),
        (Progress(0.0, Phase.BODY, fed_bytes=100), 6_099, 12.0, "body_rate"),
        (Progress(0.0, Phase.BODY, fed_bytes=100), 6_100, 12.0, None),
        (Progress(0.0, Phase.OPEN, stalled_since_s=100.0), 0, 130.0, None),
        (Progress(0.0, Phase.OPEN, stalled_since_s=100.0), 0, 130.1, "stalled"),
    ],
)
def test_a_phase_has_its_time(progress: Progress, fed_bytes: int, now_s: float, bound: str | None) -> None:
    assert overdue(progress, fed_bytes, BOUNDS, now_s) == bound


def test_as_many_come_in_as_there_is_room_for_and_no_address_takes_all_of_it() -> None:
    metrics = Metrics()
    door = Door(BOUNDS, metrics, lambda: 0.0)
    assert [door.enter("192.0.2.1") for _ in range(3)] == [None, None, "address"]
    door.leave("192.0.2.1")
    assert [door.enter("192.0.2.2"), door.enter("192.0.2.3")] == [None, None]
    assert door.enter("192.0.2.4") == "connections"
    assert b"ngx_connections_open 5.0" in metrics.render()


def test_a_trusted_proxy_may_bring_all_of_them() -> None:
    door = Door(BOUNDS, Metrics(), lambda: 0.0)
    assert [door.enter("10.1.2.3") for _ in range(4)] == [None] * 4
    assert door.enter("10.1.2.3") == "connections"


def test_what_is_a_network_and_what_is_not() -> None:
    assert [str(each) for each in networks(["10.0.0.0/8", "::1"])] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(ValueError, match="does not appear to be"):
        networks(["proxy.local"])
