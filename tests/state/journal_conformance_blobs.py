"""What every journal must do with attachments and with turns that have some."""

from __future__ import annotations

import msgspec
import pytest
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, finish, ids, tell
from tests.state.journal_conformance_states import PNG

from ngx_agents.errors import InvalidRequest, StorageFull
from ngx_agents.state import commands as c
from ngx_agents.state.blob_commands import Blob, BlobInfo
from ngx_agents.state.blobs import new_blob
from ngx_agents.state.journal import Journal


def note(number: int, *, size_bytes: int = 10) -> Blob:
    data = f"{number}".ljust(size_bytes, ".").encode()
    return new_blob(ANA, data, "text/plain", now=NOW + number, name=f"nota {number}.txt")


def plain(*infos: BlobInfo) -> list[BlobInfo]:
    """Without where the bytes are."""
    return [msgspec.structs.replace(info, place="") for info in infos]


async def test_attachments_are_listed_in_pages_and_found_in_the_order_asked_for(journal: Journal) -> None:
    blobs = [note(number) for number in range(5)]
    for blob in blobs:
        await tell(journal, c.PutBlob(owner=ANA, blob=blob))
    newest_first = [blob.info for blob in reversed(blobs)]
    first = await journal.query(c.ListBlobs(owner=ANA, limit=3))
    rest = await journal.query(c.ListBlobs(owner=ANA, limit=3, cursor=first.next))
    assert plain(*first.items, *rest.items) == plain(*newest_first)
    assert rest.next is None
    assert (await journal.query(c.ListBlobs(owner=BEN))).items == ()
    asked = (blobs[3].info.id, ids.new("b", 1), blobs[1].info.id)
    found = await journal.query(c.FindBlobs(ids=asked, owner=ANA))
    assert plain(*found) == plain(blobs[3].info, blobs[1].info)
    assert await journal.query(c.FindBlobs(ids=asked, owner=BEN)) == ()
    assert sorted(await journal.query(c.KnownBlobs(ids=asked))) == sorted(info.place for info in found)
    with pytest.raises(InvalidRequest):
        await journal.query(c.ListBlobs(owner=ANA, cursor="none of ours"))


async def test_an_attachment_is_deleted_by_its_owner_alone(journal: Journal) -> None:
    blob = note(1)
    await tell(journal, c.PutBlob(owner=ANA, blob=blob))
    assert await tell(journal, c.DeleteBlob(id=blob.info.id, owner=BEN)) is False
    assert await tell(journal, c.DeleteBlob(id=blob.info.id, owner=ANA)) is True
    assert await tell(journal, c.DeleteBlob(id=blob.info.id, owner=ANA)) is False
    assert await journal.query(c.GetBlob(id=blob.info.id, owner=ANA)) is None


async def test_what_one_user_may_keep_is_bounded_and_the_same_again_counts_once(journal: Journal) -> None:
    kept = note(1, size_bytes=60)
    for _ in range(2):
        await tell(journal, c.PutBlob(owner=ANA, blob=kept, most_bytes=100))
    with pytest.raises(StorageFull):
        await tell(journal, c.PutBlob(owner=ANA, blob=note(2, size_bytes=41), most_bytes=100))
    await tell(journal, c.PutBlob(owner=ANA, blob=note(3, size_bytes=40), most_bytes=100))
    other = new_blob(BEN, PNG, "image/png", now=NOW)
    await tell(journal, c.PutBlob(owner=BEN, blob=other, most_bytes=100))


async def test_a_turn_keeps_the_ids_of_its_attachments_through_every_grant(journal: Journal) -> None:
    lane = await conversation(journal)
    attached = (ids.new("b", 1), ids.new("b", 1))
    running = accept(lane, "uno", attachments=attached)
    waiting = accept(lane, "dos", attachments=attached[:1], grant_to=None)
    plain = accept(lane, "tres", grant_to=None)
    for command in (running, waiting, plain):
        await tell(journal, command)
    turn = await journal.query(c.GetTurn(id=running.turn_id, owner=ANA))
    assert turn.attachments == attached
    done = await tell(journal, finish(lane, running.turn_id, 1, grant_to="one"))
    assert done.next.attachments == attached[:1]
    await tell(journal, c.ReleaseLane(conversation_id=lane, epoch=2))
    [claimed] = await journal.claim(1, instance="two", now=NOW)
    assert (claimed.turn_id, claimed.attachments) == (waiting.turn_id, attached[:1])
    done = await tell(journal, finish(lane, waiting.turn_id, 3, user_seq=3, grant_to="two"))
    assert done.next.attachments == ()
    exported = (await journal.query(c.ExportUser(owner=ANA)))["turns"]
    kept = {one["id"]: tuple(one["attachments"]) for one in exported}
    assert kept == {running.turn_id: attached, waiting.turn_id: attached[:1], plain.turn_id: ()}


async def test_a_turn_keeps_what_was_told_of_its_way_through_every_grant(journal: Journal) -> None:
    lane = await conversation(journal)
    running, waiting = accept(lane, "uno", trail="depth=1"), accept(lane, "dos", trail="depth=2", grant_to=None)
    plain = accept(lane, "tres", grant_to=None)
    for command in (running, waiting, plain):
        await tell(journal, command)
    assert (await journal.query(c.GetTurn(id=running.turn_id, owner=ANA))).trail == "depth=1"
    done = await tell(journal, finish(lane, running.turn_id, 1, grant_to="one"))
    assert done.next.trail == "depth=2"
    await tell(journal, c.ReleaseLane(conversation_id=lane, epoch=2))
    [claimed] = await journal.claim(1, instance="two", now=NOW)
    assert (claimed.turn_id, claimed.trail) == (waiting.turn_id, "depth=2")
    assert (await tell(journal, finish(lane, waiting.turn_id, 3, user_seq=3, grant_to="two"))).next.trail is None


async def test_a_message_with_attachments_is_not_coalesced(journal: Journal) -> None:
    lane = await conversation(journal)
    await tell(journal, accept(lane, "runs"))
    waiting = await tell(journal, accept(lane, "waits", grant_to=None))
    picture = accept(lane, "y esta foto", attachments=(ids.new("b", 1),), when_busy="coalesce", grant_to=None)
    accepted = await tell(journal, picture)
    assert (accepted.coalesced, accepted.turn_id) == (False, picture.turn_id)
    after = await tell(journal, accept(lane, "y esto", when_busy="coalesce", grant_to=None))
    assert (after.coalesced, after.position) == (False, 3)
    assert waiting.turn_id != picture.turn_id
