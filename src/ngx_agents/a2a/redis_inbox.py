"""The stream through which replies and cancels reach this process. One reader, on a connection of its own.

It exists while its process reads it and expires after; nobody else makes it, so replies to the dead leave nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ngx_agents.a2a.blocking_line import BlockingLine
from ngx_agents.a2a.carrier import Frame
from ngx_agents.a2a.redis_keys import CANCEL, FRAME
from ngx_agents.a2a.seal import Seal
from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.failures import Refusal
from ngx_agents.coordination.switchboard import Switchboard
from ngx_agents.errors import SharedUnavailable
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Counter

TTL_MS = 60_000
BLOCK_MS = 1000
ANSWER_S = 3.0
REFRESH_S = 1.0
MAX_FRAMES = 512
MARK = "reader"
log = event_log("a2a")


class RedisInbox:
    """`me` is the address that goes into parcels, and the name of this process as a consumer."""

    def __init__(  # noqa: PLR0913  # what it stands between
        self, me: str, key: str, switchboard: Switchboard, seal: Seal, *, clock: Clock, rng: Rng, forged: Counter
    ) -> None:
        self.me = me
        self._key = key
        self._switchboard = switchboard
        self._seal = seal
        self._forged = forged
        self._clock = clock
        self._rng = rng
        self._line = BlockingLine(switchboard.servers, key)
        self._decoder = msgspec.msgpack.Decoder(Frame)
        self._last = "0-0"
        self._refresh_s = 0.0

    async def prepare(self) -> None:
        """Makes the stream when it is missing. A server that is not there yet is met later."""
        try:
            await self._switchboard.send(self._key, ("XGROUP", "CREATE", self._key, MARK, "0", "MKSTREAM"))
        except Refusal:
            pass  # it is there
        except SharedUnavailable as error:
            log.warning("a2a.inbox_absent", reason=type(error).__name__)
            return
        await self._expire_later()

    async def remove(self) -> None:
        self._line.close()
        try:
            await self._switchboard.send(self._key, ("DEL", self._key))
        except (SharedUnavailable, Refusal):
            return  # it expires

    async def run(self, replied: Callable[[Frame], None], cancelled: Callable[[str], None]) -> None:
        failures = 0
        while True:
            try:
                await self._refresh()
                rows = await self._line.ask(
                    ("XTRIM", self._key, "MINID", self._last),
                    ("XREAD", "COUNT", MAX_FRAMES, "BLOCK", BLOCK_MS, "STREAMS", self._key, self._last),
                    within_s=ANSWER_S,
                )
                failures = 0
            except (SharedUnavailable, Refusal) as error:
                log.warning("a2a.inbox_lost", reason=type(error).__name__)
                await self._clock.sleep(next_delay_s(failures, base_s=0.05, cap_s=1.0, rng=self._rng))
                failures += 1
                self._refresh_s = 0.0
                continue
            for entry, fields in rows[0][1] if rows else ():
                self._last = entry.decode()
                self._hear(fields, replied, cancelled)

    def _hear(self, fields: list[Any], replied: Callable[[Frame], None], cancelled: Callable[[str], None]) -> None:
        """What is not sealed for this process by a process of ours is counted, and nothing else comes of it."""
        field = fields[0].decode("utf-8", "replace") if len(fields) == 2 else ""
        content = self._seal.opened(self._key, field, fields[1]) if field else None
        if content is None:
            self._forged.labels().inc()
            log.warning("a2a.frame_forged", size_bytes=sum(map(len, fields)))
        elif field == FRAME:
            try:
                replied(self._decoder.decode(content))
            except msgspec.MsgspecError:
                log.warning("a2a.frame_unreadable", size_bytes=len(content))
        elif field == CANCEL:
            cancelled(content.decode("utf-8", "replace"))

    async def _refresh(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._refresh_s:
            return
        if not await self._expire_later():
            await self.prepare()
        self._refresh_s = now_s + REFRESH_S

    async def _expire_later(self) -> bool:
        """Whether the stream was there."""
        return bool(await self._switchboard.send(self._key, ("PEXPIRE", self._key, TTL_MS)))
