"""A worker's place that the caller takes itself: it does the agent's work in its own task.

For a caller that has the work at hand and keeps its own time: no mailbox, no second task, no copy of what is said. The
message counts like any other: pending, worker, breaker, instance, meters, span, and its context is a child of the
caller's. Nobody stops it but the caller, whose deadline and cancel reach the work as they reach everything it awaits.
"""

from __future__ import annotations

from types import TracebackType

from ngx_agents.a2a.call import Call
from ngx_agents.a2a.local_agent import LocalAgent
from ngx_agents.a2a.message import A2AContext
from ngx_agents.a2a.pool import Instance
from ngx_agents.a2a.refusals import AgentFailed
from ngx_agents.errors import NgxError
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.traceparent import parse_traceparent
from ngx_agents.telemetry.traces import NO_SPAN, Span, Traces

log = event_log("a2a")


class Seat:
    """`with seat as context:` around the work, once. An exception in it counts as the agent's, and passes; one that is
    none of ours becomes AgentFailed. A seat that is not entered must not be kept."""

    __slots__ = ("_agent", "_began_s", "_call", "_instance", "_span")

    def __init__(self, agent: LocalAgent, call: Call, traces: Traces) -> None:
        self._agent = agent
        self._call = call
        self._span = _span(agent, call, traces) if traces.is_on else NO_SPAN
        self._instance: Instance
        self._began_s = 0.0

    def __enter__(self) -> A2AContext:
        self._instance, self._began_s = self._agent.begin()
        return self._call.message.context

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._call
        if error is not None and not isinstance(error, Exception):
            call.stopped_by = "cancelled"
        call.is_settled = True
        self._agent.end(call, self._instance, self._began_s, error)
        self._span.end()
        if isinstance(error, Exception) and not isinstance(error, NgxError):
            log.exception("a2a.agent_failed", agent=call.agent, message_id=call.message.id)
            raise AgentFailed(call.agent) from error


def _span(agent: LocalAgent, call: Call, traces: Traces) -> Span:
    context = call.message.context
    span = traces.start("a2a.handle", kind="consumer", parent=parse_traceparent(context.traceparent))
    span.set("agent", agent.name)
    span.set("class", context.turn_class)
    span.set("depth", context.depth)
    context.traceparent = span.traceparent
    return span
