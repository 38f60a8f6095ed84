"""The autopilot of kept prefixes: decides while a request passes, acts beside it.

`name_for` is asked before every call and never waits: it counts, answers with a copy if there is one, and may start
one background task per prefix and place (make, renew, look up). The tasks belong to this object's group and are
cancelled when it is left. No failure here ever fails a call: the caller sends the whole prompt instead. Everything
is bounded: prefixes, tasks under way, copies made per hour, for one prefix and for all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelAuthError, ModelError, ModelNotFound, ModelProtocolError, ModelRequestError
from ngx_agents.telemetry.log import event_log
from ngx_agents.vertex.content import ModelRequest
from ngx_agents.vertex.contexts.attempts import Attempts
from ngx_agents.vertex.contexts.prefix import Prefix, Prefixes
from ngx_agents.vertex.contexts.prefix_copy import PrefixCopy
from ngx_agents.vertex.contexts.provider import ContextPost, ContextProvider, ContextTarget, Kept, may_mean_lost
from ngx_agents.vertex.contexts.settings import ContextSettings

EVENTS = ("made", "adopted", "renewed", "lost", "failed", "used")
CLOSE_S = 5.0
log = event_log("vertex")


class Contexts:
    """Of one client and one event loop. `counts` says how often each of EVENTS happened."""

    def __init__(self, settings: ContextSettings, post: ContextPost, *, clock: Clock) -> None:
        self.counts = dict.fromkeys(EVENTS, 0)
        self._settings = settings
        self._clock = clock
        self._provider = ContextProvider(post, clock, timeout_s=settings.call_timeout_s)
        self._prefixes = Prefixes(allow_user_scoped=settings.allow_user_scoped)
        self._attempts = Attempts(settings.max_creations_per_hour)
        self._copies: OrderedDict[tuple[str, ContextTarget], PrefixCopy] = OrderedDict()
        self._by_name: dict[str, PrefixCopy] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        group = asyncio.TaskGroup()
        await group.__aenter__()
        self._group = group
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        for task in self._tasks:
            task.cancel()
        await group.__aexit__(None, None, None)
        if self._settings.delete_on_close:
            await self._delete_all()

    def prefix_of(self, request: ModelRequest) -> Prefix | None:
        """What could be kept of the request; None when nothing may. Ask once a request, whatever places it tries."""
        return self._prefixes.of(request) if self._settings.is_enabled else None

    def name_for(self, prefix: Prefix | None, request: ModelRequest, target: ContextTarget) -> str | None:
        """The name of a copy to be used in place of system, tools and their choice. Never waits, never fails."""
        if prefix is None or self._group is None or prefix.tokens < self._settings.min_tokens_of(target.model):
            return None
        now_s = self._clock.monotonic_s()
        copy = self._copy_of(prefix.key, target)
        before = copy.kept
        name = copy.arrive(now_s)
        if before is not None and copy.kept is None:
            self._forget(before.name)
        if copy.should_make(now_s):
            self._start_making(copy, request, now_s)
        elif copy.should_renew(now_s):
            self._start(copy, self._renew(copy))
        if name is not None:
            self.counts["used"] += 1
        return name

    def failed(self, name: str, error: ModelError) -> bool:
        """Tells that a call with the copy failed; whether to repeat it, once and without a copy."""
        if not may_mean_lost(error):
            return False
        copy = self._by_name.get(name)
        if copy is not None and not copy.is_doubted:
            copy.doubt(self._clock.monotonic_s())
            if copy.kept is None:
                self._lost(name)
            else:
                self._start(copy, self._look_up(copy, name))
        return True

    def _copy_of(self, key: str, target: ContextTarget) -> PrefixCopy:
        copy = self._copies.get((key, target))
        if copy is not None:
            self._copies.move_to_end((key, target))
            return copy
        if len(self._copies) >= self._settings.max_prefixes:
            _, oldest = self._copies.popitem(last=False)
            if oldest.kept is not None:
                self._forget(oldest.kept.name)
        prices = self._settings.prices_of(target.model)
        copy = PrefixCopy(key, target, prices, max_attempts_per_hour=self._settings.max_creations_per_prefix_hour)
        self._copies[key, target] = copy
        return copy

    def _start_making(self, copy: PrefixCopy, request: ModelRequest, now_s: float) -> None:
        if len(self._tasks) < self._settings.max_in_flight and self._attempts.may_one(now_s):
            self._attempts.note(now_s)
            copy.try_making(now_s)
            self._start(copy, self._make(copy, replace(request, contents=())))

    def _start(self, copy: PrefixCopy, doing: Coroutine[Any, Any, None]) -> None:
        if self._group is None or copy.is_busy:
            doing.close()
            return
        copy.is_busy = True
        task = self._group.create_task(self._guarded(copy, doing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, copy: PrefixCopy, doing: Coroutine[Any, Any, None]) -> None:
        try:
            await doing
        except ModelError as exc:
            self.counts["failed"] += 1
            copy.pause(exc, self._clock.monotonic_s())
            log.warning("vertex.context_failed", error=exc.code, location=copy.target.location)
        finally:
            copy.is_busy = False

    async def _make(self, copy: PrefixCopy, request: ModelRequest) -> None:
        kept = await self._find(copy) if self._settings.adopts else None
        event = "adopted"
        if kept is None:
            event = "made"
            kept = await self._provider.make(request, copy.key, copy.target, ttl_s=copy.ttl_s)
        self.counts[event] += 1
        if self._copies.get((copy.key, copy.target)) is copy:
            copy.gain(kept, self._clock.monotonic_s())
            self._by_name[kept.name] = copy

    async def _find(self, copy: PrefixCopy) -> Kept | None:
        try:
            return await self._provider.find(copy.key, copy.target)
        except (ModelAuthError, ModelNotFound, ModelProtocolError):
            return None  # not being allowed to list is no reason not to make one

    async def _renew(self, copy: PrefixCopy) -> None:
        kept = copy.kept
        if kept is None:
            return
        try:
            copy.prolong(await self._provider.renew(kept.name, copy.target, ttl_s=copy.ttl_s))
            self.counts["renewed"] += 1
        except (ModelNotFound, ModelRequestError):
            copy.lose(self._clock.monotonic_s())
            self._lost(kept.name)

    async def _look_up(self, copy: PrefixCopy, name: str) -> None:
        """Whether the copy is really gone, or the request was at fault: one bad request must not cost a good copy."""
        try:
            found = await self._provider.look_up(name, copy.target)
        except ModelError:
            found = None
        if found is not None:
            copy.trust(found)
        else:
            copy.lose(self._clock.monotonic_s())
            self._lost(name)

    async def _delete_all(self) -> None:
        names = list(self._by_name.items())
        self._by_name.clear()
        for name, copy in names:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._provider.delete(name, copy.target)
            except (ModelError, TimeoutError):
                return  # it ends by itself; closing does not wait for a provider that does not answer

    def _lost(self, name: str) -> None:
        self.counts["lost"] += 1
        self._forget(name)
        log.info("vertex.context_lost")

    def _forget(self, name: str) -> None:
        self._by_name.pop(name, None)
