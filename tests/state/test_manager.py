"""StateManager used alone, each of its parameters, and what it promises whoever calls it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from tests.memory_journal import opened
from tests.state.journal_conformance import accept
from tests.state.manual_clock import ManualClock
from tests.state.watched_journal import WatchedJournal

import ngx_agents
from ngx_agents import Owner, StateManager
from ngx_agents.errors import (
    BodyTooLarge,
    ConfigError,
    ConversationBusy,
    InvalidRequest,
    JournalLocked,
    JournalUnavailable,
    NotFound,
    StateConflict,
    StateCorrupt,
    StateTooLarge,
    UnsupportedMediaType,
)
from ngx_agents.state import commands as c
from ngx_agents.state.blobs import MAX_BLOB_BYTES
from ngx_agents.state.expiry import Retention
from ngx_agents.state.ids import Ids
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics

ANA, BEN = Owner("acme", "ana"), Owner("acme", "ben")


@pytest.fixture
async def journal() -> Any:
    async with opened(WatchedJournal()) as made:
        yield made


async def stored_body(manager: StateManager, owner: Owner = ANA, name: str = "main") -> bytes:
    from ngx_agents.state.manager_names import conversation_key

    key = conversation_key(owner, name)
    found: c.StoredState = await manager._journal.query(c.GetState(conversation_id=key, owner=owner, recent=0))
    return found.body


async def test_it_works_as_the_specification_writes_it() -> None:
    manager = ngx_agents.StateManager(
        cache_enabled=True,
        cache_ttl=7200,
        compression_enabled=True,
        compression_threshold=1024,
        max_state_size=10485760,
        cleanup_interval=3600,
    )
    async with manager:
        version = await manager.save(ANA, "main", {"goal": "maratón"}, expected_version=0)
        seq = await manager.append(ANA, "main", "user", "hola")
        found = await manager.load(ANA, "main")
    assert (found.state, found.version) == ({"goal": "maratón"}, version)
    assert [(m.seq, m.role, m.text) for m in found.messages] == [(seq, "user", "hola")]


async def test_an_absent_conversation_is_empty_and_loading_it_makes_none() -> None:
    async with StateManager() as manager:
        found = await manager.load(ANA, "nobody")
        assert (found.state, found.version, found.messages) == ({}, 0, ())
        assert (await manager.messages(ANA, "nobody")).items == ()
        assert (await manager.export(ANA))["conversations"] == []


async def test_with_a_path_what_was_saved_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "states.db"
    async with StateManager(path=path) as manager:
        version = await manager.save(ANA, "main", {"week": 3})
        with pytest.raises(JournalLocked):
            await StateManager(path=str(path)).__aenter__()
    async with StateManager(path=path) as manager:
        assert (await manager.load(ANA, "main")).version == version


async def test_what_a_caller_gets_is_theirs_to_change() -> None:
    async with StateManager() as manager:
        given = {"plan": {"weeks": [1, 2]}}
        await manager.save(ANA, "main", given)
        await manager.append(ANA, "main", "user", "hola")
        given["plan"]["weeks"].append(99)
        for _ in range(2):
            found = await manager.load(ANA, "main")
            assert found.state == {"plan": {"weeks": [1, 2]}}
            assert found.messages[0].text == "hola"
            found.state["plan"]["weeks"].clear()
            found.messages[0].text = "changed"


async def test_names_are_each_owners_own_and_an_id_of_someone_else_is_refused() -> None:
    async with StateManager() as manager:
        for owner, goal in ((ANA, "a"), (BEN, "b"), (Owner("other", "ana"), "c"), (Owner("acm", "eana"), "d")):
            await manager.save(owner, "main", {"goal": goal}, expected_version=0)
        assert (await manager.load(ANA, "main")).state == {"goal": "a"}
        real = Ids(ManualClock()).new("c", 7)
        await manager.save(ANA, real, {"goal": "mine"})
        assert (await manager.load(BEN, real)).version == 0
        with pytest.raises(NotFound):
            await manager.save(BEN, real, {"goal": "theirs"})
        with pytest.raises(NotFound):
            await manager.append(BEN, real, "user", "x")
        assert await manager.delete(BEN, real) is False
        assert (await manager.load(ANA, real)).state == {"goal": "mine"}


async def test_a_save_over_a_version_that_is_gone_is_a_conflict_with_both_versions() -> None:
    async with StateManager() as manager:
        first = await manager.save(ANA, "main", {"n": 1}, expected_version=0)
        second = await manager.save(ANA, "main", {"n": 2}, expected_version=first)
        with pytest.raises(StateConflict) as refused:
            await manager.save(ANA, "main", {"n": 3}, expected_version=first)
        assert (refused.value.expected, refused.value.found) == (first, second)
        assert (await manager.load(ANA, "main")).state == {"n": 2}


async def test_twenty_concurrent_appends_from_two_managers_keep_twenty_in_the_order_of_their_numbers(
    journal: WatchedJournal,
) -> None:
    async with StateManager(journal=journal) as one, StateManager(journal=journal) as other:
        turns = [(one, other)[number % 2].append(ANA, "main", "user", f"texto {number}") for number in range(20)]
        seqs = await asyncio.gather(*turns)
        expected = [f"texto {number}" for _, number in sorted(zip(seqs, range(20), strict=True))]
        assert len(set(seqs)) == 20
        for manager in (one, other):
            assert [m.text for m in (await manager.load(ANA, "main")).messages] == expected
            assert [m.text for m in (await manager.messages(ANA, "main")).items] == expected


async def test_twenty_read_modify_writes_lose_nothing(journal: WatchedJournal) -> None:
    async def add(manager: StateManager, number: int) -> None:
        while True:
            found = await manager.load(ANA, "main")
            found.state.setdefault("seen", []).append(number)
            try:
                await manager.save(ANA, "main", found.state, expected_version=found.version)
                return
            except StateConflict:
                continue

    async with StateManager(journal=journal) as one, StateManager(journal=journal) as other:
        await asyncio.gather(*(add((one, other)[number % 2], number) for number in range(20)))
        assert sorted((await one.load(ANA, "main")).state["seen"]) == list(range(20))


async def test_a_cached_conversation_is_not_read_again_and_without_cache_it_is(journal: WatchedJournal) -> None:
    for cache_enabled, asked in ((True, ["GetStamp"]), (False, ["GetState"])):
        async with StateManager(journal=journal, cache_enabled=cache_enabled) as manager:
            await manager.save(ANA, "main", {"n": 1})
            await manager.load(ANA, "main")
            journal.asked.clear()
            assert (await manager.load(ANA, "main")).state == {"n": 1}
            assert journal.asked == asked


async def test_alone_on_its_journal_it_loads_from_memory_until_the_ttl_has_passed() -> None:
    clock, metrics = ManualClock(), Metrics()
    async with StateManager(cache_ttl=100, clock=clock, metrics=metrics) as manager:
        loads = metrics.counter("ngx_state_loads_total", "", "tier")
        await manager.save(ANA, "main", {"n": 1})
        for passed_s, tier in ((60, "memory"), (39, "memory"), (2, "journal"), (60, "memory")):
            clock.pass_s(passed_s)
            before = loads.labels(tier).value
            assert (await manager.load(ANA, "main")).state == {"n": 1}
            assert loads.labels(tier).value == before + 1


async def test_states_from_the_threshold_on_are_compressed_and_smaller_ones_are_not() -> None:
    long, short = {"text": "una frase que se repite " * 100}, {"text": "corta"}
    for enabled, threshold, state, is_smaller in (
        (True, 1024, long, True),
        (False, 1024, long, False),
        (True, 1024, short, False),
        (True, 10_000, long, False),
    ):
        settings = {"compression_enabled": enabled, "compression_threshold": threshold}
        async with StateManager(**settings) as manager:  # type: ignore[arg-type]
            await manager.save(ANA, "main", state)
            body = await stored_body(manager)
            assert (len(body) < len(state["text"])) is is_smaller
            assert (await manager.load(ANA, "main")).state == state


async def test_a_state_over_the_bound_is_refused_and_the_former_stands() -> None:
    async with StateManager(max_state_size=1000) as manager:
        version = await manager.save(ANA, "main", {"text": "x" * 900})
        with pytest.raises(StateTooLarge) as refused:
            await manager.save(ANA, "main", {"text": "x" * 2000})
        assert (refused.value.size_bytes > 2000, refused.value.limit_bytes) == (True, 1000)
        found = await manager.load(ANA, "main")
        assert (found.version, len(found.state["text"])) == (version, 900)
        assert await stored_body(manager)
        with pytest.raises(InvalidRequest):
            await manager.append(ANA, "main", "user", "x" * 2000)


async def test_every_cleanup_interval_what_has_expired_is_swept(journal: WatchedJournal) -> None:
    clock = ManualClock()
    lane = Ids(clock).new("c", 1)
    known = accept(lane, owner=ANA, idempotency_key="k", idempotency_hash=b"1", now=clock.now_s())
    await journal.transact([c.CreateConversation(id=lane, owner=ANA, title="", now=clock.now_s()), known])
    metrics = Metrics()
    expired = metrics.counter("ngx_state_expired_total", "", "kind")
    settings: dict[str, Any] = {"cleanup_interval": 90_000, "cache_ttl": 80_000, "clock": clock, "metrics": metrics}
    async with StateManager(journal=journal, **settings) as manager:
        await manager.save(ANA, "main", {"n": 1})
        await manager.load(ANA, "main")
        await clock.sleepers(1)
        clock.pass_s(89_000)
        await asyncio.sleep(0)
        assert expired.labels("idempotency").value == 0
        clock.pass_s(2_000)
        await clock.sleepers(1)
        assert (expired.labels("idempotency").value, expired.labels("memory").value) == (1, 1)
        assert (await manager.load(ANA, "main")).state == {"n": 1}


async def test_conversations_go_when_retention_says_so_and_otherwise_never() -> None:
    for retention, is_there in ((Retention(conversations_s=1000), False), (None, True)):
        clock = ManualClock()
        async with StateManager(cleanup_interval=5000, clock=clock, retention=retention) as manager:
            await manager.save(ANA, "main", {"n": 1})
            await clock.sleepers(1)
            clock.pass_s(5001)
            await clock.sleepers(1)
            assert (len((await manager.export(ANA))["conversations"]) == 1) is is_there
            assert ((await manager.load(ANA, "main")).version > 0) is is_there


async def test_a_read_that_fails_is_no_empty_state_and_a_write_that_fails_is_no_success(
    journal: WatchedJournal,
) -> None:
    async with StateManager(journal=journal) as manager:
        version = await manager.save(ANA, "main", {"n": 1})
        journal.is_away = True
        for failing in (
            manager.load(ANA, "main"),
            manager.save(ANA, "main", {"n": 2}),
            manager.append(ANA, "main", "user", "x"),
            manager.delete(ANA, "main"),
            manager.erase(ANA),
            manager.messages(ANA, "main"),
        ):
            with pytest.raises(JournalUnavailable):
                await failing
        journal.is_away = False
        found = await manager.load(ANA, "main")
        assert (found.state, found.version, found.messages) == ({"n": 1}, version, ())


async def test_a_damaged_state_is_an_error_and_nothing_is_written_over_it(journal: WatchedJournal) -> None:
    lane = Ids(ManualClock()).new("c", 1)
    for body in (b"\x01\x10\xff\xff", b"junk", b"\x09\x90\x80"):
        await journal.transact([c.PutState(conversation_id=lane, owner=ANA, body=body, now=1.0)])
        async with StateManager(journal=journal) as manager:
            with pytest.raises(StateCorrupt):
                await manager.load(ANA, lane)
            assert (await journal.query(c.GetState(conversation_id=lane, owner=ANA, recent=0))).body == body


async def test_a_write_whose_caller_leaves_is_seen_by_the_next_load() -> None:
    async with StateManager() as manager:
        await manager.save(ANA, "main", {"n": 0})
        for number in range(1, 50):
            async with asyncio.TaskGroup() as tasks:
                write = tasks.create_task(manager.save(ANA, "main", {"n": number}))
                await asyncio.sleep(0)
                write.cancel()
                load = tasks.create_task(manager.load(ANA, "main"))
            await manager._journal.transact([])
            assert (await manager.load(ANA, "main")).state == {"n": number}
            assert load.result().state["n"] in (number - 1, number)


async def test_what_cannot_be_stored_is_refused_before_anything_is_written() -> None:
    async with StateManager() as manager:
        refused: list[Any] = [
            manager.save(ANA, "", {}),
            manager.save(ANA, "x" * 600, {}),
            manager.save(Owner("", "ana"), "main", {}),
            manager.save(Owner("acme", "a\ud800"), "main", {}),
            manager.save(ANA, "a\0b", {}),
            manager.save(ANA, "main", [1, 2]),  # type: ignore[arg-type]
            manager.save(ANA, "main", {"f": object()}),
            manager.append(ANA, "main", "system", "x"),  # type: ignore[arg-type]
            manager.append(ANA, "main", "user", "half \ud800"),
            manager.load(ANA, "main", recent=-1),
            manager.load(ANA, "main", recent=100_000),
            manager.load(ANA, "main", at_least=0),
            manager.messages(ANA, "main", limit=0),
            manager.consent(ANA, "\0", version="1"),
        ]
        results = await asyncio.gather(*refused, return_exceptions=True)
        assert [type(result) for result in results] == [InvalidRequest] * len(refused)
        assert (await manager.export(ANA))["conversations"] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"cache_ttl": 0},
        {"cleanup_interval": 0},
        {"max_state_size": 0},
        {"compression_threshold": -1},
        {"journal": MemoryJournal(), "path": "x"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        StateManager(**settings)


async def test_deleting_forgets_and_the_name_begins_anew_with_a_higher_version() -> None:
    async with StateManager() as manager:
        former = await manager.save(ANA, "main", {"n": 1})
        await manager.append(ANA, "main", "user", "hola")
        assert await manager.delete(ANA, "main") is True
        assert await manager.delete(ANA, "main") is False
        assert await manager.load(ANA, "main") == await manager.load(ANA, "never")
        await asyncio.sleep(0.002)
        assert await manager.save(ANA, "main", {"n": 2}, expected_version=0) > former


async def test_erasing_leaves_a_receipt_and_nothing_else_and_not_while_a_turn_runs(journal: WatchedJournal) -> None:
    async with StateManager(journal=journal) as manager:
        lane = Ids(ManualClock()).new("c", 1)
        await manager.save(ANA, lane, {"secret": 1})
        await manager.append(ANA, lane, "user", "secreto")
        await manager.attach(ANA, b"%PDF-1.7 ...", "application/pdf", conversation_id=lane)
        await manager.consent(ANA, "health", version="1")
        await manager.save(BEN, "main", {"n": 1})
        [accepted] = await journal.transact([accept(lane, owner=ANA)])
        with pytest.raises(ConversationBusy):
            await manager.erase(ANA)
        await journal.transact([c.RequestCancel(turn_id=accepted.turn_id, owner=ANA, now=1.0)])
        await journal.transact([c.ReleaseLane(conversation_id=lane, epoch=1)])
        await _end(journal, lane, accepted.turn_id)
        receipt = await manager.erase(ANA)
        assert receipt.erased["message"] == 2
        assert (receipt.erased["state"], receipt.erased["blob"], receipt.erased["consent"]) == (1, 1, 1)
        assert receipt.id.startswith("e_")
        assert receipt.at > 0
        assert (await manager.load(ANA, lane)).version == 0
        assert not any((await manager.export(ANA)).values())
        assert (await manager.load(BEN, "main")).state == {"n": 1}


async def _end(journal: WatchedJournal, lane: str, turn_id: str) -> None:
    from tests.state.journal_conformance import finish

    [grant] = await journal.claim(1, instance="one", now=1.0)
    ended = finish(lane, turn_id, grant.epoch, user_seq=grant.user_seq, owner=ANA, message=None, status="cancelled")
    [result] = await journal.transact([ended])
    assert not isinstance(result, Exception)


async def test_attachments_are_what_they_say_and_no_larger_than_allowed() -> None:
    png = b"\x89PNG\r\n\x1a\n" + os.urandom(1000)
    async with StateManager() as manager:
        info = await manager.attach(ANA, png, "image/png")
        assert (await manager.attach(ANA, png, "image/png")).id == info.id
        assert (await manager.attach(BEN, png, "image/png")).id != info.id
        found = await manager.attachment(ANA, info.id)
        assert found is not None
        assert (found.data, found.info) == (png, info)
        assert await manager.attachment(BEN, info.id) is None
        for data, media_type, error in (
            (png, "image/jpeg", InvalidRequest),
            (b"", "text/plain", InvalidRequest),
            (b"\xff\xfe", "text/plain", InvalidRequest),
            (b"<svg/>", "image/svg+xml", UnsupportedMediaType),
            (b"a" * (MAX_BLOB_BYTES + 1), "text/plain", BodyTooLarge),
        ):
            with pytest.raises(error):
                await manager.attach(ANA, data, media_type)


async def test_a_thousand_messages_are_paged_and_only_the_newest_are_loaded() -> None:
    async with StateManager() as manager:
        await asyncio.gather(*(manager.append(ANA, "main", "user", f"{number}") for number in range(1000)))
        seen, cursor = [], None
        while True:
            page = await manager.messages(ANA, "main", limit=300, cursor=cursor)
            seen += [m.text for m in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert len(seen) == 1000
        for recent in (0, 1, 20, 50, 51, 1000):
            assert [m.text for m in (await manager.load(ANA, "main", recent=recent)).messages] == seen[1000 - recent :]


async def test_half_a_start_is_undone_and_leaving_twice_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = StateManager(path=tmp_path / "file" / "x.db")
    with pytest.raises(JournalUnavailable):
        await broken.__aenter__()
    manager = StateManager()
    await manager.__aenter__()
    await manager.__aexit__(None, None, None)
    await manager.__aexit__(None, None, None)
    with pytest.raises(JournalUnavailable):
        await manager.load(ANA, "main")
