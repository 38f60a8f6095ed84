"""Attachments whose bytes are in a real S3 server: the journal's contract, erasure, orphans, and a store that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.s3_process import BUCKET, REGION, S3Server, s3_server
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, tell
from tests.state.journal_conformance_blobs import *  # noqa: F403
from tests.state.journal_conformance_blobs import note
from tests.state.journal_conformance_states import PNG

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import ObjectsUnavailable, StorageFull
from ngx_agents.state import commands as c
from ngx_agents.state import object_tier
from ngx_agents.state.blobs import new_blob
from ngx_agents.state.object_store import ObjectSettings, ObjectStore
from ngx_agents.state.object_tier import ObjectTier
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as made:
        yield made


class House:
    def __init__(self, settings: ObjectSettings) -> None:
        self.inner = MemoryJournal()
        self.metrics = Metrics()
        self.store = ObjectStore(settings, clock=SystemClock(), rng=Rng(), metrics=self.metrics)
        self.journal = ObjectTier(self.inner, self.store)

    async def keys(self) -> list[str]:
        return [found.key for found in await self.store.page()]


def settings_of(server: S3Server, **changes: Any) -> ObjectSettings:
    settings = ObjectSettings(
        url=server.url, bucket=BUCKET, region=REGION, access_key=server.access_key, secret_key=server.secret_key,
        prefix=f"test {id(changes)}/", timeout_s=5,
    )  # fmt: skip
    return msgspec.structs.replace(settings, **changes)


@asynccontextmanager
async def opened(settings: ObjectSettings) -> AsyncIterator[House]:
    house = House(settings)
    await house.journal.open()
    await house.journal.migrate()
    try:
        yield house
    finally:
        await house.journal.close()


@pytest.fixture
async def house(server: S3Server) -> AsyncIterator[House]:
    async with opened(settings_of(server)) as made:
        for key in await made.keys():
            await made.store.delete(key)
        yield made


@pytest.fixture
def journal(house: House) -> ObjectTier:
    return house.journal


async def put(house: House, number: int = 1, owner: Any = ANA, **more: Any) -> str:
    blob = new_blob(owner, f"bytes {number}".encode(), "text/plain", now=NOW, **more)
    await tell(house.journal, c.PutBlob(owner=owner, blob=blob))
    return blob.info.id


async def test_the_bytes_are_in_the_store_and_the_journal_has_the_rest(house: House) -> None:
    blob = new_blob(ANA, PNG, "image/png", now=NOW, name="foto ñ.png")
    for _ in range(2):
        await tell(house.journal, c.PutBlob(owner=ANA, blob=blob))
    [key] = await house.keys()
    assert await house.store.get(key) == PNG
    row = await house.inner.query(c.GetBlob(id=blob.info.id, owner=ANA))
    assert (row.data, row.info.place) == (b"", f"objects/{key}")
    found = await house.journal.query(c.GetBlob(id=blob.info.id, owner=ANA))
    assert (found.data, found.info.size_bytes, found.info.name) == (PNG, len(PNG), "foto ñ.png")
    assert "ana" not in key


async def test_deleting_takes_the_bytes_too_and_a_refused_one_leaves_none(house: House) -> None:
    kept = await put(house)
    assert await tell(house.journal, c.DeleteBlob(id=kept, owner=ANA)) is True
    assert await house.keys() == []
    with pytest.raises(StorageFull):
        await tell(house.journal, c.PutBlob(owner=ANA, blob=note(1), most_bytes=1))
    assert await house.keys() == []


async def test_erasure_takes_all_of_the_owners_bytes_and_nobody_elses(house: House) -> None:
    for number in range(3):
        await put(house, number)
    other = await put(house, owner=BEN)
    orphan = (await house.keys())[0].rpartition("/")[0] + "/b_orphan.0"
    await house.store.put(orphan, b"x", sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    owners = {key.partition("/")[0] for key in await house.keys()}
    assert len(owners) == 2
    erased = {owner.user: await tell(house.journal, c.EraseUser(owner=owner)) for owner in (ANA,)}
    assert erased["ana"]["blob"] == 3
    assert erased["ana"]["object"] in (3, 4), "the orphan lies with one of the two"
    assert (await house.journal.query(c.GetBlob(id=other, owner=BEN))).data == b"bytes 1"


async def test_an_erasure_that_meets_no_store_is_not_done_and_goes_on_when_asked_again(
    house: House, server: S3Server
) -> None:
    await put(house)
    server.pause()
    house.store._settings = msgspec.structs.replace(house.store._settings, timeout_s=0.3)
    try:
        with pytest.raises(ObjectsUnavailable):
            await tell(house.journal, c.EraseUser(owner=ANA))
    finally:
        server.go_on()
    house.store._settings = msgspec.structs.replace(house.store._settings, timeout_s=5)
    erased = await tell(house.journal, c.EraseUser(owner=ANA))
    assert (erased["blob"], erased["object"]) == (0, 1)
    assert await house.keys() == []


async def test_orphans_go_when_they_are_old_enough_and_what_is_named_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = await conversation(house.journal)
    kept, lost = await put(house, 1), await put(house, 2, conversation_id=lane)
    await tell(house.journal, c.DeleteConversation(id=lane, owner=ANA))
    assert len(await house.keys()) == 2
    assert await house.journal.sweep_orphans() == 0, "younger than an hour: its row may be on its way"
    monkeypatch.setattr(object_tier, "ORPHAN_S", -60.0)
    assert await house.journal.sweep_orphans() == 1
    [left] = await house.keys()
    assert (kept in left, lost in left) == (True, False)
    assert await house.journal.sweep_orphans() == 0


async def test_a_key_is_an_uploads_own(house: House) -> None:
    """What is sent again while it is being deleted keeps its bytes."""
    first = await put(house)
    [key] = await house.keys()
    await tell(house.journal, c.DeleteBlob(id=first, owner=ANA))
    await put(house)
    assert await house.keys() != [key]


async def test_bytes_that_are_gone_or_changed_are_never_given_out(house: House) -> None:
    blob_id = await put(house)
    [key] = await house.keys()
    await house.store.put(key, b"x", sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    assert await house.journal.query(c.GetBlob(id=blob_id, owner=ANA)) is None
    await house.store.delete(key)
    assert await house.journal.query(c.GetBlob(id=blob_id, owner=ANA)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret_key": "wrong"}, "credentials"),
        ({"access_key": "AKIAWRONG"}, "credentials"),
        ({"bucket": "not-there"}, "no such bucket"),
        ({"url": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
async def test_a_store_that_refuses_or_is_away_is_one_typed_error_and_writes_nothing(
    server: S3Server, changes: dict[str, str], message: str
) -> None:
    async with opened(settings_of(server, **changes)) as house:
        blob = note(1)
        with pytest.raises(ObjectsUnavailable, match=message):
            await tell(house.journal, c.PutBlob(owner=ANA, blob=blob))
        assert await house.inner.query(c.GetBlob(id=blob.info.id, owner=ANA)) is None
        lane = await conversation(house.journal)
        assert (await tell(house.journal, accept(lane))).position == 0, "turns go on"


async def test_a_slow_store_is_given_up_in_time_and_then_left_alone(server: S3Server) -> None:
    async with opened(settings_of(server)) as house:
        house.store._settings = msgspec.structs.replace(house.store._settings, timeout_s=0.2)
        server.pause()
        refusals = []
        try:
            while len(refusals) < 10 and (not refusals or "in time" in str(refusals[-1])):
                with pytest.raises(ObjectsUnavailable) as refused:
                    await put(house)
                refusals.append(refused.value)
        finally:
            server.go_on()
        assert "left alone" in str(refusals[-1])
        assert refusals[-1].retry_after_s > 0
        calls = house.metrics.counter("ngx_objects_calls_total", "", "method", "outcome")
        assert (calls.labels("PUT", "failed").value, calls.labels("PUT", "refused").value) == (len(refusals) - 1, 1)


async def test_a_store_that_cannot_be_used_is_told_at_the_start_in_one_line(
    server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    for changes, line in (({"secret_key": "wrong"}, "objects.unusable"), ({}, "")):
        caplog.clear()
        async with opened(settings_of(server, **changes)):
            pass
        told = [record.getMessage() for record in caplog.records if record.getMessage() == "objects.unusable"]
        assert told == ([line] if line else [])
