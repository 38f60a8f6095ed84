"""One emulator process for the room's tests, its script and counters forgotten before each."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ngx_agents.vertex.content import Content, ModelRequest, Text, ToolDeclaration
from tests.emulator_process import start_emulator

CHUNKS = 12
WEIGHT_TOOL = ToolDeclaration(
    name="log_weight",
    description="Logs the weight of the user in kilograms",
    parameters={
        "type": "object",
        "properties": {"kg": {"type": "number"}, "when": {"type": "string", "enum": ["today", "yesterday"]}},
        "required": ["kg", "when"],
    },
)


@dataclass(frozen=True)
class Emulator:
    """A running emulator and its control."""

    base_url: str

    def script(self, *faults: dict[str, Any]) -> None:
        self._control("POST", {"faults": list(faults)})

    def order(self, **keys: Any) -> None:
        """One order of the control interface."""
        self._control("POST", keys)

    def revoke_tokens(self) -> None:
        self._control("POST", {"revoke_tokens": True})

    def reset(self) -> None:
        self._control("DELETE")

    @property
    def state(self) -> dict[str, Any]:
        return self._control("GET")

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON of a plain call, without our client in between."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, headers or {})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    def _control(self, method: str, body: Any = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.base_url}/_control", data, method=method)
        with urllib.request.urlopen(request) as answer:
            state: dict[str, Any] = json.load(answer)
        return state


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    with start_emulator(chunks=CHUNKS) as base_url:
        yield Emulator(base_url)


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    emulator_process.reset()
    return emulator_process


@pytest.fixture(scope="session")
def guarded_process() -> Iterator[Emulator]:
    with start_emulator(chunks=2, require_auth=True) as base_url:
        yield Emulator(base_url)


@pytest.fixture
def guarded_emulator(guarded_process: Emulator) -> Emulator:
    """An emulator that refuses calls without a token of its own."""
    guarded_process.reset()
    return guarded_process


def ask(text: str = "¿Cómo puedo dormir mejor?", *, timeout_s: float = 10.0, **fields: Any) -> ModelRequest:
    """A request that says `text`, due in `timeout_s`."""
    contents = fields.pop("contents", None) or (user(text),)
    deadline_s = time.monotonic() + timeout_s
    return ModelRequest(system=fields.pop("system", ""), contents=contents, deadline_s=deadline_s, **fields)


def user(text: str) -> Content:
    return Content(role="user", parts=(Text(text=text),))
