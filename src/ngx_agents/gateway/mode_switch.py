"""An operator's word on the mode, for all instances: told through what they share, each looks twice a second.

Without something shared it holds on the instance that was asked. A shared word that is gone is taken back everywhere;
one that was given here while nothing could be shared stays here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import Drop, Put
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import NgxError
from ngx_agents.resilience.modes import MODES_BY_LABEL, Modes
from ngx_agents.telemetry.log import event_log

KEY = "mode:override"
LONGEST_S = 30 * 86_400.0
log = event_log("gateway")


class _Word(msgspec.Struct, frozen=True, kw_only=True):
    """`until` is Unix time."""

    mode: str
    by: Annotated[str, msgspec.Meta(max_length=300)]
    reason: Annotated[str, msgspec.Meta(max_length=300)]
    until: float


class ModeSwitch:
    """`set` and `take_back` are the operator's; `heard` is told what the others have, None when there is nothing."""

    def __init__(self, modes: Modes, *, clock: Clock, shared: Shared | None = None) -> None:
        self._modes = modes
        self._clock = clock
        self._shared = shared
        self._seen: bytes | None = None
        self._decode = msgspec.json.Decoder(_Word).decode

    async def set(self, label: str, *, by: str, reason: str, for_s: float = LONGEST_S) -> bool:
        """Holds from now on, for `for_s` at most; whether the other instances will hear of it."""
        word = _Word(mode=label, by=by, reason=reason, until=self._clock.now_s() + for_s)
        payload = msgspec.json.encode(word)
        self._apply(word)
        if self._shared is None:
            return False
        try:
            await self._shared.ask(Put(KEY, payload, for_s))
        except NgxError as error:
            log.warning("mode.not_shared", code=error.code)
            return False
        self._seen = payload
        return True

    async def take_back(self) -> bool:
        """Gives the mode back to the signals; whether the other instances will hear of it."""
        self._modes.automatic()
        self._seen = None
        if self._shared is None:
            return False
        try:
            await self._shared.ask(Drop((KEY,)))
        except NgxError as error:
            log.warning("mode.not_shared", code=error.code)
            return False
        return True

    def heard(self, payload: bytes | None) -> None:
        if payload == self._seen:
            return
        self._seen = payload
        if payload is None:
            self._modes.automatic()
            return
        try:
            self._apply(self._decode(payload))
        except msgspec.DecodeError:
            log.warning("mode.not_understood", size_bytes=len(payload))

    def _apply(self, word: _Word) -> None:
        mode, left_s = MODES_BY_LABEL.get(word.mode), word.until - self._clock.now_s()
        if mode is not None and left_s > 0.0:
            self._modes.force(mode, by=word.by, reason=word.reason, for_s=left_s)
