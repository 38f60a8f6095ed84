from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.state.faulty_journal import FaultyJournal
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, finish, ids, tell
from tests.state.journal_conformance_operations import *  # noqa: F403

from ngx_agents.clock import SystemClock
from ngx_agents.errors import JournalError, JournalLocked, JournalUnavailable, LeaseLost, Overloaded
from ngx_agents.state import commands as c
from ngx_agents.state.failover import FailoverJournal, FailoverSettings
from ngx_agents.state.failover_ladder import LadderRules
from ngx_agents.state.journal import Journal
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.state.local_acceptance_aside import Aside
from ngx_agents.state.local_log import LocalLog
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Profile
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics

EAGER = FailoverSettings(
    rules=LadderRules(falls_after=2, falls_after_s=0.0, returns_after=2, max_returns_after=2),
    probe_every_s=0.01,
    busy_s=0.3,
)


class House:
    """A failover over a real SQLite journal that can be away, with everything on one disk; it can be started again."""

    def __init__(
        self,
        folder: Path,
        *,
        is_local: bool = True,
        max_bytes: int = 2**20,
        origin: str = "here",
        log_folder: Path | None = None,
    ) -> None:
        self.folder = folder
        self._log_folder = log_folder or folder
        self._is_local = is_local
        self._max_bytes = max_bytes
        self._origin = origin
        self.is_away = False
        self.aside = Aside(folder / "aside.jsonl", now=lambda: NOW)
        self.metrics = Metrics()

    async def __aenter__(self) -> House:
        self.sqlite = SqliteJournal(self.folder / "journal.db")
        self.faulty = FaultyJournal(self.sqlite, lambda: "away" if self.is_away else "")
        self.acceptance = LocalAcceptance(
            LocalLog(self._log_folder / "local.log", max_bytes=self._max_bytes), self.aside, origin=self._origin
        )
        self.journal = FailoverJournal(
            MemoryTier(self.faulty),
            clock=SystemClock(),
            metrics=self.metrics,
            settings=EAGER,
            acceptance=self.acceptance if self._is_local else None,
        )
        await self.journal.open()
        try:
            await self.journal.migrate()
        except BaseException:
            await self.journal.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.journal.close()

    async def fall(self) -> None:
        self.is_away = True
        for _ in range(3):
            with pytest.raises(JournalUnavailable):
                await tell(self.journal, c.PutProfile(owner=Owner_("nobody"), profile=Profile(), now=NOW))
        assert self.journal.mode in ("local", "read-only")

    async def heal(self) -> None:
        self.is_away = False
        await until(lambda: self.journal.mode == "normal")

    async def texts(self, lane: str, owner: Any = ANA) -> list[str]:
        """What the journal itself has."""
        page = await self.sqlite.query(c.ListMessages(conversation_id=lane, owner=owner, limit=1000))
        return [message.text for message in page.items]


def Owner_(user: str) -> Any:  # noqa: N802
    return c.Owner("acme", user)


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the prober goes by real time here
            await asyncio.sleep(0.005)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path) as made:
        yield made


