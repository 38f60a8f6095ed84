"""The server against its own document: generated requests, good and bad, never break it or its promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway.serving import house, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a loop and thread of its own, because the generated calls block."""
    found: list[str] = []
    is_up, must_stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with house(tmp_path_factory.mktemp("schemathesis")) as made, served(made.app) as base:
            found.append(base)
            is_up.set()
            await asyncio.to_thread(must_stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="gateway-under-test")
    thread.start()
    assert is_up.wait(20)
    yield found[0]
    must_stop.set()
    thread.join()


def _real_ids(url: str) -> dict[str, str]:
    """Something that exists, for the calls that need it. What a generated call may have stopped is let go."""
    for stopped in ("mode", "stops/all"):
        requests.delete(f"{url}/v1/admin/{stopped}", timeout=10)
    conversation = requests.post(f"{url}/v1/conversations", json={}, timeout=10).json()
    turns = f"{url}/v1/conversations/{conversation['id']}/turns"
    attachment = requests.post(
        f"{url}/v1/me/attachments", data=b"nota", headers={"Content-Type": "text/plain"}, timeout=10
    ).json()
    turn = requests.post(turns, json={"text": "artifact Week"}, timeout=10).json()
    return {
        "conversation_id": conversation["id"],
        "turn_id": turn["turn_id"],
        "artifact_id": turn["artifacts"][0]["id"],
        "attachment_id": attachment["id"],
        "agent_id": "owl",
        "model": "owl",
    }


def _check(operation: Any, url: str, session: requests.Session) -> None:
    real_ids = _real_ids(url)

    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    )
    def keeps_its_promises(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, session=session, timeout=10)
        named = set(case.path_parameters or {}) & set(real_ids)
        if named and case.method != "DELETE":
            case.path_parameters = {**case.path_parameters, **{name: real_ids[name] for name in named}}
            case.call_and_validate(checks=CHECKS[:4], session=session, timeout=10)

    keeps_its_promises()


@pytest.mark.timeout(180)
def test_every_operation_keeps_its_promises(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    with requests.Session() as session:
        for operation in operations:
            _check(operation, url, session)
    assert len(operations) == 81, "all of them but the document itself"
