"""What one instance holds of a limit per minute that all instances share: small amounts, taken ahead. Pure arithmetic.

Numbers, for a limit L per minute (20 or more) and n instances: the shared bucket holds L/20 and fills with 0.9 L a
minute; an instance leases a batch of 1/(2n) of the bucket ahead, holds at most two, and forgets what it did not use for
three seconds: the bucket has refilled by then. So in any minute at most L pass: bucket, refill and all leases. A call
larger than the bucket passes when the bucket is full; what is missing is paid off before the next one.
"""

from __future__ import annotations

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import Bucket
from ngx_agents.resilience.token_bucket import TokenBucket

MINUTE_S = 60.0
BURST_SHARE = 1 / 20  # of a minute's worth may be used at once
BATCH_SHARE = 1 / 2  # of the bucket may be leased ahead by all instances together
MOST_BATCHES = 2
LEASE_S = 3.0


class Lease:
    """One bucket. `balance` may be negative: then more was used than reserved."""

    __slots__ = ("_batch", "_capacity", "_fresh_until_s", "_key", "_local", "_now_s", "balance", "refill_per_s")

    def __init__(self, key: str, per_min: float, *, instances: int, clock: Clock) -> None:
        self._key = key
        self._capacity = max(1.0, per_min * BURST_SHARE)
        usable_per_min = max(per_min / 2, per_min - (1 + MOST_BATCHES * BATCH_SHARE) * self._capacity)
        self.refill_per_s = usable_per_min / MINUTE_S
        self._batch = float(int(self._capacity * BATCH_SHARE / instances))
        self._now_s = clock.monotonic_s
        self._fresh_until_s = 0.0
        self.balance = 0.0
        share = max(1.0, self._capacity / instances)
        self._local = TokenBucket(per_minute=usable_per_min / instances, clock=clock, capacity=share)

    def has(self, amount: float) -> bool:
        """Whether a call of that amount may be made from what is held."""
        if self.balance > 0.0 and self._now_s() > self._fresh_until_s:
            self.balance = 0.0
        return self.balance >= min(amount, self._capacity)

    def take(self, amount: float) -> None:
        self.balance -= amount

    def bucket(self, amount: float, *, is_scarce: bool) -> Bucket:
        """What to reserve so that it `has(amount)`; also for the calls after it, unless it `is_scarce`."""
        lacking = self._lacking(amount)
        wanted = max(lacking, self._batch) if lacking and not is_scarce else lacking
        return Bucket(self._key, self._capacity, self.refill_per_s, min(self._capacity, wanted))

    def reserved(self, amount: float) -> None:
        """`amount` was taken from the shared bucket."""
        self.balance += amount
        self._fresh_until_s = self._now_s() + LEASE_S

    def returned(self, surplus: float) -> None:
        """`surplus` of what a call took was not used; below 0: it used more. What is held stays bounded."""
        most = max(1.0, MOST_BATCHES * self._batch)
        self.balance = min(self.balance + surplus, max(self.balance, most))
        self._fresh_until_s = self._now_s() + LEASE_S

    def local_wait_s(self, amount: float) -> float:
        """Seconds until this instance's own share of the limit gives what is lacking."""
        return self._local.wait_s(self._lacking(amount))

    def take_local(self, amount: float) -> None:
        """Fills up from this instance's own share of the limit."""
        lacking = self._lacking(amount)
        self._local.take(lacking)
        self.reserved(lacking)

    def _lacking(self, amount: float) -> float:
        return max(0.0, min(amount, self._capacity) - self.balance)
