"""Google's own SDK against the emulator: what it reads must be what Vertex would have sent."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.vertex.conftest import CHUNKS, Emulator

if TYPE_CHECKING:
    from google import genai

MODEL = "gemini-3.8-flash"


def log_weight(kg: float) -> dict[str, object]:
    """Logs the weight of the user in kilograms."""
    return {"stored_kg": kg}


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[genai.Client]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own deprecations at import
        from google import genai
        from google.genai import types
    options = types.HttpOptions(base_url=emulator.base_url)
    client = genai.Client(vertexai=True, api_key="any", http_options=options)
    yield client
    client.close()


def test_sdk_reads_a_unary_answer(sdk: genai.Client, emulator: Emulator) -> None:
    answer = sdk.models.generate_content(model=MODEL, contents="How do I sleep well?")
    assert answer.text is not None
    assert "How do I sleep well?" in answer.text
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is not None
    assert answer.candidates[0].finish_reason.name == "STOP"
    usage = answer.usage_metadata
    assert usage is not None
    assert usage.total_token_count == sum(
        count or 0 for count in (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    )
    assert answer.model_version == MODEL
    assert emulator.state["last_path"].startswith("/v1beta1/")


def test_sdk_reads_a_stream(sdk: genai.Client) -> None:
    chunks = list(sdk.models.generate_content_stream(model=MODEL, contents="¿Qué ceno hoy, señor?"))
    assert len(chunks) == CHUNKS
    assert "¿Qué ceno hoy, señor?" in "".join(chunk.text or "" for chunk in chunks)
    assert chunks[-1].usage_metadata is not None


def test_sdk_calls_a_function_and_sends_its_result_with_the_signature(sdk: genai.Client, emulator: Emulator) -> None:
    from google.genai import types

    config = types.GenerateContentConfig(tools=[log_weight])
    answer = sdk.models.generate_content(model=MODEL, contents="Please log my weight: 81.5", config=config)
    assert answer.text is not None
    assert '"stored_kg":81.5' in answer.text.replace(" ", "")
    assert emulator.state["calls"] == 2
    replayed = emulator.state["last_request"]["contents"][1]["parts"][0]
    assert replayed["functionCall"]["name"] == "log_weight"
    assert replayed["thoughtSignature"]


def test_sdk_counts_tokens(sdk: genai.Client) -> None:
    assert sdk.models.count_tokens(model=MODEL, contents="hello " * 40).total_tokens == 60


def test_sdk_understands_errors_and_blocks(sdk: genai.Client, emulator: Emulator) -> None:
    from google.genai import errors

    emulator.script({"kind": "status", "status": 429}, {"kind": "blocked_prompt"}, {"kind": "empty_stop"})
    with pytest.raises(errors.ClientError) as refused:
        sdk.models.generate_content(model=MODEL, contents="hello")
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    blocked = sdk.models.generate_content(model=MODEL, contents="hello")
    assert blocked.prompt_feedback is not None
    assert blocked.prompt_feedback.block_reason is not None
    assert not sdk.models.generate_content(model=MODEL, contents="hello").text
