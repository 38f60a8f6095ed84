"""What every journal must do for who operates it, and with what nobody should send. Imported like its sibling."""

from __future__ import annotations

import asyncio

import pytest
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, finish, ids, tell

from ngx_agents.clock import SystemClock
from ngx_agents.errors import NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Answer


async def test_a_dead_turn_is_listed_and_waits_again_when_it_is_replayed(journal: Journal) -> None:
    lane = await conversation(journal)
    dead, after = await tell(journal, accept(lane, "fatal")), await tell(journal, accept(lane, "normal"))
    answer = Answer(code="attempts", message="given up")
    ended = finish(lane, dead.turn_id, 1, status="dead", answer=answer, message=None, grant_to="one")
    await tell(journal, ended)
    await tell(journal, finish(lane, after.turn_id, 2, user_seq=3))
    [listed] = (await journal.query(c.ListDead())).items
    assert (listed.id, listed.owner, listed.text, listed.answer) == (dead.turn_id, ANA, "fatal", answer)
    await tell(journal, c.ReplayTurn(turn_id=dead.turn_id, now=NOW + 5, deadline_at=NOW + 65))
    assert (await journal.query(c.ListDead())).items == ()
    [grant] = await journal.claim(10, instance="two", now=NOW)
    assert (grant.turn_id, grant.attempts, grant.deadline_at, grant.epoch) == (dead.turn_id, 1, NOW + 65, 3)
    await tell(journal, finish(lane, dead.turn_id, 3, user_seq=1))
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert [(m.seq, m.text) for m in page.items] == [(1, "fatal"), (2, "listo"), (3, "normal"), (4, "listo")]


async def test_only_a_dead_turn_is_replayed(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane))
    for turn_id in (turn.turn_id, ids.new("t", 1)):
        with pytest.raises(NotFound):
            await tell(journal, c.ReplayTurn(turn_id=turn_id, now=NOW, deadline_at=NOW + 60))
    assert (await journal.query(c.GetTurn(id=turn.turn_id, owner=ANA))).status == "running"


async def test_who_runs_a_turn_is_told_to_its_owner_alone_and_only_while_it_runs(journal: Journal) -> None:
    lane = await conversation(journal)
    await tell(journal, c.Beat(instance="one"))
    turn, waiting = await tell(journal, accept(lane)), await tell(journal, accept(lane))
    holder = await journal.query(c.HolderOf(turn_id=turn.turn_id, owner=ANA))
    assert (holder.instance, holder.epoch) == ("one", 1)
    assert await journal.query(c.HolderOf(turn_id=waiting.turn_id, owner=ANA)) is None
    assert await journal.query(c.HolderOf(turn_id=turn.turn_id, owner=BEN)) is None
    await tell(journal, finish(lane, turn.turn_id, 1))
    assert await journal.query(c.HolderOf(turn_id=turn.turn_id, owner=ANA)) is None


async def test_a_lane_that_stands_behind_is_claimed_as_if_it_had_come_later(journal: Journal) -> None:
    noisy, quiet = await conversation(journal), await conversation(journal)
    await tell(journal, accept(noisy, grant_to=None, behind_s=30.0))
    await tell(journal, accept(quiet, grant_to=None, now=NOW + 20))
    grants = await journal.claim(1, instance="one", now=NOW + 20)
    assert [grant.conversation_id for grant in grants] == [quiet]
    grants = await journal.claim(1, instance="one", now=NOW + 20)
    assert [grant.conversation_id for grant in grants] == [noisy]


async def test_an_instance_does_not_claim_what_it_holds_itself(journal: Journal) -> None:
    lane = await conversation(journal)
    assert await tell(journal, c.Beat(instance="one")) in (True, False)
    assert await tell(journal, c.Beat(instance="one")) is True
    await tell(journal, accept(lane))
    assert await journal.claim(10, instance="one", now=NOW) == []
    await tell(journal, c.Leave(instance="one"))


async def test_ids_that_are_not_ours_find_nothing(journal: Journal) -> None:
    for strange in ("", "x", "c_zz", "t_zzzzzzzz", "é" * 300, "'; DROP TABLE turn; --"):
        assert await journal.query(c.GetConversation(id=strange, owner=ANA)) is None
        assert await journal.query(c.GetTurn(id=strange, owner=ANA)) is None
        assert await journal.query(c.GetArtifact(id=strange, owner=ANA)) is None
        with pytest.raises(NotFound):
            await tell(journal, accept(strange))
        with pytest.raises(NotFound):
            await tell(journal, c.RequestCancel(turn_id=strange, owner=ANA, now=NOW))


async def test_a_job_may_accept_and_finish_the_same_turn_and_grant_what_it_accepted(journal: Journal) -> None:
    lane = ids.new("c", 1)
    first, second = accept(lane, "uno"), accept(lane, "dos")
    results = await journal.transact(
        [
            c.CreateConversation(id=lane, owner=ANA, title="", now=NOW),
            first,
            second,
            finish(lane, first.turn_id, 1, grant_to="one"),
        ]
    )
    assert (results[1].epoch, results[2].position, results[2].epoch) == (1, 1, None)
    assert (results[3].next.turn_id, results[3].next.text, results[3].next.attempts) == (second.turn_id, "dos", 1)
    assert (await journal.query(c.GetTurn(id=first.turn_id, owner=ANA))).status == "completed"
    turn = await journal.query(c.GetTurn(id=second.turn_id, owner=ANA))
    assert (turn.status, turn.attempts, turn.epoch) == ("running", 1, 2)


async def test_a_conversation_that_lives_on_keeps_its_title_and_times(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane, "x" * 200, now=NOW + 1))
    await tell(journal, c.ReleaseLane(conversation_id=lane, epoch=1))
    info = await journal.query(c.GetConversation(id=lane, owner=ANA))
    assert (info.title, info.created_at, info.updated_at, info.messages) == ("x" * 80, NOW, NOW + 1, 1)
    assert turn.user_seq == 1


async def test_what_a_cancelled_caller_asked_for_is_done_all_the_same(journal: Journal) -> None:
    lane = await conversation(journal)
    command = accept(lane)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(journal.transact([command]))
        await asyncio.sleep(0)
        task.cancel()
    await journal.transact([])
    assert await journal.query(c.GetTurn(id=command.turn_id, owner=ANA)) is not None


async def test_migrating_again_changes_nothing(journal: Journal) -> None:
    version = await journal.query(c.Ping())
    assert await journal.migrate() == version


async def test_the_journal_tells_its_own_time_or_none(journal: Journal) -> None:
    told = await journal.query(c.GetTime())
    assert told is None or abs(told - SystemClock().now_s()) < 30