@pytest.fixture(params=["read-only", "local"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    async with House(tmp_path, is_local=request.param == "local") as made:
        yield made.journal


async def one_turn(journal: Journal, lane: str, text: str, **changes: Any) -> c.Finished:
    """A whole turn told to the journal, its answer `re: text`."""
    accepted = await tell(journal, accept(lane, text, **changes))
    assert accepted.epoch is not None
    ended = finish(lane, accepted.turn_id, accepted.epoch, user_seq=accepted.user_seq, grant_to="one")
    assert ended.message is not None
    ended.message.text = f"re: {text}"
    finished: c.Finished = await tell(journal, ended)
    return finished


async def test_without_local_acceptance_history_is_served_and_new_turns_are_refused(tmp_path: Path) -> None:
    async with House(tmp_path, is_local=False) as house:
        lane = await conversation(house.journal)
        await one_turn(house.journal, lane, "hola")
        await house.fall()
        assert house.journal.mode == "read-only"
        assert "cannot be reached" in house.journal.reason
        asked = house.faulty.asked
        for command in (accept(lane), c.CreateConversation(id=ids.new("c", 1), owner=ANA, title="", now=NOW)):
            with pytest.raises(JournalUnavailable, match="new turns are refused") as refused:
                await tell(house.journal, command)
            assert refused.value.retry_after_s >= 1
        with pytest.raises(JournalUnavailable):
            await house.journal.claim(1, instance="one", now=NOW)
        assert house.faulty.asked - asked <= 3  # nobody waits for a journal that is known to be away
        recent = c.RecentMessages(conversation_id=lane, owner=ANA, before=3, limit=200)
        assert [m.text for m in await house.journal.query(recent)] == ["hola", "re: hola"]
        await house.heal()
        await one_turn(house.journal, lane, "otra vez")
        assert await house.texts(lane) == ["hola", "re: hola", "otra vez", "re: otra vez"]


async def test_turns_are_taken_locally_say_so_and_are_in_the_journal_afterwards(house: House) -> None:
    lane = await conversation(house.journal)
    await house.journal.query(c.GetProfile(owner=ANA))
    assert (await one_turn(house.journal, lane, "uno")).durability == "journal"
    await house.fall()
    assert house.journal.mode == "local"
    accepted = await tell(house.journal, accept(lane, "dos"))
    assert (accepted.durability, accepted.position, accepted.user_seq, accepted.epoch) == ("local", 0, 3, 2)
    waiting = await tell(house.journal, accept(lane, "tres"))
    assert (waiting.position, waiting.epoch) == (1, None)
    running = await house.journal.query(c.GetTurn(id=accepted.turn_id, owner=ANA))
    assert (running.status, running.text) == ("running", "dos")
    recent = await house.journal.query(c.RecentMessages(conversation_id=lane, owner=ANA, before=3, limit=200))
    assert [m.text for m in recent] == ["uno", "re: uno"]
    done = await tell(house.journal, finish(lane, accepted.turn_id, 2, user_seq=3, grant_to="one"))
    assert (done.durability, done.next.turn_id, done.next.text, done.next.epoch) == (
        "local", waiting.turn_id, "tres", 3,
    )  # fmt: skip
    ended = await house.journal.query(c.GetTurn(id=accepted.turn_id, owner=ANA))
    assert (ended.status, ended.answer.durability, ended.answer.text) == ("completed", "local", "listo")
    assert await house.journal.query(c.GetTurn(id=accepted.turn_id, owner=BEN)) is None
    await tell(house.journal, finish(lane, waiting.turn_id, 3, user_seq=5, grant_to="one"))
    recent = await house.journal.query(c.RecentMessages(conversation_id=lane, owner=ANA, before=7, limit=200))
    assert [m.text for m in recent] == ["uno", "re: uno", "dos", "listo", "tres", "listo"]
    assert await house.texts(lane) == ["uno", "re: uno"]
    await house.heal()
    assert await house.texts(lane) == ["uno", "re: uno", "dos", "listo", "tres", "listo"]
    stored = await house.sqlite.query(c.GetTurn(id=accepted.turn_id, owner=ANA))
    assert (stored.status, stored.answer.durability) == ("completed", "journal")
    assert (await one_turn(house.journal, lane, "cuatro")).durability == "journal"
    assert house.aside.records() == []


async def test_a_conversation_begun_locally_is_whole_while_the_journal_is_away(house: House) -> None:
    await house.journal.query(c.GetProfile(owner=ANA))
    await house.fall()
    lane = await conversation(house.journal)
    for number in range(3):
        assert (await one_turn(house.journal, lane, f"texto {number}")).durability == "local"
    page = await house.journal.query(c.ListMessages(conversation_id=lane, owner=ANA, limit=4))
    rest = await house.journal.query(c.ListMessages(conversation_id=lane, owner=ANA, limit=4, cursor=page.next))
    told = [text for number in range(3) for text in (f"texto {number}", f"re: texto {number}")]
    assert [m.text for m in (*page.items, *rest.items)] == told
    info = await house.journal.query(c.GetConversation(id=lane, owner=ANA))
    assert (info.messages, info.title) == (6, "texto 0")
    assert await house.journal.query(c.GetConversation(id=lane, owner=BEN)) is None
    await house.heal()
    assert await house.texts(lane) == told
    assert (await house.sqlite.query(c.GetConversation(id=lane, owner=ANA))).title == "texto 0"


async def test_what_cannot_be_gone_on_with_alone_is_refused(house: House) -> None:
    unknown, known, busy = [await conversation(house.sqlite) for _ in range(3)]
    await house.journal.query(c.GetProfile(owner=ANA))
    await one_turn(house.journal, known, "uno")
    await tell(house.sqlite, accept(busy, grant_to=None))
    await house.fall()
    for lane in (unknown, busy):
        with pytest.raises(JournalUnavailable, match="alone"):
            await tell(house.journal, accept(lane))
    strangers = await conversation(house.journal, Owner_("stranger"))
    with pytest.raises(JournalUnavailable):  # nobody here knows what they told about themselves
        await tell(house.journal, accept(strangers, owner=Owner_("stranger")))
    for command in (
        c.PutProfile(owner=ANA, profile=Profile(), now=NOW),
        c.DeleteConversation(id=known, owner=ANA),
        c.EraseUser(owner=ANA),
        c.RecordEffect(conversation_id=known, turn_id=ids.new("t", 1), epoch=1, key="k", state="intended", now=NOW),
    ):
        with pytest.raises(JournalUnavailable, match="refused"):
            await tell(house.journal, command)
    for _ in range(3):
        await tell(house.journal, accept(known, max_waiting=2))
    with pytest.raises(Overloaded):
        await tell(house.journal, accept(known, max_waiting=2))
    await house.heal()
    assert await house.texts(unknown) == []


async def test_a_turn_that_the_journal_granted_ends_locally_and_goes_on(house: House) -> None:
    lane = await conversation(house.journal)
    await house.journal.query(c.GetProfile(owner=ANA))
    accepted = await tell(house.journal, accept(lane, "uno"))
    await house.fall()
    saved = c.SaveCheckpoint(conversation_id=lane, turn_id=accepted.turn_id, epoch=1, key="k", value=b"v")
    await tell(house.journal, saved)
    done = await tell(house.journal, finish(lane, accepted.turn_id, 1, user_seq=1, grant_to="one"))
    assert (done.durability, done.message_seq) == ("local", 2)
    again = await tell(house.journal, accept(lane, "dos"))
    assert again.user_seq == 3
    recent = await house.journal.query(c.RecentMessages(conversation_id=lane, owner=ANA, before=3, limit=200))
    assert [m.text for m in recent] == ["uno", "listo"]
    with pytest.raises(LeaseLost):
        await tell(house.journal, finish(lane, accepted.turn_id, 9, user_seq=1))
    await house.heal()
    ended = finish(lane, again.turn_id, 2, user_seq=3)  # accepted locally, ended with the journal's grant
    assert (await tell(house.journal, ended)).durability == "journal"
    assert await house.texts(lane) == ["uno", "listo", "dos", "listo"]


async def test_the_same_request_is_one_turn_whichever_side_of_the_outage_it_is_told_again(house: House) -> None:
    lane = await conversation(house.journal)
    await house.journal.query(c.GetProfile(owner=ANA))
    before = await tell(house.journal, accept(lane, "uno", idempotency_key="a", idempotency_hash=b"1"))
    await tell(house.journal, finish(lane, before.turn_id, 1, grant_to="one"))
    await house.fall()
    again = await tell(house.journal, accept(lane, "uno", idempotency_key="a", idempotency_hash=b"1"))
    assert (again.turn_id, again.replayed) == (before.turn_id, True)
    local = await tell(house.journal, accept(lane, "dos", idempotency_key="b", idempotency_hash=b"2"))
    same = await tell(house.journal, accept(lane, "dos", idempotency_key="b", idempotency_hash=b"2"))
    assert (same.turn_id, same.replayed) == (local.turn_id, True)
    await tell(house.journal, finish(lane, local.turn_id, 2, user_seq=3, grant_to="one"))
    await house.heal()
    after = await tell(house.journal, accept(lane, "dos", idempotency_key="b", idempotency_hash=b"2"))
    assert (after.turn_id, after.replayed) == (local.turn_id, True)
    assert await house.texts(lane) == ["uno", "listo", "dos", "listo"]


async def test_a_process_that_starts_again_tells_the_journal_first_what_it_had_accepted(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        lane = await conversation(house.journal)
        await house.journal.query(c.GetProfile(owner=ANA))
        await one_turn(house.journal, lane, "uno")
        await house.fall()
        await one_turn(house.journal, lane, "dos")
        open_turn = await tell(house.journal, accept(lane, "tres"))
    with (tmp_path / "local.log").open("ab") as torn:
        torn.write(b"\x20\x00\x00\x00torn")
    async with House(tmp_path) as house:
        assert house.journal.mode == "normal"
        assert await house.texts(lane) == ["uno", "re: uno", "dos", "re: dos", "tres"]
        [grant] = await house.journal.claim(5, instance="two", now=NOW)
        assert (grant.turn_id, grant.text) == (open_turn.turn_id, "tres")
        assert house.aside.records() == []
    async with House(tmp_path) as house:
        assert await house.texts(lane) == ["uno", "re: uno", "dos", "re: dos", "tres"]


async def test_a_process_that_starts_while_the_journal_is_still_away_goes_on_from_its_disk(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.journal.query(c.GetProfile(owner=ANA))
        await house.fall()
        lane = await conversation(house.journal)
        await one_turn(house.journal, lane, "uno")
        left = await tell(house.journal, accept(lane, "dos"))
    house = House(tmp_path)
    house.is_away = True
    async with house:
        await until(lambda: house.journal.mode == "local")
        page = await house.journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
        assert [m.text for m in page.items] == ["uno", "re: uno", "dos"]
        [grant] = await house.journal.claim(5, instance="two", now=NOW)
        assert (grant.turn_id, grant.text) == (left.turn_id, "dos")
        await tell(house.journal, finish(lane, grant.turn_id, grant.epoch, user_seq=grant.user_seq))
        await house.heal()
        assert await house.texts(lane) == ["uno", "re: uno", "dos", "listo"]


async def test_what_the_journal_refuses_is_kept_aside_with_its_reason_and_the_rest_is_told(house: House) -> None:
    gone, busy, sound = [await conversation(house.journal) for _ in range(3)]
    await house.journal.query(c.GetProfile(owner=ANA))
    for lane in (gone, busy, sound):
        await one_turn(house.journal, lane, "uno")
    await house.fall()
    for lane in (gone, busy, sound):
        await one_turn(house.journal, lane, "dos")
    house.is_away = False  # the others go on, elsewhere, before this one does
    await tell(house.sqlite, c.DeleteConversation(id=gone, owner=ANA))
    await tell(house.sqlite, accept(busy, "de otro", grant_to="other"))
    await until(lambda: house.journal.mode == "normal")
    assert await house.texts(sound) == ["uno", "re: uno", "dos", "re: dos"]
    assert await house.texts(busy) == ["uno", "re: uno", "de otro"]
    kept = house.aside.records()
    assert sorted((record.conversation_id, record.kind, record.code) for record in kept) == sorted(
        (lane, kind, code)
        for lane, code in ((gone, "not_found"), (busy, "conversation_busy"))
        for kind in ("AcceptTurn", "FinishTurn")
    )
    assert {record.command["text"] for record in kept if record.kind == "AcceptTurn"} == {"dos"}


async def test_a_full_local_log_refuses_new_turns_and_keeps_serving(tmp_path: Path) -> None:
    async with House(tmp_path, max_bytes=4000) as house:
        await house.journal.query(c.GetProfile(owner=ANA))
        await house.fall()
        lane = await conversation(house.journal)
        taken, refused = 0, None
        while refused is None:
            try:
                await one_turn(house.journal, lane, "x" * 500)
                taken += 1
            except JournalUnavailable as error:
                refused = error
        assert "full" in str(refused)
        assert taken >= 1
        assert house.journal.mode == "read-only"
        assert "full" in house.journal.reason
        page = await house.journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
        assert len(page.items) in (2 * taken, 2 * taken + 1)
        await house.heal()
        assert len(await house.texts(lane)) == len(page.items)


@pytest.mark.parametrize("fault", ["foreign file", "another journal", "open elsewhere"])
async def test_a_log_that_is_not_ours_keeps_the_start_with_one_clear_line(tmp_path: Path, fault: str) -> None:
    house = House(tmp_path)
    if fault == "foreign file":
        (tmp_path / "local.log").write_bytes(b"PK\x03\x04 something else entirely")
    if fault == "another journal":
        async with House(tmp_path, origin="there") as other:
            await other.journal.query(c.GetProfile(owner=ANA))
            await other.fall()
            await conversation(other.journal)
    if fault == "open elsewhere":
        log = LocalLog(tmp_path / "local.log")
        await log.open()
    with pytest.raises(JournalError) as refused:
        await house.__aenter__()
    assert isinstance(refused.value, JournalLocked) == (fault == "open elsewhere")
    assert "\n" not in str(refused.value)
    if fault == "open elsewhere":
        await log.close()


async def test_a_record_that_nobody_can_read_is_kept_aside_and_the_rest_is_told(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.journal.query(c.GetProfile(owner=ANA))
        await house.fall()
        lane = await conversation(house.journal)
    log = LocalLog(tmp_path / "local.log")
    await log.open()
    await log.append(b"\xff sound bytes of nobody")
    await log.close()
    async with House(tmp_path) as house:
        assert await house.texts(lane) == []
        [kept] = house.aside.records()
        assert (kept.kind, kept.code) == ("record", "corrupt")


async def test_a_caller_that_leaves_undoes_nothing_locally(house: House) -> None:
    await house.journal.query(c.GetProfile(owner=ANA))
    await house.fall()
    lane = await conversation(house.journal)
    command = accept(lane)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(house.journal.transact([command]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    await house.journal.transact([])
    assert (await house.journal.query(c.GetTurn(id=command.turn_id, owner=ANA))).status == "running"
