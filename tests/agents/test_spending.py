"""What a turn spends on the model: counted, bounded, stopped; with the emulator over the wire and a real journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from ngx_agents.a2a.memory_carrier import Exchange, MemoryCarrier
from ngx_agents.a2a.server import A2AServer
from ngx_agents.agents.budget_items import HouseBudgets, Periods
from ngx_agents.agents.spending import CHEAPER, Spending, SpendingSettings
from ngx_agents.agents.token_estimate import input_tokens_of
from ngx_agents.agents.turn import TextDelta
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.state.budget_ledger import BudgetLedger
from ngx_agents.state.commands import ListMeters, PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import Content, Media, ModelRequest, Text
from ngx_agents.vertex.prices import Price, Prices
from ngx_agents.vertex.settings import VertexSettings
from tests.agents.memory_desk import MemoryDesk
from tests.agents.routing_phrases import N, T
from tests.agents.test_with_model import BOTH, TRAIN, Emulator
from tests.agents.turns import TestTeam, a_task, coaching_team, see
from tests.emulator_process import start_emulator
from tests.memory_journal import opened

MODEL, CHEAP = "gemini-3.8-flash", "gemini-3.1-flash-lite"
RED_FLAG = "me duele el pecho y no puedo respirar"


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with start_emulator(chunks=12) as url:
        yield url


class House:
    """A team that pays, and what operators tell it."""

    def __init__(self, journal: MemoryJournal, client: VertexAIClient, **settings: Any) -> None:
        clock, self.metrics = SystemClock(), Metrics()
        self.journal = journal
        self.client = client
        self.controls = ControlBoard(journal, clock=clock, metrics=self.metrics)
        self.ledger = BudgetLedger(journal, clock=clock)
        self.spending = Spending(
            SpendingSettings(**({"model": MODEL, "cheaper_model": CHEAP, "has_house_budgets": False} | settings)),
            controls=self.controls,
            ledger=self.ledger,
            clock=clock,
            metrics=self.metrics,
            prices=Prices(clock, {MODEL: (Price(input_usd=1.0, output_usd=1.0),)}),
        )
        self.team: TestTeam = coaching_team(client, spending=self.spending)

    async def put(self, kind: str, name: str, **body: Any) -> None:
        told = json.dumps(body).encode() if body or kind == "stop" else b""
        await self.journal.transact([PutControl(kind=kind, id=name, body=told, now=1.0)])  # type: ignore[arg-type]
        await self.controls.refresh()

    async def meters(self) -> dict[str, int]:
        await self.ledger.give_back(idle_s=0.0)
        return {one.name: one.spent for one in await self.journal.query(ListMeters())}


@pytest.fixture
async def client(running: str) -> AsyncIterator[VertexAIClient]:
    Emulator(running).reset()
    settings = VertexSettings(project="test", base_url=running, model=MODEL)
    async with VertexAIClient(settings=settings, cache_enabled=False) as made:
        yield made


@pytest.fixture
async def journal() -> AsyncIterator[MemoryJournal]:
    async with opened(MemoryJournal()) as made:
        yield made


@pytest.fixture
async def house(journal: MemoryJournal, client: VertexAIClient) -> House:
    return House(journal, client)


async def test_every_agent_of_a_turn_is_counted_against_its_own_budget(
    journal: MemoryJournal, client: VertexAIClient
) -> None:
    house = House(journal, client, has_house_budgets=True)
    seen = await see(house.team, a_task(BOTH))
    meters = await house.meters()
    agents = {name.rpartition("/")[2] for name in meters}
    assert agents == {"elite_training_strategist", "precision_nutrition_architect", "orchestrator"}
    usage = seen.answered.usage
    assert sum(meters.values()) == usage.input_tokens + usage.output_tokens + usage.thought_tokens


async def test_tokens_and_cost_are_counted_for_tenant_user_conversation_and_turn(house: House) -> None:
    for scope in ("tenant", "user", "conversation", "turn"):
        await house.put("budget", scope, scope=scope, period="day", tokens=10**9, cost_usd=1e6)
    seen = await see(house.team, a_task(TRAIN))
    meters = await house.meters()
    usage = seen.answered.usage
    tokens = usage.input_tokens + usage.output_tokens + usage.thought_tokens
    assert len(meters) == 8
    assert set(meters.values()) == {tokens}, "at 1 USD a million, a token is a millionth"
    assert {name.rpartition("/")[2] for name in meters} == {"default", "ana", "c1", "t_00t1"}


async def test_a_spent_budget_blocks_the_model_and_the_agents_tools_answer(house: House) -> None:
    await house.put("budget", "month", scope="tenant", tokens=100, action="block")
    first = await see(house.team, a_task(TRAIN))
    assert first.answered.source == "model", "the reservation that crosses the limit is the last one"
    second = await see(house.team, a_task(TRAIN))
    assert (second.answered.source, second.answered.degraded) == ("template", True)
    assert second.artifacts, "the plan is computed all the same"
    assert b'ngx_budget_actions_total{action="block"}' in house.metrics.render()


async def test_a_red_flag_is_answered_whatever_is_spent_and_a_critical_turn_is_counted_not_refused(
    house: House,
) -> None:
    await house.put("budget", "month", scope="tenant", tokens=0, action="block")
    flagged = await see(house.team, a_task(RED_FLAG))
    assert (flagged.answered.rung, flagged.answered.degraded) == ("safety", False)
    assert (await see(house.team, a_task(TRAIN))).answered.source == "template"
    critical = msgspec.structs.replace(a_task(TRAIN), turn_class=0)
    assert (await see(house.team, critical)).answered.source == "model"
    assert sum((await house.meters()).values()) > 0


async def test_beyond_its_limit_a_budget_that_degrades_asks_the_cheaper_model(house: House) -> None:
    await house.put("budget", "month", scope="user", tokens=0, action="degrade")
    seen = await see(house.team, a_task(TRAIN))
    assert (seen.answered.source, seen.answered.model, seen.answered.degraded) == ("model", CHEAP, True)
    await house.put("budget", "month", scope="user", tokens=10**9, action="degrade")
    seen = await see(house.team, a_task(TRAIN))
    assert (seen.answered.model, seen.answered.degraded) == (MODEL, False)


async def test_a_budget_of_another_tenant_user_or_agent_does_not_concern_the_turn(house: House) -> None:
    await house.put("budget", "a", scope="tenant", of="other", tokens=0, action="block")
    await house.put("budget", "b", scope="user", tenant="other", tokens=0, action="block")
    await house.put("budget", "c", scope="agent", of="progress_tracker", tokens=0, action="block")
    assert (await see(house.team, a_task(TRAIN))).answered.source == "model"
    assert await house.meters() == {}


async def test_the_flag_gives_its_users_the_cheaper_model_and_nobody_else(house: House) -> None:
    await house.put("flag", CHEAPER, users=["default/ana"])
    seen = await see(house.team, a_task(TRAIN))
    assert (seen.answered.model, seen.answered.degraded) == (CHEAP, False)
    await house.put("flag", CHEAPER, users=["default/ben"])
    assert (await see(house.team, a_task(TRAIN))).answered.model == MODEL


@pytest.mark.parametrize("stop", ["all", "tenant:default", "agent:elite_training_strategist"])
async def test_a_stop_keeps_the_model_from_being_asked_until_it_is_taken_back(house: House, stop: str) -> None:
    await house.put("stop", stop)
    assert (await see(house.team, a_task(TRAIN))).answered.source == "template"
    await house.journal.transact([PutControl(kind="stop", id=stop, body=b"", now=2.0)])
    await house.controls.refresh()
    assert (await see(house.team, a_task(TRAIN))).answered.source == "model"


async def test_a_stop_ends_an_answer_that_is_being_made(house: House, running: str) -> None:
    Emulator(running).script({"kind": "stall_gap", "at_chunk": 10, "delay_ms": 700})
    task, texts = a_task(TRAIN), 0
    async with house.team.bus:
        desk_events = house.team.answer(task, MemoryDesk())
        events = []
        async for event in desk_events:
            events.append(event)
            texts += isinstance(event, TextDelta)
            if texts == 1:
                await house.put("stop", "all")
    assert events[-1].source == "template"  # type: ignore[union-attr]


async def test_a_call_that_fails_before_it_answered_costs_nothing(house: House, running: str) -> None:
    await house.put("budget", "month", scope="tenant", tokens=10**9, action="block")
    Emulator(running).script(*[{"kind": "status", "status": 400}] * 4)
    await see(house.team, a_task(TRAIN))
    assert sum((await house.meters()).values()) == 0


@pytest.mark.parametrize(
    "body", [{"scope": "tenant", "tokens": 10**9, "action": "queue"}, {}], ids=["raised", "removed"]
)
async def test_a_budget_that_queues_waits_and_goes_on_when_an_operator_lets_it(
    house: House, body: dict[str, Any]
) -> None:
    await house.put("budget", "month", scope="tenant", tokens=0, action="queue")
    waiting = await see(house.team, a_task(TRAIN, timeout_s=3.0))
    assert waiting.answered.source == "template"
    house.spending.clock = _Meanwhile(house, body)
    seen = await see(house.team, a_task(TRAIN, timeout_s=20.0))
    assert seen.answered.source == "model"


class _Meanwhile(SystemClock):
    """While somebody waits, an operator changes the budget."""

    def __init__(self, house: House, body: dict[str, Any]) -> None:
        self._house, self._body = house, body

    async def sleep(self, delay_s: float) -> None:
        await super().sleep(delay_s)
        await self._house.put("budget", "month", **self._body)


async def test_a_model_without_a_price_is_not_counted_in_usd_and_that_is_told(house: House) -> None:
    house.spending.prices = Prices(SystemClock(), {})
    await house.put("budget", "month", scope="tenant", cost_usd=0.0, action="block")
    assert (await see(house.team, a_task(TRAIN))).answered.source == "model"
    assert b"ngx_budget_unpriced_total 1.0" in house.metrics.render()


async def test_where_a_budget_blocks_the_model_may_not_write_more_than_is_reserved(house: House, running: str) -> None:
    await house.put("budget", "month", scope="tenant", tokens=10**9, action="block")
    grant = await house.spending.purse(a_task(TRAIN)).reserve("x", _request())
    assert grant.request.max_output_tokens == house.spending.settings.reserved_output_tokens
    grant.settle(None, is_begun=True)
    reserved = input_tokens_of(_request()) + house.spending.settings.reserved_output_tokens
    assert sum((await house.meters()).values()) == reserved, "text had come: all that was reserved counts"


def _request() -> ModelRequest:
    parts = (Text(text="x" * 300), Media(mime_type="image/png", data=b"x" * 400_000))
    return ModelRequest(system="y" * 30, contents=(Content(role="user", parts=parts),), deadline_s=0.0)


def test_a_request_is_rather_estimated_too_large() -> None:
    assert input_tokens_of(_request()) == 110 + 2000 + 1


def test_the_house_has_a_budget_for_every_agent_and_a_broken_table_is_refused(tmp_path: Any) -> None:
    name, budget = HouseBudgets().of("biometrics_insight_engine")
    assert (name, budget.tokens, budget.action) == ("house.biometrics_insight_engine", 2_500_000, "degrade")
    _, other = HouseBudgets().of("somebody_elsewhere")
    assert (other.tokens, other.action, other.of) == (1_000_000, "warn", "somebody_elsewhere")
    path = tmp_path / "budgets.toml"
    path.write_text('[any_other]\ntokens = 1\naction = "explode"\n')
    with pytest.raises(ConfigError):
        HouseBudgets(path)


def test_periods_begin_and_end_at_midnight_in_utc_and_a_month_may_cross_a_year() -> None:
    periods = Periods()
    december = 1_798_761_599.0  # 2026-12-31T23:59:59Z
    assert periods.now("month", december) == ("2026-12", december + 1)
    assert periods.now("day", december) == ("2026-12-31", december + 1)
    assert periods.now("day", december + 1)[0] == "2027-01-01"
    assert periods.now("total", december)[0] == "total"


async def test_what_a_specialist_spends_in_another_process_is_paid_by_whoever_asked(house: House) -> None:
    exchange = Exchange()
    far = coaching_team(house.client, bus=A2AServer(carrier=MemoryCarrier(exchange)), agents=(T,))
    near = coaching_team(
        house.client, bus=A2AServer(carrier=MemoryCarrier(exchange)), agents=(N,), spending=house.spending
    )
    await house.put("budget", "turn", scope="turn", period="day", tokens=10**9)
    async with far.bus:
        await asyncio.sleep(0)
        seen = await see(near, a_task(TRAIN, agent=T))
        usage, meters = seen.answered.usage, await house.meters()
        assert seen.answered.source == "model"
        assert list(meters.values()) == [usage.total_tokens]
        await house.put("stop", f"agent:{T}")
    far = coaching_team(house.client, bus=A2AServer(carrier=MemoryCarrier(exchange)), agents=(T,))
    near = coaching_team(
        house.client, bus=A2AServer(carrier=MemoryCarrier(exchange)), agents=(N,), spending=house.spending
    )
    async with far.bus:
        await asyncio.sleep(0)
        stopped = await see(near, a_task(TRAIN, agent=T))
        assert (stopped.answered.source, stopped.answered.degraded) == ("template", True)
        assert list((await house.meters()).values()) == [usage.total_tokens]
