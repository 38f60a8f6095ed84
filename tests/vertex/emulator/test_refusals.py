"""The error table on the wire: status, body, headers; credentials, models that are not there, bodies too large."""

from __future__ import annotations

import pytest

from ngx_agents.vertex.emulator.refusal import TABLE
from tests.emulator_process import start_emulator
from tests.vertex.emulator.conftest import opened
from tests.vertex.emulator.wire import FLASH, Wire, body, path

MODEL_NAME = f"projects/p/locations/global/publishers/google/models/{FLASH}"
LIMIT_BYTES = 50_000


@pytest.mark.parametrize("name", list(TABLE))
async def test_each_row_has_its_status_word_and_message(wire: Wire, name: str) -> None:
    await wire.script({"kind": "refusal", "name": name})
    answer = await wire.generate(body())
    error = answer.json()["error"]
    row = TABLE[name]
    assert (answer.status, error["code"]) == (row.status, row.status)
    assert error["status"] == error["status"].upper()
    assert error["message"].startswith(row.message.partition("{")[0])
    assert "{" not in error["message"]
    assert (row.reason is None) == ("details" not in error)
    assert (await wire.generate(body())).status == 200


async def test_error_is_pretty_printed_with_the_vendors_headers_and_no_retry_after(wire: Wire) -> None:
    await wire.script({"kind": "status", "status": 429})
    answer = await wire.generate(body())
    assert answer.content.startswith(b'{\n  "error": {\n    "code": 429,\n')
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}
    assert headers == {
        "content-type": "application/json; charset=UTF-8",
        "vary": "Origin, X-Origin, Referer",
        "server": "scaffolding on HTTPServer2",
        "x-content-type-options": "nosniff",
        "alt-svc": 'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000',
        "connection": "close",
    }
    assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert answer.message.startswith(
        "Resource exhausted. Please try again later. Please refer to https://cloud.google.com"
    )


async def test_retry_after_and_content_type_come_only_when_asked_for(wire: Wire) -> None:
    fault = {"kind": "status", "status": 429, "retry_after_s": 3, "content_type": "text/event-stream"}
    await wire.script(fault)
    answer = await wire.stream(body())
    assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("3", "text/event-stream")


async def test_stream_without_events_wraps_its_error_in_the_array(wire: Wire) -> None:
    await wire.script({"kind": "status", "status": 503})
    answer = await wire.post(path("streamGenerateContent"), body())
    assert [each["error"]["code"] for each in answer.json()] == [503]


async def test_permission_and_details_name_the_call(wire: Wire) -> None:
    await wire.script({"kind": "status", "status": 403}, {"kind": "refusal", "name": "token_expired"})
    denied = (await wire.generate(body())).message
    assert denied.startswith("Permission 'aiplatform.endpoints.predict' denied on resource")
    assert f"'//aiplatform.googleapis.com/{MODEL_NAME}'" in denied
    (detail,) = (await wire.generate(body(), version="v1beta1")).json()["error"]["details"]
    assert detail == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "ACCESS_TOKEN_EXPIRED",
        "domain": "googleapis.com",
        "metadata": {
            "service": "aiplatform.googleapis.com",
            "method": "google.cloud.aiplatform.v1beta1.PredictionService.GenerateContent",
        },
    }


@pytest.mark.parametrize(
    ("model", "location", "status"),
    [
        (FLASH, "global", 200),
        (FLASH, "us", 200),
        (FLASH, "eu", 200),
        (FLASH, "europe-west1", 404),
        ("gemini-2.5-flash", "global", 404),
        ("gemini-0", "global", 404),
    ],
)
async def test_model_is_there_or_404(wire: Wire, model: str, location: str, status: int) -> None:
    answer = await wire.generate(body(), model=model, location=location)
    assert answer.status == status
    if status == 404:
        name = f"projects/p/locations/{location}/publishers/google/models/{model}"
        assert answer.message.startswith(
            f"Publisher model `{name}` was not found or your project does not have access to it"
        )


async def test_models_come_and_go_by_order(wire: Wire) -> None:
    await wire.order(models={FLASH: {"retired": True}, "gemini-9": {"locations": ["eu"]}})
    assert (await wire.generate(body())).status == 404
    assert (await wire.generate(body(), model="gemini-9", location="eu")).status == 200
    assert (await wire.generate(body(), model="gemini-9")).status == 404
    await wire.call("DELETE", "/_control")
    assert (await wire.generate(body())).status == 200


async def token(wire: Wire) -> dict[str, str]:
    return {"authorization": f"Bearer {(await wire.post('/token', b'')).json()['access_token']}"}


async def test_token_is_missing_unknown_expired_or_revoked(guarded_wire: Wire) -> None:
    wire = guarded_wire

    async def refused(headers: dict[str, str] | None) -> tuple[int, str]:
        answer = await wire.generate(body(), headers)
        return answer.status, answer.json()["error"]["details"][0]["reason"]

    assert await refused(None) == (401, "CREDENTIALS_MISSING")
    assert await refused({"authorization": "Bearer forged"}) == (401, "ACCESS_TOKEN_TYPE_UNSUPPORTED")
    first = await token(wire)
    assert (await wire.generate(body(), first)).status == 200
    await wire.order(advance_s=3599)
    assert (await wire.generate(body(), first)).status == 200
    await wire.order(advance_s=1)
    assert await refused(first) == (401, "ACCESS_TOKEN_EXPIRED")
    second = await token(wire)
    await wire.order(revoke_tokens=True)
    assert await refused(second) == (401, "ACCESS_TOKEN_TYPE_UNSUPPORTED")


@pytest.mark.parametrize("call", ["countTokens", "embedContent"])
async def test_every_call_needs_credentials_when_some_do(guarded_wire: Wire, call: str) -> None:
    assert (await guarded_wire.post(path(call), body())).status == 401
    assert (await guarded_wire.call("GET", "/v1/projects/p/locations/global/cachedContents")).status == 401
    assert (await guarded_wire.post("/v1/chat/completions", body())).status == 401


async def test_body_over_the_limit_is_refused_and_not_kept() -> None:
    with start_emulator(chunks=1, body_limit_bytes=LIMIT_BYTES) as base_url:
        async for wire in opened(base_url):
            answer = await wire.generate(body("x" * LIMIT_BYTES))
            assert answer.message == f"Request payload size exceeds the limit: {LIMIT_BYTES} bytes."
            assert answer.status == 400
            state = await wire.state()
            assert (state["calls"], state["last_request"], state["in_flight"]) == (1, None, 0)
            assert (await wire.generate(body("x" * (LIMIT_BYTES - 1000)))).status == 200


async def test_callers_own_timeout_ends_a_slow_call_with_504(wire: Wire) -> None:
    await wire.script({"kind": "stall_first", "delay_ms": 30})
    answer = await wire.generate(body(), {"x-server-timeout": "0"})
    assert (answer.status, answer.json()["error"]["status"]) == (504, "DEADLINE_EXCEEDED")
