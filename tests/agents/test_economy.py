from __future__ import annotations

import pytest

from ngx_agents.agents.economy import KEPT, PLENTY, Economy, economy_of
from ngx_agents.resilience.modes import Mode
from ngx_agents.vertex.content import ModelRequest

REQUEST = ModelRequest(system="s", contents=(), deadline_s=1.0)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_critical_go_without_nothing(mode: Mode) -> None:
    assert economy_of(mode, 0, cheaper_model="small") is PLENTY


@pytest.mark.parametrize(
    ("mode", "turn_class", "expected"),
    [
        (Mode.NORMAL, 3, PLENTY),
        (Mode.DEGRADED_1, 3, PLENTY),
        (Mode.DEGRADED_2, 1, Economy(max_agents=2, history_tokens=1000, max_output_tokens=512)),
        (Mode.DEGRADED_3, 1, Economy(max_agents=1, history_tokens=1000, max_output_tokens=512, model="small")),
        (Mode.DEGRADED_4, 1, Economy(max_agents=1, history_tokens=1000, max_output_tokens=512, model="small")),
        (Mode.DEGRADED_4, 2, KEPT),
        (Mode.DEGRADED_4, 3, KEPT),
    ],
)
def test_each_mode_takes_more_from_the_less_urgent(mode: Mode, turn_class: int, expected: Economy) -> None:
    assert economy_of(mode, turn_class, cheaper_model="small") == expected


def test_a_request_is_only_ever_made_smaller() -> None:
    economy = Economy(max_output_tokens=512)
    assert economy.applied(REQUEST).max_output_tokens == 512
    asked = ModelRequest(system="s", contents=(), deadline_s=1.0, max_output_tokens=100, model="own")
    assert (economy.applied(asked).max_output_tokens, economy.applied(asked).model) == (100, "own")
    assert PLENTY.applied(REQUEST) is REQUEST
    assert KEPT.applied(REQUEST).only_kept
    assert (PLENTY.is_on, economy.is_on, KEPT.is_on) == (False, True, True)
    assert (economy.of_history(3000), Economy(history_tokens=1000).of_history(3000)) == (3000, 1000)
