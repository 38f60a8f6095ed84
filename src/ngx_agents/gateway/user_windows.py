"""The windows of one user's limits, and how their fields read in an answer. No I/O.

Windows are of the clock, and begin at a second of the user's own, so that not everybody begins anew at once.
Source: draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import zlib

import msgspec

from ngx_agents.resilience.rate_windows import Window
from ngx_agents.resilience.shared_places import Places
from ngx_agents.state.control_board import Rules
from ngx_agents.state.controls import Plan
from ngx_agents.state.model import Owner

QUOTAS = (("minute", 60), ("hour", 3600), ("day", 86_400), ("bytes", 86_400))
BYTES = 3
SPARED = 5
"""One of so many is left to the user by their batches."""
DIVIDED = (
    "requests_per_minute",
    "turns_per_minute",
    "turns_per_hour",
    "turns_per_day",
    "bytes_per_day",
    "running_turns",
)


class UserWindows:
    """The windows of one user, in the order of QUOTAS, and the places of what runs."""

    __slots__ = ("_offset_s", "places", "requests", "windows")

    def __init__(self, owner: Owner) -> None:
        self._offset_s = zlib.crc32(owner.user.encode("utf-8", "surrogatepass")) % 86_400
        self.places = Places()
        self.requests = Window()
        self.windows = (Window(), Window(), Window(), Window())

    def asks(self, now_s: int, limit: int, *, is_shared: bool) -> bool:
        """One request more, if there may be one as far as is known here."""
        window = self.requests
        window.enter((now_s + self._offset_s) // 60, limit, is_shared=is_shared)
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


def part_of(rules: Rules, sharers: int) -> Rules:
    """What one of several processes may let pass; never nothing of something."""
    plan = {name: -(-getattr(rules.plan, name) // sharers) for name in DIVIDED}
    most = rules.tenant_running_turns
    return msgspec.structs.replace(
        rules,
        plan=msgspec.structs.replace(rules.plan, **plan),
        tenant_running_turns=None if most is None else -(-most // sharers),
    )


def policy(plan: Plan) -> bytes:
    told = [f'"{name}";q={limit};w={length}' for (name, length), limit in zip(QUOTAS, _limits(plan), strict=True)]
    told[BYTES] += ';qu="content-bytes"'
    return ", ".join(told).encode()
