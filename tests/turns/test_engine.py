from __future__ import annotations

import asyncio
import re
import sqlite3
from typing import Any

import pytest
from tests.turns.house import ANA, BEN, House, eventually, heard, request

from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.errors import (
    ConversationBusy,
    Draining,
    IdempotencyConflict,
    InvalidRequest,
    JournalError,
    JournalUnavailable,
    NotFound,
    TurnFinished,
)
from ngx_agents.state import sqlite_turns
from ngx_agents.state.commands import FinishTurn, GetTurn, ListLogs, ListMessages
from ngx_agents.turns.engine import TurnEngine


async def texts(house: House, lane: str) -> list[str]:
    page = await house.journal.query(ListMessages(conversation_id=lane, owner=ANA))
    return [message.text for message in page.items]


async def test_a_turn_is_answered_and_stored_before_it_is_told(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = await engine.accept(request(lane, "hola coach"))
    view = await engine.wait(accepted.turn_id, ANA)
    assert (view.status, view.text, view.source, view.agents) == ("completed", "hola coach ", "template", ("coach",))
    assert await texts(house, lane) == ["hola coach", "hola coach "]
    assert await engine.view(accepted.turn_id, ANA) == view


async def test_turns_of_one_conversation_run_one_at_a_time_in_order(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = [await engine.accept(request(lane, f"turno {number}")) for number in range(10)]
    await asyncio.gather(*(engine.wait(one.turn_id, ANA) for one in accepted))
    assert house.team.most_running == 1
    assert house.team.order == [f"turno {number}" for number in range(10)]
    assert house.team.histories[-1] == [t for n in range(9) for t in (f"turno {n}", f"turno {n} ")]


async def test_conversations_run_side_by_side_up_to_the_bound(house: House) -> None:
    async with house.engine(max_running=3) as engine:
        lanes = [await house.conversation() for _ in range(8)]
        accepted = [await engine.accept(request(lane, "hold on")) for lane in lanes]
        await eventually(lambda: house.team.running == 3)
        house.team.release.set()
        views = await asyncio.gather(*(engine.wait(one.turn_id, ANA) for one in accepted))
    assert {view.status for view in views} == {"completed"}
    assert house.team.most_running == 3


async def test_the_stream_tells_everything_once_in_order(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = await engine.accept(request(lane, "uno dos tres"))
    frames = await heard(engine, accepted.turn_id)
    names = re.findall(r"event: (\S+)", frames)
    assert names[:2] == ["turn.accepted", "turn.started"]
    assert names[-1] == "turn.completed"
    assert sum(name.startswith("turn.c") for name in names) == 1
    assert "".join(re.findall(r'"text":"([^"]*)"', frames)) == "uno dos tres "
    ids = [tuple(map(int, pair)) for pair in re.findall(r"id: (\d+)-(\d+)", frames)]
    assert ids == sorted(set(ids))


async def test_a_stream_can_be_resumed_at_every_event(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = await engine.accept(request(lane, "uno hold dos"))
    await eventually(lambda: house.team.running == 1)
    subscription = await engine.subscribe(accepted.turn_id, ANA, None)
    first = (await subscription.read() or b"").decode()
    subscription.close()
    ids = re.findall(r"id: (\S+)", first)
    late = [await engine.subscribe(accepted.turn_id, ANA, event_id) for event_id in ids]
    house.team.release.set()
    await engine.wait(accepted.turn_id, ANA)
    for event_id, listener in zip(ids, late, strict=True):
        rest = b""
        while (chunk := await listener.read()) is not None:
            rest += chunk
        heard_before = first[: first.index(f"id: {event_id}\n")]
        own = first[len(heard_before) :].split("\n\n", 1)[0]
        text = "".join(re.findall(r'"text":"([^"]*)"', heard_before + own + rest.decode()))
        assert text == "uno hold dos "
        assert "text.reset" not in rest.decode()


async def test_an_ended_turn_is_told_again_and_not_twice_to_who_heard_the_end(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = await engine.accept(request(lane, "uno dos"))
    await engine.wait(accepted.turn_id, ANA)
    frames = await heard(engine, accepted.turn_id)
    assert "turn.completed" in frames
    assert '"uno dos "' in frames
    [last_id] = re.findall(r"id: (\S+)", frames)
    assert await heard(engine, accepted.turn_id, last_id) == ""
    resumed = await heard(engine, accepted.turn_id, "1-2")
    assert resumed.index("text.reset") < resumed.index("uno dos ")


async def test_a_wrong_event_id_is_refused_and_an_unknown_one_starts_again(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = await engine.accept(request(lane, "uno hold"))
    await eventually(lambda: house.team.running == 1)
    for bad in ("x", "1", "1-", "-1", "1-2-3", "é", "9" * 40):
        with pytest.raises(InvalidRequest):
            await engine.subscribe(accepted.turn_id, ANA, bad)
    house.team.release.set()
    frames = await heard(engine, accepted.turn_id, "7-99")
    assert frames.index("text.reset") < frames.index("uno ")


async def test_cancel_keeps_what_was_said_and_frees_the_lane(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    running = await engine.accept(request(lane, "uno hold"))
    waiting = await engine.accept(request(lane, "dos"))
    await eventually(lambda: house.team.running == 1)
    assert await engine.cancel(running.turn_id, ANA) == "running"
    view = await engine.wait(running.turn_id, ANA)
    assert (view.status, view.code, view.text) == ("cancelled", "cancelled", "uno hold ")
    assert (await engine.wait(waiting.turn_id, ANA)).status == "completed"
    assert await texts(house, lane) == ["uno hold", "uno hold ", "dos", "dos "]
    with pytest.raises(TurnFinished):
        await engine.cancel(running.turn_id, ANA)


async def test_a_waiting_turn_that_is_cancelled_never_runs(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    running = await engine.accept(request(lane, "hold"))
    waiting = await engine.accept(request(lane, "nunca"))
    listener = await engine.subscribe(waiting.turn_id, ANA, None)
    assert await engine.cancel(waiting.turn_id, ANA) == "cancelled"
    frames = b""
    while (chunk := await listener.read()) is not None:
        frames += chunk
    assert b"turn.cancelled" in frames
    house.team.release.set()
    await engine.wait(running.turn_id, ANA)
    assert house.team.order == ["hold"]


async def test_interrupt_ends_the_running_turn_and_answers_the_newer(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    old = await engine.accept(request(lane, "viejo hold"))
    await eventually(lambda: house.team.running == 1)
    new = await engine.accept(request(lane, "nuevo", when_busy="interrupt"))
    ended = await engine.wait(old.turn_id, ANA)
    assert (ended.status, ended.code) == ("cancelled", "interrupted")
    assert (await engine.wait(new.turn_id, ANA)).text == "nuevo "


async def test_reject_names_the_running_turn(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    running = await engine.accept(request(lane, "hold"))
    with pytest.raises(ConversationBusy) as refused:
        await engine.accept(request(lane, "x", when_busy="reject"))
    assert refused.value.turn_id == running.turn_id
    house.team.release.set()


async def test_coalesced_messages_are_answered_by_one_turn(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    await engine.accept(request(lane, "hold"))
    first = await engine.accept(request(lane, "dos", when_busy="coalesce"))
    second = await engine.accept(request(lane, "tres", when_busy="coalesce"))
    assert first.turn_id == second.turn_id
    house.team.release.set()
    assert (await engine.wait(first.turn_id, ANA)).text == "dos\ntres "


async def test_a_deadline_ends_the_turn_failed_with_what_was_said(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = await engine.accept(request(lane, "uno hold", timeout_s=0.05))
    view = await engine.wait(accepted.turn_id, ANA)
    assert (view.status, view.code, view.text) == ("failed", "deadline_exceeded", "uno hold ")


async def test_a_turn_that_breaks_tells_no_detail_and_harms_no_neighbour(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    broken = await engine.accept(request(lane, "uno break"))
    after = await engine.accept(request(lane, "dos"))
    view = await engine.wait(broken.turn_id, ANA)
    assert (view.status, view.code) == ("failed", "internal")
    assert "secret" not in str(view)
    assert (await engine.wait(after.turn_id, ANA)).status == "completed"


async def test_an_idempotency_key_gives_the_same_turn_and_stream(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    keyed: dict[str, Any] = {"idempotency_key": "k", "idempotency_hash": b"h"}
    first = await engine.accept(request(lane, "uno hold", **keyed))
    second = await engine.accept(request(lane, "uno hold", **keyed))
    assert (second.turn_id, second.replayed) == (first.turn_id, True)
    with pytest.raises(IdempotencyConflict):
        await engine.accept(request(lane, "otro", idempotency_key="k", idempotency_hash=b"x"))
    house.team.release.set()
    assert (await engine.wait(second.turn_id, ANA)).text == "uno hold "
    assert house.team.order == ["uno hold"]


async def test_another_user_finds_nothing(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    accepted = await engine.accept(request(lane, "hold"))
    for call in (
        engine.wait(accepted.turn_id, BEN),
        engine.view(accepted.turn_id, BEN),
        engine.subscribe(accepted.turn_id, BEN, None),
        engine.cancel(accepted.turn_id, BEN),
        engine.accept(request(lane, "x", owner=BEN)),
        engine.view("t_nonsense", ANA),
    ):
        with pytest.raises(NotFound):
            await call
    house.team.release.set()


async def test_an_unknown_agent_is_refused_before_anything_is_stored(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    with pytest.raises(InvalidRequest) as refused:
        await engine.accept(request(lane, "x", agent="nobody"))
    assert refused.value.field == "agent"
    assert await texts(house, lane) == []


async def test_a_caller_that_leaves_while_it_is_accepted_still_gets_its_turn_run(
    house: House, engine: TurnEngine
) -> None:
    lane = await house.conversation()
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(engine.accept(request(lane, "hola")))
        await asyncio.sleep(0)
        call.cancel()

    async def answered() -> bool:
        return await texts(house, lane) == ["hola", "hola "]

    await eventually(answered)


async def test_a_stopped_engine_gives_its_turns_to_the_next(house: House) -> None:
    lane = await house.conversation()
    async with house.engine() as first:
        held = await first.accept(request(lane, "uno hold"))
        waiting = await first.accept(request(lane, "dos"))
        await eventually(lambda: house.team.running == 1)
        await first.drain()
        with pytest.raises(Draining):
            await first.accept(request(lane, "tres"))
    house.team.release.set()
    async with house.engine() as second:
        assert (await second.wait(held.turn_id, ANA)).text == "uno hold "
        assert (await second.wait(waiting.turn_id, ANA)).text == "dos "
    assert await texts(house, lane) == ["uno hold", "uno hold ", "dos", "dos "]


async def test_a_listener_of_an_older_epoch_is_told_to_forget(house: House) -> None:
    lane = await house.conversation()
    async with house.engine() as first:
        held = await first.accept(request(lane, "uno hold"))
        await eventually(lambda: house.team.running == 1)
        heard_before = (await (await first.subscribe(held.turn_id, ANA, None)).read() or b"").decode()
    last_id = re.findall(r"id: (\S+)", heard_before)[-1]
    async with house.engine() as second:
        listener = await second.subscribe(held.turn_id, ANA, last_id)
        house.team.release.set()
        frames = ""
        while (chunk := await listener.read()) is not None:
            frames += chunk.decode()
    assert frames.index("text.reset") < frames.index('"text":"uno')
    after_reset = frames[frames.rindex("text.reset") :]
    assert "".join(re.findall(r'"text":"([^"]*)"', after_reset)) == "uno hold "


async def test_an_effect_is_not_repeated_by_a_second_attempt(house: House) -> None:
    lane = await house.conversation()
    async with house.engine() as first:
        held = await first.accept(request(lane, "log hold"))
        await eventually(lambda: house.team.running == 1)

        async def logged() -> bool:
            return len((await house.journal.query(ListLogs(owner=ANA))).items) == 1

        await eventually(logged)
    house.team.release.set()
    async with house.engine() as second:
        assert (await second.wait(held.turn_id, ANA)).status == "completed"
    assert len((await house.journal.query(ListLogs(owner=ANA))).items) == 1
    assert house.team.order == ["log hold", "log hold"]


async def test_a_turn_that_kills_every_owner_is_given_up(house: House) -> None:
    lane = await house.conversation()
    turn_id = ""
    for attempt in range(4):
        async with house.engine(max_attempts=3) as engine:
            if attempt == 0:
                turn_id = (await engine.accept(request(lane, "hold"))).turn_id
            if attempt < 3:
                await eventually(lambda: house.team.running == 1)
            else:
                assert (await engine.wait(turn_id, ANA)).status == "dead"


async def test_an_end_that_cannot_be_stored_is_held_until_it_can(
    house: House, engine: TurnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = await house.conversation()
    transact = house.bare.transact
    refusals = 2

    async def refusing(commands: Any) -> list[Any]:
        nonlocal refusals
        if any(isinstance(command, FinishTurn) for command in commands) and refusals:
            refusals -= 1
            raise JournalUnavailable("the disk is full")
        return await transact(commands)

    monkeypatch.setattr(house.bare, "transact", refusing)
    accepted = await engine.accept(request(lane, "hola"))
    view = await engine.wait(accepted.turn_id, ANA)
    assert (view.status, refusals) == ("completed", 0)
    assert (await house.journal.query(GetTurn(id=accepted.turn_id, owner=ANA))).status == "completed"


async def test_nothing_is_left_in_memory_after_the_turns(house: House, engine: TurnEngine) -> None:
    lanes = [await house.conversation() for _ in range(20)]
    accepted = [await engine.accept(request(lane, "hola")) for lane in lanes]
    await asyncio.gather(*(engine.wait(one.turn_id, ANA) for one in accepted))
    await asyncio.sleep(0)
    assert len(engine._turns) == 0
    assert engine._lanes.count == 0


async def test_an_interrupt_before_the_first_step_ends_the_turn_and_runs_the_newer(
    house: House, engine: TurnEngine
) -> None:
    lanes = [await house.conversation() for _ in range(10)]
    pairs = await asyncio.gather(
        *(
            asyncio.gather(
                engine.accept(request(lane, "viejo hold")), engine.accept(request(lane, "nuevo", when_busy="interrupt"))
            )
            for lane in lanes
        )
    )
    for old, new in pairs:
        assert (await engine.wait(old.turn_id, ANA)).code == "interrupted"
        assert (await engine.wait(new.turn_id, ANA)).text == "nuevo "
    assert engine._lanes.count == 0


async def test_a_claim_that_fails_half_way_strands_no_lane(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.engine(drain_s=0.01) as first:
        lanes = [await house.conversation() for _ in range(3)]
        held = [await first.accept(request(lane, "hold")) for lane in lanes]
    granted = 0
    grant_next = sqlite_turns.grant_next

    def failing_once(*args: Any) -> Any:
        nonlocal granted
        granted += 1
        if granted == 3:
            raise sqlite3.OperationalError("disk I/O error")
        return grant_next(*args)

    monkeypatch.setattr(sqlite_turns, "grant_next", failing_once)
    house.team.release.set()
    async with house.engine() as second:
        for one in held:
            assert (await second.wait(one.turn_id, ANA)).status == "completed"


async def test_an_end_that_is_refused_for_good_fails_the_turn_and_frees_the_lane(
    house: House, engine: TurnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = await house.conversation()
    transact = house.bare.transact

    async def refusing(commands: Any) -> list[Any]:
        if any(isinstance(command, FinishTurn) and command.message is not None for command in commands):
            return [JournalError("refused")]
        return await transact(commands)

    monkeypatch.setattr(house.bare, "transact", refusing)
    first = await engine.accept(request(lane, "uno"))
    second = await engine.accept(request(lane, "dos"))
    for one in (first, second):
        view = await engine.wait(one.turn_id, ANA)
        assert (view.status, view.code) == ("failed", "internal")


async def test_a_journal_that_refuses_claims_does_not_end_the_engine(
    house: House, engine: TurnEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusing(*args: Any, **kwargs: Any) -> list[Any]:
        raise JournalError("a corrupt page")

    monkeypatch.setattr(house.bare, "claim", refusing)
    await asyncio.sleep(0.15)
    accepted = await engine.accept(request(await house.conversation(), "hola"))
    assert (await engine.wait(accepted.turn_id, ANA)).status == "completed"


async def test_draining_waits_for_an_acceptance_in_flight(house: House) -> None:
    lane = await house.conversation()
    async with house.engine(drain_s=2.0) as engine:
        first = await engine.accept(request(lane, "hola"))
        await engine.wait(first.turn_id, ANA)
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(engine.accept(request(lane, "otra")))
            await asyncio.sleep(0)
            await engine.drain()
        assert (await engine.view(call.result().turn_id, ANA)).status == "completed"


async def test_a_draining_engine_starts_no_further_turn_of_a_lane(house: House) -> None:
    lane = await house.conversation()
    async with house.engine(drain_s=2.0) as engine:
        await engine.accept(request(lane, "hold uno"))
        waiting = await engine.accept(request(lane, "dos"))
        await eventually(lambda: house.team.running == 1)
        engine.begin_drain()
        house.team.release.set()
    assert house.team.order == ["hold uno"]
    async with house.engine() as second:
        assert (await second.wait(waiting.turn_id, ANA)).status == "completed"


async def test_a_turn_whose_time_is_up_before_it_starts_is_never_answered(house: House, engine: TurnEngine) -> None:
    lane = await house.conversation()
    first = await engine.accept(request(lane, "hold"))
    late = await engine.accept(request(lane, "tarde", timeout_s=0.02))
    await asyncio.sleep(0.05)
    house.team.release.set()
    await engine.wait(first.turn_id, ANA)
    view = await engine.wait(late.turn_id, ANA)
    assert (view.status, view.code) == ("failed", "deadline_exceeded")
    assert house.team.order == ["hold"]


async def test_a_full_engine_gives_the_place_to_the_most_urgent_lane(house: House) -> None:
    patient, urgent = await house.conversation(), await house.conversation()
    async with house.engine(max_running=1, claim_every_s=5.0) as engine:
        await engine.accept(request(patient, "hold", turn_class=3))
        rest = [await engine.accept(request(patient, f"lote {number}", turn_class=3)) for number in range(3)]
        critical = await engine.accept(request(urgent, "urgente", turn_class=0))
        house.team.release.set()
        await engine.wait(critical.turn_id, ANA)
        assert house.team.order[:2] == ["hold", "urgente"]
        for one in rest:
            await engine.wait(one.turn_id, ANA)


async def test_who_heard_the_end_of_a_turn_that_never_started_is_told_nothing_more(
    house: House, engine: TurnEngine
) -> None:
    lane = await house.conversation()
    await engine.accept(request(lane, "hold"))
    waiting = await engine.accept(request(lane, "nunca"))
    listener = await engine.subscribe(waiting.turn_id, ANA, None)
    await engine.cancel(waiting.turn_id, ANA)
    frames = (await listener.read() or b"").decode()
    last_id = re.findall(r"id: (\S+)", frames)[-1]
    assert await heard(engine, waiting.turn_id, last_id) == ""
    house.team.release.set()


async def test_a_lane_without_room_here_is_taken_by_an_instance_that_was_hinted(house: House) -> None:
    shared = LocalShared(house.clock)
    await shared.open()
    full = house.engine(max_running=0, claim_every_s=30.0, shared=shared)
    other = house.engine(claim_every_s=30.0, shared=shared)
    async with full, other:
        conversation_id = await house.conversation()
        await asyncio.sleep(0.01)  # both listen
        accepted = await full.accept(request(conversation_id, "hola"))
        assert accepted.epoch is None
        async with asyncio.timeout(2):
            assert (await other.wait(accepted.turn_id, ANA)).status == "completed"
    await shared.close()


async def test_a_turn_that_another_engine_has_taken_is_not_run_here_when_its_caller_left(house: House) -> None:
    async with house.engine() as runs, house.engine(runs_turns=False) as accepts:
        conversation_id = await house.conversation()
        turn = await accepts.accept(request(conversation_id, "hold x"))
        await eventually(lambda: house.team.running == 1)
        accepts._lanes.adopt(turn.turn_id, ANA, interrupts=False)
        await asyncio.sleep(0.2)
        assert house.team.most_running == 1
        assert accepts._lanes.count == 0
        house.team.release.set()
        view = await runs.wait(turn.turn_id, ANA)
        assert view is not None
        assert view.text == "hold x "
    assert house.team.order == ["hold x"]


async def test_an_engine_that_runs_no_turns_leaves_them_to_others_in_order(house: House) -> None:
    async with house.engine(runs_turns=False) as accepts:
        conversation_id = await house.conversation()
        turns = [await accepts.accept(request(conversation_id, f"word {number}")) for number in range(3)]
        await asyncio.sleep(0.2)
        assert house.team.order == []
        async with house.engine() as runs:
            for turn in turns:
                view = await runs.wait(turn.turn_id, ANA)
                assert view is not None
                assert view.status == "completed"
    assert house.team.order == ["word 0", "word 1", "word 2"]
