"""API keys that were looked up a moment ago, and which of them to look up again together.

Each is believed for `believed_s` from its last look at the journal. So that thousands of users who come twice a minute
do not cost a look each time, whoever needs one takes along those that were in use lately and will need theirs soon.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

from ngx_agents.clock import Clock
from ngx_agents.gateway.principal import Principal

AT_ONCE = 500
IN_USE_S = 60.0
ASKED_EVERY_S = 1.0
SOON = 0.5  # of the time a key is believed: who has no more than that left is taken along


class _Known:
    __slots__ = ("asked_s", "principal", "until_s", "used_s")

    def __init__(self, principal: Principal, *, until_s: float, used_s: float) -> None:
        self.principal = principal
        self.until_s = until_s
        self.used_s = used_s
        self.asked_s = float("-inf")


class KnownKeys:
    """At most `most`, by digest, in the order in which they were looked up; the first goes for one too many."""

    def __init__(self, most: int, *, believed_s: float, clock: Clock) -> None:
        self._most = most
        self._believed_s = believed_s
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, digest: bytes) -> Principal | None:
        known = self._known.get(digest)
        if known is None:
            return None
        now_s = self._clock.monotonic_s()
        known.used_s = now_s
        return known.principal if now_s < known.until_s else None

    def had(self, digest: bytes) -> bool:
        """Whether it held when it was looked up last, and has not been forgotten since."""
        return digest in self._known

    def put(self, digest: bytes, principal: Principal, *, expires_at: float | None) -> None:
        """Looked up now. `expires_at` is Unix time, None for never."""
        self._known[digest] = _Known(principal, until_s=self._until_s(expires_at), used_s=self._clock.monotonic_s())
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def due(self) -> tuple[bytes, ...]:
        """Up to `AT_ONCE` that are in use and are believed for a short time only, each once in `ASKED_EVERY_S`; who is
        not in use any more is forgotten."""
        now_s = self._clock.monotonic_s()
        found: list[bytes] = []
        while self._known and len(found) < AT_ONCE:
            digest = next(iter(self._known))
            known = self._known[digest]
            if known.until_s > now_s + SOON * self._believed_s or known.asked_s > now_s - ASKED_EVERY_S:
                break
            if known.used_s < now_s - IN_USE_S:
                del self._known[digest]
            else:
                known.asked_s = now_s
                self._known.move_to_end(digest)
                found.append(digest)
        return tuple(found)

    def renew(self, asked: Collection[bytes], holding: Mapping[bytes, float | None]) -> None:
        """Of those that were asked for, `holding` has the ends of those that still hold; the others are forgotten."""
        for digest in asked:
            known = self._known.get(digest)
            if known is None:
                continue
            if digest in holding:
                known.until_s = self._until_s(holding[digest])
            else:
                del self._known[digest]

    def _until_s(self, expires_at: float | None) -> float:
        believed_s = self._believed_s
        if expires_at is not None:
            believed_s = min(believed_s, expires_at - self._clock.now_s())
        return self._clock.monotonic_s() + believed_s
