"""The client against the emulator, over the wire, with every fault the emulator can play."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
import pytest_asyncio

from ngx_agents import errors
from ngx_agents.errors import ConfigError, ModelBlocked, ModelTimeout, ModelUnavailable, NgxError
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import Content, ModelReply, ModelRequest, StreamEnd, TextChunk, ToolResult
from ngx_agents.vertex.settings import VertexSettings
from tests.vertex.conftest import CHUNKS, WEIGHT_TOOL, Emulator, ask, user
from tests.vertex.wire_server import refused_origin

Provider = Literal["vertex", "openai"]


def settings_for(emulator: Emulator, **fields: Any) -> VertexSettings:
    url = emulator.base_url
    return VertexSettings(base_url=url, project="p", **{"openai_url": f"{url}/v1", **fields})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest_asyncio.fixture
async def client(emulator: Emulator, metrics: Metrics) -> AsyncIterator[VertexAIClient]:
    async with VertexAIClient(settings=settings_for(emulator), metrics=metrics, max_retries=0) as client:
        yield client


@pytest_asyncio.fixture(params=["vertex/pyreqwest", "openai/aiohttp"])
async def any_client(emulator: Emulator, request: pytest.FixtureRequest) -> AsyncIterator[VertexAIClient]:
    provider, transport = request.param.split("/")
    settings = settings_for(emulator, provider=provider, transport=transport)
    async with VertexAIClient(settings=settings, max_retries=0) as client:
        yield client


async def streamed(client: VertexAIClient, request: ModelRequest) -> tuple[list[str], ModelReply]:
    texts: list[str] = []
    async for event in client.stream(request):
        if isinstance(event, StreamEnd):
            return texts, event.reply
        assert isinstance(event, TextChunk)
        texts.append(event.text)
    raise AssertionError("the stream had no end")


async def fails(client: VertexAIClient, emulator: Emulator, fault: dict[str, Any], *, streams: bool) -> NgxError:
    emulator.script(fault)
    with pytest.raises(NgxError) as raised:
        await (streamed(client, ask(timeout_s=2, on_cut="stop")) if streams else client.generate(ask(timeout_s=2)))
    return raised.value


async def test_answer_mentions_what_was_asked_and_counts_tokens(any_client: VertexAIClient) -> None:
    reply = await any_client.generate(ask("¿Cómo puedo dormir mejor?", system="Sé amable"))
    assert "¿Cómo puedo dormir mejor?" in reply.text
    assert reply.text.startswith("Has preguntado")
    assert reply.finish_reason == "stop"
    assert 5 < reply.usage.input_tokens < 100
    assert reply.usage.output_tokens > 10
    assert reply.provider == any_client.settings.provider


async def test_stream_adds_up_to_its_reply(any_client: VertexAIClient) -> None:
    texts, reply = await streamed(any_client, ask("What helps my sleep?"))
    assert len(texts) == CHUNKS
    assert "".join(texts) == reply.text
    assert "What helps my sleep?" in reply.text
    assert reply.usage.output_tokens > 10


async def test_tool_is_called_and_its_result_answered(any_client: VertexAIClient) -> None:
    asked = user("Please log my weight: 81.5 kg, yesterday")
    first = await any_client.generate(ask(contents=(asked,), tools=(WEIGHT_TOOL,)))
    (call,) = first.calls
    assert (call.name, call.arguments) == ("log_weight", {"kg": 81.5, "when": "yesterday"})
    result = ToolResult(name=call.name, response={"stored": 81.5}, id=call.id)
    contents = (asked, first.content, Content(role="user", parts=(result,)))
    _, reply = await streamed(any_client, ask(contents=contents, tools=(WEIGHT_TOOL,)))
    assert 'log_weight: {"stored":81.5}' in reply.text
    assert reply.calls == ()


async def test_output_bound_ends_the_answer(any_client: VertexAIClient) -> None:
    reply = await any_client.generate(ask(max_output_tokens=3))
    assert reply.finish_reason == "max_tokens"
    assert len(reply.text) <= 12


async def test_tokens_are_counted_before_the_call(any_client: VertexAIClient) -> None:
    short, long = await any_client.count_tokens(ask("hi")), await any_client.count_tokens(ask("hi " * 500))
    assert 0 < short < 50 < 300 < long


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 400}, errors.ModelRequestError),
        ({"kind": "status", "status": 401}, errors.ModelAuthError),
        ({"kind": "status", "status": 403}, errors.ModelAuthError),
        ({"kind": "status", "status": 404}, errors.ModelNotFound),
        ({"kind": "status", "status": 429}, errors.ModelThrottled),
        ({"kind": "status", "status": 500}, errors.ModelUnavailable),
        ({"kind": "status", "status": 503}, errors.ModelUnavailable),
        ({"kind": "html"}, errors.ModelProtocolError),
        ({"kind": "reset"}, errors.ModelUnavailable),
        ({"kind": "blocked_prompt"}, errors.ModelBlocked),
    ],
    ids=lambda value: str(value.get("status", value["kind"])) if isinstance(value, dict) else None,
)
async def test_fault_becomes_its_error(
    any_client: VertexAIClient, emulator: Emulator, fault: dict[str, Any], kind: type[NgxError], streams: bool
) -> None:
    assert type(await fails(any_client, emulator, fault, streams=streams)) is kind
    assert (await any_client.generate(ask())).text, "the next call is served"


async def test_truncated_reply_is_a_protocol_error(any_client: VertexAIClient, emulator: Emulator) -> None:
    error = await fails(any_client, emulator, {"kind": "truncated"}, streams=False)
    assert type(error) is errors.ModelProtocolError


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "cut", "at_chunk": 0},
        {"kind": "cut", "at_chunk": 5},
        {"kind": "error_in_stream", "at_chunk": 3, "status": 503},
        {"kind": "error_in_stream", "at_chunk": 0, "status": 503},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault['at_chunk']}",
)
async def test_broken_stream_is_unavailable(
    any_client: VertexAIClient, emulator: Emulator, fault: dict[str, Any]
) -> None:
    assert type(await fails(any_client, emulator, fault, streams=True)) is ModelUnavailable


@pytest.mark.parametrize("kind", ["no_finish", "truncated"])
async def test_stream_without_its_end_is_unavailable(client: VertexAIClient, emulator: Emulator, kind: str) -> None:
    assert type(await fails(client, emulator, {"kind": kind}, streams=True)) is ModelUnavailable


@pytest.mark.parametrize(("kind", "at_chunk"), [("stall_first", 0), ("stall_gap", 2)])
async def test_stall_is_a_timeout(client: VertexAIClient, emulator: Emulator, kind: str, at_chunk: int) -> None:
    emulator.script({"kind": kind, "at_chunk": at_chunk, "delay_ms": 60_000})
    with pytest.raises(ModelTimeout):
        await streamed(client, ask(timeout_s=0.15))


@pytest.mark.parametrize("size_bytes", [1, 7])
async def test_split_frames_change_nothing(any_client: VertexAIClient, emulator: Emulator, size_bytes: int) -> None:
    request = ask("¿Qué ceno, señor? 👋")
    expected = await streamed(any_client, request)
    emulator.script({"kind": "byte_split", "size_bytes": size_bytes})
    texts, reply = await streamed(any_client, request)
    assert texts == expected[0]
    assert reply.text == expected[1].text


async def test_line_separators_arrive_as_they_are(any_client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "line_separator"})
    texts, reply = await streamed(any_client, ask())
    assert "\u2028" in texts[0]
    assert len(texts) == CHUNKS
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("kind", "reason"), [("safety", "safety"), ("unknown_finish", "other"), ("usage_last", "stop")]
)
async def test_odd_answer_is_understood(
    client: VertexAIClient, emulator: Emulator, kind: str, reason: str, streams: bool
) -> None:
    emulator.script({"kind": kind})
    reply = (await streamed(client, ask()))[1] if streams else await client.generate(ask())
    assert reply.finish_reason == reason
    assert reply.text
    assert reply.usage.input_tokens > 0


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("kind", ["empty_stop", "thought_only", "malformed_call"])
async def test_answer_that_says_nothing_is_an_error(
    client: VertexAIClient, emulator: Emulator, kind: str, streams: bool
) -> None:
    assert isinstance(await fails(client, emulator, {"kind": kind}, streams=streams), errors.ModelProtocolError)


async def test_forced_call_is_made(any_client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "force_call", "name": "anything", "arguments": {"ñ": [1, {"b": None}]}})
    texts, reply = await streamed(any_client, ask())
    assert texts == []
    assert [(call.name, call.arguments) for call in reply.calls] == [("anything", {"ñ": [1, {"b": None}]})]


async def test_retry_after_reaches_the_caller(client: VertexAIClient, emulator: Emulator) -> None:
    error = await fails(client, emulator, {"kind": "status", "status": 429, "retry_after_s": 2.5}, streams=False)
    assert isinstance(error, errors.ModelThrottled)
    assert (error.retry_after_s, error.status) == (2.5, 429)


async def test_foreign_text_stays_out_of_the_error(client: VertexAIClient, emulator: Emulator) -> None:
    for status in (400, 403, 429, 503):
        fault = {"kind": "status", "status": status, "message": "secret prompt"}
        assert "secret" not in str(await fails(client, emulator, fault, streams=status == 429))


async def test_nobody_listening_is_unavailable() -> None:
    async with VertexAIClient(settings=VertexSettings(base_url=refused_origin())) as client:
        with pytest.raises(ModelUnavailable):
            await client.generate(ask())


@pytest.mark.parametrize("transport", ["pyreqwest", "aiohttp"])
@pytest.mark.parametrize("way", ["close", "cancel"])
async def test_reader_that_leaves_ends_the_call_upstream(emulator: Emulator, transport: str, way: str) -> None:
    emulator.script({"kind": "stall_gap", "at_chunk": 2, "delay_ms": 60_000})
    async with VertexAIClient(settings=settings_for(emulator, transport=transport)) as client:
        if way == "close":
            events = client.stream(ask())
            assert isinstance(await anext(events), TextChunk)
            await events.aclose()
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(streamed(client, ask()), 0.1)
        async with asyncio.timeout(2):
            while emulator.state["streams_left"] != 1:  # noqa: ASYNC110  # the emulator is another process
                await asyncio.sleep(0.005)


async def test_calls_are_counted_by_outcome_and_tokens_by_kind(
    client: VertexAIClient, emulator: Emulator, metrics: Metrics
) -> None:
    reply = await client.generate(ask())
    await streamed(client, ask())
    await fails(client, emulator, {"kind": "status", "status": 429}, streams=True)
    await fails(client, emulator, {"kind": "reset"}, streams=False)
    events = client.stream(ask())
    await anext(events)
    await events.aclose()
    value = metrics.registry.get_sample_value
    outcomes = {
        outcome: value("ngx_model_calls_total", {"outcome": outcome})
        for outcome in ("ok", "model_throttled", "model_unavailable", "cancelled", "model_blocked")
    }
    assert outcomes == {"ok": 2, "model_throttled": 1, "model_unavailable": 1, "cancelled": 1, "model_blocked": 0}
    assert value("ngx_model_tokens_total", {"model": reply.model, "kind": "input"}) == 2 * reply.usage.input_tokens
    assert value("ngx_model_tokens_total", {"model": reply.model, "kind": "thought"}) == 2 * reply.usage.thought_tokens
    assert value("ngx_model_seconds_count") == 2
    assert value("ngx_model_first_token_seconds_count") == 1


async def test_model_of_the_request_comes_before_the_default(client: VertexAIClient, emulator: Emulator) -> None:
    assert (await client.generate(ask(model="gemini-4-argon"))).model == "gemini-4-argon"
    path = "/v1/projects/p/locations/global/publishers/google/models/gemini-4-argon:generateContent"
    assert emulator.state["last_path"] == path


async def test_api_key_goes_the_express_way(emulator: Emulator) -> None:
    async with VertexAIClient(settings=VertexSettings(base_url=emulator.base_url, api_key="k")) as client:
        await client.generate(ask())
    state = emulator.state
    assert state["last_path"] == "/v1/publishers/google/models/gemini-3.8-flash:generateContent"
    assert state["last_headers"]["x-goog-api-key"] == "k"


async def test_many_streams_at_once_all_end(client: VertexAIClient) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(streamed(client, ask(f"question {number}"))) for number in range(120)]
    assert all(f"question {number}" in task.result()[1].text for number, task in enumerate(tasks))


async def test_constructing_does_nothing_and_use_outside_is_an_error() -> None:
    client = VertexAIClient(settings=VertexSettings(base_url="http://127.0.0.1:1"))
    with pytest.raises(RuntimeError):
        await client.generate(ask())


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        (0, VertexSettings()),
        (1, VertexSettings(base_url="ftp://somewhere")),
        (1, VertexSettings(location="../evil")),
        (1, VertexSettings(provider="openai")),
    ],
)
async def test_settings_that_cannot_work_are_refused_at_the_start(size: int, settings: VertexSettings) -> None:
    with pytest.raises(ConfigError):
        async with VertexAIClient(connection_pool_size=size, settings=settings):
            pass


async def test_passed_deadline_is_a_timeout_without_a_call(client: VertexAIClient, emulator: Emulator) -> None:
    late = ModelRequest(system="", contents=(user("hi"),), deadline_s=time.monotonic() - 1)
    with pytest.raises(ModelTimeout):
        await client.generate(late)
    assert emulator.state["calls"] == 0


async def test_blocked_prompt_says_so(client: VertexAIClient, emulator: Emulator) -> None:
    error = await fails(client, emulator, {"kind": "blocked_prompt"}, streams=False)
    assert isinstance(error, ModelBlocked)
    assert not error.retryable
