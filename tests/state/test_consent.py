from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, ids, tell

from ngx_agents.errors import ConsentRequired
from ngx_agents.state import commands as c
from ngx_agents.state.consent import ConsentGate
from ngx_agents.state.model import LogEntry, Owner, Profile
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.state.state_commands import Consent


@pytest.fixture
async def gate() -> AsyncIterator[ConsentGate]:
    made = ConsentGate(MemoryJournal())
    await made.open()
    await made.migrate()
    yield made
    await made.close()


def decide(is_given: bool, owner: Owner = ANA, kind: str = "health") -> c.PutConsent:
    return c.PutConsent(owner=owner, consent=Consent(kind=kind, version="1", is_given=is_given, at=NOW))


def health(owner: Owner = ANA) -> list[c.Command]:
    entry = LogEntry(id=ids.new("l", 1), kind="weight", at=NOW, data={"kg": 80})
    profiles: list[dict[str, Any]] = [
        {"allergies": ["nuez"]}, {"injuries": ["rodilla"]}, {"conditions": ["asma"]}, {"medication": ["x"]},
        {"pregnant": True}, {"weight_kg": 80.0},
    ]  # fmt: skip
    puts = [c.PutProfile(owner=owner, profile=Profile(**values), now=NOW) for values in profiles]
    return [c.AddLog(owner=owner, entry=entry), *puts]


async def test_health_data_are_refused_without_consent_and_nothing_of_them_is_stored(gate: ConsentGate) -> None:
    for command in health():
        with pytest.raises(ConsentRequired) as refused:
            await tell(gate, command)
        assert refused.value.kind == "health"
    await tell(gate, decide(True, BEN))
    await tell(gate, decide(True, ANA, kind="terms"))
    results = await gate.transact(health())
    assert [type(result) for result in results] == [ConsentRequired] * len(results)
    exported = await gate.query(c.ExportUser(owner=ANA))
    assert (exported["profile"], exported["logs"]) == ({}, [])


async def test_with_consent_they_are_stored_and_after_its_withdrawal_refused_again(gate: ConsentGate) -> None:
    await tell(gate, decide(True))
    assert not any(isinstance(result, Exception) for result in await gate.transact(health()))
    await tell(gate, decide(False))
    with pytest.raises(ConsentRequired):
        await tell(gate, health()[0])
    assert len((await gate.query(c.ExportUser(owner=ANA)))["logs"]) == 1
    assert (await tell(gate, c.EraseUser(owner=ANA)))["log"] == 1


async def test_what_is_no_health_data_needs_none_and_a_refusal_stops_no_neighbour(gate: ConsentGate) -> None:
    lane = await conversation(gate)
    command = accept(lane)
    results = await gate.transact([health()[0], command, c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW)])
    assert isinstance(results[0], ConsentRequired)
    assert (results[1].turn_id, results[2]) == (command.turn_id, None)
    assert (await gate.query(c.GetProfile(owner=ANA))).age == 40
