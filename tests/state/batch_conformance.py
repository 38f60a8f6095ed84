"""What every journal must do with users' batches. Imported like its siblings."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.state.journal_conformance import ANA, BEN, NOW, conversation, finish, ids, tell

from ngx_agents.errors import ConversationBusy, IdempotencyConflict, InvalidRequest, NotFound, QuotaExceeded
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Message, Owner

SHARD = shard_of(ANA.user)


def item(number: int, text: str = "", **changes: Any) -> c.BatchItem:
    values: dict[str, Any] = {
        "number": number,
        "turn_id": ids.new("t", SHARD),
        "conversation_id": ids.new("c", SHARD),
        "is_own": True,
        "text": text or f"texto {number}",
        "custom_id": f"uno-{number}",
    }
    return c.BatchItem(**(values | changes))


async def arriving(journal: Journal, *items: c.BatchItem, owner: Owner = ANA, now: float = NOW) -> str:
    batch_id = ids.new("j", SHARD)
    create = c.CreateBatch(id=batch_id, owner=owner, now=now, expires_at=now + 3600, max_open=5)
    await tell(journal, create)
    await tell(journal, c.AddBatchItems(batch_id=batch_id, owner=owner, items=items))
    return batch_id


async def running(journal: Journal, *items: c.BatchItem, **key: Any) -> str:
    batch_id = await arriving(journal, *items)
    await tell(journal, c.StartBatch(batch_id=batch_id, owner=ANA, size=len(items), **key))
    return batch_id


async def take(journal: Journal, batch_id: str, limit: int = 100, **changes: Any) -> c.Taken:
    values = {"batch_id": batch_id, "owner": ANA, "instance": "one", "limit": limit, "now": NOW + 1, "timeout_s": 600.0}
    taken: c.Taken = await tell(journal, c.TakeItems(**(values | changes)))
    return taken


async def end(journal: Journal, grant: c.Grant, **changes: Any) -> None:
    await tell(journal, finish(grant.conversation_id, grant.turn_id, grant.epoch, user_seq=grant.user_seq, **changes))


async def counts(journal: Journal, batch_id: str) -> dict[str, int]:
    batch = await journal.query(c.GetBatch(id=batch_id, owner=ANA))
    return {name: getattr(batch.counts, name) for name in batch.counts.__struct_fields__ if getattr(batch.counts, name)}


async def test_a_batchs_inputs_become_granted_turns_in_their_order_and_once(journal: Journal) -> None:
    batch_id = await running(journal, *(item(number) for number in range(5)))
    first, second, third = [await take(journal, batch_id, 2) for _ in range(3)]
    texts = [grant.text for taken in (first, second, third) for grant in taken.grants]
    assert texts == [f"texto {number}" for number in range(5)]
    assert (await take(journal, batch_id)).moved == 0
    assert await counts(journal, batch_id) == {"total": 5, "running": 5}
    grant = first.grants[0]
    assert (grant.turn_class, grant.attempts, grant.deadline_at, grant.owner) == (3, 1, NOW + 601, ANA)
    turn = await journal.query(c.GetTurn(id=grant.turn_id, owner=ANA))
    assert (turn.status, turn.text, turn.epoch) == ("running", "texto 0", grant.epoch)


async def test_takers_at_once_never_take_the_same_input(journal: Journal) -> None:
    batch_id = await running(journal, *(item(number) for number in range(40)))
    seen: list[int] = []
    while len(seen) < 40:
        taken = await asyncio.gather(*(take(journal, batch_id, 3, instance=f"i{n}") for n in range(6)))
        seen.extend(int(grant.text.split()[1]) for one in taken for grant in one.grants)
    assert sorted(seen) == list(range(40))


async def test_results_keep_the_order_of_the_inputs_whatever_ends_first(journal: Journal) -> None:
    batch_id = await running(journal, *(item(number) for number in range(4)))
    grants = (await take(journal, batch_id, 3)).grants
    await end(journal, grants[2])
    await end(journal, grants[0], status="failed", message=None)
    page = await journal.query(c.ListBatchResults(batch_id=batch_id, owner=ANA, limit=3))
    assert [one.status for one in page.items] == ["failed", "running", "completed"]
    assert [one.number for one in page.items] == [0, 1, 2]
    assert page.items[2].answer.text == "listo"
    assert page.items[1].answer is None
    assert page.items[2].custom_id == "uno-2"
    rest = await journal.query(c.ListBatchResults(batch_id=batch_id, owner=ANA, cursor=page.next))
    assert [(one.number, one.status) for one in rest.items] == [(3, "queued")]
    assert rest.next is None
    assert await counts(journal, batch_id) == {"total": 4, "queued": 1, "running": 1, "completed": 1, "failed": 1}


async def test_a_batch_has_one_turn_open_in_a_conversation(journal: Journal) -> None:
    lane = await conversation(journal)
    named = [item(number, conversation_id=lane, is_own=False) for number in range(2)]
    batch_id = await running(journal, *named, item(2))
    [grant] = (await take(journal, batch_id)).grants
    assert (await take(journal, batch_id)).moved == 0
    await end(journal, grant)
    assert [one.text for one in (await take(journal, batch_id)).grants] == ["texto 1", "texto 2"]
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert [message.text for message in page.items] == ["texto 0", "listo", "texto 1"]


async def test_an_input_whose_conversation_was_deleted_fails_alone(journal: Journal) -> None:
    lane = await conversation(journal)
    batch_id = await running(journal, item(0, conversation_id=lane, is_own=False), item(1))
    await tell(journal, c.DeleteConversation(id=lane, owner=ANA))
    taken = await take(journal, batch_id)
    assert (taken.moved, len(taken.grants)) == (2, 1)
    page = await journal.query(c.ListBatchResults(batch_id=batch_id, owner=ANA))
    assert [(one.status, one.answer and one.answer.code) for one in page.items] == [
        ("failed", "not_found"), ("running", None),
    ]  # fmt: skip


async def test_a_conversation_of_somebody_else_is_refused_and_named(journal: Journal) -> None:
    lane = await conversation(journal, BEN)
    with pytest.raises(InvalidRequest) as refused:
        await arriving(journal, item(0), item(1, conversation_id=lane, is_own=False))
    assert refused.value.field == "items[1].conversation_id"


async def test_conversations_of_inputs_are_not_listed(journal: Journal) -> None:
    batch_id = await running(journal, item(0))
    [grant] = (await take(journal, batch_id)).grants
    assert (await journal.query(c.ListConversations(owner=ANA))).items == ()
    assert (await journal.query(c.GetConversation(id=grant.conversation_id, owner=ANA))).title == "texto 0"


async def test_what_another_owner_asks_about_a_batch_finds_nothing(journal: Journal) -> None:
    batch_id = await running(journal, item(0))
    assert await journal.query(c.GetBatch(id=batch_id, owner=BEN)) is None
    assert (await journal.query(c.ListBatches(owner=BEN))).items == ()
    with pytest.raises(NotFound):
        await journal.query(c.ListBatchResults(batch_id=batch_id, owner=BEN))
    with pytest.raises(NotFound):
        await tell(journal, c.CancelBatch(batch_id=batch_id, owner=BEN))
    assert await take(journal, batch_id, owner=BEN) == c.Taken()
    assert await tell(journal, c.SettleBatch(batch_id=batch_id, owner=BEN, now=NOW)) is None
    assert await counts(journal, batch_id) == {"total": 1, "queued": 1}


async def test_a_batch_ends_when_all_its_turns_have(journal: Journal) -> None:
    batch_id = await running(journal, item(0), item(1))
    settle = c.SettleBatch(batch_id=batch_id, owner=ANA, now=NOW + 9)
    first, second = (await take(journal, batch_id)).grants
    await end(journal, first)
    assert await tell(journal, settle) is None
    await end(journal, second)
    ended = await tell(journal, settle)
    assert (ended.status, ended.finished_at, ended.counts.completed) == ("completed", NOW + 9, 2)
    assert await journal.query(c.GetBatch(id=batch_id, owner=ANA)) == ended
    assert await tell(journal, settle) is None
    assert await journal.query(c.OpenBatches(now=NOW)) == ()


async def test_a_cancelled_batch_makes_no_more_turns_and_ends_with_those_it_has(journal: Journal) -> None:
    batch_id = await running(journal, item(0), item(1), item(2))
    [grant] = (await take(journal, batch_id, 1)).grants
    assert await tell(journal, c.CancelBatch(batch_id=batch_id, owner=ANA)) == (grant.turn_id,)
    assert (await take(journal, batch_id)).moved == 0
    assert await counts(journal, batch_id) == {"total": 3, "running": 1, "cancelled": 2}
    settle = c.SettleBatch(batch_id=batch_id, owner=ANA, now=NOW + 9)
    assert await tell(journal, settle) is None
    await end(journal, grant)
    ended = await tell(journal, settle)
    assert (ended.status, ended.counts.completed, ended.counts.cancelled) == ("cancelled", 1, 2)
    assert await tell(journal, c.CancelBatch(batch_id=batch_id, owner=ANA)) == ()


async def test_an_expired_batch_makes_no_more_turns_and_says_so(journal: Journal) -> None:
    batch_id = await running(journal, item(0))
    late = NOW + 4000
    assert (await take(journal, batch_id, now=late)).moved == 0
    [listed] = await journal.query(c.OpenBatches(now=late))
    assert (listed.id, listed.waiting) == (batch_id, 0)
    ended = await tell(journal, c.SettleBatch(batch_id=batch_id, owner=ANA, now=late))
    assert (ended.status, ended.counts.expired) == ("expired", 1)


async def test_the_same_key_and_body_is_the_same_batch_and_another_body_is_refused(journal: Journal) -> None:
    first = await running(journal, item(0), key="k", hash=b"h" * 32)
    again = await arriving(journal, item(0), item(1))
    start = c.StartBatch(batch_id=again, owner=ANA, size=2, key="k", hash=b"h" * 32)
    assert (await tell(journal, start)).id == first
    with pytest.raises(NotFound):
        await tell(journal, start)
    other = await arriving(journal, item(0))
    with pytest.raises(IdempotencyConflict):
        await tell(journal, c.StartBatch(batch_id=other, owner=ANA, size=1, key="k", hash=b"x" * 32))
    assert await tell(journal, c.DropBatch(batch_id=other, owner=ANA)) is True
    assert await tell(journal, c.DropBatch(batch_id=other, owner=ANA)) is False
    assert await tell(journal, c.DropBatch(batch_id=first, owner=ANA)) is False
    batch, stored = await journal.query(c.KeyedBatch(owner=ANA, key="k"))
    assert (batch.id, stored) == (first, b"h" * 32)
    assert await journal.query(c.KeyedBatch(owner=BEN, key="k")) is None


async def test_the_same_key_at_once_starts_one_batch(journal: Journal) -> None:
    batches = [await arriving(journal, item(0)) for _ in range(4)]
    starts = [c.StartBatch(batch_id=one, owner=ANA, size=1, key="k", hash=b"h") for one in batches]
    started = await asyncio.gather(*(tell(journal, start) for start in starts))
    assert len({one.id for one in started}) == 1
    assert len((await journal.query(c.ListBatches(owner=ANA))).items) == 1


async def test_an_owner_has_so_many_open_batches_and_no_more(journal: Journal) -> None:
    creates = [
        c.CreateBatch(id=ids.new("j", SHARD), owner=ANA, now=NOW, expires_at=NOW + 1, max_open=3) for _ in range(8)
    ]
    results = await asyncio.gather(*(journal.transact([create]) for create in creates))
    assert sum(result == [None] for result in results) == 3
    assert sum(isinstance(result[0], QuotaExceeded) for result in results) == 5


async def test_what_is_arriving_is_neither_listed_nor_taken_from(journal: Journal) -> None:
    batch_id = await arriving(journal, item(0))
    assert await journal.query(c.GetBatch(id=batch_id, owner=ANA)) is None
    assert (await journal.query(c.ListBatches(owner=ANA))).items == ()
    assert await journal.query(c.OpenBatches(now=NOW)) == ()
    assert await take(journal, batch_id) == c.Taken()
    with pytest.raises(NotFound):
        await tell(journal, c.CancelBatch(batch_id=batch_id, owner=ANA))


async def test_batches_are_served_in_turn(journal: Journal) -> None:
    one, two = [await running(journal, item(0), item(1)) for _ in range(2)]
    await take(journal, one, 1, now=NOW + 2)
    assert [batch.id for batch in await journal.query(c.OpenBatches(now=NOW))] == [two, one]
    await take(journal, two, 1, now=NOW + 3)
    listed = await journal.query(c.OpenBatches(now=NOW))
    assert [(batch.id, batch.waiting) for batch in listed] == [(one, 1), (two, 1)]


async def test_batches_are_listed_newest_first_in_pages(journal: Journal) -> None:
    made = []
    for number in range(3):
        batch_id = await arriving(journal, item(0), now=NOW + number)
        await tell(journal, c.StartBatch(batch_id=batch_id, owner=ANA, size=1))
        made.append(batch_id)
    page = await journal.query(c.ListBatches(owner=ANA, limit=2))
    rest = await journal.query(c.ListBatches(owner=ANA, limit=2, cursor=page.next))
    assert [one.id for one in (*page.items, *rest.items)] == made[::-1]
    for strange in ("x", "-1", "999999", "１"):
        with pytest.raises(InvalidRequest):
            await journal.query(c.ListBatchResults(batch_id=made[0], owner=ANA, cursor=strange))


async def test_an_ended_batch_is_let_go_of_with_its_conversations(journal: Journal) -> None:
    batch_id = await running(journal, *(item(number) for number in range(3)))
    grants = (await take(journal, batch_id)).grants
    for grant in grants:
        await end(journal, grant)
    talked_on = grants[2].conversation_id
    again = await tell(journal, c.Append(conversation_id=talked_on, owner=ANA, messages=(_said(),), now=NOW))
    assert again.stamp.next_turn == 3
    await tell(journal, c.SettleBatch(batch_id=batch_id, owner=ANA, now=NOW + 9))
    expire = c.Expire(kind="batches", before=NOW + 5, now=NOW + 100, limit=2)
    assert await tell(journal, expire) == 0
    late = c.Expire(kind="batches", before=NOW + 10, now=NOW + 100, limit=2)
    assert [await tell(journal, late) for _ in range(3)] == [2, 1, 0]
    assert await journal.query(c.GetBatch(id=batch_id, owner=ANA)) is None
    left = [await journal.query(c.GetConversation(id=grant.conversation_id, owner=ANA)) for grant in grants]
    assert [one is None for one in left] == [True, True, False]
    assert [one.id for one in (await journal.query(c.ListConversations(owner=ANA))).items] == [talked_on]


def _said() -> Message:
    return Message(id=ids.new("m", SHARD), seq=0, role="user", text="y otra", created_at=NOW, turn_id="")


async def test_what_never_arrived_is_let_go_of(journal: Journal) -> None:
    batch_id = await arriving(journal, item(0))
    await tell(journal, c.Expire(kind="batches", before=NOW + 10, now=NOW + 10))
    with pytest.raises(NotFound):
        await tell(journal, c.StartBatch(batch_id=batch_id, owner=ANA, size=1))


async def test_a_batch_is_exported_and_erased_with_its_owner(journal: Journal) -> None:
    batch_id = await running(journal, item(0, "tomado"), item(1, "en espera"))
    [grant] = (await take(journal, batch_id, 1)).grants
    exported = await journal.query(c.ExportUser(owner=ANA))
    [stored] = exported["batches"]
    assert stored["batch"]["id"] == batch_id
    assert [one[2] for one in stored["waiting"]] == ["en espera"]
    with pytest.raises(ConversationBusy):
        await tell(journal, c.EraseUser(owner=ANA))
    await end(journal, grant)
    assert (await tell(journal, c.EraseUser(owner=ANA)))["batch"] == 1
    assert await journal.query(c.OpenBatches(now=NOW)) == ()
    assert await take(journal, batch_id) == c.Taken()


async def test_a_killed_takers_turns_are_claimed_like_any_other(journal: Journal) -> None:
    batch_id = await running(journal, item(0), item(1))
    await tell(journal, c.Beat(instance="one", lease_s=0.05))
    grants = (await take(journal, batch_id)).grants
    await asyncio.sleep(0.2)
    claimed = await journal.claim(10, instance="two", now=NOW)
    assert sorted(one.turn_id for one in claimed) == sorted(one.turn_id for one in grants)
    assert {one.attempts for one in claimed} == {2}


async def test_the_end_of_a_batch_is_put_into_the_outbox_once(journal: Journal) -> None:
    webhook = c.PushConfig(id="done", url="https://example.org/x", body=b"sealed", created_at=NOW, kind="turn")
    batch_id = await running(journal, item(0), webhook=webhook)
    claim = c.ClaimPushes(instance="one", now=NOW + 20, limit=10, lease_s=60.0)
    [grant] = (await take(journal, batch_id)).grants
    await end(journal, grant)
    assert await tell(journal, claim) == ()
    settle = c.SettleBatch(batch_id=batch_id, owner=ANA, now=NOW + 9)
    await asyncio.gather(*(tell(journal, settle) for _ in range(4)))
    [due] = await tell(journal, claim)
    assert (due.kind, due.subject, due.owner, due.config.url, due.config.body) == (
        "batch", batch_id, ANA, webhook.url, b"sealed",
    )  # fmt: skip
    told = msgspec.json.decode(due.content)
    assert (told["batch_id"], told["status"], told["counts"]["completed"]) == (batch_id, "completed", 1)
