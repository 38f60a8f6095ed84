"""An operator's word on the mode: a control like plans and flags, so that every process of every instance on the
journal follows it within seconds and finds it again after a restart, until it is taken back or its time is over.

Where it is said it holds at once, before the journal has it: it must be possible to say read-only while the journal is
away. Such a word stays on this instance alone until one is said that can be stored.
"""

from __future__ import annotations

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.resilience.modes import MODES_BY_LABEL, Modes
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import HOUSE, OperatorMode

LONGEST_S = 30 * 86_400.0


class ModeSwitch:
    """Follows the board from now on. The caller of `say` stores the command, and has the board refreshed."""

    def __init__(self, modes: Modes, controls: ControlBoard, *, clock: Clock) -> None:
        self._modes = modes
        self._controls = controls
        self._clock = clock
        self._stored: OperatorMode | None = None
        self._held: OperatorMode | None = None
        controls.on_change(self._follow)

    @property
    def is_everywhere(self) -> bool:
        """Whether what holds here is what the journal has: then all instances have it, or will within seconds."""
        return self._held == self._stored

    def say(self, word: OperatorMode | None) -> PutControl:
        """Holds here from now on; None gives the mode back to the signals. The command tells all the others."""
        self._hold(word)
        return told(word, now=self._clock.now_s())

    def _follow(self) -> None:
        word = self._controls.operator_mode
        if word != self._stored:
            self._stored = word
            self._hold(word)

    def _hold(self, word: OperatorMode | None) -> None:
        self._held = word
        left_s = 0.0 if word is None else word.until - self._clock.now_s()
        if word is None or left_s <= 0.0:
            self._modes.automatic()
        else:
            self._modes.force(MODES_BY_LABEL[word.mode], by=word.by, reason=word.reason, for_s=left_s)


def told(word: OperatorMode | None, *, now: float) -> PutControl:
    """The command by which every instance learns of it."""
    return PutControl(kind="mode", id=HOUSE, body=b"" if word is None else msgspec.json.encode(word), now=now)
