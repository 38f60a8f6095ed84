"""Messages that were given up: kept, listed by `ngx a2a dead`, sent again by `ngx a2a replay`."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from ngx_agents.a2a.carrier import Parcel
from ngx_agents.a2a.dead_letters import dead_letters
from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.seal import Seal
from ngx_agents.a2a.server import A2AServer
from ngx_agents.a2a.wire import pack
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import InvalidRequest, NotFound, SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from tests.a2a.carrier_conformance import fresh, until_served
from tests.a2a.teams import KEYS, until
from tests.cli.command import ngx_here
from tests.ports import free_port
from tests.valkey_process import valkey


@pytest.fixture(scope="module")
def server():
    with valkey() as server:
        yield server


def bury(server, agent, packed, reason="attempts", keys=KEYS):
    sealed = Seal(keys).closed(f"ngx:a2a:{{{agent}}}:q2", "p", packed)
    server.say("XADD", f"ngx:a2a:{{{agent}}}:dead", "*", "p", sealed, "why", reason)


def parcel(agent):
    return Parcel(id="m1", agent=agent, turn_class=2, depth=1, remaining_s=0.1, payload=pack("again"), reply_to="x")


async def test_a_dead_letter_is_listed_and_reaches_its_agent_when_it_is_sent_again(server):
    agent, got = fresh(), []
    url = f"redis://127.0.0.1:{server.port}"

    async def note(message):
        got.append((message.payload, message.turn_class, round(message.deadline_s - SystemClock().monotonic_s())))

    carriers = [RedisCarrier(url, keys=KEYS, clock=SystemClock(), rng=Rng(), metrics=Metrics()) for _ in range(2)]
    async with A2AServer(carrier=carriers[0]) as a2a, A2AServer(carrier=carriers[1]) as asker:
        a2a.register(agent, note)
        await until_served(asker, agent)
        got.clear()
        bury(server, agent, msgspec.msgpack.encode(parcel(agent)))
        bury(server, agent, b"\xc1", "unreadable")
        bury(server, agent, msgspec.msgpack.encode(parcel(agent)), "forged", keys=[b"another house"])
        async with dead_letters(url, agent, keys=KEYS, clock=SystemClock()) as letters:
            forged, unreadable, letter = await letters.list()
            assert (forged.parcel, forged.reason) == (None, "forged")
            assert (unreadable.parcel, unreadable.reason) == (None, "unreadable")
            assert (letter.parcel.id, letter.reason) == ("m1", "attempts")
            await letters.replay(letter.id, within_s=30)
            await until(lambda: got == [("again", 2, 30)])
            for gone in (letter.id, "no id", "1-1"):
                with pytest.raises(NotFound):
                    await letters.replay(gone, within_s=30)
            for refused in (forged, unreadable):
                with pytest.raises(InvalidRequest):
                    await letters.replay(refused.id, within_s=30)
            assert [one.id for one in await letters.list()] == [forged.id, unreadable.id]
            assert got == [("again", 2, 30)]


def test_the_command_lists_and_sends_again(server, tmp_path):
    agent, url = fresh(), f"redis://127.0.0.1:{server.port}"
    bury(server, agent, msgspec.msgpack.encode(parcel(agent)))
    secrets = {"NGX_REDIS_URL": url, "NGX_SECRET_KEY": KEYS[0].decode()}
    listed = ngx_here("a2a", "dead", agent, cwd=tmp_path, **secrets)
    assert listed.returncode == 0
    letter_id = listed.stdout.splitlines()[1].split()[0]
    assert "attempts" in listed.stdout
    done = ngx_here("a2a", "replay", agent, letter_id, "7-7", cwd=tmp_path, **secrets)
    assert done.returncode == 1
    assert f"{letter_id} waits for {agent} again" in done.stdout
    assert "there is no dead letter 7-7" in done.stderr
    assert server.say("XLEN", f"ngx:a2a:{{{agent}}}:q2") == b":1\r\n"


def test_the_command_says_what_is_missing_in_one_line(tmp_path):
    done = ngx_here("a2a", "dead", "agent", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "NGX_REDIS_URL" in done.stderr
    done = ngx_here("a2a", "dead", "agent", cwd=tmp_path, NGX_REDIS_URL=f"redis://:secret@127.0.0.1:{free_port()}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "secret" not in done.stderr


async def test_a_server_that_stops_answering_is_unavailable():
    with valkey() as server:
        url = f"redis://127.0.0.1:{server.port}"
        async with dead_letters(url, "agent", keys=KEYS, clock=SystemClock()) as letters:
            server.kill()
            with pytest.raises(SharedUnavailable):
                async with asyncio.timeout(5):
                    await letters.list()
