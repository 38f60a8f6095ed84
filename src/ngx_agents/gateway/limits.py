"""What a user's plan allows at the entrance: turns per minute, hour and day, bytes per day, turns at once, and requests
of any kind.

Everything is counted by all instances together where something is shared: windows in batches, turns at once as places
with a lease. Where nothing is, each process of a server has its part of a limit; while what is shared is away, each
instance keeps the limit by itself. Memory is bounded: of users, or tenants, beyond `max_users` the one seen longest ago
is forgotten (its shared counts are not).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import Count
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import Forbidden, RateLimited, SharedRefused, SharedUnavailable
from ngx_agents.gateway.place_keeper import PlaceKeeper
from ngx_agents.gateway.user_windows import QUOTAS, SPARED, UserWindows, part_of, policy
from ngx_agents.resilience.rate_windows import Window
from ngx_agents.resilience.shared_places import Places
from ngx_agents.state.control_board import ControlBoard, Rules
from ngx_agents.state.controls import Plan
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics

MAX_USERS = 50_000
RUNNING_RETRY_S = 5.0
"""What is said to who has too many turns at once: about as long as a turn takes."""
MOST_ASKED = 2
AGAIN_S = 0.03
"""A place that was just given back elsewhere may be on its way: who finds none asks once more after that time."""
_REFUSALS = {
    "running": "too many turns at once",
    "bytes": "too many bytes a day",
    "requests": "too many requests a minute",
}
SUSPENDED = "this account is suspended"
Told = tuple[tuple[bytes, bytes], ...]


class Limits:
    """`take` for each turn that begins; `free` is called when it has ended, `undo` when it was refused after all.

    Enter it where something is shared: `member` is then its name among all instances. `sharers` is how many processes
    of this server count for themselves where nothing is: each has that part of a limit, so that all of them together
    let pass no more than it.
    """

    def __init__(  # noqa: PLR0913  # what it stands on, all by name
        self,
        controls: ControlBoard,
        *,
        clock: Clock,
        metrics: Metrics,
        shared: Shared | None = None,
        max_users: int = MAX_USERS,
        sharers: int = 1,
        member: str = "one",
    ) -> None:
        self._controls = controls
        self._clock = clock
        self._now_s = clock.now_s
        self._shared = shared
        self._keeper = None if shared is None else PlaceKeeper(shared, member=member, clock=clock)
        self._max_users = max_users
        self._users: OrderedDict[Owner, UserWindows] = OrderedDict()
        self._tenants: OrderedDict[str, Places] = OrderedDict()
        self._policies: dict[Plan, bytes] = {}
        self._sharers = sharers if shared is None else 1
        self._parts: dict[Rules, Rules] = {}
        controls.on_change(self._policies.clear)
        controls.on_change(self._parts.clear)
        refused = metrics.counter("ngx_rate_limited_total", "Turns refused by a limit of the plan.", "quota")
        self._refused = {name: refused.labels(name) for name in (*(name for name, _ in QUOTAS), "running", "requests")}

    async def __aenter__(self) -> Self:
        if self._keeper is not None:
            await self._keeper.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            await self._keeper.__aexit__(kind, error, trace)

    def __len__(self) -> int:
        """How many users are remembered."""
        return len(self._users)

    async def request(self, owner: Owner, *, is_for_suspended: bool = False) -> None:
        """Any request of a user. Raises Forbidden (suspended, unless it is for those too), RateLimited."""
        rules = self._rules_of(owner)
        if rules.is_suspended and not is_for_suspended:
            raise Forbidden(SUSPENDED)
        user, is_shared = self._user(owner), self._shared is not None
        while not user.asks(int(self._now_s()), rules.plan.requests_per_minute, is_shared=is_shared):
            if user.requests.is_final or user.requests.used >= user.requests.limit:
                is_ever = user.requests.limit > 0
                raise self._too_many("requests", user.ends_in_s(0, self._now_s()), user, rules, is_ever=is_ever)
            await self._count(owner, user.requests, 1, name="requests", length_s=60)

    async def take(self, owner: Owner, size_bytes: int, *, is_batch: bool = False) -> Taken:
        """Batches leave a part of each limit to what the user says. Raises Forbidden (suspended), RateLimited."""
        rules = self._rules_of(owner)
        if rules.is_suspended:
            raise Forbidden(SUSPENDED)
        user, tenant, plan = self._user(owner), self._tenant(owner.tenant), rules.plan
        amounts, is_shared, asked = (1, 1, 1, size_bytes), self._shared is not None, 0
        own = plan.running_turns - (plan.running_turns // SPARED if is_batch else 0)
        while True:
            fits = user.fits(int(self._now_s()), plan, amounts, is_shared=is_shared)
            short = self._short(user.places, own, tenant, rules.tenant_running_turns)
            if fits and not short:
                break
            if not fits and (spent := user.spent(amounts)) is not None:
                is_ever = user.windows[spent].limit >= amounts[spent]
                raise self._too_many(
                    QUOTAS[spent][0], user.ends_in_s(spent, self._now_s()), user, rules, is_ever=is_ever
                )
            if short and (not is_shared or asked == MOST_ASKED):
                is_ever = all(most > 0 for _, most in short)
                raise self._too_many("running", RUNNING_RETRY_S, user, rules, is_ever=is_ever)
            await self._ask(owner, user, amounts, short, is_again=asked > 0)
            asked += bool(short)
        if is_batch and (place := user.short_for_a_batch()) is not None:
            raise self._too_many(QUOTAS[place][0], user.ends_in_s(place, self._now_s()), user, rules)
        user.use(amounts)
        user.places.used += 1
        tenant.used += 1
        return Taken(self, user, tenant, size_bytes, self._told(user, plan))

    def _short(self, mine: Places, own: int, tenant: Places, most: int | None) -> tuple[tuple[Places, int], ...]:
        """Of whose places one more has to be asked for, and how many there are."""
        is_shared = self._shared is not None
        has_mine = mine.fits(own, is_shared=is_shared)
        if most is None or tenant.fits(most, is_shared=is_shared):
            return () if has_mine else ((mine, own),)
        return ((tenant, most),) if has_mine else ((mine, own), (tenant, most))

    def _rules_of(self, owner: Owner) -> Rules:
        rules = self._controls.rules_of(owner)
        if self._sharers == 1:
            return rules
        part = self._parts.get(rules)
        if part is None:
            part = self._parts[rules] = part_of(rules, self._sharers)
        return part

    def _user(self, owner: Owner) -> UserWindows:
        user = self._users.get(owner)
        if user is not None:
            self._users.move_to_end(owner)
            return user
        user = self._users[owner] = UserWindows(owner)
        if len(self._users) > self._max_users:
            oldest, forgotten = self._users.popitem(last=False)
            if forgotten.places.is_busy:
                self._users[oldest] = forgotten
        return user

    def _tenant(self, name: str) -> Places:
        tenant = self._tenants.get(name)
        if tenant is not None:
            self._tenants.move_to_end(name)
            return tenant
        tenant = self._tenants[name] = Places()
        if len(self._tenants) > self._max_users:
            oldest, forgotten = self._tenants.popitem(last=False)
            if forgotten.is_busy:
                self._tenants[oldest] = forgotten
        return tenant

    async def _ask(
        self,
        owner: Owner,
        user: UserWindows,
        amounts: tuple[int, ...],
        short: tuple[tuple[Places, int], ...],
        *,
        is_again: bool,
    ) -> None:
        """Asks for all that is short in one round trip; where it cannot be reached, nobody."""
        if short and is_again:
            await self._clock.sleep(AGAIN_S)
        asked: list[Awaitable[None]] = [
            self._count(owner, window, amounts[place], name=QUOTAS[place][0], length_s=QUOTAS[place][1])
            for place, window in enumerate(user.windows)
            if not window.has(amounts[place])
        ]
        for places, most in short:
            assert self._keeper is not None, "only what is shared is asked for"
            if not places.key:
                places.key = f"places:user:{_digest(owner)}" if places is user.places else _tenant_key(owner.tenant)
            asked.append(self._keeper.ask(places, most))
        await asyncio.gather(*asked)

    async def _count(self, owner: Owner, window: Window, amount: int, *, name: str, length_s: int) -> None:
        """Takes a batch of what is short from the shared count; where that cannot be reached, from nobody."""
        if self._shared is None:
            return
        asked, index = window.wanted(amount), window.index
        try:
            total = await self._shared.ask(Count(f"rate:{_digest(owner)}:{name}:{index}", asked, length_s + 1.0))
        except (SharedUnavailable, SharedRefused):
            window.told_nothing(amount)
            return
        if window.index == index:
            window.told(asked, total)

    def _too_many(
        self, quota: str, retry_after_s: float, user: UserWindows, rules: Rules, *, is_ever: bool = True
    ) -> RateLimited:
        """`is_ever` False: the plan allows less at any time, so none is told at which it would be let in."""
        self._refused[quota].inc()
        message = _REFUSALS.get(quota, f"too many turns a {quota}")
        told = self._told(user, rules.plan)
        if not is_ever:
            message = f"{message}: the plan allows less at any time"
            return RateLimited(message, quota=quota, retry_after_s=None, told=told)
        return RateLimited(message, quota=quota, retry_after_s=max(0.001, retry_after_s), told=told)

    def _told(self, user: UserWindows, plan: Plan) -> Told:
        told = self._policies.get(plan)
        if told is None:
            told = self._policies[plan] = policy(plan)
        return (b"ratelimit-policy", told), (b"ratelimit", user.told(self._now_s()))

    def free(self, places: Places) -> None:
        """One fewer is used; what others could have instead is given back soon."""
        places.used -= 1
        if self._keeper is not None and places.held and places.is_surplus:
            self._keeper.eased(places)


class Taken:
    """What one turn took. `told` are the header fields of its answer."""

    __slots__ = ("_is_over", "_limits", "_size_bytes", "_tenant", "_user", "told")

    def __init__(self, limits: Limits, user: UserWindows, tenant: Places, size_bytes: int, told: Told) -> None:
        self._limits = limits
        self._user = user
        self._tenant = tenant
        self._size_bytes = size_bytes
        self._is_over = False
        self.told = told

    def free(self) -> None:
        """The turn is over. Again is nothing."""
        if not self._is_over:
            self._is_over = True
            self._limits.free(self._user.places)
            self._limits.free(self._tenant)

    def undo(self) -> None:
        """The turn never began: it counts for nothing."""
        if not self._is_over:
            self._user.give_back((1, 1, 1, self._size_bytes))
        self.free()


def _tenant_key(tenant: str) -> str:
    return f"places:tenant:{hashlib.blake2b(tenant.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _digest(owner: Owner) -> str:
    """Bounded, whatever the names are."""
    return hashlib.blake2b(f"{owner.tenant}\n{owner.user}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
