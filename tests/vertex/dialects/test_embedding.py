from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.errors import ModelError, ModelProtocolError, ModelRequestError
from ngx_agents.vertex.dialects.embedding import TASKS, EmbeddedPart, calls_for, decode, joined
from ngx_agents.vertex.embedding import EmbedCall, Embeddings, EmbedLimits, EmbedRequest

Provider = Literal["vertex", "openai"]
SMALL = EmbedLimits(predict_texts=3, predict_characters=20, batch_texts=2, openai_texts=2)


def ask(*texts: str, model: str = "gemini-embedding-001", **fields: Any) -> EmbedRequest:
    return EmbedRequest(texts=texts, model=model, deadline_s=1.0, **fields)


def calls(request: EmbedRequest, provider: Provider = "vertex") -> list[tuple[str, Any]]:
    return [(call.operation, json.loads(call.body)) for call in calls_for(request, provider=provider, limits=SMALL)]


def content(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}


@pytest.mark.parametrize("model", ["gemini-embedding-001", "gemini-embedding-2", "publishers/google/models/gemini-x"])
def test_gemini_gets_a_content_of_its_own_for_every_text(model: str) -> None:
    config = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 4}
    asked = ask("a", "b", "c", model=model, task_type="query", dimensions=4)
    assert calls(asked) == [
        (
            "batchEmbedContents",
            {"requests": [{"content": content(text), "embedContentConfig": config} for text in "ab"]},
        ),
        ("embedContent", {"content": content("c"), "embedContentConfig": config}),
    ]


def test_older_model_gets_instances() -> None:
    asked = ask("a", "b", model="text-embedding-005", task_type="document", dimensions=4)
    instances = [{"content": text, "task_type": "RETRIEVAL_DOCUMENT"} for text in "ab"]
    assert calls(asked) == [("predict", {"instances": instances, "parameters": {"outputDimensionality": 4}})]


def test_hosted_open_model_gets_one_content_a_call() -> None:
    asked = ask("a", "b", model="publishers/intfloat/models/multilingual-e5-large-maas")
    assert calls(asked) == [("embedContent", {"content": content(text)}) for text in "ab"]


def test_openai_gets_the_texts() -> None:
    assert calls(ask("a", "b", "c", model="e", dimensions=2, task_type="query"), "openai") == [
        ("embeddings", {"model": "e", "input": ["a", "b"], "dimensions": 2}),
        ("embeddings", {"model": "e", "input": ["c"], "dimensions": 2}),
    ]


def test_predict_is_split_by_texts_and_by_characters() -> None:
    texts = ("x" * 15, "y" * 6, "z", "z", "z", "w" * 90, "v")
    found = calls_for(ask(*texts, model="text-embedding-005"), provider="vertex", limits=SMALL)
    sizes = [[len(instance["content"]) for instance in json.loads(call.body)["instances"]] for call in found]
    assert sizes == [[15], [6, 1, 1], [1], [90], [1]]


@pytest.mark.parametrize("texts", [(), ("",), ("a", "  \n")])
def test_nothing_to_embed_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(ModelRequestError):
        calls_for(ask(*texts), provider="vertex")


def test_no_dimension_is_refused() -> None:
    with pytest.raises(ModelRequestError):
        calls_for(ask("a", dimensions=0), provider="vertex")


def test_every_task_has_googles_word() -> None:
    for task, word in TASKS.items():
        assert calls(ask("a", task_type=task))[0][1]["embedContentConfig"] == {"taskType": word}


def answer(call: EmbedCall, vectors: list[list[float]]) -> bytes:
    """What the provider says to `call`, with a reversed order where it names places."""
    usage = {"promptTokenCount": 7}
    documents: dict[str, Any] = {
        "embedContent": {"embedding": {"values": vectors[0]}, "usageMetadata": usage, "truncated": True},
        "batchEmbedContents": {"embeddings": [{"values": vector} for vector in vectors], "usageMetadata": usage},
        "predict": {
            "predictions": [
                {"embeddings": {"values": vector, "statistics": {"token_count": 3.0, "truncated": place == 1}}}
                for place, vector in enumerate(vectors)
            ],
            "metadata": {"billableCharacterCount": 9},
        },
        "embeddings": {
            "data": [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)][::-1],
            "usage": {"prompt_tokens": 5},
        },
    }
    return json.dumps(documents[call.operation]).encode()


