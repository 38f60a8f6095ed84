"""A real uvicorn server on loopback over the real engine and SQLite journal, and small means to talk to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from starlette.types import ASGIApp

from ngx_agents.agents.spending import Spending, SpendingSettings
from ngx_agents.agents.turn_budgets import TurnBudgets
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.entrance import Entrance
from ngx_agents.gateway.gatekeeper import Gatekeeper
from ngx_agents.gateway.limits import Limits
from ngx_agents.gateway.mode_switch import ModeSwitch
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.resilience.admission import Gate as AdmissionGate
from ngx_agents.resilience.admission import GateRules
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.budget_ledger import BudgetLedger
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.ids import Ids
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.batches.intake import BatchDesk
from ngx_agents.turns.batches.taker import BatchSettings, BatchTaker
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Sealer
from ngx_agents.turns.settings import TurnSettings
from ngx_agents.turns.webhooks import WebhookDesk
from tests.gateway.script_team import ScriptTeam

OPEN = GateRules(limit=LimitRules(capacity=256.0))


@dataclass
class Gate:
    """What `/readyz` is told."""

    is_open: bool = True


@dataclass
class House:
    """A gateway with everything below it, running."""

    app: ASGIApp
    deps: GatewayDeps
    engine: TurnEngine
    gate: Gate
    modes: Modes
    door: AdmissionGate
    ledger: BudgetLedger


@asynccontextmanager
async def house(
    path: Path,
    settings: GatewaySettings | None = None,
    *,
    team: Any = None,
    console: ASGIApp | None = None,
    is_limited: bool = False,
    rules: GateRules | None = None,
) -> AsyncIterator[House]:
    clock, metrics, gate = SystemClock(), Metrics(), Gate()
    ids, modes = Ids(clock), Modes(clock=clock)
    door = AdmissionGate(rules or OPEN, clock=clock, rng=Rng(1), fairness=Fairness(clock=clock))
    journal = MemoryTier(SqliteJournal(path / "journal.db"))
    team = team or ScriptTeam()
    controls = ControlBoard(journal, clock=clock, metrics=metrics, every_s=0.05)
    limits = Limits(controls, clock=clock, metrics=metrics)
    ledger = BudgetLedger(journal, clock=clock)
    pays = SpendingSettings(model="script", has_house_budgets=False)
    spending = Spending(pays, controls=controls, ledger=ledger, clock=clock, metrics=metrics)
    await journal.open()
    try:
        await journal.migrate()
        engine = TurnEngine(
            journal=journal, team=team, ids=ids, clock=clock, metrics=metrics, settings=TurnSettings(drain_s=0.2),
            modes=modes,
        )  # fmt: skip
        entrance = Entrance(
            modes, door, metrics=metrics, limits=limits if is_limited else None, budgets=TurnBudgets(spending)
        )
        taker = BatchTaker(
            engine=engine, journal=journal, modes=modes, clock=clock, rng=Rng(1), metrics=metrics,
            enter=lambda owner, turn_class: entrance.enter(Principal(owner), turn_class=turn_class),
            settings=BatchSettings(look_s=0.01, idle_s=0.1, settle_s=0.02),
        )  # fmt: skip
        batches = BatchDesk(engine=engine, journal=journal, taker=taker, ids=ids, clock=clock, max_open=3)
        keeper = Gatekeeper(door, modes=modes, clock=clock, metrics=metrics, instance=engine.instance)
        webhooks = WebhookDesk(guard=Guard(("127.0.0.1",)), sealer=Sealer([b"test"]), clock=clock)
        async with engine, controls, ledger, keeper, _at_work(taker):
            deps = GatewayDeps(
                engine=engine,
                journal=journal,
                ids=ids,
                clock=clock,
                metrics=metrics,
                team=team,
                modes=modes,
                mode_switch=ModeSwitch(modes, controls, clock=clock),
                entrance=entrance,
                controls=controls,
                batches=batches,
                webhooks=webhooks,
                model_name="script",
                ready=lambda: gate.is_open,
                console=console,
            )
            yield House(create_app(deps, settings or GatewaySettings()), deps, engine, gate, modes, door, ledger)
    finally:
        await journal.close()


@asynccontextmanager
async def _at_work(taker: BatchTaker) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(taker.run())
        yield
        task.cancel()


class _Server(uvicorn.Server):
    """Starts and stops without uvicorn's pauses of 100 ms, and leaves the test's signal handlers alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.leaving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.leaving.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for task in self.server_state.tasks:
            task.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The base URL."""
    # asyncio turns Nagle's algorithm off only where the protocol is named
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="warning", lifespan="off", access_log=False, timeout_graceful_shutdown=1, http="httptools"
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve([listener]))
        await server.listening.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.leaving.set()
            await running
    listener.close()


class Client:
    """JSON in, (status, JSON) out."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, **more) as response:
            is_json = "json" in response.headers.get("content-type", "")
            return response.status, await (response.json(content_type=None) if is_json else response.text())

    async def conversation(self, **more: Any) -> str:
        status, info = await self.call("POST", "/v1/conversations", json={}, **more)
        assert status == 201, info
        return str(info["id"])

    async def say(self, conversation_id: str, text: str, **more: Any) -> tuple[int, Any]:
        headers = more.pop("headers", {})
        return await self.call(
            "POST", f"/v1/conversations/{conversation_id}/turns", json={"text": text, **more}, headers=headers
        )


@asynccontextmanager
async def client(path: Path, settings: GatewaySettings | None = None, **more: Any) -> AsyncIterator[Client]:
    """A client of a served house."""
    async with house(path, settings, **more) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        yield Client(session, url)


async def events_of(response: aiohttp.ClientResponse) -> list[tuple[str | None, str, str]]:
    """The (id, name, data) of every event until the stream ends."""
    found = []
    for block in (await response.read()).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields.get("id"), fields["event"], fields["data"]))
    return found
