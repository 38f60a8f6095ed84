"""The local model as a process of its own, once for the room's tests; they are skipped without the extra `local`."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from ngx_agents.vertex.local_model import is_installed

needs_local = pytest.mark.skipif(not is_installed(), reason="the extra local is not installed")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(url: str, path: str, body: Any = None, *, token: str | None = None, method: str | None = None) -> Answer:
    """One request to the server whose base URL is `url`."""
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(parts.netloc, timeout=50)
    try:
        connection.request(method or ("GET" if data is None else "POST"), path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def ask(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture(scope="package")
def served_process() -> Iterator[tuple[str, int]]:
    """The base URL and the process id of a local model that asks for no token."""
    command = [sys.executable, "-m", "ngx_agents.vertex.local_model", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"the local model ended with {process.wait()}"
            yield url, process.pid
        finally:
            process.terminate()


@pytest.fixture
def served(served_process: tuple[str, int]) -> str:
    """The base URL of a local model that asks for no token."""
    return served_process[0]
