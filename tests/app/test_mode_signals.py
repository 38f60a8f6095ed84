from __future__ import annotations

import pytest

from ngx_agents.app.mode_signals import modes_of
from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.resilience.modes import Mode

FIRST = ("global", "m")
Breakers = dict[tuple[str, str], BreakerState]


@pytest.mark.parametrize(
    ("breakers", "model", "region"),
    [
        ({}, Mode.NORMAL, Mode.NORMAL),
        ({("local", "small"): "closed"}, Mode.NORMAL, Mode.NORMAL),
        ({FIRST: "closed", ("eu", "m"): "closed"}, Mode.NORMAL, Mode.NORMAL),
        ({FIRST: "open", ("eu", "m"): "closed"}, Mode.DEGRADED_1, Mode.DEGRADED_1),
        ({FIRST: "open", ("global", "n"): "closed", ("eu", "m"): "closed"}, Mode.DEGRADED_1, Mode.NORMAL),
        ({FIRST: "open"}, Mode.DEGRADED_4, Mode.NORMAL),
        ({FIRST: "open", ("eu", "m"): "forced_open"}, Mode.DEGRADED_4, Mode.NORMAL),
        ({FIRST: "half_open", ("eu", "m"): "closed"}, Mode.NORMAL, Mode.NORMAL),
    ],
)
def test_what_breakers_ask_for(breakers: Breakers, model: Mode, region: Mode) -> None:
    assert modes_of(FIRST, breakers) == (model, region)
