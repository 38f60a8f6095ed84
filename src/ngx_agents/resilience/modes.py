"""The operating mode: one state machine of what still works, from signals or by an operator. No I/O.

Each signal (`overload`, `model`, `database`, `shared`, `region`) asks for a mode and says why; the most restricted one
asked for holds. A mode is entered at once and left only when nothing asked for it, or for a worse one, for the
signal's `hold_s`: so a signal that flaps does not make the mode flap. What an operator sets holds instead, until taken
back or until its time is over. Producers: the app's signals and the admin routes; consumers read `current`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from ngx_agents.clock import Clock

HOLD_S = 60.0
KEPT_CHANGES = 100
RETRY_AFTER_S = 10.0


class Mode(IntEnum):
    """In order: each includes the restrictions of those before it."""

    NORMAL = 0
    DEGRADED_1 = 1
    """No prefetch, no proactive and no batch work."""
    DEGRADED_2 = 2
    """Fewer agents, smaller context and output; interactive turns that nobody watches are cancelled."""
    DEGRADED_3 = 3
    """A cheaper model."""
    DEGRADED_4 = 4
    """Kept answers and templates for the sheddable classes."""
    READ_ONLY = 5
    """History is served, new turns are refused."""

    @property
    def label(self) -> str:
        """`normal`, `degraded-1` … `degraded-4`, `read-only`."""
        return self.name.lower().replace("_", "-")


MODES_BY_LABEL = {mode.label: mode for mode in Mode}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChange:
    """`at` is Unix time; `reasons` name who asked for it and why; `by` is `signals` or who set it."""

    at: float
    mode: Mode
    reasons: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What an operator set; `until_s` on the monotonic clock, None for ever."""

    mode: Mode
    by: str
    reason: str
    until_s: float | None


class _Signal:
    """`last_s[mode]`: when it last asked for at least that mode."""

    __slots__ = ("asked", "hold_s", "last_s", "reason", "retry_after_s")

    def __init__(self) -> None:
        self.asked = Mode.NORMAL
        self.reason = ""
        self.hold_s = HOLD_S
        self.retry_after_s = RETRY_AFTER_S
        self.last_s = [-float("inf")] * len(Mode)

    def effective(self, now_s: float) -> Mode:
        for mode in range(self.asked, 0, -1):
            self.last_s[mode] = now_s
        for mode in reversed(Mode):
            if mode <= self.asked or now_s - self.last_s[mode] < self.hold_s:
                return mode
        return Mode.NORMAL


class Modes:
    """`current` is cheap to read. `tick` about once a second, so that holds and overrides end."""

    def __init__(self, *, clock: Clock, hold_s: float = HOLD_S) -> None:
        self.current = Mode.NORMAL
        self.reasons: tuple[str, ...] = ()
        self.override: Override | None = None
        self._clock = clock
        self._hold_s = hold_s
        self._signals: dict[str, _Signal] = {}
        self._history: deque[ModeChange] = deque(maxlen=KEPT_CHANGES)
        self._listeners: list[Callable[[ModeChange], None]] = []
        self._since_s = clock.monotonic_s()

    @property
    def history(self) -> tuple[ModeChange, ...]:
        """The last changes, oldest first."""
        return tuple(self._history)

    @property
    def since_s(self) -> float:
        """Since when the current mode holds, on the monotonic clock."""
        return self._since_s

    @property
    def retry_after_s(self) -> float:
        """What those are told who are refused because of the mode: the longest of the signals that ask for it."""
        asking = [each.retry_after_s for each in self._signals.values() if each.asked >= self.current]
        return max(asking, default=RETRY_AFTER_S)

    def at_least(self, mode: Mode) -> bool:
        return self.current >= mode

    def on_change(self, listener: Callable[[ModeChange], None]) -> None:
        """`listener` hears of every change, in the event loop, after `current` has changed."""
        self._listeners.append(listener)

    def signal(
        self,
        name: str,
        mode: Mode,
        reason: str = "",
        *,
        hold_s: float | None = None,
        retry_after_s: float = RETRY_AFTER_S,
    ) -> None:
        """What `name` asks for from now on. `hold_s` 0 for a signal that has its own hysteresis."""
        signal = self._signals.setdefault(name, _Signal())
        now_s = self._clock.monotonic_s()
        signal.effective(now_s)  # until now it asked for what it asked before
        if mode or not signal.reason:
            signal.reason = reason
        signal.asked, signal.retry_after_s = mode, retry_after_s
        signal.hold_s = self._hold_s if hold_s is None else hold_s
        self._settle(now_s)

    def force(self, mode: Mode, *, by: str, reason: str, for_s: float | None = None) -> None:
        """An operator's word, over all signals, until `automatic` or for `for_s`."""
        now_s = self._clock.monotonic_s()
        until_s = None if for_s is None else now_s + for_s
        self.override = Override(mode=mode, by=by, reason=reason, until_s=until_s)
        self._settle(now_s)

    def automatic(self) -> None:
        """Gives it back to the signals."""
        self.override = None
        self._settle(self._clock.monotonic_s())

    def tick(self) -> None:
        self._settle(self._clock.monotonic_s())

    def _settle(self, now_s: float) -> None:
        override = self.override
        if override is not None and override.until_s is not None and now_s >= override.until_s:
            override = self.override = None
        asked = {name: signal.effective(now_s) for name, signal in self._signals.items()}
        if override is not None:
            mode, by = override.mode, override.by
            self.reasons = (f"operator: {override.reason}",)
        else:
            mode, by = max(asked.values(), default=Mode.NORMAL), "signals"
            self.reasons = tuple(self._said(name) for name, each in asked.items() if mode and each == mode)
        if mode != self.current:
            self.current, self._since_s = mode, now_s
            change = ModeChange(at=self._clock.now_s(), mode=mode, reasons=self.reasons, by=by)
            self._history.append(change)
            for listener in self._listeners:
                listener(change)

    def _said(self, name: str) -> str:
        reason = self._signals[name].reason
        return f"{name}: {reason}" if reason else name
