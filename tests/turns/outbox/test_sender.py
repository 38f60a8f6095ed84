"""The outbox sends in order, one at a time for each webhook, again when it was not taken, and never inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from tests.turns.outbox.hooks import Hooks, hooks

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import NgxError
from ngx_agents.state.commands import AddPost, ListDeadPushes, ReplayPush
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.push_commands import DeadPush, DuePush
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Letter, Sealer, event_id
from ngx_agents.turns.outbox.sender import Outbox, OutboxSettings

ANA = Owner("acme", "ana")
BEN = Owner("acme", "ben")
QUICK = OutboxSettings(timeout_s=0.5, attempts=3, first_delay_s=0.01, max_delay_s=0.05, look_every_s=0.02)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = SqliteJournal(tmp_path / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()


@pytest.fixture
async def there() -> AsyncIterator[Hooks]:
    async with hooks() as made:
        yield made


async def as_they_are(due: DuePush) -> Sequence[Letter]:
    """An entry's content, cut at `|` into letters."""
    return [Letter(content=part) for part in (due.content or b"").split(b"|")]


def outbox(
    journal: Journal, name: str = "one", allow: Sequence[str] = ("127.0.0.1",), settings: OutboxSettings = QUICK
) -> Outbox:
    return Outbox(
        journal, instance=name, renders={"batch": as_they_are}, guard=Guard(allow), clock=SystemClock(), rng=Rng(1),
        metrics=Metrics(), settings=settings,
    )  # fmt: skip


async def add(
    journal: Journal, url: str, *contents: bytes, subject: str = "b_1", kind: str = "batch", owner: Owner = ANA
) -> None:
    await journal.transact(
        [
            AddPost(
                owner=owner, kind=kind, subject=subject, webhook_id="done", url=url, body=b"", content=content, now=1.0
            )
            for content in contents
        ]
    )


async def dead(journal: Journal) -> tuple[DeadPush, ...]:
    async with asyncio.timeout(20):
        found: tuple[DeadPush, ...] = ()
        while not found:
            found = await journal.query(ListDeadPushes())
            await asyncio.sleep(0.01)
    return found


async def test_one_webhook_is_sent_to_in_order_one_at_a_time(journal: Journal, there: Hooks) -> None:
    there.delay_s = 0.01
    await add(journal, there.url, b"1", b"2|3", b"4")
    async with outbox(journal), outbox(journal, "two"):
        await there.until(4)
        await asyncio.sleep(0.1)
    assert there.contents == [b"1", b"2", b"3", b"4"]
    assert there.most_in_flight == 1
    ids = [headers["Webhook-Id"] for headers, _ in there.came]
    assert len(set(ids)) == 4


async def test_a_letter_that_is_not_taken_comes_again_with_the_same_id(journal: Journal, there: Hooks) -> None:
    there.answer = lambda number: web.Response(status=503 if number == 2 else 200)
    await add(journal, there.url, b"1|2|3")
    async with outbox(journal):
        await there.until(4)
    assert there.contents == [b"1", b"2", b"2", b"3"]
    assert there.came[1][0]["Webhook-Id"] == there.came[2][0]["Webhook-Id"]


async def test_after_all_attempts_it_is_dead_with_the_reason_and_comes_back_when_replayed(
    journal: Journal, there: Hooks
) -> None:
    there.answer = lambda number: web.Response(status=500 if number <= 3 else 200)
    await add(journal, there.url, b"1", b"2")
    async with outbox(journal):
        [entry] = await dead(journal)
        assert (entry.reason, entry.attempts) == ("answered 500", 3)
        await there.until(4)
        await journal.transact([ReplayPush(number=entry.number, owner=ANA, now=1.0)])
        await there.until(5)
    assert there.contents == [b"1", b"1", b"1", b"2", b"1"]


