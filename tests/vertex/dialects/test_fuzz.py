"""Whatever bytes come, in whatever pieces: the same reply, or a ModelError, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.errors import ModelError
from ngx_agents.vertex.content import ModelReply
from ngx_agents.vertex.dialects.dialect import Dialect
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from ngx_agents.vertex.dialects.vertex import VertexDialect

DIALECTS: tuple[Dialect, ...] = (VertexDialect("global"), OpenAIDialect())
NESTED = b"[" * 100_000
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FINISHES = st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "NEVER_SEEN"])
ERROR = {"error": {"code": 503, "message": '{ unbalanced " in a string', "status": "UNAVAILABLE"}}


def text_part(text: str, thought: bool) -> dict[str, Any]:
    return {"text": text, "thought": True} if thought else {"text": text}


VERTEX_PARTS = st.one_of(
    st.builds(text_part, TEXTS, st.booleans()),
    st.builds(lambda text: {"functionCall": {"name": "f", "args": {"a": text}}, "thoughtSignature": "cw=="}, TEXTS),
    st.just({"executableCode": {"code": "1"}}),
)
OPENAI_DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, TEXTS),
    st.builds(lambda text: {"reasoning_content": text}, TEXTS),
    st.builds(
        lambda text, index: {"tool_calls": [{"index": index, "function": {"name": "f", "arguments": text}}]},
        TEXTS,
        st.integers(0, 2),
    ),
)


@st.composite
def vertex_streams(draw: st.DrawFn) -> bytes:
    frames = [{"candidates": [{"content": {"parts": [part]}}]} for part in draw(st.lists(VERTEX_PARTS, max_size=6))]
    frames.append({"candidates": [{"content": {"role": "model"}, "finishReason": draw(FINISHES)}]})
    body = b"".join(framed(frame, draw) for frame in frames)
    if draw(st.booleans()):
        body += framed({"usageMetadata": {"promptTokenCount": 5, "trafficType": "ON_DEMAND"}}, draw)
    return body + draw(tails())


@st.composite
def openai_streams(draw: st.DrawFn) -> bytes:
    frames = [{"choices": [{"delta": delta}]} for delta in draw(st.lists(OPENAI_DELTAS, max_size=6))]
    frames.append({"choices": [{"delta": {}, "finish_reason": draw(st.sampled_from(["stop", "length", "novel"]))}]})
    body = b"".join(framed(frame, draw) for frame in frames)
    return body + draw(st.sampled_from([b"", b"data: [DONE]\n\n"])) + draw(tails())


def framed(document: dict[str, Any], draw: st.DrawFn) -> bytes:
    end = draw(st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\r"]))
    return b"data: " + json.dumps(document, ensure_ascii=draw(st.booleans())).encode() + end


@st.composite
def tails(draw: st.DrawFn) -> bytes:
    error = json.dumps(ERROR, indent=2).encode()
    return draw(st.sampled_from([b"", b"", error + b"\n", error[:20], b": comment\n\n", b"event: end\n"]))


def outcome(dialect: Dialect, chunks: Sequence[bytes]) -> tuple[str, ModelReply | type[ModelError]]:
    """The text given out and how the stream ended. Text that came in one piece with the error is not given out."""
    reader = dialect.reader(model="m")
    texts: list[str] = []
    try:
        for chunk in chunks:
            texts.extend(reader.feed(chunk))
        return "".join(texts), reader.finish()
    except ModelError as exc:
        return "".join(texts), type(exc)


def pieces(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize(("dialect", "streams"), [(DIALECTS[0], vertex_streams()), (DIALECTS[1], openai_streams())])
@settings(deadline=None)
@given(data=st.data())
def test_stream_means_the_same_however_it_is_cut(
    dialect: Dialect, streams: st.SearchStrategy[bytes], data: st.DataObject
) -> None:
    body = data.draw(streams)
    whole = outcome(dialect, [body])
    text, end = outcome(dialect, pieces(body, data.draw(st.lists(st.integers(0, len(body)), max_size=20))))
    singly = outcome(dialect, [body[place : place + 1] for place in range(len(body))])
    assert end == whole[1] == singly[1]
    assert singly[0].startswith(text)
    if isinstance(end, ModelReply):
        assert text == singly[0] == end.text


@pytest.mark.parametrize("dialect", DIALECTS, ids=["vertex", "openai"])
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_nonsense_is_a_model_error_or_a_reply(dialect: Dialect, data: st.DataObject) -> None:
    words = st.sampled_from(
        [
            b"data: ",
            b"{",
            b"}",
            b"[",
            b"]",
            b'"',
            b"\r",
            b"\n",
            b"\xff",
            b'"candidates":',
            b'"choices":',
            b"null",
            b"1e999",
        ]
    )
    body = b"".join(data.draw(st.lists(st.one_of(words, st.binary(max_size=4)), max_size=30)))
    outcome(dialect, pieces(body, data.draw(st.lists(st.integers(0, len(body)), max_size=5))))
    with_end = body + b"\n\n"
    outcome(dialect, [with_end])
    with suppress(ModelError):
        dialect.decode(body, model="m")


MUTANTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)
VERTEX_KEYS = (
    "candidates",
    "content",
    "parts",
    "text",
    "functionCall",
    "args",
    "finishReason",
    "usageMetadata",
    "error",
)
OPENAI_KEYS = ("choices", "message", "delta", "tool_calls", "function", "arguments", "finish_reason", "usage", "error")


@pytest.mark.parametrize(("dialect", "keys"), [(DIALECTS[0], VERTEX_KEYS), (DIALECTS[1], OPENAI_KEYS)])
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_fields_of_any_type_are_a_model_error_or_a_reply(
    dialect: Dialect, keys: Sequence[str], data: st.DataObject
) -> None:
    value: Any = data.draw(MUTANTS)
    for key in data.draw(st.lists(st.sampled_from(keys), max_size=6)):
        value = [{key: value}] if key in ("candidates", "parts", "choices", "tool_calls") else {key: value}
    body = json.dumps(value).encode()
    outcome(dialect, [b"data: " + body + b"\n\n"])
    with suppress(ModelError):
        dialect.decode(body, model="m")


@pytest.mark.parametrize("dialect", DIALECTS, ids=["vertex", "openai"])
@pytest.mark.parametrize(
    "body",
    [
        NESTED,
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"a":' + NESTED,
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"' + NESTED + b'"}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"%%%"}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":"\\ud800"}]}}]}',
        b'{"usageMetadata":{"promptTokenCount":1e400}}',
        b'{"usageMetadata":{"promptTokenCount":999999999999999999999999}}',
        b"\xff\xfe",
        b"{}" * 10,
    ],
    ids=lambda body: body[:40] if isinstance(body, bytes) else None,
)
def test_known_traps_are_a_model_error_or_a_reply(dialect: Dialect, body: bytes) -> None:
    _, ended = outcome(dialect, [b"data: " + body + b"\n\n"])
    assert isinstance(ended, ModelReply) or issubclass(ended, ModelError)
    with suppress(ModelError):
        dialect.decode(body, model="m")
