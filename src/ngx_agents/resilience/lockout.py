"""How many wrong guesses an address may make before nobody listens to it for a while. Pure, and bounded.

Each address has `guesses`, one of which comes back every `every_s`. Of addresses beyond `max_addresses` the one that
guessed longest ago is forgotten; all addresses together are bounded by a bucket of their own, so that who has many
addresses gets no further than who has few.
"""

from __future__ import annotations

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
        free_at_s = self._free_at_s.get(address)
        if free_at_s is None:
            return self._all.wait_s(1.0)
        ahead_s = free_at_s - self._now_s() - (self._guesses - 1) * self._every_s
        return max(0.0, ahead_s, self._all.wait_s(1.0))

    def guessed(self, address: str) -> None:
        """It guessed wrong."""
        now_s = self._now_s()
        self._all.settle(-1.0)
        self._free_at_s[address] = max(now_s, self._free_at_s.get(address, now_s)) + self._every_s
        self._free_at_s.move_to_end(address)
        if len(self._free_at_s) > self._max_addresses:
            self._free_at_s.popitem(last=False)
