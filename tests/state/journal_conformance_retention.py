"""What every journal must do with users' data that have had their time: nothing of an open turn goes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, finish, ids, tell
from tests.state.journal_conformance_states import DAY_S, said

from ngx_agents.errors import InvalidRequest
from ngx_agents.state import commands as c
from ngx_agents.state.blobs import new_blob
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Artifact, LogEntry

LATER = NOW + 10 * DAY_S


def expire(kind: Any, before: float, *, limit: int = 100, **more: Any) -> c.Expire:
    return c.Expire(kind=kind, before=before, now=LATER, limit=limit, **more)


async def talk(journal: Journal, lane: str, *, turns: int, key: str = "") -> list[str]:
    """One turn a day, from day 0 on, each answered a minute later."""
    made = []
    for day in range(turns):
        at = NOW + day * DAY_S
        more = {"idempotency_key": f"{key}{day}", "idempotency_hash": b"1"} if key else {}
        turn = await tell(journal, accept(lane, f"texto {day}", now=at, **more))
        end = finish(lane, turn.turn_id, day + 1, now=at + 60)
        assert end.message is not None
        end.message.created_at = at + 60
        await tell(journal, end)
        made.append(turn.turn_id)
    return made


async def texts(journal: Journal, lane: str) -> list[str]:
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    return [message.text for message in page.items]


async def test_old_questions_go_with_their_answers_and_turns_and_the_conversation_goes_on(journal: Journal) -> None:
    lane = await conversation(journal)
    turns = await talk(journal, lane, turns=4, key="k")
    assert await tell(journal, expire("messages", NOW + DAY_S + 30)) == 1  # the second answer is younger
    assert await tell(journal, expire("messages", NOW + 2 * DAY_S + 61, limit=1)) == 1
    assert await tell(journal, expire("messages", NOW + 2 * DAY_S + 61)) == 1
    assert await tell(journal, expire("messages", NOW + 2 * DAY_S + 61)) == 0
    assert await texts(journal, lane) == ["texto 3", "listo"]
    assert [await journal.query(c.GetTurn(id=one, owner=ANA)) is not None for one in turns] == [False] * 3 + [True]
    assert not (await tell(journal, accept(lane, idempotency_key="k0", idempotency_hash=b"2", now=LATER))).replayed
    assert len((await journal.query(c.ExportUser(owner=ANA)))["turns"]) == 2


async def test_a_title_made_of_a_message_goes_with_it_and_a_given_one_stays(journal: Journal) -> None:
    derived, given = await conversation(journal), ids.new("c", 1)
    await tell(journal, c.CreateConversation(id=given, owner=ANA, title="Mi plan", now=NOW))
    for lane in (derived, given):
        await talk(journal, lane, turns=2)
    assert await tell(journal, expire("messages", NOW + DAY_S)) == 2
    titles = {one.id: one.title for one in (await journal.query(c.ListConversations(owner=ANA))).items}
    assert titles == {derived: "", given: "Mi plan"}


async def test_messages_of_a_conversation_with_a_turn_open_stay(journal: Journal) -> None:
    busy, idle = await conversation(journal), await conversation(journal)
    for lane in (busy, idle):
        await talk(journal, lane, turns=2)
        imported = c.ImportMessages(conversation_id=lane, owner=ANA, messages=(said("antes"),), now=NOW)
        await tell(journal, imported)
    await tell(journal, accept(busy, "abierto", now=NOW))
    assert await tell(journal, expire("messages", NOW + 5 * DAY_S)) == 3
    assert await texts(journal, idle) == []
    assert len(await texts(journal, busy)) == 6


@pytest.mark.parametrize("kind", ["messages", "idempotency"])
async def test_what_a_repeated_request_may_need_is_kept_for_a_day(journal: Journal, kind: Any) -> None:
    with pytest.raises(InvalidRequest):
        await tell(journal, c.Expire(kind=kind, before=NOW + 1, now=NOW + DAY_S))


async def test_old_artifacts_go_unless_a_turn_of_their_conversation_is_open(journal: Journal) -> None:
    lanes = [await conversation(journal) for _ in range(2)]
    for number, lane in enumerate(lanes):
        turn = await tell(journal, accept(lane))
        plans = tuple(
            Artifact(
                id=ids.new("a", 1), agent="coach", kind="Plan", title=f"{number} {day}", data={},
                created_at=NOW + day * DAY_S, turn_id=turn.turn_id, conversation_id=lane,
            )
            for day in range(2)
        )  # fmt: skip
        await tell(journal, finish(lane, turn.turn_id, 1, artifacts=plans))
    await tell(journal, accept(lanes[1], "abierto"))
    assert await tell(journal, expire("artifacts", NOW + DAY_S)) == 1
    left = (await journal.query(c.ListArtifacts(owner=ANA))).items
    assert sorted(one.title for one in left) == ["0 1", "1 0", "1 1"]


async def test_old_attachments_go_unless_an_open_turn_has_them(journal: Journal) -> None:
    lane, idle = await conversation(journal), await conversation(journal)
    blobs = {
        name: new_blob(owner, name.encode(), "text/plain", now=NOW, conversation_id=place)
        for name, owner, place in (
            ("attached", ANA, None),
            ("of the open one", ANA, lane),
            ("loose", ANA, None),
            ("of the idle one", ANA, idle),
            ("ben's", BEN, None),
        )
    }
    for name, blob in blobs.items():
        await tell(journal, c.PutBlob(owner=BEN if name == "ben's" else ANA, blob=blob))
    young = new_blob(ANA, b"young", "text/plain", now=NOW + DAY_S)
    await tell(journal, c.PutBlob(owner=ANA, blob=young))
    running = await tell(journal, accept(lane, attachments=(blobs["attached"].info.id,)))
    assert await tell(journal, expire("attachments", NOW + DAY_S)) == 3
    left = (await journal.query(c.ListBlobs(owner=ANA))).items
    kept = {young.info.id, blobs["attached"].info.id, blobs["of the open one"].info.id}
    assert {one.id for one in left} == kept
    await tell(journal, finish(lane, running.turn_id, 1))
    assert await tell(journal, expire("attachments", NOW + DAY_S, limit=1)) == 1
    assert await tell(journal, expire("attachments", NOW + DAY_S)) == 1


async def test_logs_go_by_kind_and_by_the_time_they_are_about(journal: Journal) -> None:
    entries = [
        LogEntry(id=ids.new("l", 1), kind=kind, at=NOW + day * DAY_S, data={"n": day})
        for kind in ("weight", "sleep")
        for day in range(4)
    ]
    for entry in entries:
        await tell(journal, c.AddLog(owner=ANA, entry=entry))
    assert await tell(journal, expire("logs", NOW + 2 * DAY_S, limit=1, log_kind="weight")) == 1
    assert await tell(journal, expire("logs", NOW + 2 * DAY_S, log_kind="weight")) == 1
    left = (await journal.query(c.ListLogs(owner=ANA))).items
    assert sorted((one.kind, one.data["n"]) for one in left) == [("sleep", n) for n in range(4)] + [
        ("weight", n) for n in (2, 3)
    ]
    for wrong in (expire("logs", NOW), expire("artifacts", NOW, log_kind="weight")):
        with pytest.raises(InvalidRequest):
            await tell(journal, wrong)