async def test_a_webhook_that_is_gone_gets_nothing_more(journal: Journal, there: Hooks) -> None:
    there.answer = lambda number: web.Response(status=410)
    await add(journal, there.url, b"1", b"2")
    async with outbox(journal):
        await there.until(1)
        await asyncio.sleep(0.3)
    assert there.contents == [b"1"]
    assert await journal.query(ListDeadPushes()) == ()


async def test_a_webhook_that_hangs_holds_up_no_other(journal: Journal, there: Hooks) -> None:
    async with hooks() as slow:
        slow.delay_s = 1.5
        await add(journal, slow.url, b"slow", subject="b_slow")
        await add(journal, there.url, b"quick", subject="b_quick")
        async with outbox(journal):
            await there.until(1)
            [entry] = await dead(journal)
    assert entry.reason == "no answer within 0.5 s"


async def test_a_user_whose_receivers_stall_holds_up_no_other_user(journal: Journal, there: Hooks) -> None:
    async with hooks() as slow:
        slow.delay_s = 2.5
        for number in range(60):
            await add(journal, slow.url, b"slow", subject=f"b_slow_{number}")
        await add(journal, there.url, b"quick", subject="b_quick", owner=BEN)
        async with outbox(journal, settings=msgspec.structs.replace(QUICK, timeout_s=2.5)):
            await there.until(1)
            await slow.until(4)
            await add(journal, there.url, b"later", subject="b_later", owner=BEN)
            await there.until(2)
            assert len(slow.came) == 4


async def test_a_redirect_is_not_followed(journal: Journal, there: Hooks) -> None:
    async with hooks() as inside:
        there.answer = lambda number: web.Response(status=302, headers={"Location": inside.url})
        await add(journal, there.url, b"1")
        async with outbox(journal):
            [entry] = await dead(journal)
    assert entry.reason == "answered 302: redirects are not followed"
    assert inside.came == []


async def test_an_endless_answer_is_not_read_to_its_end(journal: Journal, there: Hooks) -> None:
    there.answer = lambda number: web.Response(body=b"x" * 8_000_000)
    await add(journal, there.url, b"1", b"2")
    async with outbox(journal):
        await there.until(2)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_nothing_is_sent_inside(journal: Journal, there: Hooks, host: str) -> None:
    await add(journal, there.url.replace("127.0.0.1", host), b"1")
    async with outbox(journal, allow=()):
        [entry] = await dead(journal)
    assert "address" in entry.reason
    assert there.came == []


async def test_a_name_that_leads_elsewhere_by_now_is_looked_at_again(journal: Journal, there: Hooks) -> None:
    """Told when it was public, it leads to this machine when it is sent: `localhost` stands for any such name."""
    await add(journal, there.url.replace("127.0.0.1", "localhost"), b"1")
    async with outbox(journal, allow=["203.0.113.0/24"]):
        [entry] = await dead(journal)
    assert entry.reason == "the host leads to no address that may be posted to"
    assert there.came == []


async def test_an_entry_that_nobody_can_write_is_dead_at_once(journal: Journal, there: Hooks) -> None:
    await add(journal, there.url, b"1", kind="unheard of")
    async with outbox(journal):
        [entry] = await dead(journal)
    assert entry.attempts == 0


def test_sealed_secrets_open_with_any_key_in_force_and_no_other() -> None:
    sealed = Sealer([b"old"]).seal(b"token")
    assert b"token" not in sealed
    assert Sealer([b"new", b"old"]).open(sealed) == b"token"
    for broken in (sealed[:-1], sealed[:5], b""):
        with pytest.raises(NgxError):
            Sealer([b"old"]).open(broken)
    with pytest.raises(NgxError):
        Sealer([b"new"]).open(sealed)


async def test_ids_of_letters_are_stable_and_distinct(journal: Journal) -> None:
    await add(journal, "https://hooks.example/", b"1")
    from ngx_agents.state.commands import ClaimPushes

    [[due]] = await journal.transact([ClaimPushes(instance="one", now=9.0, limit=1, lease_s=1.0)])
    assert event_id(due, 0) == event_id(due, 0) != event_id(due, 1)
