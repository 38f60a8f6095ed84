"""How many wrong guesses an address may make before nobody listens to it for a while. Pure, and bounded.

Each address has `guesses`, one of which comes back every `every_s`; of IPv6 a /64 is one address, for that is what one
caller is given. Of addresses beyond `max_addresses` the one that guessed longest ago is forgotten. A bucket of all
addresses together slows those that guessed wrong lately, and only them: nobody is refused for what others do.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from ngx_agents.clock import Clock
from ngx_agents.resilience.token_bucket import TokenBucket


class Lockout:
    def __init__(
        self,
        clock: Clock,
        *,
        guesses: int = 20,
        every_s: float = 3.0,
        max_addresses: int = 10_000,
        all_per_minute: float = 6_000.0,
    ) -> None:
        self._now_s = clock.monotonic_s
        self._guesses = guesses
        self._every_s = every_s
        self._max_addresses = max_addresses
        self._free_at_s: OrderedDict[str, float] = OrderedDict()
        self._all = TokenBucket(per_minute=all_per_minute, clock=clock, capacity=all_per_minute / 10)

    def __len__(self) -> int:
        return len(self._free_at_s)

    def wait_s(self, address: str) -> float:
        """Seconds until it may guess again; 0 when it may now."""
        free_at_s, now_s = self._free_at_s.get(_place(address)), self._now_s()
        if free_at_s is None or now_s >= free_at_s + self._guesses * self._every_s:
            return 0.0
        ahead_s = free_at_s - now_s - (self._guesses - 1) * self._every_s
        return max(0.0, ahead_s, self._all.wait_s(1.0))

    def guessed(self, address: str) -> None:
        """It guessed wrong."""
        now_s, place = self._now_s(), _place(address)
        self._all.settle(-1.0)
        self._free_at_s[place] = max(now_s, self._free_at_s.get(place, now_s)) + self._every_s
        self._free_at_s.move_to_end(place)
        if len(self._free_at_s) > self._max_addresses:
            self._free_at_s.popitem(last=False)


def _place(address: str) -> str:
    """What counts as one: an IPv4 address, however it is written, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{int(found) >> 64:x}/64"
