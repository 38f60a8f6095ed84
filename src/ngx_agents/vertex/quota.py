"""Limits per minute that an operator set, kept by all instances together: requests and tokens per model and location.

A call reserves one request and its expected tokens before it is made and settles what it used afterwards. Reservations
come from a local lease (`quota_lease.py`), so that most cost no round trip; the lease is filled from what instances
share. When that is away each instance goes on with its own share of the limit. Who must wait waits in line; one at a
time asks, and whoever cannot be served before the deadline is refused at once. Without a limit there is nothing here.
Filled by: whoever is at the head of the line. Cancelled by: the caller, whose turn passes on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import Reserve
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import ConfigError, ModelThrottled, SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.permit_line import CLASSES
from ngx_agents.vertex.permit_measures import QuotaMeasures
from ngx_agents.vertex.quota_lease import Lease
from ngx_agents.vertex.quota_turns import QuotaTurns

MAX_WAITING = 200
MAX_QUOTAS = 256
SLICE_S = 0.1  # so often the head of the line looks for someone more urgent
SCARCE_S = 1.0  # after a refusal nothing is leased ahead for so long
Key = tuple[str, str, str]
Amounts = tuple[float, float]  # requests, tokens


class QuotaLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For each model and location that match (`*` allowed), on its own. None is no limit."""

    model: str = "*"
    location: str = "*"
    requests_per_min: float | None = None
    tokens_per_min: float | None = None


class QuotaGrant:
    """One call may be made. One of the two methods is called when it is over; the first word counts."""

    __slots__ = ("_is_open", "_quota", "_tokens")

    def __init__(self, quota: Quota, tokens: float) -> None:
        self._quota = quota
        self._tokens = tokens
        self._is_open = True

    def settle(self, used_tokens: float) -> None:
        """The call was made and used so many tokens, input and output."""
        if self._is_open:
            self._is_open = False
            self._quota._return(0.0, self._tokens - used_tokens)

    def give_back(self) -> None:
        """The call was not made, or refused before it counted."""
        if self._is_open:
            self._is_open = False
            self._quota._return(1.0, self._tokens)


