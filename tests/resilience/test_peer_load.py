from __future__ import annotations

from tests.resilience.hand_clock import HandClock

from ngx_agents.resilience import peer_load
from ngx_agents.resilience.peer_load import PeerLoad, PeerLoads
from ngx_agents.resilience.priority import EVERYBODY


def load(instance: str, threshold: int) -> PeerLoad:
    return PeerLoad(instance=instance, threshold=threshold, load=1.0, waiting=0)


def test_the_most_generous_of_those_heard_of_lately_counts() -> None:
    clock = HandClock()
    peers = PeerLoads(clock=clock)
    assert peers.threshold == EVERYBODY
    peers.heard(load("a", 120))
    clock.advance(3.0)
    peers.heard(load("b", 90))
    assert peers.threshold == 120
    clock.advance(3.0)
    assert peers.threshold == 90
    clock.advance(3.0)
    assert peers.threshold == EVERYBODY


def test_who_is_remembered_is_bounded() -> None:
    peers = PeerLoads(clock=HandClock())
    for number in range(peer_load.MAX_PEERS + 10):
        peers.heard(load(f"i{number}", 1))
    assert len(peers.loads) == peer_load.MAX_PEERS
