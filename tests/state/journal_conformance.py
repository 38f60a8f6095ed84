"""What every journal must do. A test module for an implementation imports these and provides the `journal` fixture."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import (
    ConversationBusy,
    IdempotencyConflict,
    InvalidRequest,
    LeaseLost,
    NotFound,
    Overloaded,
    TurnFinished,
)
from ngx_agents.state import commands as c
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Answer, Artifact, LogEntry, Message, Owner, Profile

ANA = Owner("acme", "ana")
BEN = Owner("acme", "ben")
NOW = 1_800_000_000.0
ids = Ids(SystemClock())
WEBHOOK = c.PushConfig(id="w_1", url="https://hooks.example/", body=b"", created_at=NOW, kind="turn")
TASK = c.TaskEntry(context_id="x", message=b"")


async def tell(journal: Journal, command: c.Command) -> Any:
    [result] = await journal.transact([command])
    if isinstance(result, BaseException):
        raise result
    return result


async def conversation(journal: Journal, owner: Owner = ANA) -> str:
    conversation_id = ids.new("c", 1)
    await tell(journal, c.CreateConversation(id=conversation_id, owner=owner, title="", now=NOW))
    return conversation_id


def accept(conversation_id: str, text: str = "hola", **changes: Any) -> c.AcceptTurn:
    values: dict[str, Any] = {
        "conversation_id": conversation_id,
        "owner": ANA,
        "turn_id": ids.new("t", 1),
        "message_id": ids.new("m", 1),
        "text": text,
        "turn_class": 1,
        "when_busy": "enqueue",
        "now": NOW,
        "deadline_at": NOW + 60,
        "grant_to": "one",
    }
    return c.AcceptTurn(**(values | changes))


def finish(conversation_id: str, turn_id: str, epoch: int, **changes: Any) -> c.FinishTurn:
    values: dict[str, Any] = {
        "conversation_id": conversation_id,
        "owner": ANA,
        "turn_id": turn_id,
        "user_seq": 2 * epoch - 1,
        "epoch": epoch,
        "status": "completed",
        "answer": Answer(text="listo", source="template"),
        "last_seq": 7,
        "now": NOW + 1,
        "message": Message(
            id=ids.new("m", 1),
            seq=0,
            role="assistant",
            text="listo",
            created_at=NOW,
            turn_id=turn_id,
            source="template",
        ),
    }
    return c.FinishTurn(**(values | changes))


async def test_a_free_lane_is_granted_with_the_acceptance(journal: Journal) -> None:
    lane = await conversation(journal)
    accepted = await tell(journal, accept(lane))
    assert (accepted.position, accepted.epoch, accepted.user_seq) == (0, 1, 1)


async def test_turns_of_one_conversation_wait_in_order_and_follow_each_other(journal: Journal) -> None:
    lane = await conversation(journal)
    first = await tell(journal, accept(lane, "uno"))
    second = await tell(journal, accept(lane, "dos"))
    third = await tell(journal, accept(lane, "tres"))
    assert [first.position, second.position, third.position] == [0, 1, 2]
    assert second.epoch is None
    done = await tell(journal, finish(lane, first.turn_id, 1, grant_to="one"))
    assert (done.next.turn_id, done.next.text, done.next.epoch) == (second.turn_id, "dos", 2)
    done = await tell(journal, finish(lane, second.turn_id, 2, grant_to="one"))
    assert done.next.turn_id == third.turn_id
    done = await tell(journal, finish(lane, third.turn_id, 3, grant_to="one"))
    assert done.next is None
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert [m.text for m in page.items] == ["uno", "listo", "dos", "listo", "tres", "listo"]
    assert [m.seq for m in page.items] == [1, 2, 3, 4, 5, 6]


async def test_twenty_concurrent_acceptances_keep_twenty_in_one_order(journal: Journal) -> None:
    lane = await conversation(journal)
    commands = [accept(lane, f"texto {number}") for number in range(20)]
    accepted = await asyncio.gather(*(tell(journal, command) for command in commands))
    assert sorted(one.position for one in accepted) == list(range(20))
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert sorted(m.text for m in page.items) == sorted(command.text for command in commands)


async def test_a_stale_epoch_writes_nothing(journal: Journal) -> None:
    lane = await conversation(journal)
    accepted = await tell(journal, accept(lane))
    await tell(journal, c.ReleaseLane(conversation_id=lane, epoch=1))
    [grant] = await journal.claim(10, instance="two", now=NOW)
    assert (grant.turn_id, grant.epoch, grant.attempts) == (accepted.turn_id, 2, 2)
    for stale in (
        finish(lane, accepted.turn_id, 1),
        c.SaveCheckpoint(conversation_id=lane, turn_id=accepted.turn_id, epoch=1, key="k", value=b"v"),
        c.RecordEffect(conversation_id=lane, turn_id=accepted.turn_id, epoch=1, key="k", state="intended", now=NOW),
    ):
        with pytest.raises(LeaseLost):
            await tell(journal, stale)
    assert await journal.query(c.Checkpoints(turn_id=accepted.turn_id)) == {}
    assert await journal.query(c.Effects(turn_id=accepted.turn_id)) == {}
    turn = await journal.query(c.GetTurn(id=accepted.turn_id, owner=ANA))
    assert (turn.status, turn.answer) == ("running", None)
    await tell(journal, finish(lane, accepted.turn_id, 2))
    with pytest.raises(LeaseLost):
        await tell(journal, finish(lane, accepted.turn_id, 2))


async def test_a_lane_accepted_without_an_owner_is_claimed_most_urgent_first(journal: Journal) -> None:
    slow, urgent = await conversation(journal), await conversation(journal)
    await tell(journal, accept(slow, grant_to=None, turn_class=3))
    await tell(journal, accept(urgent, grant_to=None, turn_class=0, now=NOW + 5))
    grants = await journal.claim(1, instance="one", now=NOW)
    assert [grant.conversation_id for grant in grants] == [urgent]
    grants = await journal.claim(10, instance="one", now=NOW)
    assert [grant.conversation_id for grant in grants] == [slow]
    assert await journal.claim(10, instance="one", now=NOW) == []


async def test_reject_refuses_a_busy_conversation_and_stores_nothing(journal: Journal) -> None:
    lane = await conversation(journal)
    first = await tell(journal, accept(lane))
    with pytest.raises(ConversationBusy) as refused:
        await tell(journal, accept(lane, when_busy="reject"))
    assert refused.value.turn_id == first.turn_id
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert len(page.items) == 1


async def test_interrupt_names_the_running_turn_and_marks_it(journal: Journal) -> None:
    lane = await conversation(journal)
    first = await tell(journal, accept(lane))
    second = await tell(journal, accept(lane, when_busy="interrupt"))
    assert (second.interrupt, second.position) == (first.turn_id, 1)
    assert (await journal.query(c.GetTurn(id=first.turn_id, owner=ANA))).cancel_requested


async def test_coalesce_takes_the_text_into_the_waiting_turn(journal: Journal) -> None:
    lane = await conversation(journal)
    first = await tell(journal, accept(lane, "uno"))
    waiting = await tell(journal, accept(lane, "dos", when_busy="coalesce"))
    assert not waiting.coalesced
    merged = await tell(journal, accept(lane, "tres", when_busy="coalesce"))
    assert (merged.turn_id, merged.coalesced) == (waiting.turn_id, True)
    done = await tell(journal, finish(lane, first.turn_id, 1, grant_to="one"))
    assert done.next.text == "dos\ntres"


@pytest.mark.parametrize(
    ("waits", "comes"),
    [
        ({"agent": "nutrition"}, {"agent": "training"}),
        ({}, {"agent": "training"}),
        ({"agent": "training"}, {}),
        ({"turn_class": 0}, {"turn_class": 2}),
        ({"attachments": ("b_1",)}, {}),
        ({"push": WEBHOOK}, {}),
        ({}, {"push": WEBHOOK}),
        ({"task": TASK}, {}),
        ({}, {"task": TASK}),
    ],
)
async def test_coalesce_takes_nothing_into_a_turn_of_another_kind(
    journal: Journal, waits: dict[str, Any], comes: dict[str, Any]
) -> None:
    lane = await conversation(journal)
    first = await tell(journal, accept(lane, "uno"))
    waiting = accept(lane, "dos", **waits)
    other = accept(lane, "tres", **({"when_busy": "coalesce"} | comes))
    await tell(journal, waiting)
    accepted = await tell(journal, other)
    assert (accepted.turn_id, accepted.coalesced, accepted.position) == (other.turn_id, False, 2)
    done = await tell(journal, finish(lane, first.turn_id, 1, grant_to="one"))
    assert (done.next.turn_id, done.next.text) == (waiting.turn_id, "dos")
    done = await tell(journal, finish(lane, waiting.turn_id, 2, grant_to="one"))
    assert (done.next.text, done.next.agent) == ("tres", other.agent)


async def test_coalesce_takes_a_text_into_a_turn_of_the_same_agent(journal: Journal) -> None:
    lane = await conversation(journal)
    await tell(journal, accept(lane, "uno"))
    waiting = accept(lane, "dos", agent="training")
    await tell(journal, waiting)
    merged = await tell(journal, accept(lane, "tres", agent="training", when_busy="coalesce"))
    assert (merged.turn_id, merged.coalesced) == (waiting.turn_id, True)


async def test_an_idempotency_key_gives_the_same_turn_and_refuses_another_body(journal: Journal) -> None:
    lane = await conversation(journal)
    first = await tell(journal, accept(lane, idempotency_key="k", idempotency_hash=b"1"))
    again = await tell(journal, accept(lane, idempotency_key="k", idempotency_hash=b"1"))
    assert (again.turn_id, again.replayed) == (first.turn_id, True)
    with pytest.raises(IdempotencyConflict):
        await tell(journal, accept(lane, idempotency_key="k", idempotency_hash=b"2"))
    bens = await conversation(journal, BEN)
    other = await tell(journal, accept(bens, owner=BEN, idempotency_key="k", idempotency_hash=b"2"))
    assert not other.replayed


async def test_concurrent_calls_with_one_key_make_one_turn(journal: Journal) -> None:
    lane = await conversation(journal)
    commands = [accept(lane, idempotency_key="k", idempotency_hash=b"1") for _ in range(10)]
    accepted = await asyncio.gather(*(tell(journal, command) for command in commands))
    assert len({one.turn_id for one in accepted}) == 1
    assert sum(not one.replayed for one in accepted) == 1


async def test_more_than_the_allowed_waiting_turns_are_refused(journal: Journal) -> None:
    lane = await conversation(journal)
    for _ in range(3):
        await tell(journal, accept(lane, max_waiting=2))
    with pytest.raises(Overloaded) as refused:
        await tell(journal, accept(lane, max_waiting=2))
    assert refused.value.retry_after_s > 0


async def test_one_bad_command_fails_alone(journal: Journal) -> None:
    lane = await conversation(journal)
    good, taken = accept(lane), await conversation(journal)
    results = await journal.transact(
        [
            good,
            accept(ids.new("c", 1)),
            c.CreateConversation(id=taken, owner=ANA, title="twice", now=NOW),
            c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW),
        ]
    )
    assert results[0].turn_id == good.turn_id
    assert isinstance(results[1], NotFound)
    assert isinstance(results[2], Exception)
    assert results[3] is None
    assert (await journal.query(c.GetTurn(id=good.turn_id, owner=ANA))).status == "running"
    assert (await journal.query(c.GetProfile(owner=ANA))).age == 40


async def test_a_waiting_turn_is_cancelled_at_once_and_a_running_one_is_marked(journal: Journal) -> None:
    lane = await conversation(journal)
    running = await tell(journal, accept(lane))
    waiting = await tell(journal, accept(lane))
    assert await tell(journal, c.RequestCancel(turn_id=waiting.turn_id, owner=ANA, now=NOW)) == "cancelled"
    assert await tell(journal, c.RequestCancel(turn_id=running.turn_id, owner=ANA, now=NOW)) == "running"
    with pytest.raises(TurnFinished):
        await tell(journal, c.RequestCancel(turn_id=waiting.turn_id, owner=ANA, now=NOW))
    with pytest.raises(NotFound):
        await tell(journal, c.RequestCancel(turn_id=running.turn_id, owner=BEN, now=NOW))
    done = await tell(journal, finish(lane, running.turn_id, 1, status="cancelled", grant_to="one"))
    assert done.next is None


async def test_an_effect_tells_what_it_was_before(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane))

    def effect(state: Any) -> c.RecordEffect:
        return c.RecordEffect(conversation_id=lane, turn_id=turn.turn_id, epoch=1, key="w", state=state, now=NOW)

    assert await tell(journal, effect("intended")) is None
    assert await tell(journal, effect("intended")) == "intended"
    assert await tell(journal, effect("done")) == "intended"
    assert await tell(journal, effect("intended")) == "done"
    assert await journal.query(c.Effects(turn_id=turn.turn_id)) == {"w": ("done", b"")}


async def test_checkpoints_are_kept_until_the_turn_ends(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane))
    for value in (b"1", b"2"):
        await tell(journal, c.SaveCheckpoint(conversation_id=lane, turn_id=turn.turn_id, epoch=1, key="k", value=value))
    assert await journal.query(c.Checkpoints(turn_id=turn.turn_id)) == {"k": b"2"}
    await tell(journal, finish(lane, turn.turn_id, 1, has_checkpoints=True))
    assert await journal.query(c.Checkpoints(turn_id=turn.turn_id)) == {}


async def test_artifacts_and_the_answer_are_there_with_the_end(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane))
    plan = Artifact(
        id=ids.new("a", 1), agent="coach", kind="TrainingPlan", title="Plan", data={"weeks": [1, {"a": "é"}]},
        created_at=NOW, turn_id=turn.turn_id, conversation_id=lane,
    )  # fmt: skip
    answer = Answer(text="listo", source="template", rung="template", agents=("coach",), artifacts=(plan.id,))
    await tell(journal, finish(lane, turn.turn_id, 1, artifacts=(plan,), answer=answer))
    assert await journal.query(c.GetArtifact(id=plan.id, owner=ANA)) == plan
    assert await journal.query(c.GetArtifact(id=plan.id, owner=BEN)) is None
    assert (await journal.query(c.ListArtifacts(owner=ANA, turn_id=turn.turn_id))).items == (plan,)
    told = (await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))).items[-1]
    assert (told.turn_id, told.rung, told.degraded) == (turn.turn_id, "template", False)
    stored = await journal.query(c.GetTurn(id=turn.turn_id, owner=ANA))
    assert (stored.status, stored.answer, stored.last_seq) == ("completed", answer, 7)


async def test_nothing_of_one_owner_is_seen_or_touched_by_another(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane))
    await tell(journal, finish(lane, turn.turn_id, 1))
    assert await journal.query(c.GetConversation(id=lane, owner=BEN)) is None
    assert await journal.query(c.GetTurn(id=turn.turn_id, owner=BEN)) is None
    assert (await journal.query(c.ListConversations(owner=BEN))).items == ()
    with pytest.raises(NotFound):
        await journal.query(c.ListMessages(conversation_id=lane, owner=BEN))
    with pytest.raises(NotFound):
        await tell(journal, accept(lane, owner=BEN))
    assert await tell(journal, c.DeleteConversation(id=lane, owner=BEN)) is False
    assert await journal.query(c.GetConversation(id=lane, owner=ANA)) is not None


async def test_lists_are_paged_without_gaps_and_foreign_cursors_refused(journal: Journal) -> None:
    made = [await conversation(journal) for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await journal.query(c.ListConversations(owner=ANA, limit=3, cursor=cursor))
        seen.extend(item.id for item in page.items)
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    assert len(seen) == 7
    for bad in ("zzz", "é", "", "bm90"):
        with pytest.raises(InvalidRequest):
            await journal.query(c.ListConversations(owner=ANA, cursor=bad))


async def test_recent_messages_stop_before_the_question(journal: Journal) -> None:
    lane = await conversation(journal)
    for number in range(3):
        turn = await tell(journal, accept(lane, f"pregunta {number}"))
        await tell(journal, finish(lane, turn.turn_id, turn.epoch))
    recent = await journal.query(c.RecentMessages(conversation_id=lane, owner=ANA, before=5, limit=3))
    assert [m.text for m in recent] == ["listo", "pregunta 1", "listo"]


async def test_imported_messages_come_before_the_next_turn(journal: Journal) -> None:
    lane = await conversation(journal)
    said = tuple(
        Message(id=ids.new("m", 1), seq=0, role=role, text=text, created_at=NOW, turn_id="")  # type: ignore[arg-type]
        for role, text in (("user", "a"), ("user", "b"), ("assistant", "c"))
    )
    await tell(journal, c.ImportMessages(conversation_id=lane, owner=ANA, messages=said, now=NOW))
    turn = await tell(journal, accept(lane, "d"))
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert [(m.role, m.text) for m in page.items] == [
        ("user", "a"), ("user", "b"), ("assistant", "c"), ("user", "d"),
    ]  # fmt: skip
    assert page.items[-1].seq == turn.user_seq


async def test_logs_keep_the_first_of_an_id_and_filter_by_kind_and_time(journal: Journal) -> None:
    entry = LogEntry(id=ids.new("l", 1), kind="weight", at=NOW, data={"kg": 81.5})
    assert await tell(journal, c.AddLog(owner=ANA, entry=entry)) is True
    assert await tell(journal, c.AddLog(owner=ANA, entry=entry)) is False
    night = LogEntry(id=ids.new("l", 1), kind="sleep", at=NOW + 10, data={"hours": 7})
    await tell(journal, c.AddLog(owner=ANA, entry=night))
    assert (await journal.query(c.ListLogs(owner=ANA))).items == (night, entry)
    assert (await journal.query(c.ListLogs(owner=ANA, kind="weight"))).items == (entry,)
    assert (await journal.query(c.ListLogs(owner=ANA, since=NOW + 1))).items == (night,)
    assert (await journal.query(c.ListLogs(owner=BEN))).items == ()


async def test_keys_are_found_by_digest_and_stay_after_revocation(journal: Journal) -> None:
    key = c.ApiKey(id=ids.new("k", 0), digest=b"d" * 32, owner=ANA, roles=("operator", "user"), created_at=NOW)
    await tell(journal, c.PutKey(key=key))
    assert await journal.query(c.FindKey(digest=b"d" * 32)) == key
    assert await journal.query(c.FindKey(digest=b"x" * 32)) is None
    asked = c.KeysThatHold(digests=(b"d" * 32, b"x" * 32), now=NOW)
    assert await journal.query(asked) == ((b"d" * 32, None),)
    assert await tell(journal, c.RevokeKey(digest=key.digest, now=NOW + 1)) is True
    assert await tell(journal, c.RevokeKey(digest=key.digest, now=NOW + 2)) is True
    assert await tell(journal, c.RevokeKey(digest=b"u" * 32, now=NOW + 1)) is False
    assert (await journal.query(c.FindKey(digest=b"d" * 32))).revoked_at == NOW + 1
    assert len(await journal.query(c.ListKeys())) == 1
    assert await journal.query(asked) == ()


async def test_a_keys_end_comes_no_later_and_changes_nothing_of_a_revoked_one(journal: Journal) -> None:
    key = c.ApiKey(id=ids.new("k", 0), digest=b"d" * 32, owner=ANA, roles=("operator",), created_at=NOW)
    await tell(journal, c.PutKey(key=key))
    for at, ends_at in ((60, 60), (30, 30), (90, 30)):
        assert await tell(journal, c.EndKey(digest=key.digest, at=NOW + at)) is None
        assert await journal.query(c.FindKey(digest=key.digest)) == msgspec.structs.replace(
            key, expires_at=NOW + ends_at
        )
        asked = c.KeysThatHold(digests=(key.digest,), now=NOW + ends_at - 1)
        assert await journal.query(asked) == ((key.digest, NOW + ends_at),)
        assert await journal.query(msgspec.structs.replace(asked, now=NOW + ends_at)) == ()
    await tell(journal, c.RevokeKey(digest=key.digest, now=NOW + 1))
    for digest in (key.digest, b"u" * 32):
        with pytest.raises(NotFound):
            await tell(journal, c.EndKey(digest=digest, at=NOW + 10))
    ended = msgspec.structs.replace(key, expires_at=NOW + 30, revoked_at=NOW + 1)
    assert await journal.query(c.FindKey(digest=key.digest)) == ended


async def test_export_is_complete_and_erasure_leaves_nothing_but_others(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane, "mi secreto", idempotency_key="k", idempotency_hash=b"1"))
    with pytest.raises(ConversationBusy):
        await tell(journal, c.EraseUser(owner=ANA))
    await tell(journal, finish(lane, turn.turn_id, 1))
    await tell(journal, c.PutProfile(owner=ANA, profile=Profile(allergies=["nuez"]), now=NOW))
    bens = await conversation(journal, BEN)
    exported = await journal.query(c.ExportUser(owner=ANA))
    assert exported["profile"]["allergies"] == ["nuez"]
    assert exported["messages"][lane][0]["text"] == "mi secreto"
    assert exported["turns"][0]["id"] == turn.turn_id
    receipt = await tell(journal, c.EraseUser(owner=ANA))
    assert receipt["message"] == 2
    emptied = await journal.query(c.ExportUser(owner=ANA))
    assert (emptied["conversations"], emptied["turns"], emptied["profile"]) == ([], [], {})
    assert await journal.query(c.GetConversation(id=bens, owner=BEN)) is not None


async def test_a_busy_conversation_is_not_deleted(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane))
    with pytest.raises(ConversationBusy):
        await tell(journal, c.DeleteConversation(id=lane, owner=ANA))
    await tell(journal, finish(lane, turn.turn_id, 1))
    assert await tell(journal, c.DeleteConversation(id=lane, owner=ANA)) is True
    assert await journal.query(c.GetTurn(id=turn.turn_id, owner=ANA)) is None


async def test_a_keyed_entry_is_added_once_and_another_body_under_its_key_is_refused(journal: Journal) -> None:
    def keyed(of_key: str, of_body: str, owner: Owner = ANA) -> c.AddLog:
        entry = LogEntry(id=f"l_00{of_key * 16}{of_body * 10}", kind="weight", at=NOW, data={"kg": 80})
        return c.AddLog(owner=owner, entry=entry, is_keyed=True)

    assert [await tell(journal, keyed("A", "1")) for _ in range(2)] == [True, False]
    with pytest.raises(IdempotencyConflict):
        await tell(journal, keyed("A", "2"))
    assert await tell(journal, keyed("B", "2")) is True
    assert await tell(journal, keyed("A", "2", BEN)) is True
    told = await asyncio.gather(*(tell(journal, keyed("C", body)) for body in "12345678"), return_exceptions=True)
    assert [one for one in told if one is True] == [True]
    assert len([one for one in told if isinstance(one, IdempotencyConflict)]) == 7
