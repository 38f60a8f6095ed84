"""`subscriptions`: memory of turns that wait for their model, and of clients that listen to them."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from benchmarks.effort import Effort
from benchmarks.processes import BenchmarkError, Server, emulator, ngx_server
from benchmarks.report import Line, Outcome
from benchmarks.sampling import QUESTION, stored_conversations

SUBSCRIPTION_BUDGET_KB = 15.0
TURN_BUDGET_KB = 40.0
SUBSCRIPTIONS = 2000
TURNS = 200
WARM_UP_TURNS = 20
STALL_MS = 600_000.0
SETTLE_S = 1.0
BATCH_CLASS = 3  # the deadline of the other classes would end the turns before they are looked at


def subscriptions(effort: Effort) -> Outcome:
    """Turns are held open by a model that does not answer; then clients subscribe, ten to a turn."""
    turns, listeners = effort.count(TURNS), effort.count(SUBSCRIPTIONS)
    _raise_file_limit()
    settings = {
        "NGX_VERTEX_CONNECTION_POOL_SIZE": "512",
        "NGX_TURNS_MAX_RUNNING": "512",
        "NGX_SERVER_DRAIN_S": "0",
        "NGX_EDGE_MAX_STREAMS_PER_USER": "100000",
    }
    with emulator(ttft_ms=STALL_MS) as model, ngx_server(model.url, settings=settings) as server:
        with listening(server, held_turns(server, WARM_UP_TURNS), 10 * WARM_UP_TURNS):
            pass
        before_kb = _settled_rss_kb(server)
        held = held_turns(server, turns)
        with_turns_kb = _settled_rss_kb(server)
        with listening(server, held, listeners) as sockets:
            with_listeners_kb = _settled_rss_kb(server)
            _check_they_listen(server, held, sockets)
    turn_kb = (with_turns_kb - before_kb) / turns
    subscription_kb = (with_listeners_kb - with_turns_kb) / listeners
    lines = [
        Line(what=f"RSS of a running turn, {turns} held", measured=turn_kb, unit="KB", budget=TURN_BUDGET_KB),
        Line(
            what=f"RSS of an idle subscription, {listeners} open",
            measured=subscription_kb,
            unit="KB",
            budget=SUBSCRIPTION_BUDGET_KB,
        ),
    ]
    data = {"before_kb": before_kb, "with_turns_kb": with_turns_kb, "with_listeners_kb": with_listeners_kb}
    return Outcome(name="subscriptions", lines=lines, data=data)


def held_turns(server: Server, count: int) -> list[str]:
    """Starts turns, each in a conversation of its own; their ids."""
    client = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    headers = {
        "authorization": f"Bearer {server.api_key}",
        "content-type": "application/json",
        "prefer": "respond-async",
    }
    turns = []
    for number, conversation in enumerate(stored_conversations(server, count)):
        body = json.dumps({"text": f"{QUESTION} {number}", "class": BATCH_CLASS})  # equal ones would be one call
        client.request("POST", f"/v1/conversations/{conversation}/turns", body, headers)
        answer = client.getresponse()
        told = json.loads(answer.read())
        if answer.status != 202 or told["status"] != "running":
            raise BenchmarkError(f"a turn was not started: {answer.status} {told}")
        turns.append(told["turn_id"])
    client.close()
    return turns


@contextmanager
def listening(server: Server, turns: list[str], count: int) -> Iterator[list[socket.socket]]:
    """Opens `count` event streams, spread over the turns; each has heard its turn's first events."""
    parts = urlsplit(server.url)
    with ExitStack() as stack:
        sockets = []
        for number in range(count):
            one = stack.enter_context(socket.create_connection((parts.hostname or "", parts.port or 80), timeout=10))
            path = f"/v1/turns/{turns[number % len(turns)]}/events"
            one.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {server.api_key}\r\n\r\n".encode())
            sockets.append(one)
        for one in sockets:
            _read_until(one, b"event: turn.started")
        yield sockets


def _read_until(one: socket.socket, sign: bytes) -> None:
    heard = b""
    while sign not in heard:
        piece = one.recv(65536)
        if not piece:
            raise BenchmarkError(f"a subscription ended early: {heard[-300:]!r}")
        heard += piece


def _check_they_listen(server: Server, turns: list[str], sockets: list[socket.socket]) -> None:
    """What is measured must be alive: a cancelled turn tells every one of its listeners."""
    client = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    client.request("POST", f"/v1/turns/{turns[0]}/cancel", headers={"x-api-key": server.api_key})
    if client.getresponse().status != 200:
        raise BenchmarkError("a held turn could not be cancelled")
    client.close()
    for one in sockets[:: len(turns)]:
        _read_until(one, b"event: turn.cancelled")


def _settled_rss_kb(server: Server) -> int:
    time.sleep(SETTLE_S)
    return server.rss_kb()


def _raise_file_limit() -> None:
    """Sockets of both ends count; the server inherits the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
