"""The real parts of a turn, put together so that each can be run alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import BenchmarkError
from benchmarks.sampling import ANSWER, OWNER, QUESTION
from benchmarks.stage_edge import AtOnce
from ngx_agents.a2a.server import A2AServer
from ngx_agents.agents.answer_screen import AnswerScreen
from ngx_agents.agents.language import choose_language
from ngx_agents.agents.loader import load_team
from ngx_agents.agents.orchestrator import CoachingTeam
from ngx_agents.agents.prompt import contents_of, system_prompt
from ngx_agents.agents.router import Route, Router
from ngx_agents.agents.safety import SafetyScreen
from ngx_agents.agents.tools.registry import build_tools
from ngx_agents.agents.turn import Answered, TurnTask
from ngx_agents.agents.wording import normalise, words_of
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.entrance import Entrance
from ngx_agents.gateway.mode_switch import ModeSwitch
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.resilience.admission import Gate, GateRules
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.commands import (
    Accepted,
    AcceptTurn,
    ApiKey,
    CreateConversation,
    FinishTurn,
    GetProfile,
    Grant,
    PutKey,
    RecentMessages,
)
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.ids import Ids, shard_of
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Answer, Message, Profile
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.batches.intake import BatchDesk
from ngx_agents.turns.batches.taker import BatchTaker
from ngx_agents.turns.desk import TurnDesk
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.events import terminal
from ngx_agents.turns.model import TurnRequest, TurnView
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Sealer
from ngx_agents.turns.settings import TurnSettings
from ngx_agents.turns.stream import TurnStream
from ngx_agents.turns.webhooks import WebhookDesk
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import ModelReply, ModelRequest, StreamEnd
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.settings import VertexSettings

CONVERSATIONS = 4096  # so many that each stays short
TURN_S = 60.0
SHARD = shard_of(OWNER.user)
MODEL = "gemini-3.8-flash"


def history_of(count: int) -> tuple[Message, ...]:
    return tuple(
        Message(
            id=f"m{number}", seq=number + 1, role="user" if number % 2 == 0 else "assistant", turn_id="",
            text=QUESTION if number % 2 == 0 else ANSWER, created_at=0.0,
        )
        for number in range(count)
    )  # fmt: skip


class House:
    """Enter it to start journal, client and engine; every method then does one stage's work once."""

    def __init__(self, folder: Path, model_url: str) -> None:
        courtesy, metrics = Courtesy(), Metrics()
        self._clock = SystemClock()
        modes = Modes(clock=self._clock)
        rules = GateRules(limit=LimitRules(capacity=256.0))
        gate = Gate(rules, clock=self._clock, rng=Rng(1), fairness=Fairness(clock=self._clock))
        self._ids = Ids(self._clock)
        self._journal = MemoryTier(SqliteJournal(folder / "journal.db", courtesy=courtesy))
        self._alone = MemoryTier(SqliteJournal(folder / "alone.db", courtesy=courtesy))  # no engine claims its lanes
        self._client = VertexAIClient(
            connection_pool_size=256, settings=VertexSettings(project="local", base_url=model_url, model=MODEL),
            clock=self._clock, metrics=metrics, courtesy=courtesy,
        )  # fmt: skip
        self._bus = A2AServer(worker_threads=256, metrics=metrics)
        self._team = CoachingTeam(
            model=self._client, bus=self._bus, clock=self._clock, rng=Rng(1), metrics=metrics,
        )  # fmt: skip
        self._engine = TurnEngine(
            journal=self._journal, team=self._team, ids=self._ids, clock=self._clock, metrics=metrics,
            settings=TurnSettings(),
        )  # fmt: skip
        at_once = AtOnce(
            journal=self._journal, team=self._team, ids=self._ids, clock=self._clock, metrics=metrics,
            settings=TurnSettings(),
        )  # fmt: skip
        entrance = Entrance(modes, gate, metrics=metrics)
        controls = ControlBoard(self._journal, clock=self._clock, metrics=metrics)
        taker = BatchTaker(
            engine=at_once, journal=self._journal, modes=modes, clock=self._clock, rng=Rng(1), metrics=metrics,
            enter=lambda owner, turn_class: entrance.enter(Principal(owner), turn_class=turn_class),
        )  # fmt: skip
        self.edge = GatewayDeps(
            engine=at_once,
            webhooks=WebhookDesk(guard=Guard(), sealer=Sealer([b"bench"]), clock=self._clock),
            batches=BatchDesk(
                engine=at_once, journal=self._journal, taker=taker, ids=self._ids, clock=self._clock, max_open=1
            ),
            journal=self._journal, ids=self._ids, clock=self._clock, metrics=metrics, team=self._team,
            modes=modes, mode_switch=ModeSwitch(modes, controls, clock=self._clock), entrance=entrance,
            model_name=MODEL, controls=controls,
        )  # fmt: skip
        content = load_team(tools=build_tools())
        self._instructions = next(iter(content.specialists.values())).instructions.of("en")
        self._router = Router(content)
        self._safety = SafetyScreen(content.safety)
        self._answers = AnswerScreen(content.safety)
        self._dialect = VertexDialect("global")
        self._auth = Authenticator(AuthSettings(mode="api_key"), journal=self._journal, clock=self._clock)
        self._ended = metrics.counter("bench_total", "As a turn counts.", "status").labels("completed")
        self._seconds = metrics.histogram("bench_seconds", "As a turn is timed.").labels()
        self._headers: dict[bytes, bytes] = {}
        self._names = [self._ids.new("c", SHARD) for _ in range(CONVERSATIONS)]
        self._conversations = itertools.cycle(self._names)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for journal in (self._journal, self._alone):
            await journal.open()
            self._stack.push_async_callback(journal.close)
            await journal.migrate()
            await journal.transact(
                [CreateConversation(id=name, owner=OWNER, title="", now=0.0) for name in self._names]
            )
        secret, digest = new_api_key()
        self._headers = {b"authorization": b"Bearer " + secret.encode()}
        key = ApiKey(id=self._ids.new("k", SHARD), digest=digest, owner=OWNER, roles=(), created_at=0.0)
        await self._journal.transact([PutKey(key=key)])
        await self._stack.enter_async_context(self._client)
        await self._stack.enter_async_context(self._bus)
        await self._stack.enter_async_context(self._engine)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def authenticate(self) -> Principal:
        return await self._auth.principal(self._headers)

    async def store(self) -> None:
        """What a turn asks of the journal, memory tier in front of it."""
        grant = await self._accept()
        await self._alone.query(
            RecentMessages(conversation_id=grant.conversation_id, owner=OWNER, before=grant.user_seq, limit=200)
        )
        await self._alone.query(GetProfile(owner=OWNER))
        now = self._clock.now_s()
        message = Message(
            id=self._ids.new("m", SHARD), seq=0, role="assistant", text=ANSWER, created_at=now,
            turn_id=grant.turn_id, source="model",
        )  # fmt: skip
        command = FinishTurn(
            conversation_id=grant.conversation_id, owner=OWNER, turn_id=grant.turn_id, epoch=grant.epoch,
            user_seq=grant.user_seq, status="completed", answer=Answer(text=ANSWER, source="model"), last_seq=7,
            now=now, message=message,
        )  # fmt: skip
        [result] = await self._alone.transact([command])
        if isinstance(result, Exception):
            raise result

    async def _accept(self) -> Grant:
        now, turn_id, conversation_id = self._clock.now_s(), self._ids.new("t", SHARD), next(self._conversations)
        command = AcceptTurn(
            conversation_id=conversation_id, owner=OWNER, turn_id=turn_id, message_id=self._ids.new("m", SHARD),
            text=QUESTION, turn_class=1, when_busy="enqueue", now=now, deadline_at=now + TURN_S, grant_to="bench",
        )  # fmt: skip
        [accepted] = await self._alone.transact([command])
        if not isinstance(accepted, Accepted) or accepted.epoch is None:
            raise BenchmarkError(f"the lane was not granted: {accepted}")
        return Grant(
            conversation_id=conversation_id, owner=OWNER, turn_id=turn_id, epoch=accepted.epoch, attempts=1,
            text=QUESTION, turn_class=1, accepted_at=now, deadline_at=now + TURN_S, user_seq=accepted.user_seq,
            cancel_requested=False,
        )  # fmt: skip

    def route(self) -> Route:
        words = words_of(normalise(QUESTION))
        choose_language(words, locale=None, profile_locale=None)
        return self._router.route(words, last_agent=None)

    def screen(self, pieces: int) -> None:
        """The message before the model, the answer's pieces after it."""
        plain = normalise(QUESTION)
        words, profile = words_of(plain), Profile()
        self._safety.red_flag(plain, words, language="en", locale=None, profile=profile)
        self._safety.cautions(plain, words, profile)
        gate = self._answers.gate("en")
        for piece in _pieces(pieces):
            gate.feed(piece)
        gate.finish()

    def prompt(self, past: Sequence[Message]) -> bytes:
        return self._dialect.encode(self._request(past), model=MODEL, streams=True)

    async def stream_model(self) -> ModelReply:
        request = self._request(())
        async for event in self._client.stream(request):
            if isinstance(event, StreamEnd):
                return event.reply
        raise BenchmarkError("a stream without its end")

    async def call_model(self) -> ModelReply:
        return await self._client.generate(self._request(()))

    async def tell(self, pieces: int) -> None:
        """The events of a turn, and what is counted and timed for it."""
        stream = TurnStream(2000)
        stream.publish("turn.accepted", {"turn_id": "t", "conversation_id": "c", "position": 0})
        stream.start_epoch(1)
        stream.publish("turn.started", {"turn_id": "t"})
        stream.publish("agent.started", {"agent": "a"})
        for piece in _pieces(pieces):
            stream.say(piece, "a")
        stream.publish("agent.completed", {"agent": "a"})
        stream.next_sequence()
        view = TurnView(turn_id="t", conversation_id="c", status="completed", text=stream.text, source="model")
        stream.close(*terminal(view))
        for _ in range(4):
            self._ended.inc()
            self._seconds.observe(0.01)

    async def answer(self, *, streamed: bool) -> Answered:
        """The team's part; the desk is never asked for anything, as the question needs no tool."""
        now = self._clock.now_s()
        grant = Grant(
            conversation_id=next(self._conversations), owner=OWNER, turn_id=self._ids.new("t", SHARD), epoch=1,
            attempts=1, text=QUESTION, turn_class=1, accepted_at=now, deadline_at=now + TURN_S, user_seq=1,
            cancel_requested=False,
        )  # fmt: skip
        task = TurnTask(
            turn_id=grant.turn_id, conversation_id=grant.conversation_id, owner=OWNER, text=QUESTION, history=(),
            profile=Profile(), deadline_s=self._clock.monotonic_s() + TURN_S, now=now, is_streamed=streamed,
        )  # fmt: skip
        desk = TurnDesk(grant, journal=self._journal, ids=self._ids, clock=self._clock)
        async for event in self._team.answer(task, desk):
            if isinstance(event, Answered):
                return event
        raise BenchmarkError("the team gave no answer")

    async def turn(self, *, streamed: bool) -> TurnView:
        request = TurnRequest(
            conversation_id=next(self._conversations), owner=OWNER, text=QUESTION, is_streamed=streamed
        )
        accepted = await self._engine.accept(request)
        view = await self._engine.wait(accepted.turn_id, OWNER)
        if view.status != "completed" or view.source != "model":
            raise BenchmarkError(f"the turn was not answered by the model: {view}")
        return view

    def _request(self, past: Sequence[Message]) -> ModelRequest:
        return ModelRequest(
            system=system_prompt(self._instructions, language="en", profile=Profile()),
            contents=contents_of(past, QUESTION),
            deadline_s=self._clock.monotonic_s() + TURN_S,
        )


@lru_cache
def _pieces(count: int) -> list[str]:
    """An answer of whole sentences, cut into pieces as a model streams it."""
    words = (ANSWER + " ") * 3
    size = len(words) // count
    return [words[start : start + size] for start in range(0, size * count, size)]
