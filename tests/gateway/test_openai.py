"""The official OpenAI client against the edge, over the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import Client, client

HELLO: list[Any] = [{"role": "user", "content": "say hola |mundo"}]


@asynccontextmanager
async def both(path: Path, team: ScriptTeam | None = None) -> AsyncIterator[tuple[openai.AsyncOpenAI, Client]]:
    async with (
        client(path, team=team or ScriptTeam()) as api,
        openai.AsyncOpenAI(base_url=api.url + "/v1", api_key="none", max_retries=0) as ai,
    ):
        yield ai, api


async def test_the_client_gets_a_whole_answer_with_its_usage_and_origin(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, api):
        answer = await ai.chat.completions.create(model="ngx", messages=HELLO, temperature=0.2)
        note = (answer.model_extra or {})["ngx"]
        _, page = await api.call("GET", f"/v1/conversations/{note['conversation_id']}/messages")
    assert answer.choices[0].message.content == "hola mundo"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 5, 12)
    assert (note["source"], note["degraded"]) == ("model", False)
    assert [message["text"] for message in page["items"]] == ["say hola |mundo", "hola mundo"]


async def test_the_client_gets_a_stream_with_role_finish_and_usage(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, _):
        stream = await ai.chat.completions.create(
            model="parrot", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hola mundo"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 12
    assert len({chunk.id for chunk in chunks}) == 1


async def test_no_usage_comes_unasked(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, _):
        stream = await ai.chat.completions.create(model="ngx", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_what_was_said_before_becomes_history(tmp_path: Path) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "my knee hurts"}]},
        {"role": "assistant", "content": "noted"},
        {"role": "user", "content": "recall"},
    ]
    async with both(tmp_path) as (ai, _):
        answer = await ai.chat.completions.create(model="ngx", messages=messages)
    assert answer.choices[0].message.content == "user: my knee hurts / assistant: noted"


async def test_a_named_conversation_is_continued_and_its_own_history_counts(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, api):
        conversation_id = await api.conversation()
        await api.say(conversation_id, "say one")
        messages: list[Any] = [{"role": "user", "content": "forged"}, {"role": "user", "content": "recall"}]
        by_metadata = await ai.chat.completions.create(
            model="ngx", messages=messages, metadata={"conversation_id": conversation_id}
        )
        by_header = await ai.chat.completions.create(
            model="ngx", messages=messages, extra_headers={"X-Conversation-Id": conversation_id}
        )
    assert by_metadata.choices[0].message.content == "user: say one / assistant: one"
    assert (by_header.choices[0].message.content or "").startswith("user: say one / assistant: one / user: recall")


async def test_a_stream_whose_text_is_withdrawn_ends_with_an_error(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, _):
        stream = await ai.chat.completions.create(
            model="ngx", messages=[{"role": "user", "content": "withdraw bad|good"}], stream=True
        )
        said = [""]

        async def listen() -> None:
            async for chunk in stream:
                said[0] += chunk.choices[0].delta.content or ""

        with pytest.raises(openai.APIError) as broken:
            await listen()
    assert said == ["bad"]
    assert broken.value.code == "text_withdrawn"


async def test_a_stream_goes_on_when_the_new_text_repeats_what_was_withdrawn(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, _):
        stream = await ai.chat.completions.create(
            model="ngx", messages=[{"role": "user", "content": "withdraw hello|hello again"}], stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "hello again"


async def test_a_failed_turn_is_an_error_of_its_status(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, _):
        with pytest.raises(openai.APIStatusError) as whole:
            await ai.chat.completions.create(model="ngx", messages=[{"role": "user", "content": "fail now"}])
        stream = await ai.chat.completions.create(
            model="ngx", messages=[{"role": "user", "content": "fail now"}], stream=True
        )
        with pytest.raises(openai.APIError) as streamed:
            async for _ in stream:
                pass
    assert whole.value.status_code >= 500
    assert whole.value.code == streamed.value.code


async def test_models_are_the_agents_and_the_router(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, _):
        assert [model.id async for model in ai.models.list()] == ["ngx", "parrot", "owl"]
        assert (await ai.models.retrieve("owl")).id == "owl"
        with pytest.raises(openai.NotFoundError):
            await ai.models.retrieve("gpt-5")


BAD = {
    "unknown model": ({"model": "gpt-5"}, openai.NotFoundError, None),
    "no messages": ({"messages": []}, openai.BadRequestError, "messages"),
    "last is the assistant's": (
        {"messages": [*HELLO, {"role": "assistant", "content": "a"}]},
        openai.BadRequestError,
        "messages[1]",
    ),
    "empty text": ({"messages": [{"role": "user", "content": ""}]}, openai.BadRequestError, "messages[0].content"),
    "endless text": (
        {"messages": [{"role": "user", "content": "a" * 32_001}]},
        openai.BadRequestError,
        "messages[0].content",
    ),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        openai.BadRequestError,
        "messages[0].content",
    ),
    "a tool's message": (
        {"messages": [{"role": "tool", "content": "7", "tool_call_id": "x"}, *HELLO]},
        openai.BadRequestError,
        "messages[0].role",
    ),
    "tools": ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools"),
    "several choices": ({"n": 3}, openai.BadRequestError, "n"),
    "someone's conversation": ({"metadata": {"conversation_id": "c_00" + "0" * 26}}, openai.NotFoundError, None),
}


async def test_bad_requests_are_refused_in_openais_shape_and_leave_no_conversation(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, api):
        for name, (changed, kind, param) in BAD.items():
            request: dict[str, Any] = {"model": "ngx", "messages": HELLO, **changed}
            with pytest.raises(kind) as refused:
                await ai.chat.completions.create(**request)
            assert refused.value.param == param, name
        _, page = await api.call("GET", "/v1/conversations")
    assert page["items"] == []


async def test_a_repeated_key_gives_the_same_turn_and_leaves_one_conversation(tmp_path: Path) -> None:
    async with both(tmp_path) as (ai, api):
        headers = {"Idempotency-Key": "same"}
        first = await ai.chat.completions.create(model="ngx", messages=HELLO, extra_headers=headers)
        again = await ai.chat.completions.create(model="ngx", messages=HELLO, extra_headers=headers)
        _, page = await api.call("GET", "/v1/conversations")
    assert again.id == first.id
    assert len(page["items"]) == 1
