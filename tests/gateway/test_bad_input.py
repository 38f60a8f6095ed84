"""What a careless or hostile client may send, over the wire: always a typed problem, never a 500, never a turn."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import jwt

from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import Client, client

SECRET = "0123456789abcdef0123456789abcdef"
UNKNOWN = "c_00" + "0" * 26
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Bad:
    """A body for the turn route of a good conversation, and what it must be answered with."""

    body: bytes
    status: int
    code: str = "invalid_request"
    field: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def _text(text: str, **more: object) -> bytes:
    return json.dumps({"text": text, **more}, ensure_ascii=False).encode()


BAD_TURNS = {
    "malformed JSON": Bad(b'{"text": "a"', 400),
    "no JSON at all": Bad(b"hello", 400),
    "empty body": Bad(b"", 400),
    "an array": Bad(b"[1]", 400),
    "text of a wrong type": Bad(b'{"text": 7}', 400, field="text"),
    "unknown field": Bad(_text("a", colour="red"), 400, field="colour"),
    "attachment": Bad(_text("a", attachment=[]), 400, field="attachment"),
    "empty text": Bad(_text(""), 400, field="text"),
    "blank text": Bad(_text(" \n"), 400, field="text"),
    "text of 32,001 characters": Bad(_text("a" * 32_001), 400, field="text"),
    "text of 100,000 characters": Bad(_text("á" * 100_000), 400, field="text"),
    "NUL in the text": Bad(b'{"text": "a\\u0000b"}', 400, field="text"),
    "invalid UTF-8": Bad(b'{"text": "\xff\xfe"}', 400),
    "lone surrogate": Bad(b'{"text": "\\ud800"}', 400),
    "lone surrogate inside": Bad(b'{"text": "a \\udfff b"}', 400),
    "unknown agent": Bad(_text("a", agent="nobody"), 400, field="agent"),
    "class out of range": Bad(_text("a", **{"class": 9}), 400, field="class"),
    "critical by a body alone": Bad(_text("a", **{"class": 0}), 403, "forbidden"),
    "unknown busy policy": Bad(_text("a", when_busy="never"), 400, field="when_busy"),
    "nested too deep": Bad(b'{"text": ' + b"[" * 50_000, 400, field="text"),
    "10 MB body": Bad(b'{"text": "' + b"a" * 10_000_000 + b'"}', 413, "body_too_large"),
    "a form": Bad(b"text=a", 415, "unsupported_media_type", headers=(("Content-Type", "text/plain"),)),
    "no media type": Bad(_text("a"), 415, "unsupported_media_type", headers=(("Content-Type", ""),)),
    "blank idempotency key": Bad(_text("a"), 400, field="Idempotency-Key", headers=(("Idempotency-Key", "a b"),)),
    "endless idempotency key": Bad(
        _text("a"), 400, field="Idempotency-Key", headers=(("Idempotency-Key", "a" * 256),)
    ),
}  # fmt: skip


def _as(user: str) -> dict[str, str]:
    token = jwt.encode({"sub": user, "exp": 4_000_000_000}, SECRET, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


GUARDED = GatewaySettings(auth=AuthSettings(mode="jwt", jwt_secret=SECRET))


async def test_every_bad_turn_gets_its_problem_and_leaves_nothing(tmp_path: Path) -> None:
    wrong = {}
    async with client(tmp_path, GUARDED) as api:
        conversation_id = await api.conversation(headers=_as("ana"))
        path = f"/v1/conversations/{conversation_id}/turns"
        for name, bad in BAD_TURNS.items():
            status, problem = await api.call(
                "POST", path, data=BytesIO(bad.body), headers={**JSON, **dict(bad.headers), **_as("ana")}
            )
            if (status, problem["code"], problem.get("field")) != (bad.status, bad.code, bad.field):
                wrong[name] = (status, problem)
        _, page = await api.call("GET", f"/v1/conversations/{conversation_id}/messages", headers=_as("ana"))
    assert wrong == {}
    assert page["items"] == []


async def test_an_unknown_conversation_and_someone_elses_look_the_same(tmp_path: Path) -> None:
    async with client(tmp_path, GUARDED) as api:
        anas = await api.conversation(headers=_as("ana"))
        _, turn = await api.say(anas, "say hello", headers=_as("ana"))
        for method, path in (
            ("POST", "/v1/conversations/{}/turns"),
            ("GET", "/v1/conversations/{}"),
            ("DELETE", "/v1/conversations/{}"),
            ("GET", "/v1/conversations/{}/messages"),
        ):
            answers = [await _asked(api, method, path.format(each)) for each in (anas, UNKNOWN, "c_nonsense", "%00")]
            assert [status for status, _ in answers] == [404] * 4, (method, path, answers)
            assert answers[0][1] == answers[1][1]
        for suffix in ("", "/events"):
            answers = [await _asked(api, "GET", f"/v1/turns/{each}{suffix}") for each in (turn["turn_id"], "t_x")]
            assert [status for status, _ in answers] == [404, 404]
        assert (await _asked(api, "POST", f"/v1/turns/{turn['turn_id']}/cancel"))[0] == 404
        assert (await api.call("GET", "/v1/conversations", headers=_as("bob")))[1]["items"] == []


async def _asked(api: Client, method: str, path: str) -> tuple[int, object]:
    """As bob; the request's own id is left out of the answer."""
    more = {"json": {"text": "let me in"}} if method == "POST" else {}
    status, problem = await api.call(method, path, headers=_as("bob"), **more)
    problem.pop("request_id")
    return status, problem


