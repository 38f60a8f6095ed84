"""One agent elsewhere as a member of the team: answers a brief like a specialist does.

Its text passes the same sentence gate and is withdrawn when the answer breaks; then a fixed text says honestly that the
agent could not be reached. It is given the message alone: no profile, no history, no name of the user. What it said
is known to be foreign by `source: remote` for as long as it is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from ngx_agents.a2a.refusals import BudgetSpent, CallsUnbounded
from ngx_agents.a2a.trail import Trail, Trails
from ngx_agents.agents.answer_screen import AnswerScreen, SentenceGate
from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.cards import AgentCard
from ngx_agents.agents.remote.card import RemoteCard, read_card, unknown_card
from ngx_agents.agents.remote.client import A2AClient, Place
from ngx_agents.agents.remote.hearing import Hearing
from ngx_agents.agents.remote.http import ForeignHttp
from ngx_agents.agents.remote.meters import RemoteMeters
from ngx_agents.agents.remote.wire import StreamEvent
from ngx_agents.agents.turn import AgentEvent, ArtifactMade, TextReset
from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import RemoteError, RemoteProtocolError, RemoteRefused, RemoteUnavailable
from ngx_agents.resilience.breaker import Breaker, BreakerRules, Ticket
from ngx_agents.resilience.token_bucket import TokenBucket
from ngx_agents.telemetry.log import event_log

_log = event_log("remote")
RULES = BreakerRules(min_calls=5, window_s=30.0, open_s=15.0, max_open_s=60.0, probes=1)
MAX_WAITING = 10_000  # conversations whose task waits for the user
SPARE_S = 1.0  # of the turn's time, kept for saying that the agent did not answer
_SORRY = {
    "es": (
        "El agente externo «{name}» no está disponible en este momento ({why}). No puedo darte su respuesta; vuelve a "
        "intentarlo más tarde o pregúntale al equipo."
    ),
    "en": (
        "The external agent “{name}” is not available right now ({why}). I cannot give you its answer; try again "
        "later, or ask the team."
    ),
}
_WHY = {
    "remote_timeout": {"es": "no respondió a tiempo", "en": "it did not answer in time"},
    "remote_refused": {"es": "rechazó la petición", "en": "it refused the request"},
    "unbounded": {"es": "la petición ya ha pasado por demasiados agentes", "en": "it came through too many agents"},
    "remote_protocol": {"es": "su respuesta no es utilizable", "en": "its answer cannot be used"},
}
_AWAY = {"es": "no se puede contactar con él", "en": "it cannot be reached"}
Leave = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """`skills` are those used, all when empty. Bounds are those of this process; bytes are of one answer or card."""

    id: str
    card_url: str
    origins: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    skills: tuple[str, ...] = ()
    timeout_s: float = 20.0
    max_response_bytes: int = 1_048_576
    calls_per_minute: int = 600
    max_in_flight: int = 32
    refresh_s: float = 300.0


class RemoteAgent:
    """Enter its roster before use. `leave` runs what outlives the turn that asked for it; `is_stopped` tells for a
    tenant whether an operator has stopped this agent."""

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        screen: AnswerScreen,
        meters: RemoteMeters,
        clock: Clock,
        rng: Rng,
        trails: Trails,
    ) -> None:
        self.settings = settings
        self._trails = trails
        self.http = ForeignHttp(
            (settings.card_url, *settings.origins),
            headers=dict(settings.headers),
            max_bytes=settings.max_response_bytes,
            limit=settings.max_in_flight + 2,
        )
        self._client = A2AClient(self.http)
        self._screen = screen
        self._clock = clock
        self._meters = meters
        self._bucket = TokenBucket(per_minute=settings.calls_per_minute, clock=clock)
        self._breaker = Breaker(RULES, clock=clock, rng=rng, on_change=meters.breaker(settings.id))
        self._in_flight = 0
        self._etag: str | None = None
        self._known: RemoteCard | None = None
        self._waiting: OrderedDict[str, Place] = OrderedDict()  # by conversation
        self.leave: Leave = _drop
        self.is_stopped: Callable[[str], bool] = _never

    @property
    def id(self) -> str:
        return self.settings.id

    @property
    def is_available(self) -> bool:
        """Whether its card is known and it is worth asking."""
        return self._known is not None and self._breaker.state != "open"

    @property
    def card(self) -> AgentCard:
        return unknown_card(self.id) if self._known is None else self._known.card

    async def refresh(self) -> float | None:
        """Looks at its card again; for how long it holds, as the card's headers say. Raises RemoteError."""
        settings = self.settings
        fetched = await self._client.card(settings.card_url, etag=self._etag if self._known else None)
        if fetched.raw is not None:
            self._known = read_card(fetched.raw, agent_id=self.id, allowed=settings.skills, may_ask=self.http.may_ask)
        self._etag = fetched.etag
        return fetched.max_age_s

    async def answer(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]:
        """Deltas, resets and artifacts; `work` is complete when they end."""
        began_s = self._clock.monotonic_s()
        try:
            async with aclosing(self._asked(brief, work)) as events:
                async for event in events:
                    yield event
        except (RemoteError, CallsUnbounded, BudgetSpent) as exc:
            code = exc.code if isinstance(exc, RemoteError) else "unbounded"
            _log.warning("remote.failed", agent=self.id, code=code, reason=str(exc))
            self._meters.ended(self.id, code, self._clock.monotonic_s() - began_s)
            work.degraded = True
            if work.text:
                work.text = ""
                yield TextReset("remote_failed")
            why = _WHY.get(code, _AWAY)[brief.language]
            yield work.say(_SORRY[brief.language].format(name=self.card.name.of(brief.language), why=why))
        else:
            self._meters.ended(self.id, "completed", self._clock.monotonic_s() - began_s)

    async def _asked(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]:
        hearing, gate, said = Hearing(), self._screen.gate(brief.language), ""
        if self.is_stopped(brief.task.owner.tenant):
            raise RemoteUnavailable("an operator has stopped it")
        asked = _below(brief, self.id)
        with self._call(hearing) as card:
            async with aclosing(self._tried(card, asked, hearing)) as texts:
                async for text in texts:
                    for event in _told(text, said, gate, work):
                        yield event
                    said = text
            if not hearing.is_over:
                raise RemoteUnavailable("its answer broke off")
            if rest := gate.finish():
                yield work.say(rest)
            if not work.text.strip():
                raise RemoteProtocolError("its answer has no text")
        for made in self._kept(hearing, brief, work):
            yield made
        work.source, work.rung, work.by_model = "remote", "remote", True

    @contextmanager
    def _call(self, hearing: Hearing) -> Iterator[RemoteCard]:
        """One admitted call, counted and settled; a task that is left behind is cancelled."""
        card, ticket = self._admitted()
        self._in_flight += 1
        try:
            yield card
            ticket.succeeded()
        except RemoteRefused:
            ticket.ignored()  # it is there, and says no to this one
            raise
        except RemoteError:
            ticket.failed()
            raise
        finally:
            ticket.ignored()
            self._in_flight -= 1
            if hearing.task_id is not None and not hearing.is_over:
                self.leave(self._cancel(card, hearing.task_id))

    def _admitted(self) -> tuple[RemoteCard, Ticket]:
        """Raises RemoteUnavailable."""
        if self._known is None:
            raise RemoteUnavailable("its agent card is not known yet")
        if self._in_flight >= self.settings.max_in_flight:
            raise RemoteUnavailable("as many calls as are allowed run already")
        ticket = self._breaker.admit()
        if ticket is None:
            raise RemoteUnavailable("it failed too often lately", retry_after_s=self._breaker.retry_after_s)
        if wait_s := self._bucket.take(1):
            ticket.ignored()
            raise RemoteUnavailable("as many calls as are allowed in a minute were made", retry_after_s=wait_s)
        return self._known, ticket

    async def _tried(self, card: RemoteCard, brief: Brief, hearing: Hearing) -> AsyncGenerator[str]:
        """The text so far, after each event. Where its place is not taken, the message is sent again without one."""
        conversation_id, calls_left = brief.task.conversation_id, brief.calls.hand_on()
        waiting = self._waiting.pop(conversation_id, None)
        places = [Place(context_id=_opaque("context", conversation_id, self.id)), Place()]
        if waiting is not None:
            places.insert(0, waiting)
        for place in places:
            try:
                async with aclosing(self._events(card, brief, place, calls_left)) as events:
                    async for event in events:
                        hearing.take(event)
                        yield hearing.text
            except RemoteRefused:
                if place is places[-1] or hearing.task_id is not None or hearing.is_over:
                    raise
            else:
                self._remember(conversation_id, hearing)
                return

    def _remember(self, conversation_id: str, hearing: Hearing) -> None:
        """The task that waits for the user's next message; only in this process, the oldest are forgotten."""
        if hearing.is_asking and hearing.task_id is not None:
            self._waiting[conversation_id] = Place(task_id=hearing.task_id)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)

    def _events(self, card: RemoteCard, brief: Brief, place: Place, calls_left: int) -> AsyncGenerator[StreamEvent]:
        task = brief.task
        left_s = task.deadline_s - self._clock.monotonic_s() - SPARE_S
        timeout_s = min(self.settings.timeout_s, left_s)
        trail = Trail(depth=brief.calls.depth, calls_left=calls_left, remaining_s=timeout_s)
        return self._client.send(
            card,
            task.text,
            message_id=_opaque("message", task.turn_id, self.id),
            place=place,
            timeout_s=timeout_s,
            trail=self._trails.told(trail),
        )

    def _kept(self, hearing: Hearing, brief: Brief, work: Work) -> list[AgentEvent]:
        made = [
            brief.desk.new_artifact(agent=self.id, kind="RemoteArtifact", title=title[:200], data=data)
            for title, data in hearing.things
        ]
        work.artifacts += made
        return [ArtifactMade(each) for each in made]

    async def _cancel(self, card: RemoteCard, task_id: str) -> None:
        try:
            await self._client.cancel(card, task_id)
        except RemoteError as exc:
            _log.info("remote.not_cancelled", agent=self.id, code=exc.code)


def _below(brief: Brief, agent: str) -> Brief:
    """The brief of a call to the agent, within the turn's. Raises CallsUnbounded, BudgetSpent."""
    return msgspec.structs.replace(brief, calls=brief.calls.child(agent, None, brief.task.turn_class))


def _never(_: str) -> bool:
    return False


def _drop(work: Coroutine[Any, Any, None]) -> None:
    work.close()


def _told(text: str, said: str, gate: SentenceGate, work: Work) -> list[AgentEvent]:
    """What to say now that all of the text is `text` and `said` was before: what is new, or all of it anew."""
    events: list[AgentEvent] = []
    if not text.startswith(said):
        gate.discard()
        events += work.withdraw("remote_replaced", "")
        said = ""
    if shown := gate.feed(text[len(said) :]):
        events.append(work.say(shown))
    return events


def _opaque(kind: str, own_id: str, agent_id: str) -> str:
    """The same for the same things, and nothing to learn from it."""
    return f"ngx-{blake2b(f'{kind}/{agent_id}/{own_id}'.encode(), digest_size=16).hexdigest()}"