@pytest.mark.parametrize(
    ("model", "provider", "tokens", "is_truncated"),
    [
        ("gemini-embedding-2", "vertex", 7 * 3, True),
        ("text-embedding-005", "vertex", 3 * 5, True),
        ("e", "openai", 5 * 3, False),
    ],
)
def test_vectors_come_back_in_the_order_of_the_texts(
    model: str, provider: Provider, tokens: int, is_truncated: bool
) -> None:
    request = ask("a", "b", "c", "d", "e", model=model)
    place = 0
    parts: list[EmbeddedPart] = []
    for call in calls_for(request, provider=provider, limits=SMALL):
        parts.append(decode(call, answer(call, [[float(place + at), 1.0] for at in range(call.count)])))
        place += call.count
    assert joined(request, parts) == Embeddings(
        vectors=tuple((float(at), 1.0) for at in range(5)), model=model, input_tokens=tokens, is_truncated=is_truncated
    )


ONE, TWO = (
    EmbedCall(operation="embedContent", body=b"", count=1, dimensions=2),
    EmbedCall(operation="batchEmbedContents", body=b"", count=2),
)
PREDICT = EmbedCall(operation="predict", body=b"", count=2)
OPENAI = EmbedCall(operation="embeddings", body=b"", count=2)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (ONE, b'{"embedding": {"values": [1, 2, 3]}}'),
        (ONE, b'{"embedding": {"values": [1, null]}}'),
        (ONE, b'{"embedding": {"values": [1, NaN]}}'),
        (ONE, b'{"embedding": {"values": [1, 1e999]}}'),
        (ONE, b'{"embedding": {"values": [0, 0]}}'),
        (ONE, b'{"embedding": {"values": []}}'),
        (ONE, b"{}"),
        (ONE, b"<html>"),
        (ONE, b"[" * 100_000),
        (TWO, b'{"embeddings": [{"values": [1, 2]}]}'),
        (TWO, b'{"embedding": {"values": [1, 2]}}'),
        (TWO, b'{"embeddings": [{"values": [1, 2]}, {"values": [1]}]}'),
        (TWO, b'{"embeddings": [{"values": [1, 2]}, {}]}'),
        (TWO, b'{"embeddings": [{"values": []}, {"values": []}]}'),
        (PREDICT, b'{"predictions": [{"embeddings": {"values": [1]}}]}'),
        (PREDICT, b'{"predictions": [{}, {}]}'),
        (OPENAI, b'{"data": [{"embedding": [1], "index": 1}, {"embedding": [2], "index": 1}]}'),
        (OPENAI, b'{"data": [{"embedding": [1], "index": 0}, {"embedding": [2], "index": 2}]}'),
        (OPENAI, b'{"data": [{"embedding": "AAAA", "index": 0}]}'),
        (OPENAI, b'{"error": {"message": "no"}}'),
    ],
)
def test_anything_but_one_sound_vector_a_text_is_a_protocol_error(call: EmbedCall, body: bytes) -> None:
    with pytest.raises(ModelProtocolError):
        decode(call, body)


def test_parts_of_different_length_do_not_belong_together() -> None:
    parts = [EmbeddedPart(((1.0,),), 1, False), EmbeddedPart(((1.0, 2.0),), 1, False)]
    with pytest.raises(ModelProtocolError):
        joined(ask("a", "b"), parts)
    with pytest.raises(ModelProtocolError):
        joined(ask("a", "b", "c"), parts[:1])


@given(body=st.binary(max_size=40), call=st.sampled_from([ONE, TWO, PREDICT, OPENAI]))
def test_nonsense_is_a_model_error(body: bytes, call: EmbedCall) -> None:
    with pytest.raises(ModelError):
        decode(call, body)
