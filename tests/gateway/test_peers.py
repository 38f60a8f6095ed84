"""What instances ask each other, over real sockets; and what a peer that misbehaves may do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import aiohttp
import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import Unavailable
from ngx_agents.gateway import peers as peers_module
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.gatekeeper import told_load
from ngx_agents.gateway.peer_signature import PeerSignature
from ngx_agents.gateway.peers import HttpPeers
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.resilience.peer_load import PeerLoads
from ngx_agents.resilience.priority import EVERYBODY
from ngx_agents.state.model import Owner
from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import Client, House, house, served

KEY, OTHER_KEY = b"k" * 32, b"x" * 32
ME = Owner("local", "local")


@asynccontextmanager
async def owner_of_turns(made: House) -> AsyncIterator[tuple[str, Client]]:
    signature = PeerSignature([KEY], SystemClock())
    load = partial(told_load, made.door, "w")
    app = create_app(replace(made.deps, peer_signature=signature, own_load=load), GatewaySettings())
    async with served(app) as url, aiohttp.ClientSession() as session:
        yield url, Client(session, url)


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """The address of something that answers every request with these bytes; and what it was asked."""
    asked: list[bytes] = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def peers_with(key: bytes, loads: PeerLoads | None = None) -> HttpPeers:
    return HttpPeers(PeerSignature([key], SystemClock()), heard=None if loads is None else loads.told)


async def hear_all(peers: HttpPeers, url: str) -> None:
    async with peers.events(url, "t_1", ME, after="1-1") as events:
        async for _ in events:
            pass


async def begun(client: Client, text: str) -> str:
    status, turn = await client.say(await client.conversation(), text, headers={"Prefer": "respond-async"})
    assert status == 202
    found: str = turn["turn_id"]
    return found


async def test_a_peer_hears_the_events_of_a_turn_that_runs_here_under_their_ids(tmp_path):
    team = ScriptTeam()
    async with house(tmp_path, team=team) as made, owner_of_turns(made) as (url, client), peers_with(KEY) as peers:
        turn_id = await begun(client, "wait a|b")
        heard = []
        async with peers.events(url, turn_id, ME, after=None) as events:
            async for event in events:
                heard.append(event)
                team.release.set()
    assert heard[-1].name == "turn.completed"
    assert heard[0].name == "turn.accepted"
    ids = [event.id for event in heard]
    assert ids == sorted(set(ids))


async def test_a_peer_stops_a_turn_that_runs_here(tmp_path):
    async with house(tmp_path) as made, owner_of_turns(made) as (url, client), peers_with(KEY) as peers:
        turn_id = await begun(client, "wait a")
        async with asyncio.timeout(5):
            while (await client.call("GET", f"/v1/turns/{turn_id}"))[1]["status"] != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await peers.stop(url, turn_id, ME, code="cancelled")
            while (await client.call("GET", f"/v1/turns/{turn_id}"))[1]["status"] != "cancelled":  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("key", "owner"), [(OTHER_KEY, ME), (KEY, Owner("local", "another")), (KEY, Owner("another", "local"))]
)
async def test_nobody_hears_or_stops_without_the_key_or_for_another_user(tmp_path, key, owner):
    team = ScriptTeam()
    async with house(tmp_path, team=team) as made, owner_of_turns(made) as (url, client), peers_with(key) as peers:
        turn_id = await begun(client, "wait a")
        with pytest.raises(Unavailable):
            async with peers.events(url, turn_id, owner, after=None):
                pass
        with pytest.raises(Unavailable):
            await peers.stop(url, turn_id, owner, code="cancelled")
        team.release.set()
        async with client.session.get(f"{url}/v1/turns/{turn_id}/events") as answer:
            assert b"turn.completed" in await answer.read()


async def test_a_server_that_has_no_peers_has_no_such_paths(tmp_path):
    async with house(tmp_path) as made, served(made.app) as url, peers_with(KEY) as peers:
        with pytest.raises(Unavailable):
            async with peers.events(url, "t_1", ME, after=None):
                pass


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        HEAD + b"event: text.delta\nid: 1-1\ndata: {\n\n",
        HEAD + b"event: text.delta\nid: one\ndata: {}\n\n",
        HEAD + b"event: \xff\ndata: {}\n\n",
        HEAD + b"event: text.delta\ndata: " + b"x" * (5 * 2**20),
    ],
    ids=["nothing", "rubbish", "500", "redirect", "bad json", "bad id", "bad text", "endless"],
)
async def test_a_peer_that_answers_badly_is_unavailable(answer):
    async with saying(answer) as (url, _), peers_with(KEY) as peers:
        with pytest.raises(Unavailable):
            await hear_all(peers, url)


async def test_a_peer_that_is_not_there_is_unavailable(tmp_path):
    async with peers_with(KEY) as peers:
        with pytest.raises(Unavailable):
            await peers.stop("http://127.0.0.1:1", "t_1", ME, code="interrupted")


async def test_a_peer_is_told_whose_turn_it_is_and_nothing_that_a_user_sent():
    async with saying(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, asked), peers_with(KEY) as peers:
        await peers.stop(url, "t_1", ME, code="cancelled")
    names = {line.split(b":")[0].lower() for line in asked[0].split(b"\r\n")[1:] if line}
    assert names == {
        b"host", b"x-ngx-owner", b"x-ngx-signature", b"accept", b"accept-encoding", b"user-agent", b"content-length",
        b"content-type",
    }  # fmt: skip


GOOD = b'{"instance":"w","threshold":120,"load":1.5,"waiting":3}'
BAD_LOADS = [
    b"",
    b"rubbish",
    b"[]",
    b'{"instance":"w"}',
    b'{"instance":"w","threshold":400,"load":1,"waiting":0}',
    b'{"instance":"w","threshold":-1,"load":1,"waiting":0}',
    b'{"instance":"' + b"w" * 65 + b'","threshold":1,"load":1,"waiting":0}',
    b'{"instance":"w","threshold":1,"load":"\xff","waiting":0}',
]


@pytest.mark.parametrize("load", BAD_LOADS)
async def test_a_load_that_cannot_be_read_changes_nothing(load):
    loads = PeerLoads(clock=SystemClock())
    assert loads.told(GOOD)
    said = b": load " + load + b"\n\nevent: text.delta\nid: 1-1\ndata: {}\n\n"
    answer = HEAD.replace(b"\r\n\r\n", b"\r\nngx-load: " + load + b"\r\n\r\n") + said
    async with (
        saying(answer) as (url, _),
        peers_with(KEY, loads) as peers,
        peers.events(url, "t_1", ME, after=None) as events,
    ):
        assert [event.name async for event in events] == ["text.delta"]
    assert loads.threshold == 120


async def test_every_answer_between_instances_tells_the_load_even_a_refusal(tmp_path):
    loads = PeerLoads(clock=SystemClock())
    async with house(tmp_path) as made, owner_of_turns(made) as (url, client), peers_with(KEY, loads) as peers:
        made.door.threshold.value = 77
        with pytest.raises(Unavailable):
            await peers.stop(url, "t_00NOT", ME, code="cancelled")
        assert [(one.instance, one.threshold) for one in loads.loads] == [("w", 77)]
        async with client.session.get(f"{url}/livez") as answer:
            assert "ngx-load" not in answer.headers


async def test_nobody_without_the_key_is_told_the_load(tmp_path):
    async with (
        house(tmp_path) as made,
        owner_of_turns(made) as (url, client),
        client.session.get(f"{url}/internal/turns/t_1/events") as answer,
    ):
        assert (answer.status, "ngx-load" in answer.headers) == (401, False)


async def test_a_stream_tells_the_load_while_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(peers_module, "TELL_EVERY_S", 0.0)
    loads, team = PeerLoads(clock=SystemClock()), ScriptTeam()
    async with (
        house(tmp_path, team=team) as made,
        owner_of_turns(made) as (url, client),
        peers_with(KEY, loads) as peers,
    ):
        turn_id = await begun(client, "wait a|b")
        async with peers.events(url, turn_id, ME, after=None) as events:
            async for event in events:
                if event.name == "turn.started":
                    assert loads.threshold == EVERYBODY
                    made.door.threshold.value = 99
                    team.release.set()
    assert loads.threshold == 99
