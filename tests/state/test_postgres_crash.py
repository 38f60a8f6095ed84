from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import ANA, NOW, accept, conversation, finish, tell

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.postgres import PostgresJournal, PostgresSettings
from ngx_agents.state.postgres_connections import Timeouts

IMPATIENT = PostgresSettings(
    timeouts=Timeouts(connect_s=0.5, statement_s=0.5, lock_s=0.2, idle_in_transaction_s=0.5, call_s=0.5)
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        yield made


@pytest.fixture
async def url(server: PostgresServer) -> str:
    return await server.emptied_journal()


@pytest.fixture
async def journal(url: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(url, clock=SystemClock())
    await made.open()
    yield made
    await made.close()


class Proxy:
    """Stands before the server. `fault` is what befalls the next COMMIT; what the server says passes while `speaks`."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._pumps: set[asyncio.Task[None]] = set()
        self.fault = ""
        self.met = 0
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def __aenter__(self) -> Proxy:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError, EOFError):
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            with contextlib.closing(writer), contextlib.closing(back):
                await asyncio.gather(self._up(reader, back, there), self._down(there, writer))

    async def _up(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, there: asyncio.StreamReader) -> None:
        while data := await reader.read(2**16):
            if self.fault == "lose the commit" and b"COMMIT\0" in data:
                self._met()
            back.write(data)
            await back.drain()
        raise EOFError

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(2**16):
            if self.fault == "lose its reply" and b"COMMIT\0" in data:
                self._met()
            await self.speaks.wait()
            writer.write(data)
            await writer.drain()
        raise EOFError

    def _met(self) -> None:
        self.fault = ""
        self.met += 1
        raise EOFError


@pytest.fixture
async def proxy(server: PostgresServer) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as made:
        yield made


def through(proxy: Proxy, url: str) -> str:
    parts = urlsplit(url)
    return url.replace(f":{parts.port}/", f":{proxy.port}/") + "?sslmode=disable"


async def run(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def insist(journal: PostgresJournal, command: c.Command) -> object:
    """Tells the same command until the journal can be reached."""
    while True:
        try:
            return await tell(journal, command)
        except JournalUnavailable:
            await asyncio.sleep(0.01)


async def write_until(journal: PostgresJournal, lane: str, stopped: asyncio.Event) -> list[str]:
    """Texts in the order of their acknowledgement."""
    told: list[str] = []
    while not stopped.is_set():
        command = accept(lane, f"texto {len(told)}")
        accepted = await insist(journal, command)
        assert isinstance(accepted, c.Accepted)
        told.append(command.text)
        assert accepted.epoch is not None
        await insist(journal, finish(lane, command.turn_id, accepted.epoch, user_seq=accepted.user_seq))
    return told


async def crash_once(server: PostgresServer, journal: PostgresJournal) -> None:
    lanes = [await conversation(journal) for _ in range(8)]
    stopped = asyncio.Event()
    writers = [asyncio.ensure_future(write_until(journal, lane, stopped)) for lane in lanes]
    await asyncio.sleep(0.15)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await asyncio.sleep(0.1)
    stopped.set()
    told = await asyncio.gather(*writers)
    assert min(len(texts) for texts in told) > 1
    for lane, texts in zip(lanes, told, strict=True):
        page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA, limit=10_000))
        stored = [m.text for m in page.items]
        assert stored == [text for asked in texts for text in (asked, "listo")]


async def test_a_server_killed_under_writers_has_all_that_was_acknowledged_once_and_in_order(
    server: PostgresServer, journal: PostgresJournal
) -> None:
    await crash_once(server, journal)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_twenty_crashes_lose_nothing(server: PostgresServer, journal: PostgresJournal) -> None:
    for _ in range(20):
        await crash_once(server, journal)


@pytest.mark.parametrize("fault", ["lose the commit", "lose its reply"])
async def test_a_commit_whose_reply_is_lost_is_resolved_and_applied_once(proxy: Proxy, url: str, fault: str) -> None:
    journal = PostgresJournal(through(proxy, url), clock=SystemClock())
    await journal.open()
    lane = await conversation(journal)
    for number in range(3):
        proxy.fault = fault
        accepted = await tell(journal, accept(lane, f"texto {number}"))
        assert accepted.position == number
    assert proxy.met == 3
    proxy.fault = fault
    assert await tell(journal, c.RequestCancel(turn_id=accepted.turn_id, owner=ANA, now=NOW)) == "cancelled"
    await tell(journal, c.ReleaseLane(conversation_id=lane, epoch=1))
    proxy.fault = fault
    [grant] = await journal.claim(5, instance="two", now=NOW)
    assert (grant.text, grant.epoch, grant.attempts) == ("texto 0", 2, 2)
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert [m.text for m in page.items] == ["texto 0", "texto 1", "texto 2"]
    await journal.close()


async def test_a_server_that_says_nothing_is_given_up_in_time(proxy: Proxy, url: str) -> None:
    journal = PostgresJournal(through(proxy, url), clock=SystemClock(), settings=IMPATIENT)
    await journal.open()
    lane = await conversation(journal)
    proxy.speaks.clear()
    async with asyncio.timeout(4):
        with pytest.raises(JournalUnavailable):
            await journal.query(c.GetProfile(owner=ANA))
        with pytest.raises(JournalUnavailable):
            await tell(journal, accept(lane))
    proxy.speaks.set()
    await insist(journal, accept(lane))
    await journal.close()


async def test_sessions_that_the_server_ends_are_made_anew_unseen(
    server: PostgresServer, journal: PostgresJournal
) -> None:
    lane = await conversation(journal)
    ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ngx-agents'"
    for _ in range(3):
        await server.execute(ends)
        await tell(journal, accept(lane, max_waiting=1000))
        await server.execute(ends)
        assert (await journal.query(c.GetConversation(id=lane, owner=ANA))) is not None


async def test_while_the_server_is_away_calls_say_so_and_afterwards_work_by_themselves(
    server: PostgresServer, journal: PostgresJournal
) -> None:
    lane = await conversation(journal)
    await asyncio.to_thread(server.stop_at_once)
    for _ in range(3):
        with pytest.raises(JournalUnavailable) as refused:
            await tell(journal, accept(lane))
        assert refused.value.retry_after_s > 0
        with pytest.raises(JournalUnavailable):
            await journal.query(c.GetConversation(id=lane, owner=ANA))
        with pytest.raises(JournalUnavailable):
            await journal.claim(1, instance="one", now=NOW)
    await asyncio.to_thread(server.start)
    await insist(journal, accept(lane))
    assert (await journal.query(c.GetConversation(id=lane, owner=ANA))).messages == 1


async def test_a_standby_answers_questions_and_refuses_to_write(server: PostgresServer, url: str) -> None:
    journal = PostgresJournal(url, clock=SystemClock())
    await journal.open()
    lane = await conversation(journal)
    await journal.close()
    replica = await asyncio.to_thread(server.replica)
    try:
        standby = PostgresJournal(replica.url(url.rsplit("/", 1)[1]), clock=SystemClock())
        await standby.open()
        assert (await standby.query(c.GetConversation(id=lane, owner=ANA))).messages == 0
        with pytest.raises(JournalUnavailable, match="read-only"):
            await tell(standby, accept(lane))
        with pytest.raises(JournalUnavailable, match="read-only"):
            await standby.claim(1, instance="one", now=NOW)
        await standby.close()
        hosts = f"127.0.0.1:{replica.port},127.0.0.1:{server.port}"
        either = url.replace(f"127.0.0.1:{server.port}", hosts) + "?target_session_attrs=read-write"
        primary = PostgresJournal(either, clock=SystemClock())
        await primary.open()
        assert (await tell(primary, accept(lane))).epoch == 1
        await primary.close()
    finally:
        await asyncio.to_thread(replica.remove)


async def test_a_full_disk_refuses_new_turns_and_still_reads(journal: PostgresJournal, url: str) -> None:
    lane = await conversation(journal)
    await run(
        url,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left on /secret' USING ERRCODE = 'disk_full'; END $$;"
        " CREATE TRIGGER full_disk BEFORE INSERT ON ngx.message EXECUTE FUNCTION full_disk()",
    )
    with pytest.raises(JournalUnavailable, match="disk is full") as refused:
        await tell(journal, accept(lane))
    assert "secret" not in str(refused.value)
    assert (await journal.query(c.GetConversation(id=lane, owner=ANA))).messages == 0
    await run(url, "DROP TRIGGER full_disk ON ngx.message; DROP FUNCTION full_disk")
    assert (await tell(journal, accept(lane))).epoch == 1


async def test_a_lane_that_stays_locked_is_given_up_and_others_go_on(url: str) -> None:
    patience = Timeouts(connect_s=5, statement_s=3, lock_s=1.5, idle_in_transaction_s=3, call_s=3)
    journal = PostgresJournal(url, clock=SystemClock(), settings=PostgresSettings(timeouts=patience))
    await journal.open()
    locked, free = await conversation(journal), await conversation(journal)
    other = await asyncpg.connect(url)
    async with other.transaction():
        await other.execute("SELECT FROM ngx.conversation WHERE id = $1 FOR UPDATE", locked)
        async with asyncio.timeout(20):
            waits = asyncio.ensure_future(tell(journal, accept(locked)))
            await asyncio.sleep(0.02)
            for _ in range(5):
                await tell(journal, accept(free))
            assert not waits.done()
            with pytest.raises(JournalUnavailable, match="too long"):
                await waits
    await other.close()
    assert (await tell(journal, accept(locked))).position == 0
    await journal.close()


async def test_a_journal_whose_writers_were_cancelled_closes_and_refuses_what_they_left(url: str) -> None:
    journal = PostgresJournal(url, clock=SystemClock())
    await journal.open()
    lane = await conversation(journal)
    other = await asyncpg.connect(url)
    before = asyncio.all_tasks()
    async with other.transaction():
        await other.execute("SELECT FROM ngx.conversation WHERE id = $1 FOR UPDATE", lane)
        writers = [task for task in before if task is not asyncio.current_task()]
        waits = asyncio.ensure_future(journal.transact([accept(lane)]))
        await asyncio.sleep(0.1)
        for task in writers:
            task.cancel()
        async with asyncio.timeout(10):
            await journal.close()
            with pytest.raises(JournalUnavailable, match="closed"):
                await waits
    await other.close()


async def test_a_right_that_the_user_lacks_is_a_matter_of_configuration(server: PostgresServer, url: str) -> None:
    name = url.rsplit("/", 1)[1]
    await run(url, "DROP ROLE IF EXISTS limited; CREATE ROLE limited LOGIN PASSWORD 'limited'")
    await run(url, "GRANT USAGE ON SCHEMA ngx TO limited; GRANT SELECT ON ngx.migration TO limited")
    journal = PostgresJournal(server.url(name, user="limited", password="limited"), clock=SystemClock())
    await journal.open()
    with pytest.raises(ConfigError, match="right"):
        await journal.query(c.GetProfile(owner=ANA))
    with pytest.raises(ConfigError, match="right"):
        await conversation(journal)
    await journal.close()
    await run(url, "DROP OWNED BY limited; DROP ROLE limited")
