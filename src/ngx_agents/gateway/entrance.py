"""The one way in for whatever starts a turn: HTTP turns, OpenAI calls, A2A messages, MCP calls, batches, schedules.

`enter` refuses at the start and stores nothing, or gives a ticket. Whoever got one leaves it with the turn
(`TurnRequest.ticket`), which settles what it spent and gives it back when it ends; a caller that raises before the
turn has taken it gives it back by leaving its `with`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from ngx_agents.errors import ReadOnly
from ngx_agents.gateway.limits import Limits
from ngx_agents.gateway.principal import Principal
from ngx_agents.resilience.modes import Mode, Modes

READ_ONLY = "history is served, new turns are refused for now"


class Ticket:
    """One turn may start. `with ticket:` gives it back when the block raises; the turn does so at its end."""

    __slots__ = ("_on_release", "_on_spent", "told")

    def __init__(self) -> None:
        self._on_release: list[Callable[[], None]] = []
        self._on_spent: list[Callable[[int, int], None]] = []
        self.told: tuple[tuple[bytes, bytes], ...] = ()
        """Header fields for the answer: how the limits stand."""

    def on_release(self, act: Callable[[], None]) -> None:
        """`act` is called once, when the turn has ended or never began."""
        self._on_release.append(act)

    def on_spent(self, act: Callable[[int, int], None]) -> None:
        """`act(input_tokens, output_tokens)` is called before the release, with what the turn used of the model."""
        self._on_spent.append(act)

    def spent(self, *, input_tokens: int, output_tokens: int) -> None:
        for act in self._on_spent:
            act(input_tokens, output_tokens)
        self._on_spent.clear()

    def release(self) -> None:
        """Gives it back; again is nothing."""
        acts, self._on_release = self._on_release, []
        for act in acts:
            act()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.release()


class Entrance:
    """Order: mode, the plan's limits, then admission. Without `limits` nothing is counted."""

    def __init__(self, modes: Modes, limits: Limits | None = None) -> None:
        self._modes = modes
        self._limits = limits

    async def enter(
        self, principal: Principal, *, turn_class: int = 1, tokens_hint: int = 0, size_bytes: int = 0
    ) -> Ticket:
        """`tokens_hint`: about how many tokens the message has; `size_bytes`: of the request's body.

        Raises ReadOnly, RateLimited, Forbidden (suspended).
        """
        if self._modes.current is Mode.READ_ONLY:
            raise ReadOnly(READ_ONLY, retry_after_s=self._modes.retry_after_s)
        ticket = Ticket()
        if self._limits is not None:
            taken = await self._limits.take(principal.owner, size_bytes)
            ticket.told = taken.told
            ticket.on_release(taken.free)
        return ticket
