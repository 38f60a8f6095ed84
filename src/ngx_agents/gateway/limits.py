"""What a user's plan allows at the entrance: turns per minute, hour and day, bytes per day, turns at once, and requests
of any kind.

Windows are of the clock, and begin at a second of the user's own, so that not everybody begins anew at once. Their
counts are kept by all instances together where something is shared, else by each for itself; turns at once and requests
are counted by each instance. Memory is bounded: of users beyond `max_users` the one seen longest ago is forgotten (its
shared counts are not). Header fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import Count
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import Forbidden, RateLimited, SharedRefused, SharedUnavailable
from ngx_agents.resilience.rate_windows import Window
from ngx_agents.state.control_board import ControlBoard, Rules
from ngx_agents.state.controls import Plan
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics

MAX_USERS = 50_000
RUNNING_RETRY_S = 5.0
"""What is said to who has too many turns at once: about as long as a turn takes."""
QUOTAS = (("minute", 60), ("hour", 3600), ("day", 86_400), ("bytes", 86_400))
BYTES = 3
_REFUSALS = {
    "running": "too many turns at once",
    "bytes": "too many bytes a day",
    "requests": "too many requests a minute",
}
SUSPENDED = "this account is suspended"
SPARED = 5
"""One of so many is left to the user by their batches."""
WINDOWED = ("turns_per_minute", "turns_per_hour", "turns_per_day", "bytes_per_day")
Told = tuple[tuple[bytes, bytes], ...]


class Limits:
    """`take` for each turn that begins; `free` is called when it has ended, `undo` when it was refused after all.

    `sharers` is how many processes of this server count for themselves where nothing is shared: each has that part of
    a window's limit, so that all of them together let pass no more than it.
    """

    def __init__(
        self,
        controls: ControlBoard,
        *,
        clock: Clock,
        metrics: Metrics,
        shared: Shared | None = None,
        max_users: int = MAX_USERS,
        sharers: int = 1,
    ) -> None:
        self._controls = controls
        self._now_s = clock.now_s
        self._shared = shared
        self._max_users = max_users
        self._users: OrderedDict[Owner, _User] = OrderedDict()
        self._running: dict[str, int] = {}
        self._policies: dict[Plan, bytes] = {}
        self._sharers = sharers if shared is None else 1
        self._parts: dict[Plan, Plan] = {}
        controls.on_change(self._policies.clear)
        controls.on_change(self._parts.clear)
        refused = metrics.counter("ngx_rate_limited_total", "Turns refused by a limit of the plan.", "quota")
        self._refused = {name: refused.labels(name) for name in (*(name for name, _ in QUOTAS), "running", "requests")}

    def __len__(self) -> int:
        """How many users are remembered."""
        return len(self._users)

    def request(self, owner: Owner, *, is_for_suspended: bool = False) -> None:
        """Any request of a user, counted by this instance alone. Raises Forbidden (suspended, unless it is for those
        too), RateLimited."""
        rules = self._controls.rules_of(owner)
        if rules.is_suspended and not is_for_suspended:
            raise Forbidden(SUSPENDED)
        user, now_s = self._user(owner), self._now_s()
        if not user.asks(int(now_s), rules.plan.requests_per_minute):
            raise self._too_many("requests", user.ends_in_s(0, now_s), user, rules)

    async def take(self, owner: Owner, size_bytes: int, *, is_batch: bool = False) -> Taken:
        """Batches leave a part of each limit to what the user says. Raises Forbidden (suspended), RateLimited."""
        rules = self._rules_of(owner)
        if rules.is_suspended:
            raise Forbidden(SUSPENDED)
        user, plan = self._user(owner), rules.plan
        amounts = (1, 1, 1, size_bytes)
        while not user.fits(int(self._now_s()), plan, amounts, is_shared=self._shared is not None):
            spent = user.spent(amounts)
            if spent is not None:
                raise self._too_many(QUOTAS[spent][0], user.ends_in_s(spent, self._now_s()), user, rules)
            await self._ask(owner, user, amounts)
        if is_batch and (place := user.short_for_a_batch()) is not None:
            raise self._too_many(QUOTAS[place][0], user.ends_in_s(place, self._now_s()), user, rules)
        at_once = self._running.get(owner.tenant, 0)
        most = rules.tenant_running_turns
        mine = plan.running_turns - (plan.running_turns // SPARED if is_batch else 0)
        if user.running >= mine or (most is not None and at_once >= most):
            raise self._too_many("running", RUNNING_RETRY_S, user, rules)
        user.use(amounts)
        user.running += 1
        self._running[owner.tenant] = at_once + 1
        return Taken(self, owner, user, size_bytes, self._told(user, plan))

    def _rules_of(self, owner: Owner) -> Rules:
        rules = self._controls.rules_of(owner)
        if self._sharers == 1:
            return rules
        part = self._parts.get(rules.plan)
        if part is None:
            part = self._parts[rules.plan] = part_of(rules.plan, self._sharers)
        return msgspec.structs.replace(rules, plan=part)

    def _user(self, owner: Owner) -> _User:
        user = self._users.get(owner)
        if user is not None:
            self._users.move_to_end(owner)
            return user
        user = self._users[owner] = _User(owner)
        if len(self._users) > self._max_users:
            oldest, forgotten = self._users.popitem(last=False)
            if forgotten.running:
                self._users[oldest] = forgotten
        return user

    async def _ask(self, owner: Owner, user: _User, amounts: tuple[int, ...]) -> None:
        """Takes a batch of what is short from the shared count; where that cannot be reached, from nobody."""
        for place, window in enumerate(user.windows):
            if window.has(amounts[place]) or self._shared is None:
                continue
            asked = window.wanted(amounts[place])
            key = f"rate:{_digest(owner)}:{QUOTAS[place][0]}:{window.index}"
            index = window.index
            try:
                total = await self._shared.ask(Count(key, asked, QUOTAS[place][1] + 1.0))
            except (SharedUnavailable, SharedRefused):
                window.told_nothing(amounts[place])
                continue
            if window.index == index:
                window.told(asked, total)

    def _too_many(self, quota: str, retry_after_s: float, user: _User, rules: Rules) -> RateLimited:
        self._refused[quota].inc()
        message = _REFUSALS.get(quota, f"too many turns a {quota}")
        return RateLimited(
            message, quota=quota, retry_after_s=max(0.001, retry_after_s), told=self._told(user, rules.plan)
        )  # fmt: skip

    def _told(self, user: _User, plan: Plan) -> Told:
        policy = self._policies.get(plan)
        if policy is None:
            policy = self._policies[plan] = _policy(plan)
        return (b"ratelimit-policy", policy), (b"ratelimit", user.told(self._now_s()))

    def free(self, owner: Owner, user: _User) -> None:
        user.running -= 1
        left = self._running.get(owner.tenant, 0) - 1
        if left > 0:
            self._running[owner.tenant] = left
        else:
            self._running.pop(owner.tenant, None)


class Taken:
    """What one turn took. `told` are the header fields of its answer."""

    __slots__ = ("_is_over", "_limits", "_owner", "_size_bytes", "_user", "told")

    def __init__(self, limits: Limits, owner: Owner, user: _User, size_bytes: int, told: Told) -> None:
        self._limits = limits
        self._owner = owner
        self._user = user
        self._size_bytes = size_bytes
        self._is_over = False
        self.told = told

    def free(self) -> None:
        """The turn is over. Again is nothing."""
        if not self._is_over:
            self._is_over = True
            self._limits.free(self._owner, self._user)

    def undo(self) -> None:
        """The turn never began: it counts for nothing."""
        if not self._is_over:
            self._user.give_back((1, 1, 1, self._size_bytes))
        self.free()


class _User:
    """The windows of one user, in the order of QUOTAS, and how many turns run."""

    __slots__ = ("_offset_s", "_requests", "running", "windows")

    def __init__(self, owner: Owner) -> None:
        self._offset_s = zlib.crc32(owner.user.encode("utf-8", "surrogatepass")) % 86_400
        self.running = 0
        self._requests = Window()
        self.windows = (Window(), Window(), Window(), Window())

    def asks(self, now_s: int, limit: int) -> bool:
        """One request more, if there may be one."""
        window = self._requests
        window.enter((now_s + self._offset_s) // 60, limit, is_shared=False)
        if window.used >= window.allowed:
            return False
        window.used += 1
        return True

    def fits(self, now_s: int, plan: Plan, amounts: tuple[int, ...], *, is_shared: bool) -> bool:
        at_s = now_s + self._offset_s
        minute, hour, day, size = self.windows
        of_day = at_s // 86_400
        minute.enter(at_s // 60, plan.turns_per_minute, is_shared=is_shared)
        hour.enter(at_s // 3600, plan.turns_per_hour, is_shared=is_shared)
        day.enter(of_day, plan.turns_per_day, is_shared=is_shared)
        size.enter(of_day, plan.bytes_per_day, is_shared=is_shared)
        return (
            minute.used < minute.allowed
            and hour.used < hour.allowed
            and day.used < day.allowed
            and size.used + amounts[BYTES] <= size.allowed
        )

    def spent(self, amounts: tuple[int, ...]) -> int | None:
        """The longest of the windows that are used up for good."""
        for place in range(len(QUOTAS) - 1, -1, -1):
            window = self.windows[place]
            if not window.has(amounts[place]) and (window.is_final or window.used + amounts[place] > window.limit):
                return place
        return None

    def short_for_a_batch(self) -> int | None:
        """The first of the windows of turns in which no more is left than what batches leave alone."""
        for place in range(BYTES):
            if self.windows[place].left <= self.windows[place].limit // SPARED:
                return place
        return None

    def use(self, amounts: tuple[int, ...]) -> None:
        for window, amount in zip(self.windows, amounts, strict=True):
            window.used += amount

    def give_back(self, amounts: tuple[int, ...]) -> None:
        """What was used; a window that ended meanwhile has forgotten it."""
        for window, amount in zip(self.windows, amounts, strict=True):
            window.used = max(0, window.used - amount)

    def ends_in_s(self, place: int, now_s: float) -> float:
        length_s = QUOTAS[place][1]
        return length_s - (now_s + self._offset_s) % length_s

    def told(self, now_s: float) -> bytes:
        at_s = int(now_s) + self._offset_s
        minute, hour, day, size = self.windows
        return (
            f'"minute";r={minute.left};t={60 - at_s % 60}, "hour";r={hour.left};t={3600 - at_s % 3600},'
            f' "day";r={day.left};t={86_400 - at_s % 86_400}, "bytes";r={size.left};t={86_400 - at_s % 86_400}'
        ).encode()


def _limits(plan: Plan) -> tuple[int, ...]:
    return plan.turns_per_minute, plan.turns_per_hour, plan.turns_per_day, plan.bytes_per_day


def part_of(plan: Plan, sharers: int) -> Plan:
    """What one of several processes may let pass; never nothing of something."""
    per_window = {name: -(-getattr(plan, name) // sharers) for name in WINDOWED}
    return msgspec.structs.replace(plan, **per_window)


def _policy(plan: Plan) -> bytes:
    told = [f'"{name}";q={limit};w={length}' for (name, length), limit in zip(QUOTAS, _limits(plan), strict=True)]
    told[BYTES] += ';qu="content-bytes"'
    return ", ".join(told).encode()


def _digest(owner: Owner) -> str:
    """Bounded, whatever the names are."""
    return hashlib.blake2b(f"{owner.tenant}\n{owner.user}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
