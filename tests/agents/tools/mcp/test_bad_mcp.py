"""Tool servers that flood, hang, die or talk nonsense: bounded, a typed error, connected again, nothing else harmed."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from aiohttp import web

from ngx_agents.agents.tools.mcp import server as server_module
from ngx_agents.clock import SystemClock
from ngx_agents.errors import RemoteProtocolError, RemoteRefused, RemoteTimeout, RemoteUnavailable
from tests.agents.remote.peers import until
from tests.agents.tools.mcp.peers import AGENT, call, connected, http, script, sdk_http_server, settings, stdio
from tests.ports import free_port


def offered(servers) -> bool:
    return bool(servers.declarations(AGENT))


@pytest.mark.parametrize("command", [("/nonexistent/program",), (sys.executable, "-c", "raise SystemExit(3)"), ("\0",)])
async def test_a_server_that_cannot_be_run_is_absent_and_nothing_else(command):
    async with connected(settings(stdio(*command))) as servers:
        assert not offered(servers)


async def test_a_server_that_says_nothing_does_not_hold_up_the_start(monkeypatch):
    monkeypatch.setattr("ngx_agents.agents.tools.mcp.servers.FIRST_LOOK_S", 0.3)
    began_s = SystemClock().monotonic_s()
    async with connected(settings(script("time.sleep(60)"))) as servers:
        assert SystemClock().monotonic_s() - began_s < 3.0
        assert not offered(servers)


async def test_a_call_that_hangs_ends_at_its_time_and_the_server_stays():
    code = "greet()\ntime.sleep(60)"
    async with connected(settings(script(code), timeout_s=0.5)) as servers:
        with pytest.raises(RemoteTimeout):
            await call(servers, "t")
        assert offered(servers)


async def test_a_server_that_does_not_answer_any_more_is_started_anew(monkeypatch):
    monkeypatch.setattr("ngx_agents.agents.tools.mcp.session.LIST_S", 0.5)
    async with connected(settings(script("greet()\ntime.sleep(60)"), timeout_s=0.2)) as servers:
        for _ in range(server_module.MAX_TIMEOUTS):
            with pytest.raises(RemoteTimeout):
                await call(servers, "t")
        await until(lambda: not offered(servers))
        await until(lambda: offered(servers))


async def test_the_turns_deadline_holds_too():
    async with connected(settings(script("greet()\ntime.sleep(60)"), timeout_s=30.0)) as servers:
        began_s = SystemClock().monotonic_s()
        with pytest.raises(RemoteTimeout):
            await call(servers, "t", timeout_s=1.5)
        assert SystemClock().monotonic_s() - began_s < 5.0


async def test_a_server_that_dies_in_a_call_is_an_error_and_is_started_again():
    async with connected(settings(script("greet()\nhear()\nos._exit(7)"))) as servers:
        with pytest.raises(RemoteUnavailable):
            await call(servers, "t")
        await until(lambda: offered(servers))


FLOODS = {
    "a line without an end": "greet()\nhear()\nwhile True: sys.stdout.write('x' * 65536)",
    "lines that nobody asked for": "greet()\nwhile True: say({'method': 'notifications/x', 'params': 'x' * 65536})",
    "answers to nobody": "greet()\nhear()\nwhile True: say({'id': 999, 'result': 'x' * 65536})",
}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_ends_the_connection_and_not_the_server(what):
    async with connected(settings(script(FLOODS[what]), timeout_s=20.0)) as servers:
        if (found := servers.tool(AGENT, "kitchen__t")) is not None:
            with pytest.raises((RemoteProtocolError, RemoteUnavailable)):
                await call(servers, "t")
            assert found is not None
        await until(lambda: not offered(servers))


@pytest.mark.parametrize(
    "line", ["garbage", "[" * 60_000, '{"id": 1}', '{"id": 3, "result": "no object"}', "\\xff\\xfe", "null"]
)
async def test_nonsense_in_place_of_an_answer_is_a_typed_error(line):
    write = f"sys.stdout.buffer.write({line!r}.encode('latin-1') + b'\\n'); sys.stdout.flush()"
    code = f"greet()\nhear()\n{write}\ntime.sleep(60)"
    async with connected(settings(script(code), timeout_s=1.0)) as servers:
        with pytest.raises((RemoteProtocolError, RemoteTimeout)):
            await call(servers, "t")


async def test_an_error_of_the_servers_is_a_refusal_without_its_words():
    code = (
        "greet()\nm = hear()\nsay({'id': m['id'], 'error': {'code': -32602, 'message': 'inner words'}})\ntime.sleep(60)"
    )
    async with connected(settings(script(code))) as servers:
        with pytest.raises(RemoteRefused) as caught:
            await call(servers, "t")
        assert "inner words" not in str(caught.value)
        assert offered(servers)


async def test_a_tool_that_asks_back_is_refused():
    code = "greet()\nm = hear()\nsay({'id': m['id'], 'result': {'resultType': 'input_required'}})\ntime.sleep(60)"
    async with connected(settings(script(code))) as servers:
        with pytest.raises(RemoteRefused):
            await call(servers, "t")


async def test_calls_beyond_those_allowed_at_once_fail_at_once(monkeypatch):
    monkeypatch.setattr(server_module, "MAX_IN_FLIGHT", 1)
    async with connected(settings(script("greet()\ntime.sleep(60)"), timeout_s=1.0)) as servers:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(_timed_out(servers))
            await asyncio.sleep(0.1)
            with pytest.raises(RemoteUnavailable, match="as many calls"):
                await call(servers, "t")
        assert first.result()


async def _timed_out(servers) -> bool:
    with pytest.raises(RemoteTimeout):
        await call(servers, "t")
    return True


async def test_its_processes_are_ended_with_the_server():
    code = (
        "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        "greet(({'name': str(os.getpid()), 'inputSchema': {}}, {'name': str(child.pid), 'inputSchema': {}}))\n"
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
    )
    async with connected(settings(script(code))) as servers:
        pids = [int(one.name.removeprefix("kitchen__")) for one in servers.declarations(AGENT)]
        assert all(_is_alive(pid) for pid in pids)
    await until(lambda: not any(_is_alive(pid) for pid in pids))


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_tools_that_are_too_large_to_show_or_look_alike_are_left_out():
    tools = (
        "greet(({'name': 'big', 'inputSchema': {'x': 'y' * 20000}}, {'name': 'a.b', 'inputSchema': {}},"
        " {'name': 'a b', 'inputSchema': {}}, {'name': 'n' * 200, 'description': 'd' * 5000, 'inputSchema': {}}))\n"
        "time.sleep(60)"
    )
    async with connected(settings(script(tools))) as servers:
        shown = servers.declarations(AGENT)
    assert [one.name for one in shown] == ["kitchen__a_b", ("kitchen__" + "n" * 200)[:64]]
    assert len(shown[1].description) < 1200


async def test_over_http_away_then_there_then_away_again():
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    async with connected(settings(http(url))) as servers:
        assert not offered(servers)
        with sdk_http_server(port=port):
            await until(lambda: offered(servers), within_s=40.0)
            assert (await call(servers, "orders"))["data"] == {"result": 0}
        with pytest.raises(RemoteUnavailable):
            await call(servers, "orders")
        await until(lambda: not offered(servers))


async def test_over_http_a_redirect_or_a_flood_is_no_connection():
    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("http://169.254.169.254/")

    async def flood(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * (5 * 2**20), content_type="application/json")

    app = web.Application(client_max_size=2**20)
    app.router.add_post("/elsewhere", elsewhere)
    app.router.add_post("/flood", flood)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        for path in ("elsewhere", "flood"):
            async with connected(settings(http(f"http://127.0.0.1:{port}/{path}"))) as servers:
                assert not offered(servers)
    finally:
        await runner.cleanup()


def test_no_server_is_left_behind():
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and _parent(pid) == os.getpid()]
    assert [pid for pid in left if "def greet(" in _command(pid)] == []


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as line:
            return line.read()
    except OSError:
        return ""
