"""What a hostile client may do with a connection, over real sockets: answered or cut in bounded time and memory."""

from __future__ import annotations

import asyncio
import json
import ssl
import time

import aiohttp
import pytest
import trustme

from ngx_agents.app.door import Bounds
from ngx_agents.errors import ConfigError
from tests.app.edge_serving import Echo, Served, edge

QUICK = Bounds(header_bytes=8_192, header_s=0.4, body_bytes_per_s=1_000, body_grace_s=0.4, stalled_s=0.5)
HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"


def _problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    return int(head.split(b" ", 2)[1]), json.loads(body)["code"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        HEAD + b"X-Long: " + b"a" * 100_000,
        HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"X-Long: " + b"a" * 8_192 + b"\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["one header", "a header without end", "many headers", "the path", "a little too much"],
)
async def test_headers_are_bounded(request_bytes: bytes) -> None:
    app = Echo()
    async with edge(app, QUICK) as served:
        answer = await served.raw(request_bytes)
        assert answer == b"" or _problem(answer) == (431, "headers_too_large")
        assert app.scopes == []
        assert 'ngx_connections_refused_total{bound="header_bytes"} 1.0' in served.metrics


async def test_headers_within_the_bound_pass_in_one_piece_or_many() -> None:
    request = HEAD + b"X-Long: " + b"a" * 8_000 + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with edge(Echo(), QUICK) as served:
        assert b" 200 OK" in await served.raw(request)
        reader, writer = await asyncio.open_connection(*served.address)
        for start in range(0, len(request), 1_000):
            writer.write(request[start : start + 1_000])
            await asyncio.sleep(0.002)
        assert b" 200 OK" in await reader.read()
        writer.close()


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_what_is_not_http_gets_a_problem(junk: bytes) -> None:
    async with edge(Echo(), QUICK) as served:
        assert _problem(await served.raw(junk)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: -1\r\n\r\n",
    ],
)
async def test_a_body_of_two_lengths_is_refused(smuggled: bytes) -> None:
    app = Echo()
    async with edge(app, QUICK) as served:
        assert _problem(await served.raw(HEAD + smuggled)) == (400, "invalid_request")


