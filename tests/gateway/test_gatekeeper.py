"""The gate's keeper on real time: times that come true, and what instances tell one another."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.errors import Overloaded
from ngx_agents.gateway.entrance import Entrance
from ngx_agents.gateway.gatekeeper import CHANNEL, Gatekeeper, told_load
from ngx_agents.gateway.principal import Principal
from ngx_agents.resilience.admission import Gate, GateRules
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.resilience.peer_load import PeerLoads
from ngx_agents.resilience.priority import EVERYBODY
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics


class Door:
    """A gate with its keeper and its entrance, on the machine's clock."""

    def __init__(
        self,
        *,
        places: float,
        instance: str = "a",
        shared: LocalShared | None = None,
        peers: PeerLoads | None = None,
        runs: bool = True,
    ) -> None:
        clock, metrics = SystemClock(), Metrics()
        self.modes = Modes(clock=clock)
        rules = GateRules(limit=LimitRules(capacity=places, most=places, lag_limit_s=60.0), most_waiting=3)
        self.gate = Gate(rules, clock=clock, rng=Rng(1), fairness=Fairness(clock=clock))
        self.entrance = Entrance(self.modes, self.gate, metrics=metrics)
        self.keeper = Gatekeeper(
            self.gate, modes=self.modes, clock=clock, metrics=metrics, instance=instance, shared=shared, peers=peers,
            runs_turns=runs,
        )  # fmt: skip


async def test_who_comes_back_when_told_gets_in_and_refusals_degrade_the_mode() -> None:
    """Five places and turns of 0.3 s, 25 users a second: half more than there is room for."""
    door, obeyed, in_vain, random = Door(places=5.0), 0, 0, Random(1)

    async def come(number: int) -> None:
        nonlocal obeyed, in_vain
        principal, has_obeyed = Principal(Owner("t", f"u{number}")), False
        for _ in range(3):
            obeyed += has_obeyed
            try:
                ticket = await door.entrance.enter(principal)
            except Overloaded as refusal:
                in_vain += has_obeyed
                if refusal.retry_after_s > 6.0:
                    return
                await asyncio.sleep(refusal.retry_after_s)
                has_obeyed = True
                continue
            await asyncio.sleep(0.3)
            ticket.spent(input_tokens=100, output_tokens=10)
            ticket.release()
            return

    async with door.keeper, asyncio.TaskGroup() as group:
        for number in range(150):
            group.create_task(come(number))
            await asyncio.sleep(random.expovariate(25.0))
    assert obeyed >= 10
    assert in_vain <= 0.05 * obeyed
    assert door.gate.in_flight == 0.0
    assert door.modes.current >= Mode.DEGRADED_1
    assert door.modes.reasons == ("overload: turns are refused at the entrance",)


async def test_a_gateway_sheds_at_its_own_door_what_no_worker_lets_in() -> None:
    shared = LocalShared(SystemClock())
    await shared.open()
    worker, gateway = (
        Door(places=1.0, instance="w", shared=shared),
        Door(places=1.0, instance="g", shared=shared, runs=False),
    )
    async with worker.keeper, gateway.keeper:
        worker.gate.threshold.value = 50
        worker.gate.threshold._share = 0.1
        for _ in range(1000):
            worker.gate.threshold.saw(40)
        await shared.publish(CHANNEL, b"not for us")
        async with asyncio.timeout(10):
            while gateway.gate.peers_threshold == EVERYBODY:  # noqa: ASYNC110  # another task's doing
                await asyncio.sleep(0.02)
        held = await gateway.entrance.enter(Principal(Owner("t", "u")))
        with pytest.raises(Overloaded) as refused:
            await gateway.entrance.enter(Principal(Owner("t", "v")))
        assert refused.value.retry_after_s >= 1.0
        held.release()
    await shared.close()


async def test_a_gateway_without_redis_sheds_by_what_answers_told_it_until_they_are_old() -> None:
    worker, loads = Door(places=1.0, instance="w"), PeerLoads(clock=SystemClock())
    gateway = Door(places=1.0, instance="g", peers=loads, runs=False)
    worker.gate.threshold.value = 50
    async with gateway.keeper:
        held = await gateway.entrance.enter(Principal(Owner("t", "u")))
        assert loads.told(told_load(worker.gate, "w"))
        async with asyncio.timeout(10):
            while gateway.gate.peers_threshold != 50:  # noqa: ASYNC110  # another task's doing
                await asyncio.sleep(0.02)
        with pytest.raises(Overloaded):
            await gateway.entrance.enter(Principal(Owner("t", "v")))
        held.release()
        async with asyncio.timeout(15):
            while gateway.gate.peers_threshold != EVERYBODY:  # noqa: ASYNC110  # another task's doing
                await asyncio.sleep(0.05)
        (await gateway.entrance.enter(Principal(Owner("t", "v")))).release()
