"""Sends what stands in the outbox. Any number of instances may run one: an entry is claimed by one at a time.

Per webhook in order, one letter in flight; many webhooks at once, up to a bound and to one for each owner, so that a
receiver that stalls holds up its own user alone. What is not taken is tried again with
full jitter, at last kept dead with the reason, from where `ngx outbox replay` brings it back; a 410 ends the webhook.
One task looks and sends; it never stands between a turn and its listeners. A claim that its holder did not settle
(killed) is free again after `lease_s`: a letter may come twice then, with the same id.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import NgxError
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.state.commands import ClaimPushes, SettlePush
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.push_commands import DuePush, PushVerdict
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Letter, Render, event_id
from ngx_agents.turns.outbox.poster import Posted, Poster

log = event_log("outbox")
GONE = 410


class OutboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An entry is held at most `lease_s`; sending of its letters stops after `work_s`, the rest comes at once again."""

    timeout_s: float = 15.0
    attempts: int = 10
    first_delay_s: float = 1.0
    max_delay_s: float = 300.0
    at_once: int = 16
    at_once_per_owner: int = 4
    look_every_s: float = 1.0
    lease_s: float = 90.0
    work_s: float = 60.0


class Outbox:
    """`renders` by kind of entry. Enter its context to have it sent."""

    def __init__(  # noqa: PLR0913  # its surroundings, all by name
        self,
        journal: Journal,
        *,
        instance: str,
        renders: Mapping[str, Render],
        guard: Guard,
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
        settings: OutboxSettings | None = None,
    ) -> None:
        self._journal = journal
        self._instance = instance
        self._renders = renders
        self._clock = clock
        self._rng = rng
        self._settings = settings or OutboxSettings()
        self._poster = Poster(guard, timeout_s=self._settings.timeout_s)
        self._tasks = asyncio.TaskGroup()
        self._looking: asyncio.Task[None] | None = None
        settled = metrics.counter("ngx_outbox_total", "Entries of the outbox by what became of them.", "verdict")
        self._settled = {verdict: settled.labels(verdict) for verdict in ("sent", "later", "dead", "disabled")}

    async def __aenter__(self) -> Self:
        await self._poster.__aenter__()
        await self._tasks.__aenter__()
        self._looking = self._tasks.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._poster.__aexit__(None, None, None)

    async def _look(self) -> None:
        sending: dict[asyncio.Task[None], Owner] = {}
        try:
            while True:
                room = self._settings.at_once - len(sending)
                for due in await self._claimed(room, Counter(sending.values())) if room > 0 else ():
                    task = self._tasks.create_task(self._send(due))
                    sending[task] = due.owner
                    task.add_done_callback(sending.pop)
                await self._until_next(sending)
        finally:
            for task in sending:
                task.cancel()

    async def _until_next(self, sending: Collection[asyncio.Task[None]]) -> None:
        """Until something was sent (the next of its webhook may be due) or the time is up."""
        wait_s = self._settings.look_every_s * self._rng.uniform(0.7, 1.0)
        if sending:
            await asyncio.wait(set(sending), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        else:
            await self._clock.sleep(wait_s)

    async def _claimed(self, limit: int, held: Mapping[Owner, int]) -> Sequence[DuePush]:
        command = ClaimPushes(
            instance=self._instance,
            now=self._clock.now_s(),
            limit=limit,
            lease_s=self._settings.lease_s,
            per_owner=self._settings.at_once_per_owner,
            held=tuple(held.items()),
        )
        try:
            [found] = await self._journal.transact([command])
        except NgxError as error:
            log.warning("outbox.not_claimed", code=error.code)
            return ()
        if isinstance(found, BaseException):
            log.warning("outbox.not_claimed", code=getattr(found, "code", "internal"))
            return ()
        due: tuple[DuePush, ...] = found
        return due

    async def _send(self, due: DuePush) -> None:
        try:
            verdict = await self._delivered(due)
        except NgxError as error:
            verdict = self._failed(due, Posted(reason=str(error)), due.step)
        except Exception:
            log.exception("outbox.broke", number=due.number, kind=due.kind)
            verdict = self._failed(due, Posted(reason="it could not be written"), due.step)
        await self._settle(verdict)

    async def _delivered(self, due: DuePush) -> SettlePush:
        render = self._renders.get(due.kind)
        if render is None:
            return self._dead(due, due.step, f"nobody here knows how to write one of kind {due.kind}")
        letters = await render(due)
        began_s = self._clock.monotonic_s()
        for step, letter in enumerate(letters[due.step :], due.step):
            if self._clock.monotonic_s() - began_s > self._settings.work_s:
                return self._verdict(due, "later", step=step, due_at=self._clock.now_s())
            posted = await self._post(due, letter, step)
            if posted.status == GONE:
                return self._verdict(due, "disabled", reason=posted.reason)
            if not posted.is_taken:
                return self._failed(due, posted, step)
        return self._verdict(due, "sent")

    async def _post(self, due: DuePush, letter: Letter, step: int) -> Posted:
        return await self._poster.post(due.config.url, letter, event_id(due, step))

    def _failed(self, due: DuePush, posted: Posted, step: int) -> SettlePush:
        """An attempt counts against the letter that failed: what went through before it starts the count anew."""
        attempts = due.attempts + 1 if step == due.step else 1
        if posted.is_hopeless or attempts >= self._settings.attempts:
            return self._dead(due, step, posted.reason, attempts=attempts)
        delay_s = next_delay_s(
            attempts - 1, base_s=self._settings.first_delay_s, cap_s=self._settings.max_delay_s, rng=self._rng
        )
        due_at = self._clock.now_s() + max(delay_s, min(posted.retry_after_s, self._settings.max_delay_s))
        return self._verdict(due, "later", step=step, attempts=attempts, due_at=due_at)

    def _dead(self, due: DuePush, step: int, reason: str, *, attempts: int = 0) -> SettlePush:
        log.warning("outbox.dead", number=due.number, kind=due.kind, reason=reason)
        verdict = self._verdict(due, "dead", step=step, attempts=attempts)
        return msgspec.structs.replace(verdict, reason=reason)

    def _verdict(
        self,
        due: DuePush,
        verdict: PushVerdict,
        *,
        step: int = 0,
        attempts: int = 0,
        due_at: float = 0.0,
        reason: str = "",
    ) -> SettlePush:
        return SettlePush(
            number=due.number,
            instance=self._instance,
            owner=due.owner,
            verdict=verdict,
            now=self._clock.now_s(),
            step=step,
            attempts=attempts,
            due_at=due_at,
            reason=reason,
        )

    async def _settle(self, verdict: SettlePush) -> None:
        """If the journal is away the claim runs out, and the letter is sent once more."""
        self._settled[verdict.verdict].inc()
        try:
            [result] = await self._journal.transact([verdict])
        except NgxError as error:
            result = error
        if isinstance(result, NgxError):
            log.warning("outbox.not_settled", number=verdict.number, code=result.code)
