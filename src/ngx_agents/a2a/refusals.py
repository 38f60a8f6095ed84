"""What a call to another agent can come to, apart from the errors the agent itself raises.

NotFound       ← AgentUnknown     nobody is registered under the name
Overloaded     ← AgentBusy        a bound was reached: `reason` says which; carries `retry_after_s`
Unavailable    ← AgentSuspended   its breaker is open: nothing was sent; carries `retry_after_s`
               ← AgentAbsent      other processes may serve it, but none does now; nothing was sent
               ← StreamBroken     a streamed reply ended half-way; what was said so far is incomplete
RequestError   ← CallsUnbounded   too deep, or too many calls for one message: a loop between agents ends here
TurnError      ← BudgetSpent      the tokens, cost or calls that were left for this are used up
NgxError       ← AgentFailed      the agent raised what is none of our errors; logged where it ran
"""

from __future__ import annotations

from typing import Literal

from ngx_agents.errors import (
    JournalError,
    ModelThrottled,
    NgxError,
    NotFound,
    Overloaded,
    RequestError,
    TurnError,
    Unavailable,
)

BusyReason = Literal["pending", "mailbox", "displaced", "waited"]
_BUSY: dict[BusyReason, str] = {
    "pending": "too many requests between agents are unfinished",
    "mailbox": "too many messages wait for the agent",
    "displaced": "a more urgent message took the place in the agent's mailbox",
    "waited": "no worker of the agent was free in time",
}


class AgentUnknown(NotFound):
    def __init__(self, agent: str) -> None:
        super().__init__(f"there is no agent {agent[:64]!r}")
        self.agent = agent


class AgentBusy(Overloaded):
    """`reason`: pending, mailbox (nothing was accepted), displaced, waited (it was, and was never begun)."""

    def __init__(self, agent: str, reason: BusyReason, *, retry_after_s: float) -> None:
        super().__init__(_BUSY[reason], retry_after_s=retry_after_s)
        self.agent = agent
        self.reason: BusyReason = reason


class AgentSuspended(Unavailable):
    def __init__(self, agent: str, *, retry_after_s: float) -> None:
        super().__init__(
            f"the agent {agent[:64]!r} has failed too often and is left alone", retry_after_s=retry_after_s
        )
        self.agent = agent


class AgentAbsent(Unavailable):
    def __init__(self, agent: str, *, retry_after_s: float = 2.0) -> None:
        super().__init__(f"no process serves the agent {agent[:64]!r} now", retry_after_s=retry_after_s)
        self.agent = agent


class StreamBroken(Unavailable):
    def __init__(self, agent: str) -> None:
        super().__init__(f"the stream of the agent {agent[:64]!r} ended before its end")
        self.agent = agent


class CallsUnbounded(RequestError):
    """`bound`: depth or fan_out."""

    def __init__(self, agent: str, bound: Literal["depth", "fan_out"], limit: int) -> None:
        what = "calls below one another" if bound == "depth" else "calls from one message"
        super().__init__(f"more than {limit} {what}: the call to {agent[:64]!r} was not made")
        self.agent = agent
        self.bound = bound


class BudgetSpent(TurnError):
    """`kind`: tokens, cost or calls."""

    def __init__(self, kind: Literal["tokens", "cost", "calls"]) -> None:
        super().__init__(f"no {kind} are left for this")
        self.kind = kind


class AgentFailed(NgxError):
    def __init__(self, agent: str) -> None:
        super().__init__(f"the agent {agent[:64]!r} failed")
        self.agent = agent


# says nothing of the agent: the request, the caller's time or lane, or somebody else's load
_IGNORED = (RequestError, TurnError, Unavailable, JournalError, ModelThrottled)


def is_fault(error: BaseException) -> bool:
    """Whether it speaks against the agent that raised it, and its breaker should hear of it."""
    return not isinstance(error, _IGNORED)
