"""What instances share, in Redis: standalone, behind Sentinels, or a cluster (`address.py` has the forms of the URL).

Never waits long: `timeout_s` bounds each round trip, and a breaker per server answers at once while it fails. Most
commands are one round trip; a second follows a move in the cluster, a script the server has not seen, or damage found.
Keys in Redis begin with the URL's `namespace`. All that is kept expires; nothing is ever scanned for or flushed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar, cast

from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.address import read_address
from ngx_agents.coordination.bounds import MAX_VALUE_BYTES, check, check_key, check_payload
from ngx_agents.coordination.commands import Command
from ngx_agents.coordination.failures import Refusal
from ngx_agents.coordination.meters import Meters, Outcome
from ngx_agents.coordination.redis_commands import RedisCommands
from ngx_agents.coordination.subscriber import Subscriber
from ngx_agents.coordination.switchboard import Switchboard
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import SharedRefused, SharedUnavailable
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

R = TypeVar("R")
TIMEOUT_S = 0.02
log = event_log("coordination")


class RedisShared:
    """`timeout_s` is for each round trip. Raises ConfigError when the URL cannot be read."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
        timeout_s: float = TIMEOUT_S,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        address = read_address(url)
        prefix = f"{address.namespace}:"
        self._now_s = clock.monotonic_s
        self._max_value_bytes = max_value_bytes
        self._prefix = prefix
        self._meters = Meters(metrics)
        self._tasks = Tasks()
        self._is_open = False
        self._switchboard = Switchboard(
            address, self._tasks, clock=clock, rng=rng, meters=self._meters, timeout_s=timeout_s
        )
        self._commands = RedisCommands(self._switchboard, self._meters, prefix, max_value_bytes=max_value_bytes)
        self._subscriber = Subscriber(self._switchboard.servers, prefix=prefix, clock=clock, rng=rng, metrics=metrics)

    async def open(self) -> None:
        await self._tasks.open()
        try:
            await self._switchboard.open()
        except BaseException:
            await self.close()
            raise
        self._is_open = True
        self._tasks.spawn(self._subscriber.run())

    async def close(self) -> None:
        self._is_open = False
        self._subscriber.fanout.close()
        await self._tasks.close()
        self._switchboard.close()

    async def ask(self, command: Command[R]) -> R:
        started_s = self._now_s()
        outcome: Outcome = "unavailable"
        try:
            check(command, max_value_bytes=self._max_value_bytes)
            self._require_open()
            answer = await self._commands.do(command)
            outcome = "ok"
            return cast(R, answer)
        except SharedRefused:
            outcome = "refused"
            raise
        except Refusal as error:
            raise _refused(error) from None
        finally:
            self._meters.answered(command, outcome, self._now_s() - started_s)

    async def publish(self, channel: str, payload: bytes) -> None:
        check_key(channel, "channel")
        check_payload(payload, max_value_bytes=self._max_value_bytes)
        self._require_open()
        started_s = self._now_s()
        outcome: Outcome = "unavailable"
        name = self._prefix + channel
        try:
            await self._switchboard.send(name, ("PUBLISH", name, payload))
            outcome = "ok"
        except Refusal as error:
            raise _refused(error) from None
        finally:
            self._meters.answered("Publish", outcome, self._now_s() - started_s)

    def listen(self, channel: str) -> AsyncIterator[bytes]:
        check_key(channel, "channel")
        return self._subscriber.fanout.listen(channel)

    def _require_open(self) -> None:
        if not self._is_open:
            raise SharedUnavailable("what instances share is closed")


def _refused(error: Refusal) -> SharedUnavailable:
    """Redis is there and will not: full (OOM), read-only, or moving a slot."""
    log.warning("shared.refused", code=error.code)
    return SharedUnavailable("Redis does not accept the command now")
