"""The coaching team: safety, then the route, then who answers. Keeps no state between turns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing

import msgspec

from ngx_agents.a2a.message import MAX_CALLS, A2AContext, Budget
from ngx_agents.a2a.server import A2AServer
from ngx_agents.a2a.trail import Trails, read_trail
from ngx_agents.agents.answer_screen import AnswerScreen
from ngx_agents.agents.brief import Brief
from ngx_agents.agents.cards import AgentCard
from ngx_agents.agents.closing import Closing, unseen
from ngx_agents.agents.colleagues import Colleague, fallback_counter
from ngx_agents.agents.consulting import Consulting
from ngx_agents.agents.crew import Answering, Crew
from ngx_agents.agents.earlier import earlier
from ngx_agents.agents.economy import economy_of
from ngx_agents.agents.errand import AwayErrand
from ngx_agents.agents.language import choose_language
from ngx_agents.agents.lineup import LineUp, callable_cards
from ngx_agents.agents.loader import ORCHESTRATOR, TeamContent, load_team
from ngx_agents.agents.prompt import ATTACHED, HISTORY_TOKENS, is_simple
from ngx_agents.agents.remote.agent import RemoteAgent, RemoteSettings
from ngx_agents.agents.remote.meters import RemoteMeters
from ngx_agents.agents.remote.roster import RemoteRoster
from ngx_agents.agents.router import Route, Router
from ngx_agents.agents.safety import RedFlag, SafetyScreen
from ngx_agents.agents.specialist import Specialist
from ngx_agents.agents.spending import Spending
from ngx_agents.agents.synthesis import Synthesis
from ngx_agents.agents.template import Templates, pieces_of
from ngx_agents.agents.toolbox import Toolbox
from ngx_agents.agents.tools.mcp.server import McpSettings
from ngx_agents.agents.tools.mcp.servers import McpServers
from ngx_agents.agents.tools.registry import build_tools
from ngx_agents.agents.turn import (
    AgentCompleted,
    AgentEvent,
    AgentStarted,
    Answered,
    Desk,
    TextDelta,
    TextReset,
    TurnTask,
)
from ngx_agents.agents.wording import normalise, words_of
from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import ConfigError, DeadlineExceeded
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.model import Profile
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import Usage

_log = event_log("agents")


class CoachingTeam:
    """Implements `turn.Team`."""

    def __init__(  # noqa: PLR0913  # the team's surroundings, all by name
        self,
        *,
        model: VertexAIClient | None,
        bus: A2AServer,
        agents: Collection[str] = (),
        small_model_languages: frozenset[str] = frozenset(),
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
        history_tokens: int = HISTORY_TOKENS,
        remote: Sequence[RemoteSettings] = (),
        spending: Spending | None = None,
        modes: Modes | None = None,
        cheaper_model: str | None = None,
        tool_servers: Sequence[McpSettings] = (),
        consults: bool = False,
        trails: Trails | None = None,
    ) -> None:
        """`history_tokens` bounds the earlier messages a model sees. Raises ConfigError for broken content.

        Its specialists are asked over `bus`; `agents` are those that answer in this process (none named: all), the
        others are asked elsewhere, when the bus has a carrier.

        `small_model_languages` set: `model` is a small one, asked only simple things in these languages.
        `consults`: specialists' models may ask one another. `trails` signs what agents elsewhere are told of a
        message's way.
        `spending` pays for the calls of the model; without it nothing is counted. By `modes` turns do without some of
        this, from degraded 3 with `cheaper_model`.
        Agents and tools elsewhere are there while the contexts of the attributes `remote` and `tool_servers` are
        entered.
        """
        tools = build_tools()
        team = load_team(tools=tools)
        _check_ids(remote, team)
        _check_given(tool_servers, team)
        self._team = team
        self._model = model
        self._small_languages = small_model_languages
        self._clock = clock
        self._modes = modes or Modes(clock=clock)
        self._cheaper_model = cheaper_model
        self._rng = rng
        self._history_tokens = history_tokens
        self._safety = SafetyScreen(team.safety)
        templates, screen = Templates(team.agents), AnswerScreen(team.safety)
        self.tool_servers = McpServers(tool_servers, metrics=metrics, clock=clock, rng=rng)
        toolbox = Toolbox(tools, metrics, self.tool_servers)
        own = {
            name: Specialist(
                agent,
                model=None if small_model_languages else model,
                toolbox=toolbox,
                templates=templates,
                screen=screen,
                spending=spending,
            )
            for name, agent in team.specialists.items()
        }
        self._bus = bus
        specialists = _on_bus(own, bus, here=agents, clock=clock, metrics=metrics, spending=spending)
        cards = {name: agent.card for name, agent in team.specialists.items()}
        self._synthesis = Synthesis(
            team.orchestrator, cards, model=model, templates=templates, screen=screen, spending=spending
        )
        self._cards = cards
        self.remote = _roster(remote, screen=screen, clock=clock, rng=rng, metrics=metrics, trails=trails or Trails())
        self.remote.on_change = self._line_up
        if spending is not None:
            self.remote.obey(spending.controls.stopped)
        answering: dict[str, Answering] = {**specialists, **self.remote.agents}
        self._crew = Crew(answering, self._synthesis, closing=Closing(self._safety))
        self._own_router = Router(team)
        if consults:
            _let_consult(own, specialists, cards, self._own_router)
        self._line_up()
        self._flags = metrics.counter("ngx_red_flags_total", "Turns that a red flag ended, by flag.", "flag")
        self._routes = metrics.counter("ngx_routes_total", "Turns by how they were routed.", "kind")

    def cards(self) -> list[AgentCard]:
        """The team's cards, the orchestrator first, agents elsewhere last."""
        return [*(agent.card for agent in self._team.agents), *self.remote.cards()]

    def knows(self, agent_id: str) -> bool:
        return agent_id == ORCHESTRATOR or agent_id in self._cards or agent_id in self.remote.agents

    def _line_up(self) -> None:
        """Takes in what the agents elsewhere show of themselves now."""
        self._lineup = LineUp(self._team, crew=self._crew, own=self._own_router, roster=self.remote)
        self._synthesis.call_upon(callable_cards(self._cards, self.remote))

    def first_aid(self, text: str, locale: str | None) -> str | None:
        """Whom to call, when the text alone raises a red flag: for a message that cannot be taken as a turn."""
        plain = normalise(text)
        words, profile = words_of(plain), Profile()
        language = choose_language(words, locale=locale, profile_locale=None)
        flag = self._safety.red_flag(plain, words, language=language, locale=locale, profile=profile)
        if flag is None:
            return None
        self._flags.labels(flag.id).inc()
        return flag.text

    async def answer(self, task: TurnTask, desk: Desk) -> AsyncGenerator[AgentEvent]:
        """Raises LeaseLost, DeadlineExceeded."""
        if self._clock.monotonic_s() >= task.deadline_s:
            raise DeadlineExceeded("the turn's deadline has passed")
        async with aclosing(self._events(task, desk)) as events:
            async for event in events:
                yield event

    def _events(self, task: TurnTask, desk: Desk) -> AsyncGenerator[AgentEvent]:
        plain = normalise(task.text)
        words = words_of(plain)
        profile = task.profile
        language = choose_language(words, locale=task.locale, profile_locale=profile.locale)
        locale = task.locale or profile.locale
        flag = self._safety.red_flag(plain, words, language=language, locale=locale, profile=profile)
        if flag is not None:
            self._flags.labels(flag.id).inc()
            _log.warning("safety.red_flag", flag=flag.id, turn_id=task.turn_id)
            return _fixed(flag.text, rung="safety")
        route = self._route(task, words)
        self._routes.labels(route.kind).inc()
        before = earlier(self._safety, task.history, text=plain, language=language, locale=locale, profile=profile)
        cautions = tuple(dict.fromkeys((*self._safety.cautions(plain, words, profile), *before.cautions)))
        economy = economy_of(self._modes.current, task.turn_class, cheaper_model=self._cheaper_model)
        brief = Brief(
            task=task,
            desk=desk,
            calls=self._calls(task),
            language=language,
            words=tuple(words),
            cautions=cautions,
            guidance=(*self._safety.guidance(cautions, language), *((ATTACHED[language],) if task.attachments else ())),
            skills=route.skills,
            history_tokens=economy.of_history(self._history_tokens),
            economy=economy,
            is_streamed=task.is_streamed,
        )
        if before.flag is None or route.reply is not None:
            return self._coached(brief, route)
        return self._recalling(before.flag, brief, route)

    def _calls(self, task: TurnTask) -> A2AContext:
        """Where the turn's calls begin: below those of the servers that the message came through."""
        if task.trail is None:
            return self._bus.context(deadline_s=task.deadline_s, turn_class=task.turn_class)
        trail = read_trail(task.trail)
        budget = Budget(calls=min(MAX_CALLS, trail.calls_left))
        return self._bus.context(
            deadline_s=task.deadline_s, turn_class=task.turn_class, budget=budget, depth=trail.depth
        )

    def _recalling(self, flag: RedFlag, brief: Brief, route: Route) -> AsyncGenerator[AgentEvent]:
        """The answer after the reminder of an earlier flag; what that flag holds gets no plan."""
        if any(self._is_held(agent, flag) for agent in route.agents):
            _log.warning("safety.held", flag=flag.id, turn_id=brief.task.turn_id)
            return _fixed(f"{flag.reminder}\n\n{self._safety.held(brief.language)}", rung="safety")
        return _prefixed(self._coached(brief, route), f"{flag.reminder}\n\n")

    def _is_held(self, agent: str, flag: RedFlag) -> bool:
        """An agent elsewhere knows nothing of the flag, whatever it is for."""
        return agent in self.remote.agents or self._cards[agent].intent in flag.holds

    def _route(self, task: TurnTask, words: Sequence[str]) -> Route:
        """To the caller's choice, else the router's."""
        if task.agent is not None and task.agent != ORCHESTRATOR:
            return self._lineup.router.route_to(task.agent, words)
        return self._lineup.route(words, last_agent=task.history[-1].agent if task.history else None)

    def _coached(self, brief: Brief, route: Route) -> AsyncGenerator[AgentEvent]:
        if route.reply is not None:
            return _fixed(self._predefined(route.reply, brief), rung="template")
        if route.kind == "general":
            return self._general(brief, route)
        return self._crew.run(brief, route.agents)

    async def _general(self, brief: Brief, route: Route) -> AsyncGenerator[AgentEvent]:
        """The model answers or says whom to call; without it the best guess answers, without a guess a fixed reply."""
        spent, agents, degraded = Usage(), route.agents, False
        if self._asks_model(brief):
            handover = self._crew.direct(brief)
            async with aclosing(handover.events()) as events:
                async for event in events:
                    yield event
            if handover.is_answered:
                return
            spent, degraded = handover.spent, handover.has_failed
            agents = handover.agents or agents or (() if degraded else self._team.routing.general_query)
        if not agents:
            text = self._predefined(route.fallback or self._team.routing.fallback_reply, brief)
            events = _fixed(text, rung="template", degraded=degraded, usage=spent)
        else:
            events = self._crew.run(self._lineup.router.briefed(brief, agents), agents, spent=spent)
        async with aclosing(events):
            async for event in events:
                yield event

    def _asks_model(self, brief: Brief) -> bool:
        if self._model is None or not self._small_languages:
            return self._model is not None
        return brief.language in self._small_languages and is_simple(brief)

    def _predefined(self, reply: str, brief: Brief) -> str:
        text = self._team.orchestrator.replies[reply].text.pick(brief.language, self._rng)
        return text + unseen(brief.language) if brief.task.attachments else text