async def test_requests_that_pile_up_on_one_connection_are_bounded() -> None:
    app = Echo()
    async with edge(app, QUICK) as served:
        answer = await served.raw(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
        assert answer == b"" or b" 400 " in answer
        assert len(app.scopes) <= 1


async def test_a_few_requests_at_once_are_answered_in_order() -> None:
    async with edge(Echo(), QUICK) as served:
        bodies = b"".join(HEAD + b"Content-Length: %d\r\n\r\n" % size + b"a" * size for size in range(8))
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(bodies)
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 8:
            answers += await reader.read(65_536)
        writer.close()
    assert [int(part.rpartition(b"\r\n\r\n")[2]) for part in answers.split(b"HTTP/1.1 200")[1:]] == list(range(8))


async def _drip(served: Served, first: bytes, drop: bytes) -> tuple[bytes, float]:
    """What comes back while a drop is sent every 50 ms, and after how many seconds the connection ended."""
    reader, writer = await asyncio.open_connection(*served.address)
    began_s = time.monotonic()
    writer.write(first)
    reading = asyncio.ensure_future(reader.read())
    while not reading.done() and time.monotonic() - began_s < 10:
        writer.write(drop)
        await asyncio.sleep(0.05)
    try:
        answer = await reading
    except ConnectionError:
        answer = b""
    writer.close()
    return answer, time.monotonic() - began_s


async def test_headers_that_never_end_are_given_up() -> None:
    async with edge(Echo(), QUICK) as served:
        answer, took_s = await _drip(served, HEAD, b"X: y\r\n")
        assert answer == b"" or _problem(answer) == (408, "too_slow")
        assert took_s < 5
        assert 'ngx_connections_refused_total{bound="header_time"} 1.0' in served.metrics


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with edge(Echo(), QUICK) as served:
        assert await served.raw(b"") == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_that_never_ends_is_given_up(framing: bytes) -> None:
    app = Echo()
    async with edge(app, QUICK) as served:
        drop = b"a" if framing.startswith(b"C") else b"1\r\na\r\n"
        answer, took_s = await _drip(served, HEAD + framing, drop)
        assert answer == b"" or _problem(answer) == (408, "too_slow")
        assert took_s < 5
        await asyncio.sleep(0.1)
        assert app.broken == 1


async def test_a_body_that_waits_for_a_slow_application_is_not_the_clients_fault() -> None:
    async with edge(Echo(), QUICK) as served, aiohttp.ClientSession() as session:
        url = "http://{}:{}/slow".format(*served.address)
        async with session.post(url, data=b"a" * 400_000) as answer:
            assert await answer.text() == "400000"


async def test_a_reader_that_stalls_is_cut_off_and_the_others_notice_nothing() -> None:
    async with edge(Echo(), QUICK) as served, aiohttp.ClientSession() as session:
        reader, writer = await asyncio.open_connection(*served.address, limit=1_024)
        writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(100)
        began_s, took_s = time.monotonic(), []
        while 'bound="stalled"} 0' in served.metrics and time.monotonic() - began_s < 10:
            asked_s = time.monotonic()
            async with session.get("http://{}:{}/x".format(*served.address)) as answer:
                assert answer.status == 200
            took_s.append(time.monotonic() - asked_s)
            await asyncio.sleep(0.02)
        assert 'ngx_connections_refused_total{bound="stalled"} 1.0' in served.metrics
        assert sorted(took_s)[len(took_s) // 2] < 0.1
        writer.close()


async def test_half_a_request_during_an_answer_ends_the_connection_and_not_the_meaning_of_the_answer() -> None:
    async with edge(Echo(), Bounds(header_s=0.3)) as served:
        reader, writer = await asyncio.open_connection(*served.address, limit=1_024)
        writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET /x HTTP/1.1\r\nHost")
        answer = b""
        await asyncio.sleep(1.0)
        while piece := await reader.read(2**20):
            answer += piece
        writer.close()
        assert b" 200 OK" in head
        assert answer.strip(b".") == b""
        assert 'bound="header_time"} 1.0' in served.metrics


async def test_too_many_connections_are_told_so_and_make_room_again() -> None:
    async with edge(Echo(), Bounds(max_connections=3)) as served:
        held = [await asyncio.open_connection(*served.address) for _ in range(3)]
        answer = await served.raw(b"")
        assert answer == b"" or _problem(answer) == (503, "overloaded")
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        assert b" 200 OK" in await served.raw(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_one_address_gets_its_share_and_no_more() -> None:
    async with edge(Echo(), Bounds(max_per_address=2)) as served:
        held = [await asyncio.open_connection(*served.address) for _ in range(2)]
        answer = await served.raw(b"")
        assert answer == b"" or _problem(answer) == (503, "overloaded")
        assert 'ngx_connections_refused_total{bound="address"} 1.0' in served.metrics
        for _, writer in held:
            writer.close()


async def test_a_thousand_slow_clients_leave_room_for_the_others() -> None:
    async with edge(Echo(), QUICK) as served, aiohttp.ClientSession() as session:
        slow = [await asyncio.open_connection(*served.address) for _ in range(1_000)]
        for _, writer in slow:
            writer.write(HEAD)
        async with session.get("http://{}:{}/x".format(*served.address)) as answer:
            assert answer.status == 200
        async with asyncio.timeout(10):
            await asyncio.gather(*(reader.read() for reader, _ in slow))
        for _, writer in slow:
            writer.close()
        assert 'bound="header_time"} 1000.0' in served.metrics


FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("proxies", "client", "scheme"),
    [
        ("", "127.0.0.1", "http"),
        ("10.0.0.0/8", "127.0.0.1", "http"),
        ("127.0.0.0/8", "203.0.113.9", "https"),
    ],
)
async def test_only_a_configured_proxy_is_believed(proxies: str, client: str, scheme: str) -> None:
    app = Echo()
    async with (
        edge(app, NGX_EDGE_TRUSTED_PROXIES=proxies) as served,
        aiohttp.ClientSession(headers=FORWARDED) as session,
        session.get("http://{}:{}/".format(*served.address)) as answer,
    ):
        assert answer.status == 200
    assert (app.scopes[0]["client"][0], app.scopes[0]["scheme"]) == (client, scheme)


async def test_what_a_client_claims_in_front_of_the_proxys_word_is_not_believed() -> None:
    app = Echo()
    async with (
        edge(app, NGX_EDGE_TRUSTED_PROXIES="127.0.0.1") as served,
        aiohttp.ClientSession(headers={"X-Forwarded-For": "1.1.1.1, 203.0.113.9"}) as session,
        session.get("http://{}:{}/".format(*served.address)) as answer,
    ):
        assert answer.status == 200
    assert app.scopes[0]["client"][0] == "203.0.113.9"


async def test_tls_in_the_process(tmp_path) -> None:  # type: ignore[no-untyped-def]
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    app = Echo()
    environ = {"NGX_SERVER_TLS_CERT": str(cert), "NGX_SERVER_TLS_KEY": str(key)}
    async with edge(app, QUICK, **environ) as served, aiohttp.ClientSession() as session:
        async with session.get("https://{}:{}/".format(*served.address), ssl=trusting) as answer:
            assert answer.status == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*served.address, ssl=old)
    assert app.scopes[0]["scheme"] == "https"


async def test_a_certificate_that_cannot_be_used_is_one_clear_error(tmp_path) -> None:  # type: ignore[no-untyped-def]
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(ConfigError, match="tls_cert and tls_key cannot be used"):
        async with edge(Echo(), NGX_SERVER_TLS_CERT=str(broken), NGX_SERVER_TLS_KEY=str(broken)):
            pass