class Quota:
    """The limit of one model in one location, as one instance sees it."""

    def __init__(
        self,
        limit: QuotaLimit,
        tag: str,
        *,
        shared: Shared,
        instances: int,
        clock: Clock,
        measures: QuotaMeasures,
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._measures = measures
        names = (("requests", limit.requests_per_min), ("tokens", limit.tokens_per_min))
        self._leases = [
            None if per_min is None else Lease(f"quota:{{{tag}}}:{name}", per_min, instances=instances, clock=clock)
            for name, per_min in names
        ]
        self._turns = QuotaTurns(
            max_waiting=MAX_WAITING, clock=clock, refusal=lambda urgency: self._refusal(self._estimate_s(urgency))
        )
        self._scarce_until_s = 0.0
        self._queued: list[Amounts] = [(0.0, 0.0)] * CLASSES  # of those in line and at its head, by class

    async def reserve(self, tokens: float, *, urgency: int = 1, deadline_s: float) -> QuotaGrant:
        """One request of `tokens` (input and expected output), waited for until `deadline_s` (monotonic) at most.

        Raises ModelThrottled (`kind` quota, with `retry_after_s`) when it does not fit before the deadline.
        """
        amounts = (1.0, max(0.0, tokens))
        if not self._turns.is_taken and self._take(amounts):
            self._measures.leased.inc()
            return QuotaGrant(self, amounts[1])
        urgency = min(max(urgency, 0), CLASSES - 1)
        self._refuse_if_late(self._estimate_s(urgency), deadline_s)
        self._queue(amounts, urgency, 1)
        try:
            await self._fill_in_turn(amounts, urgency, deadline_s)
        finally:
            self._queue(amounts, urgency, -1)
        return QuotaGrant(self, amounts[1])

    async def _fill_in_turn(self, amounts: Amounts, urgency: int, deadline_s: float) -> None:
        """Takes `amounts` at the head of the line, letting the more urgent pass between two tries."""
        since_s, has_filled = self._clock.monotonic_s(), False
        while True:
            await self._turns.take(urgency, since_s=since_s, deadline_s=deadline_s)
            try:
                while not self._take(amounts):
                    wait_s = await self._fill(amounts)
                    if not wait_s:
                        has_filled = True
                        continue
                    self._refuse_if_late(wait_s, deadline_s)
                    await self._clock.sleep(min(wait_s, SLICE_S))
                    if self._turns.is_wanted_before(urgency):
                        break
                else:
                    self._measures.leased.value += not has_filled
                    return
            finally:
                self._turns.pass_on()

    async def _fill(self, amounts: Amounts) -> float:
        """Fills the leases so that they have `amounts`: 0, or the seconds until that can be tried again."""
        wait_s = 0.0
        for is_scarce in (True,) if self._is_scarce else (False, True):
            buckets = {lease: lease.bucket(each, is_scarce=is_scarce) for lease, each in self._wanted(amounts)}
            try:
                wait_s = (await self._shared.ask(Reserve(tuple(buckets.values())))).wait_s
            except SharedUnavailable:
                return self._fill_alone(amounts)
            if wait_s <= 0.0:
                for lease, bucket in buckets.items():
                    lease.reserved(bucket.amount)
                self._measures.shared.inc()
                return 0.0
            self._scarce_until_s = self._clock.monotonic_s() + SCARCE_S
        return wait_s

    def _fill_alone(self, amounts: Amounts) -> float:
        wanted = list(self._wanted(amounts))
        wait_s = max(lease.local_wait_s(amount) for lease, amount in wanted)
        if wait_s:
            self._scarce_until_s = self._clock.monotonic_s() + SCARCE_S
            return wait_s
        for lease, amount in wanted:
            lease.take_local(amount)
        self._measures.local.inc()
        return 0.0

    def _take(self, amounts: Amounts) -> bool:
        wanted = list(self._wanted(amounts))
        if not all(lease.has(amount) for lease, amount in wanted):
            return False
        for lease, amount in wanted:
            lease.take(amount)
        return True

    def _return(self, requests: float, tokens: float) -> None:
        for lease, surplus in self._wanted((requests, tokens)):
            if surplus:
                lease.returned(surplus)

    def _wanted(self, amounts: Amounts) -> Iterator[tuple[Lease, float]]:
        """Each limit that is set, with what is wanted of it."""
        for lease, amount in zip(self._leases, amounts, strict=True):
            if lease is not None:
                yield lease, amount

    @property
    def _is_scarce(self) -> bool:
        return self._clock.monotonic_s() < self._scarce_until_s

    def _queue(self, amounts: Amounts, urgency: int, sign: int) -> None:
        requests, tokens = self._queued[urgency]
        self._queued[urgency] = (requests + sign * amounts[0], tokens + sign * amounts[1])

    def _estimate_s(self, urgency: int) -> float:
        """Seconds it takes to serve those who wait and are as urgent; 0 while nothing was refused lately."""
        if not self._is_scarce:
            return 0.0
        ahead = self._queued[: urgency + 1]
        amounts = (sum(requests for requests, _ in ahead), sum(tokens for _, tokens in ahead))
        return max(amount / lease.refill_per_s for lease, amount in self._wanted(amounts))

    def _refuse_if_late(self, wait_s: float, deadline_s: float) -> None:
        if self._clock.monotonic_s() + wait_s > deadline_s:
            raise self._refusal(wait_s)

    def _refusal(self, retry_after_s: float) -> ModelThrottled:
        self._measures.refused.inc()
        return ModelThrottled("the configured quota is used up for now", retry_after_s=retry_after_s, kind="quota")


class Quotas:
    """The configured limits; `instances` is how many share them, for what one leases and may use alone."""

    def __init__(
        self, limits: Sequence[QuotaLimit], *, shared: Shared, clock: Clock, metrics: Metrics, instances: int = 1
    ) -> None:
        numbers = [number for each in limits for number in (each.requests_per_min, each.tokens_per_min)]
        if any(number is not None and number <= 0.0 for number in numbers):
            raise ConfigError("a quota per minute is positive")
        if instances < 1:
            raise ConfigError("a quota is shared by at least one instance")
        self._limits = limits
        self._shared = shared
        self._clock = clock
        self._measures = QuotaMeasures(metrics)
        self._instances = instances
        self._known: OrderedDict[Key, Quota | None] = OrderedDict()

    def of(self, project: str, location: str, model: str) -> Quota | None:
        """The quota of a model, the same for the same names; None when no limit matches."""
        if not self._limits:
            return None
        key = (project, location, model)
        if key not in self._known:
            self._known[key] = self._made(key)
            if len(self._known) > MAX_QUOTAS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _made(self, key: Key) -> Quota | None:
        limit = next((each for each in self._limits if _matches(each, key)), None)
        if limit is None or (limit.requests_per_min is None and limit.tokens_per_min is None):
            return None
        return Quota(
            limit,
            blake2b("\0".join(key).encode("utf-8", "replace"), digest_size=12).hexdigest(),
            shared=self._shared,
            instances=self._instances,
            clock=self._clock,
            measures=self._measures,
        )


def _matches(limit: QuotaLimit, key: Key) -> bool:
    _project, location, model = key
    return fnmatchcase(location, limit.location) and fnmatchcase(model, limit.model)
