"""What every journal must do with states, appended messages, attachments, consents, expiry and elections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, finish, ids, tell

from ngx_agents.errors import IdempotencyConflict, InvalidRequest, NotFound, StateConflict
from ngx_agents.state import commands as c
from ngx_agents.state import state_commands as s
from ngx_agents.state.blobs import new_blob
from ngx_agents.state.codec import Codec
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Artifact, Message, Profile

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 10
DAY_S = 86_400.0
encode = Codec(dict).encode


def put(lane: str, body: bytes = b"one", **changes: Any) -> c.PutState:
    values: dict[str, Any] = {"conversation_id": lane, "owner": ANA, "body": body, "now": NOW}
    return c.PutState(**(values | changes))


def said(text: str, role: Any = "user") -> Message:
    return Message(id=ids.new("m", 1), seq=0, role=role, text=text, created_at=NOW, turn_id="")


def append(lane: str, *messages: Message, **changes: Any) -> c.Append:
    values: dict[str, Any] = {"conversation_id": lane, "owner": ANA, "messages": messages, "now": NOW}
    return c.Append(**(values | changes))


async def stored(journal: Journal, lane: str, owner: Any = ANA, recent: int = 100) -> Any:
    return await journal.query(c.GetState(conversation_id=lane, owner=owner, recent=recent))


async def test_a_state_is_saved_over_the_version_that_was_read_and_over_no_other(journal: Journal) -> None:
    lane = ids.new("c", 1)
    first = await tell(journal, put(lane, b"one", expected_version=0))
    assert first.version >= NOW * 1000
    second = await tell(journal, put(lane, b"two", expected_version=first.version))
    assert second.version == first.version + 1
    for expected in (0, first.version, second.version + 1):
        with pytest.raises(StateConflict) as refused:
            await tell(journal, put(lane, b"lost", expected_version=expected))
        assert (refused.value.expected, refused.value.found) == (expected, second.version)
    third = await tell(journal, put(lane, b"three", now=NOW + 5))
    assert third.version == (NOW + 5) * 1000
    found = await stored(journal, lane)
    assert (found.stamp, found.body) == (third, b"three")


async def test_of_twenty_saves_over_one_version_one_is_done(journal: Journal) -> None:
    lane = ids.new("c", 1)
    version = (await tell(journal, put(lane, b"start"))).version
    commands = [put(lane, b"%d" % number, expected_version=version) for number in range(20)]
    results = [result for [result] in await asyncio.gather(*(journal.transact([command]) for command in commands))]
    done = [index for index, result in enumerate(results) if not isinstance(result, StateConflict)]
    assert len(done) == 1
    assert (await stored(journal, lane)).body == b"%d" % done[0]


async def test_twenty_concurrent_appends_keep_twenty_and_follow_turns(journal: Journal) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane, "pregunta"))
    appended = await asyncio.gather(*(tell(journal, append(lane, said(f"texto {n}"))) for n in range(20)))
    await tell(journal, finish(lane, turn.turn_id, 1))
    later = await tell(journal, accept(lane, "otra"))
    seqs = [one.seqs[0] for one in appended]
    assert len(set(seqs)) == 20
    assert min(seqs) > turn.user_seq + 1
    assert later.user_seq > max(seqs)
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    by_seq = {seq: f"texto {number}" for number, seq in enumerate(seqs)}
    assert [(m.seq, m.text) for m in page.items] == [
        (1, "pregunta"), (2, "listo"), *sorted(by_seq.items()), (later.user_seq, "otra"),
    ]  # fmt: skip


async def test_messages_appended_together_keep_their_order_and_say_where_it_stands(journal: Journal) -> None:
    lane = ids.new("c", 1)
    appended = await tell(journal, append(lane, said("a"), said("b", "assistant"), said("c")))
    assert appended.seqs == (1, 4, 5)
    assert appended.stamp == await journal.query(c.GetStamp(conversation_id=lane, owner=ANA))
    found = await stored(journal, lane, recent=2)
    assert [m.text for m in found.messages] == ["b", "c"]
    assert (found.stamp, found.body) == (appended.stamp, b"")


async def test_a_stamp_changes_with_every_write_and_says_when_a_turn_is_open(journal: Journal) -> None:
    lane = await conversation(journal)
    seen = [await journal.query(c.GetStamp(conversation_id=lane, owner=ANA))]
    turn = await tell(journal, accept(lane))
    steps: list[c.Command] = [finish(lane, turn.turn_id, 1), append(lane, said("x")), put(lane)]
    seen.append(await journal.query(c.GetStamp(conversation_id=lane, owner=ANA)))
    for step in steps:
        await tell(journal, step)
        seen.append(await journal.query(c.GetStamp(conversation_id=lane, owner=ANA)))
    assert [stamp.is_idle for stamp in seen] == [True, False, True, True, True]
    assert len({(stamp.version, stamp.next_turn, stamp.epoch, stamp.is_idle) for stamp in seen}) == 5


async def test_a_state_of_someone_else_is_neither_seen_nor_written(journal: Journal) -> None:
    lane = ids.new("c", 1)
    await tell(journal, put(lane, b"mine"))
    assert await stored(journal, lane, BEN) is None
    assert await journal.query(c.GetStamp(conversation_id=lane, owner=BEN)) is None
    for foreign in (put(lane, b"theirs", owner=BEN), append(lane, said("x"), owner=BEN)):
        with pytest.raises(NotFound):
            await tell(journal, foreign)
    found = await stored(journal, lane)
    assert (found.body, found.messages) == (b"mine", ())


async def test_a_state_goes_with_its_conversation_and_what_follows_has_a_higher_version(journal: Journal) -> None:
    lane = ids.new("c", 1)
    former = await tell(journal, put(lane, b"old"))
    assert await tell(journal, c.DeleteConversation(id=lane, owner=ANA)) is True
    assert await stored(journal, lane) is None
    after = await tell(journal, put(lane, b"new", expected_version=0, now=NOW + 1))
    assert after.version > former.version


async def test_an_attachment_is_its_owners_alone_and_kept_once(journal: Journal) -> None:
    lane = await conversation(journal)
    blob = new_blob(ANA, PNG, "image/png", now=NOW, conversation_id=lane)
    for _ in range(2):
        assert await tell(journal, c.PutBlob(owner=ANA, blob=blob)) is None
    assert await journal.query(c.GetBlob(id=blob.info.id, owner=ANA)) == blob
    assert await journal.query(c.GetBlob(id=blob.info.id, owner=BEN)) is None
    with pytest.raises(NotFound):
        await tell(journal, c.PutBlob(owner=BEN, blob=blob))
    assert len((await journal.query(c.ExportUser(owner=ANA)))["blobs"]) == 1
    await tell(journal, c.DeleteConversation(id=lane, owner=ANA))
    assert await journal.query(c.GetBlob(id=blob.info.id, owner=ANA)) is None


async def test_the_latest_decision_of_each_kind_holds_and_all_are_exported(journal: Journal) -> None:
    decisions = [
        s.Consent(kind="health", version="1", is_given=True, at=NOW),
        s.Consent(kind="terms", version="7", is_given=True, at=NOW),
        s.Consent(kind="health", version="1", is_given=False, at=NOW),
    ]
    for decision in decisions:
        await tell(journal, c.PutConsent(owner=ANA, consent=decision))
    assert await journal.query(c.GetConsents(owner=ANA)) == (decisions[2], decisions[1])
    assert await journal.query(c.GetConsents(owner=BEN)) == ()
    exported = (await journal.query(c.ExportUser(owner=ANA)))["consents"]
    assert [one["is_given"] for one in exported] == [True, True, False]


async def test_export_and_erasure_cover_states_attachments_and_consents(journal: Journal) -> None:
    lane, bens = ids.new("c", 1), ids.new("c", 1)
    for owner, place in ((ANA, lane), (BEN, bens)):
        await tell(journal, put(place, encode({"goal": "dormir"}), owner=owner))
        await tell(journal, c.PutBlob(owner=owner, blob=new_blob(owner, PNG, "image/png", now=NOW)))
        agreed = s.Consent(kind="health", version="1", is_given=True, at=NOW)
        await tell(journal, c.PutConsent(owner=owner, consent=agreed))
    exported = await journal.query(c.ExportUser(owner=ANA))
    assert exported["states"] == {lane: {"goal": "dormir"}}
    assert exported["blobs"][0]["size_bytes"] == len(PNG)
    erased = await tell(journal, c.EraseUser(owner=ANA))
    assert (erased["state"], erased["blob"], erased["consent"]) == (1, 1, 1)
    emptied = await journal.query(c.ExportUser(owner=ANA))
    assert (emptied["states"], emptied["blobs"], emptied["consents"]) == ({}, [], [])
    others = await journal.query(c.ExportUser(owner=BEN))
    assert (len(others["states"]), len(others["blobs"]), len(others["consents"])) == (1, 1, 1)


def expire(kind: Any, before: float, limit: int = 100) -> c.Expire:
    return c.Expire(kind=kind, before=before, now=NOW + 10 * DAY_S, limit=limit)


async def test_idempotency_keys_are_kept_for_a_day_and_then_go_in_small_batches(journal: Journal) -> None:
    lane = await conversation(journal)
    for number in range(5):
        known = accept(lane, idempotency_key=f"k{number}", idempotency_hash=b"1", now=NOW + number)
        await tell(journal, known)
    with pytest.raises(InvalidRequest):
        await tell(journal, c.Expire(kind="idempotency", before=NOW + 1, now=NOW + DAY_S))
    assert await tell(journal, expire("idempotency", NOW + 4, limit=3)) == 3
    assert await tell(journal, expire("idempotency", NOW + 4, limit=3)) == 1
    with pytest.raises(IdempotencyConflict):
        await tell(journal, accept(lane, idempotency_key="k4", idempotency_hash=b"2"))
    assert not (await tell(journal, accept(lane, idempotency_key="k0", idempotency_hash=b"2"))).replayed


async def test_traces_of_finished_turns_go_and_those_of_open_ones_stay(journal: Journal) -> None:
    traces = {}
    for name in ("done", "open"):
        lane = await conversation(journal)
        turn = await tell(journal, accept(lane))
        effect = c.RecordEffect(conversation_id=lane, turn_id=turn.turn_id, epoch=1, key="w", state="done", now=NOW)
        saved = c.SaveCheckpoint(conversation_id=lane, turn_id=turn.turn_id, epoch=1, key="k", value=b"v")
        await journal.transact([effect, saved])
        if name == "done":
            await tell(journal, finish(lane, turn.turn_id, 1))
        traces[name] = turn.turn_id
    assert await tell(journal, expire("turns", NOW + 1)) == 0
    assert await tell(journal, expire("turns", NOW + 2)) == 2
    assert await journal.query(c.Effects(turn_id=traces["done"])) == {}
    assert await journal.query(c.Effects(turn_id=traces["open"])) == {"w": ("done", b"")}
    assert await journal.query(c.Checkpoints(turn_id=traces["open"])) == {"k": b"v"}


async def test_old_conversations_go_but_never_with_a_turn_open_and_artifacts_stay(journal: Journal) -> None:
    old, busy, fresh = await conversation(journal), await conversation(journal), await conversation(journal)
    turn = await tell(journal, accept(old, idempotency_key="k", idempotency_hash=b"1"))
    plan = Artifact(
        id=ids.new("a", 1), agent="coach", kind="TrainingPlan", title="Plan", data={}, created_at=NOW,
        turn_id=turn.turn_id, conversation_id=old,
    )  # fmt: skip
    await tell(journal, finish(old, turn.turn_id, 1, artifacts=(plan,)))
    await tell(journal, put(old, encode({}), now=NOW + 1))
    await tell(journal, accept(busy))
    await tell(journal, append(fresh, said("x"), now=NOW + DAY_S))
    assert await tell(journal, expire("conversations", NOW + 60)) == 1
    left = await journal.query(c.ListConversations(owner=ANA))
    assert {item.id for item in left.items} == {busy, fresh}
    assert await journal.query(c.GetTurn(id=turn.turn_id, owner=ANA)) is None
    assert await stored(journal, old) is None
    assert (await journal.query(c.ListArtifacts(owner=ANA))).items == (plan,)
    await tell(journal, c.CreateConversation(id=old, owner=ANA, title="", now=NOW))
    assert (await stored(journal, old)).body == b""


async def test_one_instance_is_elected_until_its_lease_ends(journal: Journal) -> None:
    def elect(instance: str, lease_s: float = 60.0, name: str = "sweeper") -> c.TryElect:
        return c.TryElect(name=name, instance=instance, lease_s=lease_s)

    results = await asyncio.gather(*(tell(journal, elect(f"i{number}", 0.05)) for number in range(5)))
    assert sum(results) == 1
    winner = results.index(True)
    assert await tell(journal, elect(f"i{winner}", 0.05)) is True
    assert await tell(journal, elect("other", name="another task")) is True
    await asyncio.sleep(0.08)
    assert await tell(journal, elect("late")) is True
    assert await tell(journal, elect(f"i{winner}")) is False


async def test_acceptances_and_grants_tell_the_version_of_the_owners_profile(journal: Journal) -> None:
    lane = await conversation(journal)
    first, waiting = await tell(journal, accept(lane)), await tell(journal, accept(lane))
    assert (first.profile_version, waiting.profile_version) == (0, 0)
    await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    await tell(journal, c.PutProfile(owner=BEN, profile=Profile(age=50), now=NOW + 50))
    stored = await journal.query(c.ReadProfile(owner=ANA))
    assert (stored.profile, stored.version >= NOW * 1000) == (Profile(age=40), True)
    finished = await tell(journal, finish(lane, first.turn_id, 1, grant_to="one"))
    assert finished.next.profile_version == stored.version
    await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=41), now=NOW))
    raised = await journal.query(c.ReadProfile(owner=ANA))
    assert (raised.profile.age, raised.version) == (41, stored.version + 1)
    await tell(journal, c.ReleaseLane(conversation_id=lane, epoch=2))
    [grant] = await journal.claim(1, instance="two", now=NOW)
    assert grant.profile_version == raised.version
    created = await journal.transact(
        [c.CreateConversation(id=(new := ids.new("c", 3)), owner=ANA, title="", now=NOW), accept(new)]
    )
    assert created[1].profile_version == raised.version


async def test_a_profile_that_was_erased_has_version_zero_and_a_new_one_a_higher_version(journal: Journal) -> None:
    await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    former = (await journal.query(c.ReadProfile(owner=ANA))).version
    await tell(journal, c.EraseUser(owner=ANA))
    lane = await conversation(journal)
    assert (await tell(journal, accept(lane))).profile_version == 0
    assert await journal.query(c.ReadProfile(owner=ANA)) == s.VersionedProfile(version=0, profile=Profile())
    await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=41), now=NOW + 1))
    assert (await journal.query(c.ReadProfile(owner=ANA))).version > former
