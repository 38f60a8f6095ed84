"""Who can write to Redis and has not our key: nothing of it is worked on, and nothing of it is taken for an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from ngx_agents.a2a.carrier import Frame, Parcel
from ngx_agents.a2a.dead_letters import dead_letters
from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.seal import Seal
from ngx_agents.a2a.server import A2AServer
from ngx_agents.a2a.wire import pack
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics
from tests.a2a.carrier_conformance import fresh, until_served
from tests.a2a.teams import KEYS, Gate, echo, soon, until
from tests.valkey_process import ValkeyProcess, valkey

FOREIGN = (b"the key of another house altogether",)
encode = msgspec.msgpack.Encoder().encode


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


def carrier(server: ValkeyProcess, keys: Sequence[bytes] = KEYS, metrics: Metrics | None = None) -> RedisCarrier:
    return RedisCarrier(
        f"redis://127.0.0.1:{server.port}", keys=keys, clock=SystemClock(), rng=Rng(), metrics=metrics or Metrics()
    )


def parcel(agent: str, **changed: Any) -> bytes:
    told = {"turn_class": 1, "depth": 1, "remaining_s": 30.0, "posted_at_s": time.time(), "calls_left": 9}
    return encode(Parcel(id=f"{agent}:forged", agent=agent, payload=pack("forged"), **{**told, **changed}))


async def test_what_is_not_ours_is_a_dead_letter_with_its_reason_and_never_worked_on(server: ValkeyProcess) -> None:
    agent, seen = fresh(), list[object]()
    queues = [f"ngx:a2a:{{{agent}}}:q{number}" for number in range(4)]
    ours = Seal(KEYS).closed(queues[1], "p", parcel(agent))
    altered = bytearray(ours)
    altered[-1] ^= 1
    entries = [
        (queues[1], parcel(agent), "forged"),
        (queues[1], Seal(FOREIGN).closed(queues[1], "p", parcel(agent)), "forged"),
        (queues[1], bytes(altered), "forged"),
        (queues[0], ours, "forged"),  # another class
        (queues[1], Seal(KEYS).closed(f"ngx:a2a:{{{agent}-other}}:q1", "p", parcel(agent)), "forged"),
        (queues[1], ours[:20], "forged"),
        (queues[1], Seal(KEYS).closed(queues[1], "p", b"\xc1"), "unreadable"),
        (queues[1], Seal(KEYS).closed(queues[1], "p", parcel(agent, posted_at_s=time.time() - 90)), "stale"),
        (queues[1], Seal(KEYS).closed(queues[1], "p", parcel(agent, posted_at_s=time.time() + 90)), "stale"),
    ]

    async def note(message: Any) -> object:
        seen.append(message.payload)
        return message.payload

    async with A2AServer(carrier=carrier(server)) as asker, A2AServer(carrier=carrier(server)) as other:
        other.register(agent, note)
        await until_served(asker, agent)
        seen.clear()
        for queue, stored, _ in entries:
            server.say("XADD", queue, "*", "p", stored)
        assert await asker.request(agent, "ours") == "ours"
        await until(lambda: server.say("XLEN", f"ngx:a2a:{{{agent}}}:dead") == b":%d\r\n" % len(entries))
        server.say("XADD", queues[1], "*", "p", ours)
        await until(lambda: "forged" in seen)
        assert seen == ["ours", "forged"], (
            "the same entry in its own place is worked on: it was the place that was wrong"
        )
        url = f"redis://127.0.0.1:{server.port}"
        async with dead_letters(url, agent, keys=KEYS, clock=SystemClock()) as letters:
            assert sorted(one.reason for one in await letters.list()) == sorted(reason for *_, reason in entries)


async def test_forged_replies_and_cancels_are_counted_and_nothing_else(server: ValkeyProcess) -> None:
    server.say("FLUSHALL")
    agent, gate, metrics = fresh(), Gate(), Metrics()
    async with (
        A2AServer(carrier=carrier(server, metrics=metrics)) as asker,
        A2AServer(carrier=carrier(server, metrics=metrics)) as other,
    ):
        other.register(agent, gate)
        other.register("echo", echo)
        await until_served(asker, "echo")
        asking = asyncio.create_task(asker.request(agent, "truth", deadline_s=soon(), message_id="m-1"))
        await until(lambda: gate.entered)
        frame = encode(Frame(id=f"{agent}:m-1", kind="done", attempt=1, seq=0, payload=pack("lie")))
        inboxes = [key.decode() for key in server.say("KEYS", "ngx:a2a:inbox:*").split(b"\r\n")[2::2]]
        assert len(inboxes) == 2
        for inbox, elsewhere in (inboxes, inboxes[::-1]):
            for stored in (frame, Seal(FOREIGN).closed(inbox, "f", frame), Seal(KEYS).closed(elsewhere, "f", frame)):
                server.say("XADD", inbox, "*", "f", stored)
            server.say("XADD", inbox, "*", "c", f"{agent}:m-1")
            server.say("XADD", inbox, "*", "c", Seal(KEYS).closed(elsewhere, "c", f"{agent}:m-1".encode()))
            server.say("XADD", inbox, "*", "c", "x", "f", "y")
        await until(lambda: "ngx_a2a_forged_total 12.0" in metrics.render().decode())
        gate.open()
        assert await asking == "truth"
        assert gate.cancelled == []


async def test_a_key_is_changed_while_messages_go_on(server: ValkeyProcess) -> None:
    old, new = b"o" * 32, b"n" * 32
    for asks, serves in (([old], [old, new]), ([new, old], [old, new]), ([new, old], [new])):
        agent = fresh()
        async with (
            A2AServer(carrier=carrier(server, asks)) as asker,
            A2AServer(carrier=carrier(server, serves)) as other,
        ):
            other.register(agent, echo)
            await until_served(asker, agent)
            assert await asker.request(agent, 1) == 1
