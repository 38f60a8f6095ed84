from __future__ import annotations

from ngx_agents.resilience import fair_order
from ngx_agents.resilience.fair_order import FairOrder


def test_tenants_take_turns_however_much_each_has_waiting() -> None:
    order = FairOrder()
    waiting = sorted([(order.tag("loud"), number, "loud") for number in range(5)] + [(order.tag("quiet"), 9, "quiet")])
    assert [name for _, _, name in waiting] == ["loud", "quiet", "loud", "loud", "loud", "loud"]


def test_who_comes_back_has_saved_nothing_up() -> None:
    order = FairOrder()
    for _ in range(5):
        order.served(order.tag("busy"))
    assert order.tag("new") == 4
    assert order.tag("new") == 5


def test_it_is_bounded() -> None:
    order = FairOrder()
    for number in range(fair_order.MAX_TENANTS + 10):
        order.tag(f"t{number}")
    assert len(order._last) <= fair_order.MAX_TENANTS
