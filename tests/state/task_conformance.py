"""What every journal does with tasks of the open protocol and with the outbox of their webhooks.

A module that provides the fixture `journal` runs it with `from tests.state.task_conformance import *`.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import InvalidRequest, NotFound, TurnFinished
from ngx_agents.state import commands as c
from ngx_agents.state.ids import Ids, shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Answer, Artifact, Message, Owner
from ngx_agents.state.task_commands import MAX_TASK_BYTES, PushConfig, TaskPage, TaskRecord

ANA = Owner("acme", "ana")
BEN = Owner("acme", "ben")
IDS = Ids(SystemClock())
HOLDER = "instance-1"


async def _told(journal: Journal, *commands: c.Command) -> list[Any]:
    results = await journal.transact(commands)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


async def _conversation(journal: Journal, owner: Owner = ANA) -> str:
    made = IDS.new("c", shard_of(owner.user))
    await _told(journal, c.CreateConversation(id=made, owner=owner, title="", now=1.0))
    return made


async def _accept(
    journal: Journal,
    conversation_id: str,
    task_id: str | None = None,
    *,
    now: float = 10.0,
    push: PushConfig | None = None,
    **more: Any,
) -> c.Accepted:
    shard = shard_of(more.get("owner", ANA).user)
    command = c.AcceptTurn(
        conversation_id=conversation_id,
        owner=more.get("owner", ANA),
        turn_id=IDS.new("t", shard),
        message_id=IDS.new("m", shard),
        text="how far",
        turn_class=1,
        when_busy="enqueue",
        now=now,
        deadline_at=now + 60,
        grant_to=HOLDER,
        agent=more.get("agent"),
        task=c.TaskEntry(task_id=task_id, context_id=conversation_id, message=more.get("message", b"as received")),
        push=push,
    )
    [accepted] = await _told(journal, command)
    found: c.Accepted = accepted
    return found


async def _finish(
    journal: Journal, conversation_id: str, accepted: c.Accepted, *, now: float = 20.0, **more: Any
) -> c.Finished:
    text = more.get("text", "an hour")
    message = Message(
        id=IDS.new("m", shard_of(ANA.user)), seq=0, role="assistant", text=text, created_at=now,
        turn_id=accepted.turn_id,
    )  # fmt: skip
    [finished] = await _told(
        journal,
        c.FinishTurn(
            conversation_id=conversation_id,
            owner=ANA,
            turn_id=accepted.turn_id,
            user_seq=accepted.user_seq,
            epoch=accepted.epoch or more["epoch"],
            status=more.get("status", "completed"),
            answer=Answer(text=text, code=more.get("code")),
            last_seq=5,
            now=now,
            message=message if text else None,
            artifacts=more.get("artifacts", ()),
            grant_to=HOLDER,
        ),
    )
    done: c.Finished = finished
    return done


async def _task(journal: Journal, task_id: str, owner: Owner = ANA, agent: str | None = None) -> TaskRecord | None:
    found: TaskRecord | None = await journal.query(c.GetTask(id=task_id, owner=owner, agent=agent))
    return found


async def _state(journal: Journal, task_id: str) -> str | None:
    found = await _task(journal, task_id)
    return None if found is None else found.state


async def test_a_task_begins_with_its_turn_and_ends_with_it(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    accepted = await _accept(journal, conversation_id)
    begun = await _task(journal, accepted.turn_id)
    assert begun is not None
    assert (begun.state, begun.context_id, begun.turns[0].message) == ("working", conversation_id, b"as received")
    made = Artifact(
        id=IDS.new("a", shard_of(ANA.user)), agent="coach", kind="Plan", title="Run", data={"days": 3}, created_at=19.0,
        turn_id=accepted.turn_id, conversation_id=conversation_id,
    )  # fmt: skip
    await _finish(journal, conversation_id, accepted, artifacts=(made,))
    ended = await _task(journal, accepted.turn_id)
    assert ended is not None
    assert (ended.state, ended.state_at) == ("completed", 20.0)
    assert ended.turns[0].answer is not None
    assert ended.turns[0].answer.text == "an hour"
    assert [artifact.data for artifact in ended.turns[0].artifacts] == [{"days": 3}]


async def test_another_owner_and_another_agent_see_no_task(journal: Journal) -> None:
    accepted = await _accept(journal, await _conversation(journal), agent="coach")
    assert await _task(journal, accepted.turn_id, agent="coach") is not None
    assert await _task(journal, accepted.turn_id, agent=None) is None
    assert await _task(journal, accepted.turn_id, agent="other") is None
    assert await _task(journal, accepted.turn_id, BEN, agent="coach") is None


async def test_a_turn_that_no_task_asked_for_is_none(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    plain = c.AcceptTurn(
        conversation_id=conversation_id, owner=ANA, turn_id=IDS.new("t", shard_of(ANA.user)),
        message_id=IDS.new("m", shard_of(ANA.user)), text="x", turn_class=1, when_busy="enqueue", now=1.0,
        deadline_at=9.0, grant_to=None,
    )  # fmt: skip
    await _told(journal, plain)
    assert await _task(journal, plain.turn_id) is None


async def test_a_message_to_a_working_task_keeps_it_working_until_both_turns_ended(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id)
    second = await _accept(journal, conversation_id, first.turn_id, now=11.0)
    assert second.position == 1
    finished = await _finish(journal, conversation_id, first)
    assert await _state(journal, first.turn_id) == "working"
    assert finished.next is not None
    await _finish(journal, conversation_id, second, epoch=finished.next.epoch, now=30.0)
    assert await _state(journal, first.turn_id) == "completed"


@pytest.mark.parametrize("code", ["input_required", "auth_required"])
async def test_an_interrupted_task_takes_one_more_message(journal: Journal, code: str) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id)
    await _finish(journal, conversation_id, first, code=code, text="which one?")
    assert await _state(journal, first.turn_id) == code
    second = await _accept(journal, conversation_id, first.turn_id, now=30.0)
    assert await _state(journal, first.turn_id) == "working"
    await _finish(journal, conversation_id, second, now=40.0)
    assert await _state(journal, first.turn_id) == "completed"


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("completed", None, "completed"),
        ("completed", "rejected", "rejected"),
        ("failed", "internal", "failed"),
        ("dead", "dead", "failed"),
        ("cancelled", "cancelled", "canceled"),
    ],
)
async def test_an_ended_task_takes_no_message(journal: Journal, status: str, code: str | None, state: str) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id)
    await _finish(journal, conversation_id, first, status=status, code=code)
    assert await _state(journal, first.turn_id) == state
    with pytest.raises(TurnFinished):
        await _accept(journal, conversation_id, first.turn_id)
    page = await _page(journal, state=state)
    assert [record.id for record in page.items] == [first.turn_id]


async def test_a_message_to_a_task_that_is_not_there_or_not_ones_own_is_refused(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id)
    with pytest.raises(NotFound):
        await _accept(journal, conversation_id, IDS.new("t", 1))
    with pytest.raises(NotFound):
        await _accept(journal, await _conversation(journal), first.turn_id)
    with pytest.raises(NotFound):
        await _accept(journal, await _conversation(journal, BEN), first.turn_id, owner=BEN)
    with pytest.raises(NotFound):
        await _accept(journal, conversation_id, first.turn_id, agent="other")


async def test_the_bytes_of_a_tasks_messages_are_bounded(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id)
    rest = MAX_TASK_BYTES - len(b"as received")
    with pytest.raises(InvalidRequest, match="bytes"):
        await _accept(journal, conversation_id, first.turn_id, message=bytes(rest + 1))
    await _accept(journal, conversation_id, first.turn_id, message=bytes(rest))
    with pytest.raises(InvalidRequest, match="bytes"):
        await _accept(journal, conversation_id, first.turn_id, message=b"1")
    await _accept(journal, conversation_id, message=b"of another task")


async def test_the_newest_messages_are_read_as_far_as_asked(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id, message=b"1")
    for message in (b"2", b"3"):
        await _accept(journal, conversation_id, first.turn_id, message=message)
    for messages, told in (
        (None, [b"1", b"2", b"3"]), (3, [b"1", b"2", b"3"]), (9, [b"1", b"2", b"3"]), (2, [b"", b"2", b"3"]),
        (1, [b"", b"", b"3"]), (0, [b"", b"", b""]),
    ):  # fmt: skip
        found = await journal.query(c.GetTask(id=first.turn_id, owner=ANA, agent=None, messages=messages))
        assert [turn.message for turn in found.turns] == told
        page = await _page(journal, messages=messages)
        assert [turn.message for turn in page.items[0].turns] == told


async def test_a_page_ends_before_its_messages_are_too_many_bytes(journal: Journal) -> None:
    big = bytes(MAX_TASK_BYTES // 2)
    tasks = [
        (await _accept(journal, await _conversation(journal), now=float(at), message=big + b"1" * (at == 3))).turn_id
        for at in (1, 2, 3)
    ]
    first = await _page(journal)
    assert ([record.id for record in first.items], first.total) == ([tasks[2]], 3)
    rest = await _page(journal, cursor=first.next)
    assert ([record.id for record in rest.items], rest.next) == ([tasks[1], tasks[0]], None)
    assert len((await _page(journal, messages=0)).items) == 3


async def test_only_an_interrupted_task_is_ended_at_once(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id)
    end = c.EndTask(task_id=first.turn_id, owner=ANA, agent=None, now=25.0)
    assert await _told(journal, end) == [False]
    await _finish(journal, conversation_id, first, code="input_required", text="which one?")
    assert await _told(journal, c.EndTask(task_id=first.turn_id, owner=BEN, agent=None, now=25.0)) == [False]
    assert await _told(journal, end) == [True]
    assert await _told(journal, end) == [False]
    ended = await _task(journal, first.turn_id)
    assert ended is not None
    assert (ended.state, ended.state_at) == ("canceled", 25.0)
    with pytest.raises(TurnFinished):
        await _accept(journal, conversation_id, first.turn_id)


async def _page(journal: Journal, **more: Any) -> TaskPage:
    values: dict[str, Any] = {"owner": ANA, "agent": None, "limit": 10} | more
    found: TaskPage = await journal.query(c.ListTasks(**values))
    return found


async def test_a_list_is_paged_by_the_newest_state_and_counts_all(journal: Journal) -> None:
    ids = []
    for number in range(5):
        conversation_id = await _conversation(journal)
        accepted = await _accept(journal, conversation_id, now=100.0 + number)
        ids.append(accepted.turn_id)
        if number == 0:
            await _finish(journal, conversation_id, accepted, now=200.0)
    await _accept(journal, await _conversation(journal, BEN), owner=BEN)
    order = [ids[0], *reversed(ids[1:])]
    first = await _page(journal, limit=2)
    second = await _page(journal, limit=2, cursor=first.next)
    third = await _page(journal, limit=2, cursor=second.next)
    assert [record.id for page in (first, second, third) for record in page.items] == order
    assert (first.total, second.total, third.total, third.next) == (5, 5, 5, None)
    assert [record.id for record in (await _page(journal, state="completed")).items] == [ids[0]]
    assert [record.id for record in (await _page(journal, since=104.0)).items] == [ids[0], ids[4]]
    assert [record.id for record in (await _page(journal, context_id=first.items[1].context_id)).items] == [ids[4]]
    assert (await _page(journal, owner=BEN)).total == 1
    assert (await _page(journal, agent="coach")).total == 0


@pytest.mark.parametrize("cursor", ["", "x", "bm90IG91cnM", "*", "a" * 300])
async def test_a_cursor_that_is_not_ours_is_refused(journal: Journal, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        await _page(journal, cursor=cursor)


def _webhook(name: str = "one", body: bytes = b"sealed") -> PushConfig:
    return PushConfig(id=name, url="https://hooks.example/1", body=body, created_at=1.0)


def _put(task_id: str, config: PushConfig, owner: Owner = ANA) -> c.PutPush:
    return c.PutPush(task_id=task_id, owner=owner, agent=None, config=config)


async def _claim(journal: Journal, now: float = 50.0, *, instance: str = HOLDER) -> Any:
    [due] = await _told(journal, c.ClaimPushes(instance=instance, now=now, limit=10, lease_s=30.0))
    return due


def _settled(number: int, verdict: Any, **more: Any) -> c.SettlePush:
    return c.SettlePush(number=number, instance=HOLDER, owner=ANA, verdict=verdict, now=60.0, **more)


async def test_webhooks_are_kept_listed_and_deleted(journal: Journal) -> None:
    task_id = (await _accept(journal, await _conversation(journal))).turn_id
    await _told(journal, _put(task_id, _webhook()), _put(task_id, _webhook("two")), _put(task_id, _webhook(body=b"b")))
    found = await journal.query(c.ListPushes(task_id=task_id, owner=ANA, agent=None))
    assert [(config.id, config.body) for config in found] == [("one", b"b"), ("two", b"sealed")]
    assert await journal.query(c.ListPushes(task_id=task_id, owner=BEN, agent=None)) is None
    gone = c.DeletePush(task_id=task_id, owner=ANA, agent=None, id="one")
    assert await _told(journal, gone, gone) == [True, False]
    with pytest.raises(NotFound):
        await _told(journal, _put(task_id, _webhook(), BEN))
    with pytest.raises(NotFound):
        await _told(journal, c.DeletePush(task_id=task_id, owner=BEN, agent=None, id="two"))


async def test_what_a_webhook_is_told_is_written_with_the_turn_and_sent_in_order(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    accepted = await _accept(journal, conversation_id, push=_webhook())
    await _finish(journal, conversation_id, accepted)
    [begun] = await _claim(journal)
    assert (begun.status, begun.is_last, begun.config.body, begun.owner) == ("running", False, b"sealed", ANA)
    assert await _claim(journal) == ()
    await _told(journal, _settled(begun.number, "sent"))
    [ended] = await _claim(journal)
    assert (ended.status, ended.is_last, ended.at) == ("completed", True, 20.0)


async def test_a_turn_that_ends_while_another_waits_is_not_the_tasks_last(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    first = await _accept(journal, conversation_id, push=_webhook())
    await _accept(journal, conversation_id, first.turn_id)
    await _finish(journal, conversation_id, first)
    told = []
    for _ in range(4):
        [due] = await _claim(journal)
        told.append((due.status, due.is_last))
        await _told(journal, _settled(due.number, "sent"))
    assert sorted(told) == [("completed", False), ("queued", False), ("running", False), ("running", False)]
    assert told[0] == ("running", False)


async def test_what_failed_is_due_again_later_and_holds_up_what_follows(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    await _finish(journal, conversation_id, await _accept(journal, conversation_id, push=_webhook()))
    [due] = await _claim(journal)
    await _told(journal, _settled(due.number, "later", step=1, attempts=3, due_at=70.0))
    assert await _claim(journal, 69.0) == ()
    [again] = await _claim(journal, 70.0)
    assert (again.number, again.step, again.attempts) == (due.number, 1, 3)


async def test_a_claim_that_nobody_settled_is_given_to_the_next(journal: Journal) -> None:
    await _accept(journal, await _conversation(journal), push=_webhook())
    [due] = await _claim(journal)
    [again] = await _claim(journal, 81.0, instance="instance-2")
    assert again.number == due.number
    await _told(journal, _settled(due.number, "sent"))
    assert len(await _claim(journal, 120.0, instance="instance-2")) == 1


async def test_a_dead_entry_lets_the_next_pass_and_is_replayed(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    await _finish(journal, conversation_id, await _accept(journal, conversation_id, push=_webhook()))
    [due] = await _claim(journal)
    await _told(journal, _settled(due.number, "dead", attempts=10, reason="503"))
    [following] = await _claim(journal)
    assert following.number > due.number
    [dead] = await journal.query(c.ListDeadPushes())
    assert (dead.number, dead.reason, dead.attempts, dead.owner) == (due.number, "503", 10, ANA)
    assert await _told(journal, c.ReplayPush(number=due.number, owner=ANA, now=55.0)) == [True]
    assert await _told(journal, c.ReplayPush(number=due.number, owner=ANA, now=55.0)) == [False]
    [again] = await _claim(journal, 55.0)
    assert (again.number, again.attempts) == (due.number, 0)


async def test_a_webhook_that_is_gone_gets_nothing_more(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    accepted = await _accept(journal, conversation_id, push=_webhook())
    [due] = await _claim(journal)
    await _told(journal, _settled(due.number, "disabled"))
    await _finish(journal, conversation_id, accepted)
    assert await _claim(journal) == ()
    [config] = await journal.query(c.ListPushes(task_id=accepted.turn_id, owner=ANA, agent=None))
    assert config.disabled_at == 60.0


async def test_tasks_and_webhooks_go_with_their_conversation_and_their_user(journal: Journal) -> None:
    conversation_id, other_id = await _conversation(journal), await _conversation(journal)
    first = await _accept(journal, conversation_id, push=_webhook())
    second = await _accept(journal, other_id, push=_webhook())
    await _finish(journal, conversation_id, first)
    await _finish(journal, other_id, second)
    await _told(journal, c.DeleteConversation(id=conversation_id, owner=ANA))
    assert await _task(journal, first.turn_id) is None
    await _told(journal, c.EraseUser(owner=ANA))
    assert await _task(journal, second.turn_id) is None
    assert await _claim(journal) == ()


async def test_a_turn_that_is_no_task_tells_its_webhook_of_its_end_alone(journal: Journal) -> None:
    conversation_id = await _conversation(journal)
    config = PushConfig(id="done", url="https://hooks.example/1", body=b"sealed", created_at=1.0, kind="turn")
    command = c.AcceptTurn(
        conversation_id=conversation_id, owner=ANA, turn_id=IDS.new("t", shard_of(ANA.user)),
        message_id=IDS.new("m", shard_of(ANA.user)), text="x", turn_class=1, when_busy="enqueue", now=1.0,
        deadline_at=9.0, grant_to=HOLDER, push=config,
    )  # fmt: skip
    [accepted] = await _told(journal, command)
    assert await _claim(journal) == ()
    await _finish(journal, conversation_id, accepted)
    [due] = await _claim(journal)
    assert (due.kind, due.subject, due.turn_id, due.status) == ("turn", command.turn_id, command.turn_id, "completed")
    assert await _task(journal, command.turn_id) is None


async def test_what_is_posted_about_anything_else_keeps_its_order_and_goes_with_its_user(journal: Journal) -> None:
    def post(content: bytes) -> c.AddPost:
        return c.AddPost(
            owner=ANA, kind="batch", subject="b_1", webhook_id="done", url="https://hooks.example/1", body=b"sealed",
            content=content, now=1.0,
        )  # fmt: skip

    await _told(journal, post(b"first"), post(b"second"))
    [first] = await _claim(journal)
    assert (first.kind, first.content, first.config.body, first.turn_id) == ("batch", b"first", b"sealed", None)
    await _told(journal, _settled(first.number, "sent"))
    [second] = await _claim(journal)
    assert second.content == b"second"
    await _told(journal, c.EraseUser(owner=ANA))
    assert await _claim(journal, 500.0) == ()


async def test_many_who_claim_at_once_get_nothing_twice(journal: Journal) -> None:
    for number in range(8):
        await _told(
            journal,
            c.AddPost(
                owner=ANA, kind="batch", subject=f"b_{number}", webhook_id="w", url="https://hooks.example/1",
                body=b"", content=b"x", now=1.0,
            ),
        )  # fmt: skip
    claims = await asyncio.gather(*(_claim(journal, instance=f"instance-{number}") for number in range(6)))
    numbers = [due.number for claim in claims for due in claim]
    assert sorted(numbers) == sorted(set(numbers))
    rest = await _claim(journal)
    assert len(numbers) + len(rest) == 8


async def test_claims_rotate_between_owners_and_are_bounded_for_each(journal: Journal) -> None:
    for owner, count in ((ANA, 9), (BEN, 2)):
        for number in range(count):
            await _told(
                journal,
                c.AddPost(
                    owner=owner, kind="batch", subject=f"b_{owner.user}_{number}", webhook_id="w",
                    url="https://hooks.example/1", body=b"", content=b"x", now=1.0,
                ),
            )  # fmt: skip
    ask = c.ClaimPushes(instance=HOLDER, now=50.0, limit=3, lease_s=30.0, per_owner=3)
    [first] = await _told(journal, ask)
    assert sorted(due.owner.user for due in first) == ["ana", "ana", "ben"]
    [second] = await _told(journal, msgspec.structs.replace(ask, limit=9, held=((ANA, 2), (BEN, 1))))
    assert sorted(due.owner.user for due in second) == ["ana", "ben"]
    [third] = await _told(journal, msgspec.structs.replace(ask, limit=9, held=((ANA, 3),)))
    assert third == ()
    [fourth] = await _told(journal, msgspec.structs.replace(ask, limit=9))
    assert [due.subject for due in fourth] == ["b_ana_3", "b_ana_4", "b_ana_5"]


async def test_an_export_has_the_messages_of_tasks_and_webhooks_without_secrets(journal: Journal) -> None:
    accepted = await _accept(journal, await _conversation(journal), push=_webhook())
    exported = await journal.query(c.ExportUser(owner=ANA))
    [task] = exported["tasks"]
    assert (task["task_id"], base64.b64decode(task["message"])) == (accepted.turn_id, b"as received")
    [webhook] = exported["webhooks"]
    assert (webhook["subject"], webhook["url"]) == (accepted.turn_id, "https://hooks.example/1")
    assert "body" not in webhook
    assert (await journal.query(c.ExportUser(owner=BEN)))["tasks"] == []