async def test_a_wrong_last_event_id_is_refused(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        _, turn = await api.say(await api.conversation(), "say hello")
        for value in ("x", "1", "-1-2", "1-2-3", "9" * 5000, "1-x"):
            status, problem = await api.call(
                "GET", f"/v1/turns/{turn['turn_id']}/events", headers={"Last-Event-ID": value}
            )
            assert (status, problem["field"]) == (400, "Last-Event-ID"), value


async def test_a_chunked_body_is_cut_off_at_the_bound(tmp_path: Path) -> None:
    sent = 0

    async def endless():  # type: ignore[no-untyped-def]
        nonlocal sent
        yield b'{"text": "'
        for _ in range(160):
            sent += 65_536
            yield b"a" * 65_536

    async with client(tmp_path) as api:
        path = f"/v1/conversations/{await api.conversation()}/turns"
        try:
            status, _ = await api.call("POST", path, data=endless(), headers=JSON)
            assert status == 413
        except (ConnectionError, OSError):
            assert sent < 160 * 65_536


async def _raw(url: str, request: bytes, *, read_bytes: int = 0) -> None:
    """Sends, reads a little, and leaves without a word."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    await writer.drain()
    if read_bytes:
        await reader.read(read_bytes)
    writer.transport.abort()


async def test_a_client_may_leave_at_any_byte_of_its_request_and_answer(tmp_path: Path) -> None:
    team = ScriptTeam()
    async with client(tmp_path, team=team) as api:
        conversation_id = await api.conversation()
        body = _text("say still here")
        head = (
            f"POST /v1/conversations/{conversation_id}/turns HTTP/1.1\r\nHost: localhost\r\n"
            f"Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        request = head + body
        for cut in (1, len(head) // 2, len(head), len(head) + 3, len(request)):
            await _raw(api.url, request[:cut])
        for read_bytes in (1, 200):
            await _raw(api.url, request, read_bytes=read_bytes)
        status, turn = await api.say(conversation_id, "say goodbye")
        _, page = await api.call("GET", f"/v1/conversations/{conversation_id}/messages")
    assert (status, turn["text"]) == (200, "goodbye")
    answers = [message["text"] for message in page["items"] if message["role"] == "assistant"]
    assert answers.count("still here") >= 2, "the turns of clients that left were answered all the same"
    assert len(page["items"]) == 2 * len(answers)


async def test_an_unknown_path_and_a_wrong_method_are_problems(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        status, problem = await api.call("GET", "/v1/nothing")
        assert (status, problem["code"]) == (404, "not_found")
        async with api.session.put(api.url + "/v1/conversations", json={}) as response:
            assert (response.status, response.headers["allow"]) == (405, "GET, POST")
            assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_without_credentials_nothing_of_v1_is_served(tmp_path: Path) -> None:
    async with client(tmp_path, GUARDED) as api:
        for method, path in (("GET", "/v1/me/export"), ("POST", "/v1/chat/completions"), ("GET", "/v1/agents")):
            async with api.session.request(method, api.url + path, json={}) as response:
                assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")
        assert (await api.call("GET", "/livez"))[0] == 200
