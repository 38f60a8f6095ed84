"""What every journal must do with standing webhooks. Imported like its siblings."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.state.batch_conformance import end, item, running, take
from tests.state.journal_conformance import ANA, BEN, NOW, accept, finish, ids, tell
from tests.state.schedule_conformance import fire, planned, put

from ngx_agents.errors import NotFound, QuotaExceeded
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.webhook_commands import EVENTS, MAX_WAITING

SHARD = shard_of(ANA.user)
LATER = NOW + 1000


def standing(owner: Owner = ANA, **changes: Any) -> c.Webhook:
    values: dict[str, Any] = {
        "id": ids.new("w", shard_of(owner.user)), "owner": owner, "url": "https://hooks.example/all",
        "body": b"sealed", "events": EVENTS, "created_at": NOW,
    }  # fmt: skip
    return c.Webhook(**(values | changes))


async def made(journal: Journal, owner: Owner = ANA, **changes: Any) -> c.Webhook:
    webhook = standing(owner, **changes)
    await tell(journal, c.CreateWebhook(webhook=webhook, max_webhooks=5))
    return webhook


async def told(journal: Journal, now: float = LATER) -> tuple[c.DuePush, ...]:
    claim = c.ClaimPushes(instance="sender", now=now, limit=50, lease_s=30.0, per_owner=50)
    due: tuple[c.DuePush, ...] = await tell(journal, claim)
    return due


async def lane_of(journal: Journal, owner: Owner = ANA) -> str:
    lane = ids.new("c", shard_of(owner.user))
    await tell(journal, c.CreateConversation(id=lane, owner=owner, title="", now=NOW))
    return lane


async def turn(journal: Journal, lane: str, owner: Owner = ANA, *, turn_class: int = 1, **ended: Any) -> str:
    """One from its message to its end."""
    command = accept(lane, turn_id=ids.new("t", shard_of(owner.user)), owner=owner, turn_class=turn_class)
    accepted = await tell(journal, command)
    values = {"owner": owner, "user_seq": accepted.user_seq} | ended
    await tell(journal, finish(lane, command.turn_id, accepted.epoch, **values))
    return command.turn_id


def settled(due: c.DuePush, verdict: Any, **more: Any) -> c.SettlePush:
    return c.SettlePush(
        number=due.number, instance="sender", owner=due.owner, verdict=verdict, now=LATER, **more
    )  # fmt: skip


async def test_a_standing_webhook_is_kept_changed_and_deleted_by_its_owner_alone(journal: Journal) -> None:
    one = await made(journal)
    two = await made(journal, created_at=NOW + 1, events=("turn.failed",), is_paused=True)
    assert await journal.query(c.ListWebhooks(owner=ANA)) == (one, two)
    assert await journal.query(c.ListWebhooks(owner=BEN)) == ()
    assert await journal.query(c.GetWebhook(id=one.id, owner=BEN)) is None
    changes: dict[str, Any] = {"url": "https://hooks.example/new", "events": ("turn.failed",), "is_paused": True}
    assert await tell(journal, c.ChangeWebhook(id=one.id, owner=BEN, **changes)) is False
    assert await tell(journal, c.DeleteWebhook(id=one.id, owner=BEN)) is False
    with pytest.raises(NotFound):
        await tell(journal, c.TryWebhook(id=one.id, owner=BEN, content=b"{}", now=NOW))
    assert await journal.query(c.GetWebhook(id=one.id, owner=ANA)) == one
    assert await tell(journal, c.ChangeWebhook(id=one.id, owner=ANA, **changes)) is True
    assert await journal.query(c.GetWebhook(id=one.id, owner=ANA)) == msgspec.structs.replace(one, **changes)
    assert await tell(journal, c.DeleteWebhook(id=one.id, owner=ANA)) is True
    assert await tell(journal, c.DeleteWebhook(id=one.id, owner=ANA)) is False
    assert await journal.query(c.ListWebhooks(owner=ANA)) == (two,)


async def test_an_owner_has_so_many_standing_webhooks_and_no_more(journal: Journal) -> None:
    results = await asyncio.gather(
        *(journal.transact([c.CreateWebhook(webhook=standing(), max_webhooks=3)]) for _ in range(6))
    )
    assert sum(isinstance(result[0], QuotaExceeded) for result in results) == 3
    assert len(await journal.query(c.ListWebhooks(owner=ANA))) == 3
    await made(journal, BEN)


async def test_it_is_told_of_the_turns_that_its_owner_ends_and_it_asked_for(journal: Journal) -> None:
    everything = await made(journal)
    failures = await made(journal, events=("turn.failed",))
    await made(journal, is_paused=True)
    theirs = await made(journal, BEN)
    lane = await lane_of(journal)
    completed = await turn(journal, lane)
    failed = await turn(journal, lane, status="failed")
    dead = await turn(journal, lane, status="dead")
    bens = await turn(journal, await lane_of(journal, BEN), BEN)
    due = await told(journal)
    assert {(one.config.id, one.turn_id, one.status, one.kind) for one in due} == {
        (everything.id, completed, "completed", "standing"), (everything.id, failed, "failed", "standing"),
        (everything.id, dead, "dead", "standing"), (failures.id, failed, "failed", "standing"),
        (failures.id, dead, "dead", "standing"), (theirs.id, bens, "completed", "standing"),
    }  # fmt: skip
    assert {(one.config.url, one.config.body) for one in due} == {("https://hooks.example/all", b"sealed")}
    assert (await journal.query(c.GetWebhook(id=everything.id, owner=ANA))).waiting == 3


async def test_a_turn_cancelled_while_it_waits_is_told(journal: Journal) -> None:
    await made(journal)
    lane = await lane_of(journal)
    first = accept(lane, turn_id=ids.new("t", SHARD))
    waits = accept(lane, turn_id=ids.new("t", SHARD))
    await tell(journal, first)
    await tell(journal, waits)
    await tell(journal, c.RequestCancel(turn_id=waits.turn_id, owner=ANA, now=NOW + 2))
    assert [(one.turn_id, one.status) for one in await told(journal)] == [(waits.turn_id, "cancelled")]


async def test_of_a_batch_its_end_is_told_and_not_its_turns(journal: Journal) -> None:
    await made(journal)
    batch_id = await running(journal, item(0), item(1))
    for grant in (await take(journal, batch_id)).grants:
        assert grant.turn_class == 3
        await end(journal, grant)
    await tell(journal, c.SettleBatch(batch_id=batch_id, owner=ANA, now=NOW + 9))
    [due] = await told(journal)
    content = msgspec.json.decode(due.content or b"")
    assert (due.subject, content["type"], content["data"]["status"]) == (batch_id, "batch.completed", "completed")
    assert (content["data"]["batch_id"], content["data"]["counts"]["completed"]) == (batch_id, 2)


async def test_a_message_of_a_schedule_is_told_once_it_is_sent(journal: Journal) -> None:
    await made(journal, events=("schedule.sent",))
    schedule = await put(journal, planned())
    sent = fire(schedule, skipped=2)
    await asyncio.gather(*(tell(journal, sent) for _ in range(3)))
    [due] = await told(journal)
    data = {"schedule_id": schedule.id, "turn_id": sent.turn_id, "due_at": sent.due_at, "skipped": 2}
    assert msgspec.json.decode(due.content or b"") == {"type": "schedule.sent", "data": data}


async def test_a_new_address_and_new_keys_hold_for_what_waits(journal: Journal) -> None:
    one = await made(journal)
    await turn(journal, await lane_of(journal))
    rotated = c.ChangeWebhook(id=one.id, owner=ANA, body=b"second", seen_body=b"sealed")
    assert [await tell(journal, rotated) for _ in range(2)] == [True, False]
    await tell(journal, c.ChangeWebhook(id=one.id, owner=ANA, url="https://hooks.example/moved"))
    [due] = await told(journal)
    assert (due.config.url, due.config.body) == ("https://hooks.example/moved", b"second")


async def test_what_waits_for_a_deleted_webhook_goes_and_nothing_else(journal: Journal) -> None:
    one, other = await made(journal), await made(journal)
    await turn(journal, await lane_of(journal))
    await tell(journal, c.DeleteWebhook(id=one.id, owner=ANA))
    assert [due.config.id for due in await told(journal)] == [other.id]


async def test_a_webhook_that_is_gone_is_told_nothing_until_it_is_revived(journal: Journal) -> None:
    one, theirs = await made(journal), await made(journal, BEN)
    lane = await lane_of(journal)
    for _ in range(2):
        await turn(journal, lane)
    await turn(journal, await lane_of(journal, BEN), BEN)
    first = next(due for due in await told(journal) if due.owner == ANA)
    await tell(journal, settled(first, "disabled"))
    kept = await journal.query(c.GetWebhook(id=one.id, owner=ANA))
    assert (kept.disabled_at, kept.waiting) == (LATER, 0)
    spared = await journal.query(c.GetWebhook(id=theirs.id, owner=BEN))
    assert (spared.disabled_at, spared.waiting) == (None, 1)
    await turn(journal, lane)
    assert await told(journal, LATER + 1) == ()
    await tell(journal, c.ChangeWebhook(id=one.id, owner=ANA, is_paused=False))
    await turn(journal, lane)
    assert len(await told(journal, LATER + 2)) == 1


async def test_one_test_at_a_time_is_sent_whatever_the_webhook_asked_for(journal: Journal) -> None:
    one = await made(journal, events=("turn.failed",))
    test = c.TryWebhook(id=one.id, owner=ANA, content=b'{"type": "webhook.test"}', now=NOW)
    await tell(journal, test)
    with pytest.raises(QuotaExceeded):
        await tell(journal, test)
    [due] = await told(journal)
    assert (due.kind, due.config.id, due.content) == ("standing", one.id, test.content)
    await tell(journal, settled(due, "sent"))
    await tell(journal, test)


async def test_past_so_many_that_wait_events_are_counted_and_not_kept(journal: Journal) -> None:
    one, lane = await made(journal), await lane_of(journal)
    post = c.AddPost(
        owner=ANA, kind="standing", subject="x", webhook_id=one.id, url=one.url, body=one.body, content=b"{}", now=NOW
    )
    await journal.transact([post] * (MAX_WAITING - 1))
    await turn(journal, lane)
    await turn(journal, lane)
    schedule = await put(journal, planned())
    await tell(journal, fire(schedule))
    kept = await journal.query(c.GetWebhook(id=one.id, owner=ANA))
    assert (kept.waiting, kept.missed) == (MAX_WAITING, 2)


async def test_what_was_given_up_is_let_go_of_by_age_some_at_a_time(journal: Journal) -> None:
    one, lane = await made(journal), await lane_of(journal)
    for second in range(4):
        await turn(journal, lane, now=NOW + second)
    first, *others = await told(journal)
    await tell(journal, settled(first, "later", due_at=LATER + 50))
    for due in others:
        await tell(journal, settled(due, "dead", reason="answered 500", attempts=10))
    kept = await journal.query(c.GetWebhook(id=one.id, owner=ANA))
    assert (kept.waiting, kept.dead) == (1, 3)
    expire = c.Expire(kind="outbox", before=NOW + 3, now=LATER, limit=1)
    assert [await tell(journal, expire) for _ in range(3)] == [1, 1, 0]
    assert [entry.at for entry in await journal.query(c.ListDeadPushes())] == [NOW + 3]
    assert len(await told(journal, LATER + 60)) == 1


async def test_standing_webhooks_are_exported_without_keys_and_erased_with_their_owner(journal: Journal) -> None:
    one, theirs = await made(journal), await made(journal, BEN)
    await turn(journal, await lane_of(journal))
    exported = await journal.query(c.ExportUser(owner=ANA))
    assert [(webhook["id"], webhook["url"]) for webhook in exported["standing_webhooks"]] == [(one.id, one.url)]
    assert "body" not in exported["standing_webhooks"][0]
    erased = await tell(journal, c.EraseUser(owner=ANA))
    assert (erased["webhook"], erased["outbox"]) == (1, 1)
    assert await journal.query(c.ListWebhooks(owner=ANA)) == ()
    assert await journal.query(c.ListWebhooks(owner=BEN)) == (theirs,)
