"""The document describes what is served, and the page needs nobody else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.gateway.serving import client

SURFACE = """
POST /v1/conversations
GET /v1/conversations
GET /v1/conversations/{conversation_id}
DELETE /v1/conversations/{conversation_id}
GET /v1/conversations/{conversation_id}/messages
POST /v1/conversations/{conversation_id}/turns
GET /v1/turns/{turn_id}
GET /v1/turns/{turn_id}/events
POST /v1/turns/{turn_id}/cancel
POST /v1/batches
GET /v1/batches
GET /v1/batches/{batch_id}
GET /v1/batches/{batch_id}/results
POST /v1/batches/{batch_id}/cancel
POST /v1/me/schedules
GET /v1/me/schedules
GET /v1/me/schedules/{schedule_id}
PUT /v1/me/schedules/{schedule_id}
DELETE /v1/me/schedules/{schedule_id}
POST /v1/me/webhooks
GET /v1/me/webhooks
GET /v1/me/webhooks/{webhook_id}
PATCH /v1/me/webhooks/{webhook_id}
DELETE /v1/me/webhooks/{webhook_id}
POST /v1/me/webhooks/{webhook_id}/test
POST /v1/me/webhooks/{webhook_id}/secret
GET /v1/agents
GET /v1/agents/{agent_id}
GET /v1/me/profile
PUT /v1/me/profile
GET /v1/me/consents
PUT /v1/me/consents/{kind}
POST /v1/me/logs
GET /v1/me/logs
GET /v1/me/artifacts
GET /v1/me/artifacts/{artifact_id}
POST /v1/me/attachments
GET /v1/me/attachments
GET /v1/me/attachments/{attachment_id}
DELETE /v1/me/attachments/{attachment_id}
GET /v1/me/export
DELETE /v1/me
POST /v1/chat/completions
GET /v1/models
GET /v1/models/{model}
POST /mcp
GET /v1/admin/status
GET /v1/admin/audit
GET /v1/admin/meters
GET /v1/admin/keys
POST /v1/admin/keys
POST /v1/admin/keys/{key_id}/rotate
DELETE /v1/admin/keys/{key_id}
GET /v1/admin/revocations
POST /v1/admin/revocations
POST /v1/me/sessions/revoke
GET /v1/admin/mode
PUT /v1/admin/mode
DELETE /v1/admin/mode
GET /v1/admin/plans
PUT /v1/admin/plans/{plan}
DELETE /v1/admin/plans/{plan}
GET /v1/admin/tenants
PUT /v1/admin/tenants/{tenant}
DELETE /v1/admin/tenants/{tenant}
GET /v1/admin/accounts
PUT /v1/admin/accounts/{tenant}/{user}
DELETE /v1/admin/accounts/{tenant}/{user}
GET /v1/admin/flags
PUT /v1/admin/flags/{flag}
DELETE /v1/admin/flags/{flag}
GET /v1/admin/budgets
PUT /v1/admin/budgets/{budget}
DELETE /v1/admin/budgets/{budget}
GET /v1/admin/stops
PUT /v1/admin/stops/{stop}
DELETE /v1/admin/stops/{stop}
GET /livez
GET /readyz
GET /metrics
GET /openapi.json
GET /docs
"""


async def _document(path: Path) -> dict[str, Any]:
    async with client(path) as api:
        status, document = await api.call("GET", "/openapi.json")
    assert status == 200
    return dict(document)


async def test_the_document_has_the_whole_surface(tmp_path: Path) -> None:
    document = await _document(tmp_path)
    calls = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert document["openapi"].startswith("3.1")
    assert calls == set(SURFACE.split("\n")[1:-1])


async def test_every_operation_is_named_once_and_every_reference_leads_somewhere(tmp_path: Path) -> None:
    document = await _document(tmp_path)
    names = [entry["operationId"] for methods in document["paths"].values() for entry in methods.values()]
    assert len(names) == len(set(names))
    references = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert references
    assert references <= set(document["components"]["schemas"])


async def test_the_page_shows_every_path_and_asks_nobody_else(tmp_path: Path) -> None:
    async with client(tmp_path) as api, api.session.get(api.url + "/docs") as response:
        page = await response.text()
        policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert all(line.split(" ")[1] in page for line in SURFACE.strip().split("\n"))
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!/openapi\.json|#)""", page)
