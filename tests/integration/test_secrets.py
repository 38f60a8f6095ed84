"""No secret of a real server comes out of it: in logs, answers, metrics, files or `ngx config`, whatever is done."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import jwt
import pytest
from tests.emulator_process import start_emulator
from tests.postgres_process import PASSWORD, PostgresServer, postgres_server
from tests.server_process import ServerProcess
from tests.valkey_process import valkey

__all__ = ["postgres_server"]

CANARY = {
    "NGX_SECRET_KEY": "canary-one-canary-one-canary-one-1,canary-two-canary-two-canary-two-2",
    "NGX_JWT_SECRET": "canary-jwt-canary-jwt-canary-jwt-canary",
    "NGX_VERTEX_API_KEY": "canary-vertex-canary-vertex",
    "NGX_API_KEY": "canary-client-canary-client",
}
HEALTHY = "¿Cuánta agua bebo? canary-prompt"


def _token(user: str, *, secret: str = CANARY["NGX_JWT_SECRET"], expires_s: float = 600) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + expires_s}, secret, algorithm="HS256")


async def _poked(server: ServerProcess, tokens: list[str]) -> str:
    """All that the server answers to what is good, bad and broken."""
    said = []
    async with aiohttp.ClientSession() as session:
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(f"{server.base_url}/v1/conversations", json={}, headers=headers) as answer:
                said.append(f"{answer.headers}{await answer.text()}")
                made = (await answer.json(content_type=None)).get("id", "c_none")
            path = f"{server.base_url}/v1/conversations/{made}/turns"
            for body in ({"text": HEALTHY}, {"text": 7}, {"nothing": 1}):
                async with session.post(path, json=body, headers=headers) as answer:
                    said.append(f"{answer.headers}{await answer.text()}")
        for path in (
            "/metrics",
            "/readyz",
            "/livez",
            "/openapi.json",
            "/docs",
            "/",
            "/v1/nothing",
            "/internal/turns/x/events",
        ):
            async with session.get(server.base_url + path) as answer:
                said.append(f"{answer.headers}{await answer.text()}")
    return "\n".join(said)


def _files(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


@pytest.mark.timeout(120)
async def test_no_sink_shows_a_secret(
    tmp_path: Path, postgres_server: PostgresServer, capfd: pytest.CaptureFixture[str]
) -> None:
    tokens = [_token("ana"), _token("ana", expires_s=-900), _token("ana", secret="x" * 40), "ngx_canary-guess" * 3]
    with start_emulator(chunks=3) as model_url, valkey() as shared:
        shared.say("CONFIG", "SET", "requirepass", "canary-redis")
        environ = {
            **CANARY,
            "NGX_AUTH": "jwt",
            "NGX_JOURNAL_URL": postgres_server.url(await postgres_server.create_database()),
            "NGX_REDIS_URL": f"redis://:canary-redis@127.0.0.1:{shared.port}/0",
            "NGX_VERTEX_BASE_URL": model_url,
            "NGX_SERVER_LOG_LEVEL": "debug",
        }
        with ServerProcess(tmp_path, **environ) as server:
            said = await _poked(server, tokens)
            shared.kill()
            said += await _poked(server, tokens[:1])
            await asyncio.to_thread(server.stop)
    written = _files(tmp_path)
    logged = "".join(capfd.readouterr())
    ngx = Path(sys.executable).with_name("ngx")
    for flags in (["config"], ["config", "--json"]):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NGX_")}
        done = await asyncio.to_thread(
            subprocess.run, [str(ngx), *flags], env={**inherited, **environ}, capture_output=True, text=True, check=True
        )
        said += done.stdout + done.stderr
    assert '"text":"' in said
    assert "gateway" in logged or '"event"' in logged
    secrets = [part for value in CANARY.values() for part in value.split(",")]
    secrets += ["canary-redis", PASSWORD, PASSWORD.replace(" ", "%20"), *tokens]
    for sink, text in {"answers": said, "logs": logged, "files": written}.items():
        assert [secret for secret in secrets if secret in text] == [], sink
    assert "canary-prompt" not in logged
