"""Vectors: deterministic, of unit length, alike for texts that are alike; and the three calls that give them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ngx_agents.vertex.emulator.embeddings import embed
from tests.vertex.emulator.wire import Wire, path

ONE = "gemini-embedding-001"
TWO = "gemini-embedding-2"
TEXT = "text-embedding-005"


def likeness(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("text", ["how to sleep", "", "?!", "sueño", "a", "日本語", "the the the"])
@pytest.mark.parametrize("dimensions", [1, 2, 64, 768, 3072])
def test_vector_has_its_dimension_and_unit_length(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.fsum(value * value for value in vector), 1.0, abs_tol=1e-6)


@pytest.mark.parametrize("dimensions", [256, 768, 3072])
@pytest.mark.parametrize(
    ("text", "like", "unlike"),
    [
        ("How can I sleep better at night?", "how to sleep better", "a recipe for lentil soup"),
        ("quiero dormir mejor", "¿Cómo puedo DORMIR mejor?", "entrenar fuerza en casa"),
        ("proteína en el desayuno", "proteinas para desayunar", "dolor de rodilla al correr"),
        ("running shoes", "a runner needs a shoe to run", "bank account"),
    ],
)
def test_texts_that_share_words_or_stems_lie_closer(text: str, like: str, unlike: str, dimensions: int) -> None:
    close, far = (likeness(embed(text, dimensions), embed(other, dimensions)) for other in (like, unlike))
    assert close > 0.2
    assert far < 0.15
    assert close > 2 * far


def test_case_and_accents_hardly_matter_and_a_repetition_does_not_rule() -> None:
    assert embed("SUEÑO PROFUNDO", 768) == embed("sueno profundo", 768)
    assert likeness(embed("sleep well", 768), embed("sleep well " * 50, 768)) > 0.6


async def test_embed_content_gives_one_vector_and_usage(wire: Wire) -> None:
    request = {"content": {"parts": [{"text": "dormir mejor"}]}, "embedContentConfig": {"outputDimensionality": 768}}
    answer = (await wire.post(path("embedContent", model=ONE), request)).json()
    assert tuple(answer["embedding"]["values"]) == embed("dormir mejor", 768)
    assert answer["usageMetadata"]["promptTokenCount"] == 3
    assert answer["truncated"] is False
    snake = {"content": {"parts": [{"text": "dormir mejor"}]}, "embed_content_config": {"output_dimensionality": 768}}
    assert (await wire.post(path("embedContent", model=ONE), snake)).json()["embedding"] == answer["embedding"]


async def test_batch_gives_vectors_in_order(wire: Wire) -> None:
    texts = [f"text number {number}" for number in range(5)]
    requests = [{"content": {"parts": [{"text": text}]}} for text in texts]
    answer = (await wire.post(path("batchEmbedContents", model=ONE), {"requests": requests})).json()
    assert [tuple(each["values"]) for each in answer["embeddings"]] == [embed(text, 3072) for text in texts]
    assert answer["usageMetadata"]["totalTokenCount"] == 5 * 4


async def test_predict_gives_statistics_and_billable_characters(wire: Wire) -> None:
    instances = [{"content": "ab cd", "task_type": "RETRIEVAL_DOCUMENT", "title": "t"}, {"content": "x" * 9000}]
    answer = (await wire.post(path("predict", model=TEXT), {"instances": instances})).json()
    first, second = (each["embeddings"] for each in answer["predictions"])
    assert (len(first["values"]), first["statistics"]) == (768, {"truncated": False, "token_count": 2})
    assert second["statistics"] == {"truncated": True, "token_count": 2048}
    assert answer["metadata"] == {"billableCharacterCount": 4 + 9000}


async def test_parts_of_one_content_are_one_vector(wire: Wire) -> None:
    request = {"content": {"parts": [{"text": "sleep"}, {"text": "run"}]}}
    answer = (await wire.post(path("embedContent", model=TWO), request)).json()
    assert tuple(answer["embedding"]["values"]) == embed("sleep\nrun", 3072)


async def test_long_text_is_truncated_unless_that_is_forbidden(wire: Wire) -> None:
    def request(**config: Any) -> dict[str, Any]:
        return {"content": {"parts": [{"text": "word " * 2000}]}, "embedContentConfig": config}

    answer = (await wire.post(path("embedContent", model=ONE), request())).json()
    assert (answer["truncated"], answer["usageMetadata"]["promptTokenCount"]) == (True, 2048)
    assert (await wire.post(path("embedContent", model=ONE), request(autoTruncate=False))).status == 400
    assert (await wire.post(path("embedContent", model=TWO), request(autoTruncate=False))).status == 200


@pytest.mark.parametrize(
    ("call", "model", "request_body"),
    [
        ("embedContent", ONE, {}),
        ("embedContent", ONE, {"content": {"parts": []}}),
        ("embedContent", ONE, {"content": "words"}),
        ("embedContent", ONE, {"content": {"parts": [{"text": "x"}]}, "colour": 1}),
        ("embedContent", ONE, {"content": {"parts": [{"text": "x"}]}, "taskType": "DANCING"}),
        ("embedContent", ONE, {"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 0}),
        ("embedContent", ONE, {"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 3073}),
        ("embedContent", ONE, {"content": {"parts": [{"text": "x"}]}, "outputDimensionality": "7"}),
        ("embedContent", "gemini-3.8-flash", {"content": {"parts": [{"text": "x"}]}}),
        ("batchEmbedContents", ONE, {"requests": []}),
        ("batchEmbedContents", ONE, {"requests": [{"content": {"parts": [{"text": "x"}]}}] * 251}),
        ("predict", TEXT, {"instances": []}),
        ("predict", TEXT, {"instances": [{"content": ""}]}),
        ("predict", TEXT, {"instances": [{"content": 5}]}),
        ("predict", TEXT, {"instances": [{"content": "x"}], "parameters": {"outputDimensionality": 1000}}),
        ("predict", TEXT, {"instances": "x"}),
    ],
)
async def test_malformed_request_is_refused_with_400(wire: Wire, call: str, model: str, request_body: Any) -> None:
    answer = await wire.post(path(call, model=model), request_body)
    assert (answer.status, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("given", [None, "", [], [1], ["x"] * 251, [""]], ids=str)
async def test_malformed_openai_embedding_is_refused(wire: Wire, given: Any) -> None:
    answer = await wire.post("/v1/embeddings", {"input": given})
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")
