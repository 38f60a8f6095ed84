"""The JavaScript SDK's client, installed by npm from its lock file, against the test agent."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.a2a.wire import serving

HERE = Path(__file__).parent / "js"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js and npm"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "js"
    shutil.copytree(HERE, made)
    yield made
    shutil.rmtree(made)


async def run(folder: Path, *words: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *words, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode == 0, err.decode()[-2000:]
    return out


async def test_the_javascript_client_gets_along_on_both_http_bindings(tmp_path: Path, folder: Path) -> None:
    await run(folder, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    async with serving(tmp_path) as (url, _):
        for binding in ("JSONRPC", "HTTP+JSON"):
            found: dict[str, Any] = json.loads(await run(folder, "node", "client.mjs", url, binding))
            assert found["sent"]["artifacts"][0]["parts"][0]["content"]["value"] == "hello"
            kinds = [event["payload"]["$case"] for event in found["events"]]
            assert kinds[:2] == ["task", "statusUpdate"]
            assert kinds[-1] == "statusUpdate"
            assert found["events"][-1]["payload"]["value"]["status"]["state"] == found["got"] == 3
            assert found["resumed"]["status"]["state"] == 3
            assert found["message"]["parts"][0]["content"]["value"] == "hi"
            assert (found["missing"], found["uncancelable"]) == ("TaskNotFoundError", "TaskNotCancelableError")
