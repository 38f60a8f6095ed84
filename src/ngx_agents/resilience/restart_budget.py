"""When a process that died is started again: at growing intervals, and not more often than a budget allows."""

from __future__ import annotations

from collections import deque

MAX_RESTARTS = 5
WINDOW_S = 60.0
FIRST_DELAY_S = 0.1


class RestartBudget:
    """At most `MAX_RESTARTS` in any `WINDOW_S`."""

    def __init__(self) -> None:
        self._at_s: deque[float] = deque(maxlen=MAX_RESTARTS)

    def take(self, now_s: float) -> float | None:
        """Seconds to wait before starting again, or None when the budget is used up."""
        while self._at_s and now_s - self._at_s[0] >= WINDOW_S:
            self._at_s.popleft()
        if len(self._at_s) == MAX_RESTARTS:
            return None
        delay_s = FIRST_DELAY_S * 2.0 ** len(self._at_s)
        self._at_s.append(now_s)
        return delay_s
