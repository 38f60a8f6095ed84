"""Agent cards: what they say, how they are kept by caches, and their signatures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from a2a.types import AgentCard
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.protobuf.json_format import ParseDict

from tests.gateway.a2a.wire import Caller, caller

CARD = "/.well-known/agent-card.json"


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Caller]:
    async with caller(tmp_path, "jsonrpc") as made:
        yield made


async def card(on: Caller, path: str = CARD) -> dict[str, Any]:
    async with on.session.get(on.url + path) as answer:
        assert answer.status == 200
        told: dict[str, Any] = await answer.json()
        return told


async def test_a_card_names_every_binding_and_has_all_that_is_required(on: Caller) -> None:
    told = await card(on)
    for name in ("name", "description", "version", "skills", "defaultInputModes", "defaultOutputModes"):
        assert told[name], name
    places = [(one["protocolBinding"], one["protocolVersion"], one["url"]) for one in told["supportedInterfaces"]]
    assert places == [
        ("JSONRPC", "1.0", f"{on.url}/a2a"), ("HTTP+JSON", "1.0", f"{on.url}/a2a/rest"),
        ("JSONRPC", "0.3", f"{on.url}/a2a"), ("HTTP+JSON", "0.3", f"{on.url}/a2a/rest"),
    ]  # fmt: skip
    assert told["capabilities"]["streaming"] is told["capabilities"]["pushNotifications"] is True
    assert all(skill["tags"] for skill in told["skills"])


async def test_an_agent_path_has_a_card_of_its_own(on: Caller) -> None:
    told = await card(on, f"/a2a/agents/parrot{CARD}")
    assert told["name"] == "parrot"
    assert {one["tenant"] for one in told["supportedInterfaces"] if one["protocolVersion"] == "1.0"} == {"parrot"}
    older = [one["url"] for one in told["supportedInterfaces"] if one["protocolVersion"] == "0.3"]
    assert older == [f"{on.url}/a2a/agents/parrot"], "0.3 names no agent in its requests"
    async with on.session.get(f"{on.url}/a2a/agents/nobody{CARD}") as answer:
        assert (answer.status, (await answer.json())["error"]["status"]) == (404, "NOT_FOUND")
    headers = {"A2A-Version": "1.0", "Content-Type": "application/json"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}
    async with on.session.post(f"{on.url}/a2a/agents/parrot", json=body, headers=headers) as answer:
        assert (await answer.json())["result"]["totalSize"] == 0


@pytest.mark.parametrize("path", [CARD, "/.well-known/agent.json", f"/a2a{CARD}"])
async def test_a_card_that_is_known_is_not_sent_again(on: Caller, path: str) -> None:
    async with on.session.get(on.url + path) as answer:
        etag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        assert answer.headers["Last-Modified"].endswith("GMT")
    for known, status in ((etag, 304), (f'"x", W/{etag}', 304), ("*", 304), ('"x"', 200)):
        async with on.session.get(on.url + path, headers={"If-None-Match": known}) as answer:
            assert (answer.status, answer.headers["ETag"]) == (status, etag)
    async with on.session.head(on.url + path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    async with on.session.post(on.url + path) as answer:
        assert answer.status == 405


async def test_both_ends_of_the_address_are_served(on: Caller) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}
    for path in ("/a2a", "/a2a/"):
        async with on.session.post(on.url + path, json=body, headers=on.headers, allow_redirects=False) as answer:
            assert (answer.status, (await answer.json())["result"]["tasks"]) == (200, [])


async def test_a_public_address_is_told_in_place_of_the_callers(tmp_path: Path) -> None:
    async with caller(tmp_path, "jsonrpc", public_url="https://agents.example/", grpc_url="agents.example:443") as on:
        told = await card(on)
        assert [one["url"] for one in told["supportedInterfaces"]] == [
            "https://agents.example/a2a", "https://agents.example/a2a/rest", "agents.example:443",
            "https://agents.example/a2a", "https://agents.example/a2a/rest", "agents.example:443",
        ]  # fmt: skip


async def test_a_signed_card_is_verified_and_a_changed_one_is_not(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    verify = create_signature_verifier(lambda kid, jku: public if kid == "k-1" else b"", ["ES256"])
    async with caller(tmp_path, "jsonrpc", card_key=pem, card_key_id="k-1") as on:
        told = await card(on)
        found = ParseDict(told, AgentCard(), ignore_unknown_fields=True)
        verify(found)
        found.description = "another"
        with pytest.raises(InvalidSignaturesError):
            verify(found)


async def test_a_key_that_cannot_sign_is_an_internal_error_and_no_secret_is_told(tmp_path: Path) -> None:
    async with (
        caller(tmp_path, "jsonrpc", card_key="-----BEGIN nonsense") as on,
        on.session.get(on.url + CARD) as answer,
    ):
        assert answer.status == 500
        assert "nonsense" not in await answer.text()