def _roster(
    remote: Sequence[RemoteSettings], *, screen: AnswerScreen, clock: Clock, rng: Rng, metrics: Metrics, trails: Trails
) -> RemoteRoster:  # the agents' surroundings
    meters = RemoteMeters(metrics)
    agents = [RemoteAgent(one, screen=screen, meters=meters, clock=clock, rng=rng, trails=trails) for one in remote]
    return RemoteRoster(agents, meters=meters, clock=clock, rng=rng)


def _check_ids(remote: Sequence[RemoteSettings], team: TeamContent) -> None:
    for one in remote:
        if one.id == ORCHESTRATOR or one.id in team.specialists:
            raise ConfigError(f"[agents.remote.{one.id}]: the team has an agent of that name")


def _on_bus(  # the team's surroundings
    own: Mapping[str, Specialist],
    bus: A2AServer,
    *,
    here: Collection[str],
    clock: Clock,
    metrics: Metrics,
    spending: Spending | None,
) -> dict[str, Colleague]:
    """The specialists as others ask them; those that are `here` (none named: all) answer on the bus."""
    fallbacks = fallback_counter(metrics)
    colleagues = {
        name: Colleague(
            name, specialist, is_here=not here or name in here, clock=clock, fallbacks=fallbacks, spending=spending
        )
        for name, specialist in own.items()
    }
    for name, colleague in colleagues.items():
        if not here or name in here:
            bus.register(name, colleague.handle, accepts=AwayErrand)
    return colleagues


