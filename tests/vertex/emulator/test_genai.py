"""Google's own SDK with a project and a location: caches, embeddings, structured output, tools, counts."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.vertex.conftest import CHUNKS, Emulator

if TYPE_CHECKING:
    from google import genai

MODEL = "gemini-3.8-flash"
LONG = "word " * 4_000


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[genai.Client]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own deprecations at import
        from google import genai
        from google.genai import types
        from google.oauth2.credentials import Credentials
    client = genai.Client(
        vertexai=True,
        project="p",
        location="global",
        credentials=Credentials(token="any"),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=emulator.base_url),
    )
    yield client
    client.close()


def operations(emulator: Emulator) -> set[str]:
    return {each["operation"] for each in emulator.state["requests"]}


def test_sdk_generates_and_streams_the_same_words(sdk: genai.Client, emulator: Emulator) -> None:
    whole = sdk.models.generate_content(model=MODEL, contents="How do I sleep?")
    chunks = list(sdk.models.generate_content_stream(model=MODEL, contents="How do I sleep?"))
    assert len(chunks) == CHUNKS
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert whole.usage_metadata is not None
    assert whole.usage_metadata.traffic_type is not None
    assert whole.usage_metadata.traffic_type.name == "ON_DEMAND"


def test_sdk_gets_structured_output(sdk: genai.Client) -> None:
    from google.genai import types

    schema = {
        "type": "OBJECT",
        "properties": {"kg": {"type": "NUMBER"}, "note": {"type": "STRING"}},
        "required": ["kg"],
    }
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=schema)
    answer = sdk.models.generate_content(model=MODEL, contents="81.5 kg", config=config)
    assert answer.text is not None
    assert json.loads(answer.text) == {"kg": 81.5, "note": "81.5 kg"}


def test_sdk_asks_for_a_tool_and_for_thoughts(sdk: genai.Client) -> None:
    from google.genai import types

    declaration = types.FunctionDeclaration(name="log_weight", parameters_json_schema={"type": "object"})
    calling = types.FunctionCallingConfig(
        mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["log_weight"]
    )
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declaration])],
        tool_config=types.ToolConfig(function_calling_config=calling),
    )
    answer = sdk.models.generate_content(model=MODEL, contents="hello", config=config)
    assert answer.function_calls is not None
    assert [call.name for call in answer.function_calls] == ["log_weight"]
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW)
    thoughtful = sdk.models.generate_content(
        model=MODEL, contents="hello", config=types.GenerateContentConfig(thinking_config=thinking)
    )
    assert thoughtful.candidates is not None
    assert thoughtful.candidates[0].content is not None
    assert [part.thought for part in thoughtful.candidates[0].content.parts or ()] == [True, None]


def test_sdk_counts_by_modality(sdk: genai.Client) -> None:
    from google.genai import types

    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    assert sdk.models.count_tokens(model=MODEL, contents=["look", image]).total_tokens == 1121


@pytest.mark.parametrize(
    ("model", "texts", "operation"),
    [
        ("gemini-embedding-001", ["sleep"], "embedContent"),
        ("gemini-embedding-001", ["sleep", "run"], "batchEmbedContents"),
        ("text-embedding-005", ["sleep", "run"], "predict"),
    ],
)
def test_sdk_embeds(sdk: genai.Client, emulator: Emulator, model: str, texts: list[str], operation: str) -> None:
    from google.genai import types

    config = types.EmbedContentConfig(output_dimensionality=128, task_type="RETRIEVAL_QUERY")
    answer = sdk.models.embed_content(model=model, contents=texts, config=config)
    assert answer.embeddings is not None
    assert len(answer.embeddings) == len(texts)
    for embedding in answer.embeddings:
        assert embedding.values is not None
        assert len(embedding.values) == 128
        assert math.isclose(sum(value * value for value in embedding.values), 1.0, abs_tol=1e-6)
    assert operations(emulator) == {operation}


def test_sdk_creates_uses_prolongs_and_deletes_a_cache(sdk: genai.Client, emulator: Emulator) -> None:
    from google.genai import errors, types

    cache = sdk.caches.create(
        model=MODEL,
        config=types.CreateCachedContentConfig(
            contents=LONG, system_instruction="Be kind.", ttl="600s", display_name="guide"
        ),
    )
    assert cache.name is not None
    assert cache.usage_metadata is not None
    assert cache.usage_metadata.total_token_count == 5002
    config = types.GenerateContentConfig(cached_content=cache.name)
    usage = sdk.models.generate_content(model=MODEL, contents="hello", config=config).usage_metadata
    assert usage is not None
    assert usage.cached_content_token_count == 5002
    updated = sdk.caches.update(name=cache.name, config=types.UpdateCachedContentConfig(ttl="1200s"))
    assert updated.expire_time is not None
    assert cache.expire_time is not None
    assert updated.expire_time > cache.expire_time
    assert [each.display_name for each in sdk.caches.list()] == ["guide"]
    assert sdk.caches.get(name=cache.name).name == cache.name
    sdk.caches.delete(name=cache.name)
    with pytest.raises(errors.ClientError) as refused:
        sdk.models.generate_content(model=MODEL, contents="hello", config=config)
    assert refused.value.code == 404
    caches = emulator.state["caches"]
    assert [caches[name] for name in ("creates", "uses", "patches", "deletes")] == [1, 1, 1, 1]
