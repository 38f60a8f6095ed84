"""What the instances tell one another of their gates, for those who let in what others run. Pure.

Where any of the others has room, a turn can run there: so the most generous threshold counts. Of who has been silent
for a few seconds nothing is known; where nothing is known, nothing is refused for it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.resilience.priority import EVERYBODY

SILENT_S = 5.0
MAX_PEERS = 1000


class PeerLoad(msgspec.Struct, frozen=True, kw_only=True):
    """`threshold`: newcomers up to this level are let in. `load` is what is in flight in parts of the bound."""

    instance: Annotated[str, msgspec.Meta(max_length=64)]
    threshold: Annotated[int, msgspec.Meta(ge=0, le=EVERYBODY)]
    load: float
    waiting: int


_decode = msgspec.json.Decoder(PeerLoad).decode


class PeerLoads:
    """At most `MAX_PEERS`; the one heard of longest ago goes."""

    def __init__(self, *, clock: Clock) -> None:
        self._now_s = clock.monotonic_s
        self._heard: dict[str, tuple[float, PeerLoad]] = {}

    def told(self, payload: bytes) -> bool:
        """`heard` of what another instance said in JSON; False for what cannot be read, which changes nothing."""
        try:
            load = _decode(payload)
        except msgspec.DecodeError:
            return False
        self.heard(load)
        return True

    def heard(self, load: PeerLoad) -> None:
        self._heard.pop(load.instance, None)
        self._heard[load.instance] = self._now_s(), load
        if len(self._heard) > MAX_PEERS:
            del self._heard[next(iter(self._heard))]

    @property
    def loads(self) -> list[PeerLoad]:
        """Of those heard of lately."""
        since_s = self._now_s() - SILENT_S
        return [load for at_s, load in self._heard.values() if at_s >= since_s]

    @property
    def threshold(self) -> int:
        """Down to which level somebody lets in."""
        return max((load.threshold for load in self.loads), default=EVERYBODY)