def _let_consult(
    own: Mapping[str, Specialist], asked: Mapping[str, Colleague], cards: Mapping[str, AgentCard], router: Router
) -> None:
    for name, specialist in own.items():
        others = {other: colleague for other, colleague in asked.items() if other != name}
        reads = [kind for other in others for kind in own[other].reads]
        specialist.may_consult(Consulting(others, cards, router.skill_of), reads)


def _check_given(tool_servers: Sequence[McpSettings], team: TeamContent) -> None:
    for one in tool_servers:
        for agent in sorted(one.agents - set(team.specialists)):
            raise ConfigError(f"[mcp.{one.name}] agents: the team has no specialist {agent!r}")


async def _prefixed(events: AsyncGenerator[AgentEvent], prefix: str) -> AsyncGenerator[AgentEvent]:
    """The same answer with `prefix` before it, also after a reset."""
    is_said = False
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta) and not is_said:
                is_said = True
                yield TextDelta(prefix, event.agent)
            elif isinstance(event, TextReset):
                is_said = False
            elif isinstance(event, Answered):
                event = msgspec.structs.replace(event, text=prefix + event.text)
            yield event


async def _fixed(
    text: str, *, rung: str, degraded: bool = False, usage: Usage | None = None
) -> AsyncGenerator[AgentEvent]:
    """An answer that was written beforehand."""
    yield AgentStarted(ORCHESTRATOR)
    for piece in pieces_of(text):
        yield TextDelta(piece, ORCHESTRATOR)
    yield AgentCompleted(ORCHESTRATOR)
    yield Answered(
        text=text, source="template", rung=rung, agents=(ORCHESTRATOR,), degraded=degraded, usage=usage or Usage()
    )
