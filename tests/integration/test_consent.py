"""A server that keeps health data only of users who agreed to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
from tests.server_process import ServerProcess

AGREED = {"version": "2026-11", "is_given": True}
REFUSED = {"version": "2026-11", "is_given": False}
WEIGHT = {"kind": "weight", "data": {"kg": 81.2}}


async def test_health_data_are_kept_only_while_their_user_agrees(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, NGX_JOURNAL_HEALTH_CONSENT="true") as server:
        async with aiohttp.ClientSession(server.base_url) as session:

            async def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
                async with session.request(method, path, json=body) as answer:
                    return answer.status, await answer.json()

            _, conversation = await call("POST", "/v1/conversations", {})
            turns = f"/v1/conversations/{conversation['id']}/turns"
            status, problem = await call("POST", "/v1/me/logs", WEIGHT)
            assert (status, problem["code"]) == (403, "consent_required")
            status, problem = await call("PUT", "/v1/me/profile", {"name": "Ana", "allergies": ["nuez"]})
            assert (status, problem["code"]) == (403, "consent_required")
            assert (await call("PUT", "/v1/me/profile", {"name": "Ana"}))[0] == 200
            status, turn = await call("POST", turns, {"text": "hoy peso 81,2 kg"})
            assert (status, turn["status"]) == (200, "completed")
            assert "consentimiento" in turn["text"]
            assert (await call("GET", "/v1/me/logs"))[1]["items"] == []

            await call("PUT", "/v1/me/consents/health", AGREED)
            assert (await call("POST", "/v1/me/logs", WEIGHT))[0] == 201
            _, turn = await call("POST", turns, {"text": "hoy peso 81,0 kg"})
            assert "consentimiento" not in turn["text"]
            assert [one["data"]["kg"] for one in (await call("GET", "/v1/me/logs"))[1]["items"]] == [81.0, 81.2]

            await call("PUT", "/v1/me/consents/health", REFUSED)
            assert (await call("POST", "/v1/me/logs", WEIGHT))[0] == 403
