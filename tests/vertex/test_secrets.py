"""No key and no token in any place where people or machines look: logs, metrics, errors, tracebacks, reprs."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ModelError
from ngx_agents.telemetry import log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.credentials import GoogleCredentials, credentials_for
from ngx_agents.vertex.settings import VertexSettings
from tests.vertex.conftest import Emulator, ask
from tests.vertex.service_accounts import private_key, write_account
from tests.vertex.wire_server import refused_origin

PATIENT: dict[str, Any] = {"retry_delay": 0.001, "circuit_breaker_threshold": 1000}
API_KEY = "AIza-a-very-secret-key"
FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 401, "times": 2},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
    {"kind": "html"},
    {"kind": "reset", "times": 9},
    {"kind": "truncated", "times": 9},
]


class Sinks:
    """Everything that was said."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.logged = io.StringIO()
        self.texts: list[str] = []

    def saw(self, *things: object) -> None:
        for thing in things:
            self.texts += [str(thing), repr(thing)]
            if isinstance(thing, BaseException):
                self.texts += traceback.format_exception(thing)

    def everything(self) -> str:
        return "\n".join([*self.texts, self.logged.getvalue(), self.metrics.render().decode()])


@pytest.fixture
def sinks() -> Iterator[Sinks]:
    """With all logs at the finest level, those of the libraries too."""
    found = Sinks()
    handler = logging.StreamHandler(found.logged)
    root, ours = logging.getLogger(), logging.getLogger(log.ROOT)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    log.configure("debug", found.logged)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)
    ours.handlers[:] = []
    ours.propagate = True
    ours.setLevel(logging.NOTSET)


async def provoke(client: VertexAIClient, emulator: Emulator, sinks: Sinks) -> None:
    """One good call, then every fault, whole and streamed."""
    sinks.saw(client, client.settings, await client.generate(ask()))
    for fault in FAULTS:
        for streams in (False, True):
            emulator.script(fault)
            try:
                if streams:
                    sinks.saw(*[event async for event in client.stream(ask(timeout_s=1))])
                else:
                    sinks.saw(await client.generate(ask(timeout_s=1)))
            except ModelError as exc:
                sinks.saw(exc, exc.__cause__)
    emulator.script()


@pytest.mark.parametrize("transport", ["pyreqwest", "aiohttp"])
async def test_tokens_and_private_keys_are_nowhere_to_be_seen(
    guarded_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sinks: Sinks, transport: Any
) -> None:
    account = write_account(tmp_path / "account.json", guarded_emulator.base_url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    url = guarded_emulator.base_url
    settings = VertexSettings(base_url=url, use_google_credentials=True, transport=transport, project="p")
    async with VertexAIClient(settings=settings, metrics=sinks.metrics, **PATIENT) as client:
        sinks.saw(await client.generate(ask()))
        guarded_emulator.revoke_tokens()
        await provoke(client, guarded_emulator, sinks)
    credentials = GoogleCredentials(SystemClock())
    headers = await credentials.headers(ask().deadline_s)
    sinks.saw(credentials)
    said = sinks.everything()
    assert len(said) > 10_000, "the sinks were really filled"
    assert headers["authorization"].removeprefix("Bearer ").startswith("emulated-token-")
    for secret in ("emulated-token-", *private_key().splitlines()[1:3]):
        assert secret not in said


async def test_api_keys_are_nowhere_to_be_seen(guarded_emulator: Emulator, sinks: Sinks) -> None:
    settings = VertexSettings(base_url=guarded_emulator.base_url, project="p", api_key=API_KEY)
    async with VertexAIClient(settings=settings, metrics=sinks.metrics, **PATIENT) as client:
        await provoke(client, guarded_emulator, sinks)
    sinks.saw(settings, credentials_for(settings, SystemClock()))
    assert guarded_emulator.state["last_headers"]["x-goog-api-key"] == API_KEY
    assert API_KEY not in sinks.everything()


@pytest.mark.parametrize("spoilt", ["key", "url", "json"])
async def test_credentials_that_cannot_be_used_do_not_tell_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sinks: Sinks, spoilt: str
) -> None:
    path = write_account(tmp_path / "account.json", refused_origin())
    text = path.read_text()
    lines = private_key().splitlines()
    if spoilt == "key":
        text = text.replace(lines[5], "spoilt")
    if spoilt == "json":
        text = text[:-1]
    path.write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(ModelError) as raised:
        await GoogleCredentials(SystemClock()).headers(ask(timeout_s=8).deadline_s)
    sinks.saw(raised.value, raised.value.__cause__)
    said = sinks.everything()
    assert not any(line in said for line in lines[1:-1])
